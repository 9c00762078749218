"""How fast and how large the foundation is: training, exact inference, imports, memory.

    python benchmarks/foundation.py [--quick] [--only NAME] [--save [FOLDER]]

Whatever is compared takes turns in one run, so that a busy machine slows all of it alike; medians
and ratios are what to read. See README.md beside this file.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from common import ROOT, Row, machine, parser, report, take_turns, threads
from torch import nn
from tqdm import tqdm

from vae_edu import data, likelihoods, priors, training
from vae_edu.bounds import iwae
from vae_edu.exact import _PIECE, LatentGrid
from vae_edu.models import VAE

MAIN_FAMILIES = ("gaussian", "bernoulli", "categorical")


class Settings(NamedTuple):
    epochs: int  # of the digits
    repeats: int


FULL, QUICK = Settings(150, 3), Settings(5, 2)


def cases() -> dict[str, tuple[str, dict]]:
    """Every family, and Gaussian's four scale modes: the name to print -> arguments of `make`."""
    scales = {"fixed": {"sigma": 0.2}, "learned": {}, "per_pixel": {}, "from_z": {}}
    gaussians = {f"gaussian, {s}": ("gaussian", {"scale": s} | o) for s, o in scales.items()}
    return gaussians | {f: (f, {}) for f in likelihoods.FAMILIES if f != "gaussian"}


def digits_model(case: str, images: data.ImageData) -> VAE:
    family, options = cases()[case]
    torch.manual_seed(0)
    return VAE(priors.standard_normal(2), likelihoods.make(family, images, **options))


def digits(settings: Settings) -> Iterator[Row]:
    """Every family trained on the digits, one epoch of each in turn."""
    images, works = data.load("digits"), {}
    for case in cases():
        run = training.train(digits_model(case, images), images, settings.epochs, bar=False)
        works[case] = lambda run=run: next(run)
    with threads(1), tqdm(total=settings.epochs * len(works), desc="digits") as bar:
        times = take_turns(works, settings.epochs, bar)
    for case, taken in times.items():
        values = {"s": sum(taken), "ms an epoch": 1e3 * statistics.median(taken)}
        yield Row(f"digits, {settings.epochs} epochs", case, values)


IMPORTS = """
import importlib, json, sys, time
start = time.perf_counter()
import torch
times = {"import torch": time.perf_counter() - start}
for module in sys.argv[1:]:
    start = time.perf_counter()
    importlib.import_module(module)
    times[module] = time.perf_counter() - start
print(json.dumps(times))
"""


