"""Priors p(z): simple distributions that *you choose*, and the shape of q(z|x) that fits each.

Every prior is a `torch.distributions.Distribution` with event shape [d], so `log_prob` is in nats
per example.
"""

import math

import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Categorical,
    CumulativeDistributionTransform,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    Uniform,
    kl_divergence,
    register_kl,
)


def standard_normal(d: int) -> Independent:
    """N(0, I) over z in R^d: the usual choice (Kingma & Welling 2013, appendix B)."""
    _check_dimension(d)
    return Independent(Normal(torch.zeros(d), torch.ones(d)), 1)


def uniform(d: int, low: float = 0.0, high: float = 1.0) -> Independent:
    """The uniform distribution on the box [low, high]^d.

    Its approximate posterior must live on the box too (`approximate_posterior` sees to it). A
    Gaussian q would have KL(q || p) = E_q[log q(z) - log p(z)] = infinity, because it puts some
    mass, however little, outside the box, and there log p(z) = -infinity.
    """
    _check_dimension(d)
    if not low < high:
        raise ValueError(f"low is {low} and high is {high}; low must be below high")
    return Independent(Uniform(torch.full((d,), float(low)), torch.full((d,), float(high))), 1)


def mixture(
    d: int,
    components: int = 4,
    radius: float = 2.0,
    scale: float = 0.5,
    *,
    means: Tensor | None = None,
    weights: Tensor | None = None,
) -> MixtureSameFamily:
    """A joint mixture of Gaussians in R^d: pick *one* component, then draw all of z from it.

    Without `means` the components sit evenly on a circle of the given radius in the first two
    dimensions (on a segment when d = 1). `means` is `[K, d]`, `weights` `[K]` (equal if absent),
    `scale` the standard deviation of every component.
    """
    _check_dimension(d)
    if means is None:
        if components < 1:
            raise ValueError(f"components is {components}; a mixture needs at least one")
        means = torch.zeros(components, d)
        if d == 1:
            means[:, 0] = torch.linspace(-radius, radius, components)
        else:
            angle = torch.arange(components) * (2 * math.pi / components)
            means[:, 0], means[:, 1] = radius * torch.cos(angle), radius * torch.sin(angle)
    means = torch.as_tensor(means, dtype=torch.get_default_dtype())
    if means.ndim != 2 or means.shape[1] != d:
        raise ValueError(f"means has shape {list(means.shape)}; it must be [K, {d}]")
    if not scale > 0:
        raise ValueError(f"scale is {scale}; it is a standard deviation and must be above 0")
    weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights)
    if weights.shape != means.shape[:1] or (weights < 0).any() or not weights.sum() > 0:
        raise ValueError(f"weights must be {len(means)} numbers, none negative, not all 0")
    prior = MixtureSameFamily(
        Categorical(probs=weights.to(means)),
        Independent(Normal(means, torch.tensor(scale).to(means)), 1),
    )
    # As given, for `describe`: the probabilities made from them would be normalized, and so
    # rounded, once more each time that a stored prior is built again.
    prior.weights = weights
    return prior


def _check_dimension(d: int) -> None:
    if d < 1:
        raise ValueError(f"d is {d}; the latent needs at least one dimension")


def box(prior: Distribution) -> tuple[Tensor, Tensor] | None:
    """The corners (low, high), each `[d]`, of a uniform prior's box; None for other priors."""
    base = getattr(prior, "base_dist", None)
    return (base.low, base.high) if isinstance(base, Uniform) else None


def describe(prior: Distribution) -> dict:
    """A prior of this module as plain numbers, to be stored beside a model's weights."""
    d = math.prod(prior.event_shape)
    base = getattr(prior, "base_dist", None)
    if isinstance(base, Normal) and (base.loc == 0).all() and (base.scale == 1).all():
        return {"name": "standard_normal", "d": d}
    if isinstance(base, Uniform):
        low, high = float(base.low[0]), float(base.high[0])
        return {"name": "uniform", "d": d, "low": low, "high": high}
    if isinstance(prior, MixtureSameFamily) and hasattr(prior, "weights"):
        parts = prior.component_distribution
        return {
            "name": "mixture",
            "d": d,
            "means": parts.mean.tolist(),
            "weights": prior.weights.tolist(),
            "scale": float(parts.stddev.flatten()[0]),
        }
    raise ValueError(f"only the priors of vae_edu.priors can be stored, not {prior}")


