"""The checkers of notebook 02: right answers pass, each wrong one meets its own hint."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from vae_edu import checks
from vae_edu.checks.n02 import BUS, EXERCISES, FAMILY_OF, GOALS, PIXEL, WORD

NAMES = [f"02.{number}" for number in range(1, len(EXERCISES) + 1)]
LOG_2PI = math.log(2 * math.pi)


def judge(name: str, answer):
    return checks.find(name).judge(answer)


def nll(x, mean, sigma):
    return -Independent(Normal(mean, sigma), 1).log_prob(x)


def half_squares(x, mean, sigma):
    return ((x - mean) ** 2).sum(-1) / (2 * sigma**2)


def families(**changes):
    """The right answer to 02.3, with some of it changed."""
    short = {"word": WORD, "goals": GOALS, "bus": BUS, "pixel": PIXEL}
    return FAMILY_OF | {short[name]: family for name, family in changes.items()}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("02.1", math.exp(-1)),
        ("02.1", torch.tensor(0.368)),
        ("02.2", nll),
        (
            "02.2",
            lambda x, m, s: half_squares(x, m, s) + x.shape[-1] * (math.log(s) + LOG_2PI / 2),
        ),
        ("02.2", lambda x, m, s: nll(x.double(), m.double(), s)),
        ("02.3", families()),
        ("02.3", families(word=" Categorical ", bus="Log-Normal")),
        ("02.4", math.tanh(1) / 2),
        ("02.4", 0.38),
        ("02.5", "cannot say"),
        ("02.5", " Cannot say"),
    ],
)
def test_right(name, answer):
    verdict = judge(name, answer)
    assert verdict.kind == "right", verdict.message


WRONG = [
    ("02.1", math.exp(-2), "You read the log-variance as a log-standard-deviation"),
    ("02.1", math.exp(-4), "squared where a root is needed"),
    ("02.1", math.e, "The sign got lost"),
    ("02.1", -1, "A standard deviation is never negative"),
    ("02.2", lambda x, m, s: ..., "returns no tensor yet"),
    ("02.2", lambda x, m, s: None, "returns no tensor yet"),
    ("02.2", lambda x, m, s: -nll(x, m, s), "The sign"),
    ("02.2", half_squares, "You left out the constants"),
    ("02.2", lambda x, m, s: ((x - m) ** 2).sum(-1), "bare squared error"),
    ("02.2", lambda x, m, s: half_squares(x, m, s) + 1.5 * LOG_2PI, "D log σ is missing"),
    ("02.2", lambda x, m, s: half_squares(x, m, s) + 3 * math.log(s), "log 2π is missing"),
    (
        "02.2",
        lambda x, m, s: half_squares(x, m, s) + math.log(s) + LOG_2PI / 2,
        "counted the constants once",
    ),
    ("02.2", lambda x, m, s: nll(x, m, s**0.5), "took sigma for the variance"),
    ("02.2", lambda x, m, s: nll(x, m, s) / x.shape[-1], "averaged over the coordinates"),
    ("02.2", lambda x, m, s: nll(x, m, s).sum(), "summed over the examples"),
    ("02.2", lambda x, m, s: nll(x, m, s).mean(), "averaged over the examples"),
    ("02.2", lambda x, m, s: -Normal(m, s).log_prob(x), "one value a coordinate"),
    ("02.3", dict.fromkeys(FAMILY_OF, ...), "in place of the dots"),
    ("02.3", families(word=...), "in place of the dots"),
    ("02.3", families(bus="poisson"), "a Poisson *counts*"),
    ("02.3", families(bus="gaussian"), "negative waiting times"),
    ("02.3", families(goals="gaussian"), "2.5 goals"),
    ("02.3", families(goals="categorical"), "a largest number of goals"),
    ("02.3", families(goals="log-normal"), "gives 0 goals no probability"),
    ("02.3", families(word="poisson"), "no order"),
    ("02.3", families(word="bernoulli"), "two outcomes"),
    ("02.3", families(pixel="gaussian"), "no likelihood of 0 and 1"),
    ("02.4", 1, "for a density already"),
    ("02.4", 2 / math.tanh(1), "*multiply*"),
    ("02.4", 1 / (1 + math.exp(-2)), "probability of white"),
    ("02.4", 0.5, "the area at logit 0"),
    ("02.4", math.log(math.tanh(1) / 2), "the logarithm of the area"),
    ("02.4", math.tanh(1), "divided by a"),
    ("02.5", "a", "compared a density with a mass"),
    ("02.5", "B", "A density may exceed 1"),
]


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_wrong(name, answer, hint):
    verdict = judge(name, answer)
    assert verdict.kind == "wrong"
    assert hint in verdict.message


def test_every_hint_is_met():
    met = {judge(name, answer).message.removeprefix("Not yet. ") for name, answer, _ in WRONG}
    assert met == {hint for exercise in EXERCISES for _, hint in exercise.wrong}


@pytest.mark.parametrize("name", NAMES)
def test_unanswered_says_what_to_do(name, capsys):
    checks.check(name)
    assert "Not answered yet" in capsys.readouterr().out


ODD = [
    "abc",
    "",
    [],
    [1, 2],
    {},
    {"the next word of a sentence": None},
    True,
    math.nan,
    math.inf,
    1e400,
    -(10**400),
    1j,
    object(),
    torch.tensor([]),
    torch.ones(5),
    print,
    lambda: 1,
    lambda x: x,
    lambda x, mean, sigma: "text",
    lambda x, mean, sigma: x.reshape(7),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", ODD, ids=lambda answer: type(answer).__name__)
def test_an_odd_answer_is_wrong_and_never_raises(name, answer):
    verdict = judge(name, answer)
    assert verdict.kind == "wrong"
    assert verdict.message
