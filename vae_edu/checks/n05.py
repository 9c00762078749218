"""The exercises of notebook 05, the reparameterization trick."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from vae_edu.checks import Exercise

PLANT = 2.0


def _pay(z: Tensor) -> Tensor:
    return -0.5 * (z - PLANT) ** 2


# 05.1: one drop's gradient for sigma.


def _one_drop() -> dict[str, float]:
    mu, sigma, gust = torch.tensor(0.0), torch.tensor(0.5, requires_grad=True), 2.0
    z = mu + sigma * gust
    (pathwise,) = torch.autograd.grad(_pay(z), sigma)
    place = z.detach()
    (score,) = torch.autograd.grad(Normal(mu, sigma).log_prob(place), sigma)
    return {
        "pathwise": pathwise.item(),
        "score": (_pay(place) * score).item(),
        "without the gust": (PLANT - place).item(),  # the slope of the pay
        "exact": -sigma.item(),
    }


_DROP = _one_drop()


# 05.2: the sampler. A predicate runs the reader's function on one input.

_MEAN, _LOG_VAR, _EPS = [0.5, -1.0], [-2.0, 1.0], [1.5, -0.5]


def _returns(expected: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Any], bool]:
    """Whether the reader's sampler returns the same numbers as `expected`."""

    def matches(answer: Any) -> bool:
        if not callable(answer):
            return False
        inputs = [torch.tensor(values) for values in (_MEAN, _LOG_VAR, _EPS)]
        z = answer(*inputs)
        return _close(z, expected(*inputs))

    return matches


def _close(value: Any, expected: Tensor) -> bool:
    if not isinstance(value, Tensor) or value.shape != expected.shape:
        return False
    return torch.allclose(value.detach().to(expected), expected, atol=1e-4)


def _half(mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
    return mean + torch.exp(0.5 * log_var) * eps


def _carries_gradients(answer: Any) -> bool:
    mean, log_var = (torch.tensor(values, requires_grad=True) for values in (_MEAN, _LOG_VAR))
    z = answer(mean, log_var, torch.tensor(_EPS))
    if not z.requires_grad:
        return False
    slopes = torch.autograd.grad(z.sum(), (mean, log_var), allow_unused=True)
    return all(slope is not None and bool((slope != 0).all()) for slope in slopes)


def _right_sampler(answer: Any) -> bool:
    return _returns(_half)(answer) and _carries_gradients(answer)


def _empty(*inputs: Any) -> Callable[[Any], bool]:
    """Whether the reader's function is still the one of the notebook, which returns nothing."""

    def matches(answer: Any) -> bool:
        if not callable(answer):
            return False
        value = answer(*inputs)
        return value is ... or value is None

    return matches


# 05.4: the exact gradient for a categorical latent.

_LOGITS = [[0.3, -1.2, 0.8], [1.0, 0.0, -0.5, 2.0]]
_PAYS = [[-1.0, 2.0, 0.5], [3.0, -2.0, 1.0, 0.25]]


def _gives(expected: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any], bool]:
    """Whether the reader's function returns `expected(probabilities, pays)` on every case."""

    def matches(answer: Any) -> bool:
        if not callable(answer):
            return False
        for logits, pays in zip(_LOGITS, _PAYS, strict=True):
            logits, pays = torch.tensor(logits), torch.tensor(pays)
            # Whoever uses autograd on the logits as they come should be able to.
            value = answer(logits.clone().requires_grad_(), pays)
            if not _close(value, expected(logits.softmax(-1), pays)):
                return False
        return True

    return matches


# 05.5: the forgotten half, by formula: only the variance in the reconstruction changes.


def _excess(s: float) -> float:
    variance = s**2 / (1 + s**2)  # the exact posterior's
    return (variance - variance**2) / (2 * s**2)


