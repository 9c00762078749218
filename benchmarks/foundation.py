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
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from common import ROOT, Row, machine, parser, report, take_turns, threads
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vae_edu import data, likelihoods, priors, training
from vae_edu.bounds import bits_per_dim, elbo, iwae
from vae_edu.exact import _PIECE, LatentGrid
from vae_edu.models import VAE

MAIN_FAMILIES = ("gaussian", "bernoulli", "categorical")


class Settings(NamedTuple):
    epochs: int  # of the digits
    repeats: int
    images: int  # of MNIST's training set


FULL, QUICK = Settings(150, 3, 60_000), Settings(5, 2, 5_000)


def first(images: data.ImageData, n: int) -> data.ImageData:
    """The same images with fewer to train on."""
    return replace(images, train_x=images.train_x[:n], train_y=images.train_y[:n])


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
    images = data.load("digits")
    models = {case: digits_model(case, images) for case in cases()}
    runs = {
        case: training.train(model, images, settings.epochs, bar=False)
        for case, model in models.items()
    }
    works = {case: (lambda run=run: next(run)) for case, run in runs.items()}
    with threads(1), tqdm(total=settings.epochs * len(works), desc="digits") as bar:
        times = take_turns(works, settings.epochs, bar)
    for case, model in models.items():
        values = {"s": sum(times[case]), "ms/epoch": 1e3 * statistics.median(times[case])}
        with torch.no_grad():
            torch.manual_seed(1)
            own = elbo(model, model.likelihood.prepare(images.test_x), 50).total.mean().item()
            values["ELBO nats (own unit)"] = own
            if case == "bernoulli":  # black-or-white pixels: it has no mass of grey levels
                values["bits/pixel (black-or-white)"] = bits_per_dim(own, images.dim)
            else:
                grey = elbo(model.on_grey_levels(), images.test_x, 50).total.mean().item()
                values["ELBO nats of grey levels"] = grey
                values["bits/pixel of grey levels"] = bits_per_dim(grey, images.dim)
        yield Row(f"digits, {settings.epochs} epochs", case, values)


def to_tensor(levels: torch.Tensor) -> torch.Tensor:
    """The least that turns one image to floats."""
    return levels.view(1, 28, 28).float().div(255)


def through_pillow(levels: torch.Tensor) -> torch.Tensor:
    """What torchvision's MNIST and ToTensor do to one image."""
    picture = Image.fromarray(levels.view(28, 28).numpy())
    pixels = torch.from_numpy(np.array(picture, np.uint8, copy=True)).view(28, 28, 1)
    return pixels.permute(2, 0, 1).contiguous().float().div(255)


class PerImage(Dataset):
    """Images that are transformed one at a time."""

    def __init__(self, levels, transform):
        self.levels, self.transform = levels, transform

    def __len__(self):
        return len(self.levels)

    def __getitem__(self, index):
        return self.transform(self.levels[index])


class Tutorial(nn.Module):
    """The VAE as tutorials write it: two heads, and a decoder that ends in probabilities."""

    def __init__(self, latent=20, hidden=400, dim=784):
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.mean, self.log_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, dim), nn.Sigmoid()
        )
        self.prior = priors.standard_normal(latent)

    def encode(self, x):
        h = torch.tanh(self.hidden(x))
        return self.mean(h), self.log_var(h)

    def forward(self, x):
        mean, log_var = self.encode(x)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.decoder(z), mean, log_var

    # These two are for `bounds.elbo`, so that one estimator judges both models.
    def posterior(self, x):
        return priors.approximate_posterior(self.prior, *self.encode(x))

    def decode(self, z):
        logits = torch.logit(self.decoder(z), eps=1e-7)
        return torch.distributions.Independent(torch.distributions.Bernoulli(logits=logits), 1)


def tutorial_epoch(levels, transform, learning_rate=2e-3) -> Tutorial:
    """One epoch of the usual loop; the batch is binarized as our `prepare` does it."""
    torch.manual_seed(0)
    model = Tutorial()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for batch in DataLoader(PerImage(levels, transform), batch_size=128, shuffle=True):
        x = (batch.view(-1, 784) >= 0.5).float()
        probabilities, mean, log_var = model(x)
        bce = functional.binary_cross_entropy(probabilities, x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_var - mean**2 - log_var.exp())
        optimizer.zero_grad()
        ((bce + kl) / len(x)).backward()
        optimizer.step()
    return model


def package_epoch(images: data.ImageData) -> VAE:
    torch.manual_seed(0)
    model = VAE(priors.standard_normal(20), likelihoods.make("bernoulli", images), 20, (400,))
    for _ in training.train(model, images, 1, bar=False):
        pass
    return model


