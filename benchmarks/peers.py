"""Our training beside what people use: the tutorials' loop, Pyro's SVI, pythae's trainer.

    pip install pyro-ppl==1.9.2 pythae==0.1.2
    python benchmarks/peers.py [--quick] [--save [FOLDER]]

The same network, data, batches, learning rate and number of epochs for all; one estimator judges
what each has learned. A peer that is not installed is left out, and said so. See README.md beside
this file.
"""

import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from io import StringIO

import numpy as np
import torch
from common import Row, machine, parser, report, take_turns, threads
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vae_edu import data, likelihoods, priors, training
from vae_edu.bounds import elbo
from vae_edu.models import VAE

BATCH, RATE = 128, 2e-3
FLOOR = "matrix products only (the floor)"
INSTALL = "not installed: pip install pyro-ppl==1.9.2 pythae==0.1.2"


def first(images: data.ImageData, n: int) -> data.ImageData:
    """The same images with fewer to train on."""
    return replace(images, train_x=images.train_x[:n], train_y=images.train_y[:n])


def least(levels: torch.Tensor) -> torch.Tensor:
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

    def __init__(self, latent: int, hidden: int, dim: int):
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


def ours(images: data.ImageData, network: dict, epochs: int, threads: int = 1) -> VAE:
    torch.manual_seed(0)
    likelihood = likelihoods.make("bernoulli", images)
    prior = priors.standard_normal(network["latent"])
    model = VAE(prior, likelihood, network["latent"], (network["hidden"],))
    options = {"batch_size": BATCH, "learning_rate": RATE, "threads": threads, "bar": False}
    for _ in training.train(model, images, epochs, **options):
        pass
    return model


def tutorial(images: data.ImageData, network: dict, epochs: int, transform: Callable) -> Tutorial:
    """The usual loop; the batch is binarized as our `prepare` does it."""
    torch.manual_seed(0)
    model = Tutorial(network["latent"], network["hidden"], images.dim)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    batches = DataLoader(PerImage(images.train_x, transform), batch_size=BATCH, shuffle=True)
    for _ in range(epochs):
        for batch in batches:
            x = (batch.flatten(1) >= 0.5).float()
            probabilities, mean, log_var = model(x)
            bce = functional.binary_cross_entropy(probabilities, x, reduction="sum")
            kl = -0.5 * torch.sum(1 + log_var - mean**2 - log_var.exp())
            optimizer.zero_grad()
            ((bce + kl) / len(x)).backward()
            optimizer.step()
    return model


