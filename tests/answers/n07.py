"""Right and wrong answers to the exercises of notebook 07, the decoder lab."""

import math

import torch
from torch.distributions import Normal

from vae_edu import data, likelihoods


def log_c(logits):
    return torch.log(logits / torch.tanh(logits / 2))


def by_areas(bce, logits):
    """The normalizer from the area under exp(-BCE), summed numerically."""
    x = torch.linspace(0, 1, 4001).view(-1, 1, 1)
    y = torch.sigmoid(logits)
    area = torch.trapezoid(y**x * (1 - y) ** (1 - x), x.flatten(), dim=0)
    return (-bce - area.log()).sum(-1)


def lucky() -> float:
    """07.4 from the package: the mass of a level whose bin's centre is the mean."""
    images = data.load("digits")
    likelihood = likelihoods.make("gaussian", images, scale="fixed", sigma=1.0)
    levels = images.test_x[:1]
    nats = likelihood.log_mass(likelihood.prepare(levels), levels).item()
    return -nats / (64 * math.log(2))


PEAK = 1 / math.sqrt(2 * math.pi)

BITS = -math.log2(PEAK / 17)

RIGHT = [
    ("07.1", 200_704),
    ("07.2", 80 / 64 / math.log(2)),
    ("07.2", 1.80),
    ("07.3", lambda bce, logits: (log_c(logits) - bce).sum(-1)),
    ("07.3", by_areas),
    ("07.4", BITS),
    ("07.4", lucky()),
    ("07.4", -math.log2(Normal(0, 1).cdf(torch.tensor([-0.5, 0.5]) / 17).diff().item())),
    ("07.5", 0),
    ("07.5", 0.0),
    ("07.5", torch.tensor(0)),
    ("07.5", 0.0011),  # what a simulation gives
    ("07.5", torch.tensor(-0.0009)),
]

WRONG = [
    ("07.1", 784, "decoder's output for an image"),
    ("07.1", 256, "one die for all pixels"),
    ("07.1", 784 * 255, "one number less"),
    ("07.1", 784 * 17, "levels of our digits"),
    ("07.1", 784 * 2, "A mean and a width"),
    ("07.1", 64 * 256, "pixels of our digits"),
    ("07.1", 3, "how many pixels are there"),
    ("07.2", -80 / 64 / math.log(2), "The sign: a code length"),
    ("07.2", 80 / 64, "nats per pixel"),
    ("07.2", 80 * math.log(2) / 64, "multiplied by log 2"),
    ("07.2", 80 / math.log(2), "bits per *image*"),
    ("07.2", 80 / 8 / math.log(2), "the side of the image"),
    ("07.2", 99, "64 log 2"),
    ("07.3", lambda bce, logits: ..., "returns nothing"),
    ("07.3", lambda bce, logits: None, "returns nothing"),
    ("07.3", lambda bce, logits: -bce.sum(-1), "BCE for a log-likelihood"),
    ("07.3", lambda bce, logits: (bce - log_c(logits)).sum(-1), "minus log p"),
    ("07.3", lambda bce, logits: (bce + log_c(logits)).sum(-1), "BCE is a *cost*"),
    ("07.3", lambda bce, logits: (-bce - log_c(logits)).sum(-1), "subtracted log C"),
    ("07.3", lambda bce, logits: (log_c(logits).exp() - bce).sum(-1), "added C itself"),
    ("07.3", lambda bce, logits: (log_c(logits) - bce).mean(-1), "averaged over pixels"),
    ("07.3", lambda bce, logits: (log_c(logits) - bce).sum(), "summed over the images too"),
    ("07.3", lambda bce, logits: log_c(logits) - bce, "One number an *image*"),
    ("07.3", lambda bce, logits: torch.zeros(len(bce)), "minus its BCE"),
    ("07.4", 0, "squared error of 0"),
    ("07.4", -math.log2(PEAK), "density for a probability"),
    ("07.4", -math.log(PEAK / 17), "in nats"),
    ("07.4", math.log2(17), "That is guessing"),
    ("07.4", -BITS, "The sign: minus"),
    ("07.4", -math.log2(PEAK * 17), "instead of multiplying"),
    ("07.4", 64 * BITS, "per image"),
    ("07.4", 77, "it is a probability"),
    ("07.5", 1, "copies of each other"),
    ("07.5", 0.21, "mixed up p(x) and p(x|z)"),
    ("07.5", 0.02, "mixed up p(x) and p(x|z)"),
    ("07.5", -1 / 16, "sides of one die"),
    ("07.5", 5, "between −1 and 1"),
]
