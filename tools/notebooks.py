"""Execute the course's notebooks: `check` says which run, `execute` rewrites their outputs.

    python tools/notebooks.py check    [NOTEBOOK …]     what `make run` does
    python tools/notebooks.py execute  [NOTEBOOK …]     what `make notebooks` does

A notebook is kept in one *normal form*, so that a diff shows what changed for a reader and nothing
else. An exception inside a widget's callback passes here; `make test`, which compares the outputs
cell by cell (nbval, strict), catches it.
"""

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]

# Enough to choose the kernel and to colour the code; the rest differs from machine to machine.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
CELL_METADATA = ("tags", "slideshow")
# A view names a model that lives in the kernel only, at random: in a file it can't be drawn, and
# would hide the text beside it.
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def paths() -> list[Path]:
    """Every notebook of the course."""
    folder = ROOT / "notebooks"
    return sorted(folder.glob("*.ipynb")) + sorted(folder.glob("solutions/*.ipynb"))


def run(path: Path) -> NotebookNode:
    """The notebook as executed top to bottom by a fresh kernel, in the notebook's folder."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # or each kernel warns that its port is a TCP one
    ).execute()
    return notebook


def normalize(notebook: NotebookNode) -> str:
    """The text of the notebook's file in normal form. Changes `notebook`."""
    # Above all this drops metadata.widgets, for which GitHub refuses to show a notebook.
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        # An id by content: the same on every machine, and untouched when other cells come or go.
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        cell.id = f"{digest}-{seen[digest]}" if seen[digest] else digest
        seen[digest] += 1
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in CELL_METADATA if cell.metadata.get(key)}
        )
        if cell.cell_type == "code":
            cell.outputs = joined_streams(cell.outputs)
            for output in cell.outputs:
                data = output.get("data", {})
                if len(data) > 1:
                    data.pop(WIDGET_VIEW, None)
    return nbformat.writes(notebook) + "\n"


def joined_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """What a cell prints may arrive in any number of pieces; make each run of pieces one."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last["text"] += output.text
        else:
            joined.append(output)
    return joined


def write(path: Path, text: str) -> bool:
    """Write whole or not at all, and only what differs; True if it did."""
    if path.read_text(encoding="utf-8") == text:
        return False
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return True


def in_one_line(error: Exception) -> str:
    if isinstance(error, CellExecutionError):
        name, text = error.ename, error.evalue
    else:
        name, text = type(error).__name__, str(error)
    return f"{name}: {text.strip()}".splitlines()[0]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Execute the course's notebooks.")
    parser.add_argument("command", choices=["check", "execute"], help="execute also rewrites them")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    options = parser.parse_args(arguments)

    chosen = [path.resolve() for path in options.notebooks] or paths()
    if not chosen:
        print("There is no notebook in notebooks/.", file=sys.stderr)
        return 1
    failed = 0
    for path in chosen:
        name = os.path.relpath(path, ROOT)
        begun = time.monotonic()
        try:
            text = normalize(run(path))
        except Exception as error:  # also no notebook at all, a cell that never ends, a dead kernel
            failed += 1
            outcome = "FAILED: " + in_one_line(error)
        else:
            outcome = "passed"
            if options.command == "execute":
                outcome = "rewritten" if write(path, text) else "unchanged"
        print(f"{time.monotonic() - begun:6.1f} s  {name}  {outcome}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
