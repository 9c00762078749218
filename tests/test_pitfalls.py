"""What notebook 09 derives, on the package's own gradients, in float64."""

import math

import torch

from vae_edu import bounds, data, likelihoods, models, priors


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
