"""Published numbers, made again: Burda et al. (2016), Altosaar's VAE, and principal components.

    python benchmarks/published.py [--only NAME ...] [--stages N] [--folder PATH] [--quick]

A run that was interrupted goes on where it stopped: what is trained is kept in `--folder`. See
README.md beside this file for what each part takes and for the numbers beside the published ones.
"""

import math
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from common import RUNS, Row, machine, parser, report, slug
from torch import Tensor, nn
from torch.distributions import Distribution
from tqdm import tqdm

from vae_edu import data, likelihoods, priors, training
from vae_edu.bounds import elbo, iwae
from vae_edu.files import replace_whole
from vae_edu.models import VAE, LinearGaussian


class Settings(NamedTuple):
    stages: int  # of Burda et al.'s schedule, which has 8
    steps: int  # of Altosaar's run
    images: int  # of the test set
    samples: int  # for -log p(x)
    folder: Path
    only: list[str]


# -- a run that can be interrupted ------------------------------------------------------------


def rounds(path: Path, model: VAE, optimizer, total: int, one: Callable[[int], None]) -> None:
    """Call `one(i)` for i = 0 … total - 1, keeping all of the run's state in `path` after each.

    The same call carries on from the file, to the same weights as a run without a break.
    """
    state = {"round": 0}
    if path.exists():
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
    for i in range(state["round"], total):
        one(i)
        state = {
            "round": i + 1,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        with replace_whole(path) as temporary:
            torch.save(state, temporary)


@torch.no_grad()
def log_marginal(path: Path, model: VAE, x: Tensor, samples: int, what: str) -> Tensor:
    """log p(x) of each image `[N]` by importance sampling, kept in `path` block by block."""
    block, done = 500, []
    if path.exists():
        done = torch.load(path, weights_only=True)
    starts = range(0, len(x), block)
    for start in tqdm(starts[len(done) :], initial=len(done), total=len(starts), desc=what):
        torch.manual_seed(start)
        done.append(iwae(model, x[start : start + block], samples))
        with replace_whole(path) as temporary:
            torch.save(done, temporary)
    return torch.cat(done)


def estimate(values: Tensor, name: str) -> dict[str, float]:
    """The mean over images with half of its 95 % interval: how sure the test set makes us."""
    half = 1.96 * values.std() / math.sqrt(len(values))
    return {name: values.mean().item(), f"{name} ±": half.item()}


# -- Burda, Grosse & Salakhutdinov (2016), Importance Weighted Autoencoders -------------------


class Case(NamedTuple):
    bound: str
    k: int
    binarized: str
    published: float | None  # test NLL in nats, Table 1, MNIST, one stochastic layer


BURDA = {
    "VAE, k = 1": Case("vae", 1, "dynamic", 86.76),
    "VAE, k = 5": Case("vae", 5, "dynamic", 86.47),
    "VAE, k = 50": Case("vae", 50, "dynamic", 86.35),
    "IWAE, k = 5": Case("iwae", 5, "dynamic", 85.54),
    "IWAE, k = 50": Case("iwae", 50, "dynamic", 84.78),
    "VAE, k = 1, black from half on": Case("vae", 1, "threshold", None),
}


def burda_model(images: data.ImageData) -> VAE:
    """50 latents and two tanh layers of 200 each way; Glorot's weights, the pixels' own rates."""
    model = VAE(priors.standard_normal(50), likelihoods.make("bernoulli", images), 50, (200, 200))
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    rate = (images.train_x.float().mean(0) / (images.levels - 1)).clamp(0.001, 0.999)
    with torch.no_grad():
        model.decoder[-1].bias.copy_(torch.logit(rate))
    return model


def binarize(model: VAE, levels: Tensor, how: str, seed: int | None = None) -> Tensor:
    """`dynamic`: white with a probability equal to the brightness; `threshold`: from half on."""
    if how == "threshold":
        return model.likelihood.prepare(levels)
    generator = torch.default_generator if seed is None else torch.Generator().manual_seed(seed)
    return model.likelihood.prepare(levels, generator)


def passes(stages: int) -> int:
    """Stage i = 0, 1, … takes 3^i passes over the training images."""
    return (3**stages - 1) // 2


def train_burda(images: data.ImageData, name: str, settings: Settings) -> VAE:
    """Stage i has a learning rate of 0.001 · 10^(-i/7); the batches are of 20 images."""
    case = BURDA[name]
    torch.manual_seed(0)
    model = burda_model(images)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.99, 0.999), eps=1e-4, fused=True)
    stages = [stage for stage in range(settings.stages) for _ in range(3**stage)]

    def one_pass(i: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * 10 ** (-stages[i] / 7)
        x = binarize(model, images.train_x, case.binarized)
        batches = torch.randperm(len(x)).split(20)
        for rows in tqdm(batches, desc=f"{name}, pass {i + 1} of {len(stages)}", leave=False):
            if case.bound == "iwae":
                bound = iwae(model, x[rows], case.k, chunk=case.k)
            else:
                bound = elbo(model, x[rows], case.k, chunk=case.k).total
            optimizer.zero_grad()
            (-bound.mean()).backward()
            optimizer.step()

    path = settings.folder / f"{slug(name)}-{len(stages)}.pt"
    earlier = settings.folder / f"{slug(name)}-{passes(settings.stages - 1)}.pt"
    if earlier.exists() and not path.exists():
        shutil.copy(earlier, path)
    rounds(path, model, optimizer, len(stages), one_pass)
    return model


# The order that their Table 1 shows: the second is better than the first.
ORDER = [
    ("VAE, k = 1", "VAE, k = 50"),
    ("VAE, k = 1", "IWAE, k = 5"),
    ("VAE, k = 5", "IWAE, k = 5"),
    ("VAE, k = 50", "IWAE, k = 50"),
    ("IWAE, k = 5", "IWAE, k = 50"),
]


def burda(settings: Settings) -> Iterator[Row]:
    """What `settings.only` names is trained; the table also has what was done before."""
    images, found = data.load("mnist"), {}
    done = passes(settings.stages)
    title = f"Burda et al., {done} of 3280 passes"
    for name, case in BURDA.items():
        kept = settings.folder / f"{slug(name)}-{done}-{settings.samples}.pt"
        if settings.only and slug(name) not in settings.only and not kept.exists():
            continue
        model = train_burda(images, name, settings)
        x = binarize(model, images.test_x[: settings.images], case.binarized, seed=0)
        log_p = log_marginal(kept, model, x, settings.samples, f"{name}, log p(x)")
        found[name] = log_p
        values = estimate(-log_p, "NLL nats")
        if case.published is not None:
            values["NLL nats published"] = case.published
        with torch.no_grad():
            torch.manual_seed(0)
            values["-ELBO nats"] = -elbo(model, x).total.mean().item()
        yield Row(title, name, values)
    for worse, better in ORDER:
        if worse in found and better in found:
            # Of the same images: the difference is far surer than either side.
            values = estimate(found[better] - found[worse], "nats better")
            values["nats better published"] = BURDA[worse].published - BURDA[better].published
            met = values["nats better"] > values["nats better ±"]
            yield Row(title, f"{better} beside {worse}", values, "better, as in their Table 1", met)


# -- github.com/altosaar/variational-autoencoder: the run in its README -----------------------


def altosaar_model(images: data.ImageData) -> VAE:
    """128 latents, two ReLU layers of 256 each way. Ours has exp where theirs has softplus."""
    model = VAE(priors.standard_normal(128), likelihoods.make("bernoulli", images), 128, (256, 256))
    for network in (model.encoder, model.decoder):
        for i, layer in enumerate(network):
            if isinstance(layer, nn.Tanh):
                network[i] = nn.ReLU()
    return model


def altosaar(settings: Settings) -> Iterator[Row]:
    """65,000 steps of centred RMSprop in batches of 128; the best of 14 looks at 10,000 images."""
    images = data.load("mnist")
    torch.manual_seed(0)
    model = altosaar_model(images)
    every = min(5000, settings.steps)
    # One draw for all time, as in the fixed binarization of Larochelle, which is another draw.
    fixed = binarize(model, images.train_x, "dynamic", seed=1)
    train, valid = fixed[:50_000], fixed[50_000:]
    test = binarize(model, images.test_x[: settings.images], "dynamic", seed=2)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, centered=True)
    best = settings.folder / "altosaar-best.pt"

    def some_steps(i: int) -> None:
        batches, what = [], f"Altosaar, step {i * every} of {settings.steps}"
        for _ in tqdm(range(every), desc=what, leave=False):
            if not batches:
                batches = list(torch.randperm(len(train)).split(128))
            loss = -elbo(model, train[batches.pop()]).total.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            reached = elbo(model, valid, samples=4).total.mean().item()
        before = torch.load(best, weights_only=True)["ELBO"] if best.exists() else -math.inf
        if reached > before:
            with replace_whole(best) as temporary:
                torch.save({"ELBO": reached, "model": model.state_dict()}, temporary)

    path = settings.folder / "altosaar.pt"
    rounds(path, model, optimizer, settings.steps // every, some_steps)
    model.load_state_dict(torch.load(best, weights_only=True)["model"])
    samples = min(1000, settings.samples)
    kept = settings.folder / f"altosaar-{settings.steps}-{samples}.pt"
    log_p = log_marginal(kept, model, test, samples, "Altosaar, log p(x)")
    with torch.no_grad():
        torch.manual_seed(0)
        bound = elbo(model, test, samples=10).total
    values = estimate(bound, "ELBO nats") | {"ELBO nats published": -103.31}
    values |= estimate(log_p, "log p(x) nats") | {"log p(x) nats published": -97.10}
    yield Row(f"Altosaar, {settings.steps} steps", "mean field", values)


# -- probabilistic principal components: a linear VAE against the closed form -----------------


def ppca(settings: Settings) -> Iterator[Row]:
    images = data.load("digits")
    for latent in (2, 8):
        torch.manual_seed(0)
        likelihood = likelihoods.make("gaussian", images, scale="learned")
        model = VAE(priors.standard_normal(latent), likelihood, latent, hidden=())
        x, test = likelihood.prepare(images.train_x), likelihood.prepare(images.test_x)
        epochs = settings.steps // 32  # 2031 of 12 steps each, and as many at each lower rate
        for rate in tqdm((1e-2, 1e-3, 1e-4), desc=f"PCA, {latent} latents"):
            for _ in training.train(model, images, epochs, learning_rate=rate, bar=False):
                pass
        with torch.no_grad():
            weight, bias = model.decoder[0].weight, model.decoder[0].bias
            sigma = model.decode(torch.zeros(latent)).base_dist.scale[0].item()
            trained = LinearGaussian(weight, bias, sigma).marginal()
            exact = LinearGaussian.fit(x, latent)
            torch.manual_seed(0)
            values = {
                "log p(x) nats, closed form": exact.marginal().log_prob(x).mean().item(),
                "log p(x) nats, trained": trained.log_prob(x).mean().item(),
                "ELBO nats, trained": elbo(model, x, 100).total.mean().item(),
                "test log p(x) nats, closed form": exact.marginal().log_prob(test).mean().item(),
                "test log p(x) nats, trained": trained.log_prob(test).mean().item(),
                "σ, closed form": exact.sigma,
                "σ, trained": sigma,
            }
        apart = values["log p(x) nats, closed form"] - values["ELBO nats, trained"]
        case = f"linear VAE, {latent} latents, digits"
        yield Row("principal components", case, values, "ELBO within 0.1 nats", apart < 0.1)


# ---------------------------------------------------------------------------------------------


BENCHMARKS = {f.__name__: f for f in (ppca, altosaar, burda)}


def main() -> None:
    options = parser(__doc__)
    choices = [*BENCHMARKS, *(slug(name) for name in BURDA)]
    options.add_argument("--only", choices=choices, nargs="+", help="some of them")
    options.add_argument("--stages", type=int, default=3, choices=range(1, 9), help="of Burda's 8")
    options.add_argument("--samples", type=int, default=5000, help="for -log p(x)")
    options.add_argument("--folder", type=Path, default=RUNS, help="what is trained is kept here")
    arguments = options.parse_args()
    settings = Settings(arguments.stages, 65_000, 10_000, arguments.samples, arguments.folder, [])
    if arguments.quick:
        folder = arguments.folder / "quick"
        settings = Settings(1, 50, 500, 50, folder, [])
    settings.folder.mkdir(parents=True, exist_ok=True)
    wanted = arguments.only or list(BENCHMARKS)
    settings = settings._replace(only=[name for name in wanted if name not in BENCHMARKS])
    if settings.only:
        wanted = [*(name for name in wanted if name in BENCHMARKS), "burda"]
    torch.set_num_threads(1)
    Distribution.set_default_validate_args(False)
    for name in dict.fromkeys(wanted):
        before = machine()
        try:
            rows = list(BENCHMARKS[name](settings))
        except data.DataUnavailable as error:
            print(f"{name}: left out, {error}", file=sys.stderr)
        else:
            saved = f"burda_{passes(settings.stages)}" if name == "burda" else name
            report(before, rows, arguments, name=saved)


if __name__ == "__main__":
    main()