def matrix_products(n_images: int) -> None:
    """Nothing but the matrix products of such an epoch, forward and backward."""
    sizes = [(784, 400), (400, 40), (20, 400), (400, 784)]
    weights = [torch.randn(shape) for shape in sizes]
    inputs = [torch.randn(128, n) for n, _ in sizes]
    gradients = [torch.randn(128, n) for _, n in sizes]
    for _ in range(n_images // 128):
        for i, (x, w, g) in enumerate(zip(inputs, weights, gradients, strict=True)):
            x @ w
            x.T @ g
            if i > 0:  # nobody needs the gradient with respect to the data
                g @ w.T


def mnist(settings: Settings) -> Iterator[Row]:
    """An epoch of MNIST by `train`, by the usual loop, and by bare matrix products."""
    images = first(data.load("mnist"), settings.images)
    models = {}

    def keep(name, make):
        models[name] = make()

    def loop(transform):
        return tutorial_epoch(images.train_x, transform)

    usual, pillow = "the usual loop", "the usual loop, images through Pillow"
    works = {
        "vae_edu": lambda: keep("vae_edu", lambda: package_epoch(images)),
        usual: lambda: keep(usual, lambda: loop(to_tensor)),
        pillow: lambda: keep(pillow, lambda: loop(through_pillow)),
        "matrix products only": lambda: matrix_products(len(images.train_x)),
    }
    torch.optim.Adam(nn.Linear(1, 1).parameters())  # the first one imports for seconds
    with tqdm(total=2 * settings.repeats * len(works), desc="mnist") as bar:
        times = {1: {name: [] for name in works}, 2: {name: [] for name in works}}
        for _ in range(settings.repeats):
            for n, collected in times.items():
                with threads(n):
                    for name, once in take_turns(works, 1, bar).items():
                        collected[name] += once
    x = likelihoods.make("bernoulli", images).prepare(images.test_x)
    with torch.no_grad():
        elbos = {name: elbo(model, x).total.mean().item() for name, model in models.items()}
    for n, collected in times.items():
        ours = collected["vae_edu"]
        for name, theirs in collected.items():
            values = {"s": statistics.median(theirs), "fastest s": min(theirs)}
            if name in elbos:
                values["test ELBO nats"] = elbos[name]
            goal, met = "", None
            if name != "vae_edu":
                pairs = zip(theirs, ours, strict=True)
                values["times ours"] = statistics.median(a / b for a, b in pairs)
            if name == usual:
                goal, met = "at least 2 times ours", values["times ours"] >= 2
            yield Row(f"MNIST, 1 epoch, {n} thread(s)", name, values, goal, met)


# A step's kernels by what they are for; what is in none of them is Python, autograd, small kernels.
KERNELS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "Adam": ("aten::_fused_adam_",),
    "tanh": ("aten::tanh", "aten::tanh_backward"),
    "log-likelihood": ("aten::log_sigmoid_forward", "aten::log_sigmoid_backward", "aten::sigmoid",
                   "aten::binary_cross_entropy_with_logits"),
}  # fmt: skip


def profile(settings: Settings) -> Iterator[Row]:
    """Where the time of an epoch of MNIST goes, beside the bare products of the same shapes."""
    images = first(data.load("mnist"), settings.images)
    steps = -(-len(images.train_x) // 128)
    with threads(1), tqdm(total=2 * settings.repeats, desc="profile") as bar:
        works = {
            "epoch": lambda: package_epoch(images),
            "floor": lambda: matrix_products(len(images.train_x)),
        }
        times = take_turns(works, settings.repeats, bar)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            package_epoch(images)
    found = {event.key: event.self_cpu_time_total for event in seen.key_averages()}
    total = sum(found.values())
    step = 1e3 * statistics.median(times["epoch"]) / steps
    floor = 1e3 * statistics.median(times["floor"]) / steps
    yield Row("MNIST, a step of 128", "whole", {"ms": step, "times the floor": step / floor})
    yield Row("MNIST, a step of 128", "bare matrix products (the floor)", {"ms": floor})
    rest = 1.0
    for what, keys in KERNELS.items():
        share = sum(found.get(key, 0) for key in keys) / total
        rest -= share
        yield Row("MNIST, a step of 128", what, {"ms": share * step, "% of the step": 100 * share})
    known = [key for keys in KERNELS.values() for key in keys]
    calls = sum(
        e.count for e in seen.key_averages() if e.key[:6] == "aten::" and e.key not in known
    )
    case = f"all else: Python, autograd, {calls // steps} small calls"
    values = {"ms": rest * step, "% of the step": 100 * rest}
    yield Row("MNIST, a step of 128", case, values)


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


BENCHMARKS = {f.__name__: f for f in (digits, mnist, profile, imports, grid, memory)}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", choices=BENCHMARKS, help="one of the benchmarks")
    arguments = options.parse_args()
    settings = QUICK if arguments.quick else FULL
    for name in [arguments.only] if arguments.only else BENCHMARKS:
        before = machine()
        try:
            rows = list(BENCHMARKS[name](settings))
        except data.DataUnavailable as error:
            print(f"{name}: left out, {error}", file=sys.stderr)
        else:
            report(before, rows, arguments, name=name)


if __name__ == "__main__":
    main()
