"""The exercises of notebook 07, the decoder lab."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Normal
from torch.nn.functional import binary_cross_entropy_with_logits

from vae_edu.bounds import bits_per_dim
from vae_edu.checks import Exercise
from vae_edu.distributions import ContinuousBernoulli

_PIXELS, _LEVELS = 28 * 28, 256
_NATS, _DIM = -80.0, 64
_BITS = bits_per_dim(_NATS, _DIM)
_PEAK = float(Normal(0.0, 1.0).log_prob(torch.tensor(0.0)))
_LUCKY = (math.log(17) - _PEAK) / math.log(2)


def _gives(expected: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Callable], bool]:
    """A predicate: the reader's f(bce, logits) gives `expected`, shape and values."""

    def matches(function: Callable) -> bool:
        generator = torch.Generator().manual_seed(0)
        for n, d in ((5, 4), (3, 9)):
            logits = 4 * torch.randn(n, d, generator=generator)
            x = torch.rand(n, d, generator=generator)
            bce = binary_cross_entropy_with_logits(logits, x, reduction="none")
            wanted, given = expected(bce, logits), function(bce, logits)
            if given is ... or given is None:
                return False
            given = torch.as_tensor(given, dtype=wanted.dtype)
            if given.shape != wanted.shape or not torch.allclose(given, wanted, rtol=1e-3):
                return False
        return True

    return matches


def _gives_nothing(function: Callable) -> bool:
    given = function(torch.ones(2, 3), torch.ones(2, 3))
    return given is ... or given is None


def _gives_pixels(function: Callable) -> bool:
    given = function(torch.ones(2, 3), torch.ones(2, 3))
    return isinstance(given, Tensor) and given.shape == (2, 3)


def _log_c(logits: Tensor) -> Tensor:
    return ContinuousBernoulli(logits).log_norm()


def _independent_dice() -> float:
    """The correlation of two independent dice, from their joint table."""
    one = Categorical(logits=torch.linspace(-1, 1, 17, dtype=torch.float64)).probs
    level = torch.arange(17, dtype=torch.float64)
    mean = (one * level).sum()
    return round(float((one[:, None] * one * (level[:, None] - mean) * (level - mean)).sum()), 9)


def _is_about_zero(answer: Any) -> bool:
    """The correlation, or what a simulation of it gives."""
    if isinstance(answer, bool | str):
        return False
    return abs(float(answer) - _independent_dice()) < 0.01


