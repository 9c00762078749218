"""Data sets: images as grey levels, and points in the plane whose true latent is known.

An image is a row of D integers, its *grey levels* 0 … levels-1. Scaling, binarizing or
one-hot coding are not done here: that is the likelihood's part (`Likelihood.prepare`), so that
a switch of family can never leave the data in the wrong support.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_edu.files import replace_whole


class DataUnavailable(RuntimeError):
    """A data set is neither on this machine nor within reach; the message says what to do."""


@dataclass(frozen=True)
class ImageData:
    """Images as grey levels.

    `*_x` are uint8 `[N, D]` with values 0 … levels-1, `*_y` int64 `[N]` class labels
    (used for colours only, never for training), `shape` is (height, width), D = height * width.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    levels: int
    shape: tuple[int, int]

    @property
    def dim(self) -> int:
        """Pixels in an image, D."""
        return self.train_x.shape[1]


@dataclass(frozen=True)
class PointData:
    """Points in the plane, x = mean(z) + noise, with the z that made each.

    `*_x` are floats `[N, 2]`, `*_z` floats `[N, 1]` drawn from N(0, 1), `mean` maps `[..., 1]` to
    `[..., 2]`, `noise` is the standard deviation of the isotropic Gaussian noise.
    """

    name: str
    train_x: Tensor
    train_z: Tensor
    test_x: Tensor
    test_z: Tensor
    mean: Callable[[Tensor], Tensor]
    noise: float
    levels: None = None
    shape: None = None

    @property
    def dim(self) -> int:
        """Coordinates of a point, D = 2."""
        return self.train_x.shape[1]


def load(name: str) -> ImageData:
    """The images called `name`: "digits" (8x8, 17 levels, no network) or "mnist" (28x28, 256).

    "mnist" is read from `mnist.npz` in the folder that the environment variable VAE_EDU_DATA
    names; without it, scikit-learn fetches it once and keeps it.

    Raises `ValueError` for another name, `DataUnavailable` where MNIST can't be had.
    """
    loaders = {"digits": _digits, "mnist": _mnist}
    if name not in loaders:
        raise ValueError(f"no data set {name!r}; choose one of {sorted(loaders)}")
    return loaders[name]()


def _digits() -> ImageData:
    # scikit-learn's file is read past scikit-learn, whose import costs 80 MB and over a second.
    [package] = find_spec("sklearn").submodule_search_locations
    table = np.loadtxt(Path(package) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    x, y = table[:, :-1].astype(np.uint8), table[:, -1].astype(np.int64)
    random = np.random.default_rng(0)
    # A fifth of each class, so that both parts have the same mixture of classes.
    rows = [random.permutation(np.flatnonzero(y == label)) for label in range(10)]
    test = np.sort(np.concatenate([r[: len(r) // 5] for r in rows]))
    train = np.sort(np.concatenate([r[len(r) // 5 :] for r in rows]))
    parts = (torch.from_numpy(part) for part in (x[train], y[train], x[test], y[test]))
    return ImageData("digits", *parts, 17, (8, 8))


def _mnist() -> ImageData:
    folder = os.environ.get("VAE_EDU_DATA")
    if folder:
        path = Path(folder) / "mnist.npz"
        if not path.exists():
            raise DataUnavailable(
                f"VAE_EDU_DATA is {folder!r}, but there is no mnist.npz in it: "
                "correct it, or unset it to have MNIST fetched"
            )
    else:
        from sklearn.datasets import get_data_home

        path = Path(get_data_home()) / "vae_edu" / "mnist.npz"
        if not path.exists():
            _fetch_mnist(path)
    return _read_mnist(path)


def _read_mnist(path: Path) -> ImageData:
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in names}
    except Exception as error:  # numpy raises a different kind for each way a file can be broken
        raise DataUnavailable(
            f"{path} can't be read as MNIST ({error}): it must hold the arrays {', '.join(names)}; "
            "delete it to have MNIST fetched again"
        ) from error
    for name in ("x_train", "x_test"):
        if arrays[name].dtype != np.uint8 or arrays[name].shape[1:] not in ((28, 28), (784,)):
            raise DataUnavailable(
                f"{name} in {path} is {arrays[name].dtype} {arrays[name].shape}, "
                "not uint8 images of 28x28"
            )
    x = {name: torch.from_numpy(arrays[name].reshape(-1, 784)) for name in ("x_train", "x_test")}
    y = {name: torch.from_numpy(arrays[name].astype(np.int64)) for name in ("y_train", "y_test")}
    return ImageData("mnist", x["x_train"], y["y_train"], x["x_test"], y["y_test"], 256, (28, 28))


def _fetch_mnist(path: Path) -> None:
    """Fetch MNIST with scikit-learn and keep it as one small file, which loads far faster."""
    from sklearn.datasets import fetch_openml

    try:
        # The 70,000 rows stand in the original order: 60,000 for training, 10,000 for testing.
        x, y = fetch_openml(
            "mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff", n_retries=1
        )
    except Exception as error:  # URLError, HTTPError, OSError, a truncated file, …
        raise DataUnavailable(
            f"MNIST could not be fetched ({type(error).__name__}: {error}). Without a network, put "
            "mnist.npz (x_train, y_train, x_test, y_test) in a folder and set the environment "
            'variable VAE_EDU_DATA to that folder, or use load("digits"), which needs no network'
        ) from error
    x, y = x.astype(np.uint8), y.astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file, x_train=x[:60000], y_train=y[:60000], x_test=x[60000:], y_test=y[60000:]
        )


def line(n: int = 500, noise: float = 0.1, seed: int = 0) -> PointData:
    """Points around a straight line: the mean is linear in z, so the posterior is Gaussian."""
    return _points("line", lambda z: torch.cat([z, 0.5 * z], -1), n, noise, seed)


def arc(n: int = 500, noise: float = 0.1, seed: int = 0) -> PointData:
    """Points around an arc of the unit circle, a quarter turn for each unit of z.

    The ends of the arc almost meet, so a point between them has a two-humped posterior.
    """

    def mean(z: Tensor) -> Tensor:
        angle = 0.5 * math.pi * (1 + z)
        return torch.cat([torch.cos(angle), torch.sin(angle)], -1)

    return _points("arc", mean, n, noise, seed)


def spiral(n: int = 500, noise: float = 0.05, seed: int = 0) -> PointData:
    """Points around a spiral of one and a half turns, z = -3 … 3 from its heart outwards."""

    def mean(z: Tensor) -> Tensor:
        angle, radius = 0.5 * math.pi * z, torch.exp(0.3 * z)
        return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], -1)

    return _points("spiral", mean, n, noise, seed)


def _points(name: str, mean: Callable, n: int, noise: float, seed: int) -> PointData:
    if n < 5:
        raise ValueError(f"n is {n}; at least 5 points are needed for a training and a test set")
    if not noise > 0:
        raise ValueError(f"noise is {noise}; it is a standard deviation and must be above 0")
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.get_default_dtype()
    # Drawn in one dtype whatever the default is, so that a seed always means the same points.
    z = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    x = mean(z) + noise * torch.randn(n, 2, generator=generator, dtype=torch.float64)
    x, z = x.to(dtype), z.to(dtype)
    test = n // 5
    return PointData(name, x[test:], z[test:], x[:test], z[:test], mean, noise)
