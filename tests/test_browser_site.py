"""The static site as a reader without kernel and network meets it, in a real browser."""

import re
from urllib.parse import unquote, urldefrag, urljoin

import bs4
import nbformat
import numpy as np
import pytest
import torch
from browser import ROOT, Reader, run_tool

from vae_edu import pretrained

WIDGETS = """
from vae_edu import data, pretrained
from vae_edu.widgets import DecoderLab, LiveFigure, PosteriorMicroscope
images = data.load("digits")
vaes = {family: pretrained.load(family, images) for family in ("gaussian", "bernoulli")}
lab = DecoderLab(vaes, images)
lab
"""
FIGURE = """
from matplotlib.figure import Figure
def draw(k):
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, k])
    return figure
LiveFigure(draw, "a line to k", k=(0, 4, 1))
"""
MARKDOWN = r"""# Widgets & formulas
A function $\log p(x \mid z)$, code `$x$`, and [the likelihood](02_likelihood.ipynb).
```
$$ not a formula $$
```
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The whole course with its stored outputs, and one more notebook that is executed."""
    here = tmp_path_factory.mktemp("site")
    cells = [nbformat.v4.new_markdown_cell(MARKDOWN)]
    cells += [nbformat.v4.new_code_cell(c) for c in (WIDGETS, "PosteriorMicroscope(vaes, images)")]
    cells.append(nbformat.v4.new_code_cell(FIGURE))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), here / "widgets.ipynb")
    run_tool("pages", "--to", here / "site", "--execute", "none")
    run_tool("pages", "--to", here / "site", here / "widgets.ipynb")
    return here / "site"


@pytest.fixture(params=["light", "dark"])
def reader(request, chromium):
    width = 1280 if request.param == "light" else 390  # the dark one is a phone
    size = {"width": width, "height": 850}
    with chromium.new_page(viewport=size, color_scheme=request.param) as page:
        reader = Reader(page)
        yield reader
        assert reader.said == []


@torch.no_grad()
def test_the_lab_is_alive(folder, reader, digits):
    page = reader.open(folder / "widgets.html")
    lab = page.get_by_role("group", name="Decoder lab")
    lab.get_by_role("radio", name="bernoulli").click()
    plane = lab.locator(".vae-plane")
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.up()
    z = lab.locator("xpath=..").evaluate("host => host.state.get('z')")
    assert 0 < z[0] < 2 and 0 < z[1] < 2
    shown = lab.locator(".vae-pictures canvas").first.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    expected = 255 * pretrained.load("bernoulli", digits).mean_image(torch.tensor(z))
    np.testing.assert_allclose(shown[::4], expected, atol=0.51 + 1e-3)
    page.wait_for_selector("[aria-label='Posterior microscope'][aria-busy=false]")


def test_a_live_figure_is_a_picture_with_words(folder, reader):
    page = reader.open(folder / "widgets.html")
    picture = page.get_by_role("img", name="a line to k")
    assert picture.evaluate("img => img.decode().then(() => img.naturalWidth)") > 100
    assert "in the notebook itself" in page.locator("figure", has=picture).inner_text()


def test_code_is_no_formula(folder, reader):
    page = reader.open(folder / "widgets.html")
    assert page.locator("math").count() == 1
    assert page.locator("p code").inner_text() == "$x$"
    assert "$$ not a formula $$" in page.locator("pre").first.inner_text()


NOTEBOOKS = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
PAGES = ["index", "glossary", "instructor", "class", *NOTEBOOKS]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_shows_its_formulas_and_pictures(folder, reader, name):
    page = reader.open(folder / f"{name}.html")
    text = page.evaluate(
        """() => {
          for (const code of document.querySelectorAll('pre, code')) code.remove();
          return document.body.innerText;
        }"""
    )
    assert re.findall(r"\$\$|\\[a-z]+|\$[^$\s]+\$", text) == []
    assert page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth)") == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "too wide"
    assert page.locator("script[type*=widget], [data-mime-type*=widget]").count() == 0


def search(page, words):
    """What is said, and the headings that are found, for words typed where the link leads."""
    page.get_by_role("link", name="Search").press("Enter")
    page.wait_for_function("document.activeElement?.id === 'search'")  # there, and ready for words
    page.keyboard.press("Control+A")
    page.keyboard.type(words)
    return page.get_by_role("status").inner_text(), page.locator("#hits a").all_inner_texts()


