"""Right and wrong answers to the exercises of notebook 06, training a VAE."""

import math

import torch

RIGHT = [
    ("06.1", 64 * math.log(0.9)),
    ("06.2", lambda log_var: torch.exp(log_var / 2)),
    ("06.3", lambda reconstruction, kl: (kl - reconstruction).mean()),
    ("06.4", " Mean "),
    ("06.5", 20.1 - 18.4),
]

WRONG = [
    ("06.1", math.log(0.9), "averaged over pixels"),
    ("06.1", 0.9**64, "probability itself"),
    ("06.1", -64 * math.log(0.9), "sign"),
    ("06.1", 64 * math.log2(0.9), "bits"),
    ("06.1", 12.0, "add up 64"),
    ("06.2", torch.exp, "is the variance"),
    ("06.2", lambda v: v, "logarithm itself"),
    ("06.2", lambda v: torch.exp(2 * v), "doubled"),
    ("06.2", lambda v: torch.ones(3), "logarithm of σ²"),
    ("06.3", lambda r, k: (r - k).mean(), "minus the ELBO"),
    ("06.3", lambda r, k: (k - r).sum(), "summed over the batch"),
    ("06.3", lambda r, k: (-r - k).mean(), "subtracted the KL"),
    ("06.3", lambda r, k: 0.0, "reconstruction minus its KL"),
    ("06.4", "draw", "decoder's output for a sample"),
    ("06.4", "both", "one word"),
    ("06.5", -1.7, "never negative"),
    ("06.5", 3.2, "to the *prior*"),
    ("06.5", 38.5, "log p(x) - ELBO"),
]
