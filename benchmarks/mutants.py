"""Would the tests notice? Small faults, one at a time, in the modules that compute probabilities.

    pip install mutmut==3.8.1
    python benchmarks/mutants.py [--only MODULE ...] [--again] [--quick] [--save]

mutmut makes each fault (a + for a -, a 2 for a 1, an argument left out) in a copy of the package
and runs the tests that reach it. A run that was interrupted goes on where it stopped. See README.md
beside this file.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from common import ROOT, RUNS, Row, machine, parser, report

MODULES = ("likelihoods", "distributions", "priors", "bounds", "exact")
TESTS = ("likelihoods", "distributions", "priors", "bounds", "exact", "models")
LEAST = 0.9
# mutmut's exit codes: of pytest (1: a test failed, 3: an error), of its own (33: no test runs it,
# 36: too slow, so the tests would hang), negative: by a signal. None: not yet run.
SURVIVED, UNTESTED = 0, 33

SETUP = """[mutmut]
source_paths=vae_edu
only_mutate=
{modules}
pytest_add_cli_args_test_selection=
{tests}
pytest_add_cli_args=
    -p
    no:cacheprovider
"""


class _Undecorate(ast.NodeTransformer):
    """`@property def f` -> `def f`, `f = property(f)`: mutmut leaves decorated functions alone."""

    def visit_FunctionDef(self, node: ast.FunctionDef):
        self.generic_visit(node)
        kept = [d for d in node.decorator_list if ast.unparse(d) in ("classmethod", "staticmethod")]
        moved = [d for d in reversed(node.decorator_list) if d not in kept]
        if kept or not moved:
            return node
        node.decorator_list = []
        name = ast.Name(node.name, ast.Store())
        calls = [ast.Call(d, [ast.Name(node.name, ast.Load())], []) for d in moved]
        return [node, *(ast.Assign([name], call, lineno=node.lineno) for call in calls)]


def prepare(folder: Path, modules: list[str]) -> None:
    """A copy of the package and its tests for mutmut to work on, beside what it did before."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vae_edu", "tests"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    for name in modules:
        path = folder / "vae_edu" / f"{name}.py"
        tree = _Undecorate().visit(ast.parse(path.read_text(encoding="utf-8")))
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)) + "\n", encoding="utf-8")
    settings = SETUP.format(
        modules="\n".join(f"    vae_edu/{name}.py" for name in modules),
        tests="\n".join(f"    tests/test_{name}.py" for name in TESTS),
    )
    (folder / "setup.cfg").write_text(settings, encoding="utf-8")
    # mutmut asks git what has changed, and must not find the project's repository above.
    subprocess.run(["git", "init", "-q", str(folder)], check=True)


def forget_survivors(folder: Path) -> None:
    """Have them tried again: there may be new tests."""
    for path in (folder / "mutants" / "vae_edu").glob("*.py.meta"):
        known = json.loads(path.read_text(encoding="utf-8"))
        codes = known["exit_code_by_key"]
        known["exit_code_by_key"] = {
            key: None if code in (SURVIVED, UNTESTED) else code for key, code in codes.items()
        }
        path.write_text(json.dumps(known), encoding="utf-8")


def run(folder: Path, arguments: list[str]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    command = [sys.executable, "-m", "mutmut", "run", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=False)


def results(folder: Path, modules: list[str]) -> Iterator[Row]:
    for name in modules:
        meta = folder / "mutants" / "vae_edu" / f"{name}.py.meta"
        codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
        counts = Counter(codes.values())
        tried = len(codes) - counts[None]
        alive = counts[SURVIVED] + counts[UNTESTED]
        values = {"killed %": 100 * (1 - alive / tried), "mutants": tried, "killed": tried - alive}
        values |= {"survived": counts[SURVIVED], "reached by no test": counts[UNTESTED]}
        if counts[None]:
            values["not tried"] = counts[None]
        met = None if counts[None] else tried - alive >= LEAST * tried
        yield Row("module", name, values, f"at least {LEAST:.0%} killed", met)


def alive(folder: Path, modules: list[str]) -> str:
    """Every mutant that no test noticed, as the lines it changes."""
    text = []
    for name in modules:
        source = folder / "mutants" / "vae_edu" / f"{name}.py"
        codes = json.loads(source.with_suffix(".py.meta").read_text(encoding="utf-8"))
        functions = {
            node.name: node
            for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef)
        }
        for key, code in codes["exit_code_by_key"].items():
            if code in (SURVIVED, UNTESTED):
                function = key.rpartition(".")[2]
                original = function.rpartition("__mutmut_")[0] + "__mutmut_orig"
                was, became = (lines(functions[f]) for f in (original, function))
                text += [f"# {readable(original)}", *sorted(was - became), *sorted(became - was)]
    return "\n".join(text) + "\n"


def readable(function: str) -> str:
    """mutmut's name for a function -> Class.function."""
    return function.removesuffix("__mutmut_orig").removeprefix("x").strip("ǁ_").replace("ǁ", ".")


def lines(function: ast.FunctionDef) -> set[str]:
    """The lines of a function, with the name that they share."""
    named = ast.unparse(function).replace(function.name, "f")
    return {line.strip() for line in named.splitlines()}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", choices=MODULES, nargs="+", help="some of the modules")
    options.add_argument("--again", action="store_true", help="try what survived once more")
    options.add_argument("--folder", type=Path, default=RUNS / "mutants", help="for the copy")
    options.add_argument("--processes", type=int, default=os.cpu_count(), help="at a time")
    arguments = options.parse_args()
    if find_spec("mutmut") is None:
        sys.exit("mutmut is not installed: pip install mutmut==3.8.1")
    modules = ["bounds"] if arguments.quick else arguments.only or list(MODULES)
    before = machine()
    prepare(arguments.folder, list(MODULES))
    if arguments.again:
        forget_survivors(arguments.folder)
    patterns = [f"vae_edu.{name}.*" for name in modules]
    run(arguments.folder, ["--max-children", str(arguments.processes), *patterns])
    report(before, list(results(arguments.folder, modules)), arguments)
    found = alive(arguments.folder, modules)
    print(f"\nNot noticed, before and after:\n\n{found}")
    if arguments.save:
        (arguments.save / "survivors.txt").write_text(found, encoding="utf-8")


if __name__ == "__main__":
    main()
