"""The static site's building blocks: addresses, anchors, and words for formulas and pictures."""

import bs4
import pages
import pytest


@pytest.mark.parametrize(
    ("folder", "url", "goal"),
    [
        (".", "README.md", "index.html"),
        (".", "02_likelihood.ipynb#a-b", "02_likelihood.html#a-b"),
        (".", "GLOSSARY.md#β-vae", "glossary.html#β-vae"),
        (".", "INSTRUCTOR.md", "instructor.html"),
        (".", "solutions", "solutions/index.html"),
        (".", "solutions/", "solutions/index.html"),
        (".", "#elbo", "#elbo"),
        (".", "https://example.org/README.md", "https://example.org/README.md"),
        (".", "../README.md", None),
        (".", "../LICENSE", None),
        ("solutions", "../README.md", "../index.html"),
        ("solutions", "../GLOSSARY.md#elbo", "../glossary.html#elbo"),
        ("solutions", "../01_prior.ipynb", "../01_prior.html"),
        ("solutions", "01_prior.ipynb", "01_prior.html"),
        ("../binder", "../notebooks/INSTRUCTOR.md#x", "instructor.html#x"),
        ("../binder", "../notebooks/01_prior.ipynb", "01_prior.html"),
    ],
)
def test_a_link_of_the_texts_leads_to_a_page(folder, url, goal):
    base = (pages.COURSE / folder).resolve()
    assert pages.address(url, base) == goal


def test_a_link_out_of_the_site_is_plain_text():
    assert pages.html_of("see [the *README*](../README.md)") == "<p>see the <em>README</em></p>\n"


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("β-VAE", "β-vae"),
        ("Jensen's inequality", "jensens-inequality"),
        ("1. Before the lecture", "1-before-the-lecture"),
        ("The half in exp(½ log σ²)", "the-half-in-exp-log-σ"),
        ("a_b – c", "a_b--c"),
    ],
)
def test_anchors_are_those_of_github(heading, anchor):
    assert pages.slug(heading) == anchor
    assert f'id="{anchor}"' in pages.html_of(f"## {heading}")


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"p(x \mid z)", "p(x | z)"),
        (r"\sigma^2 = \frac{a + b}{2}", "σ^2 = (a + b)/2"),
        (r"-\log p(x)", "− log p(x)"),
        (r"\mathrm{KL}(q \,\|\, p)", "KL(q ‖ p)"),
        (r"\sqrt{2\pi}", "√(2π)"),
    ],
)
def test_a_formula_as_text(tex, text):
    tree = bs4.BeautifulSoup(pages.formula(tex, "inline"), "html.parser")
    assert pages.words(tree) == text


BELOW = (
    "*What to see / try: the curve of $\\sigma^2$. It climbs (**here**). Then it\nends.*\n\n## Next"
)


@pytest.mark.parametrize(
    ("printed", "below", "words"),
    [
        ("LiveFigure: a dot", BELOW, "a dot"),
        (
            "<Figure size 1x1 with 1 Axes>",
            BELOW,
            "The curve of σ^2. It climbs (here). Then it ends.",
        ),
        ("<Figure size 1x1 with 1 Axes>", "Well.", "A picture for the section: The bell of x"),
        (
            "DecoderLab: a, b",
            BELOW,
            "A still picture of the DecoderLab, which holds the models a, b",
        ),
    ],
)
def test_the_words_of_a_picture(printed, below, words):
    assert pages.alt(printed, below, "The *bell* of $x$") == words


def test_the_search_has_every_section_but_no_answers():
    text = """# One\nA $\\sigma$.\n\n## Two & three\n\nAsk.\n
<details><summary>A. No.</summary>\n\n**Right.**\n\n</details>\n
| a | b |\n|---|---|\n| c | d |\n"""
    assert pages.sections(text) == [
        ("One", "one", "A σ."),
        ("Two & three", "two--three", "Ask. a b c d"),
    ]


def test_the_bar_names_every_notebook_in_order():
    assert list(pages.names()) == [path.stem for path in sorted(pages.COURSE.glob("*.ipynb"))]
