"""The form of the committed notebooks; what their cells compute is compared by nbval."""

import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks

NOTEBOOKS = notebooks.paths()

LONGEST_CELL = 30
MEDIAN_CELL = 10
ALLOWED_TAGS = {"nbval-ignore-output"}
MOST_TAGGED = 2
MACHINE_PATH = re.compile(
    r"(?<![\w.~:/-])/(?:home|Users|root|tmp|private|var|mnt|opt|srv|work(?:spaces?)?)/\w|\b[A-Z]:\\\w"
)

# Each check yields what is wrong, one line each; nothing if all is well.


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def executed_in_order(notebook):
    # nbval does not compare a cell that was never run, so this has to be asked.
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if not counts or counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}: run `make notebooks`"


def no_errors(notebook):
    for output in outputs(notebook):
        if output.output_type == "error":
            yield f"a cell ended in {output.ename}: {output.evalue}"


def no_widget_state(notebook):
    if "widgets" in notebook.metadata:
        yield "metadata.widgets, for which GitHub refuses to show the notebook"


def short_cells(notebook):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(notebook)]
    for cell, length in zip(code_cells(notebook), lengths, strict=True):
        if length > LONGEST_CELL:
            yield f"a cell of {length} lines: {cell.source.splitlines()[0]}"
    if lengths and statistics.median(lengths) > MEDIAN_CELL:
        yield f"the median cell has {statistics.median(lengths)} lines"


def more_prose_than_code(notebook):
    def size(kind: str) -> int:
        return sum(len("".join(c.source.split())) for c in notebook.cells if c.cell_type == kind)

    if size("markdown") < size("code"):
        yield f"{size('markdown')} characters of prose for {size('code')} of code"


def opens_well(notebook):
    first = notebook.cells[0] if notebook.cells else new_code_cell()
    needed = {
        "a title": r"\A# \S",
        "the question it answers": r"\?",
        "what it builds on": r"(?i)\bbuilds? on\b",
        "the minutes it takes": r"\d+ min",
    }
    for what, pattern in needed.items():
        if first.cell_type != "markdown" or not re.search(pattern, first.source):
            yield f"the first cell lacks {what}"


def no_orphan_figure(notebook):
    kinds = ["", *(cell.cell_type for cell in notebook.cells), ""]
    for i, cell in enumerate(notebook.cells):
        shows = any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
        if shows and "markdown" not in (kinds[i], kinds[i + 2]):
            yield f"no text beside the figure of: {cell.source.splitlines()[0]}"


def no_trailing_semicolon(notebook):
    for cell in code_cells(notebook):
        if cell.source.rstrip().endswith(";"):
            yield f"a trailing `;` hides a result from nbval: {cell.source.splitlines()[-1]}"


def rarely_unchecked(notebook):
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    for tag in sorted(set(tags) - ALLOWED_TAGS):
        yield f"the tag {tag}"
    if len(tags) > MOST_TAGGED:
        yield f"{len(tags)} cells whose output nobody checks"
    for cell in code_cells(notebook):
        if re.search(r"# *(NBVAL_|PYTEST_VALIDATE_)", cell.source):
            yield "nbval is told by a comment; use the tag"


def no_machine_path(notebook):
    texts = [cell.source for cell in notebook.cells]
    for output in outputs(notebook):
        texts += [output.get("text", "")]
        # Not the images: base64 has slashes of its own.
        texts += [str(text) for kind, text in output.get("data", {}).items() if "text/" in kind]
    for text in texts:
        for here in (str(notebooks.ROOT), sys.prefix):
            if here in text:
                yield f"the path {here}"
        if found := MACHINE_PATH.search(text):
            yield f"the path {text[found.start() : found.start() + 40]!r}"


def normalized(notebook):
    as_it_is = nbformat.writes(notebook) + "\n"
    if notebooks.normalize(nbformat.from_dict(notebook)) != as_it_is:
        yield "not in normal form: run `make notebooks`"


Check = Callable[[NotebookNode], object]
CHECKS: list[Check] = [
    executed_in_order,
    no_errors,
    no_widget_state,
    short_cells,
    more_prose_than_code,
    opens_well,
    no_orphan_figure,
    no_trailing_semicolon,
    rarely_unchecked,
    no_machine_path,
    normalized,
]


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, check: Check):
    assert list(check(nbformat.read(path, as_version=4))) == []


# The checks can fail: a good notebook passes all of them, and each bad one fails its own.

PNG = {"image/png": "AAAA/tmp/AAAA", "text/plain": "<Figure size 640x480 with 1 Axes>"}


def good_notebook() -> NotebookNode:
    """Three cells: an opening, a cell that shows a figure and prints, and the words to it."""
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# A title\n\nWhy? Builds on: nothing. 5 minutes."),
            new_code_cell(
                "1 + 1",
                execution_count=1,
                outputs=[new_output("stream", text="one\n"), new_output("display_data", PNG)],
            ),
            new_markdown_cell("What the figure shows."),
        ]
    )
    return nbformat.reads(notebooks.normalize(notebook), as_version=4)


def never_run(notebook):
    notebook.cells[1].execution_count = None


def run_twice(notebook):
    notebook.cells[1].execution_count = 2


def without_code(notebook):
    del notebook.cells[1]


def ended_in_error(notebook):
    notebook.cells[1].outputs = [new_output("error", ename="E", evalue="", traceback=[])]


