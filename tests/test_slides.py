"""The form of the decks; what a lecturer sees of them is in test_browser_slides.py."""

import re

import bs4
import nbformat
import pytest
import slides

from tools import notebooks

LECTURES = slides.lectures()
TOO_MANY = 60


def read(path):
    notebook = nbformat.read(path, as_version=4)
    notebooks.normalize(notebook)
    return notebook


def markdown(text, **slideshow):
    return nbformat.v4.new_markdown_cell(text, metadata={"slideshow": slideshow})


def arranged(*cells):
    """The decks's frame: its tags, and the first word of each piece."""
    pieces = slides.arrange(slides.pieces(nbformat.v4.new_notebook(cells=list(cells))))
    tree = bs4.BeautifulSoup(
        "".join(f"{p.metadata.before}{p.source}{p.metadata.after}" for p in pieces), "html.parser"
    )
    for name in tree.select(".section-name"):
        name.decompose()
    return (
        re.sub(r' class="(page|title)"', "", str(tree))
        .replace("<section>", "<s>")
        .replace("</section>", "</s>")
    )


def test_blocks_keep_together_what_belongs_together():
    blocks = [
        "## A heading",
        "Text\nin two lines.",
        "1. One\n\n2. Two\n\n   still two",
        "| a |\n|---|\n| 1 |",
        "$$\na\n\nb\n$$",
        "<details><summary>A</summary>\n\nWhy.\n\n</details>",
        "```\nx = 1\n\ny = 2\n```",
        "End",
    ]
    assert slides.blocks("\n\n".join(blocks)) == blocks


def test_no_text_is_lost():
    for path in LECTURES:
        for cell in read(path).cells:
            if cell.cell_type == "markdown":
                parts = "".join(slides.blocks(cell.source))
                assert "".join(parts.split()) == "".join(cell.source.split())


def test_types_make_slides():
    deck = arranged(
        markdown("# T"),
        markdown("a", slide_type="subslide"),
        markdown("b", slide_type="fragment"),
        markdown("c"),
        markdown("d", slide_type="notes"),
        markdown("e", slide_type="fragment"),
        markdown("f", slide_type="skip"),
        markdown("## G", slide_type="slide"),
    )
    assert deck == (
        "<s><s># T</s><s>a"
        '<div class="fragment">bc<aside class="notes">d</aside></div><div class="fragment">e</div>'
        "</s></s><s><s>## G</s></s>"
    )


def test_a_heading_begins_a_slide_and_breaks_name_the_rest():
    text = "a\n\nb\n\n## C\n\nd\n\n### E"
    deck = arranged(markdown("# T"), markdown(text, slide_type="subslide", breaks={"1": "notes"}))
    assert deck == (
        '<s><s># T</s><s>a<aside class="notes">b</aside></s></s><s><s>## Cd</s><s>### E</s></s>'
    )


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="'sub-slide' in the cell: a"):
        slides.pieces(nbformat.v4.new_notebook(cells=[markdown("a", slide_type="sub-slide")]))


@pytest.fixture(params=LECTURES, ids=lambda path: path.stem)
def lecture(request):
    return read(request.param)


def test_metadata_fit_their_cells(lecture):
    for cell in lecture.cells:
        show = cell.metadata.get("slideshow", {})
        assert set(show) <= {"slide_type", "breaks", "code"}
        assert show.get("slide_type", "") in slides.TYPES
        assert show.get("code", "open") == "open"
        n = len(slides.blocks(cell.source)) if cell.cell_type == "markdown" else 1
        for i, kind in show.get("breaks", {}).items():
            assert 0 < int(i) < n and kind in slides.TYPES, cell.source.splitlines()[0]


def test_a_lecture_shows_its_pictures_and_not_its_exercises(lecture):
    assert lecture.cells[0].metadata.slideshow.slide_type == "slide"
    section = ""
    for piece in slides.pieces(lecture):
        heading = slides.HEADING.match(piece.source)
        if piece.cell_type == "markdown" and heading:
            section = heading[2]
        shown = piece.metadata.type not in ("skip", "notes")
        assert not (shown and section in ("Exercises", "Sources")), piece.source
        for output in piece.get("outputs", []):
            assert shown or "image/png" not in output.get("data", {}), piece.source


def test_the_question_comes_before_its_answer(lecture):
    """After **Predict** an output waits: as a fragment, or on a slide of its own."""
    asked = False
    for piece in slides.pieces(lecture):
        kind = piece.metadata.type
        if kind in ("skip", "notes"):
            continue
        if piece.cell_type == "code" and piece.outputs:
            assert not asked or kind in ("fragment", "subslide", "slide"), piece.source
            asked = False
        elif kind in ("slide", "subslide", "fragment"):
            asked = False
        asked = asked or (piece.cell_type == "markdown" and "**Predict" in piece.source)


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)
def test_a_deck_is_whole_and_not_too_long(path, tmp_path):
    target = tmp_path / "deck.html"
    count = slides.build(path, target, execute="none")
    tree = bs4.BeautifulSoup(target.read_text("utf-8"), "html.parser")
    sections = tree.select(".slides > section > section")
    assert len(sections) == count <= TOO_MANY
    assert all(section.get_text(strip=True) or section.img for section in sections)
    for node in tree.select("[src], link[href]"):
        assert node.get("src", node.get("href")).startswith("data:"), node.name
    assert not re.search(r"@import|url\((?![\"']?data:)", " ".join(s.text for s in tree("style")))
    decks = {lecture.with_suffix(".html").name for lecture in LECTURES}
    for link in tree.select(".slides a[href]"):
        goal = link["href"].split("#")[0]
        assert "://" in goal or goal in {"", "index.html"} | decks, goal
