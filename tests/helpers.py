"""What several test files share: small data, small models, and statistical assertions."""

import numpy as np
import torch
from scipy import stats

from vae_edu import likelihoods, priors
from vae_edu.data import ImageData, PointData
from vae_edu.models import VAE

CASES = [
    ("gaussian", {"scale": "fixed", "sigma": 0.3}),
    ("gaussian", {"scale": "learned"}),
    ("gaussian", {"scale": "per_pixel"}),
    ("gaussian", {"scale": "from_z"}),
    ("gaussian-full", {"rank": 2}),
    ("bernoulli", {}),
    ("continuous-bernoulli", {}),
    ("categorical", {}),
    ("discretized-logistic", {}),
]
DENSITIES = [case for case in CASES if "gaussian" in case[0] or "continuous" in case[0]]
MASSES = [case for case in CASES if case not in DENSITIES]


def case_id(case) -> str:
    return "-".join([case[0], *map(str, case[1].values())]) if isinstance(case, tuple) else None


def images(dim: int = 6, levels: int = 5, n: int = 40) -> ImageData:
    """Random images whose pixels go light and dark together, so that a latent has work to do."""
    generator = torch.Generator().manual_seed(1)
    brightness = torch.rand(n, 1, generator=generator)
    noise = 0.2 * torch.randn(n, dim, generator=generator)
    x = ((brightness + noise) * levels).floor().clamp(0, levels - 1).to(torch.uint8)
    y = (brightness[:, 0] > 0.5).long()
    return ImageData("tiny", x, y, x[:10], y[:10], levels, (1, dim))


def points(x: torch.Tensor) -> PointData:
    """Rows of real numbers as a data set; which latent made them is not known."""
    none = torch.full((len(x), 1), torch.nan)
    return PointData("rows", x, none, x[:10], none[:10], mean=torch.tanh, noise=1.0)


def vae(case, data, prior=None, hidden=(8,), gain: float = 1.0) -> VAE:
    """An untrained VAE; `gain` enlarges the decoder's weights, so that z matters to x."""
    name, options = case
    prior = priors.standard_normal(2) if prior is None else prior
    model = VAE(prior, likelihoods.make(name, data, **options), prior.event_shape[0], hidden)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(gain)
    return model


def weights_equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Bit for bit."""
    here, there = one.state_dict(), other.state_dict()
    return here.keys() == there.keys() and all(torch.equal(here[k], there[k]) for k in here)


def assert_mean(draws, expected, deviations: float = 5.0, slack: float = 0.0) -> None:
    """The draws' mean along axis 0 is `expected`, within `deviations` standard errors + slack."""
    draws = np.asarray(draws, dtype=float)
    error = draws.std(0, ddof=1) / np.sqrt(len(draws))
    distance = np.abs(draws.mean(0) - np.asarray(expected, dtype=float))
    beyond = np.max(distance - deviations * error - slack)
    assert beyond <= 0, f"{beyond:.2g} more than the error bar allows"


def fit_p_value(counts, probabilities) -> float:
    """Pearson's chi-square test; cells with few expected counts are put together."""
    counts = np.ravel(counts)
    probabilities = np.ravel(probabilities).astype(float)
    expected = counts.sum() * probabilities / probabilities.sum()
    rare = expected < 5
    if rare.any():
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
        if expected[-1] == 0:
            assert counts[-1] == 0
            counts, expected = counts[:-1], expected[:-1]
    return stats.chisquare(counts, expected).pvalue if len(counts) > 1 else 1.0
