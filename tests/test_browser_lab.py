"""DecoderLab and PosteriorMicroscope in a real browser: what is drawn is what torch computes.

Both ways of running them are driven alike: in JupyterLab with a kernel, and as a page without one.
"""

import ast

import nbformat
import numpy as np
import pytest
import torch

from vae_edu import likelihoods, pretrained
from vae_edu.exact import LatentGrid
from vae_edu.widgets import DecoderLab, PosteriorMicroscope

FAMILIES = list(likelihoods.FAMILIES)
CODE = """
from vae_edu import data, likelihoods, pretrained
from vae_edu.widgets import DecoderLab, PosteriorMicroscope
images = data.load("digits")
models = {family: pretrained.load(family, images) for family in likelihoods.FAMILIES}
lab, microscope = DecoderLab(models, images), PosteriorMicroscope(models, images)
"""
NAMES = {"lab": "Decoder lab", "microscope": "Posterior microscope"}
READ = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
HASH = "c => c.toDataURL()"


@pytest.fixture(scope="module")
def models(digits):
    return {family: pretrained.load(family, digits) for family in FAMILIES}


class InJupyterLab:
    """The widgets in two cells; their state is the kernel's."""

    def __init__(self, notebook):
        self.notebook, self.page = notebook, notebook.page

    def root(self, name):
        self.notebook.show(1 if name == "lab" else 2)
        return self.page.get_by_role("group", name=NAMES[name])

    def get(self, name, trait):
        """What the kernel has, once the page has told it."""
        reply = self.page.evaluate(
            """async code => {
              await new Promise(told => setTimeout(told, 250));
              const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
              const options = {code: '', silent: true, user_expressions: {it: code}};
              const reply = await kernel.requestExecute(options).done;
              return reply.content.user_expressions.it.data['text/plain'];
            }""",
            f"{name}.{trait}",
        )
        return ast.literal_eval(reply)

    def set(self, name, trait, value):
        self.page.evaluate(
            """async code => {
              const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
              await kernel.requestExecute({code, silent: true}).done;
            }""",
            f"{name}.{trait} = {value!r}",
        )
        self.notebook.settle()

    def complaints(self):
        return self.notebook.complaints


class OnAPage:
    """The widgets in a file, without a kernel, and without a network."""

    def __init__(self, page):
        self.page, self.said = page, []
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("console", lambda m: m.type == "error" and self.said.append(m.text))
        page.on("request", lambda r: r.url.startswith("http") and self.said.append(r.url))

    def root(self, name):
        return self.page.get_by_role("group", name=NAMES[name])

    def _state(self, name, what, *values):
        host = self.root(name).locator("xpath=..")
        return host.evaluate(f"(el, values) => el.state.{what}(...values)", list(values))

    def get(self, name, trait):
        return self._state(name, "get", trait)

    def set(self, name, trait, value):
        self._state(name, "set", trait, value)

    def complaints(self):
        return self.said


