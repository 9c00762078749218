"""Every family: its support, its density against SciPy, and what grey levels are worth."""

import itertools

import numpy as np
import pytest
import torch
from helpers import CASES, DENSITIES, MASSES, assert_mean, case_id, fit_p_value, images, points
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from torch.nn import functional

from vae_edu import likelihoods
from vae_edu.likelihoods import FAMILIES

every_case = pytest.mark.parametrize("case", CASES, ids=case_id)
every_density = pytest.mark.parametrize("case", DENSITIES, ids=case_id)
every_mass = pytest.mark.parametrize("case", MASSES, ids=case_id)
every_family = pytest.mark.parametrize("name", FAMILIES)


def make(case, data):
    name, options = case
    return likelihoods.make(name, data, **options)


def make_small(name, data):
    """With the default options, but for a rank that 3 pixels allow."""
    return likelihoods.make(name, data, **({"rank": 1} if name == "gaussian-full" else {}))


def parameters(likelihood, *batch, size: float = 1.0):
    """Random outputs of a network: means around mid-grey, the rest around 0."""
    dim = likelihood.dim
    p = size * torch.randn(*batch, likelihood.n_parameters)
    if likelihood.name.startswith("gaussian"):
        p[..., :dim] = 0.5 + 0.2 * p[..., :dim]
        p[..., dim : 2 * dim] -= 2
        p[..., 2 * dim :] *= 0.2
    if likelihood.name == "continuous-bernoulli":
        p /= likelihood.levels  # the unit of this family's parameters
    return p


def all_images(dim: int, levels: int):
    return torch.tensor(list(itertools.product(range(levels), repeat=dim)))


def bin_masses(likelihood, p, levels):
    """log of the integral of the density over each row's bins, by SciPy."""
    low, high = levels.numpy() / likelihood.levels, (levels.numpy() + 1) / likelihood.levels
    if likelihood.name == "gaussian":
        normal = stats.norm(p.mean.numpy(), p.stddev.numpy())
        return np.log(normal.cdf(high) - normal.cdf(low)).sum(-1)
    if likelihood.name == "gaussian-full":
        normal = stats.multivariate_normal(p.mean.numpy(), p.covariance_matrix.numpy())
        return np.log([normal.cdf(b, lower_limit=a) for a, b in zip(low, high, strict=True)])
    logits = p.base_dist.logits.numpy()
    mass = [
        np.prod([
            integrate.quad(lambda x, s=s: np.exp(s * x) / np.expm1(s) * s, a, b)[0]
            for s, a, b in zip(logits, lows, highs, strict=True)
        ])
        for lows, highs in zip(low, high, strict=True)
    ]  # fmt: skip
    return np.log(mass)


# What a family gives


@every_case
def test_a_batch_of_parameters_becomes_a_batch_of_distributions(case):
    likelihood = make(case, images())
    p = likelihood(parameters(likelihood, 4, 3))
    assert (p.batch_shape, p.event_shape) == ((4, 3), (6,))
    draws = p.sample((2,))
    assert draws.shape == (2, 4, 3, 6)
    assert p.log_prob(draws).shape == (2, 4, 3)
    assert likelihood.mean_image(parameters(likelihood, 4, 3)).shape == (4, 3, 6)


@every_case
def test_prepare_puts_the_levels_into_the_support(case):
    data = images(levels=5)
    likelihood = make(case, data)
    p = likelihood(parameters(likelihood))
    for generator in (None, torch.Generator().manual_seed(0)):
        x = likelihood.prepare(data.train_x, generator)
        assert p.support.check(x).all()
        scaled = likelihood.network_input(x)
        assert scaled.dtype == torch.float32
        assert scaled.min() >= 0
        assert scaled.max() <= 1


@every_case
def test_levels_survive_the_way_into_the_support_and_back(case):
    name, _ = case
    data = images(levels=2 if name == "bernoulli" else 5)
    likelihood = make(case, data)
    for generator in (None, torch.Generator().manual_seed(0)):
        back = likelihood.to_levels(likelihood.prepare(data.train_x, generator))
        assert torch.equal(back, data.train_x.long())
    torch.testing.assert_close(
        likelihood.image(likelihood.prepare(data.train_x)), data.train_x / (data.levels - 1)
    )


