"""The exercises of notebook 00: right answers pass, each known mistake gets its own hint."""

import pytest

from vae_edu.checks import find

RIGHT = {"00.1": "Distribution", "00.2": ["Likelihood", "prior"], "00.3": 1088}
WRONG = [
    ("00.1", "network", "list of numbers"),
    ("00.1", "both", "fixed z"),
    ("00.1", "a matrix", "draw an x"),
    ("00.2", ["prior", "posterior"], "stand-in"),
    ("00.2", ["prior", "likelihood", "marginal"], "averaged over the prior"),
    ("00.2", ["prior"], "family of p(x|z)"),
    ("00.2", ["likelihood"], "prior as well"),
    ("00.2", [], "Two are chosen"),
    ("00.2", 5, "raised"),
    ("00.3", 64, "Bernoulli"),
    ("00.3", 17, "one pixel's"),
    ("00.3", 2, "size of z"),
    ("00.3", 1024, "0 to 16"),
    ("00.3", 10, "how many pixels"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_are_accepted(name):
    assert find(name).judge(RIGHT[name]).kind == "right"


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_mistakes_are_named(name, answer, hint):
    verdict = find(name).judge(answer)
    assert verdict.kind == "wrong"
    assert hint in verdict.message


@pytest.mark.parametrize("name", RIGHT)
def test_unanswered_says_what_to_do(name):
    assert find(name).judge(...).kind == "unanswered"
