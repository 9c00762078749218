"""Priors against their own samples and SciPy; the shape of q that fits each; KL divergences."""

import numpy as np
import pytest
import torch
from helpers import assert_mean, fit_p_value
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import (
    Categorical,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from vae_edu import priors

MEANS = torch.tensor([[-1.5, -1.0], [1.0, 1.0], [1.0, -1.5]])
UNEQUAL = {"means": MEANS, "weights": [0.2, 0.5, 0.3], "scale": 0.4}
PRIORS = {
    "normal": lambda: priors.standard_normal(2),
    "box": lambda: priors.uniform(2, -1.0, 3.0),
    "ring": lambda: priors.mixture(2),
    "mixture": lambda: priors.mixture(2, **UNEQUAL),
}
BOXES = [
    (0.0, 1.0),
    (-1.0, 1.0),
    (5.0, 6.0),
    (100.0, 100.5),
    (100.0, 100.01),
    (-3.0, -2.0),
    (0.0, 1e-3),
]

every_prior = pytest.mark.parametrize("prior", [make() for make in PRIORS.values()], ids=PRIORS)


def cell_masses(prior, edges, fine: int = 8):
    """The integral of the density over each cell of a square table, by the midpoint rule."""
    step = (edges[1] - edges[0]) / fine
    at = torch.arange(edges[0] + step / 2, edges[-1], step)
    z = torch.cartesian_prod(at, at)
    inside = prior.support.check(z)  # outside a box, torch has an error for a density of 0
    density = torch.zeros(len(z))
    density[inside] = prior.log_prob(z[inside]).exp()
    density = density.reshape(len(at), len(at))
    cells = len(edges) - 1
    return density.reshape(cells, fine, cells, fine).sum((1, 3)) * step**2


def histogram(z, edges):
    return np.histogram2d(*z.numpy().T, bins=[edges, edges])[0]


# The priors


@every_prior
def test_the_density_integrates_to_one_and_matches_the_samples(prior):
    samples = prior.sample((20_000,))
    edges = np.linspace(-5, 5, 41)
    masses = cell_masses(prior, edges)
    assert masses.sum().item() == pytest.approx(1, abs=1e-4)
    assert fit_p_value(histogram(samples, edges), masses) > 1e-3
    assert prior.log_prob(samples).shape == (20_000,)


def test_the_mixture_is_joint_not_a_product_of_marginals():
    samples = priors.mixture(2, **UNEQUAL).sample((20_000,))
    edges = np.linspace(-5, 5, 41)
    joint = cell_masses(priors.mixture(2, **UNEQUAL), edges).numpy()
    product = np.outer(joint.sum(1), joint.sum(0))
    assert fit_p_value(histogram(samples, edges), product) < 1e-100


def test_the_mixture_is_scipys():
    z = torch.randn(50, 2)
    parts = [
        weight * stats.multivariate_normal(mean, 0.4**2).pdf(z)
        for weight, mean in zip([0.2, 0.5, 0.3], MEANS.numpy(), strict=True)
    ]
    log_prob = priors.mixture(2, **UNEQUAL).log_prob(z)
    np.testing.assert_allclose(log_prob, np.log(sum(parts)), rtol=1e-5)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_default_mixture_has_components_at_equal_distance(d):
    means = priors.mixture(d, components=3, radius=2.0).component_distribution.mean
    assert means.shape == (3, d)
    if d == 1:
        assert means[:, 0].tolist() == [-2, 0, 2]
    else:
        torch.testing.assert_close(means.norm(dim=-1), torch.full((3,), 2.0))
        torch.testing.assert_close(torch.pdist(means), torch.full((3,), 2 * 3**0.5))


def test_the_mixture_unless_said_otherwise():
    parts = priors.mixture(2).component_distribution
    torch.testing.assert_close(parts.mean.norm(dim=-1), torch.full((4,), 2.0))
    assert (parts.stddev == 0.5).all()


def test_a_mixture_takes_whole_numbers_one_component_and_a_weight_of_zero():
    whole = priors.mixture(2, means=[[1, 2], [3, 4]], weights=[1, 0])
    z = torch.randn(20, 2)
    expected = stats.multivariate_normal([1, 2], 0.5**2).logpdf(z)
    np.testing.assert_allclose(whole.log_prob(z), expected, rtol=1e-5)
    one = priors.mixture(2, components=1, radius=1.0)
    expected = stats.multivariate_normal([1, 0], 0.5**2).logpdf(z)
    np.testing.assert_allclose(one.log_prob(z), expected, rtol=1e-5)


def test_a_mixture_computes_in_the_default_precision():
    weights = torch.ones(3, dtype=torch.float64)
    z = torch.randn(20, 1)
    prior = priors.mixture(1, components=3, radius=1.0, scale=1, weights=weights)
    assert prior.log_prob(z).dtype == prior.sample().dtype == torch.float32
    expected = stats.norm.pdf(z, [-1, 0, 1], 1).mean(-1)
    np.testing.assert_allclose(prior.log_prob(z).exp(), expected, rtol=1e-5)


@pytest.mark.parametrize("d", [1, 3])
def test_standard_normal_and_uniform_are_scipys(d):
    z = torch.randn(20, d)
    normal = priors.standard_normal(d).log_prob(z)
    np.testing.assert_allclose(normal, stats.norm.logpdf(z).sum(-1), rtol=1e-5)
    inside = torch.rand(20, d) * 4 - 1
    box = priors.uniform(d, -1, 3).log_prob(inside)
    np.testing.assert_allclose(box, stats.uniform(-1, 4).logpdf(inside).sum(-1), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: priors.standard_normal(0), "d is 0"),
        (lambda: priors.uniform(0), "d is 0"),
        (lambda: priors.uniform(2, 1.0, 1.0), "low must be below high"),
        (lambda: priors.mixture(0), "d is 0"),
        (lambda: priors.mixture(2, components=0), "components is 0"),
        (lambda: priors.mixture(2, scale=0.0), "scale is 0.0"),
        (lambda: priors.mixture(3, means=MEANS), r"shape \[3, 2\]; it must be \[K, 3\]"),
        (lambda: priors.mixture(2, means=MEANS, weights=[1.0]), "must be 3 numbers"),
        (lambda: priors.mixture(2, means=MEANS, weights=[1, -1, 1]), "none negative"),
        (lambda: priors.mixture(2, means=MEANS, weights=[0, 0, 0]), "not all 0"),
        (lambda: priors.mixture(2, means=MEANS, weights=[1.0, float("nan"), 1.0]), "numbers"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Stored and built again


@every_prior
def test_describe_and_build(prior):
    again = priors.build(priors.describe(prior))
    z = prior.sample((100,))
    torch.testing.assert_close(again.log_prob(z), prior.log_prob(z))


@given(
    weights=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6),
    scale=st.floats(1e-2, 10),
)
def test_a_stored_mixture_is_described_the_same(weights, scale):
    # Loading compares descriptions, so one more rounding would refuse the model's own file.
    means = torch.randn(len(weights), 2)
    first = priors.describe(priors.mixture(2, means=means, weights=weights, scale=scale))
    assert priors.describe(priors.build(first)) == first


@pytest.mark.parametrize(
    "prior",
    [
        priors.standard_normal(1),
        priors.uniform(1, -1.0, 2.0),
        priors.mixture(1, components=1, scale=0.3),
    ],
    ids=["normal", "box", "mixture"],
)
def test_a_prior_of_one_dimension_is_described_too(prior):
    described = priors.describe(prior)
    assert priors.describe(priors.build(described)) == described


def test_a_box_is_the_unit_box_unless_said_otherwise():
    low, high = priors.box(priors.uniform(2))
    assert (low.tolist(), high.tolist()) == ([0, 0], [1, 1])


def test_other_distributions_cannot_be_stored():
    shifted = Independent(Normal(torch.ones(2), torch.ones(2)), 1)
    bare = MixtureSameFamily(Categorical(torch.ones(3)), Normal(torch.zeros(3), torch.ones(3)))
    for other in (shifted, Normal(torch.zeros(2), torch.ones(2)), bare):
        with pytest.raises(ValueError, match=r"only the priors of vae_edu\.priors"):
            priors.describe(other)


# q(z|x)


def test_q_has_the_standard_deviation_of_half_the_log_variance():
    loc, log_var = torch.randn(3, 2), torch.randn(3, 2)
    for prior in (PRIORS["normal"](), PRIORS["ring"]()):
        q = priors.approximate_posterior(prior, loc, log_var)
        assert (q.batch_shape, q.event_shape) == ((3,), (2,))
        torch.testing.assert_close(q.mean, loc)
        torch.testing.assert_close(q.variance, log_var.exp())


@pytest.mark.parametrize(("low", "high"), BOXES)
@pytest.mark.parametrize("loc", [-1e4, -8.0, 0.0, 5.0, 8.0, 1e4])
@pytest.mark.parametrize("log_var", [-80.0, 0.0, 20.0, 80.0])
def test_q_of_a_box_never_leaves_it(low, high, loc, log_var):
    prior = priors.uniform(2, low, high)
    q = priors.approximate_posterior(prior, torch.full((2,), loc), torch.full((2,), log_var))
    z = q.rsample((500,))
    assert (z > low).all() and (z < high).all()
    assert torch.isfinite(prior.log_prob(z)).all()
    assert torch.isfinite(q.log_prob(z)).all()


@pytest.mark.parametrize(("low", "high"), BOXES)
def test_q_of_a_box_starts_as_the_uniform_distribution(low, high):
    prior = priors.uniform(2, low, high)
    q = priors.approximate_posterior(prior, torch.zeros(2), torch.zeros(2))
    z = q.sample((4000,))
    torch.testing.assert_close(q.log_prob(z), prior.log_prob(z), rtol=1e-4, atol=1e-4)
    for axis in (0, 1):
        assert stats.kstest(z[:, axis], stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_q_of_a_box_integrates_to_one():
    prior = priors.uniform(1, -1.0, 3.0)
    q = priors.approximate_posterior(prior, torch.tensor([0.4]), torch.tensor([-1.0]))
    z = -1 + 4 * (torch.arange(10_000).unsqueeze(-1) + 0.5) / 10_000
    assert q.log_prob(z).exp().sum().item() * 4 / 10_000 == pytest.approx(1, abs=1e-4)


def test_q_of_a_box_has_the_mean_of_its_draws():
    loc, log_var = torch.tensor([[0.5, -2.0], [3.0, 0.0]]), torch.tensor([[-1.0, 0.5], [0.0, 2.0]])
    q = priors.approximate_posterior(priors.uniform(2, -1.0, 3.0), loc, log_var)
    assert_mean(q.sample((20_000,)), q.mean)


def test_draws_from_q_carry_gradients():
    for make in PRIORS.values():
        loc, log_var = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
        q = priors.approximate_posterior(make(), loc, log_var)
        (q.rsample((50,)) ** 2).sum().backward()
        assert loc.grad.abs().min() > 0
        assert log_var.grad.abs().min() > 0


# KL divergences, in closed form against averages over draws


def monte_carlo_kl(q, p, n: int = 40_000):
    z = q.sample((n,))
    return q.log_prob(z) - p.log_prob(z)


@pytest.mark.parametrize(
    "prior", [priors.standard_normal(2), priors.mixture(2, **UNEQUAL)], ids=["normal", "mixture"]
)
def test_kl_of_a_gaussian(prior):
    loc, log_var = torch.tensor([[0.5, -1.0], [2.0, 0.1]]), torch.tensor([[-1.0, 0.5], [0.0, -3.0]])
    q = priors.approximate_posterior(prior, loc, log_var)
    kl = priors.kl(q, prior, q.sample((200_000,)))
    assert kl.shape == (2,)
    assert_mean(monte_carlo_kl(q, prior), kl, slack=0.02)


def test_kl_to_the_normal_is_in_closed_form():
    loc, log_var = torch.randn(5, 2), torch.randn(5, 2)
    prior = priors.standard_normal(2)
    q = priors.approximate_posterior(prior, loc, log_var)
    expected = 0.5 * (loc**2 + log_var.exp() - 1 - log_var).sum(-1)
    torch.testing.assert_close(priors.kl(q, prior), expected)
    # No draws: one z, or none, makes no difference.
    assert torch.equal(priors.kl(q, prior, q.sample((1,))), priors.kl(q, prior))


@pytest.mark.parametrize(("low", "high"), BOXES)
@pytest.mark.parametrize(("loc", "log_var"), [(0.0, 0.0), (0.7, -1.0), (-2.0, -4.0), (1.0, 1.0)])
def test_kl_on_a_box_is_that_of_the_gaussian_underneath(low, high, loc, log_var):
    # A KL divergence does not change when both sides are pushed through the same one-to-one map,
    # and the normal's CDF maps N(0, 1) to the uniform distribution.
    prior = priors.uniform(2, low, high)
    q = priors.approximate_posterior(prior, torch.full((2,), loc), torch.full((2,), log_var))
    underneath = 2 * 0.5 * (loc**2 + np.exp(log_var) - 1 - log_var)
    z = q.rsample((20_000,))
    assert priors.kl(q, prior, z).item() == pytest.approx(
        (q.log_prob(z) - prior.log_prob(z)).mean()
    )
    assert_mean(q.log_prob(z) - prior.log_prob(z), underneath, slack=1e-4)


def test_a_gaussian_q_on_a_box_has_infinite_kl():
    q, p = Normal(torch.tensor(0.5), torch.tensor(0.01)), torch.distributions.Uniform(0.0, 1.0)
    assert kl_divergence(q, p) == torch.inf


def test_kl_of_a_full_covariance_to_a_diagonal_one():
    q = MultivariateNormal(torch.tensor([0.5, -1.0]), torch.tensor([[1.0, 0.6], [0.6, 0.5]]))
    p = Independent(Normal(torch.tensor([0.1, 0.2]), torch.tensor([1.5, 0.8])), 1)
    assert_mean(monte_carlo_kl(q, p), kl_divergence(q, p))
    # Where q is diagonal too, torch has a formula of its own.
    diagonal = Independent(Normal(q.mean, q.stddev), 1)
    full = MultivariateNormal(q.mean, torch.diag(q.variance))
    torch.testing.assert_close(kl_divergence(full, p), kl_divergence(diagonal, p))


def test_kl_takes_one_draw_where_none_is_given():
    q = priors.approximate_posterior(priors.mixture(2), torch.zeros(3, 2), torch.zeros(3, 2))
    torch.manual_seed(0)
    z = q.rsample((1,))
    torch.manual_seed(0)
    assert torch.equal(priors.kl(q, priors.mixture(2)), priors.kl(q, priors.mixture(2), z))


@pytest.mark.parametrize(
    "p",
    [priors.mixture(2, **UNEQUAL), Independent(Laplace(torch.zeros(2), torch.ones(2)), 1)],
    ids=["mixture", "laplace"],
)
def test_kl_of_a_full_covariance_falls_back_to_draws(p):
    q = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.6], [0.6, 1.0]]))
    kl = priors.kl(q, p, q.sample((20_000,)))
    assert_mean(monte_carlo_kl(q, p), kl, slack=0.05)
    assert torch.isfinite(priors.kl(q, p))
