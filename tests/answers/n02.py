"""Right and wrong answers to the exercises of notebook 02, the likelihood."""

import math

import torch
from torch.distributions import Independent, Normal

from vae_edu.checks.n02 import BUS, FAMILY_OF, GOALS, PIXEL, WORD

LOG_2PI = math.log(2 * math.pi)


def nll(x, mean, sigma):
    return -Independent(Normal(mean, sigma), 1).log_prob(x)


def half_squares(x, mean, sigma):
    return ((x - mean) ** 2).sum(-1) / (2 * sigma**2)


def families(**changes):
    """The right answer to 02.3, with some of it changed."""
    short = {"word": WORD, "goals": GOALS, "bus": BUS, "pixel": PIXEL}
    return FAMILY_OF | {short[name]: family for name, family in changes.items()}


RIGHT = [
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
]

WRONG = [
    ("02.1", math.exp(-2), "You read the log-variance as a log-standard-deviation"),
    ("02.1", math.exp(-4), "squared where a root is needed"),
    ("02.1", math.e, "The sign got lost"),
    ("02.1", -1, "A standard deviation is never negative"),
    ("02.1", 7, "Undo the logarithm first"),
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
    ("02.2", lambda x, m, s: x.sum(-1), "three terms"),
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
    ("02.3", families(pixel="poisson"), "what values can it take"),
    ("02.4", 1, "for a density already"),
    ("02.4", 2 / math.tanh(1), "*multiply*"),
    ("02.4", 1 / (1 + math.exp(-2)), "probability of white"),
    ("02.4", 0.5, "the area at logit 0"),
    ("02.4", math.log(math.tanh(1) / 2), "the logarithm of the area"),
    ("02.4", math.tanh(1), "divided by a"),
    ("02.4", 7, "has a formula"),
    ("02.5", "a", "compared a density with a mass"),
    ("02.5", "B", "A density may exceed 1"),
    ("02.5", "both", "one of the texts"),
]
