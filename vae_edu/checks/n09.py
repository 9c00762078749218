"""The exercises of notebook 09, pitfalls."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vae_edu.checks import Exercise

_LARGEST_VARIANCE = 0.36
_PIXELS = 28 * 28
_BETA = 0.1
_SHIFT = 64 * math.log(255)


def _gives(expected: Callable[[Tensor], Tensor]) -> Callable[[Callable], bool]:
    """A predicate: the reader's f(x, mean) gives `expected` of the errors x - mean."""

    def matches(function: Callable) -> bool:
        generator = torch.Generator().manual_seed(0)
        for n, d, size in ((6, 4, 0.1), (3, 9, 2.0)):
            mean = torch.rand(n, d, generator=generator)
            error = size * torch.randn(n, d, generator=generator)
            given = function(mean + error, mean)
            if given is ... or given is None:
                return False
            given = torch.as_tensor(given, dtype=mean.dtype)
            if given.numel() != 1 or not torch.isclose(given, expected(error), rtol=1e-3).all():
                return False
        return True

    return matches


def _gives_no_number(function: Callable) -> bool:
    given = function(torch.zeros(2, 3), torch.ones(2, 3))
    return given is ... or given is None


def _gives_many(function: Callable) -> bool:
    given = function(torch.zeros(2, 3), torch.ones(2, 3))
    return isinstance(given, Tensor) and given.numel() != 1


EXERCISES: list[Exercise] = [
    Exercise(
        todo="Give the σ at which ½ log(λ₁/σ²) reaches 0.",
        right=math.sqrt(_LARGEST_VARIANCE),
        why="From σ² = λ₁ on, even the axis along which the data vary most is finer than the noise "
        "that the likelihood claims, and no latent is worth its KL.",
        wrong=(
            (
                _LARGEST_VARIANCE,
                "You took a variance for a standard deviation: an eigenvalue of a covariance "
                "matrix is a variance, so it is σ² that has to reach it.",
            ),
            (
                _LARGEST_VARIANCE**2,
                "You squared where a root is needed: the eigenvalue is already a variance, σ².",
            ),
            (
                _LARGEST_VARIANCE / 2,
                "The ½ in ½ log(λ₁/σ²) multiplies the logarithm; it does not move where the "
                "logarithm is 0.",
            ),
        ),
        otherwise="The first latent goes out last. When is ½ log(λ₁/σ²) = 0?",
    ),
    Exercise(
        todo="Multiply the loss by the number of pixels, and read off what stands before the KL.",
        right=_PIXELS,
        why="Times 784, the mean over pixels becomes the sum, and the KL gets the factor 784: "
        "averaging over pixels multiplies β by D.",
        wrong=(
            (
                1,
                "You overlooked the mean over pixels: it makes the reconstruction D times smaller "
                "beside the KL, which multiplies β by D.",
            ),
            (
                1 / _PIXELS,
                "That is the factor on the reconstruction, upside down: a smaller reconstruction "
                "term is a *larger* β.",
            ),
            (28, "That is one side of the image; the mean runs over all pixels, 28 × 28."),
        ),
        otherwise="A mean over D pixels is the sum divided by D. What factor makes it a sum again?",
    ),
    Exercise(
        todo="Bring the loss into the form squared error / (2σ²) + KL.",
        right=_BETA / 2,
        why="Divided by 0.1 the loss is squared error / 0.1 + KL, and 1/(2σ²) = 1/0.1 gives "
        "σ² = β/2.",
        wrong=(
            (
                _BETA,
                "You forgot the ½: σ² = β holds for *half* the squared error, as in "
                "−log N = squared error/(2σ²) + …",
            ),
            (
                math.sqrt(_BETA / 2),
                "That is σ, the standard deviation; the question is for the variance σ².",
            ),
            (
                2 * _BETA,
                "You multiplied by 2 instead of dividing: 1/(2σ²) = 1/β has to be solved for σ².",
            ),
            (1, "You read the loss as if β were 1: divide it by 0.1 first."),
        ),
        otherwise="Divide the loss by 0.1, so that the KL stands alone; then compare with 1/(2σ²).",
    ),
    Exercise(
        todo="Write the body of best_sigma: a function of (x, mean), both [N, D], that returns "
        "one number.",
        right=_gives(lambda error: error.square().mean().sqrt()),
        why="The maximum-likelihood σ² is the mean squared error over all pixels and images, and "
        "σ is its root.",
        wrong=(
            (
                _gives_no_number,
                "Not answered yet, it seems: your function returns nothing. Replace its `...`.",
            ),
            (
                _gives(lambda error: error.square().mean()),
                "You returned the MSE. That is the best σ², a variance; σ is its root.",
            ),
            (
                _gives(lambda error: error.square().sum(-1).mean().sqrt()),
                "You summed over pixels: each of the D pixels has its own noise, so the squared "
                "error is averaged over pixels too. (The sum belongs in log p, not in σ.)",
            ),
            (
                _gives(lambda error: error.square().sum(-1).mean()),
                "You summed over pixels, and left out the root: σ² is the squared error averaged "
                "over pixels and images.",
            ),
            (
                _gives(lambda error: error.abs().mean()),
                "You averaged absolute errors: that is the best scale of a Laplace distribution. "
                "For a Gaussian it is the root of the mean *squared* error.",
            ),
            (
                _gives(lambda error: error.std()),
                "You took the spread around the errors' own mean: a decoder that is off by a "
                "constant would go unpunished. Square the errors as they are.",
            ),
            (
                _gives_many,
                "You returned several numbers: one σ for all pixels is asked for, so average over "
                "images and pixels.",
            ),
        ),
        otherwise="Set the derivative of D log σ + squared error/(2σ²) with respect to σ to 0.",
    ),
    Exercise(
        todo="Give her log p(x) in nats: the density per unit of x, when the unit is 255 times "
        "finer.",
        right=10 - _SHIFT,
        why="Each pixel's density is spread over a range 255 times as long, so it is 255 times "
        "lower; log p falls by log 255 for each of the 64 pixels. The model is the same.",
        wrong=(
            (
                10 + _SHIFT,
                "You shifted the wrong way: the same probability is spread over a longer range, so "
                "the density falls.",
            ),
            (
                10 - math.log(255),
                "You counted one pixel: the density of an image has a factor 1/255 for each of "
                "its 64 pixels.",
            ),
            (
                10,
                "You took the density for a probability mass: a mass does not care about the unit, "
                "a density is probability per unit of x.",
            ),
            (
                10 / 255,
                "You divided the logarithm: a factor on the density is added to its logarithm.",
            ),
            (
                10 - 64 * math.log2(255),
                "You mixed units: log₂ gives bits, and the 10 is in nats (natural logarithms).",
            ),
            (
                10 - 64 * math.log10(255),
                "You mixed units: nats are natural logarithms, not decimal ones.",
            ),
        ),
        otherwise="Section 7: a change of unit by c shifts log p of D pixels by D log c.",
    ),
]
