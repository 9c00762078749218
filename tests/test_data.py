"""The data sets, and what happens where one can't be had."""

import os
import urllib.error

import numpy as np
import pytest
import sklearn.datasets
import torch
from scipy import stats

from vae_edu import data
from vae_edu.data import DataUnavailable

POINTS = pytest.mark.parametrize("make", [data.line, data.arc, data.spiral])


@pytest.fixture
def no_folder(monkeypatch, tmp_path):
    """No VAE_EDU_DATA, and scikit-learn's cache empty: where in it MNIST will be kept."""
    monkeypatch.delenv("VAE_EDU_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vae_edu" / "mnist.npz"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_EDU_DATA", str(tmp_path))
    return tmp_path


def write_mnist(path, **changes):
    x, y = np.zeros((3, 28, 28), np.uint8), np.array([1, 2, 3], np.uint8)
    x[:, 5, 7] = 255
    arrays = {"x_train": x, "y_train": y, "x_test": x[:2], "y_test": y[:2]} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


# Digits


def test_digits_are_grey_levels(digits):
    for x, y, n in (
        (digits.train_x, digits.train_y, 1442),
        (digits.test_x, digits.test_y, 355),
    ):
        assert (x.shape, x.dtype) == ((n, 64), torch.uint8)
        assert (y.shape, y.dtype) == ((n,), torch.int64)
        assert (int(x.min()), int(x.max())) == (0, 16)
    assert (digits.name, digits.levels, digits.shape, digits.dim) == ("digits", 17, (8, 8), 64)


def test_digits_are_all_there_once(digits):
    def sorted_rows(x, y):
        return np.unique(np.column_stack([x, y]), axis=0, return_counts=True)

    ours = sorted_rows(
        torch.cat([digits.train_x, digits.test_x]), torch.cat([digits.train_y, digits.test_y])
    )
    original = sorted_rows(*sklearn.datasets.load_digits(return_X_y=True))
    for here, there in zip(ours, original, strict=True):
        np.testing.assert_array_equal(here, there)


def test_each_class_has_its_share_of_the_test_set(digits):
    share = torch.bincount(digits.test_y) / (
        torch.bincount(digits.train_y) + torch.bincount(digits.test_y)
    )
    assert share.shape == (10,)
    assert (share - 0.2).abs().max() < 0.005


def test_the_split_is_always_the_same(digits):
    again = data.load("digits")
    assert torch.equal(again.train_x, digits.train_x)
    assert torch.equal(again.test_y, digits.test_y)


def test_an_unknown_name():
    with pytest.raises(ValueError, match=r"no data set 'cifar'; choose one of .*digits.*mnist"):
        data.load("cifar")


# MNIST


@pytest.mark.skipif("VAE_EDU_DATA" not in os.environ, reason="VAE_EDU_DATA is not set")
def test_real_mnist():
    mnist = data.load("mnist")
    assert (mnist.name, mnist.levels, mnist.shape, mnist.dim) == ("mnist", 256, (28, 28), 784)
    for x, y, n in ((mnist.train_x, mnist.train_y, 60_000), (mnist.test_x, mnist.test_y, 10_000)):
        assert (x.shape, x.dtype) == ((n, 784), torch.uint8)
        assert (y.shape, y.dtype) == ((n,), torch.int64)
    # Known of MNIST: its mean brightness, and its first labels.
    assert mnist.train_x.float().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)
    assert mnist.train_y[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test_y[:5].tolist() == [7, 2, 1, 0, 4]


@pytest.mark.parametrize("shape", [(28, 28), (784,)])
def test_mnist_from_a_folder(folder, shape):
    x = np.arange(2 * 784, dtype=np.uint8).reshape(2, *shape)
    write_mnist(folder / "mnist.npz", x_train=x, y_train=np.array([4, 7], np.uint8))
    mnist = data.load("mnist")
    assert torch.equal(mnist.train_x, torch.from_numpy(x.reshape(2, 784)))
    assert (mnist.train_y.tolist(), mnist.test_y.tolist()) == ([4, 7], [1, 2])
    assert mnist.levels == 256


def test_a_folder_without_mnist(folder):
    with pytest.raises(DataUnavailable, match=r"no mnist\.npz in it.*unset it"):
        data.load("mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be read as MNIST"),
        (b"PK\x03\x04 cut off", "can't be read as MNIST"),
        ({"y_test": None}, r"y_test.*must hold the arrays x_train, y_train"),
        ({"x_test": np.zeros((2, 28, 28))}, r"x_test.*float64 \(2, 28, 28\), not uint8"),
        ({"x_train": np.zeros((2, 8, 8), np.uint8)}, r"x_train.*\(2, 8, 8\)"),
        ({"x_train": np.array([None])}, "can't be read as MNIST"),
    ],
    ids=["empty", "truncated", "array missing", "floats", "wrong shape", "objects"],
)
def test_a_broken_file(folder, content, message):
    path = folder / "mnist.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_mnist(path, **content)
    with pytest.raises(DataUnavailable, match=message):
        data.load("mnist")


