"""Right and wrong answers to the exercises of notebook 09, pitfalls."""

import math

import torch
from torch.distributions import Independent, Normal


def rms(x, mean):
    return (x - mean).square().mean().sqrt()


def by_search(x, mean):
    """The σ under which x is most probable, found on a grid."""
    sigmas = torch.logspace(-2, 1, 30_001).view(-1, 1, 1)
    error = (x - mean).square().sum()
    log_p = -x.numel() * sigmas.log() - error / (2 * sigmas**2)
    return sigmas.flatten()[log_p.flatten().argmax()]


def finer_unit() -> float:
    """09.5 from two densities of the same image."""
    here, there = (Independent(Normal(torch.zeros(64), s * torch.ones(64)), 1) for s in (1, 255))
    return float(10 + there.log_prob(torch.zeros(64)) - here.log_prob(torch.zeros(64)))


RIGHT = [
    ("09.1", 0.6),
    ("09.1", torch.tensor(0.36).sqrt()),
    ("09.2", 784),
    ("09.3", 0.05),
    ("09.4", rms),
    ("09.4", by_search),
    ("09.4", lambda x, mean: float(rms(x, mean))),
    ("09.5", 10 - 64 * math.log(255)),
    ("09.5", finer_unit()),
]

WRONG = [
    ("09.1", 0.36, "variance for a standard deviation"),
    ("09.1", 0.36**2, "squared where a root"),
    ("09.1", 0.18, "multiplies the logarithm"),
    ("09.1", 5, "goes out last"),
    ("09.2", 1, "overlooked the mean over pixels"),
    ("09.2", 1 / 784, "upside down"),
    ("09.2", 28, "one side"),
    ("09.2", 64, "sum divided by D"),
    ("09.3", 0.1, "forgot the ½"),
    ("09.3", math.sqrt(0.05), "the question is for the variance"),
    ("09.3", 0.2, "instead of dividing"),
    ("09.3", 1, "as if β were 1"),
    ("09.3", 7, "KL stands alone"),
    ("09.4", lambda x, mean: ..., "returns nothing"),
    ("09.4", lambda x, mean: None, "returns nothing"),
    ("09.4", lambda x, mean: (x - mean).square().mean(), "σ is its root"),
    ("09.4", lambda x, mean: (x - mean).square().sum(-1).mean().sqrt(), "You summed over pixels:"),
    ("09.4", lambda x, mean: (x - mean).square().sum(-1).mean(), "left out the root"),
    ("09.4", lambda x, mean: (x - mean).abs().mean(), "Laplace"),
    ("09.4", lambda x, mean: (x - mean).std(), "off by a constant"),
    ("09.4", lambda x, mean: (x - mean).square().mean(-1).sqrt(), "several numbers"),
    ("09.4", lambda x, mean: 0.5, "derivative"),
    ("09.5", 10 + 64 * math.log(255), "wrong way"),
    ("09.5", 10 - math.log(255), "counted one pixel"),
    ("09.5", 10, "probability mass"),
    ("09.5", 10 / 255, "divided the logarithm"),
    ("09.5", 10 - 64 * math.log2(255), "gives bits"),
    ("09.5", 10 - 64 * math.log10(255), "decimal"),
    ("09.5", 99, "D log c"),
]
