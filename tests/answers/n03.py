"""Right and wrong answers to the exercises of notebook 03, the marginal and the posterior."""

import math

import torch


def posterior_of(x, a, sigma):
    variance = 1 / (1 + a**2 / sigma**2)
    return variance * a * x / sigma**2, math.sqrt(variance)


def log_estimate(log_p):
    return log_p.logsumexp(0) - math.log(len(log_p))


def blank(*_):
    return ...


RIGHT = [
    ("03.1", 0.045 / 0.138),
    ("03.1", torch.tensor(0.33)),
    ("03.2", posterior_of),
    ("03.2", lambda x, a, s: torch.tensor(posterior_of(x, a, s))),
    ("03.3", "AD"),
    ("03.3", "d, a"),
    ("03.3", "A and D"),
    ("03.3", ["A", "D"]),
    ("03.4", log_estimate),
    ("03.4", lambda row: float(log_estimate(row.double()))),
    ("03.5", 5904800),
]

WRONG = [
    ("03.1", 0.09, "turned round"),
    ("03.1", 0.045, "joint"),
    ("03.1", 0.09 / 0.43, "left out the prior"),
    ("03.1", 0.0225 / 0.0486, "twice"),
    ("03.1", (0.05 / 0.38 + 0.45 / 0.62) / 2, "averaged"),
    ("03.1", 0.05 / 0.38, "white tile alone"),
    ("03.1", 0.45 / 0.62, "black tile alone"),
    ("03.1", 0.5, "That is the prior"),
    ("03.1", 0.138, "marginal"),
    ("03.1", 0.25, "multiply"),
    ("03.2", blank, "returns nothing"),
    ("03.2", lambda *case: (posterior_of(*case)[0], posterior_of(*case)[1] ** 2), "variance"),
    ("03.2", lambda *case: (posterior_of(*case)[0], posterior_of(*case)[1] ** -2), "precision"),
    ("03.2", lambda x, a, s: (x / a, s / abs(a)), "left out the prior"),
    ("03.2", lambda x, a, s: (0.0, math.hypot(a, s)), "marginal"),
    ("03.2", lambda x, a, s: (a * x, s), "turned round"),
    ("03.2", lambda x, a, s: (7.0, 7.0), "parabola"),
    ("03.3", "AF", "letters A to E"),
    ("03.3", "", "letters A to E"),
    ("03.3", "ABCD", "family"),
    ("03.3", "ACD", "σ changes with z"),
    ("03.3", "ADE", "Beta"),
    ("03.3", "D", "offset"),
    ("03.3", "A", "LinearGaussian"),
    ("03.4", blank, "returns nothing"),
    ("03.4", lambda row: row.mean(), "Jensen"),
    ("03.4", lambda row: row.logsumexp(0), "*sum*"),
    ("03.4", lambda row: row.exp().mean().log(), "underflows"),
    ("03.4", lambda row: row.exp().mean(), "asked is its logarithm"),
    ("03.4", lambda row: row.max(), "logsumexp"),
    ("03.5", (3 * 10 - 1) / 0.01, "multiply"),
    ("03.5", (3**10 - 1) / 0.1, "square"),
    ("03.5", 10 * 2 / 0.01, "multiply"),
    ("03.5", 2 / 0.01, "one latent"),
    ("03.5", 3**10, "That is R"),
    ("03.5", 1, "Read the question"),
]
