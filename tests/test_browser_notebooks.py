"""Every notebook as a reader meets it: run in JupyterLab, its live figures shown and moved."""

from functools import partial

import pytest
from browser import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIVE = ("LiveFigure: ", "TrainingDashboard: ")
ENDS = [("End", "max"), ("Home", "min")]
LOADED = "img => img.decode().then(() => true, () => false)"  # true also means: a whole picture


def live_cells(notebook):
    """The number and the name of each cell that has a live picture."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/plain", ""))
            if text.startswith(LIVE):
                yield number, text


def picture_of(area):
    picture = area.locator("img.widget-image")
    assert picture.count() == 1, f"{picture.count()} pictures"
    assert picture.evaluate(LOADED), "the picture does not load"
    assert picture.is_visible() and picture.evaluate("img => img.naturalWidth") > 0
    # A new picture has a new address, and the same picture is not sent again.
    return picture.get_attribute("src")


def moves(area):
    """What a hand can do to a figure, control by control: the control's name, and its moves."""
    # Buttons first: at the end of a slider they may have nothing to say.
    for buttons in area.locator(".widget-toggle-buttons").all():
        yield name_of(buttons), [button.click for button in buttons.locator("button").all()]
    for box in area.locator(".widget-checkbox").all():
        yield box.text_content(), [box.locator("input").click]
    for slider in area.locator(".widget-slider").all():
        handle = slider.locator(".noUi-handle")
        yield name_of(slider), [partial(press, handle, *end) for end in ENDS]


def name_of(control):
    return control.locator(".widget-label").text_content()


def press(handle, key, end):
    handle.press(key)
    reached, wanted = (handle.get_attribute(f"aria-value{which}") for which in ("now", end))
    assert reached == wanted, f"{key} moves the slider to {reached}, not {wanted}"


def move(notebook, area):
    for name, hands in moves(area):
        seen = {picture_of(area)}
        for hand in hands:
            hand()
            notebook.settle()
            assert area.locator("pre[role=alert]").all_inner_texts() == []
            seen.add(picture_of(area))
        assert len(seen) > 1, f"{name} changes nothing"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_works_in_jupyterlab(chromium, lab, path):
    with lab.open(chromium, path) as notebook:
        notebook.run()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert [output for output in outputs if output["output_type"] == "error"] == []
        for number, text in live_cells(notebook):
            area = notebook.show(number)
            picture_of(area)
            if text.startswith("LiveFigure"):
                move(notebook, area)
        assert notebook.complaints == []
