"""Training as an iterator, and weights as files."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor
from torch.distributions import Distribution
from tqdm.auto import tqdm

from vae_edu import likelihoods, priors
from vae_edu.bounds import Elbo, elbo
from vae_edu.files import replace_whole
from vae_edu.models import VAE

_FORMAT = "vae_edu 1"


class Progress(NamedTuple):
    """A finished epoch: training averages in nats per example, and the seconds so far."""

    epoch: int
    epochs: int
    elbo: float
    reconstruction: float
    kl: float
    seconds: float


class TrainingDiverged(RuntimeError):
    """The loss or a weight became NaN or infinite; the model holds the last good weights."""


def negative_elbo(terms: Elbo) -> Tensor:
    """The usual loss, `[N]`: -(reconstruction - kl). Summed over pixels and latents."""
    return -terms.total


def train(
    model: VAE,
    data,
    epochs: int,
    *,
    batch_size: int = 128,
    learning_rate: float = 2e-3,
    loss: Callable[[Elbo], Tensor] = negative_elbo,
    noise: bool = False,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    bar: bool = True,
    threads: int = 1,
) -> Iterator[Progress]:
    """Maximize the ELBO on `data.train_x` with Adam; iterate over the result to make it run.

        for progress in train(model, data, epochs=150):
            print(progress.epoch, progress.elbo)

    The loss is averaged over the batch. `loss` maps the batch's `Elbo` to a loss per example (for a
    β-VAE: `lambda e: beta * e.kl - e.reconstruction`). `noise`: prepare the data anew each epoch
    with noise (dequantization, dynamic binarization), see `Likelihood.prepare`. The run has its own
    random numbers from `seed`, and leaves the global ones alone. `threads`: two are hardly faster
    on models of a notebook's size, and ten times slower where other programs keep a core busy, as
    each waits at every layer for the other; raise it for large models on an idle machine.

    Leaving the loop early, Ctrl-C and the notebook's Stop leave the weights of the last complete
    epoch in the model. With `checkpoint`, a path, each epoch is also kept in a file, and the same
    call carries on from it to the same weights as a run without a break.

    Raises `ValueError` for settings that can't be used, and `TrainingDiverged` when the loss or a
    weight is no longer finite: it names the epoch, and the model keeps the last good weights.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; at least one is needed to train")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; at least one example is needed")
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(f"learning_rate is {learning_rate}; it must be finite and above 0")
    if threads < 1:
        raise ValueError(f"threads is {threads}; at least one is needed")
    if len(data.train_x) == 0:
        raise ValueError(f"{data.name!r} has no training examples")
    model.likelihood.prepare(data.train_x[:1])  # the wrong data is told at the call
    run = _Run(model, data, batch_size, learning_rate, loss, noise, seed, threads)
    if checkpoint is not None and Path(checkpoint).exists():
        run.restore(Path(checkpoint))
    return _epochs(run, epochs, None if checkpoint is None else Path(checkpoint), bar)


def _epochs(run: "_Run", epochs: int, checkpoint: Path | None, bar: bool) -> Iterator[Progress]:
    start = time.perf_counter()
    with tqdm(total=epochs, initial=run.epoch, unit="epoch", disable=not bar) as shown:
        while run.epoch < epochs:
            averages = run.advance()
            if checkpoint is not None:
                run.save(checkpoint)
            shown.set_postfix_str(f"ELBO {averages[0]:.2f} nats", refresh=False)
            shown.update()
            yield Progress(run.epoch, epochs, *averages, time.perf_counter() - start)


