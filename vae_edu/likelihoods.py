"""Likelihoods p(x|z): a simple distribution whose parameters a network computes from z.

A `Likelihood` is the simple part. It says how many numbers the network has to compute for an image
of D pixels (`n_parameters`), turns them into a distribution over x (calling it), and puts grey
levels into that distribution's support (`prepare`).

| family | support of a pixel | parameters |
|---|---|---|
| gaussian | R | D means, and for scale="from_z" D log-variances |
| gaussian-full | R^D | D means, D log-variances, rank*D factors of a covariance |
| bernoulli | {0, 1} | D logits |
| continuous-bernoulli | [0, 1] | D logits, in units of L |
| categorical | {0 … levels-1} | D*levels logits, one softmax a pixel |
| discretized-logistic | {0 … levels-1} | D locations, D log-scales |

Data that is not an image (`PointData`, real numbers) has a Gaussian likelihood only.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    Normal,
)

from vae_edu.distributions import ContinuousBernoulli, DiscretizedLogistic

_WIDE_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)


class Likelihood(nn.Module):
    """What every family provides. D is the number of pixels, L the number of grey levels.

    `unit` names what `log_prob` of the prepared data is: log-densities and log-masses of
    different data are different units, and only `log_mass` compares across families.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = "nats of grey levels (a mass)"

    def __init__(self, data):
        super().__init__()
        self.dim, self.levels, self.shape = data.dim, data.levels, data.shape
        self.data_name = data.name
        if self.levels is None and not isinstance(self, Gaussian | FullGaussian):
            raise ValueError(
                f"{data.name!r} holds real numbers, not grey levels: {self.name} has no place for "
                'them; choose "gaussian" or "gaussian-full"'
            )

    @property
    def n_parameters(self) -> int:
        """How many numbers the decoder network computes for one image."""
        return self.dim

    @property
    def options(self) -> dict:
        """What `make` needs besides name and data to build this likelihood again."""
        return {}

    def prepare(self, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Grey levels `[..., D]` (integers 0 … L-1) into this family's support, `[..., D]`.

        Deterministic, unless a generator is given: then densities are dequantized by uniform noise
        within each level's bin (Theis et al. 2016, section 3.1) and Bernoulli's pixels are white
        with a probability equal to their brightness (Salakhutdinov & Murray 2008).

        Raises `TypeError` for floats and `ValueError` for a wrong D or a level outside the range.
        """
        raise NotImplementedError

    def forward(self, parameters: Tensor) -> Distribution:
        """p(x|z), event shape [D], from the network's output `[..., n_parameters]`."""
        raise NotImplementedError

    def network_input(self, x: Tensor) -> Tensor:
        """Prepared data, scaled to about [0, 1] for the encoder network, `[..., D]`."""
        return x

    def mean_image(self, parameters: Tensor) -> Tensor:
        """The mean brightness of each pixel under p(x|z), in [0, 1], `[..., D]`.

        A mean is not a sample: the model's images are draws from p(x|z).
        """
        raise NotImplementedError

    def to_levels(self, x: Tensor) -> Tensor:
        """Prepared data (or a draw) back to grey levels, int64 `[..., D]`."""
        return x.long()

    def image(self, x: Tensor) -> Tensor:
        """Prepared data (or a draw) as brightness in [0, 1], `[..., D]`, to be looked at."""
        return self.to_levels(x) / (self.levels - 1)

    def log_mass(self, parameters: Tensor, levels: Tensor) -> Tensor:
        """log-probability of the grey levels `[..., D]`, in nats per example, `[...]`.

        Exact for categorical and discretized-logistic. For a density p it is the lower bound of
        uniform dequantization (Theis et al. 2016, equation 7),

            log integral of p over the level's bin >= average of log p over the bin - log L,

        here in closed form, without noise. A Bernoulli models black-or-white pixels, which are
        other data: for more than two levels it raises `ValueError`.
        """
        p = self(parameters)
        return p.log_prob(self.prepare(levels)) + self.mass_offset(p)

    def mass_offset(self, p: Distribution) -> Tensor | float:
        """`log_mass` less the log-probability of the prepared data; it does not depend on x."""
        return 0.0

    def check_levels(self, levels: Tensor) -> Tensor:
        """Raise unless `levels` are grey levels of this data; return them."""
        levels = torch.as_tensor(levels)
        if self.levels is None:
            raise TypeError(f"{self.name} was made for real-valued data, which has no grey levels")
        if levels.is_floating_point() or levels.is_complex() or levels.dtype == torch.bool:
            raise TypeError(
                f"grey levels are integers 0 … {self.levels - 1}, but these are {levels.dtype}: "
                "pass the data as loaded (data.train_x); the likelihood does the scaling itself"
            )
        self._check_shape(levels)
        # torch has no aminmax for the wide unsigned types; a cast of all the others would cost
        # eight times their memory.
        whole = levels.long() if levels.dtype in _WIDE_UNSIGNED else levels
        smallest, largest = (int(v) for v in whole.aminmax()) if levels.numel() else (0, 0)
        if smallest < 0 or largest >= self.levels:
            wrong = smallest if smallest < 0 else largest
            raise ValueError(
                f"grey level {wrong} is outside 0 … {self.levels - 1}: this likelihood was made "
                f"for data with {self.levels} levels; make it for the data that you pass "
                "(likelihoods.make(name, data))"
            )
        return levels

    def _check_shape(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(
                f"the last dimension must be D = {self.dim}, but the shape is {list(x.shape)}: "
                "flatten each image to one row"
            )

    def _check_parameters(self, parameters: Tensor) -> None:
        if parameters.shape[-1] != self.n_parameters:
            raise ValueError(
                f"{self.name} needs {self.n_parameters} parameters for {self.dim} pixels, but the "
                f"network gives {parameters.shape[-1]}"
            )


class _Density(Likelihood):
    """A density over real pixels: grey level k stands for its bin [k, k+1] / L.

    Real-valued data (`PointData`) is taken as it is.
    """

    unit = "nats of a density"

    def prepare(self, levels, generator=None):
        dtype = torch.get_default_dtype()
        if self.levels is None:
            x = torch.as_tensor(levels, dtype=dtype)
            self._check_shape(x)
            if not torch.isfinite(x).all():
                raise ValueError("the data holds NaN or infinity: remove those rows")
            return x
        within = 0.5
        levels = self.check_levels(levels).to(dtype)
        if generator is not None:
            within = torch.rand(levels.shape, generator=generator, dtype=dtype)
        return (levels + within) / self.levels

    def to_levels(self, x):
        return torch.floor(x * self.levels).clamp(0, self.levels - 1).long()

    def image(self, x):
        # Without rounding to levels: a density's draw is a real number, seen as such.
        return self._brightness(x)

    def mean_image(self, parameters):
        return self._brightness(self(parameters).mean)

    def _brightness(self, x: Tensor) -> Tensor:
        if self.levels is None:
            raise ValueError("real-valued data are points, not images: plot them instead")
        return ((x * self.levels - 0.5) / (self.levels - 1)).clamp(0, 1)

    @property
    def _rounding_variance(self) -> float:
        """Variance of a uniform bin of width 1/L: the data say nothing finer about a pixel.

        It bounds every learned variance from below. Without a bound the likelihood is unbounded:
        a pixel that is the same in all images drives its variance to 0 and its density to infinity.
        """
        return 1e-6 if self.levels is None else 1 / (12 * self.levels**2)

    def _variance(self, log_variance: Tensor) -> Tensor:
        return torch.exp(log_variance) + self._rounding_variance

    def _bins_log_volume(self) -> float:
        if self.levels is None:
            raise TypeError("real-valued data has no grey levels, so there is no mass to compute")
        return -self.dim * math.log(self.levels)


class Gaussian(_Density):
    """Independent normal pixels, N(x; f1(z), σ²); the mean f1(z) is the network's.

    `scale` says where σ comes from:

    - "fixed": `sigma`, which you choose. Then -log p(x|z) = ||x - f1(z)||² / 2σ² + a constant.
    - "learned": one number for all pixels, trained with the weights (σ-VAE, Rybkin et al. 2021).
    - "per_pixel": one number a pixel, trained with the weights.
    - "from_z": a second output of the network: σ² = exp(f2(z)) plus the variance of rounding.

    For "learned" and "per_pixel" `sigma` is where training starts (0.25 if absent).
    """

    name = "gaussian"
    SCALES = ("fixed", "learned", "per_pixel", "from_z")

    def __init__(self, data, scale: str = "learned", sigma: float | None = None):
        super().__init__(data)
        if scale not in self.SCALES:
            raise ValueError(f"no scale {scale!r}; choose one of {list(self.SCALES)}")
        if scale == "fixed" and sigma is None:
            raise ValueError(
                'scale="fixed" needs sigma: 1.0 is plain squared error; the maximum-likelihood '
                'choice is the root of the mean squared error, which scale="learned" finds'
            )
        if scale == "from_z" and sigma is not None:
            raise ValueError('scale="from_z" takes no sigma: the network computes it from z')
        if sigma is not None and not (sigma > 0 and math.isfinite(sigma)):
            raise ValueError(f"sigma is {sigma}; a standard deviation must be finite and above 0")
        self.scale, self.sigma = scale, 0.25 if sigma is None else float(sigma)
        if scale in ("learned", "per_pixel"):
            start = max(self.sigma**2 - self._rounding_variance, self._rounding_variance)
            size = 1 if scale == "learned" else self.dim
            self.log_variance = nn.Parameter(torch.full((size,), math.log(start)))

    @property
    def n_parameters(self):
        return 2 * self.dim if self.scale == "from_z" else self.dim

    @property
    def options(self):
        return {"scale": self.scale} | ({} if self.scale == "from_z" else {"sigma": self.sigma})

    def forward(self, parameters):
        self._check_parameters(parameters)
        mean = parameters[..., : self.dim]
        if self.scale == "fixed":
            return Independent(Normal(mean, self.sigma), 1)
        if self.scale == "from_z":
            variance = self._variance(parameters[..., self.dim :])
        else:
            variance = self._variance(self.log_variance)
        return Independent(Normal(mean, torch.sqrt(variance)), 1)

    def mass_offset(self, p):
        # The average of (x - mean)² over a bin is its value at the centre plus the bin's variance.
        scale = p.base_dist.scale
        return self._bins_log_volume() - 0.5 / (12 * self.levels**2) * (scale**-2).sum(-1)


class FullGaussian(_Density):
    """Correlated pixels, N(x; f1(z), W(z) W(z)ᵀ + diag σ²(z)) with W(z) of size D x rank.

    `rank` = D could express every covariance; a small rank (4, or D if that is
    less) is cheaper to compute and to store.
    """

    name = "gaussian-full"

    def __init__(self, data, rank: int | None = None):
        super().__init__(data)
        rank = min(4, self.dim) if rank is None else rank
        if not 1 <= rank <= self.dim:
            raise ValueError(f"rank is {rank}; it must be from 1 to D = {self.dim}")
        self.rank = rank

    @property
    def n_parameters(self):
        return (2 + self.rank) * self.dim

    @property
    def options(self):
        return {"rank": self.rank}

    def forward(self, parameters):
        self._check_parameters(parameters)
        mean, log_variance, factor = parameters.split(
            [self.dim, self.dim, self.rank * self.dim], dim=-1
        )
        factor = factor.unflatten(-1, (self.dim, self.rank))
        return LowRankMultivariateNormal(mean, factor, self._variance(log_variance))

    def mass_offset(self, p):
        # As for independent pixels, with the trace of the precision matrix in place of Σ 1/σ².
        # Woodbury: trace = Σ 1/σ² - trace(M⁻¹ Wᵀ D⁻² W), M = I + Wᵀ D⁻¹ W.
        factor, inverse = p.cov_factor, 1 / p.cov_diag.unsqueeze(-1)
        gram = factor.mT @ (inverse * factor) + torch.eye(self.rank, dtype=factor.dtype)
        trace = inverse.sum((-1, -2)) - torch.linalg.solve(
            gram, factor.mT @ (inverse**2 * factor)
        ).diagonal(dim1=-1, dim2=-2).sum(-1)
        return self._bins_log_volume() - 0.5 / (12 * self.levels**2) * trace


class BernoulliLikelihood(Likelihood):
    """Black-or-white pixels: P(white) = sigmoid(f(z)); -log p(x|z) is binary cross-entropy.

    (Kingma & Welling 2013, appendix C.1.) Grey levels are other data: `prepare` makes them black
    or white first, white from half brightness on.
    """

    name = "bernoulli"
    unit = "nats of black-or-white pixels (a mass)"

    def prepare(self, levels, generator=None):
        brightness = self.check_levels(levels).to(torch.get_default_dtype()) / (self.levels - 1)
        if generator is None:
            return (brightness >= 0.5).to(brightness.dtype)
        return torch.bernoulli(brightness, generator=generator)

    def forward(self, parameters):
        self._check_parameters(parameters)
        return Independent(Bernoulli(logits=parameters), 1)

    def mean_image(self, parameters):
        return self(parameters).mean

    def to_levels(self, x):
        return x.long() * (self.levels - 1)

    def mass_offset(self, p):
        if self.levels > 2:
            raise ValueError(
                f"a Bernoulli gives no probability to {self.levels} grey levels: it models the "
                "image made black-or-white, which is other data, and its nats do not compare. Use "
                '"categorical", "discretized-logistic" or "continuous-bernoulli" for grey levels'
            )
        return 0.0


class ContinuousBernoulliLikelihood(_Density):
    """Pixels in [0, 1] by the normalized version of binary cross-entropy on grey images.

    (Loaiza-Ganem & Cunningham 2019.)
    """

    name = "continuous-bernoulli"

    def forward(self, parameters):
        self._check_parameters(parameters)
        # A pixel that is black in all images has a logit near -2L, but a network's outputs start
        # near 0 and move slowly: without the factor, training stalls where z does not matter.
        return Independent(ContinuousBernoulli(self.levels * parameters), 1)

    def mass_offset(self, p):
        return self._bins_log_volume()  # log p is linear in x: its average is its centre's value


class CategoricalLikelihood(Likelihood):
    """One softmax over the L grey levels for each pixel; -log p(x|z) is cross-entropy."""

    name = "categorical"

    @property
    def n_parameters(self):
        return self.dim * self.levels

    def prepare(self, levels, generator=None):
        return self.check_levels(levels).long()

    def forward(self, parameters):
        self._check_parameters(parameters)
        logits = parameters.unflatten(-1, (self.dim, self.levels))
        return Independent(Categorical(logits=logits), 1)

    def network_input(self, x):
        return x / (self.levels - 1)

    def mean_image(self, parameters):
        logits = self(parameters).base_dist.logits
        brightness = torch.linspace(0, 1, self.levels, dtype=logits.dtype)
        return (logits.exp() @ brightness).clamp(0, 1)


class DiscretizedLogisticLikelihood(Likelihood):
    """A logistic curve's mass in the bin of each grey level (Salimans et al. 2017).

    Two parameters a pixel whatever L is, and near levels are alike, which a softmax has to learn.
    """

    name = "discretized-logistic"

    @property
    def n_parameters(self):
        return 2 * self.dim

    def prepare(self, levels, generator=None):
        return self.check_levels(levels).to(torch.get_default_dtype())

    def forward(self, parameters):
        self._check_parameters(parameters)
        # The network's outputs start near 0: begin at mid-grey with a quarter of the range.
        loc, log_scale = parameters.chunk(2, -1)
        return Independent(DiscretizedLogistic(loc + 0.5, log_scale - math.log(4), self.levels), 1)

    def network_input(self, x):
        return x / (self.levels - 1)

    def mean_image(self, parameters):
        p = self(parameters).base_dist
        # The mean of a level is the sum over k of P(level >= k).
        edges = torch.arange(1, self.levels, dtype=p.loc.dtype) / self.levels
        above = torch.sigmoid((p.loc.unsqueeze(-1) - edges) * torch.exp(-p.log_scale).unsqueeze(-1))
        return above.mean(-1)


FAMILIES: dict[str, type[Likelihood]] = {
    family.name: family
    for family in (
        Gaussian,
        FullGaussian,
        BernoulliLikelihood,
        ContinuousBernoulliLikelihood,
        CategoricalLikelihood,
        DiscretizedLogisticLikelihood,
    )
}


def make(name: str, data, **options) -> Likelihood:
    """The family `name` for the pixels of `data`; options as its class says (`scale`, `rank`)."""
    if name not in FAMILIES:
        raise ValueError(f"no likelihood {name!r}; choose one of {list(FAMILIES)}")
    try:
        return FAMILIES[name](data, **options)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error