@pytest.fixture(scope="module", params=["JupyterLab", "page"])
def place(request, chromium, models, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab-page")
    if request.param == "JupyterLab":
        cells = [nbformat.v4.new_code_cell(code) for code in (CODE, "lab", "microscope")]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(book, folder / "widgets.ipynb")
        lab = request.getfixturevalue("lab")
        with lab.open(chromium, folder / "widgets.ipynb") as notebook:
            notebook.run()
            yield InJupyterLab(notebook)
    else:
        widgets = DecoderLab(models, digits), PosteriorMicroscope(models, digits)
        text = "<!doctype html><meta charset=utf-8>" + "".join(w.to_html() for w in widgets)
        (folder / "widgets.html").write_text(text, "utf-8")
        with chromium.new_page(viewport={"width": 1280, "height": 900}) as page:
            page.context.set_offline(True)
            place = OnAPage(page)
            page.goto((folder / "widgets.html").as_uri())
            yield place


@pytest.fixture(autouse=True)
def at_the_start(place, digits):
    """Each test starts with the first image and decoder, and must end without a complaint."""
    place.set("microscope", "decoder", "gaussian")
    place.set("microscope", "levels", digits.test_x[0].tolist())
    for trait, value in {"decoder": "gaussian", "image": 0, "view": "points"}.items():
        place.set("lab", trait, value)
    yield
    assert place.complaints() == []


def image(canvas) -> np.ndarray:
    """An image's canvas, grey levels 0 … 255; all its pixels are grey and opaque."""
    dots = np.array(canvas.evaluate(READ)).reshape(-1, 4)
    assert (dots[:, :3] == dots[:, :1]).all() and (dots[:, 3] == 255).all()
    return dots[:, 0]


def pictures(root):
    """The canvases mean, draw and spread."""
    return [root.locator(".vae-pictures canvas").nth(i) for i in range(3)]


@torch.no_grad()
def assert_mean_shown(place, models, decoder, z):
    expected = 255 * models[decoder].mean_image(torch.tensor(z, dtype=torch.float32))
    shown = image(pictures(place.root("lab"))[0])
    np.testing.assert_allclose(shown, expected, atol=0.51 + 1e-3)


def drag(place, canvas, *shares):
    """Press on the first place (shares of width and height), move to the others, let go."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    at = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in shares]
    place.page.mouse.move(*at[0])
    place.page.mouse.down()
    for point in at[1:]:
        place.page.mouse.move(*point, steps=5)
    place.page.mouse.up()


def test_dragging_moves_z_and_draws_what_torch_decodes(place, models):
    plane = place.root("lab").locator(".vae-plane")
    seen = set()
    for end in [(0.3, 0.7), (0.9, 0.2), (0.5, 0.5)]:
        drag(place, plane, (0.5, 0.5), end)
        z = place.get("lab", "z")
        assert np.sign(z[0]) == np.sign(round(end[0] - 0.5, 2)) or abs(z[0]) < 0.05
        assert np.sign(z[1]) == np.sign(round(0.5 - end[1], 2)) or abs(z[1]) < 0.05
        assert_mean_shown(place, models, "gaussian", z)
        seen.add(image(pictures(place.root("lab"))[0]).tobytes())
    assert len(seen) == 3


def test_a_drag_outside_the_plane_stops_at_its_edge(place, models):
    drag(place, place.root("lab").locator(".vae-plane"), (0.5, 0.5), (-0.6, 1.4))
    z = place.get("lab", "z")
    assert z[0] == z[1] and -6 < z[0] < -3
    assert_mean_shown(place, models, "gaussian", z)


@torch.no_grad()
@pytest.mark.parametrize("how", ["click", "key"])
def test_a_switch_keeps_the_image_and_goes_to_its_posterior(place, models, digits, how):
    root = place.root("lab")
    place.set("lab", "image", 3)
    for number, family in enumerate(FAMILIES, 1):
        if how == "click":
            root.get_by_role("radio", name=family, exact=True).click()
        else:
            root.locator(".vae-plane").press(str(number))
        assert place.get("lab", "decoder") == family
        assert place.get("lab", "image") == 3
        model = models[family]
        z = model.posterior(model.likelihood.prepare(digits.test_x[3])).mean
        np.testing.assert_allclose(place.get("lab", "z"), z, atol=1e-5)
        assert_mean_shown(place, models, family, z.tolist())
        chosen = root.get_by_role("radio", name=family, exact=True)
        assert chosen.get_attribute("aria-checked") == "true"
        row = model.likelihood.prepare(digits.test_x[:10])
        strip = root.locator(".vae-images canvas")
        for n in range(10):
            expected = 255 * model.likelihood.image(row[n])
            np.testing.assert_allclose(image(strip.nth(2 * n)), expected, atol=0.51 + 1e-3)
        means = model.mean_image(model.posterior(row).mean)
        np.testing.assert_allclose(image(strip.nth(7)), 255 * means[3], atol=0.52)
    if how == "key" and isinstance(place, InJupyterLab):  # a digit makes a heading of a cell
        assert all(cell["cell_type"] == "code" for cell in place.notebook.cells)


@torch.no_grad()
def test_log_likelihood_and_spread_are_torch_s(place, models, digits):
    for family in FAMILIES:
        place.set("lab", "decoder", family)
        place.set("lab", "z", [0.25, -0.5])
        model = models[family]
        p = model.decode(torch.tensor([0.25, -0.5]))
        value = float(p.log_prob(model.likelihood.prepare(digits.test_x[0])))
        text = place.root("lab").locator(".vae-score").inner_text().replace("\u2212", "-")
        shown = float(text.split("): ")[1].split()[0])
        assert shown == pytest.approx(value, abs=0.006 + 1e-4 * abs(value))
        draws = model.likelihood.image(p.sample((4000,)))
        if "gaussian" not in family and family != "continuous-bernoulli":  # else clipped
            spread = image(pictures(place.root("lab"))[2]) / 255 / 2
            np.testing.assert_allclose(spread, draws.std(0), atol=0.03)


def test_a_new_draw_is_another_and_the_seed_brings_it_back(place):
    root = place.root("lab")
    draws, seeds = [], []
    for _ in range(3):
        root.get_by_role("button", name="New draw").click()
        draws.append(image(pictures(root)[1]).tobytes())
        seeds.append(place.get("lab", "seed"))
    assert len(set(draws)) == 3 and seeds == [seeds[0], seeds[0] + 1, seeds[0] + 2]
    place.set("lab", "seed", seeds[0])
    assert image(pictures(root)[1]).tobytes() == draws[0]


def test_a_pixel_is_chosen_by_click_and_by_arrows(place):
    root = place.root("lab")
    canvas = pictures(root)[0]
    drag(place, canvas, (2.5 / 8, 5.5 / 8))
    assert place.get("lab", "pixel") == 5 * 8 + 2
    before = root.locator(".vae-histogram").evaluate(HASH)
    canvas.press("ArrowRight")
    canvas.press("ArrowUp")
    assert place.get("lab", "pixel") == 4 * 8 + 3
    assert "row 5, column 4" in root.locator(".vae-about").inner_text()
    assert root.locator(".vae-histogram").evaluate(HASH) != before
    for _ in range(10):
        canvas.press("ArrowLeft")
    assert place.get("lab", "pixel") == 4 * 8


def test_arrows_move_z(place, models):
    place.set("lab", "z", [0.0, 0.0])
    plane = place.root("lab").locator(".vae-plane")
    for key in ("ArrowRight", "ArrowUp", "ArrowUp", "Shift+ArrowLeft"):
        plane.press(key)
    z = place.get("lab", "z")
    assert z == pytest.approx([-0.4, 0.2])
    assert_mean_shown(place, models, "gaussian", z)


def test_manifold_is_a_picture_of_the_plane(place):
    root = place.root("lab")
    points = root.locator(".vae-plane").evaluate(HASH)
    root.get_by_role("button", name="Manifold").click()
    assert place.get("lab", "view") == "manifold"
    assert root.locator(".vae-plane").evaluate(HASH) != points
    assert root.get_by_role("button", name="Manifold").get_attribute("aria-pressed") == "true"
    root.locator(".vae-about").click()  # a click on mere text is enough for the keys to work
    place.page.keyboard.press("m")
    assert root.locator(".vae-plane").evaluate(HASH) == points
    root.locator(".vae-plane").press("b")  # a key of JupyterLab's: no cell is added below
    if isinstance(place, InJupyterLab):
        assert [cell["cell_type"] for cell in place.notebook.cells] == 3 * ["code"]


def test_test_images_are_chosen_and_turned(place):
    root = place.root("lab")
    root.get_by_role("radio", name="test image 7, ").click()
    assert place.get("lab", "image") == 7
    root.get_by_role("button", name="▸").click()
    root.get_by_role("radio", name="test image 12, ").click()
    assert place.get("lab", "image") == 12
    for _ in range(2):
        root.get_by_role("button", name="◂").click()
    assert root.get_by_role("radio", name="test image 354, ").is_visible()
    assert root.get_by_role("radio", name="test image 355, ").count() == 0


def test_a_hundred_switches_in_a_row(place, models):
    root = place.root("lab")
    radios = [root.get_by_role("radio", name=family, exact=True) for family in FAMILIES]
    handles = [radio.element_handle() for radio in radios]
    place.page.evaluate(
        "buttons => { for (let n = 0; n < 100; n++) buttons[n % buttons.length].click(); }",
        handles,
    )
    decoder = FAMILIES[99 % len(FAMILIES)]
    assert place.get("lab", "decoder") == decoder
    assert_mean_shown(place, models, decoder, place.get("lab", "z"))


def microscope_numbers(place, family):
    """The result for the image on the page, once it is there."""
    root = place.root("microscope")
    place.page.wait_for_function(
        "root => root.getAttribute('aria-busy') === 'false'", arg=root.element_handle()
    )
    result = place.get("microscope", "result")
    assert result["decoder"] == family
    return result


@torch.no_grad()
def assert_exact(models, result, levels, **grid):
    model = models[result["decoder"]]
    x = model.likelihood.prepare(torch.tensor([levels]))
    grid = LatentGrid(model, **grid)
    assert result["log_marginal"] == pytest.approx(float(grid.log_marginal(x)), abs=0.02)
    q = model.posterior(x)
    assert result["mean"] == pytest.approx(q.mean[0].tolist(), abs=1e-4)
    assert result["gap"] == pytest.approx(float(grid.kl(q, x)), abs=0.03, rel=2e-3)
    assert result["elbo"] + result["gap"] == pytest.approx(result["log_marginal"])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_microscope_shows_the_exact_posterior(place, models, digits, family):
    place.set("microscope", "decoder", family)
    result = microscope_numbers(place, family)
    assert_exact(models, result, digits.test_x[0].tolist())
    shown = place.root("microscope").locator(".vae-numbers").inner_text().replace("\u2212", "-")
    assert f"{result['log_marginal']:.2f}" in shown and f"{result['elbo']:.2f}" in shown
    # The heat map's brightest place is where the posterior's mean is, near enough for one hump.
    dots = np.array(place.root("microscope").locator(".vae-plane").last.evaluate(READ))
    assert dots.reshape(-1, 4)[:, :3].max() > 200


def test_painting_moves_image_and_posterior(place, models):
    root = place.root("microscope")
    root.get_by_role("button", name="Blank").click()
    assert place.get("microscope", "levels") == [0] * 64
    blank = microscope_numbers(place, "gaussian")
    assert_exact(models, blank, [0] * 64, points=800, half_width=18)
    paper = root.locator(".vae-paper canvas").first
    drag(place, paper, (0.55, 0.1), (0.55, 0.95))  # a stroke down: a one
    levels = place.get("microscope", "levels")
    grid = np.array(levels).reshape(8, 8)
    assert (grid[:, 4] == 16).all() and (grid[:, 3] > 0).all() and (grid[:, :3] == 0).all()
    painted = microscope_numbers(place, "gaussian")
    assert painted["log_marginal"] != blank["log_marginal"]
    assert_exact(models, painted, levels, points=800, half_width=18)
    np.testing.assert_allclose(image(paper), 255 * np.array(levels) / 16, atol=0.51)
    root.get_by_role("button", name="Undo").click()
    assert place.get("microscope", "levels") != levels


@torch.no_grad()
def test_an_image_like_no_digit_has_its_exact_posterior_too(place, models):
    place.set("microscope", "decoder", "bernoulli")
    place.set("microscope", "levels", [16] * 64)
    result = microscope_numbers(place, "bernoulli")
    model = models["bernoulli"]
    x = model.likelihood.prepare(torch.full((1, 64), 16))
    exact = LatentGrid(model, points=400, half_width=18).log_marginal(x)
    assert result["log_marginal"] == pytest.approx(float(exact), abs=0.02)


def test_painting_by_keys(place):
    root = place.root("microscope")
    root.get_by_role("button", name="Blank").click()
    paper = root.locator(".vae-paper canvas").first
    for _ in range(8):
        paper.press("ArrowUp")
        paper.press("ArrowLeft")
    paper.press("Space")
    levels = place.get("microscope", "levels")
    assert levels[0] == 16 and levels[1] == levels[8] == 6 and sum(levels) == 28
    paper.press("Delete")
    assert sum(place.get("microscope", "levels")) == 12


@pytest.mark.parametrize("family", ["gaussian", "bernoulli", "categorical"])
def test_refining_splits_the_gap(place, family):
    place.set("microscope", "decoder", family)
    before = microscope_numbers(place, family)
    assert "approximation" not in before
    root = place.root("microscope")
    root.get_by_role("button", name="Refine q").click()
    place.page.wait_for_function(
        "root => root.textContent.includes('amortization')", arg=root.element_handle()
    )
    after = microscope_numbers(place, family)
    assert place.get("microscope", "refined") is True
    assert after["approximation"] > -0.01 and after["amortization"] >= 0
    assert after["approximation"] + after["amortization"] == pytest.approx(after["gap"])
    root.get_by_role("button", name="Blank").click()
    # A blank image's posterior may lie where nobody has looked before, and keep the page busy.
    place.page.wait_for_function(
        "root => !root.textContent.includes('amortization')", arg=root.element_handle()
    )
    assert place.get("microscope", "refined") is False


@pytest.mark.parametrize("place", ["JupyterLab"], indirect=True, scope="module")
def test_a_restarted_kernel_leaves_the_page_alive(place):
    """Last of this file: afterwards the kernel knows no widget."""
    place.page.evaluate(
        """async () => {
          const session = window.jupyterapp.shell.currentWidget.sessionContext.session;
          await session.kernel.restart();
          await session.kernel.info;
        }"""
    )
    root = place.root("lab")
    root.get_by_role("radio", name="bernoulli", exact=True).click()
    plane = root.locator(".vae-plane")
    before = image(pictures(root)[0]).tobytes()
    drag(place, plane, (0.4, 0.4), (0.8, 0.8))
    assert image(pictures(root)[0]).tobytes() != before
