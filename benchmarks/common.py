"""What the benchmarks share: rows of a table, taking turns, and reports as Markdown, JSON, picture.

`python benchmarks/common.py` puts the saved results into README.md beside this file.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

from vae_edu import plots  # noqa: E402

RESULTS = HERE / "results"
RUNS = HERE / "runs"


class Row(NamedTuple):
    """One line of the table; `values` are numbers whose names say the unit, `met` None: no goal.

    Beside a value `x` there may be its uncertainty `x ±`, and `x published`.
    """

    benchmark: str
    case: str
    values: dict[str, float]
    goal: str = ""
    met: bool | None = None


def parser(doc: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    options = argparse.ArgumentParser(description=doc.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="short runs, to see that all works")
    options.add_argument(
        "--save", type=Path, nargs="?", const=RESULTS, metavar="FOLDER",
        help="also write the numbers (JSON) and a picture (PNG), here or in a folder",
    )  # fmt: skip
    return options


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def take_turns(works: dict, repeats: int, bar: tqdm) -> dict:
    """The seconds of each work, `[repeats]`, every one done once in each round."""
    times = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work))
            bar.update()
    return times


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def slug(name: str) -> str:
    """A name for files and options: `VAE, k = 5` -> `vae-k-5`."""
    return "-".join(re.findall(r"\w+", name.lower()))


def machine() -> dict:
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "load": [round(x, 1) for x in load],
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
    }


def number(values: dict[str, float], name: str) -> str:
    """`-22.94`, with its uncertainty if there is one: to four digits, or to its own two."""
    half = values.get(f"{name} ±")
    if half is None:
        return f"{values[name]:.4g}"
    digits = max(0, 1 - int(f"{half:e}".partition("e")[2])) if half else 2
    return f"{values[name]:.{digits}f} ± {half:.{digits}f}"


def columns(row: Row) -> dict[str, str]:
    """The text of each cell of a row, by the name of its column."""
    cells = {name: number(row.values, name) for name in row.values if name[-1] != "±"}
    met = {None: {}, True: {"met": "yes"}, False: {"met": "**no**"}}[row.met]
    return cells | ({"goal": row.goal} if row.goal else {}) | met


def table(rows: list[Row]) -> str:
    """The rows in Markdown: a table for each benchmark and kind of values."""
    tables = []
    for (benchmark, _), group in grouped(rows).items():
        cells = [columns(row) for row in group]
        names = list(dict.fromkeys(name for row in cells for name in row))
        names.sort(key=("goal", "met").__contains__)  # these two come last
        lines = [[benchmark, *names], ["---"] * (1 + len(names))]
        lines += [
            [row.case, *(row_cells.get(name, "") for name in names)]
            for row, row_cells in zip(group, cells, strict=True)
        ]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(tables)


def grouped(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """By benchmark and the name of the first value, which is the one that is drawn."""
    groups = {}
    for row in rows:
        groups.setdefault((row.benchmark, next(iter(row.values))), []).append(row)
    return groups


def where(before: dict, after: dict) -> str:
    return (
        f"{before['date']}, {before['cores']} cores, load {before['load'][0]} before and "
        f"{after['load'][0]} after, Python {before['python']}, torch {before['torch']}"
    )


def report(
    before: dict,
    rows: list[Row],
    arguments: argparse.Namespace,
    draw: Callable | None = None,
    name: str = Path(sys.argv[0]).stem,
) -> None:
    """Print the machine and the table; with `--save`, keep them, and a picture of them."""
    after = machine()
    print(f"\n{where(before, after)}\n\n{table(rows)}")
    if not arguments.save:
        return
    if arguments.quick and arguments.save == RESULTS:
        print("Not saved: a quick run would take the place of a whole one.", file=sys.stderr)
        return
    arguments.save.mkdir(parents=True, exist_ok=True)
    numbers = {"before": before, "after": after, "quick": arguments.quick}
    numbers["rows"] = [row._asdict() for row in rows]
    text = json.dumps(numbers, indent=1, ensure_ascii=False) + "\n"
    (arguments.save / f"{name}.json").write_text(text, encoding="utf-8")
    picture = (draw or dots)(rows)
    picture.savefig(arguments.save / f"{name}.png", dpi=110, bbox_inches="tight")


def dots(rows: list[Row]):
    """The first value of each row as a dot, one panel a benchmark: published ones as rings.

    What has but one row is left to the table: a dot alone says nothing.
    """
    groups = grouped(rows)
    groups = {key: group for key, group in groups.items() if len(group) > 1} or groups
    height = sum(0.3 * len(group) + 0.9 for group in groups.values())
    with plots.figure(len(groups), 1, size=(8.0, height)) as (fig, axes):
        axes = [axes] if len(groups) == 1 else list(axes)
        fig.get_layout_engine() or fig.set_layout_engine("constrained")
        ratios = [len(group) + 2.5 for group in groups.values()]
        axes[0].get_gridspec().set_height_ratios(ratios)
        for ax, ((benchmark, name), group) in zip(axes, groups.items(), strict=True):
            places = range(len(group))
            values = [row.values[name] for row in group]
            halves = [row.values.get(f"{name} ±", 0) for row in group]
            color = plots.COLORS["prior"]
            ax.errorbar(values, places, xerr=halves, fmt="o", color=color, capsize=3)
            for place, row in zip(places, group, strict=True):
                for key, value in row.values.items():
                    if key.startswith(f"{name} published"):
                        color = plots.COLORS["likelihood"]
                        [ring] = ax.plot(value, place, "o", mfc="none", ms=9, color=color)
                        beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
                        ax.legend([ring], ["published"], **beside)
            ax.set_yticks(places, [row.case for row in group])
            ax.set_ylim(len(group) - 0.5, -0.5)
            if min(values) > 0 and max(values) > 20 * min(values):
                ax.set_xscale("log")
            elif name.split()[0] in ("s", "ms", "MB"):
                ax.set_xlim(left=0)
            ax.set_xlabel(name)
            ax.set_title(benchmark)
    return fig


def fill(readme: str, folder: Path = RESULTS) -> str:
    """The text of README.md with each `<!-- NAME -->` … `<!-- end -->` filled from the results."""

    def saved(match: re.Match) -> str:
        numbers = json.loads((folder / f"{match[1]}.json").read_text(encoding="utf-8"))
        rows = [Row(**row) for row in numbers["rows"]]
        text = f"{where(numbers['before'], numbers['after'])}:\n\n{table(rows)}"
        return f"<!-- {match[1]} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", saved, readme, flags=re.DOTALL)


def main() -> None:
    path = HERE / "README.md"
    path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
