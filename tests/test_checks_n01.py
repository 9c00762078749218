"""The checkers of notebook 01: right answers pass, each wrong one meets its own hint."""

import math

import pytest
import torch
from torch.distributions import Normal

from vae_edu import checks
from vae_edu.checks.n01 import EXERCISES

normal = Normal(0.0, 1.0)


def judge(name: str, answer):
    return checks.find(name).judge(answer)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("01.1", 10),
        ("01.1", torch.tensor(10.0)),
        ("01.2", lambda z: 2 * normal.cdf(z) - 1),
        ("01.2", lambda z: 1 - 2 * normal.cdf(z)),
        ("01.2", lambda z: torch.erf(z.double() / math.sqrt(2))),
        ("01.3", 81),
        ("01.4", " B "),
        ("01.5", 20),
        ("01.5", 400**0.5),
    ],
)
def test_right(name, answer):
    verdict = judge(name, answer)
    assert verdict.kind == "right", verdict.message


WRONG = [
    ("01.1", 1, "density for a probability"),
    ("01.1", 0.1, "the width of the interval"),
    ("01.1", 2.303, "log-density"),
    ("01.1", 0, "a single point has probability 0"),
    ("01.2", lambda z: None, "returns nothing"),
    ("01.2", lambda z: ..., "returns nothing"),
    ("01.2", normal.cdf, "uniform, but on [0, 1]"),
    ("01.2", lambda z: 2 * normal.cdf(z), "uniform on [0, 2]"),
    ("01.2", lambda z: normal.cdf(z) - 0.5, "uniform on [-0.5, 0.5]"),
    ("01.2", lambda z: z.clamp(-1, 1), "pile up"),
    ("01.2", torch.tanh, "a squashed bell need not be flat"),
    ("01.2", lambda z: z / 2, "lie outside [-1, 1]"),
    ("01.3", 3, "joint mixture"),
    ("01.3", 12, "added where choices multiply"),
    ("01.3", 64, "Base and exponent are swapped"),
    ("01.4", "a", "Wrong way round"),
    ("01.4", "c", "before the decoder sees it"),
    ("01.4", "d", "a fact about the world"),
    ("01.5", 0, "peak of the density"),
    ("01.5", 1, "the size of one knob"),
    ("01.5", 400, "the squared length"),
]


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_wrong_names_the_misconception(name, answer, hint):
    verdict = judge(name, answer)
    assert verdict.kind == "wrong"
    assert hint in verdict.message


def test_every_hint_is_tried():
    for number, exercise in enumerate(EXERCISES, start=1):
        tried = {judge(name, answer).message for name, answer, _ in WRONG if name == f"01.{number}"}
        assert {f"Not yet. {hint}" for _, hint in exercise.wrong} == tried


NAMES = [f"01.{number}" for number in range(1, len(EXERCISES) + 1)]


def test_there_are_no_more_exercises():
    with pytest.raises(ValueError, match="no exercise"):
        checks.find(f"01.{len(EXERCISES) + 1}")


@pytest.mark.parametrize("name", NAMES)
def test_unanswered_says_what_to_do(name, capsys):
    checks.check(name, ...)
    assert "Not answered yet." in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "answer",
    [
        "abc",
        "",
        [1, 2],
        {},
        object(),
        math.nan,
        math.inf,
        True,
        torch.zeros(3),
        lambda: 1,
        lambda a, b: a,
        lambda z: z[0],
        lambda z: "abc",
        lambda z: z.tolist(),
        lambda z: z * math.nan,
        lambda z: 1 / 0,
        print,
        torch,
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_odd_answers_never_raise_and_are_wrong(name, answer, capsys):
    checks.check(name, answer)
    assert capsys.readouterr().out.startswith(f"Exercise {name}: ") or answer is print
    assert judge(name, answer).kind == "wrong"
