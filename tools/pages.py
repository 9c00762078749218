"""Write the course as a static web site: pages that need neither kernel nor network.

    python tools/pages.py [--to FOLDER] [--execute none|widgets|all] [NOTEBOOK …]

is what `make site` does. A page shows the outputs that its notebook stores. Only the notebooks with
a DecoderLab or a PosteriorMicroscope are executed (their files stay as they are): these widgets run
in the page, with the weights in it. Named notebooks are built alone, beside the pages that exist.
"""

import argparse
import json
import os
import re
import sys
import time
import unicodedata
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urldefrag
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
ASSETS = Path(__file__).with_name("site")
# The pages beside the notebooks, in the order of the navigation bar, and their names in it.
PAGES = {
    "index.html": (COURSE / "README.md", "Course map"),
    "glossary.html": (COURSE / "GLOSSARY.md", "Glossary"),
    "instructor.html": (COURSE / "INSTRUCTOR.md", "For instructors"),
    "class.html": (ROOT / "binder" / "README.md", "A class"),
}
WIDGETS = re.compile(r"\b(DecoderLab|PosteriorMicroscope)\(")
LIVE = ("LiveFigure", "TrainingDashboard")  # what moves in the notebook and stands still here
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


def address(url: str, folder: Path = COURSE) -> str | None:
    """Where a link in a text of this folder leads on the site; None if to nothing of the site."""
    path, anchor = urldefrag(url)
    if "://" in url or not path:
        return url
    file = Path(os.path.normpath(folder / unquote(path)))
    pages = {source: page for page, (source, _) in PAGES.items() if source.exists()}
    if file in pages:
        page = PurePosixPath(pages[file])
    elif file == COURSE / "solutions":
        page = PurePosixPath("solutions/index.html")
    elif file.is_relative_to(COURSE) and file.suffix == ".ipynb":
        page = PurePosixPath(file.relative_to(COURSE).as_posix()).with_suffix(".html")
    else:
        return None
    up = "../" if folder.name == "solutions" else ""
    if up and page.parts[0] == "solutions":
        up, page = "", page.relative_to("solutions")
    return f"{up}{page}#{anchor}" if anchor else f"{up}{page}"


def slug(heading: str) -> str:
    """The anchor of a heading, by GitHub's rule: one link serves both there and here."""
    # Letters, marks, digits and "_" stay, but neither ² nor ½.
    kept = re.compile("L.|M.|Nd|Pc")
    letters = (c for c in heading.lower() if c in " -" or kept.match(unicodedata.category(c)))
    return "".join(letters).replace(" ", "-")


