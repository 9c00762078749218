"""Does it keep still? Every notebook run again and again, offline; widgets made again and again.

    python benchmarks/steady.py [--only notebooks|widgets] [--rounds N] [--folder PATH] [--save]

A notebook's run fails if a cell raises, or prints other text than the committed one. A run that was
interrupted goes on where it stopped. See README.md beside this file.
"""

import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from common import ROOT, RUNS, Row, machine, parser, report, seconds
from tqdm import tqdm

from vae_edu.files import replace_whole

sys.path.insert(0, str(ROOT / "tools"))

import notebooks as runner

# A namespace with no network but this machine's own loopback, by which a kernel is spoken to.
OFFLINE = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "-"]


def printed(path: Path, execute: bool) -> list[list[str]]:
    """The text of each cell's outputs, as committed or as a fresh run prints it."""
    notebook = runner.run(path) if execute else runner.nbformat.read(path, as_version=4)
    runner.normalize(notebook)
    return [
        [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code" and "nbval-ignore-output" not in cell.metadata.get("tags", ())
    ]


def one_run(path: Path) -> dict:
    """How a notebook's run went; called in a process of its own, perhaps without a network."""
    outcome = {"what": "passed"}

    def run() -> None:
        try:
            if printed(path, execute=True) != printed(path, execute=False):
                outcome["what"] = "other text than the committed"
        except Exception as error:
            outcome["what"] = runner.in_one_line(error)

    return {"s": seconds(run)} | outcome


def can_be_offline() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0


def notebooks(rounds: int, folder: Path) -> Iterator[Row]:
    offline = can_be_offline()
    if not offline:
        print("notebooks: run with the network on, unshare can't take it away", file=sys.stderr)
    kept, paths = folder / f"steady-{rounds}.json", runner.paths()
    runs = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    names = {path: path.relative_to(runner.ROOT / "notebooks").as_posix() for path in paths}
    todo = [path for _ in range(rounds) for path in paths]
    command = [*(OFFLINE if offline else []), sys.executable, __file__, "--one"]
    for path in tqdm(todo[len(runs) :], initial=len(runs), total=len(todo), desc="notebooks"):
        # An answer from outside would be a surprise: the cell would fail on the next machine.
        environment = {k: v for k, v in os.environ.items() if k != "VAE_EDU_DATA"}
        done = subprocess.run(
            [*command, str(path)], env=environment, capture_output=True, text=True, check=True
        )
        runs.append({"notebook": names[path]} | json.loads(done.stdout.splitlines()[-1]))
        with replace_whole(kept) as temporary:
            temporary.write_text(json.dumps(runs, indent=1), encoding="utf-8")
    title = f"{rounds} × Run All{', offline' if offline else ''}"
    for name in names.values():
        mine = [run for run in runs if run["notebook"] == name]
        failed = [run["what"] for run in mine if run["what"] != "passed"]
        for what in failed:
            print(f"{name}: {what}", file=sys.stderr)
        values = {"failed": len(failed), "s median": statistics.median(r["s"] for r in mine)}
        values["s longest"] = max(run["s"] for run in mine)
        yield Row(title, name, values, "none fails", not failed)


def resident() -> float:
    """This process's memory in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def widgets(rounds: int) -> Iterator[Row]:
    """All widgets made, moved and closed, as a kernel's notebook does it, in one process."""
    if not Path("/proc/self/status").exists():
        print("widgets: memory is measured on Linux only", file=sys.stderr)
        return
    import ipywidgets

    from vae_edu import data, likelihoods, plots, pretrained
    from vae_edu.widgets import DecoderLab, LiveFigure, PosteriorMicroscope, TrainingDashboard

    images = data.load("digits")

    def work() -> None:
        models = {family: pretrained.load(family, images) for family in likelihoods.FAMILIES}
        mean = models["gaussian"].mean_image
        x = models["gaussian"].likelihood.prepare(images.test_x[:5])

        def draw(z: float):
            return plots.image_rows({"mean": mean(x.new_tensor([[z, 0.0]])).detach()}, (8, 8))

        lab, microscope = DecoderLab(models, images), PosteriorMicroscope(models, images)
        figure = LiveFigure(draw, "a mean", z=(-3.0, 3.0, 0.1))
        dashboard = TrainingDashboard({"gaussian": models["gaussian"]}, images)
        for step in range(10):
            figure.set(z=-3 + 0.5 * step)
        for family in models:
            lab.decoder = microscope.decoder = family
            lab._repr_mimebundle_(), microscope._repr_mimebundle_()
        dashboard.run(1)
        ipywidgets.Widget.close_all()

    sizes = []
    for _ in tqdm(range(rounds), desc="widgets"):
        work()
        gc.collect()
        sizes.append(resident())
    early, late = statistics.median(sizes[4:10]), statistics.median(sizes[-6:])
    values = {"MB more a round": (late - early) / (rounds - 10)}
    values |= {"MB after the first": sizes[0], f"MB after {rounds}": sizes[-1]}
    met = values["MB more a round"] < 0.1
    yield Row(f"{rounds} kernels' worth of widgets", "memory", values, "under 0.1 MB a round", met)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", choices=["notebooks", "widgets"], help="one of the two")
    options.add_argument("--rounds", type=int, default=20, help="of the notebooks")
    options.add_argument("--folder", type=Path, default=RUNS, help="what has run is kept here")
    options.add_argument("--one", type=Path, help="run one notebook, and print how it went")
    arguments = options.parse_args()
    if arguments.one:
        print(json.dumps(one_run(arguments.one)))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.only != "notebooks":
        before = machine()
        rows = list(widgets(15 if arguments.quick else 50))
        report(before, rows, arguments, name="widgets")
    if arguments.only != "widgets":
        before = machine()
        rows = list(notebooks(1 if arguments.quick else arguments.rounds, arguments.folder))
        report(before, rows, arguments, name="notebooks")


if __name__ == "__main__":
    main()
