"""The distributions that torch lacks, against SciPy and numerical integration."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers import assert_mean, fit_p_value, images
from scipy import integrate, stats

from vae_edu import likelihoods
from vae_edu.distributions import ContinuousBernoulli, DiscretizedLogistic, GreyLevels

BORDERS = [0.0, -0.0, 1e-5, 9.9e-5, 1.01e-4, 1e-3, 9.99e-3, 1.001e-2, 1.0, 15.0, 40.0, 500.0]
LOGITS = [*sorted({s * logit for logit in BORDERS for s in (1, -1)}), -0.0]
SCALES = [-40.0, -10.0, -1.0, 0.0, 5.0, 12.0]


def continuous(logit: float, dtype=torch.float64) -> ContinuousBernoulli:
    return ContinuousBernoulli(torch.tensor(logit, dtype=dtype))


def truncated_exponential(logit: float):
    """SciPy's name for a continuous Bernoulli with a negative logit."""
    return stats.truncexpon(b=-logit, scale=-1 / logit)


def integral(p, of=lambda x: 1.0, low: float = 0.0, high: float = 1.0) -> float:
    """Of `of(x) p(x)` over [low, high], told where a steep density has its steps."""
    steep = 1 / max(float(p.logits.abs().max()), 10)
    steps = [k * steep for k in (1, 4, 16)] + [1 - k * steep for k in (1, 4, 16)]

    def density(x: float) -> float:
        return of(x) * float(p.log_prob(torch.tensor(x, dtype=torch.float64)).exp())

    inside = [step for step in steps if low < step < high]
    return integrate.quad(density, low, high, points=inside or None, limit=200)[0]


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one(logit):
    assert integral(continuous(logit)) == pytest.approx(1, abs=1e-8)


def test_torchs_own_continuous_bernoulli_does_not():
    # Should this fail one day, ours may go.
    torchs = torch.distributions.ContinuousBernoulli(logits=torch.tensor(40.0))
    x = torch.linspace(0, 1, 100_001)
    mass = np.trapezoid(torchs.log_prob(x).exp().numpy(), x.numpy())
    assert abs(mass - 1) > 0.1


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_mean(logit):
    p = continuous(logit)
    assert p.mean.item() == pytest.approx(integral(p, of=lambda x: x), abs=1e-8)


