"""The weights that come with the package."""

import math

import pytest
import safetensors
import torch
from helpers import images

from vae_edu import likelihoods, pretrained
from vae_edu.bounds import elbo
from vae_edu.exact import LatentGrid
from vae_edu.likelihoods import FAMILIES

every_family = pytest.mark.parametrize("family", FAMILIES)


def without_a_latent(family: str, digits) -> float:
    """The best average log p(x) of test images that the family reaches with constant parameters."""
    likelihood = likelihoods.make(family, digits)
    constant = torch.zeros(likelihood.n_parameters, requires_grad=True)
    train_x, test_x = (likelihood.prepare(x) for x in (digits.train_x[::3], digits.test_x))
    optimizer = torch.optim.Adam([constant, *likelihood.parameters()], lr=0.1, fused=True)
    for _ in range(200):
        loss = -likelihood(constant).log_prob(train_x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return likelihood(constant).log_prob(test_x).mean().item()


@every_family
@torch.no_grad()
def test_every_family_is_there(family, digits):
    model = pretrained.load(family, digits)
    assert model.likelihood.name == family
    assert (model.latent_dim, model.hidden) == (2, pretrained.HIDDEN)
    assert model.sample(3).shape == (3, 64)


@every_family
def test_a_trained_model_beats_one_without_a_latent(family, digits):
    model = pretrained.load(family, digits)
    x = model.likelihood.prepare(digits.test_x)
    with torch.no_grad():
        trained = elbo(model, x, samples=10).total.mean().item()
    # By nats of a whole image: e^3 = 20 times the probability, for each of 355 images.
    assert trained > without_a_latent(family, digits) + 3


@every_family
def test_the_elbo_is_below_the_exact_log_p(family, digits):
    model = pretrained.load(family, digits)
    x = model.likelihood.prepare(digits.test_x[:20])
    grid = LatentGrid(model, points=120)
    with torch.no_grad():
        bound = elbo(model, x, samples=200).total
    gap = (grid.log_marginal(x) - bound).mean()
    assert 0 < gap < 8
    assert grid.error(x).median() < 0.05


@pytest.mark.parametrize("family", ["categorical", "discretized-logistic", "continuous-bernoulli"])
@torch.no_grad()
def test_grey_levels_cost_less_than_a_uniform_guess(family, digits):
    model = pretrained.load(family, digits).on_grey_levels()
    bound = elbo(model, digits.test_x, samples=5).total.mean().item()
    assert bound / (64 * math.log(2)) > -0.7 * math.log2(17)


def test_the_files_are_small_and_float32():
    files = sorted(pretrained.FOLDER.glob("*"))
    assert [path.name for path in files] == sorted(f"digits-{f}.safetensors" for f in FAMILIES)
    assert sum(path.stat().st_size for path in files) < 2.5e6
    for path in files:
        with safetensors.safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                assert file.get_tensor(name).dtype == torch.float32


def test_digits_are_loaded_where_none_are_given():
    assert pretrained.load("bernoulli").likelihood.data_name == "digits"


def test_bad_arguments(digits):
    with pytest.raises(ValueError, match="no likelihood 'poisson'; choose"):
        pretrained.load("poisson")
    with pytest.raises(ValueError, match=r"data 'digits' \(here 'tiny'\)"):
        pretrained.load("bernoulli", images())


def test_the_command_makes_them_all_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    monkeypatch.setattr(pretrained, "EPOCHS", 1)
    pretrained.main()
    assert capsys.readouterr().out.split() == list(FAMILIES)
    for family in FAMILIES:
        assert pretrained.load(family).likelihood.name == family
