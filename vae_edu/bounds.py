"""Lower bounds on log p(x), in nats per example."""

import math
from collections.abc import Iterable
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
    log_likelihoods = (model.decode(part).log_prob(x) for part in z.split(chunk))
    reconstruction = rows_of(log_likelihoods, samples).mean(0)
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
    draws = (q.rsample((min(chunk, k - start),)) for start in range(0, k, chunk))
    log_weights = (
        model.decode(z).log_prob(x) + model.prior.log_prob(z) - q.log_prob(z) for z in draws
    )
    return torch.logsumexp(rows_of(log_weights, k), 0) - math.log(k)


def rows_of(parts: Iterable[Tensor], n: int) -> Tensor:
    """The n rows of all parts, each part put in its place at once.

    Small results kept among the large tensors that come and go would keep the allocator from using
    the large ones' room again.
    """
    rows, filled = None, 0
    for part in parts:
        if len(part) == n:
            return part
        if rows is None:
            rows = part.new_empty(n, *part.shape[1:])
        rows[filled : filled + len(part)] = part
        filled += len(part)
    return rows


def bits_per_dim(nats: Tensor | float, dim: int) -> Tensor | float:
    """Nats per example as bits per pixel, -nats / (dim log 2): of a code length, less is better."""
    return -nats / (dim * math.log(2))
