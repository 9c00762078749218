"""Notebook 04: the approximate posterior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from vae_edu.checks import Exercise
from vae_edu.models import LinearGaussian

_PRIOR = Normal(0.0, 1.0)
_POINTS = [(0.0, 0.0), (1.5, -1.0), (-0.5, 0.7), (2.0, 0.3), (0.3, -2.0)]


def _same(formula: Callable[[Tensor, Tensor], Tensor]) -> Callable[[object], bool]:
    """Whether an answer is a function with the values of `formula`."""

    def matches(answer: object) -> bool:
        if not callable(answer):
            return False
        for point in _POINTS:
            mean, log_std = (torch.tensor(number) for number in point)
            value, expected = float(answer(mean, log_std)), float(formula(mean, log_std))
            if not math.isclose(value, expected, rel_tol=1e-3, abs_tol=1e-4):
                return False
        return True

    return matches


def _kl(mean: Tensor, log_std: Tensor) -> Tensor:
    return kl_divergence(Normal(mean, log_std.exp()), _PRIOR)


def _line_posterior(noise: float) -> float:
    """The posterior's standard deviation under p(x|z) = N(z, noise²)."""
    model = LinearGaussian(torch.ones(1, 1), torch.zeros(1), noise)
    return float(model.posterior(torch.zeros(1)).stddev)


_LINE_NOISE = 0.5
_LINE = _line_posterior(_LINE_NOISE)

_CENTRE, _HUMP = 2.0, 0.5
_TWO_HUMPS = float(
    MixtureSameFamily(
        Categorical(torch.ones(2)),
        Normal(torch.tensor([-_CENTRE, _CENTRE]), torch.full((2,), _HUMP)),
    ).stddev
)

_LOG_P, _BEST, _ENCODER = -1.50, -1.62, -1.95
_RISE = -1.80 - -2.10

EXERCISES = [
    Exercise(
        todo="Write a function of mean and log_std, two tensors, and pass the function itself.",
        right=_same(_kl),
        why="½ (μ² + σ² − 1 − log σ²) with σ² = exp(2 log_std): Kingma & Welling's appendix B. It "
        "is 0 only for the prior itself, and grows without end as σ goes to 0.",
        wrong=[
            (
                _same(lambda m, s: -_kl(m, s)),
                "The sign: the appendix gives −KL, the term as it stands in the ELBO. A KL is "
                "never negative.",
            ),
            (
                _same(lambda m, s: 2 * _kl(m, s)),
                "Twice too large: the factor ½ is missing.",
            ),
            (
                _same(lambda m, s: _kl(m, s / 2)),
                "You took log_std for the log-variance: here σ = exp(log_std), so "
                "σ² = exp(2 log_std) and log σ² = 2 log_std.",
            ),
            (
                _same(lambda m, s: 0.5 * (m**2 + s.exp() - 1 - 2 * s)),
                "You used the standard deviation exp(log_std) in place of the variance: "
                "σ² = exp(2 log_std).",
            ),
            (
                _same(lambda m, s: 0.5 * (m**2 + (2 * s).exp() - 1 - s)),
                "You took log_std for log σ² in the last term: log σ² = 2 log_std.",
            ),
            (
                _same(lambda m, s: kl_divergence(_PRIOR, Normal(m, s.exp()))),
                "You have the two the wrong way round: that is KL(prior ‖ q), averaged over the "
                "prior. The ELBO's KL is averaged over q.",
            ),
        ],
        otherwise="The function should give ½ (μ² + σ² − 1 − log σ²), in nats, at any mean and "
        "log_std: it should be 0 at mean 0 and log_std 0.",
    ),
    Exercise(
        todo="How much does log p(x) change, in nats? The decoder and the prior stay.",
        right=0.0,
        why="p(x) is made by the prior and the likelihood. The encoder is no part of the model: "
        "the KL to the posterior fell by what the ELBO rose.",
        wrong=[
            (
                _RISE,
                "You took the bound for the thing bounded: the ELBO rose by that much, and the "
                "KL to the posterior fell by as much. Their sum stood still.",
            ),
            (
                -_RISE,
                "That is the change of KL(q ‖ p(z|x)), the gap. The question is about "
                "ELBO + KL, the sum.",
            ),
        ],
        otherwise="Look at the stacked bar: what does its top do while q is dragged?",
    ),
    Exercise(
        todo="Give a standard deviation. The model is conjugate: its posterior is a normal.",
        right=_LINE,
        why="The posterior is normal here, so the best q is the posterior itself and the gap is "
        "0. Precisions add: 1/σ² = 1 + 1/0.5², from prior and measurement.",
        wrong=[
            (
                lambda a: float(a) == 0,
                "You maximized the reconstruction alone: without the KL to the prior the best "
                "width is 0. The ELBO has both terms.",
            ),
            (
                _LINE**2,
                "That is the variance of the best q; the question asks for its standard "
                "deviation, the square root.",
            ),
            (
                _LINE_NOISE,
                "That is the likelihood's own width: you left out the prior, which makes the "
                "posterior a little narrower.",
            ),
            (
                1.0,
                "That is the prior's width: you left out the measurement, which narrows it.",
            ),
            (
                1 + 1 / _LINE_NOISE**2,
                "That is the posterior's precision, 1 / σ². The question asks for σ.",
            ),
            (
                math.sqrt(1 + _LINE_NOISE**2),
                "That is the width of the marginal p(x), where variances add. For the posterior "
                "the precisions (1 / variance) add.",
            ),
        ],
        otherwise="The ELBO is largest where q equals the posterior; that of a straight line has a "
        "formula (notebook 03).",
    ),
    Exercise(
        todo="Give a standard deviation. Which two numbers does the forward KL's best normal share "
        "with the posterior?",
        right=_TWO_HUMPS,
        why="The forward KL's best normal has the posterior's own mean and variance: "
        "0.5² within a hump plus 2² for the humps' distance from the middle.",
        wrong=[
            (
                _HUMP,
                "That is one hump's width: the reverse KL seeks a mode. The forward KL has to "
                "cover both humps.",
            ),
            (
                _TWO_HUMPS**2,
                "That is the variance; the question asks for the standard deviation, its root.",
            ),
            (
                _CENTRE,
                "You counted how far the humps lie from the middle, and left out their own width.",
            ),
            (
                _CENTRE + _HUMP,
                "You added standard deviations. Variances add: within a hump, and between humps.",
            ),
        ],
        otherwise="The forward KL averages over the posterior, and its best normal has the same "
        "mean and variance as the posterior.",
    ),
    Exercise(
        todo="How many nats at most? Which of the two gaps belongs to the encoder network?",
        right=_BEST - _ENCODER,
        why="That is the amortization gap. The rest is the approximation gap: it belongs to the "
        "normal family, and no encoder that answers with a normal can close it.",
        wrong=[
            (
                _LOG_P - _ENCODER,
                "That is the whole gap, KL(q ‖ p(z|x)). A part of it belongs to the family: no "
                "normal q has an ELBO above that of the best one.",
            ),
            (
                _LOG_P - _BEST,
                "That is the approximation gap, the part that an encoder can not change: it "
                "belongs to the normal family.",
            ),
            (
                _ENCODER - _BEST,
                "The sign: the best q's ELBO is the higher one, so the ELBO can rise.",
            ),
        ],
        otherwise="The ELBO can rise from your encoder's to that of the best normal q.",
        tolerance=0.02,
    ),
]
