"""The decks as a lecturer without kernel and network meets them, in a real browser."""

import pytest
from browser import ROOT, Reader, run_tool

DECKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
WIDTH, HEIGHT = 1280, 720
# Every slide in turn, with all of its fragments: how much it is too high and too wide.
ROUND = """async () => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const found = [];
  for (const slide of Reveal.getSlides()) {
    const { h, v } = Reveal.getIndices(slide);
    Reveal.slide(h, v, 99);
    await painted();
    const hidden = [...slide.querySelectorAll(".fragment:not(.visible)")].length;
    const wide = [...slide.querySelectorAll("figure, pre, p, table, .vae-widget")].some(
      (node) => node.getBoundingClientRect().right > slide.getBoundingClientRect().right + 1,
    );
    found.push({
      name: slide.innerText.slice(0, 60),
      high: slide.scrollHeight - slide.clientHeight,
      wide: slide.scrollWidth > slide.clientWidth || wide,
      share: Math.max(0, ...[...slide.querySelectorAll(".picture img")].map(
        (img) => img.getBoundingClientRect().height / innerHeight)),
      small: Math.min(99, ...[...slide.querySelectorAll(
        ":scope p:not(.vae-widget *, .section-name *, :has(math[display])), :scope li")].map(
        (text) => parseFloat(getComputedStyle(text).fontSize))),
      hidden,
    });
  }
  return found;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All decks with their stored outputs, but the first with its lab alive."""
    here = tmp_path_factory.mktemp("slides")
    run_tool("slides", "--to", here, "--execute", "none")
    run_tool("slides", "--to", here, ROOT / "notebooks" / "00_start_here.ipynb")
    return here


class Lecturer(Reader):
    """A deck on the wall, with the network off."""

    def __init__(self, page, folder):
        super().__init__(page)
        self.folder = folder

    def open(self, name):
        super().open(self.folder / f"{name}.html")
        self.page.wait_for_selector(".reveal.ready")
        return self.page

    def turn_to(self, selector):
        """Show the slide that holds the first such element."""
        self.page.evaluate(
            """(selector) => {
              const slide = document.querySelector(selector).closest("section");
              const { h, v } = Reveal.getIndices(slide);
              Reveal.slide(h, v, 99);
            }""",
            selector,
        )
        return self.page.locator(f"section.present section.present {selector}").first

    @property
    def place(self):
        return self.page.evaluate("(({ h, v, f }) => [h, v, f])(Reveal.getIndices())")


@pytest.fixture(params=["light", "dark"])
def lecturer(request, chromium, folder):
    # The dark one on a wall of another size, to which reveal.js scales the slide.
    size = (WIDTH, HEIGHT) if request.param == "light" else (1600, 1000)
    viewport = {"width": size[0], "height": size[1]}
    with chromium.new_page(viewport=viewport, color_scheme=request.param) as page:
        lecturer = Lecturer(page, folder)
        yield lecturer
        assert lecturer.said == []


@pytest.mark.parametrize("lecturer", ["light"], indirect=True)
@pytest.mark.parametrize("name", DECKS)
def test_slides_fit(lecturer, name):
    page = lecturer.open(name)
    assert page.evaluate("Promise.all([...document.images].map(i => i.decode())).then(() => true)")
    found = page.evaluate(ROUND)
    assert [slide["name"] for slide in found if slide["wide"]] == []
    assert [slide["name"] for slide in found if slide["hidden"]] == []
    assert [slide["name"] for slide in found if slide["share"] > 0.605] == []
    assert [slide["name"] for slide in found if slide["small"] < 26] == []
    scroll = [(slide["name"], slide["high"]) for slide in found if slide["high"] > 0]
    assert len(scroll) <= 0.1 * len(found), scroll


def test_the_arrow_leads_through_the_whole_deck(lecturer):
    page = lecturer.open("00_start_here")
    seen = [lecturer.place]
    for _ in range(100):
        page.keyboard.press("ArrowRight")
        if lecturer.place == seen[-1]:
            break
        seen.append(lecturer.place)
    slides = {tuple(place[:2]) for place in seen}
    assert len(slides) == page.evaluate("Reveal.getTotalSlides()") and page.evaluate(
        "Reveal.isLastSlide()"
    )


def test_the_lab_keeps_its_keys_and_drags(lecturer):
    page = lecturer.open("00_start_here")
    plane = lecturer.turn_to(".vae-plane")
    lab = page.locator("[aria-label='Decoder lab']")
    here = lecturer.place

    def z():
        return lab.locator("xpath=..").evaluate("host => host.state.get('z')")

    box = plane.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.up()
    dragged = z()
    reach = 3.5  # of the plane at most; 10 % of its width is 0.7
    assert all(0 < value <= 0.25 * reach for value in dragged)
    plane.focus()
    for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    assert z()[0] > dragged[0] and z()[1] > dragged[1]
    for key in ("n", "2", " ", "Escape"):
        page.keyboard.press(key)
    assert lecturer.place == here and not page.evaluate("Reveal.isOverview()")
    assert lab.get_by_role("radio", name="gaussian-full").get_attribute("aria-checked") == "true"
    page.mouse.click(10, 10)  # beside the lab
    page.keyboard.press("ArrowRight")
    assert lecturer.place != here


def test_an_answer_opens_by_keyboard_and_arrows_go_on(lecturer):
    page = lecturer.open("02_likelihood")
    lecturer.turn_to("details:not(.code)")
    here = lecturer.place
    answers = page.locator("section.present section.present details:not(.code)")
    for i, key in enumerate(["Enter", "Space"]):
        answers.nth(i).locator("summary").focus()
        page.keyboard.press(key)
        assert answers.nth(i).get_attribute("open") is not None and lecturer.place == here
    page.keyboard.press("ArrowRight")
    assert lecturer.place != here


def test_notes_show_on_a_key(lecturer):
    page = lecturer.open("00_start_here")
    lecturer.turn_to("aside.notes")
    assert not page.locator(".speaker-notes").is_visible()
    page.keyboard.press("s")
    assert page.locator(".speaker-notes").is_visible()
    assert len(page.locator(".speaker-notes").inner_text()) > 50


def test_a_link_leads_to_another_deck(lecturer):
    page = lecturer.open("02_likelihood")
    page.locator("section.present a[href='01_prior.html']").first.click()
    page.wait_for_selector(".reveal.ready")
    assert page.url.split("#")[0].endswith("/01_prior.html")


def test_the_list_of_decks(lecturer):
    page = lecturer.page
    page.goto((lecturer.folder / "index.html").as_uri())
    links = page.locator("main a[href$='.html']")
    assert [link.get_attribute("href") for link in links.all()] == [f"{n}.html" for n in DECKS]
