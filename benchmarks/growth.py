"""How cost grows: training with images, pixels, levels; exact inference with the latent's grid.

    python benchmarks/growth.py [--quick] [--save [FOLDER]]

Each size of a quantity takes its turn in every round; the exponent is the slope on log axes. See
README.md beside this file.
"""

import math
import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch
from common import Row, machine, parser, report, take_turns, threads
from matplotlib.ticker import LogLocator, NullLocator
from tqdm import tqdm

from vae_edu import data, likelihoods, plots, priors, training
from vae_edu.exact import LatentGrid
from vae_edu.models import VAE


def noise_images(n: int, side: int, levels: int) -> data.ImageData:
    """Images of noise: what is in them makes no difference to the time they take."""
    random = torch.Generator().manual_seed(0)
    x = torch.randint(levels, (n, side * side), generator=random, dtype=torch.uint8)
    y = torch.zeros(n, dtype=torch.int64)
    return data.ImageData(f"noise {side}", x, y, x[:100], y[:100], levels, (side, side))


def model(family: str, images: data.ImageData) -> VAE:
    torch.manual_seed(0)
    return VAE(priors.standard_normal(2), likelihoods.make(family, images), 2, (64, 64))


def epoch(family: str, n: int, side: int, levels: int) -> Callable[[], object]:
    """One epoch of a training that has begun."""
    images = noise_images(n, side, levels)
    run = training.train(model(family, images), images, 10**6, bar=False)
    next(run)
    return lambda: next(run)


def exact(points: int) -> Callable[[], object]:
    """log p(x) of 100 images by a grid of points x points that has been built."""
    images = noise_images(100, 8, 17)
    trained = model("bernoulli", images)
    grid, x = LatentGrid(trained, points, memory=1e9), trained.likelihood.prepare(images.test_x)
    return lambda: grid.log_marginal(x)


# What grows -> its sizes, and the work of one size. Batches are of 128 images throughout.
GROWTH = {
    "images N, an epoch": ((500, 1000, 2000, 4000, 8000), lambda n: epoch("gaussian", n, 8, 17)),
    "pixels D, an epoch of 1000 images": (
        (8**2, 16**2, 32**2, 64**2), lambda d: epoch("gaussian", 1000, math.isqrt(d), 17),
    ),
    "levels L, an epoch of 1000 images, categorical": (
        (4, 16, 64, 256), lambda levels: epoch("categorical", 1000, 8, levels),
    ),
    "grid points G, log p(x) of 100 images": (
        (50**2, 100**2, 200**2, 400**2), lambda g: exact(math.isqrt(g)),
    ),
}  # fmt: skip


def exponent(sizes: list[int], times: list[float]) -> float:
    """The slope of a line through the last sizes, three at most, on log axes."""
    return float(np.polyfit(np.log(sizes[-3:]), np.log(times[-3:]), 1)[0])


def growth(quick: bool) -> Iterator[Row]:
    repeats = 2 if quick else 9
    for name, (sizes, work) in GROWTH.items():
        sizes = sizes[:3] if quick else sizes
        with threads(1), torch.no_grad() if "grid" in name else torch.enable_grad():
            works = {size: work(size) for size in sizes}
            with tqdm(total=repeats * len(works), desc=name) as bar:
                times = take_turns(works, repeats, bar)
        medians = [statistics.median(times[size]) for size in sizes]
        values = {f"ms at {s}": 1e3 * t for s, t in zip(sizes, medians, strict=True)}
        grows = exponent(list(sizes), medians)
        last = {"exponent of the last step": exponent(sizes[-2:], medians[-2:])}
        values = {"exponent": grows} | last | values
        yield Row(name, "measured", values, "exponent at most 1.1", grows <= 1.1)


def draw(rows: list[Row]):
    """Time against size, on log axes, one panel for each quantity; dashed: the slope 1."""
    with plots.figure(1, len(rows), size=(3.2 * len(rows), 3.0)) as (fig, axes):
        for ax, row in zip(axes, rows, strict=True):
            name, _, what = row.benchmark.partition(",")
            points = {k: v for k, v in row.values.items() if k.startswith("ms at ")}
            sizes = [int(key.removeprefix("ms at ")) for key in points]
            times = list(points.values())
            ax.loglog(sizes, times, "o-", color=plots.COLORS["prior"])
            ends = [sizes[0], sizes[-1]]
            ax.loglog(ends, [times[-1] * n / ends[-1] for n in ends], "--", color="gray", zorder=0)
            ax.set_xticks(sizes, sizes, rotation=45)
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_minor_locator(NullLocator())
            ax.set_xlabel(name)
            ax.set_ylabel("ms")
            ax.set_title(f"{what.strip()}\nexponent {row.values['exponent']:.2f} (log axes)")
        fig.set_layout_engine("constrained")
    return fig


def main() -> None:
    arguments = parser(__doc__).parse_args()
    before = machine()
    report(before, list(growth(arguments.quick)), arguments, draw)


if __name__ == "__main__":
    main()