def test_a_search_by_keyboard_leads_to_the_section(folder, reader):
    page = reader.open(folder / "02_likelihood.html")
    said, headings = search(page, "Posterior  collapse")
    assert said == f"{len(headings)} sections found"
    assert headings[:2] == ["Posterior collapse", "1. Posterior collapse: the pictures look fine"]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/09_pitfalls.html#*")
    heading = page.get_by_role("heading", name=headings[1])
    assert 0 <= heading.bounding_box()["y"] < 100
    page.go_back()
    page.wait_for_selector("#hits a")  # what was typed is still there
    assert page.locator("#hits a").all_inner_texts() == headings


def test_a_search_knows_letters_by_name_and_words_by_their_beginnings(folder, reader):
    page = reader.open(folder / "index.html")
    said, headings = search(page, "sigma")
    assert int(said.split()[0]) >= len(headings) > 5
    assert all("σ" in heading for heading in headings[:5])
    assert page.locator("#hits li:first-child mark").first.inner_text() != ""
    assert search(page, "SIGMA") == search(page, "σ") == (said, headings)
    assert search(page, "jénsen")[1][0] == "Jensen's inequality"
    assert search(page, "repar tri")[1][0] == "Reparameterization trick"
    assert search(page, "xyzzy") == ("No sections found", [])
    assert search(page, "<b>") != ("", []) and page.locator("#hits b").count() == 0
    assert search(page, " ") == ("", [])


def test_enter_goes_from_the_words_to_the_first_hit(folder, reader):
    page = reader.open(folder / "index.html")
    _, headings = search(page, "jensen")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.innerText") == headings[0]


def test_a_self_check_opens_by_keyboard(folder, reader):
    page = reader.open(folder / "09_pitfalls.html")
    answer = page.locator("details", has_text="A learned σ")
    page.locator("summary").nth(1).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert answer.locator("strong", has_text="Right.").is_visible()
    style = answer.locator("summary").evaluate("s => getComputedStyle(s).outlineStyle")
    assert style == "solid"


def test_the_first_tab_skips_the_navigation(folder, reader):
    page = reader.open(folder / "01_prior.html")
    page.keyboard.press("Tab")
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.localName") == "main"


@pytest.fixture(scope="module")
def trees(folder):
    return {
        path.relative_to(folder).as_posix(): bs4.BeautifulSoup(
            path.read_text("utf-8"), "html.parser"
        )
        for path in folder.rglob("*.html")
    }


def test_next_and_previous_make_a_chain(trees):
    chain = [f"{name}.html" for name in NOTEBOOKS]
    for here, before, after in zip(chain, [None, *chain], [*chain[1:], None], strict=False):
        nav = trees[here].nav
        found = [nav.select_one(f"[rel~={kind}]") for kind in ("prev", "next")]
        assert [link and link["href"] for link in found] == [before, after]
        assert {"index.html", "glossary.html", "index.html#search"} <= {
            link["href"] for link in nav.select("a")
        }
        back = trees[f"solutions/{here}"].nav.select_one("[rel~=up]")
        assert back["href"] == f"../{here}"


def test_every_page_says_where_one_is(trees):
    for name, tree in trees.items():
        current = tree.select("nav [aria-current=page]")
        assert [link["href"].rsplit("/")[-1] for link in current] == [name.rsplit("/")[-1]], name
        assert tree.select_one("body > a[href='#main']") and len(tree.select("main#main")) == 1
        ids = [node["id"] for node in tree.select("[id]")]
        assert len(ids) == len(set(ids)), name


def test_every_picture_has_words(trees):
    pictures = [
        (name, image.get("alt", "")) for name in trees for image in trees[name].select("img")
    ]
    silent = [(name, alt) for name, alt in pictures if not re.match(r"\w.{9}", alt)]
    assert len(pictures) > 50 and silent == []
    assert [alt for _, alt in pictures if re.search(r"Figure|Lab:|[$\\]", alt)] == []


def test_the_map_tells_the_minutes(trees):
    rows = trees["index.html"].table.select("tr:has(a)")
    assert len(rows) == len(NOTEBOOKS)
    assert all(5 <= int(row.select("td")[-1].get_text()) <= 60 for row in rows)


def test_every_link_leads_to_a_place(folder, trees):
    trees = {(folder / name).as_uri(): tree for name, tree in trees.items()}
    ids = {url: {node["id"] for node in tree.select("[id]")} for url, tree in trees.items()}
    lost = []
    for url, tree in trees.items():
        for link in tree.select("a[href]"):
            goal, anchor = urldefrag(urljoin(url, link["href"]))
            found = goal in ids and (not anchor or {anchor, unquote(anchor)} & ids[goal])
            if goal.startswith("file:") and not found:
                lost.append((url.rsplit("/", 1)[1], link["href"]))
    assert len(trees) > 10 and lost == []
