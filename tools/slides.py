"""Write each notebook as a deck of slides: one file that needs neither kernel nor network.

    python tools/slides.py [--to FOLDER] [--execute none|widgets|all] [NOTEBOOK …]

is what `make slides` does, with reveal.js inside each file. As in tools/pages.py, only the
notebooks with a DecoderLab or a PosteriorMicroscope are executed, and their widgets run in a deck.

A cell's metadata say where it stands: `slideshow.slide_type` as in Jupyter (slide, subslide,
fragment, notes, skip; none: goes on), and two keys of our own beside it. `breaks` gives a later
paragraph of a text cell a type of its own, {"2": "subslide"} (a heading begins a slide anyway);
`code: "open"` shows the code, which otherwise waits behind the word "code".
"""

import base64
import re
import struct
import sys
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import bs4
import nbformat
import pages
from nbconvert import TemplateExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from notebooks import ROOT, in_one_line, paths

TYPES = ("slide", "subslide", "fragment", "notes", "skip", "")
HEADING = re.compile(r"(#{1,4}) (.*)")
ITEM = re.compile(r"(?:[-*]|\d+\.) ")


def blocks(source: str) -> list[str]:
    """The paragraphs, lists, tables, formulas and `<details>` of a Markdown text."""
    found: list[str] = []
    inside = ""  # what must close before a blank line means anything
    fresh = True
    for line in source.splitlines():
        if not inside and not line.strip():
            fresh = True
            continue
        goes_on = line.startswith("  ") or (
            ITEM.match(line) and found and ITEM.match(found[-1].splitlines()[0])
        )
        if found and (inside or not fresh or goes_on):
            found[-1] += ("\n\n" if fresh and not inside else "\n") + line
        else:
            found.append(line)
        fresh = False
        if inside:
            if inside in line:
                inside = ""
        elif line.startswith("```"):
            inside = "```"
        elif line.startswith("<details") and "</details>" not in line:
            inside = "</details>"
        elif line.startswith("$$") and line.count("$$") == 1:
            inside = "$$"
        elif HEADING.match(line):
            fresh = True
    return found


def pieces(notebook: NotebookNode) -> list[NotebookNode]:
    """The notebook's cells, text cells taken apart; each has its type in `metadata.type`."""
    result = []
    for cell in notebook.cells:
        show = cell.metadata.get("slideshow", {})
        kind = show.get("slide_type", "")
        if kind not in TYPES:
            raise ValueError(f"slide_type {kind!r} in the cell: {cell.source.splitlines()[0]}")
        if cell.cell_type != "markdown":
            cell.metadata = nbformat.from_dict({"type": kind, "code": show.get("code", "")})
            result.append(cell)
            continue
        for i, text in enumerate(blocks(cell.source)):
            if i:
                heading = HEADING.match(text)
                kind = kind if kind in ("notes", "skip") else ""
                if heading and kind != "skip":
                    kind = "slide" if len(heading[1]) < 3 else "subslide"
                kind = show.get("breaks", {}).get(str(i), kind)
            result.append(new_markdown_cell(text, metadata={"type": kind}))
    return result


