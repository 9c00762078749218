"""The browser's numbers (static/vae.js), run by Node, against torch in double precision."""

import base64
import json
import math
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import playwright
import pytest
import torch
from helpers import CASES, case_id, images, vae
from scipy import optimize, stats
from torch.distributions import Independent, Normal

from vae_edu import lab, likelihoods, pretrained
from vae_edu.exact import LatentGrid

# Playwright brings a Node, so none has to be installed.
NODE = shutil.which("node") or str(Path(playwright.__file__).with_name("driver") / "node")

ASK = """
const { description, weights, script } = JSON.parse(require("fs").readFileSync(0, "utf8"));
import("data:text/javascript;base64," + script).then((vae) => {
  const [model] = vae.readModels(description, new Uint8Array(weights));
  const list = (value) => JSON.stringify(value, (_, v) => (ArrayBuffer.isView(v) ? [...v] : v));
  console.log(list((() => { BODY })()));
});
"""


def ask(model, data, body: str, **names):
    """What JavaScript answers: `body` returns it, given `vae`, `model` and the named values."""
    constants = "".join(f"const {name} = {json.dumps(value)};" for name, value in names.items())
    source = {
        "description": {"levels": data.levels, "models": [lab._describe("it", model)]},
        "weights": list(lab._numbers(model)),
        "script": base64.b64encode((lab.STATIC / "vae.js").read_bytes()).decode(),
    }
    program = ASK.replace("BODY", constants + body)
    done = subprocess.run(
        [NODE, "-e", program], input=json.dumps(source), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tiny():
    return images()


@torch.no_grad()
def exact_vae(case, data, gain):
    """A VAE in double precision whose weights are float32's, as the browser gets them."""
    model = vae(case, data, hidden=(8, 7), gain=gain)
    for parameter in model.parameters():
        parameter.copy_(parameter.float())
    return model


@pytest.fixture(params=CASES, ids=case_id)
def model(request, tiny, float64):
    """Untrained, with weights enlarged until z matters."""
    return exact_vae(request.param, tiny, gain=2.0)


Z = [[0.0, 0.0], [0.7, -1.3], [-2.5, 2.0], [1.0, 1.0], [-0.1, 3.0]]


@torch.no_grad()
def test_encoder_and_decoder_are_torch_s(model, tiny):
    answer = ask(
        model,
        tiny,
        """return { q: levels.map((l) => model.posterior(l)), f: z.map((z) => model.decode(z)),
          all: model.decodeAll(z), many: model.posteriors(levels) };""",
        levels=tiny.test_x.tolist(),
        z=Z,
    )
    q = model.posterior(model.likelihood.prepare(tiny.test_x))
    np.testing.assert_allclose([one["mean"] for one in answer["q"]], q.mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose([one["sd"] for one in answer["q"]], q.stddev, rtol=1e-9)
    f = model.decoder(torch.tensor(Z))
    np.testing.assert_allclose(answer["f"], f, rtol=1e-9, atol=1e-9)
    assert answer["all"] == answer["f"] and answer["many"] == answer["q"]


@torch.no_grad()
def test_log_likelihood_is_torch_s(model, tiny):
    answer = ask(
        model,
        tiny,
        "return z.map((z) => levels.map((l) => model.logLikelihood(l, z)));",
        levels=tiny.test_x.tolist(),
        z=Z,
    )
    p = model.decode(torch.tensor(Z).unsqueeze(1))
    expected = p.log_prob(model.likelihood.prepare(tiny.test_x))
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_mean_image_and_brightness_are_torch_s(model, tiny):
    answer = ask(
        model,
        tiny,
        """const { likelihood } = model;
        return { mean: z.map((z) => likelihood.meanImage(model.decode(z))),
          image: levels.map((l) => [...likelihood.prepare(l)].map((x) => likelihood.brightness(x)))
        };""",
        levels=tiny.test_x.tolist(),
        z=Z,
    )
    expected = model.mean_image(torch.tensor(Z))
    np.testing.assert_allclose(answer["mean"], expected, rtol=1e-6, atol=1e-6)
    seen = model.likelihood.image(model.likelihood.prepare(tiny.test_x))
    np.testing.assert_allclose(answer["image"], seen, atol=1e-6)


@torch.no_grad()
def test_pixels_are_the_marginals_of_the_likelihood(model, tiny):
    """Mean, sd and log-probability of each pixel alone, and draws that have them."""
    answer = ask(
        model,
        tiny,
        """const random = vae.randomNumbers(1);
        return z.map((z) => {
          const f = model.decode(z);
          const draws = Array.from({ length: 4000 }, () => model.likelihood.draw(f, random));
          return model.likelihood.pixels(f).map((p, i) => ({
            mean: p.mean, sd: p.sd, logs: values.map(p.logProb), draws: draws.map((x) => x[i]),
          }));
        });""",
        z=Z[:2],
        values=[0, 1],
    )
    for row, z in zip(answer, Z[:2], strict=True):
        p = model.decode(torch.tensor(z))
        base = getattr(p, "base_dist", p)
        if hasattr(base, "logits") and not hasattr(base, "log_norm") and base.logits.ndim > 1:
            masses = base.logits.log_softmax(-1).exp()
            k = torch.arange(masses.shape[-1])
            mean = masses @ k.double()
            sd = (masses @ k.double() ** 2 - mean**2).sqrt()
            logs = masses[:, :2].log()
        elif hasattr(base, "log_norm"):
            u = (torch.arange(200001) + 0.5).div(200001).unsqueeze(-1)
            density = base.log_prob(u).exp()
            mean = base.mean
            sd = (density * (u - mean) ** 2).mean(0).sqrt()
            logs = torch.stack([base.log_prob(torch.full_like(mean, v)) for v in (0, 1)], -1)
        else:
            mean, sd = p.mean, p.variance.sqrt()
            if base.batch_shape == mean.shape:
                logs = torch.stack([base.log_prob(torch.full_like(mean, v)) for v in (0, 1)], -1)
            else:  # the correlated Gaussian: its marginals are normal
                logs = torch.distributions.Normal(mean, sd).log_prob(torch.tensor([[0.0], [1.0]])).T
        np.testing.assert_allclose([pixel["mean"] for pixel in row], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose([pixel["sd"] for pixel in row], sd, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose([pixel["logs"] for pixel in row], logs, rtol=1e-5, atol=1e-5)
        for pixel in row:
            draws = np.array(pixel["draws"])
            error = pixel["sd"] / math.sqrt(len(draws))
            assert abs(draws.mean() - pixel["mean"]) < 5 * error
            assert abs(draws.std() / max(pixel["sd"], 1e-9) - 1) < 0.35 or pixel["sd"] < 0.1


@torch.no_grad()
def test_correlated_pixels_are_drawn_together(tiny, float64):
    model = exact_vae(("gaussian-full", {"rank": 2}), tiny, gain=3.0)
    answer = ask(
        model,
        tiny,
        """const random = vae.randomNumbers(2);
        const f = model.decode(z);
        return Array.from({ length: 20000 }, () => model.likelihood.draw(f, random));""",
        z=Z[1],
    )
    expected = model.decode(torch.tensor(Z[1])).covariance_matrix.numpy()
    scale = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    np.testing.assert_allclose(np.cov(np.array(answer).T) / scale, expected / scale, atol=0.05)


def test_extreme_parameters_stay_finite(tiny):
    """Logits of ±500 and scales of e^±40: what a network may say about a pixel always black."""
    for case in CASES:
        model = vae(case, tiny)
        n = model.likelihood.n_parameters
        answer = ask(
            model,
            tiny,
            """return values.map((v) => {
              const f = new Float64Array(n).fill(v);
              const row = model.likelihood.compile(f);
              return levels.map((l) => model.likelihood.score(row, model.likelihood.prepare(l)));
            });""",
            n=n,
            values=[-100, 0, 1e-12, 100],
            levels=[[0] * 6, [4] * 6],
        )
        assert np.isfinite(np.array(answer, dtype=float)).all(), case_id(case)


def test_random_numbers_are_uniform_normal_and_repeatable(tiny):
    model = vae(CASES[0], tiny)
    body = """const random = vae.randomNumbers(seed);
      return Array.from({ length: 5000 }, () => [random.uniform(), random.normal()]);"""
    first, again, other = (np.array(ask(model, tiny, body, seed=seed)) for seed in (3, 3, 4))
    assert (first == again).all() and (first != other).any()
    assert stats.kstest(first[:, 0], "uniform").pvalue > 1e-3
    assert stats.kstest(first[:, 1], "norm").pvalue > 1e-3


SHIPPED = pytest.mark.parametrize("family", list(likelihoods.FAMILIES))


@pytest.fixture(scope="module")
def shipped(digits):
    return {family: pretrained.load(family, digits) for family in likelihoods.FAMILIES}


@SHIPPED
@torch.no_grad()
def test_exact_posterior_is_the_python_grid_s(shipped, digits, family):
    model, levels = shipped[family], digits.test_x[:4]
    answer = ask(
        model,
        digits,
        """const grid = new vae.LatentGrid(model);
        return levels.map((l) => {
          const { log, ...rest } = grid.posterior(l);
          const at = rest.mean.map((v) => v + 0.01);
          return { ...rest, density: grid.density({ log, ...rest }, at) };
        });""",
        levels=levels.tolist(),
    )
    x = model.likelihood.prepare(levels)
    grid = LatentGrid(model)
    exact = grid.log_marginal(x)
    np.testing.assert_allclose([one["logMarginal"] for one in answer], exact, atol=2e-3, rtol=1e-5)
    weight = grid.posterior(x).flatten(1).to(grid.z) * grid.cell
    mean = weight @ grid.z
    np.testing.assert_allclose([one["mean"] for one in answer], mean, atol=1e-3)
    sd = (weight @ grid.z**2 - mean**2).sqrt()
    np.testing.assert_allclose([one["sd"] for one in answer], sd, atol=1e-3)
    z = mean + 0.01
    density = model.prior.log_prob(z) + model.decode(z).log_prob(x) - exact
    np.testing.assert_allclose([one["density"] for one in answer], density.exp(), rtol=0.05)


def strokes(*pixels):
    levels = [0] * 64
    for pixel in pixels:
        levels[pixel] = 16
    return levels


# Images like no digit: posteriors with hills far apart, far out, along both axes.
ODD = [
    strokes(0, 9, 18, 27, 36, 45, 54, 63),
    strokes(*range(56, 64), *range(0, 64, 8)),
    strokes(3, 11, 24, 25, 26, 27, 28, 29, 60),
    strokes(7),
]


@SHIPPED
def test_a_search_shows_what_it_has_on_its_way(shipped, digits, family):
    """Nothing, then coarse answers, then the posterior; the next image needs fewer steps."""
    first, again, posterior = ask(
        shipped[family],
        digits,
        """const grid = new vae.LatentGrid(model, 800, 18);
        const short = (found) => found && found.logMarginal;
        const walk = () => {
          const [seen, steps] = [[], grid.search(levels)];
          for (;;) {
            const { value, done } = steps.next();
            seen.push(short(value));
            if (done) return seen;
          }
        };
        return [walk(), walk(), short(grid.posterior(levels))];""",
        levels=digits.test_x[3].tolist(),
    )
    assert first[0] is None and first[-1] == again[-1] == posterior
    late = [value for value in first if value is not None]
    assert late[0] == pytest.approx(posterior, abs=5)
    assert len(again) == 1 < len(first)


@torch.no_grad()
def test_a_grid_knows_when_the_posterior_leaves_it(shipped, digits):
    """All white is like no digit: its posterior lies far out, and a wider grid holds it."""
    model = shipped["bernoulli"]
    images = [[16] * 64, digits.test_x[0].tolist(), *ODD]
    small, wide = ask(
        model,
        digits,
        """return [[200, 4.5], [800, 18]].map(([points, width]) => {
          const grid = new vae.LatentGrid(model, points, width);
          return levels.map((l) => grid.posterior(l));
        }).map((row) => row.map(({ whole, logMarginal }) => [whole, logMarginal]));""",
        levels=images,
    )
    assert [whole for whole, _ in small[:2]] == [False, True]
    assert all(whole for whole, _ in wide)
    x = model.likelihood.prepare(torch.tensor(images))
    exact = LatentGrid(model, points=400, half_width=18).log_marginal(x)
    np.testing.assert_allclose([value for _, value in wide], exact, atol=2e-3)
    assert small[0][1] < float(exact[0]) - 10


@SHIPPED
@torch.no_grad()
def test_elbo_is_below_log_marginal_by_the_kl(shipped, digits, family):
    model, levels = shipped[family], digits.test_x[:4]
    answer = ask(
        model,
        digits,
        "return levels.map((l) => vae.elbo(model, l, model.posterior(l)));",
        levels=levels.tolist(),
    )
    x = model.likelihood.prepare(levels)
    grid = LatentGrid(model)
    expected = grid.log_marginal(x) - grid.kl(model.posterior(x), x)
    np.testing.assert_allclose(answer, expected, atol=0.02, rtol=1e-4)


@SHIPPED
def test_refined_q_is_the_best_gaussian(shipped, digits, family):
    """No worse than what a search by the exact KL on the grid finds, and ever better."""
    model, levels = shipped[family], digits.test_x[:2]
    answer = ask(
        model,
        digits,
        """return levels.map((l) => {
          const q = model.posterior(l);
          return [{ ...q, elbo: vae.elbo(model, l, q) }, ...vae.refine(model, l, q)];
        });""",
        levels=levels.tolist(),
    )
    x = model.likelihood.prepare(levels)
    grid = LatentGrid(model)
    with torch.no_grad():
        exact = grid.log_marginal(x)
        joints = grid.log_likelihood(x) + model.prior.log_prob(grid.z)
    for steps, joint, log_marginal in zip(answer, joints, exact, strict=True):
        elbos = [step["elbo"] for step in steps]
        assert all(before <= after for before, after in pairwise(elbos))
        best = steps[-1]

        def negative_elbo(theta, joint=joint):
            mean, log_sd = torch.tensor(theta, dtype=torch.float32).chunk(2)
            log_q = Independent(Normal(mean, log_sd.exp()), 1).log_prob(grid.z)
            near = log_q > -60
            return float((log_q[near].exp() * (log_q - joint)[near]).sum() * grid.cell)

        start = [*best["mean"], *np.log(best["sd"])]
        found = optimize.minimize(
            negative_elbo, start, method="Nelder-Mead", options={"maxfev": 200}
        )
        assert best["elbo"] == pytest.approx(-found.fun, abs=0.02)
        assert best["elbo"] <= float(log_marginal) + 1e-3
