"""Lower bounds on log p(x), in nats per example."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_edu.priors import kl


class Elbo(NamedTuple):
    """total = reconstruction - kl, each `[N]` in nats per example."""

    total: Tensor
    reconstruction: Tensor
    kl: Tensor


def elbo(model, x: Tensor, samples: int = 1, chunk: int = 2) -> Elbo:
    """The evidence lower bound E_q[log p(x|z)] - KL(q(z|x) || p(z)) <= log p(x).

    (Kingma & Welling 2013, equation 3; the estimator is their equation 7.) The expectation is the
    average over `samples` reparameterized draws z ~ q(z|x), so gradients reach the encoder; the KL
    is in closed form where there is one. x is `[N, D]`, prepared by the model's likelihood. At most
    `chunk` draws are decoded at a time, so that memory does not grow with `samples`.
    """
    if samples < 1 or chunk < 1:
        raise ValueError(f"samples is {samples} and chunk is {chunk}; both must be at least 1")
    q = model.posterior(x)
    z = q.rsample((samples,))
    log_likelihoods = [model.decode(part).log_prob(x) for part in z.split(chunk)]
    reconstruction = torch.cat(log_likelihoods).mean(0)
    divergence = kl(q, model.prior, z)
    return Elbo(reconstruction - divergence, reconstruction, divergence)


def iwae(model, x: Tensor, k: int, chunk: int = 2) -> Tensor:
    """The importance-weighted bound E[log 1/k Σ p(x|z_i) p(z_i) / q(z_i|x)] <= log p(x), `[N]`.

    (Burda et al. 2016, equation 8.) One draw of k points for each example; k = 1 is the ELBO. In
    expectation it rises with k to log p(x). At most `chunk` points are held in memory at a time.
    """
    if k < 1 or chunk < 1:
        raise ValueError(f"k is {k} and chunk is {chunk}; both must be at least 1")
    q = model.posterior(x)
    log_weights = []
    for start in range(0, k, chunk):
        z = q.rsample((min(chunk, k - start),))
        log_weights.append(model.decode(z).log_prob(x) + model.prior.log_prob(z) - q.log_prob(z))
    return torch.logsumexp(torch.cat(log_weights), 0) - math.log(k)


def bits_per_dim(nats: Tensor | float, dim: int) -> Tensor | float:
    """Nats per example as bits per pixel, -nats / (dim log 2): of a code length, less is better."""
    return -nats / (dim * math.log(2))
