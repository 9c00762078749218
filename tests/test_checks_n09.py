"""Notebook 09's checkers: right answers pass, and each wrong one meets its own hint."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from vae_edu import bounds, checks, data, likelihoods, models, priors
from vae_edu.checks.n09 import EXERCISES


def rms(x, mean):
    return (x - mean).square().mean().sqrt()


def by_search(x, mean):
    """The σ under which x is most probable, found on a grid."""
    sigmas = torch.logspace(-2, 1, 30_001).view(-1, 1, 1)
    error = (x - mean).square().sum()
    log_p = -x.numel() * sigmas.log() - error / (2 * sigmas**2)
    return sigmas.flatten()[log_p.flatten().argmax()]


def finer_unit() -> float:
    """09.5 from two densities of the same image."""
    here, there = (Independent(Normal(torch.zeros(64), s * torch.ones(64)), 1) for s in (1, 255))
    return float(10 + there.log_prob(torch.zeros(64)) - here.log_prob(torch.zeros(64)))


RIGHT = [
    ("09.1", 0.6),
    ("09.1", torch.tensor(0.36).sqrt()),
    ("09.2", 784),
    ("09.3", 0.05),
    ("09.4", rms),
    ("09.4", by_search),
    ("09.4", lambda x, mean: float(rms(x, mean))),
    ("09.5", 10 - 64 * math.log(255)),
    ("09.5", finer_unit()),
]

WRONG = [
    ("09.1", 0.36, "variance for a standard deviation"),
    ("09.1", 0.36**2, "squared where a root"),
    ("09.1", 0.18, "multiplies the logarithm"),
    ("09.1", 5, "goes out last"),
    ("09.2", 1, "overlooked the mean over pixels"),
    ("09.2", 1 / 784, "upside down"),
    ("09.2", 28, "one side"),
    ("09.2", 64, "sum divided by D"),
    ("09.3", 0.1, "forgot the ½"),
    ("09.3", math.sqrt(0.05), "the question is for the variance"),
    ("09.3", 0.2, "instead of dividing"),
    ("09.3", 1, "as if β were 1"),
    ("09.3", 7, "KL stands alone"),
    ("09.4", lambda x, mean: ..., "returns nothing"),
    ("09.4", lambda x, mean: None, "returns nothing"),
    ("09.4", lambda x, mean: (x - mean).square().mean(), "σ is its root"),
    ("09.4", lambda x, mean: (x - mean).square().sum(-1).mean().sqrt(), "You summed over pixels:"),
    ("09.4", lambda x, mean: (x - mean).square().sum(-1).mean(), "left out the root"),
    ("09.4", lambda x, mean: (x - mean).abs().mean(), "Laplace"),
    ("09.4", lambda x, mean: (x - mean).std(), "off by a constant"),
    ("09.4", lambda x, mean: (x - mean).square().mean(-1).sqrt(), "several numbers"),
    ("09.4", lambda x, mean: 0.5, "derivative"),
    ("09.5", 10 + 64 * math.log(255), "wrong way"),
    ("09.5", 10 - math.log(255), "counted one pixel"),
    ("09.5", 10, "probability mass"),
    ("09.5", 10 / 255, "divided the logarithm"),
    ("09.5", 10 - 64 * math.log2(255), "gives bits"),
    ("09.5", 10 - 64 * math.log10(255), "decimal"),
    ("09.5", 99, "D log c"),
]

NAMES = [f"09.{i + 1}" for i in range(len(EXERCISES))]


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right(name, answer):
    verdict = checks.find(name).judge(answer)
    assert verdict.kind == "right", verdict.message


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_wrong_meets_its_hint(name, answer, hint):
    verdict = checks.find(name).judge(answer)
    assert verdict.kind == "wrong" and hint in verdict.message, verdict.message


def test_every_hint_is_tried():
    said = {checks.find(name).judge(answer).message for name, answer, _ in WRONG}
    hints = [hint for exercise in EXERCISES for _, hint in exercise.wrong]
    hints += [exercise.otherwise for exercise in EXERCISES]
    assert [hint for hint in hints if not any(hint in message for message in said)] == []


def wrong_signature(one):
    return one


def raising(*arguments):
    raise RuntimeError("my code is broken")


ODD = ["abc", [1, 2], {}, math.nan, True, torch.ones(3), object(), wrong_signature, raising, print,
       lambda *arguments: "text", lambda *arguments: [1.0]]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", ODD, ids=lambda answer: type(answer).__name__)
def test_odd_answers_never_raise(name, answer, capsys):
    checks.check(name, answer)
    assert f"Exercise {name}: Right" not in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", [..., None])
def test_unanswered_says_what_to_do(name, answer, capsys):
    checks.check(name, answer)
    assert f"Exercise {name}: Not answered yet. " in capsys.readouterr().out


# What the notebook derives, on the package's own gradients, in float64.


def gradient(likelihood, images, loss):
    torch.manual_seed(0)
    vae = models.VAE(priors.standard_normal(2), likelihood, 2, (8,))
    loss(bounds.elbo(vae, likelihood.prepare(images.train_x[:32]))).mean().backward()
    return torch.cat([weight.grad.flatten() for weight in vae.parameters()])


def gaussian(images, sigma):
    return likelihoods.make("gaussian", images, scale="fixed", sigma=sigma)


def test_beta_with_sigma_one_is_sigma_squared(float64):
    images, beta = data.load("digits"), 0.06
    with_beta = gradient(gaussian(images, 1.0), images, lambda e: beta * e.kl - e.reconstruction)
    with_sigma = gradient(gaussian(images, math.sqrt(beta)), images, lambda e: -e.total)
    torch.testing.assert_close(with_beta, beta * with_sigma)


def test_the_price_of_a_latent(float64):
    """The mean KL of latent j of probabilistic PCA is ½ log(λ_j/σ²), its expected error σ²."""
    images = data.load("digits")
    x = gaussian(images, 1.0).prepare(images.train_x)
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    pca = models.LinearGaussian.fit(x, 4)
    q = pca.posterior(x)
    # Its columns are orthogonal, so the exact posterior's latents are independent.
    variance = q.covariance_matrix.diagonal(dim1=-2, dim2=-1)
    kl = 0.5 * (q.mean**2 + variance - 1 - variance.log()).mean(0)
    torch.testing.assert_close(kl, 0.5 * torch.log(values[:4] / pca.sigma**2))
    error = (x - q.mean @ pca.weight.T - pca.mean).square().sum(-1).mean()
    error = error + torch.trace(pca.weight @ q.covariance_matrix[0] @ pca.weight.T)
    torch.testing.assert_close(error, 4 * pca.sigma**2 + values[4:].sum())