EXERCISES: list[Exercise] = [
    Exercise(
        todo="Give the number of outputs for a whole image: a die for each pixel.",
        right=_PIXELS * _LEVELS,
        why="Each of the 784 pixels has a die of its own, and each die needs a logit for each of "
        "its 256 sides. A discretized logistic would need 2 numbers a pixel.",
        wrong=(
            (
                _PIXELS,
                "You took the decoder's output for an image, one number a pixel. It gives the "
                "*parameters* of a distribution: here a whole die for each pixel.",
            ),
            (
                _LEVELS,
                "That is one die for all pixels: each would then have the same distribution.",
            ),
            (
                _PIXELS * (_LEVELS - 1),
                "A die has one number less to choose, true; but the softmax is given a logit for "
                "each side all the same.",
            ),
            (
                _PIXELS * 17,
                "17 is the number of levels of our digits; these photographs have 256.",
            ),
            (
                _PIXELS * 2,
                "A mean and a width for each pixel: that is a Gaussian, or a discretized logistic. "
                "A Categorical names the probability of each level.",
            ),
            (
                64 * _LEVELS,
                "64 is the number of pixels of our digits; these images have 28 × 28.",
            ),
        ),
        otherwise="How many logits does one pixel need, and how many pixels are there?",
        tolerance=1e-6,
    ),
    Exercise(
        todo="Turn nats per image into bits per pixel.",
        right=_BITS,
        why="A nat is 1/log 2 bits, an image has 64 pixels, and a code length is minus the log "
        "probability. At most, because the ELBO lies below log p(x).",
        wrong=(
            (
                -_BITS,
                "The sign: a code length is *minus* a log probability, and nothing is coded in "
                "fewer than 0 bits.",
            ),
            (
                -_NATS / _DIM,
                "That is nats per pixel. A bit is log 2 nats, so divide by log 2 as well.",
            ),
            (
                -_NATS * math.log(2) / _DIM,
                "You multiplied by log 2. A bit is the smaller unit, so there are more of them.",
            ),
            (-_NATS / math.log(2), "That is bits per *image*: divide by the number of pixels."),
            (
                -_NATS / (8 * math.log(2)),
                "You divided by 8, the side of the image; it has 8 × 8 pixels.",
            ),
        ),
        otherwise="Minus the nats, divided by 64 log 2.",
        tolerance=0.004,
    ),
    Exercise(
        todo="Write the body of log_p: from (bce, logits), both [N, D], one number an image.",
        right=_gives(lambda bce, logits: (_log_c(logits) - bce).sum(-1)),
        why="log p = −BCE + log C for each pixel, summed over the pixels. With the normalizer it "
        "is the logarithm of a density, which has an area of 1.",
        wrong=(
            (
                _gives_nothing,
                "Not answered yet, it seems: your function returns nothing. Replace its `...`.",
            ),
            (
                _gives(lambda bce, logits: -bce.sum(-1)),
                "You took BCE for a log-likelihood of grey pixels: without log C its area is not "
                "1, and the number compares with nothing.",
            ),
            (
                _gives(lambda bce, logits: (bce - _log_c(logits)).sum(-1)),
                "That is the loss, minus log p. The sign is turned.",
            ),
            (
                _gives(lambda bce, logits: (bce + _log_c(logits)).sum(-1)),
                "BCE is a *cost*: it enters log p with a minus.",
            ),
            (
                _gives(lambda bce, logits: (-bce - _log_c(logits)).sum(-1)),
                "You subtracted log C. The area is 1/C, and *dividing by the area* is multiplying "
                "by C: its logarithm is added.",
            ),
            (
                _gives(lambda bce, logits: (_log_c(logits).exp() - bce).sum(-1)),
                "You added C itself to a logarithm: a factor on the density is added to log p as "
                "*its* logarithm.",
            ),
            (
                _gives(lambda bce, logits: (_log_c(logits) - bce).mean(-1)),
                "You averaged over pixels. Probabilities of independent pixels multiply, so their "
                "logarithms are summed; a mean would multiply β by D.",
            ),
            (
                _gives(lambda bce, logits: (_log_c(logits) - bce).sum()),
                "You summed over the images too: keep one number an image.",
            ),
            (
                _gives_pixels,
                "One number an *image* is asked for: sum over the pixels, the last dimension.",
            ),
        ),
        otherwise="For each pixel: minus its BCE, plus the logarithm of C at its logit.",
    ),
    Exercise(
        todo="Give minus log₂ of the probability of a bin at the top of a bell with σ = 1.",
        right=_LUCKY,
        why="The bell's top is 1/√(2π), the bin is 1/17 wide, so even a perfect hit has a "
        f"probability of only {2**-_LUCKY:.3f}. Guessing costs {math.log2(17):.2f} bits: σ = 1 "
        "has lost before it starts.",
        wrong=(
            (
                0,
                "A squared error of 0 is no cost of 0 bits: the bell still spreads its probability "
                "over a width of σ = 1, and a perfect mean does not change that.",
            ),
            (
                -_PEAK / math.log(2),
                "You took a density for a probability: multiply by the bin's width, 1/17, before "
                "the logarithm.",
            ),
            (_LUCKY * math.log(2), "That is in nats: divide by log 2 for bits."),
            (
                math.log2(17),
                "That is guessing, all 17 levels alike. The bell with σ = 1 is even wider than the "
                "range from black to white.",
            ),
            (
                -_LUCKY,
                "The sign: minus the logarithm of a probability is positive.",
            ),
            (
                (-math.log(17) - _PEAK) / math.log(2),
                "You divided the density by the bin's width instead of multiplying: probability "
                "is density times width.",
            ),
            (
                64 * _LUCKY,
                "That is per image; the question is for one pixel.",
            ),
        ),
        otherwise="The density at the top is 1/√(2π). Times 1/17 it is a probability.",
        tolerance=0.004,
    ),
    Exercise(
        todo="Give the correlation of two neighbours over draws that share one z.",
        right=_is_about_zero,
        why="Given z each pixel is thrown on its own. Over draws that each have a *new* z, "
        "neighbours do move together, because they watch the same z.",
        wrong=(
            (
                1,
                "You would have the pixels be copies of each other. They share z, but each throws "
                "its own die.",
            ),
            (
                lambda answer: not isinstance(answer, bool) and 0 < float(answer) < 1,
                "You mixed up p(x) and p(x|z): pixels hang together over *all* z, and in the real "
                "images' left-overs. At one fixed z the family makes them independent.",
            ),
            (
                lambda answer: not isinstance(answer, bool) and -1 <= float(answer) < 0,
                "You confused the sides of one die, which take probability from each other, with "
                "two pixels, which have two separate dice.",
            ),
        ),
        otherwise="A correlation lies between −1 and 1. What does the family say, given z?",
    ),
]