class Renderer(IPythonRenderer):
    """Markdown to HTML with MathML for formulas and links that stay on the site."""

    def __init__(self, folder: Path = COURSE):
        super().__init__(escape=False)
        self.folder = folder  # where the text is, from which its links lead

    def block_math(self, body: str) -> str:
        return formula(body, "block")

    def inline_math(self, body: str) -> str:
        return formula(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        goal = address(url, self.folder)
        return text if goal is None else super().link(text, goal, title)

    def heading(self, text: str, level: int, **attrs) -> str:
        name = slug(words(bs4.BeautifulSoup(text, "html.parser")))
        link = f'<a class="anchor-link" href="#{name}">{self.anchor_link_text}</a>'
        return f'<h{level} id="{name}">{text}{link}</h{level}>\n'


def html_of(markdown: str, folder: Path = COURSE) -> str:
    return MarkdownWithMath(renderer=Renderer(folder)).render(markdown)


def words(html: bs4.Tag) -> str:
    """The text of a piece of a page, with formulas as one would type them. Changes `html`."""
    for math in html.select("math"):
        math.replace_with(typed(math))
    for block in html.select("td, th, li, p, br, div"):
        block.append(" ")
    return " ".join(html.get_text().split())


def typed(math: bs4.Tag) -> str:
    """A formula as a line of text: σ^2, p(x | z), a/b."""
    parts = [typed(child) for child in math.find_all(True, recursive=False)]
    match math.name, parts:
        case "msup" | "mover", [base, power]:
            return f"{base}^{power}"
        case "msub" | "munder", [base, index]:
            return f"{base}_{index}"
        case "msubsup" | "munderover", [base, index, power]:
            return f"{base}_{index}^{power}"
        case "mfrac", [above, below]:
            return f"{grouped(above)}/{grouped(below)}"
        case "msqrt", _:
            return f"√({''.join(parts)})"
        case "mspace" | "mtr", _:
            return " ".join(["", *parts, ""])
    text = "".join(parts) if parts else math.get_text().strip()
    apart = math.name in ("mi", "mo") and (len(text) > 1 or text in "=≈∼∝→⟶≤≥<>+∣‖")
    return f" {text} ".replace("∣", "|") if apart else text


def grouped(text: str) -> str:
    """In brackets, unless a single number or name."""
    return text if re.fullmatch(r"\s*\w*\s*", text) else f"({text.strip()})"


class Exporter(HTMLExporter):
    """Notebook to page, by the template and the style in tools/site."""

    def __init__(self, template: str = "page.html.j2", style: str = "style.css"):
        super().__init__(
            template_name="basic",
            extra_template_paths=[str(ASSETS)],
            template_file=template,
            exclude_input_prompt=True,
            exclude_output_prompt=True,
        )
        self.register_filter("highlight_code", Highlight2HTML("ipython3", parent=self))
        style = (ASSETS / style).read_text("utf-8")
        light, dark = (
            HtmlFormatter(style=name).get_style_defs(".highlight")
            for name in ("default", "github-dark")
        )
        self.style = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{style}"

    def markdown2html(self, context, source: str) -> str:
        return html_of(source, context["resources"].get("folder", COURSE))

    # nbconvert finds its filters by name and asks for the context by this mark.
    markdown2html.jinja_pass_arg = HTMLExporter.markdown2html.jinja_pass_arg

    def page(self, notebook: NotebookNode, home: str = "index.html", here: str = "") -> str:
        """The whole page `here` (its address from the site's root), whose course map is at `home`.

        The pictures' words are noted in `notebook`.
        """
        describe(notebook)
        source = PAGES[here][0] if here in PAGES else COURSE / (here or "index.html")
        resources = {"title": title(notebook), "style": self.style}
        resources["folder"] = source.parent
        resources["root"] = home.removesuffix("index.html")
        resources["pages"], resources["chain"] = navigation(here, resources["title"])
        # HTMLExporter's own method takes the finished page apart once more, for seconds.
        return TemplateExporter.from_notebook_node(self, notebook, resources)[0]


class Link(NamedTuple):
    """A link of the navigation bar."""

    url: str  # from the site's root
    text: str
    relation: str = ""  # HTML's rel: prev, next, up
    current: bool = False


def navigation(here: str, name: str) -> tuple[list[Link], list[Link]]:
    """The links to the pages that stand alone, and those along the course, from the page `here`.

    `name` is what it is called if it is none of the course's.
    """
    pages = [
        Link(page, text, current=page == here)
        for page, (_, text) in PAGES.items()
        if page != "class.html" or page == here  # the instructor's guide leads there
    ]
    pages.append(Link("index.html#search", "Search"))
    if here in PAGES:
        return pages, []
    course = [(f"{stem}.html", text) for stem, text in names().items()]
    urls = [url for url, _ in course]
    book = here.removeprefix("solutions/")
    if here not in urls:
        back = [Link(book, f"← {dict(course)[book]}", "up")] if book in urls else []
        return pages, [*back, Link(here, "Solutions" if back else name, current=True)]
    i = urls.index(here)
    chain = [Link(*course[i], current=True)]
    if i > 0:
        chain.insert(0, Link(urls[i - 1], f"← {course[i - 1][1]}", "prev"))
    if i < len(urls) - 1:
        chain.append(Link(urls[i + 1], f"{course[i + 1][1]} →", "next"))
    return pages, chain


@cache
def names() -> dict[str, str]:
    """The notebooks' short names in the order of the course, by the README's first table."""
    text = PAGES["index.html"][0].read_text("utf-8")
    rows = re.findall(r"^\| \[(\d\d .*?)\]\((\w+)\.ipynb\)", text, re.MULTILINE)
    return {stem: name for name, stem in rows}


def describe(notebook: NotebookNode) -> None:
    """Note for each picture its words, as `alt` in the output's metadata."""
    heading, cells = title(notebook), notebook.cells
    for i, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.*)", cell.source, re.MULTILINE) or [heading])[-1]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                after = (c.source for c in cells[i + 1 :] if c.cell_type == "markdown")
                printed = output.data.get("text/plain", "")
                output.metadata["alt"] = alt(printed, next(after, ""), heading)


def alt(printed: str, after: str, heading: str) -> str:
    """A picture's words: its own, or what the text below says one sees, or else the heading's."""
    kind, _, own = printed.partition(": ")
    if kind in LIVE:
        return own
    if kind in ("DecoderLab", "PosteriorMicroscope"):
        return f"A still picture of the {kind}, which holds the models {own}"
    if not after.startswith("*What to see"):
        return "A picture for the section: " + plain_text(heading)
    text = plain_text(after.split("\n\n")[0])
    first, *more = re.split(r"(?<=[.!?]) (?=\(?[A-Z])", re.sub(r"^What to see[^:]*: *", "", text))
    while len(first) < 80 and more:  # "The two part." would tell too little
        first += " " + more.pop(0)
    return first[0].upper() + first[1:] if first[1].isalpha() else first  # but q is not Q


def plain_text(markdown: str) -> str:
    return words(bs4.BeautifulSoup(html_of(markdown), "html.parser")).replace("¶", "").strip()


def title(notebook: NotebookNode) -> str:
    """The first heading."""
    text = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.search(r"^# (.*)", text, re.MULTILINE)[1]


def of_markdown(text: str) -> NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])


