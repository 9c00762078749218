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
from functools import partial
from io import StringIO

import torch
from common import Row, machine, parser, report, take_turns, threads
from foundation import Tutorial, elbo, first, matrix_products, through_pillow, tutorial_epoch
from torch import nn
from tqdm import tqdm

from vae_edu import data, likelihoods, priors, training
from vae_edu.models import VAE

BATCH, RATE = 128, 2e-3
INSTALL = "not installed: pip install pyro-ppl==1.9.2 pythae==0.1.2"


def black_or_white(levels: torch.Tensor, top: int) -> torch.Tensor:
    """As our Bernoulli prepares its data."""
    return (levels.float() / top >= 0.5).float()


def ours(images: data.ImageData, network: dict, epochs: int) -> VAE:
    torch.manual_seed(0)
    likelihood = likelihoods.make("bernoulli", images)
    prior = priors.standard_normal(network["latent"])
    model = VAE(prior, likelihood, network["latent"], (network["hidden"],))
    for _ in training.train(model, images, epochs, batch_size=BATCH, learning_rate=RATE, bar=False):
        pass
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
    x = black_or_white(images.train_x, images.levels - 1)
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
        x = black_or_white(images.train_x, images.levels - 1).unflatten(1, shape)
        with redirect_stderr(StringIO()):
            TrainingPipeline(model, settings)(x)
    logging.disable(logging.NOTSET)
    return net


def tutorial(images: data.ImageData, network: dict, epochs: int) -> nn.Module:
    return tutorial_epoch(images.train_x, through_pillow, RATE)


def compare(
    name: str, images: data.ImageData, network: dict, epochs: int, peers: dict, repeats: int
) -> Iterator[Row]:
    """A row for each way of training, all taking turns, and one for the floor if it is MNIST."""
    learned = {}

    def keep(case: str, train: Callable) -> None:
        learned[case] = train(images, network, epochs)

    works = {case: partial(keep, case, train) for case, (train, _) in peers.items()}
    if images.dim == 784:
        works["matrix products only (the floor)"] = lambda: matrix_products(len(images.train_x))
    for case, work in list(works.items()):
        try:
            work()  # warm, and is it there?
        except ModuleNotFoundError as missing:
            print(f"{case}: left out, {missing.name} is {INSTALL}", file=sys.stderr)
            del works[case]
    with threads(1), tqdm(total=repeats * len(works), desc=name) as bar:
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
        if case != "vae_edu":
            pairs = zip(taken, times["vae_edu"], strict=True)
            values["times ours"] = statistics.median(a / b for a, b in pairs)
        if case in peers and (least := peers[case][1]):
            goal, met = f"at least {least} times ours", values["times ours"] >= least
        elif case not in peers:
            goal, met = "ours within 1.3 times", values["times ours"] >= 1 / 1.3
        yield Row(name, case, values, goal, met)


def main() -> None:
    arguments = parser(__doc__).parse_args()
    before, rows = machine(), []
    images = data.load("digits")
    network = {"latent": 2, "hidden": 64}
    epochs, repeats = (2, 1) if arguments.quick else (20, 5)
    peers = {"vae_edu": (ours, None), "Pyro's SVI": (pyro, 2), "pythae's trainer": (pythae, None)}
    rows += compare(f"digits, {epochs} epochs", images, network, epochs, peers, repeats)
    try:
        images = data.load("mnist")
    except data.DataUnavailable as error:
        print(f"MNIST: left out, {error}", file=sys.stderr)
    else:
        if arguments.quick:
            images = first(images, 2000)
        peers = {
            "vae_edu": (ours, None),
            "the tutorials' loop": (tutorial, 2.5),
            "Pyro's SVI": (pyro, 2.5),
            "pythae's trainer": (pythae, 3),
        }
        network = {"latent": 20, "hidden": 400}
        repeats = 1 if arguments.quick else 3
        rows += compare("MNIST, 1 epoch", images, network, 1, peers, repeats)
    report(before, rows, arguments)


if __name__ == "__main__":
    main()
