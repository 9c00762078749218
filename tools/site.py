"""Write the course as a static web site: pages that need neither kernel nor network.

    python tools/site.py [--to FOLDER] [--execute none|widgets|all] [NOTEBOOK …]

is what `make site` does. A page shows the outputs that its notebook stores. Only the notebooks with
a DecoderLab or a PosteriorMicroscope are executed (their files stay as they are): these widgets run
in the page, with the weights in it. Named notebooks are built alone, beside the pages that exist.
"""

import argparse
import os
import re
import sys
import time
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import bs4
import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter, TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from notebooks import ROOT, in_one_line, normalize, paths, run

COURSE = ROOT / "notebooks"
WIDGETS = re.compile(r"\b(DecoderLab|PosteriorMicroscope)\(")
SPACE = "0.167em"  # TeX's thin space
MATHML = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", MATHML)


# What the library writes, and what browsers (MathML Core) need in its place.
BETTER = [
    # Names of functions are set apart as TeX does it, not as variables are.
    (
        r"(</m(?:i|n|frac|row|sub|sup|subsup|text|style)>|<mo[^>]*>(?:&#x00029;|\)|\])</mo>)"
        r"<mi>([a-z]{2,})</mi>",
        rf'\1<mspace width="{SPACE}"/><mi>\2</mi>',
    ),
    (
        r"<mi>([a-z]{2,})</mi>(?!<mo[^>]*>(?:&#x00028;|\(|\[)|</)",
        rf'<mo lspace="0" rspace="{SPACE}">\1</mo>',
    ),
    # A sign after another operator is a prefix, without the space of a difference.
    (
        r"(<mo[^>]*>(?:[=,;(\[]|&#x(?:0003D|02248|02264|02192|0002C|0003B|00028|0005B);)</mo>)"
        r"<mo>(&#x02212;|&#x0002B;)</mo>",
        r'\1<mo form="prefix">\2</mo>',
    ),
    # These are relations, not names; infinity is no operator; and these bars never grow.
    (r"<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"),
    (r"<mi>&#x027FA;</mi>", "<mo>&#x027FA;</mo>"),
    (r"<mo>&#x0221E;</mo>", "<mi>&#x0221E;</mi>"),
    (r"<mo>(&#x02223;|&#x02016;)</mo>", r'<mo stretchy="false">\1</mo>'),
    # Capital Greek letters stand upright.
    (r"<mi>(&#x003[9A][0-9A-F];)</mi>", r'<mi mathvariant="normal">\1</mi>'),
    # Chromium paints only a part of what it stretches sideways: an arrow is long from the start,
    # and a brace below (see `formula`) is drawn by style.css.
    (
        r"<mstyle[^>]*><mo>&#x2192;</mo></mstyle><mpadded[^>]*>(.*?)<mspace[^>]*/></mpadded>",
        r"<mo>&#x027F6;</mo><mrow>\1</mrow>",
    ),
]


def formula(tex: str, display: str) -> str:
    """MathML for a formula; `display` is "block" or "inline". Raises ValueError for bad TeX."""
    # Two spellings that the library does not know, as ones that it does.
    known = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", tex.strip())
    known = re.sub(r"\\mathbb\s+(\w)", r"\\mathbb{\1}", known)
    mathml = convert(known, display=display)
    for pattern, better in BETTER:
        mathml = re.sub(pattern, better, mathml)
    try:
        tree = ElementTree.fromstring(mathml)
    except ElementTree.ParseError as error:
        raise ValueError(f"no MathML for the formula {tex!r}: {error}") from None
    for node in tree.iter(f"{{{MATHML}}}munder"):
        if node[1].text == "\u23df":
            node.tag = f"{{{MATHML}}}mrow"
            node.set("class", "brace")
            del node[1]
    mathml = ElementTree.tostring(tree, encoding="unicode")
    if "\\" in mathml or "&amp;" in mathml:
        raise ValueError(f"a command that is not known in the formula {tex!r}")
    return mathml


def address(url: str) -> str:
    """Where a link of the notebooks leads on the site."""
    if "://" in url:
        return url
    url = re.sub(r"\.ipynb(?=#|$)", ".html", url)
    url = re.sub(r"README\.md(?=#|$)", "index.html", url)
    return "solutions/index.html" if url.rstrip("/") == "solutions" else url


class Renderer(IPythonRenderer):
    """Markdown to HTML with MathML for formulas and links that stay on the site."""

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, address(url), title)


def html_of(markdown: str) -> str:
    return MarkdownWithMath(renderer=Renderer(escape=False)).render(markdown)


