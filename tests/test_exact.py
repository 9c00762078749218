"""The grid against Gauss-Hermite quadrature, finer grids and Monte Carlo."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import CASES, case_id, images, points, vae
from numpy.polynomial.hermite_e import hermegauss
from scipy import stats
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    Laplace,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from vae_edu import priors
from vae_edu.distributions import ContinuousBernoulli, DiscretizedLogistic
from vae_edu.exact import LatentGrid, _pairwise

PRIORS = {
    "normal": priors.standard_normal,
    "box": lambda d: priors.uniform(d, -1.0, 2.0),
    "mixture": lambda d: priors.mixture(d, components=3, radius=1.0, scale=0.6),
}
every_case = pytest.mark.parametrize("case", CASES, ids=case_id)
# Where much else varies: a density, and masses that are smooth and that are rugged in z.
some_cases = pytest.mark.parametrize("case", [CASES[3], CASES[5], CASES[7]], ids=case_id)
every_prior = pytest.mark.parametrize("prior", PRIORS)
both_dimensions = pytest.mark.parametrize("d", [1, 2])


# What makes a posterior of a few humps within the prior's reach, neither flat nor a needle.
GAINS = {"bernoulli": 3.0, "categorical": 3.0, "continuous-bernoulli": 1.0}


def curved(case, d: int, prior: str = "normal", steeper: float = 1.0, dim: int = 6):
    """A model with bent posteriors, and a q that is neither the posterior nor far from it."""
    gain = steeper * GAINS.get(case[0], 1.5)
    model = vae(case, images(dim=dim), PRIORS[prior](d), gain=gain)
    with torch.no_grad():
        model.encoder[-1].bias[d:] -= 1.5
    return model, model.likelihood.prepare(images(dim=dim).train_x[:6])


@torch.no_grad()
def elbo_by_gauss_hermite(model, x, nodes: int = 60):
    """E_q[log p(x|z)] - KL(q || p), both as sums over the nodes of a Gaussian, in float64.

    On a box q is a Gaussian pushed through the normal's CDF, and so are the nodes.
    """
    node, weight = (torch.tensor(a) for a in hermegauss(nodes))
    weight = weight / math.sqrt(2 * math.pi)
    d = model.latent_dim
    noise = torch.cartesian_prod(*[node] * d).reshape(-1, 1, d)
    weight = torch.cartesian_prod(*[weight] * d).reshape(-1, d).prod(-1)
    loc, log_var = model.encoder(model.likelihood.network_input(x)).double().chunk(2, -1)
    gaussian = loc + noise * torch.exp(log_var / 2)
    log_q = stats.norm.logpdf(noise).sum(-1) - log_var.numpy().sum(-1) / 2
    corners = priors.box(model.prior)
    if corners is None:
        z, log_prior = gaussian, model.prior.log_prob(gaussian).numpy()
    else:
        low, high = (corner.double() for corner in corners)
        z = low + (high - low) * torch.tensor(stats.norm.cdf(gaussian))
        # The KL is the same as before the push, where the uniform prior is a normal one.
        log_prior = stats.norm.logpdf(gaussian).sum(-1)
    log_likelihood = model.decode(z.float()).log_prob(x).double().numpy()
    return weight.numpy() @ (log_likelihood + log_prior - log_q)


# The identity: log p(x) - ELBO = KL(q || p(z|x))


@every_case
@both_dimensions
def test_log_p_less_the_elbo_is_the_kl_to_the_posterior(case, d):
    model, x = curved(case, d)
    grid = LatentGrid(model, half_width=6)
    gap = grid.log_marginal(x).numpy() - elbo_by_gauss_hermite(model, x)
    kl = grid.kl(model.posterior(x), x).numpy()
    np.testing.assert_allclose(gap, kl, atol=1e-3)
    assert kl.min() > 0.02  # else the identity would say little


@pytest.mark.parametrize("prior", ["box", "mixture"])
@both_dimensions
@some_cases
def test_the_identity_with_other_priors(case, d, prior):
    model, x = curved(case, d, prior)
    grid = LatentGrid(model, half_width=6)
    gap = grid.log_marginal(x).numpy() - elbo_by_gauss_hermite(model, x)
    np.testing.assert_allclose(gap, grid.kl(model.posterior(x), x).numpy(), atol=1e-3)


@every_case
def test_the_identity_in_grey_levels(case):
    if case[0] == "bernoulli":
        pytest.skip("models no grey levels")
    model, x = curved(case, 1)
    levels, grey = images().train_x[:6], model.on_grey_levels()
    kl = LatentGrid(grey).kl(grey.posterior(levels), levels)
    if case[0] == "gaussian" and case[1]["scale"] != "from_z":
        # What dequantization costs is the same for every z: the posterior does not move.
        expected = LatentGrid(model).kl(model.posterior(x), x)
        torch.testing.assert_close(kl, expected, atol=1e-4, rtol=1e-4)
    q, grid = grey.posterior(levels), LatentGrid(grey, points=8000)
    z = grid.z.unsqueeze(1)
    with torch.no_grad():
        q_at, joint = q.log_prob(z), grey.decode(z).log_prob(levels) + model.prior.log_prob(z)
        by_sums = (q_at.exp() * (q_at - joint)).sum(0) * grid.cell + grid.log_marginal(levels)
    torch.testing.assert_close(kl, by_sums, atol=1e-3, rtol=0, check_dtype=False)


def test_the_kl_of_a_wide_q_is_not_spoilt_by_a_large_log_p():
    # A q with a little mass off the grid: what is lost is a part of the KL, not of log p(x).
    model, x = curved(CASES[0], 1, dim=200)
    grid = LatentGrid(model)
    assert grid.log_marginal(x).abs().min() > 100
    q = Independent(Normal(torch.full((6, 1), 2.0), torch.full((6, 1), 0.72)), 1)
    mass = q.log_prob(grid.z.unsqueeze(1)).exp().sum(0) * grid.cell
    assert (1 - mass).min() > 2e-4
    wide = LatentGrid(model, points=4000, half_width=9)
    torch.testing.assert_close(grid.kl(q, x), wide.kl(q, x), rtol=2e-3, atol=1e-2)


# log p(x) and p(z|x) themselves


@some_cases
@every_prior
@both_dimensions
def test_against_a_much_finer_and_wider_grid(case, prior, d):
    model, x = curved(case, d, prior)
    grid, fine = LatentGrid(model), LatentGrid(model, points=8000 // 20 ** (d - 1), half_width=7)
    off = (grid.log_marginal(x) - fine.log_marginal(x)).abs()
    assert off.median() < 5e-4
    assert (off <= grid.error(x) + 1e-4).all()


@some_cases
@every_prior
@both_dimensions
def test_against_draws_from_the_prior(case, prior, d):
    model, x = curved(case, d, prior)
    exact = LatentGrid(model).log_marginal(x).double().numpy()
    with torch.no_grad():
        z = model.prior.sample((40_000, 1))
        ratio = np.exp(model.decode(z).log_prob(x).double().numpy() - exact)
    error = ratio.std(0) / len(ratio) ** 0.5
    assert (np.abs(ratio.mean(0) - 1) < 4.5 * error + 1e-4).all()
    assert error.max() < 0.2  # an error bar wide enough for anything would test nothing


@every_case
@both_dimensions
def test_the_posterior_is_joint_over_marginal(case, d):
    model, x = curved(case, d)
    grid = LatentGrid(model, points=300 if d == 1 else 60)
    density = grid.posterior(x)
    assert density.shape == (6, *[grid.points] * d)
    np.testing.assert_allclose(density.flatten(1).sum(-1) * grid.cell, 1, rtol=1e-5)
    i, at = 4, (7, 31)[:d]
    z = torch.stack([axis[j] for axis, j in zip(grid.axes, at, strict=True)])
    with torch.no_grad():
        log_joint = model.decode(z).log_prob(x[i]) + model.prior.log_prob(z)
    expected = (log_joint - grid.log_marginal(x)[i]).exp().item()
    assert density[(i, *at)].item() == pytest.approx(expected, rel=1e-3)


@both_dimensions
def test_the_posterior_itself_has_no_kl_to_the_posterior(d):
    # A q that is the grid's own density, made smooth by being the exact one of a linear model.
    loading = torch.eye(3, d)
    model = SimpleNamespace(
        prior=priors.standard_normal(d),
        decode=lambda z: Independent(Normal(z @ loading.T, 0.5), 1),
    )
    x = torch.randn(4, 3)
    q = Independent(Normal(x[:, :d] / 1.25, math.sqrt(0.25 / 1.25)), 1)
    assert LatentGrid(model).kl(q, x).abs().max() < 1e-3


@both_dimensions
@some_cases
def test_the_likelihood_of_every_grid_point(case, d):
    model, x = curved(case, d)
    grid = LatentGrid(model, points=40)
    expected = torch.stack([model.decode(grid.z).log_prob(row) for row in x])
    found = grid.log_likelihood(x).to(expected.dtype)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_grid_reaches_as_far_as_it_says_around_every_component():
    means = torch.tensor([[-3.0, 0.5], [1.0, 2.0], [4.0, -1.0]])
    model = vae(CASES[5], images(), priors.mixture(2, means=means, scale=0.2))
    grid = LatentGrid(model, points=8, half_width=3.0)
    torch.testing.assert_close(grid.low, torch.tensor([-3.6, -1.6]))
    torch.testing.assert_close(grid.high, torch.tensor([4.6, 2.6]))


def test_grid_points_are_where_the_axes_say():
    grid = LatentGrid(curved(CASES[5], 2, "box")[0], points=20)
    table = grid.z.reshape(20, 20, 2)
    torch.testing.assert_close(table[:, 3, 0], grid.axes[0])
    torch.testing.assert_close(table[3, :, 1], grid.axes[1])
    assert grid.cell == pytest.approx((3 / 20) ** 2)
    torch.testing.assert_close(grid.axes[0][[0, -1]], torch.tensor([-1 + 0.075, 2 - 0.075]))


@every_prior
@both_dimensions
def test_the_grid_holds_the_priors_mass(prior, d):
    # A likelihood that does not depend on z: the marginal is the likelihood.
    p = SimpleNamespace(
        prior=PRIORS[prior](d), decode=lambda z: Independent(Normal(0 * z[..., :1], 1.0), 1)
    )
    x = torch.tensor([[0.3]])
    log_p = LatentGrid(p).log_marginal(x).item()
    assert log_p == pytest.approx(stats.norm.logpdf(0.3), abs=5e-5)


@every_case
def test_memory_does_not_change_the_answers(case):
    model, x = curved(case, 2)
    q = model.posterior(x)
    kept, again = LatentGrid(model, 80), LatentGrid(model, 80, memory=0)
    for answer in (lambda g: g.log_marginal(x), lambda g: g.error(x), lambda g: g.kl(q, x)):
        torch.testing.assert_close(answer(kept), answer(again))


# The error estimate


@some_cases
@every_prior
@both_dimensions
@pytest.mark.parametrize("steeper", [1, 2])
def test_a_coarse_grid_knows_its_error(case, prior, d, steeper):
    model, x = curved(case, d, prior, steeper)
    exact = LatentGrid(model, points=8000 if d == 1 else 300).log_marginal(x)
    for count in (20, 40, 80):
        grid = LatentGrid(model, points=count)
        # Of the worst row: of one alone, an estimate from few points can be small by chance.
        error = (grid.log_marginal(x) - exact).abs().max()
        assert error <= grid.error(x).max() + 1e-4


@pytest.mark.parametrize("prior", ["normal", "mixture"])
@pytest.mark.parametrize("case", [CASES[1], CASES[4]], ids=case_id)
@both_dimensions
def test_a_narrow_grid_knows_its_error(case, prior, d):
    # Steep Gaussians, some of whose posteriors reach over the edge.
    model, x = curved(case, d, prior, steeper=1.5)
    exact = LatentGrid(model, points=320, half_width=8).log_marginal(x)
    for half_width in (2.5, 3.5, 4.5):
        grid = LatentGrid(model, points=round(40 * half_width), half_width=half_width)
        off = (grid.log_marginal(x) - exact).abs()
        assert (off.clamp(max=0.5) <= 1.5 * grid.error(x) + 1e-4).all()


def test_the_error_estimate_is_small_where_the_grid_is_good():
    for case in CASES:
        model, x = curved(case, 2)
        assert (LatentGrid(model).error(x) < 1e-2).all()


@both_dimensions
def test_each_example_has_an_error_of_its_own(d):
    model, x = curved(CASES[5], d, steeper=2.0)
    grid = LatentGrid(model, points=12)
    alone = torch.cat([grid.error(row.unsqueeze(0)) for row in x])
    torch.testing.assert_close(grid.error(x), alone)
    assert len(set(alone.tolist())) == len(x)


@both_dimensions
def test_nothing_is_missing_beyond_the_edge_of_a_box(d):
    # The posterior is heaped up at the box's edge, beyond which there is no prior.
    model, x = curved(CASES[5], d, "box")
    grid = LatentGrid(model)
    density = grid.posterior(x)
    at_edge = density[:, 0].reshape(len(x), -1).amax(-1)
    assert (at_edge > 0.5 * density.flatten(1).amax(-1)).any()
    assert grid.error(x).max() < 0.05


def test_what_lies_beyond_the_grid_is_known_where_the_posterior_falls_exponentially():
    # The mean is such that p(x = 0 | z) p(z) falls as exp(-rate |z|): its tail is geometric.
    rate = 0.5
    model = SimpleNamespace(
        prior=priors.standard_normal(1),
        decode=lambda z: Independent(Normal((16 - z**2 + 2 * rate * z.abs()).sqrt(), 1.0), 1),
    )
    grid, x = LatentGrid(model), torch.zeros(1, 1)
    exact = math.log(2 / rate) - 8 - math.log(2 * math.pi)
    missing = exact - grid.log_marginal(x).item()
    assert missing > 0.1
    assert grid.error(x).item() == pytest.approx(missing, rel=0.05)


def test_a_posterior_off_the_grid_is_told():
    model = SimpleNamespace(
        prior=priors.standard_normal(1), decode=lambda z: Independent(Normal(z, 0.1), 1)
    )
    grid = LatentGrid(model)
    assert grid.error(torch.tensor([[0.0]])) < 1e-3
    assert grid.error(torch.tensor([[8.0]])) > 0.1


# Many x against many z at once


def pairs() -> dict:
    """Distributions over 4 pixels, 5 of each kind, with data for each."""
    real, unit = torch.randn(7, 4), torch.rand(7, 4)
    black_or_white, levels = torch.randint(2, (7, 4)).float(), torch.randint(6, (7, 4))
    loc, positive = torch.randn(5, 4), torch.rand(5, 4) + 0.1
    root = torch.randn(5, 4, 4)
    return {
        "bernoulli": (Bernoulli(logits=3 * loc), black_or_white),
        "continuous bernoulli": (ContinuousBernoulli(20 * loc), unit),
        "categorical": (Categorical(logits=torch.randn(5, 4, 6)), levels),
        "discretized logistic": (DiscretizedLogistic(loc, -positive * 5, 6), levels.float()),
        "normal": (Normal(loc, positive), real),
        "normal far from 0": (Normal(1000 + loc, 0.1 * positive), 1000 + real),
        "low rank": (LowRankMultivariateNormal(loc, root[..., :2], positive), real),
        "full, by the fallback": (MultivariateNormal(loc, root @ root.mT + torch.eye(4)), real),
        "laplace, by the fallback": (Laplace(loc, positive), real),
    }


@pytest.mark.parametrize("kind", pairs())
def test_pairs_are_log_prob_of_each(kind):
    p, x = pairs()[kind]
    if not p.event_shape:
        p = Independent(p, 1)
    expected = p.log_prob(x.unsqueeze(1))
    assert expected.shape == (7, 5)
    torch.testing.assert_close(
        _pairwise(p, x),
        expected,
        check_dtype=False,
        rtol=2e-4 if "far" in kind else 1e-5,
        atol=1e-4,
    )


@every_case
def test_pairs_of_every_family_and_its_grey_levels(case):
    data = images(levels=2 if case[0] == "bernoulli" else 5)
    model = vae(case, data, gain=3)
    z, x = torch.randn(9, 2), model.likelihood.prepare(data.train_x)
    with torch.no_grad():
        for p, rows in (
            (model.decode(z), x),
            (model.on_grey_levels().decode(z), data.train_x),
            (model.decode(z), model.likelihood.prepare(0 * data.train_x)),  # no bright pixel at all
        ):
            torch.testing.assert_close(
                _pairwise(p, rows),
                torch.stack([p.log_prob(row) for row in rows]),
                check_dtype=False,
                rtol=1e-4,
                atol=1e-4,
            )


# Bad input


def test_a_latent_of_three_dimensions_is_too_much():
    with pytest.raises(ValueError, match=r"3 dimensions.*iwae"):
        LatentGrid(vae(CASES[5], images(), priors.standard_normal(3)))


@pytest.mark.parametrize("count", [0, 6, 21])
def test_too_few_points_or_an_odd_number(count):
    with pytest.raises(ValueError, match=f"points is {count}"):
        LatentGrid(curved(CASES[5], 1)[0], points=count)


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1e-4), (4.4, 0.5), (30.0, 1.0)])
def test_a_q_that_the_grid_cannot_hold(loc, scale):
    model, x = curved(CASES[5], 1)
    q = Independent(Normal(torch.full((6, 1), loc), torch.full((6, 1), scale)), 1)
    with pytest.raises(ValueError, match=r"q has mass .* instead of 1.*more than 2000 points"):
        LatentGrid(model).kl(q, x)


def test_the_worst_of_many_q_is_named():
    model, x = curved(CASES[5], 1)
    loc = torch.tensor([[0.0], [30.0], [4.4], [0.0], [0.0], [0.0]])
    with pytest.raises(ValueError, match=r"q has mass 0\.0000 on the grid"):
        LatentGrid(model).kl(Independent(Normal(loc, torch.full((6, 1), 0.5)), 1), x)


def test_one_example_is_one_row():
    model, x = curved(CASES[5], 1)
    with pytest.raises(ValueError, match=r"must be \[N, D\]"):
        LatentGrid(model).log_marginal(x[0])


def test_points_in_the_plane_too():
    data = points(torch.randn(50, 2))
    model = vae(("gaussian", {"scale": "learned"}), data, priors.standard_normal(1), gain=2)
    grid = LatentGrid(model, half_width=6)
    gap = grid.log_marginal(data.train_x).numpy() - elbo_by_gauss_hermite(model, data.train_x)
    np.testing.assert_allclose(gap, grid.kl(model.posterior(data.train_x), data.train_x), atol=1e-3)