@every_case
def test_the_brightest_level_is_1_and_the_darkest_0_for_the_encoder(case):
    likelihood = make(case, images(levels=256))
    ends = likelihood.prepare(torch.tensor([[0] * 6, [255] * 6], dtype=torch.uint8))
    black, white = likelihood.network_input(ends).unbind()
    # A density's grey level lies in the middle of its bin.
    bin = 0.0 if case in MASSES else 0.5 / 256
    torch.testing.assert_close(black, torch.full((6,), bin))
    torch.testing.assert_close(white, torch.full((6,), 1 - bin))
    p = likelihood(parameters(likelihood))
    assert torch.isfinite(p.log_prob(ends)).all()  # a level of 255 in a byte has no next one


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int64])
def test_prepare_gives_numbers_to_compute_with(dtype):
    for name in FAMILIES:
        likelihood = make_small(name, images(dim=3, levels=5))
        x = likelihood.prepare(torch.tensor([[0, 2, 4]]).to(dtype))
        assert x.dtype == (torch.int64 if name == "categorical" else torch.float32)


@pytest.mark.parametrize("name", ["gaussian", "continuous-bernoulli", "bernoulli"])
def test_noise_comes_from_the_generator_alone(name):
    likelihood, levels = make((name, {}), images()), images().train_x
    before = torch.get_rng_state()
    one, same, other = (
        likelihood.prepare(levels, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["gaussian", "gaussian-full", "continuous-bernoulli"])
def test_a_picture_is_never_blacker_than_black_nor_whiter_than_white(name):
    likelihood = make_small(name, images(dim=3, levels=5))
    x = torch.tensor([-1.0, 0.5, 2.0])
    assert likelihood.image(x).tolist() == [0, 0.5, 1]


@every_case
def test_the_options_make_the_same_likelihood_again(case):
    name, options = case
    likelihood = make(case, images())
    assert options.items() <= likelihood.options.items()
    again = likelihoods.make(name, images(), **likelihood.options)
    assert (again.options, again.n_parameters) == (likelihood.options, likelihood.n_parameters)


def test_the_default_rank_is_four_or_all():
    for dim, rank in ((3, 3), (4, 4), (5, 4), (6, 4)):
        assert likelihoods.make("gaussian-full", images(dim)).rank == rank


def test_a_discretized_logistic_starts_at_mid_grey_with_a_quarter_of_the_range():
    p = make(("discretized-logistic", {}), images())(torch.zeros(12)).base_dist
    torch.testing.assert_close(p.loc, torch.full((6,), 0.5))
    torch.testing.assert_close(p.log_scale.exp(), torch.full((6,), 0.25))


@every_case
def test_in_double_precision_all_is_double(case):
    likelihood = make(case, images())
    p = parameters(likelihood, 3).double()
    levels = images().train_x[:3]
    mean = likelihood.mean_image(p)
    single = likelihood.mean_image(p.float())
    assert (single.dtype, mean.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(mean, single.double(), rtol=0, atol=1e-6)
    if case in MASSES[1:]:
        brightness = torch.linspace(0, 1, 5, dtype=torch.float64)
        explicit = likelihood(p).base_dist.logits.exp() @ brightness
        torch.testing.assert_close(mean, explicit, rtol=0, atol=1e-14)
    if case != MASSES[0]:
        assert likelihood.log_mass(p, levels).dtype == torch.float64


@pytest.mark.parametrize("name", ["gaussian", "gaussian-full"])
def test_points_are_no_images(name):
    likelihood = likelihoods.make(name, points(torch.randn(40, 2)))
    with pytest.raises(ValueError, match=r"^real-valued data are points"):
        likelihood.image(torch.zeros(2))
    with pytest.raises(TypeError, match=r"^real-valued data has no grey levels"):
        likelihood.mass_offset(likelihood(torch.zeros(likelihood.n_parameters)))


@pytest.mark.parametrize("name", ["gaussian", "continuous-bernoulli"])
def test_dequantization_is_uniform_within_the_bin(name):
    likelihood = make((name, {}), images(dim=1, levels=4))
    levels = torch.full((4000, 1), 2)
    x = likelihood.prepare(levels, torch.Generator().manual_seed(0))
    assert stats.kstest(x[:, 0], stats.uniform(0.5, 0.25).cdf).pvalue > 1e-3


def test_bernoulli_pixels_are_white_as_often_as_they_are_bright():
    likelihood = make(("bernoulli", {}), images(dim=5, levels=5))
    levels = torch.arange(5).expand(4000, 5)
    white = likelihood.prepare(levels, torch.Generator().manual_seed(0))
    assert_mean(white, torch.arange(5) / 4)
    assert likelihood.prepare(torch.arange(5)).tolist() == [0, 0, 1, 1, 1]


@every_case
def test_the_mean_image_is_the_mean_of_draws(case):
    likelihood = make(case, images())
    # Small enough a variance that no Gaussian draw is cut off at black or white.
    p = parameters(likelihood, size=0.3)
    if case[0].startswith("gaussian"):
        p[6:12] -= 4
        for scale in likelihood.parameters():
            scale.data.fill_(-6)
    draws = likelihood(p).sample((4000,)).detach()
    if case[0] == "gaussian" and case[1]["scale"] == "fixed":
        torch.testing.assert_close(likelihood.mean_image(p), (p * 5 - 0.5).div(4).clamp(0, 1))
    elif case[0] == "continuous-bernoulli":
        assert_mean(draws, (likelihood.mean_image(p) * 4 + 0.5) / 5)
    else:
        assert_mean(likelihood.image(draws), likelihood.mean_image(p).detach(), slack=1e-6)


# Densities and masses


@every_mass
@pytest.mark.parametrize("size", [1, 50])
def test_masses_of_all_images_sum_to_one(case, size):
    data = images(dim=3, levels=2 if case[0] == "bernoulli" else 5)
    likelihood = make(case, data)
    levels = all_images(3, data.levels)
    for _ in range(5):
        p = parameters(likelihood, size=size).expand(len(levels), -1)
        assert likelihood.log_mass(p, levels).exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("case", DENSITIES[:4], ids=case_id)
def test_gaussian_pixels_are_scipys(case):
    likelihood = make(case, images())
    p = parameters(likelihood, 3)
    x = torch.rand(3, 6)
    mean, deviation = (getattr(likelihood(p), of).detach() for of in ("mean", "stddev"))
    torch.testing.assert_close(mean, p[:, :6])
    expected = stats.norm(mean.numpy(), deviation.numpy()).logpdf(x).sum(-1)
    np.testing.assert_allclose(likelihood(p).log_prob(x).detach(), expected, rtol=1e-4)


def test_full_gaussian_is_scipys_with_the_explicit_covariance():
    likelihood = make(("gaussian-full", {"rank": 2}), images(dim=4))
    p = parameters(likelihood)
    mean, log_variance, factor = p[:4], p[4:8], p[8:].reshape(4, 2)
    smallest = 1 / (12 * 5**2)
    covariance = factor @ factor.T + torch.diag(log_variance.exp() + smallest)
    oracle = stats.multivariate_normal(mean.numpy(), covariance.double().numpy())
    x = torch.rand(50, 4)
    np.testing.assert_allclose(likelihood(p).log_prob(x), oracle.logpdf(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 3])
def test_full_gaussian_samples_have_its_covariance(rank):
    likelihood = make(("gaussian-full", {"rank": rank}), images(dim=3))
    p = likelihood(parameters(likelihood))
    z = p.sample((4000,)).numpy() - p.mean.numpy()
    # The squared Mahalanobis distance is chi-square with D degrees.
    distance = (z @ np.linalg.inv(p.covariance_matrix.double().numpy()) * z).sum(-1)
    assert stats.kstest(distance, stats.chi2(3).cdf).pvalue > 1e-3


@pytest.mark.parametrize("case", [DENSITIES[0], DENSITIES[3], DENSITIES[-1]], ids=case_id)
def test_a_pixels_density_integrates_to_one(case, float64):
    likelihood = make(case, images(dim=1))
    p = likelihood(parameters(likelihood))
    low, high = (-20, 20) if "gaussian" in case[0] else (0, 1)
    density = lambda x: float(p.log_prob(torch.tensor([x])).exp())  # noqa: E731
    middle = [float(p.mean) - 0.5, float(p.mean) + 0.5] if "gaussian" in case[0] else None
    assert integrate.quad(density, low, high, points=middle)[0] == pytest.approx(1, abs=1e-7)


@every_mass
def test_samples_follow_the_masses(case):
    data = images(dim=2, levels=2 if case[0] == "bernoulli" else 5)
    likelihood = make(case, data)
    p = parameters(likelihood)
    levels = all_images(2, data.levels)
    draws = likelihood.to_levels(likelihood(p).sample((4000,)))
    counts = np.bincount(draws[:, 0] * data.levels + draws[:, 1], minlength=len(levels))
    masses = likelihood.log_mass(p.expand(len(levels), -1), levels).exp()
    assert fit_p_value(counts, masses.numpy()) > 1e-3


@every_case
@pytest.mark.parametrize("size", [1, 30, 80])
def test_gradients_are_finite_at_extreme_parameters(case, size):
    data = images()
    likelihood = make(case, data)
    p = parameters(likelihood, len(data.train_x), size=size)
    if case[0].startswith("gaussian"):
        p = p.clamp(-80, 80)  # exp(88) is float32's end
    p.requires_grad_()
    log_prob = likelihood(p).log_prob(likelihood.prepare(data.train_x))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(p.grad).all()


# -log p(x|z) and the losses of practice


def test_gaussian_is_squared_error():
    likelihood = make(("gaussian", {"scale": "fixed", "sigma": 0.3}), images())
    mean, x = torch.rand(4, 6), torch.rand(4, 6)
    squared = functional.mse_loss(mean, x, reduction="none").sum(-1)
    constant = 6 * np.log(0.3 * np.sqrt(2 * np.pi))
    torch.testing.assert_close(-likelihood(mean).log_prob(x), squared / (2 * 0.3**2) + constant)


def test_bernoulli_is_binary_cross_entropy():
    likelihood = make(("bernoulli", {}), images())
    logits, x = torch.randn(4, 6), torch.randint(2, (4, 6)).float()
    loss = functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    torch.testing.assert_close(-likelihood(logits).log_prob(x), loss)


def test_continuous_bernoulli_is_binary_cross_entropy_less_its_norm():
    likelihood = make(("continuous-bernoulli", {}), images(levels=5))
    logits, x = torch.randn(4, 6), torch.rand(4, 6)
    loss = functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
    norm = torch.log(logits / torch.tanh(logits / 2)).sum(-1)
    torch.testing.assert_close(-likelihood(logits / 5).log_prob(x), loss - norm)


def test_categorical_is_cross_entropy():
    likelihood = make(("categorical", {}), images(levels=5))
    logits, x = torch.randn(4, 6 * 5), torch.randint(5, (4, 6))
    # A pixel's logits lie side by side; cross_entropy wants the classes second.
    loss = functional.cross_entropy(logits.reshape(4, 6, 5).mT, x, reduction="none").sum(-1)
    torch.testing.assert_close(-likelihood(logits).log_prob(x), loss)


# The unit in which families compare


@every_density
def test_log_mass_of_a_density_is_its_average_over_the_noise(case):
    data = images()
    likelihood = make(case, data)
    p = parameters(likelihood)
    levels = data.train_x[0]
    generator = torch.Generator().manual_seed(0)
    noisy = likelihood.prepare(levels.expand(20_000, 6), generator)
    draws = likelihood(p).log_prob(noisy).detach() - 6 * np.log(5)
    assert_mean(draws, likelihood.log_mass(p, levels).item(), slack=1e-5)


@every_density
def test_log_mass_of_a_density_is_below_the_mass_of_its_bins(case, float64):
    data = images(dim=2, levels=5)
    likelihood = make(case, data)
    p = parameters(likelihood)
    levels = all_images(2, 5)
    with torch.no_grad():
        bound = likelihood.log_mass(p.expand(len(levels), -1), levels).numpy()
        exact = bin_masses(likelihood, likelihood(p), levels)
    assert np.all(bound <= exact + 1e-9)
    assert np.exp(bound).sum() <= 1 + 1e-9
    # A bound, not just any low number: for the images that the model draws it is near.
    assert np.average(exact - bound, weights=np.exp(exact)) < 0.1


@every_case
def test_log_mass_keeps_batches(case):
    data = images(levels=2 if case[0] == "bernoulli" else 5)
    likelihood = make(case, data)
    p = parameters(likelihood, 3, len(data.train_x))
    together = likelihood.log_mass(p, data.train_x)
    assert together.shape == (3, len(data.train_x))
    torch.testing.assert_close(together[1, 5], likelihood.log_mass(p[1, 5], data.train_x[5]))


@pytest.mark.parametrize("rank", [1, 2, 6])
def test_the_mass_of_a_full_gaussian_takes_the_trace_of_its_precision(rank):
    # E[(x - μ)ᵀ Λ (x - μ)] over a bin is its value at the centre plus trace(Λ) times the variance
    # of a uniform number in a bin.
    likelihood = make(("gaussian-full", {"rank": rank}), images(levels=5))
    p = likelihood(parameters(likelihood, 4).double())
    trace = torch.linalg.inv(p.covariance_matrix).diagonal(dim1=-2, dim2=-1).sum(-1)
    expected = -6 * np.log(5) - 0.5 * trace / (12 * 5**2)
    torch.testing.assert_close(likelihood.mass_offset(p), expected, rtol=1e-12, atol=0)


def test_single_precision_in_a_program_of_doubles(float64):
    likelihood = make(("gaussian-full", {"rank": 2}), images(levels=5))
    p = likelihood(parameters(likelihood, 4).float())
    assert likelihood.mass_offset(p).dtype == torch.float32


@pytest.mark.parametrize("levels", [3, 5])
def test_bernoulli_models_other_data_than_grey_levels(levels):
    data = images(levels=levels)
    likelihood = make(("bernoulli", {}), data)
    with pytest.raises(ValueError, match=rf"{levels} grey levels.*other data.*categorical"):
        likelihood.log_mass(torch.zeros(6), data.train_x)


# Where σ comes from


def test_each_scale_has_the_variance_it_documents():
    data = images(levels=5)
    rounding = 1 / (12 * 5**2)
    outputs = torch.randn(12)
    means = outputs[:6]

    fixed = likelihoods.make("gaussian", data, scale="fixed", sigma=0.7)
    torch.testing.assert_close(fixed(means).variance, torch.full((6,), 0.49))
    assert not list(fixed.parameters())

    learned = likelihoods.make("gaussian", data, scale="learned", sigma=0.7)
    torch.testing.assert_close(learned(means).variance, torch.full((6,), 0.49))
    assert [p.shape for p in learned.parameters()] == [(1,)]

    per_pixel = likelihoods.make("gaussian", data, scale="per_pixel")
    torch.testing.assert_close(per_pixel(means).variance, torch.full((6,), 0.25**2))
    assert [p.shape for p in per_pixel.parameters()] == [(6,)]

    from_z = likelihoods.make("gaussian", data, scale="from_z")
    torch.testing.assert_close(from_z(outputs).variance, outputs[6:].exp() + rounding)


@pytest.mark.parametrize("scale", ["learned", "per_pixel", "from_z"])
def test_a_learned_variance_never_falls_below_that_of_rounding(scale):
    likelihood = likelihoods.make("gaussian", images(levels=5), scale=scale)
    for parameter in likelihood.parameters():
        parameter.data.fill_(-1000)
    p = likelihood(torch.full((likelihood.n_parameters,), -1000.0))
    torch.testing.assert_close(p.variance, torch.full((6,), 1 / (12 * 5**2)))


# Bad input


@every_family
@pytest.mark.parametrize(("level", "dtype"), [(5, torch.uint8), (-1, torch.int64)])
def test_levels_outside_the_range_are_named(name, level, dtype):
    likelihood = likelihoods.make(name, images(levels=5))
    x = torch.zeros(3, 6, dtype=dtype)
    x[1, 2] = level
    with pytest.raises(ValueError, match=rf"grey level {level} is outside 0 … 4.*make it for"):
        likelihood.prepare(x)


@every_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_only_integers_are_levels(name, dtype):
    likelihood = likelihoods.make(name, images())
    with pytest.raises(TypeError, match=r"integers 0 … 4.*as loaded"):
        likelihood.prepare(torch.zeros(3, 6, dtype=dtype))


@every_family
@pytest.mark.parametrize("shape", [(), (5,), (3, 7), (6, 1)])
def test_a_wrong_number_of_pixels_is_refused(name, shape):
    likelihood = likelihoods.make(name, images(dim=6))
    with pytest.raises(ValueError, match=r"D = 6.*flatten"):
        likelihood.prepare(torch.zeros(shape, dtype=torch.uint8))


@every_family
def test_a_wrong_number_of_parameters_is_refused(name):
    likelihood = likelihoods.make(name, images())
    with pytest.raises(ValueError, match=f"needs {likelihood.n_parameters} parameters"):
        likelihood(torch.zeros(2, likelihood.n_parameters + 1))


@every_family
def test_points_have_gaussian_likelihoods_only(name):
    rows = points(torch.randn(20, 3))
    if not name.startswith("gaussian"):
        with pytest.raises(ValueError, match=r"real numbers, not grey levels.*gaussian"):
            likelihoods.make(name, rows)
        return
    likelihood = make_small(name, rows)
    assert torch.equal(likelihood.prepare(rows.train_x), rows.train_x)
    assert likelihood.prepare(rows.train_x.double()).dtype == torch.float32
    assert likelihood.data_name == rows.name
    with pytest.raises(TypeError, match="no grey levels"):
        likelihood.log_mass(torch.zeros(likelihood.n_parameters), rows.train_x[0])
    with pytest.raises(ValueError, match="points, not images"):
        likelihood.mean_image(torch.zeros(likelihood.n_parameters))
    with pytest.raises(ValueError, match=r"^the data holds NaN"):
        likelihood.prepare(rows.train_x / 0)
    with pytest.raises(ValueError, match="D = 3"):
        likelihood.prepare(torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("poisson", {}, ValueError, "no likelihood 'poisson'; choose"),
        ("gaussian", {"scale": "fixed"}, ValueError, '^scale="fixed" needs sigma'),
        ("gaussian", {"scale": "from_z", "sigma": 1.0}, ValueError, '^scale="from_z" takes no'),
        ("gaussian", {"scale": "all"}, ValueError, "no scale 'all'"),
        ("gaussian", {"sigma": 0.0}, ValueError, "sigma is 0.0"),
        ("gaussian", {"sigma": float("nan")}, ValueError, "sigma is nan"),
        ("gaussian", {"sigma": float("inf")}, ValueError, "sigma is inf"),
        ("gaussian-full", {"rank": 0}, ValueError, "rank is 0"),
        ("gaussian-full", {"rank": 7}, ValueError, "from 1 to D = 6"),
        ("bernoulli", {"scale": "learned"}, TypeError, "bernoulli: .*scale"),
    ],
)
def test_bad_options_are_named(name, options, error, message):
    with pytest.raises(error, match=message):
        likelihoods.make(name, images(dim=6), **options)


@given(
    name=st.sampled_from(list(FAMILIES)),
    batch=st.lists(st.integers(0, 3), max_size=3),
    levels=st.integers(2, 256),
    dtype=st.sampled_from([torch.uint8, torch.int16, torch.int64]),
    noisy=st.booleans(),
)
def test_prepare_takes_any_batch(name, batch, levels, dtype, noisy):
    likelihood = make_small(name, images(dim=3, levels=levels))
    x = torch.randint(levels, (*batch, 3)).to(dtype)
    before = x.clone()
    prepared = likelihood.prepare(x, torch.Generator().manual_seed(0) if noisy else None)
    assert torch.equal(x, before)
    assert prepared.shape == x.shape
    if x.numel():  # torch can't check an empty batch's support
        p = likelihood(torch.zeros(*batch, likelihood.n_parameters))
        assert torch.isfinite(p.log_prob(prepared)).all()
    if name != "bernoulli":
        # With noise, float32 may round the top of a bin up to the next.
        off = (likelihood.to_levels(prepared) - x.long()).abs()
        assert not off.any() or (noisy and off.max() <= 1)


@given(level=st.one_of(st.integers(-300, -1), st.integers(17, 300)), at=st.integers(0, 5))
def test_any_level_outside_is_refused(level, at):
    x = torch.zeros(2, 3, dtype=torch.int64)
    x.view(-1)[at] = level
    for name in FAMILIES:
        with pytest.raises(ValueError, match=f"grey level {level} is outside 0 … 16"):
            make_small(name, images(dim=3, levels=17)).prepare(x)