class Exporter(HTMLExporter):
    """Notebook to page, by the template in tools/site."""

    def __init__(self):
        super().__init__(
            template_name="basic",
            extra_template_paths=[str(Path(__file__).with_name("site"))],
            template_file="page.html.j2",
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )
        self.register_filter("highlight_code", Highlight2HTML("ipython3", parent=self))
        style = Path(__file__).with_name("site").joinpath("style.css").read_text("utf-8")
        light, dark = (
            HtmlFormatter(style=name).get_style_defs(".highlight")
            for name in ("default", "github-dark")
        )
        self.style = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{style}"

    def markdown2html(self, context, source: str) -> str:
        return html_of(source)

    # nbconvert finds its filters by name and asks for the context by this mark.
    markdown2html.jinja_pass_arg = HTMLExporter.markdown2html.jinja_pass_arg

    def page(self, notebook: NotebookNode, home: str = "index.html") -> str:
        """The whole page, whose course map is at `home`."""
        resources = {"title": title(notebook), "style": self.style, "home": home}
        # HTMLExporter's own method takes the finished page apart once more, for seconds.
        return TemplateExporter.from_notebook_node(self, notebook, resources)[0]


def title(notebook: NotebookNode) -> str:
    """The first heading."""
    text = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.search(r"^# (.*)", text, re.MULTILINE)[1]


def of_markdown(text: str) -> NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])


def course_map() -> str:
    """The notebooks' README as a page, on which the name of a section leads to the section."""
    tree = bs4.BeautifulSoup(
        Exporter().page(of_markdown((COURSE / "README.md").read_text("utf-8"))), "html.parser"
    )
    for row in tree.select("tr:has(> td:nth-child(3))"):
        books = [link["href"] for link in row.select("td:nth-child(2) a")]
        names = row.select_one("td:nth-child(3)")
        texts = names.get_text().split("; ")
        # One section a notebook, or several of a single one.
        books = books if len(books) > 1 else books * len(texts)
        names.clear()
        for book, text in zip(books, texts, strict=True):
            link = tree.new_tag("a", href=f"{book}#{section(book, text)}")
            link.string = text
            names.extend(["; ", link] if names.contents else [link])
    return str(tree)


def section(book: str, text: str) -> str:
    """The id of the heading on a notebook's page that begins with these words."""
    for heading, name in headings(book.replace(".html", ".ipynb")):
        if plain(heading).startswith(plain(text)):
            return name
    raise ValueError(f"no section {text!r} in {book}, to which the README's table leads")


@cache
def headings(book: str) -> list[tuple[str, str]]:
    """The text and the id of each heading on a notebook's page."""
    cells = nbformat.read(COURSE / book, as_version=4).cells
    source = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    tree = bs4.BeautifulSoup(html_of(source), "html.parser")
    return [(heading.get_text(), heading["id"]) for heading in tree.select("h1, h2, h3, h4")]


def plain(text: str) -> str:
    """A heading's letters: neither numbers in front nor the kind of quotes and stars."""
    return re.sub(r"^\d+\. |\W", "", text)


def solutions() -> str:
    """A list of the solutions, which in the repository is the folder's own."""
    books = {path: nbformat.read(path, as_version=4) for path in COURSE.glob("solutions/*.ipynb")}
    rows = [f"- [{title(books[path])}]({path.name})" for path in sorted(books)]
    text = "# Solutions\n\n[The course](../README.md)\n\n" + "\n".join(rows)
    return Exporter().page(of_markdown(text), home="../index.html")


def build(path: Path, target: Path, execute: str) -> None:
    """Write one notebook's page to `target`."""
    notebook = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    if execute == "all" or (execute == "widgets" and WIDGETS.search(code)):
        notebook = run(path)
    normalize(notebook)
    home = "index.html" if target.parent.name != "solutions" else "../index.html"
    write(target, Exporter().page(notebook, home))


def write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the course as a static web site.")
    parser.add_argument("--to", type=Path, default=ROOT / "site", metavar="FOLDER")
    parser.add_argument("--execute", choices=["none", "widgets", "all"], default="widgets")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    options = parser.parse_args()

    os.environ["VAE_EDU_STATIC"] = "1"  # kernels inherit it: see vae_edu/lab.py
    write(options.to / "index.html", course_map())
    write(options.to / "solutions" / "index.html", solutions())
    failed = 0
    for path in [path.resolve() for path in options.notebooks] or paths():
        inside = path.relative_to(COURSE) if path.is_relative_to(COURSE) else Path(path.name)
        target = options.to / inside.with_suffix(".html")
        begun = time.monotonic()
        try:
            build(path, target, options.execute)
            outcome = f"{target.stat().st_size / 1e6:.1f} MB"
        except Exception as error:
            failed += 1
            outcome = "FAILED: " + in_one_line(error)
        print(
            f"{time.monotonic() - begun:6.1f} s  {inside.with_suffix('.html')}  {outcome}",
            flush=True,
        )
    print(f"The site begins at {(options.to / 'index.html').resolve().as_uri()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
