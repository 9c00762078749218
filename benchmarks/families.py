"""Every likelihood on the same images, in the one unit in which they compare: bits per pixel.

    python benchmarks/families.py [--only digits|mnist] [--case NAME ...] [--folder PATH] [--quick]

One network for all families, three seeds each; a run that was interrupted goes on where it stopped.
See README.md beside this file for what it takes.
"""

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from common import RUNS, Row, machine, parser, report, slug, threads
from scipy import stats
from tqdm import tqdm

from vae_edu import data, likelihoods, priors, training
from vae_edu.bounds import bits_per_dim, iwae
from vae_edu.exact import LatentGrid
from vae_edu.files import replace_whole
from vae_edu.models import VAE

SEEDS = (0, 1, 2)
# Plain squared error is a Gaussian with σ = 1: grey levels lie in [0, 1].
CASES = {
    "gaussian, σ = 1 (plain squared error)": ("gaussian", {"scale": "fixed", "sigma": 1.0}),
    "gaussian, σ learned": ("gaussian", {"scale": "learned"}),
    "gaussian, σ per pixel": ("gaussian", {"scale": "per_pixel"}),
    "gaussian, σ from z": ("gaussian", {"scale": "from_z"}),
    "gaussian-full": ("gaussian-full", {}),
    "continuous-bernoulli": ("continuous-bernoulli", {}),
    "discretized-logistic": ("discretized-logistic", {}),
    "categorical": ("categorical", {}),
}
UNCALIBRATED, CALIBRATED = list(CASES)[:2]


class Experiment(NamedTuple):
    latent: int
    hidden: tuple[int, ...]
    epochs: int


EXPERIMENTS = {
    "digits": Experiment(2, (64, 64), 200),
    "mnist": Experiment(20, (128, 128), 3),
}


def trained(images: data.ImageData, case: str, seed: int, how: Experiment, path: Path) -> VAE:
    family, options = CASES[case]
    torch.manual_seed(seed)
    likelihood = likelihoods.make(family, images, **options)
    model = VAE(priors.standard_normal(how.latent), likelihood, how.latent, how.hidden)
    for _ in training.train(model, images, how.epochs, seed=seed, checkpoint=path, bar=False):
        pass
    return model


@torch.no_grad()
def bits(model: VAE, levels: torch.Tensor) -> float:
    """Of the test set: exact where the latent has two dimensions, else a bound with 10 draws."""
    grey = model.on_grey_levels()
    if model.latent_dim <= 2:
        nats = LatentGrid(grey).log_marginal(levels)
    else:
        torch.manual_seed(0)
        nats = torch.cat([iwae(grey, part, k=10) for part in levels.split(500)])
    return bits_per_dim(nats.mean().item(), levels.shape[1])


def families(name: str, how: Experiment, cases: list[str], folder: Path) -> Iterator[Row]:
    images, found = data.load(name), {}
    kept = folder / f"families-{name}-{how.epochs}.json"
    with threads(1), tqdm(total=len(cases) * len(SEEDS), desc=name) as bar:
        for seed in SEEDS:
            for case in cases:
                bar.set_postfix_str(case, refresh=True)
                known = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
                key = f"{case}, seed {seed}"
                if key not in known:
                    checkpoint = folder / f"families-{name}-{slug(key)}.safetensors"
                    known[key] = bits(trained(images, case, seed, how, checkpoint), images.test_x)
                    with replace_whole(kept) as temporary:
                        temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
                    checkpoint.unlink()
                found.setdefault(case, []).append(known[key])
                bar.update()
    title = f"{name}, {how.epochs} epochs"
    for case, values in found.items():
        yield Row(title, case, over_seeds(values, "bits/pixel"))
    if UNCALIBRATED in found and CALIBRATED in found:
        gains = [a - b for a, b in zip(found[UNCALIBRATED], found[CALIBRATED], strict=True)]
        yield Row(title, "what learning σ buys over σ = 1", over_seeds(gains, "bits/pixel less"))


def over_seeds(values: list[float], name: str) -> dict[str, float]:
    """The mean, and half of its 95 % interval by Student's t."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return {name: statistics.fmean(values), f"{name} ±": float(half)}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", choices=EXPERIMENTS, help="one of the data sets")
    options.add_argument("--case", choices=CASES, nargs="+", help="some of the likelihoods")
    options.add_argument("--folder", type=Path, default=RUNS, help="what is trained is kept here")
    arguments = options.parse_args()
    experiments, folder = dict(EXPERIMENTS), arguments.folder
    if arguments.quick:
        experiments = {"digits": EXPERIMENTS["digits"]._replace(epochs=3)}
        folder = folder / "quick"
    if arguments.only:
        experiments = {arguments.only: experiments[arguments.only]}
    folder.mkdir(parents=True, exist_ok=True)
    before, rows = machine(), []
    for name, how in experiments.items():
        try:
            rows += families(name, how, arguments.case or list(CASES), folder)
        except data.DataUnavailable as error:
            print(f"{name}: left out, {error}", file=sys.stderr)
    report(before, rows, arguments)


if __name__ == "__main__":
    main()