def arrange(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The pieces that are shown, with the HTML `before` and `after` each that makes them slides."""
    shown = [cell for cell in cells if cell.metadata.type != "skip"]
    in_fragment = ""  # or what closes it
    title = ""
    for i, cell in enumerate(shown):
        kind = "slide" if i == 0 else cell.metadata.type
        heading = HEADING.match(cell.source) if cell.cell_type == "markdown" else None
        if heading:
            title = re.sub(r"^(\d+)\. ", r"\1\. ", heading[2])  # a number, but no list
        before = after = ""
        if kind in ("slide", "subslide"):
            if i:
                before = in_fragment + "</section>" + "</section>" * (kind == "slide")
            in_fragment = ""
            name = "page" if i else "title"
            before += "<section>" * (kind == "slide") + f'<section class="{name}">'
            if not heading:  # a quiet reminder of where we are
                before += f'<div class="section-name">{pages.html_of(title)}</div>'
        elif kind == "fragment":
            before, in_fragment = in_fragment + '<div class="fragment">', "</div>"
        elif kind == "notes":
            before, after = '<aside class="notes">', "</aside>"
        if i == len(shown) - 1:
            after += in_fragment + "</section></section>"
        cell.metadata.before, cell.metadata.after = before, after
    return shown


@cache
def reveal() -> dict[str, str]:
    """reveal.js and its style, from the package that brings them (importing it takes Sphinx)."""
    package = find_spec("sphinx_revealjs")
    if package is None:
        raise ModuleNotFoundError("reveal.js is missing: pip install -r requirements.txt")
    folder = Path(package.submodule_search_locations[0], "_static", "revealjs", "dist")
    script, *style = (
        folder.joinpath(name).read_text("utf-8")
        for name in ("reveal.js", "reset.css", "reveal.css")
    )
    return {"script": script, "style": "\n".join(style)}


def proportions(png: str) -> float:
    """Width over height of a PNG in base64. The browser lays out the slide before it has it."""
    width, height = struct.unpack(">II", base64.b64decode(png[:64])[16:24])
    return width / height


class Exporter(pages.Exporter):
    """Notebook to deck, by slides.html.j2 and slides.css."""

    def __init__(self):
        super().__init__("slides.html.j2", "slides.css")
        self.register_filter("proportions", proportions)

    def deck(self, notebook: NotebookNode) -> str:
        """The whole file."""
        resources = {
            "title": pages.title(notebook),
            "style": reveal()["style"] + self.style,
            "script": reveal()["script"],
        }
        pages.describe(notebook)
        notebook.cells = arrange(pieces(notebook))
        html = TemplateExporter.from_notebook_node(self, notebook, resources)[0]
        return re.sub(r'<a ([^>]*?)href="([^"]*)"([^>]*)>(.*?)</a>', _link, html, flags=re.S)


def _link(found: re.Match) -> str:
    """A link as the deck needs it: to another deck or out into the world, or none."""
    before, url, after, text = found.groups()
    if "anchor-link" in before + after:
        return ""
    if "://" not in url:
        url = url.split("#")[0]
        decks = {path.with_suffix(".html").name for path in lectures()}
        if url not in decks | {"index.html"}:
            return text  # solutions, glossary: not in a lecture
    return f'<a {before}href="{url}"{after}>{text}</a>'


def lectures() -> list[Path]:
    """The notebooks that become decks."""
    return [path for path in paths() if path.parent == pages.COURSE]


def build(path: Path, target: Path, execute: str) -> int:
    """Write one notebook's deck to `target`; the number of its slides."""
    deck = Exporter().deck(pages.read(path, execute))
    pages.write(target, deck)
    return len(re.findall(r'<section class="(?:title|page)">', deck))


def index(folder: Path) -> None:
    """A plain list of the decks."""
    books = {path: nbformat.read(path, as_version=4) for path in lectures()}
    rows = [f"- [{pages.title(book)}]({path.name})" for path, book in books.items()]
    keys = "Arrows step, Esc shows all slides, S the notes, F the whole screen, ? all keys."
    text = f"# Slides\n\nWhat is p(x|z) in a VAE? One deck for each notebook.\n\n{keys}\n\n"
    page = pages.Exporter().page(pages.of_markdown(text + "\n".join(rows)))
    tree = bs4.BeautifulSoup(page, "html.parser")
    for link in tree.select("body > nav, a.skip"):
        link.decompose()  # it leads to the site
    pages.write(folder / "index.html", str(tree))


def main() -> int:
    options = pages.asked("Write the notebooks as decks of slides.", ROOT / "slides")
    index(options.to)
    failed = 0
    for path in [path.resolve() for path in options.notebooks] or lectures():
        target = options.to / path.with_suffix(".html").name
        begun = time.monotonic()
        try:
            slides = build(path, target, options.execute)
            outcome = f"{slides} slides, {target.stat().st_size / 1e6:.1f} MB"
        except Exception as error:
            failed += 1
            outcome = "FAILED: " + in_one_line(error)
        print(f"{time.monotonic() - begun:6.1f} s  {target.name}  {outcome}", flush=True)
    print(f"The slides begin at {(options.to / 'index.html').resolve().as_uri()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
