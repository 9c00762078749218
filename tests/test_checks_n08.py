"""The exercises of notebook 08: right answers pass, each known mistake gets its own hint."""

import math

import pytest
import torch

from vae_edu import checks

LINE = torch.zeros(8, 8, dtype=torch.long)
LINE[:, 0] = 16
HALF = torch.zeros(8, 8, dtype=torch.long)
HALF[:, 7] = 16
BLANK = [0] * 64
WHITE = [16] * 64

LOG_W = torch.tensor([-20.0, -22.0, -19.0, -31.0])
LOG_SUM = torch.logsumexp(LOG_W, 0)
GAP = -0.5 * math.log(1 - 0.8**2)

RIGHT = [
    ("08.1", GAP),
    ("08.1", torch.tensor(0.51)),
    ("08.2", LOG_SUM - math.log(4)),
    ("08.2", -20.04),
    ("08.3", "b"),
    ("08.3", " B "),
    ("08.4", "flat"),
    ("08.5", LINE.flatten().tolist()),
    ("08.5", LINE),
]

WRONG = [
    ("08.1", 0, "lacks that shape"),
    ("08.1", 1 / (1 - 0.8**2) - 1 + 0.5 * math.log(1 - 0.8**2), "own widths"),
    ("08.1", 2 * GAP, "forgot a half"),
    ("08.1", -GAP, "never negative"),
    ("08.2", LOG_W.mean(), "averaged the logarithms"),
    ("08.2", LOG_SUM, "*sum*"),
    ("08.2", -19.0, "best dart"),
    ("08.2", LOG_W.exp().mean(), "average weight"),
    ("08.2", LOG_SUM + math.log(4), "subtracts"),
    ("08.3", "a", "one throw"),
    ("08.3", "c", "more darts"),
    ("08.4", "hill", "wanders"),
    ("08.4", "ears", "overconfident"),
    ("08.5", WHITE, "less paint"),
    ("08.5", BLANK, "improbable image"),
    ("08.5", HALF, "on the way"),
]

NAMES = [f"08.{i}" for i in range(1, 6)]
ODD = ["abc", [1, 2], lambda a, b: 1, float("nan"), {}, torch.zeros(64), [17] * 64]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right(name, answer):
    assert checks.find(name).judge(answer).kind == "right"


@pytest.mark.parametrize(("name", "answer", "word"), WRONG)
def test_wrong_is_named(name, answer, word):
    verdict = checks.find(name).judge(answer)
    assert verdict.kind == "wrong"
    assert word in verdict.message


@pytest.mark.parametrize("name", NAMES)
def test_every_hint_is_tried(name):
    messages = {checks.find(name).judge(answer).message for n, answer, _ in WRONG if n == name}
    assert messages == {f"Not yet. {hint}" for _, hint in checks.find(name).wrong}


@pytest.mark.parametrize("name", NAMES)
def test_unanswered_says_what_to_do(name, capsys):
    checks.check(name, ...)
    assert checks.find(name).todo in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", ODD, ids=lambda answer: type(answer).__name__)
def test_odd_answers_never_raise(name, answer):
    assert checks.find(name).judge(answer).kind == "wrong"