EXERCISES: list[Exercise] = [
    Exercise(
        todo="Give a number: the slope of the pay where the drop falls, times dz/dσ.",
        right=_DROP["pathwise"],
        why="The drop falls at z = 0 + 0.5 · 2 = 1, where the pay's slope is 2 - z = 1, and "
        "dz/dσ = ε = 2. (The exact gradient is -σ: a single drop may even have the wrong sign.)",
        wrong=[
            (
                _DROP["exact"],
                "That is the exact gradient -σ, the average over all drops. A single draw is only "
                "an estimate of it: use this drop's ε.",
            ),
            (
                _DROP["score"],
                "That is the score-function estimate, f(z) times the slope of log q. The pathwise "
                "one follows the drop: f'(z) dz/dσ.",
            ),
            (
                _DROP["without the gust"],
                "That is the slope of the pay alone, which is the gradient for μ (dz/dμ = 1). "
                "For σ the chain rule needs dz/dσ = ε.",
            ),
            (
                -_DROP["pathwise"],
                "The sign is turned: the drop falls short of the plant, so the pay rises to the "
                "right there.",
            ),
        ],
        otherwise="First find where the drop falls, z = μ + σε. Then f'(z) dz/dσ.",
    ),
    Exercise(
        todo="Give the function itself, draw_z(mean, log_var, eps), not its result.",
        right=_right_sampler,
        why="Half the log-variance is the log of the standard deviation, and both parameters are "
        "on the path from the noise to z.",
        wrong=[
            (
                _empty(*(torch.tensor(values) for values in (_MEAN, _LOG_VAR, _EPS))),
                "draw_z returns nothing as yet: put your line in place of the dots.",
            ),
            (
                _returns(_half),
                "The numbers are right, but the path is cut: no gradient reaches mean or log_var. "
                "Something like .detach(), .item(), torch.no_grad() or sample() is in the way.",
            ),
            (
                _returns(lambda mean, log_var, eps: mean + torch.exp(log_var) * eps),
                "std = exp(log_var) is the variance, not the standard deviation: the half is "
                "missing. The sampler would disagree with the KL.",
            ),
            (
                _returns(lambda mean, log_var, eps: mean + log_var * eps),
                "You used the log-variance itself as the width. It can be negative; take "
                "exp(½ log_var).",
            ),
            (
                _returns(lambda mean, log_var, eps: mean + torch.exp(2 * log_var) * eps),
                "You doubled where a half belongs: the standard deviation is the square *root* of "
                "the variance.",
            ),
            (
                _returns(lambda mean, log_var, eps: mean),
                "That is the mean of q, not a draw from it: the noise is missing.",
            ),
        ],
        otherwise="z is the mean plus the standard deviation times eps, "
        "with standard deviation exp(½ log_var).",
    ),
    Exercise(
        todo='Give one letter: "a", "b", "c" or "d".',
        right="b",
        why="Only there does a weight sit behind a draw: the encoder's weights decide where z "
        "falls, and the gradient has to get back through z.",
        wrong=[
            (
                "a",
                "Nothing is drawn in (a): x and z are given, and log p(x|z) is a formula that is "
                "differentiated. A likelihood that is evaluated needs no trick.",
            ),
            (
                "c",
                "A draw alone needs no trick: nobody asks for a gradient when you just look at the "
                "images. sample() will do.",
            ),
            (
                "d",
                "(d) mixes up two ideas: any network can compute the parameters of a distribution. "
                "The trick is about draws that carry a gradient.",
            ),
        ],
        otherwise="Ask of each: is something drawn, and must a gradient get through that draw?",
    ),
    Exercise(
        todo="Give the function itself, exact_gradient(logits, pays), not its result.",
        right=_gives(lambda pi, f: pi * (f - (pi * f).sum())),
        why="The sum over all K values has no draw in it, so no estimator is needed. By formula "
        "the gradient for logit k is π_k (f(k) - average pay): the average is a built-in baseline.",
        wrong=[
            (
                _empty(torch.tensor(_LOGITS[0], requires_grad=True), torch.tensor(_PAYS[0])),
                "exact_gradient returns nothing as yet: put your code in place of the dots.",
            ),
            (
                _gives(lambda pi, f: pi * f),
                "You raised one probability and forgot that the others then fall: softmax "
                "normalizes. Subtract the average pay, π_k (f(k) - average).",
            ),
            (
                _gives(lambda pi, f: f),
                "That is the gradient for the probabilities π. The dials are the logits, and the "
                "softmax lies between: the chain rule goes through it.",
            ),
            (
                _gives(lambda pi, f: (pi * f).sum()),
                "That is the average pay itself, not its gradient.",
            ),
            (
                _gives(lambda pi, f: torch.zeros_like(f)),
                "Zero is what following single draws gives: a die has no path. Differentiate the "
                "sum over all K values instead.",
            ),
            (
                _gives(lambda pi, f: -pi * (f - (pi * f).sum())),
                "The sign is turned: that is the gradient of minus the average pay (a loss).",
            ),
        ],
        otherwise="Write the average pay as (logits.softmax(-1) * pays).sum(), and differentiate "
        "it for the logits; return K numbers.",
    ),
    Exercise(
        todo="Give a number, in nats.",
        right=_excess(1.0),
        why="The KL still believes the variance ½ and charges for it, while the draws have the "
        "variance ½² = ¼. The squared error shrinks by ¼, and ¼ / (2s²) nats are won unfairly: "
        "no bound any more.",
        wrong=[
            (
                0.0,
                "You trusted the name: a lower bound can't be exceeded. But with the half "
                "forgotten, sampler and KL disagree, and the number is no bound.",
            ),
            (
                -_excess(1.0),
                "The size is right, the sign is not: the “ELBO” lies above log p(x), so it exceeds "
                "it by a positive number.",
            ),
            (
                2 * _excess(1.0),
                "That is how much the variance shrinks. In the Gaussian's log-density the squared "
                "error is divided by 2s².",
            ),
        ],
        otherwise="Compare bound(…) at mean and log-variance from truth(x, 1.0), with "
        "std = exp(log_var), with the log p(x) that truth also gives.",
        tolerance=0.02,
    ),
]
