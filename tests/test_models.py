"""The VAE's shapes; the linear model against SciPy, scikit-learn, the grid and a trained VAE."""

import itertools

import numpy as np
import pytest
import torch
from helpers import CASES, case_id, images, points, vae
from scipy import stats
from sklearn.decomposition import PCA
from torch.distributions import MultivariateNormal, kl_divergence

from vae_edu import likelihoods, priors, training
from vae_edu.bounds import elbo
from vae_edu.exact import LatentGrid
from vae_edu.models import VAE, LinearGaussian

PRIORS = {"normal": priors.standard_normal, "box": priors.uniform, "mixture": priors.mixture}


def linear(dim: int = 5, d: int = 2, sigma: float = 0.6) -> LinearGaussian:
    return LinearGaussian(torch.randn(dim, d), torch.randn(dim), sigma)


# VAE


@pytest.mark.parametrize("case", CASES, ids=case_id)
@pytest.mark.parametrize("prior", PRIORS)
def test_shapes(case, prior):
    data = images()
    model = vae(case, data, PRIORS[prior](3), hidden=(8, 4))
    x = model.likelihood.prepare(data.train_x)
    q = model.posterior(x)
    assert (q.batch_shape, q.event_shape) == ((40,), (3,))
    z = q.rsample((7,))
    p = model.decode(z)
    assert (p.batch_shape, p.event_shape) == ((7, 40), (6,))
    assert model.mean_image(z).shape == (7, 40, 6)
    assert all(term.shape == (40,) for term in elbo(model, x, samples=3))
    assert torch.isfinite(elbo(model, x).total).all()


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_samples_are_data(case):
    data = images()
    model = vae(case, data)
    x = model.sample(5)
    assert x.shape == (5, 6)
    assert not x.requires_grad
    assert model.decode(torch.zeros(2)).support.check(x).all()
    levels = model.likelihood.to_levels(x)
    assert torch.equal(model.likelihood.check_levels(levels), levels)


def test_samples_come_from_the_marginal():
    # Of one black-or-white pixel, the mean is E[sigmoid(decoder(z))]: by integration over z.
    model = vae(("bernoulli", {}), images(dim=1), priors.standard_normal(1), gain=3)
    z, step = torch.linspace(-6, 6, 2001, dtype=torch.float32).unsqueeze(-1), 12 / 2000
    with torch.no_grad():
        expected = model.mean_image(z)[:, 0] @ model.prior.log_prob(z).exp() * step
    white = int(model.sample(20_000).sum())
    assert stats.binomtest(white, 20_000, float(expected)).pvalue > 1e-3


def test_hidden_layers():
    model = VAE(priors.standard_normal(2), likelihoods.make("bernoulli", images()), 2, (7, 3))
    networks = (model.encoder, model.decoder)
    sizes = [[p.shape[::-1] for p in net.parameters() if p.ndim == 2] for net in networks]
    assert sizes == [[(6, 7), (7, 3), (3, 4)], [(2, 3), (3, 7), (7, 6)]]
    plain = VAE(priors.standard_normal(2), likelihoods.make("bernoulli", images()), 2, ())
    z = torch.randn(2, 2)
    torch.testing.assert_close(
        plain.decoder(z).sum(0), plain.decoder(z.sum(0)) + plain.decoder(torch.zeros(2))
    )


def test_bad_arguments():
    likelihood = likelihoods.make("bernoulli", images())
    with pytest.raises(ValueError, match=r"prior is over \[3\], but latent_dim is 2"):
        VAE(priors.standard_normal(3), likelihood, 2)
    with pytest.raises(ValueError, match="n is 0"):
        VAE(priors.standard_normal(2), likelihood, 2).sample(0)