def pyro(images: data.ImageData, network: dict, epochs: int) -> nn.Module:
    """SVI with the ELBO that Pyro's own VAE tutorial takes, batches from tensors in memory."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer import SVI, Trace_ELBO

    torch.manual_seed(0)
    pyro.clear_param_store()
    pyro.enable_validation(False)
    net = Tutorial(network["latent"], network["hidden"], images.dim)
    zeros = torch.zeros(network["latent"])

    def model(x):
        pyro.module("decoder", net.decoder)
        with pyro.plate("images", len(x)):
            z = pyro.sample("z", dist.Normal(zeros, torch.ones_like(zeros)).to_event(1))
            pyro.sample("x", dist.Bernoulli(net.decoder(z)).to_event(1), obs=x)

    def guide(x):
        pyro.module("hidden", net.hidden)
        pyro.module("mean", net.mean)
        pyro.module("log_var", net.log_var)
        with pyro.plate("images", len(x)):
            mean, log_var = net.encode(x)
            pyro.sample("z", dist.Normal(mean, torch.exp(0.5 * log_var)).to_event(1))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": RATE}), loss=Trace_ELBO())
    x = likelihoods.make("bernoulli", images).prepare(images.train_x)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH):
            svi.step(x[batch])
    return net


def pythae(images: data.ImageData, network: dict, epochs: int) -> nn.Module:
    """Its pipeline with its standard trainer; it brings its own batches."""
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    torch.manual_seed(0)
    net = Tutorial(network["latent"], network["hidden"], images.dim)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            mean, log_var = net.encode(x.flatten(1))
            return ModelOutput(embedding=mean, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.decoder = net.decoder

        def forward(self, z):
            return ModelOutput(reconstruction=net.decoder(z).unflatten(1, (1, *images.shape)))

    shape = (1, *images.shape)
    config = VAEConfig(shape, network["latent"], reconstruction_loss="bce")
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        settings = BaseTrainerConfig(
            output_dir=folder, num_epochs=epochs, learning_rate=RATE, seed=0, no_cuda=True,
            per_device_train_batch_size=BATCH,
        )  # fmt: skip
        model = PythaeVAE(config, Encoder(), Decoder())
        x = likelihoods.make("bernoulli", images).prepare(images.train_x).unflatten(1, shape)
        with redirect_stderr(StringIO()):
            TrainingPipeline(model, settings)(x)
    logging.disable(logging.NOTSET)
    return net


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


def compare(
    name: str, images: data.ImageData, network: dict, epochs: int, peers: dict, repeats: int
) -> Iterator[Row]:
    """A row for each way of training, all taking turns, and one for the floor if it is MNIST.

    `peers`: the way to train, and how many times our seconds we want it to take.
    """
    learned = {}

    def keep(case: str, train: Callable) -> None:
        learned[case] = train(images, network, epochs)

    works = {case: partial(keep, case, train) for case, (train, _) in peers.items()}
    if images.dim == 784:
        works[FLOOR] = lambda: matrix_products(len(images.train_x))
    with threads(1):
        for case, work in list(works.items()):
            try:
                work()  # warm, and is it there?
            except ModuleNotFoundError as missing:
                print(f"{case}: left out, {missing.name} is {INSTALL}", file=sys.stderr)
                del works[case]
        with tqdm(total=repeats * len(works), desc=name) as bar:
            times = take_turns(works, repeats, bar)
    x = likelihoods.make("bernoulli", images).prepare(images.test_x)
    steps = epochs * -(-len(images.train_x) // BATCH)
    for case, taken in times.items():
        values = {
            "s": statistics.median(taken),
            "ms a step": 1e3 * statistics.median(taken) / steps,
        }
        goal, met = "", None
        if case in learned:
            with torch.no_grad():
                values["test ELBO nats"] = elbo(learned[case], x).total.mean().item()
        values["times ours"] = values["s"] / statistics.median(times["vae_edu"])
        if case == "vae_edu" and FLOOR in times:
            values["times the floor"] = values["s"] / statistics.median(times[FLOOR])
            goal, met = "within 1.3 times the floor", values["times the floor"] <= 1.3
        if case in peers and (least := peers[case][1]):
            goal, met = f"at least {least} times ours", values["times ours"] >= least
        yield Row(name, case, values, goal, met)


# A step's kernels by what they are for; what is in none of them is Python, autograd, small kernels.
KERNELS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "Adam": ("aten::_fused_adam_",),
    "tanh": ("aten::tanh", "aten::tanh_backward"),
    "log-likelihood": ("aten::log_sigmoid_forward", "aten::log_sigmoid_backward", "aten::sigmoid",
                   "aten::binary_cross_entropy_with_logits"),
}  # fmt: skip


def profile(images: data.ImageData, network: dict, repeats: int) -> Iterator[Row]:
    """Where the time of our epoch goes, beside the bare products of the same shapes."""
    steps = -(-len(images.train_x) // BATCH)
    works = {
        "epoch": lambda: ours(images, network, 1),
        "floor": lambda: matrix_products(len(images.train_x)),
    }
    with threads(1), tqdm(total=2 * repeats, desc="profile") as bar:
        times = take_turns(works, repeats, bar)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            ours(images, network, 1)
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


def main() -> None:
    arguments = parser(__doc__).parse_args()
    before, rows = machine(), []
    images, network = data.load("digits"), {"latent": 2, "hidden": 64}
    epochs, repeats = (2, 1) if arguments.quick else (20, 5)
    peers = {"vae_edu": (ours, None), "Pyro's SVI": (pyro, 2), "pythae's trainer": (pythae, None)}
    rows += compare(f"digits, {epochs} epochs", images, network, epochs, peers, repeats)
    try:
        images, network = data.load("mnist"), {"latent": 20, "hidden": 400}
    except data.DataUnavailable as error:
        print(f"MNIST: left out, {error}", file=sys.stderr)
        report(before, rows, arguments)
        return
    repeats = 3
    if arguments.quick:
        images, repeats = first(images, 2000), 1
    peers = {
        "vae_edu": (ours, None),
        "vae_edu, two threads": (partial(ours, threads=2), None),
        "the tutorials' loop": (partial(tutorial, transform=through_pillow), 2.5),
        "the same without Pillow": (partial(tutorial, transform=least), None),
        "Pyro's SVI": (pyro, 2.5),
        "pythae's trainer": (pythae, 3),
    }
    rows += compare("MNIST, 1 epoch", images, network, 1, peers, repeats)
    report(before, rows, arguments)
    before = machine()
    rows = list(profile(images, network, repeats))
    report(before, rows, arguments, name="profile")


if __name__ == "__main__":
    main()