def course_map() -> str:
    """The notebooks' README as a page, with the search, the minutes, and links to the sections."""
    tree = bs4.BeautifulSoup(page_of("index.html"), "html.parser")
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
    table = tree.select_one("table")
    for row in table.select("tr"):
        link = row.select_one("a")
        cell = tree.new_tag("td" if link else "th")
        cell.string = minutes(link["href"]) if link else "minutes to read"
        row.append(cell)
    index = json.dumps(search_index(), ensure_ascii=False, separators=(",", ":"))
    form = (ASSETS / "search.html").read_text("utf-8")
    form = form.replace("SECTIONS", index.replace("</", r"<\/"))
    form = form.replace("SCRIPT", (ASSETS / "search.js").read_text("utf-8"))
    tree.select_one("h1").insert_after(bs4.BeautifulSoup(form, "html.parser"))
    return str(tree)


def page_of(name: str) -> str:
    """One of PAGES, from its Markdown."""
    return Exporter().page(of_markdown(PAGES[name][0].read_text("utf-8")), here=name)


def minutes(page: str) -> str:
    """How long the notebook of this page takes to read, by its first cell."""
    cells = nbformat.read(COURSE / page.replace(".html", ".ipynb"), as_version=4).cells
    found = re.search(r"about (\d+) minutes to read", cells[0].source)
    if not found:
        raise ValueError(f"the first cell of {page} does not say “about N minutes to read”")
    return found[1]


def search_index() -> list[list[str]]:
    """What is searched, the sections of notebooks and glossary: address, page, heading, text."""
    texts = {"glossary.html": ("Glossary", PAGES["glossary.html"][0].read_text("utf-8"))}
    texts |= {f"{stem}.html": (name, prose(f"{stem}.ipynb")) for stem, name in names().items()}
    return [
        [f"{page}#{anchor}", name, heading, text]
        for page, (name, source) in texts.items()
        for heading, anchor, text in sections(source)
    ]


def sections(markdown: str) -> list[tuple[str, str, str]]:
    """Heading, anchor and text of each section, without the answers of the self-checks."""
    tree = bs4.BeautifulSoup(html_of(markdown), "html.parser")
    for node in tree.select("details, .anchor-link"):
        node.decompose()
    found: list[tuple[str, str, str]] = []
    for node in tree.find_all(True, recursive=False):
        if node.name in ("h1", "h2", "h3", "h4"):
            found.append((words(node), node["id"], ""))
        elif found:
            heading, anchor, text = found[-1]
            found[-1] = heading, anchor, f"{text} {words(node)}".strip()
    return found


def section(book: str, text: str) -> str:
    """The id of the heading on a notebook's page that begins with these words."""
    for heading, name in headings(book.replace(".html", ".ipynb")):
        if plain(heading).startswith(plain(text)):
            return name
    raise ValueError(f"no section {text!r} in {book}, to which the README's table leads")


@cache
def headings(book: str) -> list[tuple[str, str]]:
    """The text and the id of each heading on a notebook's page."""
    return [(heading, anchor) for heading, anchor, _ in sections(prose(book))]


def prose(book: str) -> str:
    """All that a notebook has in Markdown."""
    cells = nbformat.read(COURSE / book, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def plain(text: str) -> str:
    """A heading's letters: neither numbers in front nor the kind of quotes and stars."""
    return re.sub(r"^\d+\. |\W", "", text)


def solutions() -> str:
    """A list of the solutions, which in the repository is the folder's own."""
    books = {path: nbformat.read(path, as_version=4) for path in COURSE.glob("solutions/*.ipynb")}
    rows = [f"- [{title(books[path])}]({path.name})" for path in sorted(books)]
    text = "# Solutions\n\n[The course](../README.md)\n\n" + "\n".join(rows)
    return Exporter().page(of_markdown(text), "../index.html", "solutions/index.html")


def read(path: Path, execute: str) -> NotebookNode:
    """The notebook, executed if it is to be ("all", or with "widgets" if it shows one)."""
    notebook = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    if execute == "all" or (execute == "widgets" and WIDGETS.search(code)):
        notebook = run(path)
    normalize(notebook)
    return notebook


def build(path: Path, target: Path, execute: str) -> None:
    """Write one notebook's page to `target`."""
    notebook = read(path, execute)
    solution = target.parent.name == "solutions"
    home, here = (
        ("../index.html", f"solutions/{target.name}") if solution else ("index.html", target.name)
    )
    write(target, Exporter().page(notebook, home, here))


def write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")


def asked(what: str, folder: Path) -> argparse.Namespace:
    """What is asked on the command line, of this tool and of slides.py."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--to", type=Path, default=folder, metavar="FOLDER")
    parser.add_argument("--execute", choices=["none", "widgets", "all"], default="widgets")
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    os.environ["VAE_EDU_STATIC"] = "1"  # kernels inherit it: see vae_edu/lab.py
    return parser.parse_args()


def main() -> int:
    options = asked("Write the course as a static web site.", ROOT / "site")
    write(options.to / "index.html", course_map())
    for name, (source, _) in PAGES.items():
        if name != "index.html" and source.exists():
            write(options.to / name, page_of(name))
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
