"""Right and wrong answers to the exercises of notebook 04, the approximate posterior."""

import math

import torch
from torch.distributions import Normal, kl_divergence


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
    ("04.1", lambda m, s: m + s, "at any mean and log_std"),
    ("04.2", 0.3, "bound for the thing bounded"),
    ("04.2", -0.3, "gap"),
    ("04.2", 7, "while q is dragged"),
    ("04.3", 0, "reconstruction alone"),
    ("04.3", 0.2, "variance"),
    ("04.3", 0.5, "left out the prior"),
    ("04.3", 1.0, "left out the measurement"),
    ("04.3", 5.0, "precision"),
    ("04.3", math.sqrt(1.25), "marginal"),
    ("04.3", 7, "straight line has a formula"),
    ("04.4", 0.5, "seeks a mode"),
    ("04.4", 4.25, "variance"),
    ("04.4", 2.0, "left out their own width"),
    ("04.4", 2.5, "Variances add"),
    ("04.4", 7, "same mean and variance"),
    ("04.5", 0.45, "whole gap"),
    ("04.5", 0.12, "approximation gap"),
    ("04.5", -0.33, "sign"),
    ("04.5", 7, "best normal q"),
]