@pytest.mark.parametrize("logit", [-500.0, -40.0, -15.0, -1.0, -0.02])
def test_continuous_bernoulli_is_scipys_truncated_exponential(logit):
    p, scipys = continuous(logit), truncated_exponential(logit)
    x = np.linspace(0, 1, 101)
    np.testing.assert_allclose(p.log_prob(torch.tensor(x)), scipys.logpdf(x), rtol=1e-10)
    assert p.mean.item() == pytest.approx(scipys.mean(), rel=1e-8)
    # White for black is the logit's sign.
    mirrored = continuous(-logit).log_prob(torch.tensor(1 - x))
    np.testing.assert_allclose(mirrored, scipys.logpdf(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_in_float32(logit):
    x = torch.linspace(0, 1, 33)
    exact, ours = continuous(logit), continuous(logit, torch.float32)
    torch.testing.assert_close(
        ours.log_prob(x).double(), exact.log_prob(x.double()), rtol=1e-6, atol=2e-6
    )
    assert ours.mean.item() == pytest.approx(exact.mean.item(), abs=2e-5)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_quantiles(logit):
    p = continuous(logit)
    for u in (0.01, 0.3, 0.5, 0.9):
        quantile = p.icdf(torch.tensor(u, dtype=torch.float64)).item()
        assert integral(p, high=quantile) == pytest.approx(u, abs=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_quantiles_stay_in_the_unit_interval(logit, dtype):
    # torch.rand gives an exact 0 once in 17 million float32 numbers, which an epoch has.
    u = torch.tensor([0.0, torch.finfo(dtype).tiny, 0.5, 1 - torch.finfo(dtype).eps, 1.0])
    x = continuous(logit, dtype).icdf(u.to(dtype))
    assert torch.isfinite(x).all()
    assert x.min() >= 0
    assert x.max() <= 1
    assert (x.diff() >= 0).all()


@pytest.mark.parametrize("logit", [-500.0, -15.0, -1.0, -1e-3, 0.0, 2.0, 40.0])
def test_continuous_bernoulli_samples_follow_the_density(logit):
    p = continuous(logit)
    x = p.sample((4000,)).numpy()
    scipys = stats.uniform() if abs(logit) < 1e-2 else truncated_exponential(-abs(logit))
    assert stats.kstest(1 - x if logit > 0 else x, scipys.cdf).pvalue > 1e-3
    assert_mean(x, p.mean)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_pathwise_gradient(logit):
    u = torch.tensor([0.001, 0.2, 0.5, 0.7, 0.999], dtype=torch.float64)
    parameter = torch.tensor(logit, dtype=torch.float64).repeat(5).requires_grad_()
    ContinuousBernoulli(parameter).icdf(u).sum().backward()
    # Wide enough to average the rounding where two formulas meet, around 0.
    step = 1e-2 if abs(logit) < 0.1 else 1e-5 * abs(logit)
    above, below = (continuous(logit + s).icdf(u) for s in (step, -step))
    np.testing.assert_allclose(parameter.grad, (above - below) / (2 * step), rtol=1e-4, atol=1e-8)


def test_continuous_bernoulli_draws_carry_gradients_to_the_logits():
    logits = torch.tensor([-3.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    ContinuousBernoulli(logits).rsample((20_000,)).mean(0).sum().backward()
    # d mean / d logit is the variance, as for every exponential family.
    variances = []
    for p in map(continuous, logits.tolist()):
        variances.append(integral(p, of=lambda x: x**2) - integral(p, of=lambda x: x) ** 2)
    np.testing.assert_allclose(logits.grad, variances, rtol=0.03)


@pytest.mark.parametrize("logit", [*LOGITS, 1e4, -1e4])
def test_continuous_bernoulli_gradients_are_finite(logit):
    logits = torch.tensor([logit] * 4, requires_grad=True)
    ContinuousBernoulli(logits).log_prob(torch.tensor([0.0, 0.3, 0.999, 1.0])).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_continuous_bernoulli_refuses_values_outside_its_support():
    with pytest.raises(ValueError, match="support"):
        ContinuousBernoulli(torch.zeros(2), validate_args=True).log_prob(torch.tensor([0.5, 1.5]))


def test_continuous_bernoulli_gradients_are_finite_at_the_ends_of_a_draw():
    # u = 0 and u = 1 are rare draws, which would spoil a training once in a million.
    logits = torch.tensor([-200.0, -200.0, 200.0, 200.0], requires_grad=True)
    x = ContinuousBernoulli(logits).icdf(torch.tensor([0.0, 1.0, 0.0, 1.0]))
    x.sum().backward()
    assert ((x >= 0) & (x <= 1)).all()
    assert torch.isfinite(logits.grad).all()


def both(dtype=torch.float64, device="cpu", **options):
    """One of each, at some ordinary place."""
    ordinary = torch.tensor([0.3, -1.0], dtype=dtype, device=device)
    return (
        ContinuousBernoulli(ordinary, **options),
        DiscretizedLogistic(ordinary, ordinary, 5, **options),
    )


def test_expanding_keeps_the_distribution():
    for p, x in zip(both(), (0.25, 3.0), strict=True):
        wide = p.expand((4, 3, 2))
        assert wide.sample((2,)).shape == (2, 4, 3, 2)
        x = torch.tensor(x)
        torch.testing.assert_close(wide.log_prob(x), p.log_prob(x).expand(4, 3, 2))


@pytest.mark.parametrize("checks", [True, False])
def test_values_are_checked_if_so_wished_also_after_expanding(checks):
    for p in both(validate_args=checks):
        for one in (p, p.expand((3, 2))):
            with pytest.raises(ValueError, match="support") if checks else nullcontext():
                one.log_prob(torch.tensor(9.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_as_fine_as_the_parameters(dtype):
    continuous, logistic = both(dtype)
    torch.manual_seed(0)
    u = torch.rand((100, 2), dtype=dtype)
    torch.manual_seed(0)
    assert torch.equal(continuous.sample((100,)), continuous.icdf(u))
    torch.manual_seed(0)
    x = logistic.loc + torch.exp(logistic.log_scale) * torch.logit(u)
    assert torch.equal(logistic.sample((100,)), torch.floor(5 * x).clamp(0, 4))


def test_draws_are_where_the_parameters_are():
    # A device that holds no numbers stands for any that is not the CPU.
    for p in both(device="meta", validate_args=False):
        assert p.sample((3,)).device.type == "meta"
    assert p.logits.device.type == "meta"


def test_grey_levels_have_the_shape_of_what_they_are_made_from():
    data = images(dim=6, levels=5)
    likelihood = likelihoods.make("gaussian", data)
    p = GreyLevels(likelihood(torch.zeros(4, 3, 6)), likelihood, torch.tensor(0.5))
    assert (p.batch_shape, p.event_shape) == ((4, 3), (6,))
    assert p.sample((2,)).shape == (2, 4, 3, 6)
    levels = data.train_x[0]
    expected = p.base.log_prob(likelihood.prepare(levels)) + 0.5
    torch.testing.assert_close(p.log_prob(levels), expected)


@pytest.mark.parametrize("log_scale", SCALES)
@pytest.mark.parametrize("loc", [-30.0, 0.0, 0.2, 0.5, 1.0, 7.0])
@pytest.mark.parametrize("levels", [2, 5, 256])
def test_discretized_logistic_masses_sum_to_one(loc, log_scale, levels):
    p = DiscretizedLogistic(*torch.tensor([loc, log_scale]).double(), levels)
    masses = p.log_prob(torch.arange(levels).double()).exp()
    assert masses.sum().item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close(p.logits.exp(), masses)


@pytest.mark.parametrize(("loc", "scale"), [(0.5, 0.2), (0.1, 0.02), (-2.0, 0.05), (3.0, 0.1)])
def test_discretized_logistic_against_scipy_far_into_the_tails(loc, scale):
    levels = 17
    p = DiscretizedLogistic(*torch.tensor([loc, np.log(scale)]).double(), levels)
    edges = np.arange(1, levels) / levels
    scipys = stats.logistic(loc, scale)
    # Differences of the smaller tail: those of the larger one are 1 - 1.
    below, above = np.append(scipys.cdf(edges), 1), np.append(1, scipys.sf(edges))
    masses = np.where(
        np.append(edges, 1) < loc, np.diff(below, prepend=0), -np.diff(above, append=0)
    )
    np.testing.assert_allclose(p.logits, np.log(masses), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("loc", "log_scale"), [(0.5, -2.0), (0.02, -1.0), (1.3, -1.5), (0.5, 2.0)])
def test_discretized_logistic_samples_follow_the_masses(loc, log_scale):
    p = DiscretizedLogistic(torch.tensor(loc), torch.tensor(log_scale), 9)
    draws = p.sample((4000,))
    assert fit_p_value(np.bincount(draws.long(), minlength=9), p.logits.exp().numpy()) > 1e-3


@pytest.mark.parametrize("log_scale", [-100.0, *SCALES, 30.0, 100.0])
@pytest.mark.parametrize("loc", [-30.0, 0.0, 0.2, 1.0, 30.0])
def test_discretized_logistic_is_finite_at_extremes(loc, log_scale):
    parameters = torch.tensor([loc, log_scale]).repeat(5, 1).requires_grad_()
    log_prob = DiscretizedLogistic(*parameters.T, 5).log_prob(torch.arange(5.0))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(parameters.grad).all()


def test_discretized_logistic_refuses_values_outside_its_support():
    p = DiscretizedLogistic(torch.tensor(0.5), torch.tensor(0.0), 5, validate_args=True)
    for wrong in (-1.0, 5.0, 1.5):
        with pytest.raises(ValueError, match="support"):
            p.log_prob(torch.tensor(wrong))