def build(description: dict) -> Distribution:
    """The prior that `describe` described."""
    makers = {"standard_normal": standard_normal, "uniform": uniform, "mixture": mixture}
    options = dict(description)
    return makers[options.pop("name")](**options)


def approximate_posterior(prior: Distribution, loc: Tensor, log_var: Tensor) -> Distribution:
    """q(z|x) with an encoder's two outputs as its parameters, on the prior's support.

    `loc` and `log_var` are `[..., d]`. On R^d: N(loc, diag exp(log_var)), so the standard
    deviation is exp(log_var / 2). On a box: such a Gaussian pushed through the standard normal's
    CDF, which maps R to (0, 1), then stretched to the box; loc = log_var = 0 is the uniform
    distribution itself.
    """
    gaussian = Normal(loc, torch.exp(0.5 * log_var))
    corners = box(prior)
    if corners is None:
        return Independent(gaussian, 1)
    low, high = corners
    to_box = [_NormalCDF(low, high), AffineTransform(low, high - low, cache_size=1)]
    return Independent(_GaussianOnBox(gaussian, to_box), 1)


class _GaussianOnBox(TransformedDistribution):
    """A Gaussian pushed onto a box by the normal's CDF, then stretched."""

    @property
    def mean(self) -> Tensor:
        # E[CDF(X)] is the chance that a standard normal draw is below X.
        gaussian, (_, stretch) = self.base_dist, self.transforms
        return stretch(torch.special.ndtr(gaussian.loc / torch.sqrt(1 + gaussian.variance)))


class _NormalCDF(CumulativeDistributionTransform):
    """R -> (0, 1) by the standard normal's CDF, kept off the end points.

    float32 has numbers close to 0 but none between 1 - 6e-8 and 1, so the upper half would lose its
    tail; and the farther the box lies from 0, the coarser are the numbers within it, of which
    `high` itself is outside. `margin` is two of their steps, as a share of the box.
    """

    def __init__(self, low: Tensor, high: Tensor):
        # The cache returns the z that was pushed forward, so that log q of a fresh draw is exact.
        super().__init__(Normal(torch.zeros_like(low), torch.ones_like(low)), cache_size=1)
        size = torch.maximum(low.abs(), high.abs()) / (high - low)
        self.margin = 2 * torch.finfo(low.dtype).eps * size.clamp(min=1)

    def _call(self, x: Tensor) -> Tensor:
        return torch.clamp(super()._call(x), self.margin, 1 - self.margin)


def kl(q: Distribution, prior: Distribution, z: Tensor | None = None) -> Tensor:
    """KL(q || prior) in nats per example: in closed form where there is one.

    Elsewhere (a mixture prior; a prior on a box) it is the Monte Carlo average of
    log q(z) - log p(z) over `z`, draws from q of shape `[samples, ..., d]` (one draw if absent).
    """
    try:
        return kl_divergence(q, prior)
    except NotImplementedError:
        z = q.rsample((1,)) if z is None else z
        return (q.log_prob(z) - prior.log_prob(z)).mean(0)


@register_kl(MultivariateNormal, Independent)
def _kl_full_diagonal(q: MultivariateNormal, p: Independent) -> Tensor:
    """A full-covariance Gaussian against a diagonal one, which torch does not pair by itself."""
    if not (isinstance(p.base_dist, Normal) and p.reinterpreted_batch_ndims == 1):
        raise NotImplementedError
    full = MultivariateNormal(p.base_dist.loc, scale_tril=torch.diag_embed(p.base_dist.scale))
    return kl_divergence(q, full)
