"""Exact inference on a grid: with a latent of one or two dimensions nothing is intractable.

log p(x) = log ∫ p(x|z) p(z) dz is a sum over a fine grid of z, and so is the posterior
p(z|x) = p(x|z) p(z) / p(x). For smooth integrands that vanish at the edge, a sum over equal steps
converges faster than any power of the step (Trefethen & Weideman 2014).
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    Normal,
)
from torch.nn.functional import one_hot, softplus

from vae_edu.bounds import rows_of
from vae_edu.distributions import ContinuousBernoulli, DiscretizedLogistic, GreyLevels
from vae_edu.priors import box

_PIECE = 512  # grid points decoded at a time


class LatentGrid:
    """A grid over the whole prior, with the decoder evaluated at each of its points.

    model: anything with `prior` and `decode(z)`, and a latent of 1 or 2 dimensions. `points`: how
    many along each (2000 in 1-D, 200 in 2-D; even). The grid spans `half_width` standard
    deviations on each side of the prior, or exactly the box of a uniform one. The decoder's
    outputs are kept if they take less than `memory` bytes, and otherwise computed again by each
    call. Raises `ValueError` for a latent of more dimensions: a grid's size grows exponentially.

    `z` are the G points `[G, d]`, `axes` the d coordinate vectors `[points]`, `low` and `high` the
    grid's corners `[d]`, `cell` the volume of a point's cell. After more training, make a new grid.
    """

    def __init__(
        self, model, points: int | None = None, half_width: float = 4.5, memory: float = 5e6
    ):
        self.dim = math.prod(model.prior.event_shape)
        if self.dim not in (1, 2):
            raise ValueError(
                f"the latent has {self.dim} dimensions: a grid is exact for 1 or 2; for more, "
                "bounds.iwae with many samples comes close from below"
            )
        self.points = {1: 2000, 2: 200}[self.dim] if points is None else points
        if self.points < 8 or self.points % 2:
            raise ValueError(f"points is {points}; it must be even and at least 8")
        self.low, self.high = low, high = _extent(model.prior, half_width)
        step = (high - low) / self.points
        # Midpoints suit a box, whose edges they avoid; elsewhere the integrand vanishes at the
        # edge, and where the points begin makes no difference.
        self.axes = [low[i] + step[i] * (torch.arange(self.points) + 0.5) for i in range(self.dim)]
        self.z = torch.cartesian_prod(*self.axes).reshape(-1, self.dim)
        self.cell = float(step.prod())
        self._on_box = box(model.prior) is not None
        self._log_prior = model.prior.log_prob(self.z)
        self._model, self._kept = model, None
        with torch.no_grad():
            numbers = sum(t.numel() for t in _tensors(model.decode(self.z[:1]))) * len(self.z)
        if numbers * self.z.element_size() <= memory:
            self._kept = list(self._decoded())

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x|z) at every grid point, `[N, G]`, nats, for x `[N, D]`."""
        return torch.cat([_pairwise(p, x) for p in self._decoded()], -1)

    def log_marginal(self, x: Tensor) -> Tensor:
        """log p(x), `[N]`, nats per example."""
        parts = self._each_piece(x, lambda _, joint: joint.logsumexp(-1))
        return parts.logsumexp(0) + math.log(self.cell)

    def posterior(self, x: Tensor) -> Tensor:
        """The density p(z|x) at the grid points, `[N, points]` or `[N, points, points]`.

        It sums to 1 / cell; in 2-D the first index goes along the first latent.
        """
        joint = torch.cat([joint for _, joint in self._joint(x)], -1)
        return (joint.softmax(-1) / self.cell).unflatten(-1, [self.points] * self.dim)

    def kl(self, q: Distribution, x: Tensor) -> Tensor:
        """KL(q || p(z|x)), `[N]`, nats, for q with batch shape [N]: log p(x) less the ELBO.

        Raises `ValueError` where q is narrower than the grid resolves, or reaches beyond it.
        """

        def sums(rows: slice, joint: Tensor) -> Tensor:
            log_q = q.log_prob(self.z[rows].unsqueeze(1)).T  # [N, points of this piece]
            weight = log_q.exp() * self.cell
            # Where q is 0 so is q log q; below exp(-80) the product would be 0 * infinity.
            terms = torch.where(log_q > -80, weight * (log_q - joint), 0.0)
            return torch.stack([weight.sum(-1), terms.sum(-1), joint.logsumexp(-1)])

        mass, negative_elbo, log_sums = self._each_piece(x, sums).unbind(1)
        mass, negative_elbo = mass.sum(0), negative_elbo.sum(0)
        worst = float(mass[(mass - 1).abs().argmax()])
        if not abs(worst - 1) < 1e-3:
            raise ValueError(
                f"q has mass {worst:.4f} on the grid instead of 1: it is narrower than the grid's "
                f"step or reaches beyond its edge; use more than {self.points} points or a larger "
                "half_width"
            )
        log_marginal = log_sums.logsumexp(0) + math.log(self.cell)
        # Times q's mass, which is not quite 1: a share of log p(x) would outweigh the KL.
        return negative_elbo + mass * log_marginal

    def error(self, x: Tensor) -> Tensor:
        """An estimate of log_marginal's absolute error, nats, `[N]`.

        How far the sums over every second point lie from the full sum, which is the error of a grid
        twice as coarse and so errs on the safe side, if that one is not far too coarse to see a
        narrow posterior; and the posterior's share beyond the grid, continued from its rim.
        """
        index = torch.cartesian_prod(*[torch.arange(self.points)] * self.dim).reshape(-1, self.dim)
        depth = torch.minimum(index, self.points - 1 - index).amin(-1)
        rim, next_to_rim = ((depth == i) & (not self._on_box) for i in (0, 1))
        subgrid = (index % 2 * torch.tensor([1, 2][: self.dim])).sum(-1)
        groups = [*(subgrid == i for i in range(2**self.dim)), rim, next_to_rim]

        def sums(rows: slice, joint: Tensor) -> Tensor:
            return torch.stack([joint[:, group[rows]].logsumexp(-1) for group in groups])

        *coarse, on_rim, on_next = self._each_piece(x, sums).logsumexp(0)
        coarse = torch.stack(coarse)
        total = coarse.logsumexp(0)
        spread = (coarse + self.dim * math.log(2) - total).abs().amax(0)
        if self._on_box:
            return spread
        # A tail that goes on falling as from next_to_rim to rim is a geometric series.
        fall = (1 - (on_rim - on_next).exp()).clamp(min=1 / self.points)
        return spread + torch.log1p((on_rim - total).exp() / fall)

    def _decoded(self) -> Iterator[Distribution]:
        with torch.no_grad():
            yield from self._kept or (self._model.decode(z) for z in self.z.split(_PIECE))

    @torch.no_grad()
    def _each_piece(self, x: Tensor, reduce: Callable[[slice, Tensor], Tensor]) -> Tensor:
        """`reduce` of each piece of the grid, stacked: `[pieces, …]`."""
        parts = (reduce(rows, joint).unsqueeze(0) for rows, joint in self._joint(x))
        return rows_of(parts, -(-len(self.z) // _PIECE))

    def _joint(self, x: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Piece by piece of the grid: which of its points, and log p(x|z) p(z) there, `[N, …]`."""
        if x.ndim != 2:
            raise ValueError(
                f"x has shape {list(x.shape)}; it must be [N, D], also for one example"
            )
        start = 0
        for p in self._decoded():
            rows = slice(start, start := start + _PIECE)
            with torch.no_grad():
                yield rows, _pairwise(p, x) + self._log_prior[rows]


def _extent(prior: Distribution, half_width: float) -> tuple[Tensor, Tensor]:
    """The corners, each `[d]`, of a box that holds the prior's mass."""
    corners = box(prior)
    if corners is not None:
        return corners
    parts = prior.component_distribution if isinstance(prior, MixtureSameFamily) else prior
    low = (parts.mean - half_width * parts.stddev).reshape(-1, prior.event_shape[0])
    high = (parts.mean + half_width * parts.stddev).reshape(-1, prior.event_shape[0])
    return low.amin(0), high.amax(0)


def _tensors(p: Distribution) -> list[Tensor]:
    """The numbers that a distribution is made of."""
    if isinstance(p, GreyLevels):
        return _tensors(p.base)
    if isinstance(p, Independent):
        return _tensors(p.base_dist)
    return [v for v in vars(p).values() if isinstance(v, Tensor)]


def _pairwise(p: Distribution, x: Tensor) -> Tensor:
    """log p(x), `[N, G]`, of x `[N, D]` under each of the G distributions in p.

    Where the log-probability is linear in some features of x, all N x G of them are one matrix
    product, hundreds of times faster than N x G x D separate terms.
    """
    if isinstance(p, GreyLevels):
        return _pairwise(p.base, p.likelihood.prepare(x)) + p.offset
    base = getattr(p, "base_dist", None)
    if isinstance(p, Independent) and base.batch_shape == p.batch_shape + p.event_shape:
        if isinstance(base, Bernoulli):
            return x @ base.logits.T - softplus(base.logits).sum(-1)
        if isinstance(base, ContinuousBernoulli):
            return x @ base.logits.T + (base.log_norm() - softplus(base.logits)).sum(-1)
        if isinstance(base, Categorical | DiscretizedLogistic):
            table = base.logits
            features = one_hot(x.long(), table.shape[-1]).to(table)
            return features.flatten(-2) @ table.flatten(-2).T
        if isinstance(base, Normal):
            return _pairwise_normal(base.loc, base.scale, x)
    if isinstance(p, LowRankMultivariateNormal):
        return _pairwise_low_rank(p, x)
    return torch.stack([p.log_prob(row) for row in x])


def _pairwise_normal(loc: Tensor, scale: Tensor, x: Tensor) -> Tensor:
    # -½ Σ (x-μ)²/σ² multiplied out loses digits to cancellation: so in float64, around the mean.
    centre = loc.double().mean(0)
    mu, x, scale = loc.double() - centre, x.double() - centre, scale.double()
    precision = scale**-2
    constant = (0.5 * mu**2 * precision + scale.log() + 0.5 * math.log(2 * math.pi)).sum(-1)
    return x @ (mu * precision).T - 0.5 * (x**2 @ precision.T) - constant


def _pairwise_low_rank(p: LowRankMultivariateNormal, x: Tensor) -> Tensor:
    # Σ⁻¹ = D⁻¹ - AᵀA with A = L⁻¹WᵀD⁻¹ and LLᵀ = I + WᵀD⁻¹W (Woodbury), and
    # det Σ = det D · det LLᵀ: the diagonal case and a correction.
    scaled = (p.cov_factor / p.cov_diag.unsqueeze(-1)).double().mT  # [G, rank, D]
    gram = scaled @ p.cov_factor.double() + torch.eye(scaled.shape[-2])
    cholesky = torch.linalg.cholesky(gram)
    a = torch.linalg.solve_triangular(cholesky, scaled, upper=False)
    shift = (a @ p.loc.double().unsqueeze(-1)).squeeze(-1)  # [G, rank]
    projected = (x.double() @ a.flatten(0, 1).T).unflatten(-1, shift.shape) - shift
    half_log_det = cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    diagonal = _pairwise_normal(p.loc, p.cov_diag.sqrt(), x)
    return diagonal + 0.5 * (projected**2).sum(-1) - half_log_det