class _Run:
    """All that one run of training carries from epoch to epoch."""

    def __init__(self, model, data, batch_size, learning_rate, loss, noise, seed, threads):
        self.model, self.levels, self.loss, self.noise = model, data.train_x, loss, noise
        self.threads = threads
        self.x = None if noise else model.likelihood.prepare(self.levels)
        self.settings = {
            "data": data.name,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "noise": noise,
            "seed": seed,
        }
        self.optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
        self.random_state = torch.Generator().manual_seed(seed).get_state()
        self.epoch = 0
        self._remember()

    def _remember(self) -> None:
        self.last_good = {k: v.clone() for k, v in self.model.state_dict().items()}

    def advance(self) -> tuple[float, float, float]:
        """One epoch, all or nothing: the averages of the ELBO and its two terms."""
        # A fork, so that drawing z (rsample uses the global generator) is this run's own affair.
        with torch.random.fork_rng(devices=[]), _lean(self.threads):
            torch.set_rng_state(self.random_state)
            try:
                averages = self._one_epoch()
            except BaseException:
                self.model.load_state_dict(self.last_good)
                raise
            self.random_state = torch.get_rng_state()
        self.epoch += 1
        self._remember()
        return averages

    def _one_epoch(self) -> tuple[float, float, float]:
        x = self.x
        if self.noise:
            x = self.model.likelihood.prepare(self.levels, torch.default_generator)
        sums = torch.zeros(3)
        for rows in torch.randperm(len(x)).split(self.settings["batch_size"]):
            terms = elbo(self.model, x.index_select(0, rows))  # faster than x[rows]
            loss = self.loss(terms).mean()
            if not math.isfinite(loss.item()):
                raise self._diverged(f"the loss is {loss.item()}")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            sums += torch.stack([term.detach().sum() for term in terms])
        if not all(torch.isfinite(p).all() for p in self.model.parameters()):
            raise self._diverged("a weight is no longer finite")
        return tuple((sums / len(x)).tolist())

    def _diverged(self, what: str) -> TrainingDiverged:
        rate = self.settings["learning_rate"]
        return TrainingDiverged(
            f"{what} in epoch {self.epoch + 1}: a step was too large for this loss. Make the model "
            f"anew and lower learning_rate ({rate:g}), for example to {rate / 10:g}. The model "
            f"holds the weights from the end of epoch {self.epoch}"
        )

    def save(self, path: Path) -> None:
        tensors = {"random_state": self.random_state}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items()}
        _write(path, self.model, tensors, {"epoch": self.epoch, "settings": self.settings})

    def restore(self, path: Path) -> None:
        about, tensors = _read(path)
        if "settings" not in about:
            raise ValueError(f"{path} holds weights only, not a checkpoint of a training run")
        _check_same(path, about["settings"], self.settings)
        _load_weights(self.model, path, about, tensors)
        state = self.optimizer.state_dict()
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state["state"].setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict(state)
        self.random_state, self.epoch = tensors["random_state"], about["epoch"]
        self._remember()


@contextmanager
def _lean(threads: int) -> Iterator[None]:
    """So many threads, and torch's checks of every distribution's arguments off, which cost time.

    `prepare` has checked the data, and parameters that are NaN show in the loss.
    """
    checked, before = Distribution._validate_args, torch.get_num_threads()
    Distribution.set_default_validate_args(False)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(checked)
        torch.set_num_threads(before)


def save(model: VAE, path: str | Path) -> None:
    """Write the weights, and how to rebuild the model around them, as one safetensors file.

    The file is written whole or not at all: an older one at `path` is replaced at the very end.
    """
    _write(Path(path), model, {}, {})


def load(path: str | Path, data) -> VAE:
    """The model in `path`, rebuilt, for the data set that it was trained on.

    Raises `FileNotFoundError`, and `ValueError` for a file that is damaged, not written by `save`,
    or of a model of other data.
    """
    about, tensors = _read(Path(path))
    described = about["model"]
    here = {"data": data.name, "dim": data.dim, "levels": data.levels}
    _check_same(path, {name: described[name] for name in here}, here)
    likelihood = likelihoods.make(described["family"], data, **described["options"])
    prior = priors.build(described["prior"])
    model = VAE(prior, likelihood, described["latent_dim"], described["hidden"])
    _load_weights(model, Path(path), about, tensors)
    return model


def _describe(model: VAE) -> dict:
    likelihood = model.likelihood
    return {
        "data": likelihood.data_name,
        "dim": likelihood.dim,
        "levels": likelihood.levels,
        "family": likelihood.name,
        "options": likelihood.options,
        "prior": priors.describe(model.prior),
        "latent_dim": model.latent_dim,
        "hidden": list(model.hidden),
    }


def _write(path: Path, model: VAE, tensors: dict[str, Tensor], about: dict) -> None:
    about = {"format": _FORMAT, "model": _describe(model)} | about
    tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()} | tensors
    metadata = {"vae_edu": json.dumps(about)}
    with replace_whole(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata)


def _read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("vae_edu", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{path} can't be read ({error}): it is damaged or no safetensors file; "
            "train again, or take another copy of it"
        ) from error
    if about.get("format") != _FORMAT:
        raise ValueError(f"{path} was not written by vae_edu.training.save: it can't be loaded")
    return about, tensors


def _load_weights(model: VAE, path: Path, about: dict, tensors: dict[str, Tensor]) -> None:
    _check_same(path, about["model"], _describe(model))
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    if not all(torch.isfinite(v).all() for v in weights.values()):
        raise ValueError(f"{path} holds weights that are NaN or infinite: train again")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model it describes: {error}") from error


def _check_same(path: Path, there: dict, here: dict) -> None:
    differ = [
        f"{name} {there.get(name)!r} (here {here[name]!r})"
        for name in here
        if there.get(name) != here[name]
    ]
    if differ:
        raise ValueError(
            f"{path} was made with {', '.join(differ)}: load it with what it was made with, or "
            "choose another path"
        )
