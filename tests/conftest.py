import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from vae_edu import data

# The same examples on every run: a test that fails for one person fails for all.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None, max_examples=40)
settings.load_profile("fixed")

# The models here are so small that threads would wait for each other longer than they work.
torch.set_num_threads(1)


# Scripts find the modules beside them; last, for benchmarks/ has a browser.py of its own.
sys.path += [str(Path(__file__).resolve().parents[1] / name) for name in ("tools", "benchmarks")]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def digits():
    return data.load("digits")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    import browser

    with browser.jupyterlab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


# Not for the whole session: while Playwright is at work no other test can use asyncio.
@pytest.fixture(scope="module")
def chromium():
    import browser

    with browser.chromium() as chromium:
        yield chromium