def child(code: str, *arguments: str) -> dict:
    """What a fresh Python prints as JSON in its last line."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def imports(settings: Settings) -> Iterator[Row]:
    """The package in fresh processes, over the libraries that it stands on."""
    found = {f"vae_edu.{path.stem}" for path in (ROOT / "vae_edu").glob("*.py")}
    drawing = sorted(found & {"vae_edu.plots", "vae_edu.lab", "vae_edu.widgets"})
    computing = sorted(found - {*drawing, "vae_edu.__init__"})
    libraries = ["matplotlib.pyplot", "anywidget"]
    runs = [
        child(IMPORTS, *computing, *libraries, *drawing)
        for _ in tqdm(range(2 * settings.repeats), desc="imports")
    ]

    def median(*parts: str) -> float:
        return statistics.median(sum(run[part] for part in parts) for run in runs)

    for floor, ours, what in (
        (["import torch"], computing, "all modules that compute"),
        (libraries, drawing, "all modules that draw"),
    ):
        yield Row("imports", " and ".join(floor).removeprefix("import "), {"s": median(*floor)})
        cost = median(*ours)
        yield Row("imports", f"vae_edu, {what}, after that", {"s": cost}, "under 0.3 s", cost < 0.3)


def products(layers: nn.Sequential, rows: int) -> Callable[[], None]:
    """The bare matrix products of a network for so many inputs, `_PIECE` of them at a time."""
    weights = [layer.weight.T.contiguous() for layer in layers if isinstance(layer, nn.Linear)]
    inputs = [torch.randn(min(rows, _PIECE), len(weight)) for weight in weights]

    def work() -> None:
        for _ in range(-(-rows // _PIECE)):
            for x, weight in zip(inputs, weights, strict=True):
                x @ weight

    return work


def decode_and_compare(layers: nn.Sequential, points: int, n: int, numbers: int):
    """The bare products of exact inference: of the decoder, and of the images with its outputs."""
    decode, x, outputs = (
        products(layers, points),
        torch.randn(n, numbers),
        torch.randn(numbers, _PIECE),
    )

    def work() -> None:
        decode()
        for _ in range(-(-points // _PIECE)):
            x @ outputs

    return work


def grid(settings: Settings) -> Iterator[Row]:
    """Exact inference and the importance-weighted bound, on the digits' test set."""
    images = data.load("digits")
    works, models, n = {}, {}, len(images.test_x)
    with threads(1):
        for case in tqdm(cases(), desc="grid: a short training"):
            model = models[case] = digits_model(case, images)
            list(training.train(model, images, min(settings.epochs, 20), bar=False))
            x, exact = model.likelihood.prepare(images.test_x), LatentGrid(model)
            decoder, points = model.decoder, len(exact.z)
            numbers = model.likelihood.n_parameters
            works |= {
                (case, "log p(x) of all"): lambda g=exact, x=x: g.log_marginal(x),
                (case, "one posterior"): lambda g=exact, x=x: g.posterior(x[:1]),
                (case, "iwae k=50"): lambda m=model, x=x: iwae(m, x, 50),
                (case, "floor of log p(x) of all"): decode_and_compare(decoder, points, n, numbers),
                (case, "floor of one posterior"): decode_and_compare(decoder, points, 1, numbers),
                (case, "floor of iwae k=50"): products(decoder, 50 * n),
            }
        with torch.no_grad(), tqdm(total=len(works) * settings.repeats, desc="grid") as bar:
            times = take_turns(works, settings.repeats, bar)
    for case in models:
        values = {}
        for what in ("log p(x) of all", "one posterior", "iwae k=50"):
            median = statistics.median(times[case, what])
            values[f"s {what}"] = median
            floor = statistics.median(times[case, f"floor of {what}"])
            values[f"times its floor ({what})"] = median / floor
        yield Row(f"grid of 200 x 200, {n} images", case, values)


MEMORY = """
import json, sys
from pathlib import Path
import torch
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
peaks = {"torch": peak()}
torch.set_num_threads(1)
from vae_edu import data, exact, likelihoods, models, plots, priors, training
peaks["the package, with plots"] = peak()
images = data.load("digits")
model = models.VAE(priors.standard_normal(2), likelihoods.make(sys.argv[1], images))
list(training.train(model, images, 30, bar=False))
peaks["training"] = peak()
grid = exact.LatentGrid(model)
peaks["the grid"] = peak()
x = model.likelihood.prepare(images.test_x)
grid.log_marginal(x), grid.error(x), grid.posterior(x[:10])
grid.kl(model.posterior(x[:10]), x[:10])
peaks["its evaluation"] = peak()
print(json.dumps(peaks))
"""


def memory(settings: Settings) -> Iterator[Row]:
    """The peak of a fresh process that does what a notebook does; in a notebook's kernel too."""
    if not Path("/proc/self/status").exists():
        print(f"memory: not measured on {platform.system()}, only on Linux", file=sys.stderr)
        return
    for family in tqdm(MAIN_FAMILIES, desc="memory"):
        for place, run in {"process": child, "notebook kernel": kernel}.items():
            values = {f"MB after {stage}": mb for stage, mb in run(MEMORY, family).items()}
            peak = values["MB after its evaluation"]
            yield Row(f"peak memory, {place}", family, values, "under 450 MB", peak < 450)


def kernel(code: str, *arguments: str) -> dict:
    """As `child`, but in the kernel that a notebook gets."""
    import nbformat
    from nbclient import NotebookClient

    lines = [f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = {['', *arguments]!r}"]
    cell = nbformat.v4.new_code_cell("\n".join([*lines, code]))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, kernel_name="python3").execute()
    return json.loads(notebook.cells[0].outputs[-1]["text"].splitlines()[-1])


BENCHMARKS = {f.__name__: f for f in (digits, imports, grid, memory)}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", choices=BENCHMARKS, help="one of the benchmarks")
    arguments = options.parse_args()
    settings = QUICK if arguments.quick else FULL
    for name in [arguments.only] if arguments.only else BENCHMARKS:
        before = machine()
        report(before, list(BENCHMARKS[name](settings)), arguments, name=name)


if __name__ == "__main__":
    main()
