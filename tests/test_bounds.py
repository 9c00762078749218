"""The bounds against each other, finite differences and the exact log p(x)."""

import gc
import math

import pytest
import torch
from helpers import CASES, assert_mean, case_id, images, vae
from torch.distributions import kl_divergence

from vae_edu import priors
from vae_edu.bounds import bits_per_dim, elbo, iwae
from vae_edu.exact import LatentGrid

PRIORS = {
    "normal": lambda: priors.standard_normal(2),
    "box": lambda: priors.uniform(2),
    "mixture": lambda: priors.mixture(2),
}
K = (1, 2, 5, 20, 100)


@pytest.fixture(scope="module", params=PRIORS)
def model(request):
    torch.manual_seed(3)
    return vae(("bernoulli", {}), images(dim=20), PRIORS[request.param](), gain=4)


@pytest.fixture(scope="module")
def x(model):
    return model.likelihood.prepare(images(dim=20).train_x[:4])


def test_the_elbo_is_its_two_terms(model, x):
    terms = elbo(model, x, samples=3)
    torch.testing.assert_close(terms.total, terms.reconstruction - terms.kl)


def test_the_elbos_two_terms(model, x):
    torch.manual_seed(5)
    terms = elbo(model, x, samples=4)
    torch.manual_seed(5)
    q = model.posterior(x)
    z = q.rsample((4,))
    by_hand = [model.decode(z[i]).log_prob(x) for i in range(4)]
    torch.testing.assert_close(terms.reconstruction, sum(by_hand) / 4)
    if isinstance(model.prior, type(priors.mixture(2))) or priors.box(model.prior):
        expected = (q.log_prob(z) - model.prior.log_prob(z)).mean(0)
    else:
        expected = kl_divergence(q, model.prior)
    torch.testing.assert_close(terms.kl, expected)


@torch.no_grad()
def repeats(model, x, k: int, n: int = 600):
    """n independent draws of the bound for each row of x, `[n, N]`."""
    many = x.repeat(n, 1)
    return iwae(model, many, k).reshape(n, len(x))


def test_iwae_rises_with_k_and_stays_below_log_p(model, x):
    exact = LatentGrid(model).log_marginal(x)
    bounds = [repeats(model, x, k) for k in K]
    means = torch.stack([bound.mean(0) for bound in bounds])
    errors = torch.stack([bound.std(0) / len(bound) ** 0.5 for bound in bounds])
    rises = means.diff(dim=0)
    assert (rises > -4 * (errors[1:] ** 2 + errors[:-1] ** 2).sqrt()).all()
    assert (means <= exact + 4 * errors).all()
    # And not by standing still: the gap shrinks to a small part of itself.
    gaps = (exact - means).sum(-1)
    assert gaps[0] > 0.5
    assert gaps[-1] < 0.15 * gaps[0]


def test_iwae_with_one_draw_is_the_elbo(model, x):
    with torch.no_grad():
        expected = elbo(model, x, samples=20_000)
    # 20 000 draws leave an error of their own, a fraction of that of 3000.
    assert_mean(repeats(model, x, 1, n=3000), expected.total, deviations=6)


def test_iwae_does_not_depend_on_how_many_points_are_held(model, x):
    class Replayed:
        """The model, with draws from q that come off one list whatever their number."""

        prior, decode = model.prior, model.decode

        def posterior(self, x):
            self.q, self.drawn = model.posterior(x), 0
            self.log_prob = self.q.log_prob
            return self

        def rsample(self, shape):
            start, self.drawn = self.drawn, self.drawn + shape[0]
            return z[start : self.drawn]

    z = model.posterior(x).sample((7,))
    log_weights = model.decode(z).log_prob(x) + model.prior.log_prob(z)
    log_weights = log_weights - model.posterior(x).log_prob(z)
    expected = log_weights.double().exp().mean(0).log()
    for chunk in (1, 3, 7, 50):
        bound = iwae(Replayed(), x, 7, chunk=chunk)
        torch.testing.assert_close(bound, expected, check_dtype=False, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_the_elbos_gradient_is_that_of_finite_differences(case, prior, float64):
    data = images(dim=4)
    model = vae(case, data, PRIORS[prior](), hidden=(3,))
    x = model.likelihood.prepare(data.train_x[:5])

    def bound():
        torch.manual_seed(7)  # the same noise: the estimate becomes a smooth function of weights
        return elbo(model, x, samples=2).total.sum()

    bound().backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            parameter += 1e-6 * direction
            above = bound()
            parameter -= 2e-6 * direction
            below = bound()
            parameter += 1e-6 * direction
        slope = (parameter.grad * direction).sum().item()
        difference = ((above - below) / 2e-6).item()
        assert slope == pytest.approx(difference, rel=1e-5, abs=1e-6), name


def test_iwaes_gradient_is_that_of_finite_differences(float64):
    data = images(dim=4)
    model = vae(("gaussian", {"scale": "from_z"}), data, hidden=(3,))
    x, weight = model.likelihood.prepare(data.train_x[:5]), model.encoder[0].weight

    def bound():
        torch.manual_seed(7)
        return iwae(model, x, 6).sum()

    bound().backward()
    with torch.no_grad():
        weight += 1e-6
        above = bound()
        weight -= 2e-6
        below = bound()
    assert weight.grad.sum().item() == pytest.approx(((above - below) / 2e-6).item(), rel=1e-5)


@pytest.mark.parametrize("bound", [elbo, iwae])
def test_no_part_is_kept_while_the_next_is_made(bound, model, x, monkeypatch):
    # Thousands of small tensors between large ones that come and go cost gigabytes: each may pin
    # the memory that a large one left.
    decode, kept = model.decode, []

    def counting(z):
        parts = (o for o in gc.get_objects() if type(o) is torch.Tensor)
        kept.append(sum(part.shape == (2, len(x)) for part in parts))
        return decode(z)

    monkeypatch.setattr(model, "decode", counting)
    with torch.no_grad():
        bound(model, x, 12, chunk=2)
    assert len(kept) == 6 and kept[-1] <= kept[1]


def test_one_draw_unless_asked_for_more(model, x):
    bounds = []
    for options in ({}, {"samples": 1}, {"samples": 1, "chunk": 1}):
        torch.manual_seed(0)
        bounds.append(elbo(model, x, **options).total)
    assert torch.equal(bounds[0], bounds[1]) and torch.equal(bounds[0], bounds[2])


def test_bad_arguments(model, x):
    with pytest.raises(ValueError, match="samples is 0"):
        elbo(model, x, samples=0)
    for k, chunk in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match=f"k is {k} and chunk is {chunk}"):
            iwae(model, x, k, chunk)


def test_bits_per_dim():
    # A uniform guess among 256 levels costs 8 bits a pixel.
    assert bits_per_dim(-784 * math.log(256), 784) == pytest.approx(8)
    nats = torch.tensor([-64 * math.log(17), 0.0])
    torch.testing.assert_close(bits_per_dim(nats, 64), torch.tensor([math.log2(17), 0.0]))
