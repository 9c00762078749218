"""The distributions over pixels that torch lacks, or has only for mild parameters."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid


class ContinuousBernoulli(Distribution):
    """The continuous Bernoulli on [0, 1] (Loaiza-Ganem & Cunningham 2019), by its logit.

    p(x) = C exp(logit * x) / (1 + exp(logit)), with C = logit / tanh(logit / 2).

    torch has this distribution, but clamps its probability a step of float32 away from 0 and 1, so
    that it is no longer normalized beyond |logit| = 16: a pixel that is black in every image has
    a logit far below.
    """

    arg_constraints = {"logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor, validate_args: bool | None = None):
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        wide = ContinuousBernoulli(self.logits.expand(batch_shape), validate_args=False)
        wide._validate_args = self._validate_args
        return wide

    def log_norm(self) -> Tensor:
        """log C, what binary cross-entropy leaves out; log 2 at logit 0."""
        # Near 0 the fraction is 0/0; its series 2 + logit²/6 is exact there to rounding.
        small = self.logits.abs() < 1e-2
        safe = torch.where(small, torch.ones_like(self.logits), self.logits)
        return torch.where(
            small, math.log(2) + self.logits**2 / 12, torch.log(safe / torch.tanh(safe / 2))
        )

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return (
            value * logsigmoid(self.logits)
            + (1 - value) * logsigmoid(-self.logits)
            + self.log_norm()
        )

    @property
    def mean(self) -> Tensor:
        small = self.logits.abs() < 1e-2
        safe = torch.where(small, torch.ones_like(self.logits), self.logits)
        return torch.where(
            small, 0.5 + self.logits / 12, 0.5 + 0.5 / torch.tanh(safe / 2) - 1 / safe
        )

    def icdf(self, value: Tensor) -> Tensor:
        # Written for logit <= 0, where nothing overflows; the other half is its mirror image.
        size = self.logits.abs()
        u = torch.where(self.logits > 0, 1 - value, value)
        small = size < 1e-2
        safe = torch.where(small, torch.ones_like(size), size)
        # Kept off -1, which e^-size rounds to, and whose log is infinite.
        tail = (u * torch.expm1(-safe)).clamp(min=torch.finfo(size.dtype).eps - 1)
        x = (-torch.log1p(tail) / safe).clamp(max=1)
        # Around 0 a series in the logit itself, so that the gradient is right at 0 too.
        slope = value * (1 - value) / 2
        series = value + self.logits * slope * (1 + self.logits * (1 - 2 * value) / 3)
        return torch.where(small, series, torch.where(self.logits > 0, 1 - x, x))

    def rsample(self, sample_shape=torch.Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        return self.icdf(u)


class DiscretizedLogistic(Distribution):
    """A logistic distribution cut into `levels` bins of [0, 1] (Salimans et al. 2017, section 2.1).

    Level k has the logistic's mass between k/levels and (k+1)/levels; the first and the last level
    take the tails, so the masses sum to 1. Values are the levels 0 … levels-1.
    """

    arg_constraints = {"loc": constraints.real, "log_scale": constraints.real}

    def __init__(
        self, loc: Tensor, log_scale: Tensor, levels: int, validate_args: bool | None = None
    ):
        # Beyond e^±40 a scale or its gradient overflows, and the masses no longer change.
        self.loc, self.log_scale = torch.broadcast_tensors(loc, log_scale.clamp(-40, 40))
        self.levels = levels
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        return constraints.integer_interval(0, self.levels - 1)

    def expand(self, batch_shape, _instance=None):
        loc, log_scale = self.loc.expand(batch_shape), self.log_scale.expand(batch_shape)
        wide = DiscretizedLogistic(loc, log_scale, self.levels, validate_args=False)
        wide._validate_args = self._validate_args
        return wide

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self._log_mass(value, self.loc, self.log_scale)

    def _log_mass(self, level: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
        # With s the sigmoid, s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)): three factors that never
        # cancel, where the difference itself would round to 0 far out in a tail.
        inverse_scale = torch.exp(-log_scale)
        upper = ((level + 1) / self.levels - loc) * inverse_scale
        lower = (level / self.levels - loc) * inverse_scale
        first, last = level == 0, level == self.levels - 1
        below_upper = torch.where(last, torch.zeros_like(upper), logsigmoid(upper))
        above_lower = torch.where(first, torch.zeros_like(lower), logsigmoid(-lower))
        bin_factor = torch.log(-torch.expm1(-inverse_scale / self.levels))
        return below_upper + above_lower + torch.where(first | last, 0.0, bin_factor)

    @property
    def logits(self) -> Tensor:
        """log-masses of all levels, `[..., levels]`: the same distribution as a Categorical."""
        level = torch.arange(self.levels, dtype=self.loc.dtype, device=self.loc.device)
        return self._log_mass(level, self.loc.unsqueeze(-1), self.log_scale.unsqueeze(-1))

    def sample(self, sample_shape=torch.Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            x = self.loc + torch.exp(self.log_scale) * torch.logit(u)  # u = 0: the lowest level
            return torch.floor(x * self.levels).clamp(0, self.levels - 1)


class GreyLevels(Distribution):
    """A distribution over grey levels [D], from one over prepared data.

    `log_prob(levels)` is `base.log_prob(prepare(levels)) + offset`, see `Likelihood.log_mass`.
    """

    arg_constraints = {}

    def __init__(self, base: Distribution, likelihood, offset: Tensor):
        self.base, self.likelihood, self.offset = base, likelihood, offset
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def log_prob(self, levels: Tensor) -> Tensor:
        return self.base.log_prob(self.likelihood.prepare(levels)) + self.offset

    def sample(self, sample_shape=torch.Size()) -> Tensor:
        return self.likelihood.to_levels(self.base.sample(sample_shape))