def with_widget_state(notebook):
    notebook.metadata["widgets"] = {}


def with_a_long_cell(notebook):
    notebook.cells[1].source = "x\n" * 31


def with_long_cells(notebook):
    notebook.cells[1].source = "x\n" * 11


def with_little_prose(notebook):
    notebook.cells[1].source = "a = 1  # " + "x" * 100


def without_a_title(notebook):
    notebook.cells[0].source = notebook.cells[0].source.removeprefix("# ")


def without_a_question(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("?", ".")


def without_minutes(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("5 min", "")


def opening_with_code(notebook):
    del notebook.cells[0]


def with_an_orphan_figure(notebook):
    notebook.cells.insert(1, new_code_cell("a = 1"))
    notebook.cells.insert(3, new_code_cell("b = 1"))


def with_a_semicolon(notebook):
    notebook.cells[1].source = "plot(x);\n"


def with_another_tag(notebook):
    notebook.cells[1].metadata["tags"] = ["raises-exception"]


def with_many_tags(notebook):
    notebook.cells += [
        new_code_cell(metadata={"tags": ["nbval-ignore-output"]}) for _ in range(MOST_TAGGED + 1)
    ]


def with_a_comment_to_nbval(notebook):
    notebook.cells[1].source = "# NBVAL_IGNORE_OUTPUT\n1 + 1"


def with_a_path_printed(notebook):
    notebook.cells[1].outputs[0].text = "saved to /home/ada/model.safetensors"


def with_a_path_in_the_code(notebook):
    notebook.cells[1].source = r"load('C:\Users\ada\digits')"


def with_this_checkout_in_a_result(notebook):
    notebook.cells[1].outputs[1].data["text/plain"] = f"PosixPath('{notebooks.ROOT}')"


def with_a_random_id(notebook):
    notebook.cells[1].id = "a"


def with_timing(notebook):
    notebook.cells[1].metadata["execution"] = {"iopub.execute_input": "2026-01-01"}


def with_a_widget_view(notebook):
    notebook.cells[1].outputs[1].data[notebooks.WIDGET_VIEW] = {"model_id": "a"}


def with_output_in_pieces(notebook):
    notebook.cells[1].outputs.insert(0, new_output("stream", text="nought\n"))


def with_another_kernel(notebook):
    notebook.metadata.kernelspec.name = "my-env"


BAD = [
    (never_run, executed_in_order),
    (run_twice, executed_in_order),
    (without_code, executed_in_order),
    (ended_in_error, no_errors),
    (with_widget_state, no_widget_state),
    (with_a_long_cell, short_cells),
    (with_long_cells, short_cells),
    (with_little_prose, more_prose_than_code),
    (without_a_title, opens_well),
    (without_a_question, opens_well),
    (without_minutes, opens_well),
    (opening_with_code, opens_well),
    (with_an_orphan_figure, no_orphan_figure),
    (with_a_semicolon, no_trailing_semicolon),
    (with_another_tag, rarely_unchecked),
    (with_many_tags, rarely_unchecked),
    (with_a_comment_to_nbval, rarely_unchecked),
    (with_a_path_printed, no_machine_path),
    (with_a_path_in_the_code, no_machine_path),
    (with_this_checkout_in_a_result, no_machine_path),
    (with_a_random_id, normalized),
    (with_timing, normalized),
    (with_widget_state, normalized),
    (with_a_widget_view, normalized),
    (with_output_in_pieces, normalized),
    (with_another_kernel, normalized),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_good_notebook_passes(check):
    assert list(check(good_notebook())) == []


@pytest.mark.parametrize(("spoil", "check"), BAD, ids=lambda function: function.__name__)
def test_bad_notebook_fails(spoil, check):
    notebook = good_notebook()
    spoil(notebook)
    assert list(check(notebook))


def test_every_check_is_tried():
    assert {check for _, check in BAD} == set(CHECKS)


# The tool itself, with a real kernel.


@pytest.fixture
def scratch(tmp_path):
    """Writes a notebook with the given cells into a folder of its own."""

    def write(*sources: str) -> Path:
        path = tmp_path / "scratch.ipynb"
        notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
        nbformat.write(notebook, path)
        return path

    return write


def test_execute_writes_the_normal_form_once(scratch, capsys):
    path = scratch("import os\nprint(os.listdir())", "6 * 7")
    assert notebooks.main(["execute", str(path)]) == 0
    assert "rewritten" in capsys.readouterr().out
    notebook = nbformat.read(path, as_version=4)
    assert list(executed_in_order(notebook)) == list(normalized(notebook)) == []
    assert notebook.cells[0].outputs[0].text == "['scratch.ipynb']\n"  # it ran in its folder

    assert notebooks.main(["execute", str(path)]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert [file.name for file in path.parent.iterdir()] == ["scratch.ipynb"]


def test_check_tells_a_failure_and_changes_nothing(scratch, capsys):
    path = scratch("1 / 0")
    before = path.read_bytes()
    assert notebooks.main(["check", str(path)]) == 1
    assert "FAILED: ZeroDivisionError: division by zero" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_execute_leaves_a_failing_notebook_alone(scratch):
    path = scratch("1 / 0")
    before = path.read_bytes()
    assert notebooks.main(["execute", str(path)]) == 1
    assert path.read_bytes() == before


def test_no_notebooks_is_a_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    assert notebooks.main(["check"]) == 1
