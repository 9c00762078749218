import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vae_edu import checks


def kl(mean, log_std):
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std)


def kl_in_plain_python(mean, log_std):
    return 0.5 * (float(mean) ** 2 + math.exp(2 * log_std) - 1 - 2 * float(log_std))


def reversed_kl(mean, log_std):
    return kl_divergence(Normal(0.0, 1.0), Normal(mean, log_std.exp()))


RIGHT = [
    ("04.1", kl),
    ("04.1", kl_in_plain_python),
    ("04.2", 0),
    ("04.2", torch.tensor(0.0)),
    ("04.3", 1 / math.sqrt(1 + 1 / 0.5**2)),
    ("04.3", 0.447),
    ("04.4", math.sqrt(0.5**2 + 2**2)),
    ("04.4", 2.06),
    ("04.5", 0.33),
]

WRONG = [
    ("04.1", lambda m, s: -kl(m, s), "sign"),
    ("04.1", lambda m, s: 2 * kl(m, s), "½ is missing"),
    ("04.1", lambda m, s: 0.5 * (m**2 + s.exp() - 1 - s), "for the log-variance"),
    ("04.1", lambda m, s: 0.5 * (m**2 + s.exp() - 1 - 2 * s), "place of the variance"),
    ("04.1", lambda m, s: 0.5 * (m**2 + (2 * s).exp() - 1 - s), "last term"),
    ("04.1", reversed_kl, "wrong way round"),
    ("04.2", 0.3, "bound for the thing bounded"),
    ("04.2", -0.3, "gap"),
    ("04.3", 0, "reconstruction alone"),
    ("04.3", 0.2, "variance"),
    ("04.3", 0.5, "left out the prior"),
    ("04.3", 1.0, "left out the measurement"),
    ("04.3", 5.0, "precision"),
    ("04.3", math.sqrt(1.25), "marginal"),
    ("04.4", 0.5, "seeks a mode"),
    ("04.4", 4.25, "variance"),
    ("04.4", 2.0, "left out their own width"),
    ("04.4", 2.5, "Variances add"),
    ("04.5", 0.45, "whole gap"),
    ("04.5", 0.12, "approximation gap"),
    ("04.5", -0.33, "sign"),
]

NAMES = [f"04.{i}" for i in range(1, 6)]


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
