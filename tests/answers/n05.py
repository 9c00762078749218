"""Right and wrong answers to the exercises of notebook 05, reparameterization."""

import torch
from torch.distributions import Normal

from vae_edu import models


def half(mean, log_var, eps):
    return mean + torch.exp(0.5 * log_var) * eps


def by_autograd(logits, pays):
    logits = logits.detach().clone().requires_grad_()
    return torch.autograd.grad((logits.softmax(-1) * pays).sum(), logits)[0]


def by_autograd_as_given(logits, pays):
    return torch.autograd.grad((logits.softmax(-1) * pays).sum(), logits)[0]


def by_formula(logits, pays):
    pi = logits.softmax(-1)
    return pi * (pays - (pi * pays).sum())


def unbounded() -> float:
    """05.5 from the package's own model: "ELBO" less log p(x), the KL in closed form."""
    model, x = models.LinearGaussian(torch.ones(1, 1), torch.zeros(1), 1.0), torch.tensor([1.3])
    q = model.posterior(x)
    mean, variance = q.mean.double(), q.variance.double()
    std = variance  # exp(log_var), the mistake
    nodes = Normal(0.0, 1.0).icdf((torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000)
    reconstruction = Normal(mean + std * nodes, 1.0).log_prob(x.double()).mean()
    kl = 0.5 * (mean**2 + variance - 1 - variance.log())
    return float(reconstruction - kl - model.marginal().log_prob(x))


RIGHT = [
    ("05.1", 2),
    ("05.1", torch.tensor(2.0)),
    ("05.2", half),
    ("05.2", lambda m, v, e: m + e * v.exp().sqrt()),
    ("05.3", "b"),
    ("05.3", " B "),
    ("05.4", by_autograd),
    ("05.4", by_autograd_as_given),
    ("05.4", by_formula),
    ("05.5", 0.125),
    ("05.5", unbounded()),
]

WRONG = [
    ("05.1", -0.5, "average over all drops"),
    ("05.1", -3.0, "score-function"),
    ("05.1", 1.0, "chain rule"),
    ("05.1", -2.0, "sign"),
    ("05.1", 17.0, "where the drop falls"),
    ("05.2", lambda m, v, e: ..., "returns nothing"),
    ("05.2", lambda m, v, e: None, "returns nothing"),
    ("05.2", lambda m, v, e: half(m, v, e).detach(), "cut"),
    ("05.2", lambda m, v, e: half(m.detach(), v, e), "cut"),
    ("05.2", lambda m, v, e: half(m, v.detach(), e), "cut"),
    ("05.2", lambda m, v, e: m + torch.exp(v) * e, "half is missing"),
    ("05.2", lambda m, v, e: m + v * e, "can be negative"),
    ("05.2", lambda m, v, e: m + torch.exp(2 * v) * e, "square *root*"),
    ("05.2", lambda m, v, e: m, "noise is missing"),
    ("05.2", lambda m, v, e: m - e, "mean plus"),
    ("05.2", lambda m, v, e: half(m, v, e)[:1], "mean plus"),
    ("05.3", "a", "evaluated needs no trick"),
    ("05.3", "c", "draw alone"),
    ("05.3", "d", "two ideas"),
    ("05.3", "e", "is something drawn"),
    ("05.4", lambda logits, pays: ..., "returns nothing"),
    ("05.4", lambda logits, pays: logits.softmax(-1) * pays, "softmax normalizes"),
    ("05.4", lambda logits, pays: pays, "chain rule"),
    ("05.4", lambda logits, pays: (logits.softmax(-1) * pays).sum(), "average pay itself"),
    ("05.4", lambda logits, pays: torch.zeros_like(pays), "no path"),
    ("05.4", lambda logits, pays: -by_formula(logits, pays), "sign"),
    ("05.4", lambda logits, pays: logits, "K numbers"),
    ("05.5", 0, "no bound"),
    ("05.5", -0.125, "above log p(x)"),
    ("05.5", 0.25, "divided by 2s²"),
    ("05.5", 3.0, "log p(x)"),
]
