"""The README's example runs, and its minutes are the notebooks' own."""

import doctest
import json
import re
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def test_the_example_runs():
    torch.manual_seed(0)
    result = doctest.testfile(str(README), module_relative=False, verbose=False)
    assert result.attempted >= 10 and result.failed == 0


def test_the_minutes_are_the_notebooks_own():
    rows = re.findall(r"\((notebooks/\d\d_\w+\.ipynb)\) \| (\d+) \|", README.read_text("utf-8"))
    assert len(rows) == 10
    for name, minutes in rows:
        first = json.loads((ROOT / name).read_text("utf-8"))["cells"][0]["source"]
        assert f"about {minutes} minutes" in "".join(first)