def test_no_network(monkeypatch, no_folder):
    def fetch(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(
        DataUnavailable, match=r"no route to host.*VAE_EDU_DATA.*load\(\"digits\"\)"
    ):
        data.load("mnist")
    assert not no_folder.exists()


def fetched(*args, return_X_y, as_frame, **kwargs):
    """MNIST as scikit-learn gives it, floats with strings for labels, but 3 rows for testing."""
    assert return_X_y
    assert not as_frame
    x = np.zeros((60_003, 784), np.float32)
    x[0, 10], x[60_000, 20] = 255, 100
    return x, np.array(["7"] + ["1"] * 59_999 + ["2", "3", "4"], dtype=object)


def test_fetched_once_and_kept(monkeypatch, no_folder):
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetched)
    first = data.load("mnist")
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", None)
    second = data.load("mnist")
    for mnist in (first, second):
        assert (mnist.train_x.shape, mnist.test_x.shape) == ((60_000, 784), (3, 784))
        assert (mnist.train_x[0, 10], mnist.test_x[0, 20]) == (255, 100)
        assert (mnist.train_y[0], mnist.test_y.tolist()) == (7, [2, 3, 4])
    assert [path.name for path in no_folder.parent.iterdir()] == ["mnist.npz"]


def test_a_disk_that_fills_up_leaves_no_half_file(monkeypatch, no_folder):
    def fill_up(file, **arrays):
        file.write(b"PK half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetched)
    monkeypatch.setattr(np, "savez_compressed", fill_up)
    with pytest.raises(OSError, match="no space"):
        data.load("mnist")
    assert list(no_folder.parent.iterdir()) == []


# Points whose latent is known


@POINTS
def test_points_and_their_latents(make):
    points = make(n=500)
    assert (points.train_x.shape, points.train_z.shape) == ((400, 2), (400, 1))
    assert (points.test_x.shape, points.test_z.shape) == ((100, 2), (100, 1))
    assert (points.train_x.dtype, points.dim, points.levels) == (torch.float32, 2, None)


@POINTS
def test_points_are_their_mean_and_noise(make):
    points = make(n=2500, noise=0.3)
    x = torch.cat([points.train_x, points.test_x])
    z = torch.cat([points.train_z, points.test_z])
    assert stats.kstest(z[:, 0], stats.norm.cdf).pvalue > 1e-3
    noise = (x - points.mean(z)) / points.noise
    assert points.noise == 0.3
    for axis in (0, 1):
        assert stats.kstest(noise[:, axis], stats.norm.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.1


@POINTS
def test_a_seed_means_the_same_points_whatever_the_dtype(make, float64):
    doubles = make(n=20, seed=3)
    torch.set_default_dtype(torch.float32)
    floats = make(n=20, seed=3)
    assert doubles.train_x.dtype == torch.float64
    torch.testing.assert_close(doubles.train_x.float(), floats.train_x)
    assert not torch.equal(make(n=20, seed=4).train_x, floats.train_x)


@POINTS
def test_points_leave_the_global_random_numbers_alone(make):
    before = torch.get_rng_state()
    make(n=20)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_shapes_of_the_means():
    z = torch.linspace(-3, 3, 61).unsqueeze(-1)
    line, arc, spiral = (make(n=5).mean(z) for make in (data.line, data.arc, data.spiral))
    torch.testing.assert_close(line[:, 1], line[:, 0] / 2)
    torch.testing.assert_close(arc.norm(dim=-1), torch.ones(61))
    torch.testing.assert_close(data.arc().mean(torch.ones(1)), torch.tensor([-1.0, 0.0]))
    torch.testing.assert_close(data.arc().mean(torch.zeros(1)), torch.tensor([0.0, 1.0]))
    turns = np.unwrap(torch.atan2(spiral[:, 1], spiral[:, 0]).numpy()) / (2 * np.pi)
    assert turns[-1] - turns[0] == pytest.approx(1.5)
    assert (spiral.norm(dim=-1).diff() > 0).all()
    assert data.arc().mean(torch.zeros(4, 5, 1)).shape == (4, 5, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n": 4}, "n is 4"), ({"noise": 0.0}, "noise is 0.0"), ({"noise": float("nan")}, "noise is")],
)
@POINTS
def test_bad_settings_of_points(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