# The same model, of grey levels


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_on_grey_levels_is_log_mass(case):
    data = images(levels=2 if case[0] == "bernoulli" else 5)
    model = vae(case, data)
    z = torch.randn(3, len(data.train_x), 2)
    grey = model.on_grey_levels()
    expected = model.likelihood.log_mass(model.decoder(z), data.train_x)
    torch.testing.assert_close(grey.decode(z).log_prob(data.train_x), expected)
    plain = model.posterior(model.likelihood.prepare(data.train_x))
    torch.testing.assert_close(grey.posterior(data.train_x).mean, plain.mean)
    draws = grey.decode(z).sample()
    assert torch.equal(model.likelihood.check_levels(draws), draws)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_on_grey_levels_probabilities_sum_to_at_most_one(case):
    exact = case[0] in ("bernoulli", "categorical", "discretized-logistic")
    data = images(dim=3, levels=2 if case[0] == "bernoulli" else 3)
    model = vae(case, data, priors.standard_normal(1), gain=2)
    every = torch.tensor(list(itertools.product(range(data.levels), repeat=3)))
    total = LatentGrid(model.on_grey_levels()).log_marginal(every).exp().sum().item()
    if exact:
        assert total == pytest.approx(1, abs=1e-4)
    else:
        assert 0 < total < 1


def test_on_grey_levels_is_the_plain_model_where_levels_are_modelled():
    data = images()
    model = vae(("categorical", {}), data, gain=3)
    plain = LatentGrid(model).log_marginal(data.train_x.long())
    torch.testing.assert_close(LatentGrid(model.on_grey_levels()).log_marginal(data.train_x), plain)


def test_on_grey_levels_refuses_what_has_none():
    data = images(levels=5)
    grey = vae(("bernoulli", {}), data).on_grey_levels()
    with pytest.raises(ValueError, match="other data"):
        grey.decode(torch.zeros(2))
    with pytest.raises(ValueError, match="no grey levels"):
        vae(("gaussian", {}), points(torch.randn(20, 3))).on_grey_levels()


# The linear model


@pytest.mark.parametrize("d", [1, 2, 3])
def test_marginal_and_posterior_are_those_of_the_joint_gaussian(d, float64):
    # z and x together are one Gaussian, whose marginal and conditional SciPy and NumPy can do.
    model, x = linear(d=d), torch.randn(7, 5)
    w = model.weight.numpy()
    covariance = w @ w.T + model.sigma**2 * np.eye(5)
    oracle = stats.multivariate_normal(model.mean.numpy(), covariance)
    np.testing.assert_allclose(model.marginal().log_prob(x), oracle.logpdf(x), rtol=1e-9)

    gain = w.T @ np.linalg.inv(covariance)
    posterior = model.posterior(x)
    np.testing.assert_allclose(posterior.mean, (x - model.mean).numpy() @ gain.T, atol=1e-9)
    expected = np.broadcast_to(np.eye(d) - gain @ w, (7, d, d))
    np.testing.assert_allclose(posterior.covariance_matrix, expected, atol=1e-9)


@pytest.mark.parametrize("d", [1, 2])
def test_the_grid_finds_the_linear_models_formulas(d):
    model, x = linear(d=d), 0.5 * torch.randn(7, 5)
    grid = LatentGrid(model)
    exact = model.marginal().log_prob(x)
    torch.testing.assert_close(grid.log_marginal(x), exact, check_dtype=False, atol=2e-4, rtol=0)
    assert (grid.error(x) < 1e-3).all()
    assert grid.kl(model.posterior(x), x).abs().max() < 1e-3
    density = model.posterior(x).log_prob(grid.z.unsqueeze(1)).exp().T
    peak = density.max()
    torch.testing.assert_close(
        grid.posterior(x).flatten(1), density, check_dtype=False, atol=1e-3 * peak, rtol=0
    )


def test_with_the_exact_posterior_the_elbo_is_log_p_of_x_for_each_draw():
    model, x = linear(), torch.randn(7, 5)
    one = elbo(model, x, samples=200)
    assert one.total.mean() == pytest.approx(model.marginal().log_prob(x).mean().item(), abs=0.1)
    q = model.posterior(x)
    z = q.rsample((3,))
    log_ratio = model.decode(z).log_prob(x) + model.prior.log_prob(z) - q.log_prob(z)
    torch.testing.assert_close(log_ratio, model.marginal().log_prob(x).expand(3, 7))


