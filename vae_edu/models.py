"""The two models of the course: a VAE, and the linear one whose every answer has a formula.

A *model* is anything with a `prior` p(z), `decode(z) -> p(x|z)` and `posterior(x)`, which is the
encoder's q(z|x) in a VAE and the exact p(z|x) in `LinearGaussian`. `vae_edu.bounds` and
`vae_edu.exact` ask for no more.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from vae_edu.distributions import GreyLevels
from vae_edu.likelihoods import Likelihood
from vae_edu.priors import approximate_posterior, standard_normal


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these sizes with tanh between them (none after the last)."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class VAE(nn.Module):
    """A variational autoencoder (Kingma & Welling 2013).

    prior: p(z), event shape [latent_dim]; likelihood: the family of p(x|z); `hidden`: the widths of
    the encoder's hidden layers, the decoder's in reverse order (none: both are linear).
    `x` is data as `likelihood.prepare` makes it, `[..., D]`.
    """

    def __init__(
        self,
        prior: Distribution,
        likelihood: Likelihood,
        latent_dim: int = 2,
        hidden: Sequence[int] = (128, 128),
    ):
        super().__init__()
        if tuple(prior.event_shape) != (latent_dim,):
            raise ValueError(
                f"the prior is over {list(prior.event_shape)}, but latent_dim is {latent_dim}: "
                f"make the prior with d = {latent_dim}"
            )
        self.prior, self.likelihood, self.latent_dim = prior, likelihood, latent_dim
        self.hidden = tuple(hidden)
        # One head for mean and log-variance: one matrix product in place of two.
        self.encoder = mlp([likelihood.dim, *self.hidden, 2 * latent_dim])
        self.decoder = mlp([latent_dim, *reversed(self.hidden), likelihood.n_parameters])

    def posterior(self, x: Tensor) -> Distribution:
        """The encoder's approximate posterior q(z|x), event shape [latent_dim]."""
        loc, log_var = self.encoder(self.likelihood.network_input(x)).chunk(2, -1)
        return approximate_posterior(self.prior, loc, log_var)

    def decode(self, z: Tensor) -> Distribution:
        """The likelihood p(x|z) for z `[..., latent_dim]`, event shape [D]."""
        return self.likelihood(self.decoder(z))

    def mean_image(self, z: Tensor) -> Tensor:
        """The mean of p(x|z) as brightness in [0, 1], `[..., D]`: not a sample."""
        return self.likelihood.mean_image(self.decoder(z))

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n draws from the model's p(x), `[n, D]`: z from the prior, then x from p(x|z)."""
        if n < 1:
            raise ValueError(f"n is {n}; ask for at least one sample")
        return self.decode(self.prior.sample((n,))).sample()

    def on_grey_levels(self) -> "GreyLevelModel":
        """This model as one of grey levels, so that families compare: see `GreyLevelModel`."""
        return GreyLevelModel(self)


class GreyLevelModel:
    """A VAE seen as a model of grey levels `[..., D]`: every x is the data as loaded.

    `decode(z).log_prob(levels)` is `Likelihood.log_mass`, so `elbo`, `iwae` and `LatentGrid` of
    this model are in the one unit in which likelihoods compare, nats of grey levels.
    """

    def __init__(self, model: VAE):
        self.model, self.prior = model, model.prior
        if model.likelihood.levels is None:
            raise ValueError("the model is of real-valued data, which has no grey levels")

    def posterior(self, levels: Tensor) -> Distribution:
        return self.model.posterior(self.model.likelihood.prepare(levels))

    def decode(self, z: Tensor) -> GreyLevels:
        p, likelihood = self.model.decode(z), self.model.likelihood
        offset = torch.as_tensor(likelihood.mass_offset(p), dtype=z.dtype)
        return GreyLevels(p, likelihood, offset)


class LinearGaussian:
    """Probabilistic principal component analysis: p(z) = N(0, I), p(x|z) = N(Wz + μ, σ²I).

    Posterior and marginal are Gaussian, in closed form (Tipping & Bishop 1999, section 3.1).
    `weight` is W `[D, d]`, `mean` is μ `[D]`, `sigma` the noise's standard deviation.
    """

    def __init__(self, weight: Tensor, mean: Tensor, sigma: float):
        if weight.ndim != 2 or mean.shape != weight.shape[:1]:
            raise ValueError(
                f"weight is {list(weight.shape)} and mean {list(mean.shape)}; "
                "they must be [D, d] and [D]"
            )
        if not sigma > 0:
            raise ValueError(f"sigma is {sigma}; with no noise there is no density: make it > 0")
        self.weight, self.mean, self.sigma = weight, mean, float(sigma)
        self.latent_dim = weight.shape[1]
        self.prior = standard_normal(self.latent_dim)

    @classmethod
    def fit(cls, x: Tensor, latent_dim: int) -> "LinearGaussian":
        """The maximum-likelihood model of real-valued rows x `[N, D]`.

        W = U (Λ - σ²I)^½ from the first eigenvectors of the covariance, σ² the mean of the
        eigenvalues left out (Tipping & Bishop 1999, section 3.2). Computed in float64.
        """
        n, dim = x.shape
        if not 1 <= latent_dim < dim or n < 2:
            raise ValueError(
                f"latent_dim is {latent_dim} for {n} rows of {dim}: it must be from 1 to "
                f"{dim - 1}, and there must be at least 2 rows"
            )
        mean = x.double().mean(0)
        centred = x.double() - mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / n)  # ascending
        sigma2 = values[:-latent_dim].mean().clamp(min=0)
        top = values[-latent_dim:].flip(0)
        weight = vectors[:, -latent_dim:].flip(1) * torch.sqrt((top - sigma2).clamp(min=0))
        if not sigma2 > 0:
            raise ValueError("the rows lie in a plane of latent_dim: no noise is left to fit")
        dtype = torch.get_default_dtype()
        return cls(weight.to(dtype), mean.to(dtype), math.sqrt(sigma2))

    def decode(self, z: Tensor) -> Distribution:
        """The likelihood p(x|z) for z `[..., d]`, event shape [D]."""
        return Independent(Normal(z @ self.weight.T + self.mean, self.sigma), 1)

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """The exact posterior p(z|x) for x `[..., D]`: N(M⁻¹Wᵀ(x-μ), σ²M⁻¹), M = WᵀW + σ²I."""
        gram = self.weight.T @ self.weight
        precision = (gram + self.sigma**2 * torch.eye(self.latent_dim).to(gram)) / self.sigma**2
        weighted = (x - self.mean) @ self.weight / self.sigma**2
        loc = torch.linalg.solve(precision, weighted.unsqueeze(-1)).squeeze(-1)
        return MultivariateNormal(loc, precision_matrix=precision)

    def marginal(self) -> LowRankMultivariateNormal:
        """The exact marginal p(x) = N(μ, WWᵀ + σ²I), event shape [D]."""
        return LowRankMultivariateNormal(
            self.mean, self.weight, torch.full_like(self.mean, self.sigma**2)
        )

    def sample(self, n: int) -> Tensor:
        """n draws from p(x), `[n, D]`: z from the prior, then x from p(x|z)."""
        return self.decode(self.prior.sample((n,))).sample()
