"""Notebook 08: the posterior microscope."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from vae_edu import data, exact, pretrained
from vae_edu.checks import Exercise
from vae_edu.models import VAE

# 08.1: a normal posterior with standard deviations 1 and this correlation.
_TILT = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
_POSTERIOR = MultivariateNormal(torch.zeros(2), covariance_matrix=_TILT)


def _upright(variances: torch.Tensor) -> MultivariateNormal:
    return MultivariateNormal(torch.zeros(2), covariance_matrix=torch.diag(variances))


_BEST = _upright(1 / torch.linalg.inv(_TILT).diagonal())
_MATCHED = _upright(_TILT.diagonal())
_GAP = float(kl_divergence(_BEST, _POSTERIOR))

# 08.2: one packet of darts.
_LOG_W = torch.tensor([-20.0, -22.0, -19.0, -31.0])
_LOG_SUM = float(_LOG_W.logsumexp(0))

# 08.5: an image with few white pixels that fools the encoder.
_MOST_WHITE, _LEAST_GAP = 12, 20.0


@cache
def _bernoulli() -> tuple[VAE, exact.LatentGrid]:
    vae = pretrained.load("bernoulli", data.load("digits")).requires_grad_(False)
    # Wide: the posterior of an odd image may lie far outside the prior's bulk.
    return vae, exact.LatentGrid(vae, points=400, half_width=10.0)


def _pixels(answer: object) -> torch.Tensor:
    vae, _ = _bernoulli()
    return vae.likelihood.prepare(torch.as_tensor(answer).reshape(1, -1))


def _white(answer: object) -> int:
    return int(_pixels(answer).sum())


@torch.no_grad()
def _gap(answer: object) -> float:
    """log p(x) less the ELBO, which is an average over Gauss and Hermite's places."""
    (vae, grid), x = _bernoulli(), _pixels(answer)
    places, weights = np.polynomial.hermite_e.hermegauss(20)
    places = torch.tensor(places, dtype=torch.float32)
    weights = torch.tensor(weights / weights.sum(), dtype=torch.float32)
    q = vae.posterior(x)
    z = q.mean + q.stddev * torch.cartesian_prod(places, places)
    terms = vae.decode(z).log_prob(x) + vae.prior.log_prob(z) - q.log_prob(z)
    return float(grid.log_marginal(x) - terms @ torch.outer(weights, weights).flatten())


def _gap_between(low: float, high: float) -> Callable[[object], bool]:
    return lambda answer: low <= _gap(answer) < high


EXERCISES = [
    Exercise(
        todo="Give a number of nats: the KL from the best upright normal to the posterior.",
        right=_GAP,
        why="It is -½ log(1 - 0.8²). A normal posterior can leave an approximation gap too, when "
        "q may not tilt as it does; a q with a full covariance would leave none.",
        wrong=[
            (
                0,
                'You took "the posterior is normal" for "q can equal it". It is tilted, and an '
                "upright normal isn't: the family lacks that shape.",
            ),
            (
                float(kl_divergence(_MATCHED, _POSTERIOR)),
                "That q has the posterior's own widths. The ELBO's best upright q is narrower: "
                "its 1/σ² is the diagonal of the *inverse* covariance.",
            ),
            (
                2 * _GAP,
                "You forgot a half: the logarithm of a *standard deviation* is half of that of a "
                "variance.",
            ),
            (-_GAP, "The sign: a KL divergence is never negative."),
        ],
        otherwise="Take q's variances as 1 over the diagonal of the inverse covariance, and "
        "compute kl_divergence(q, posterior).",
    ),
    Exercise(
        todo="Give a number of nats: the logarithm of the average of the four weights.",
        right=_LOG_SUM - math.log(len(_LOG_W)),
        why="Average the weights, then take the logarithm: logsumexp of the four, less log 4.",
        wrong=[
            (
                float(_LOG_W.mean()),
                "You averaged the logarithms: that is the ELBO, estimated with four draws. IWAE "
                "averages the weights *inside* the logarithm.",
            ),
            (
                _LOG_SUM,
                "That is the logarithm of the *sum* of the weights. Divide by the number of "
                "darts: less log 4.",
            ),
            (
                float(_LOG_W.max()),
                "That is the best dart alone. It dominates the average, but the other three count "
                "as darts too.",
            ),
            (
                lambda a: 0 < float(a) < 1e-6,
                "That is the average weight itself; the bound is its logarithm.",
            ),
            (
                _LOG_SUM + math.log(len(_LOG_W)),
                "You added log 4: dividing the sum by 4 *subtracts* it.",
            ),
        ],
        otherwise="torch.logsumexp of the four log-weights, less the logarithm of how many.",
        tolerance=5e-4,
    ),
    Exercise(
        todo='Answer "a", "b" or "c".',
        right="b",
        why="The bound is an expectation over throws. Where it is nearly tight, single throws "
        "scatter around log p(x), some of them above.",
        wrong=[
            (
                "a",
                "You took one throw for the bound. The bound is the *average* over throws; "
                "that never exceeds log p(x).",
            ),
            (
                "c",
                "You took more darts for another bound. For every k the expectation stays at or "
                "below log p(x); it only comes nearer.",
            ),
        ],
        otherwise='The answer is one letter, "a", "b" or "c".',
    ),
    Exercise(
        todo='Answer "flat", "ears" or "hill".',
        right="flat",
        why="The true z comes from the prior, and so do the 99 draws: all 100 are alike. Flat, "
        "and useless for every single image: the test sees averages only.",
        wrong=[
            (
                "hill",
                "You reasoned that the prior is wider than the posterior, which is so for each "
                "image. But the true z wanders over the whole prior too, from image to image.",
            ),
            (
                "ears",
                "You took every wrong q for an overconfident one. Ears come from a q that is too "
                "narrow or misplaced; the prior misses no region.",
            ),
        ],
        otherwise='The answer is one word: "flat", "ears" or "hill".',
    ),
    Exercise(
        todo="Give 64 whole numbers from 0 to 16, row by row.",
        right=lambda a: _white(a) <= _MOST_WHITE and _gap(a) >= _LEAST_GAP,
        why="The posterior of your image is as exact as any; the encoder has never learned to "
        "read such a page.",
        wrong=[
            (
                lambda a: _white(a) > _MOST_WHITE,
                f"More than {_MOST_WHITE} pixels are white, that is, 8 or more. Use less paint.",
            ),
            (
                _gap_between(-math.inf, 3.0),
                "The gap is below 3 nats. An improbable image is not the same as a large gap: "
                "this one the encoder reads well. Go where no digit ever has ink.",
            ),
            (
                _gap_between(3.0, _LEAST_GAP),
                "The gap is above 3 nats, but not yet above 20. You are on the way: move the ink "
                "farther from where digits have it.",
            ),
        ],
    ),
]
