"""The exercises of notebook 02, the likelihood."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vae_edu.checks import Exercise
from vae_edu.distributions import ContinuousBernoulli

F2, LOGIT = -2.0, 2.0  # the numbers in exercises 02.1 and 02.4


def _nll(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    return -Independent(Normal(mean, sigma), 1).log_prob(x)


def _squared(x: Tensor, mean: Tensor) -> Tensor:
    return ((x - mean) ** 2).sum(-1)


def _gives(formula: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[[Any], bool]:
    """Whether a function of (x, mean, sigma) gives what the formula gives, on inputs of its own."""

    def matches(answer: Any) -> bool:
        if not callable(answer):
            return False
        generator = torch.Generator().manual_seed(0)
        for sigma in (0.4, 2.5):
            x, mean = torch.randn(2, 5, 3, generator=generator)
            given = answer(x, mean, sigma)
            expected = formula(x, mean, sigma)
            if not isinstance(given, Tensor) or given.shape != expected.shape:
                return False
            if not torch.allclose(given.to(expected), expected, rtol=1e-3, atol=1e-4):
                return False
        return True

    return matches


def _returns_no_tensor(answer: Any) -> bool:
    x = torch.ones(5, 3)
    return callable(answer) and not isinstance(answer(x, x, 1.0), Tensor)


FAMILY_OF = {
    "the next word of a sentence": "categorical",
    "goals in a football match": "poisson",
    "minutes until the bus comes": "log-normal",
    "a pixel of a scanned page, black or white": "bernoulli",
}
WORD, GOALS, BUS, PIXEL = FAMILY_OF


def _all_right(answer: Any) -> bool:
    return all(_chose(thing, family)(answer) for thing, family in FAMILY_OF.items())


def _chose(thing: str, *families: str) -> Callable[[Any], bool]:
    """Whether a dictionary names one of these families for the thing."""

    def matches(answer: Any) -> bool:
        given = answer.get(thing) if isinstance(answer, dict) else None
        return isinstance(given, str) and given.strip().casefold() in families

    return matches


def _not_filled_in(answer: Any) -> bool:
    return not isinstance(answer, dict) or any(
        not isinstance(answer.get(thing), str) for thing in FAMILY_OF
    )


_log_norm = float(ContinuousBernoulli(torch.tensor(LOGIT)).log_norm())
_white = 1 / (1 + math.exp(-LOGIT))

EXERCISES = [
    Exercise(
        todo="Give a number: the standard deviation.",
        right=math.exp(F2 / 2),
        why="f2 is the logarithm of σ², so σ² = exp(f2) and σ = exp(f2 / 2). torch's Normal wants "
        "this σ.",
        wrong=[
            (
                math.exp(F2),
                "You read the log-variance as a log-standard-deviation (or stopped at the "
                "variance): exp(f2) is σ². The standard deviation is its root.",
            ),
            (
                math.exp(2 * F2),
                "You squared where a root is needed: exp(2 f2) would be the variance if f2 were "
                "log σ. Here exp(f2) already is the variance.",
            ),
            (
                math.exp(-F2 / 2),
                "The sign got lost: a negative log-variance means a variance below 1.",
            ),
            (
                lambda a: isinstance(a, int | float) and a < 0,
                "A standard deviation is never negative. The network's output may be, because it "
                "is a logarithm: take the exponential.",
            ),
        ],
        otherwise="Undo the logarithm first: σ² = exp(f2). Then take the square root.",
    ),
    Exercise(
        todo="Write the function: it returns a tensor with one value an example.",
        right=_gives(_nll),
        why="It is the squared error over 2σ², plus D log σ, plus D/2 log 2π, summed over the D "
        "coordinates and not over the examples.",
        wrong=[
            (
                _returns_no_tensor,
                "The function returns no tensor yet: put your formula in place of the dots.",
            ),
            (
                _gives(lambda x, m, s: -_nll(x, m, s)),
                "The sign: this is log p. The loss is *minus* the log-likelihood.",
            ),
            (
                _gives(lambda x, m, s: _squared(x, m) / (2 * s**2)),
                "You left out the constants. For training the mean they don't matter; for "
                "learning σ, or for reporting how probable x is, they do.",
            ),
            (
                _gives(lambda x, m, s: _squared(x, m)),
                "This is the bare squared error: it lacks the weight 1 / 2σ², and the constants.",
            ),
            (
                _gives(lambda x, m, s: _squared(x, m) / (2 * s**2) + 1.5 * math.log(2 * math.pi)),
                "D log σ is missing. Without it the loss falls for ever as σ grows.",
            ),
            (
                _gives(lambda x, m, s: _squared(x, m) / (2 * s**2) + 3 * math.log(s)),
                "The constant D/2 log 2π is missing: without it the density's area is not 1.",
            ),
            (
                _gives(
                    lambda x, m, s: (
                        _squared(x, m) / (2 * s**2) + math.log(s) + 0.5 * math.log(2 * math.pi)
                    )
                ),
                "You counted the constants once; each of the D coordinates brings its own.",
            ),
            (
                _gives(lambda x, m, s: _nll(x, m, math.sqrt(s))),
                "You took sigma for the variance: it is the standard deviation, so square it.",
            ),
            (
                _gives(lambda x, m, s: _nll(x, m, s) / 3),
                "You averaged over the coordinates. A log-probability of independent coordinates "
                "is a sum; the average is wrong by a factor D, and in a VAE multiplies β by D, "
                "the weight of the KL.",
            ),
            (
                _gives(lambda x, m, s: _nll(x, m, s).sum()),
                "You summed over the examples, too: give one value an example, shape [N].",
            ),
            (
                _gives(lambda x, m, s: _nll(x, m, s).mean()),
                "You averaged over the examples: give one value an example, shape [N].",
            ),
            (
                _gives(lambda x, m, s: -Normal(m, s).log_prob(x)),
                "You have one value a coordinate: sum over the last dimension, D.",
            ),
        ],
        otherwise='Compare with the formula under "MSE, BCE, cross-entropy": three terms, summed '
        "over the last dimension.",
    ),
    Exercise(
        todo="Write the name of a family for each of the four.",
        right=_all_right,
        why="Each family lives on exactly the values that its data can take: categories, counts, "
        "positive numbers, two values.",
        wrong=[
            (
                _not_filled_in,
                "Write the name of a family in place of the dots, for each of the four.",
            ),
            (
                _chose(BUS, "poisson"),
                "The bus: a Poisson *counts* (buses in an hour), it lives on 0, 1, 2, … A waiting "
                "time is any positive number.",
            ),
            (
                _chose(BUS, "gaussian"),
                "The bus: a Gaussian gives probability to negative waiting times. Choose a family "
                "whose domain is the positive numbers.",
            ),
            (
                _chose(GOALS, "gaussian"),
                "Goals: a Gaussian gives probability to -1 and to 2.5 goals. Goals are counts.",
            ),
            (
                _chose(GOALS, "categorical"),
                "Goals: a Categorical needs a largest number of goals, and knows nothing of 3 "
                "being next to 4. There is a family made for counts without an upper end.",
            ),
            (
                _chose(GOALS, "log-normal"),
                "Goals: a log-normal lives on all positive real numbers, and gives 0 goals no "
                "probability. Goals are counts: 0, 1, 2, …",
            ),
            (
                _chose(WORD, "gaussian", "poisson", "log-normal"),
                "The word: words have numbers in a vocabulary, but no order: word 7 is not between "
                "6 and 8. A category wants a softmax.",
            ),
            (
                _chose(WORD, "bernoulli"),
                "The word: a Bernoulli has two outcomes, a vocabulary has thousands.",
            ),
            (
                _chose(PIXEL, "gaussian"),
                "The pixel: it is black or white, and a Gaussian spends its probability on values "
                "that never occur. Squared error would train; it is no likelihood of 0 and 1.",
            ),
        ],
        otherwise="Ask of each: what values can it take? Then look the domain up in the table.",
    ),
    Exercise(
        todo="Give a number: the area under exp(-BCE) from 0 to 1, at logit 2.",
        right=math.exp(-_log_norm),
        why="The area at logit a is tanh(a/2) / a. Divided by it, exp(-BCE) is the continuous "
        "Bernoulli's density.",
        wrong=[
            (
                1,
                "You took exp(-BCE) for a density already. Its two *ends* sum to 1, as a coin's "
                "must; the area in between is what counts for grey pixels.",
            ),
            (
                math.exp(_log_norm),
                "That is the number to *multiply* with: one over the area.",
            ),
            (
                _white,
                "That is the probability of white for a coin with this logit, one point of the "
                "curve. Grey pixels need the area under all of it.",
            ),
            (
                0.5,
                "That is the area at logit 0. It is not a constant: it depends on the logit, and "
                "so on z. This is why it can't be left out.",
            ),
            (
                -_log_norm,
                "That is the logarithm of the area.",
            ),
            (
                math.tanh(LOGIT / 2),
                "Almost: tanh(a/2) has still to be divided by a.",
            ),
        ],
        otherwise="The area has a formula, tanh(a/2) / a; or add up exp(-BCE) over a fine grid.",
    ),
    Exercise(
        todo='Answer "A", "B" or "cannot say".',
        right="cannot say",
        why="A's number is the logarithm of a density, per unit of brightness; B's is the "
        "logarithm of a probability of grey levels. Measure brightness in another unit and A's "
        "number moves, while the model stays the same.",
        wrong=[
            (
                "A",
                "You compared a density with a mass. +30 is not more probable than -110: "
                "measured in grey levels instead of brightness A's number would drop by "
                "64 log 17 nats, with nothing changed in the model.",
            ),
            (
                "B",
                "Do you hold a positive log p for a bug? A density may exceed 1, so its logarithm "
                "may be positive. A may be better or worse: the two numbers have different units.",
            ),
        ],
        otherwise='Answer with one of the texts "A", "B" or "cannot say".',
    ),
]