def test_linear_samples_come_from_the_marginal(float64):
    model = linear(dim=3)
    centred = model.sample(5000) - model.mean
    distance = (centred @ model.marginal().covariance_matrix.inverse() * centred).sum(-1)
    assert stats.kstest(distance, stats.chi2(3).cdf).pvalue > 1e-3


@pytest.fixture
def rows(float64):
    return linear(dim=5, d=2, sigma=0.5).sample(300)


def test_fit_is_scikit_learns_pca(rows):
    ours = LinearGaussian.fit(rows, 2).marginal().log_prob(rows)
    theirs = PCA(2).fit(rows.numpy())
    # PCA divides by N - 1, which is unbiased but not the maximum of the likelihood.
    assert ours.mean() > theirs.score(rows.numpy())
    theirs.explained_variance_ *= 299 / 300
    theirs.noise_variance_ *= 299 / 300
    np.testing.assert_allclose(ours, theirs.score_samples(rows.numpy()), rtol=1e-9)


def test_fit_is_a_maximum_of_the_likelihood(rows):
    best = LinearGaussian.fit(rows, 2)
    parameters = [best.weight, best.mean, torch.tensor(best.sigma)]

    def average(changes, size):
        weight, mean, sigma = (p + size * c for p, c in zip(parameters, changes, strict=True))
        return LinearGaussian(weight, mean, float(sigma)).marginal().log_prob(rows).mean()

    top = best.marginal().log_prob(rows).mean()
    for _ in range(20):
        changes = [torch.randn_like(p) for p in parameters]
        assert average(changes, 0.05) < top
        slope = (average(changes, 1e-5) - average(changes, -1e-5)) / 2e-5
        assert abs(slope) < 1e-6


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_a_trained_linear_vae_reaches_the_closed_form(latent_dim):
    data = points(linear(dim=4, d=2, sigma=0.5).sample(400))
    x = data.train_x
    prior, likelihood = priors.standard_normal(latent_dim), likelihoods.make("gaussian", data)
    model = VAE(prior, likelihood, latent_dim, hidden=())
    for rate in (5e-2, 5e-3):
        for _ in training.train(model, data, 300, learning_rate=rate, batch_size=400, bar=False):
            pass

    # The same numbers, seen as a linear model, tell the exact marginal and posterior.
    layer, sigma = model.decoder[0], model.likelihood(torch.zeros(4)).stddev[0].item()
    learned = LinearGaussian(layer.weight.detach(), layer.bias.detach(), sigma)
    best = LinearGaussian.fit(x, latent_dim)
    reached = learned.marginal().log_prob(x).mean().item()
    assert reached == pytest.approx(best.marginal().log_prob(x).mean().item(), abs=0.03)
    assert sigma == pytest.approx(best.sigma, rel=0.03)

    with torch.no_grad():
        q = model.posterior(x)
        full = MultivariateNormal(q.mean, torch.diag_embed(q.variance))
        assert kl_divergence(full, learned.posterior(x)).mean() < 0.05
        bound = elbo(model, x, samples=500).total.mean().item()
    assert bound == pytest.approx(reached, abs=0.05)
    assert LatentGrid(model).log_marginal(x).mean().item() == pytest.approx(reached, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearGaussian(torch.ones(3), torch.zeros(3), 1.0), r"weight is \[3\]"),
        (lambda: LinearGaussian(torch.ones(3, 1), torch.zeros(2), 1.0), r"mean \[2\]"),
        (lambda: LinearGaussian(torch.ones(3, 1), torch.zeros(3), 0.0), "sigma is 0.0"),
        (lambda: LinearGaussian.fit(torch.randn(20, 3), 3), "from 1 to 2"),
        (lambda: LinearGaussian.fit(torch.randn(20, 3), 0), "from 1 to 2"),
        (lambda: LinearGaussian.fit(torch.randn(1, 3), 1), "at least 2 rows"),
        (lambda: LinearGaussian.fit(torch.zeros(9, 3), 1), "no noise is left"),
    ],
)
def test_bad_linear_models(make, message):
    with pytest.raises(ValueError, match=message):
        make()
