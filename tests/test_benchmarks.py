"""The benchmarks' promises: they leave out what is missing, and go on where they were stopped."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import common
import families
import mutants
import nbformat
import peers
import published
import pytest
import steady
import torch
from helpers import CASES, images, vae, weights_equal

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    environment = os.environ | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


# What is missing


def test_without_mnist_the_rest_is_measured(tmp_path):
    only = ["--quick", "--only", "ppca", "altosaar", "burda", "--folder", str(tmp_path)]
    done = run("published", *only, VAE_EDU_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    for name in ("altosaar", "burda"):
        assert f"{name}: left out, VAE_EDU_DATA is" in done.stderr
    assert "| linear VAE, 2 latents, digits |" in done.stdout


def test_without_a_peer_the_others_are_measured(monkeypatch, capsys, digits):
    for name in ("pyro", "pythae"):
        monkeypatch.setitem(sys.modules, name, None)  # its import fails, installed or not
    ways = {
        "vae_edu": (peers.ours, None),
        "Pyro's SVI": (peers.pyro, 2),
        "pythae's trainer": (peers.pythae, None),
    }
    rows = list(peers.compare("digits", digits, {"latent": 2, "hidden": 8}, 1, ways, 1))
    assert [row.case for row in rows] == ["vae_edu"]
    said = capsys.readouterr().err
    assert "Pyro's SVI: left out, pyro is not installed: pip install pyro-ppl==" in said
    assert "pythae's trainer: left out, pythae" in said


def test_without_mutmut_it_is_said(monkeypatch):
    monkeypatch.setattr(mutants, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["mutants.py", "--quick"])
    with pytest.raises(SystemExit, match=r"mutmut is not installed: pip install mutmut=="):
        mutants.main()


# What was stopped


def training(path: Path, total: int, stop_at: int | None = None):
    """A small run of `total` rounds, interrupted in round `stop_at`."""
    torch.manual_seed(0)
    model, x = vae(CASES[5], images()), torch.rand(20, 6).round()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def one(i: int) -> None:
        rows = torch.randperm(20)[:5]
        optimizer.zero_grad()
        (-published.elbo(model, x[rows]).total.mean()).backward()
        optimizer.step()
        if i == stop_at:
            raise KeyboardInterrupt

    published.rounds(path, model, optimizer, total, one)
    return model


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path):
    whole = training(tmp_path / "whole.pt", 6)
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "broken.pt", 6, stop_at=3)
    assert torch.load(tmp_path / "broken.pt", weights_only=True)["round"] == 3
    assert weights_equal(training(tmp_path / "broken.pt", 6), whole)
    assert not weights_equal(training(tmp_path / "less.pt", 5), whole)


def test_a_further_stage_goes_on_from_the_last_and_leaves_it(tmp_path, digits):
    few = peers.first(digits, 60)
    settings = published.Settings(1, 0, 20, 4, tmp_path / "two", [])
    for stages, folder in ((1, "two"), (2, "two"), (2, "one")):
        (tmp_path / folder).mkdir(exist_ok=True)
        settings = settings._replace(stages=stages, folder=tmp_path / folder)
        model = published.train_burda(few, "VAE, k = 5", settings)
        if folder == "two":
            in_two = model
    assert weights_equal(in_two, model)
    rounds = [torch.load(path, weights_only=True)["round"] for path in (tmp_path / "two").iterdir()]
    assert sorted(rounds) == [1, 4]


def test_the_table_of_some_has_what_was_done_before(tmp_path, monkeypatch, digits):
    monkeypatch.setattr(published.data, "load", lambda name: peers.first(digits, 20))
    settings = published.Settings(1, 0, 20, 4, tmp_path, ["vae-k-5"])
    assert [row.case for row in published.burda(settings)] == ["VAE, k = 5"]
    trained = (tmp_path / "vae-k-5-1.pt").stat().st_mtime_ns
    rows = published.burda(settings._replace(only=["iwae-k-5"]))
    cases = ["VAE, k = 5", "IWAE, k = 5", "IWAE, k = 5 beside VAE, k = 5"]
    assert [row.case for row in rows] == cases
    assert (tmp_path / "vae-k-5-1.pt").stat().st_mtime_ns == trained


def test_an_interrupted_estimate_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    model, x = vae(CASES[5], images()), torch.rand(1200, 6).round()
    whole = published.log_marginal(tmp_path / "whole.pt", model, x, 4, "")
    blocks, iwae = [], published.iwae

    def stopping(model, x, k):
        blocks.append(len(x))
        if len(blocks) == 2:
            raise KeyboardInterrupt
        return iwae(model, x, k)

    monkeypatch.setattr(published, "iwae", stopping)
    with pytest.raises(KeyboardInterrupt):
        published.log_marginal(tmp_path / "broken.pt", model, x, 4, "")
    again = published.log_marginal(tmp_path / "broken.pt", model, x, 4, "")
    assert torch.equal(again, whole)
    assert blocks == [500, 500, 500, 200]  # the first block is not done twice


def test_interrupted_families_are_not_trained_twice(tmp_path, monkeypatch):
    trained, calls = families.trained, []

    def stopping(images, case, seed, how, path):
        calls.append((case, seed))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return trained(images, case, seed, how, path)

    monkeypatch.setattr(families, "trained", stopping)
    how = families.Experiment(2, (8,), 1)
    arguments = ("digits", how, list(families.CASES)[:2], tmp_path)
    with pytest.raises(KeyboardInterrupt):
        list(families.families(*arguments))
    rows = list(families.families(*arguments))
    assert len(calls) == 7 and len(set(calls)) == 6  # only the one that was stopped comes again
    uncalibrated, calibrated, gain = (next(iter(row.values.values())) for row in rows)
    assert gain == pytest.approx(uncalibrated - calibrated)


# A notebook that does not keep still


@pytest.mark.parametrize(
    ("source", "committed", "outcome"),
    [
        ("print(1 + 1)", "2\n", "passed"),
        ("import time; print(time.time())", "2\n", "other text than the committed"),
        ("1 / 0", "2\n", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_notebook_run_again(tmp_path, monkeypatch, capsys, source, committed, outcome):
    output = nbformat.v4.new_output("stream", name="stdout", text=committed)
    cell = nbformat.v4.new_code_cell(source, outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    monkeypatch.setattr(sys, "argv", ["steady.py", "--one", str(tmp_path / "a.ipynb")])
    steady.main()
    assert json.loads(capsys.readouterr().out)["what"] == outcome


def test_interrupted_rounds_of_notebooks_go_on_and_none_is_taken_for_its_solution(
    tmp_path, monkeypatch, capsys
):
    paths = [tmp_path / "notebooks" / name for name in ("a.ipynb", "solutions/a.ipynb")]
    monkeypatch.setattr(steady.runner, "paths", lambda: paths)
    monkeypatch.setattr(steady.runner, "ROOT", tmp_path)
    monkeypatch.setattr(steady, "can_be_offline", lambda: False)
    ran = []

    def one(command, **_):
        ran.append(Path(command[-1]))
        if len(ran) == 4:
            raise KeyboardInterrupt
        what = "NameError" if ran[-1] == paths[1] else "passed"
        return Namespace(stdout=json.dumps({"s": float(len(ran)), "what": what}))

    monkeypatch.setattr(steady.subprocess, "run", one)
    with pytest.raises(KeyboardInterrupt):
        list(steady.notebooks(2, tmp_path))
    notebook, solution = steady.notebooks(2, tmp_path)
    assert ran == [*paths, *paths, paths[1]]  # only the one that was stopped comes again
    assert notebook[1:] == ("a.ipynb", {"failed": 0, "s median": 2, "s longest": 3}, *notebook[3:])
    assert (notebook.met, solution.met, solution.values["failed"]) == (True, False, 2)
    assert "solutions/a.ipynb: NameError" in capsys.readouterr().err


# The tables


def test_the_readme_shows_what_was_saved():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert common.fill(text) == text, "run python benchmarks/common.py"
    for path in common.RESULTS.glob("*.json"):
        assert f"<!-- {path.stem} -->" in text
        assert not json.loads(path.read_text(encoding="utf-8"))["quick"], path


def test_numbers_show_the_digits_that_are_sure():
    values = {"bits": 2.46473, "bits ±": 0.0158, "nats": -101.7234, "s": 3.0, "s ±": 12.3}
    assert common.number(values, "bits") == "2.465 ± 0.016"
    assert common.number(values, "nats") == "-101.7"
    assert common.number(values, "s") == "3 ± 12"


def test_a_table_has_a_column_for_each_value_and_the_goal_comes_last():
    rows = [
        common.Row("race", "we", {"s": 1.0}, "under 2 s", False),
        common.Row("race", "they", {"s": 2.0, "times ours": 2.0}),
        common.Row("length", "track", {"km": 400.0}),
    ]
    assert common.table(rows).splitlines() == [
        "| race | s | times ours | goal | met |",
        "| --- | --- | --- | --- | --- |",
        "| we | 1 |  | under 2 s | **no** |",
        "| they | 2 | 2 |  |  |",
        "",
        "| length | km |",
        "| --- | --- |",
        "| track | 400 |",
    ]


def test_a_report_is_kept_as_numbers_and_as_a_picture(tmp_path, capsys):
    rows = [common.Row("a", "b", {"s": 1.5, "s ±": 0.2, "s published": 2.0}, "under 2 s", True)]
    arguments = Namespace(save=tmp_path / "new", quick=False)
    common.report(common.machine(), rows, arguments, name="some")
    table = capsys.readouterr().out
    assert "| b | 1.50 ± 0.20 | 2 | under 2 s | yes |" in table
    kept = json.loads((tmp_path / "new" / "some.json").read_text(encoding="utf-8"))
    assert [common.Row(**row) for row in kept["rows"]] == rows
    assert (tmp_path / "new" / "some.png").read_bytes()[:4] == b"\x89PNG"
    assert common.fill("<!-- some -->\n\n<!-- end -->", tmp_path / "new").count("| b | 1.50") == 1


def test_a_quick_run_does_not_take_the_place_of_a_whole_one(capsys):
    rows = [common.Row("a", "b", {"s": 1.5})]
    arguments = Namespace(save=common.RESULTS, quick=True)
    common.report(common.machine(), rows, arguments, name="quick")
    assert "Not saved" in capsys.readouterr().err
    assert not (common.RESULTS / "quick.json").exists()
