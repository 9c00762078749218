"""Figures: drawn for every family, labelled, and closed to pyplot."""

import io
import threading
import time

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers import images, points, vae
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from vae_edu import plots, priors
from vae_edu.exact import LatentGrid
from vae_edu.models import LinearGaussian
from vae_edu.training import Progress

DATA = images(dim=6)
HISTORY = [Progress(i, 9, -50.0 + i, -45.0 + i, 5.0, 0.1 * i) for i in range(1, 10)]


@pytest.fixture(autouse=True, scope="module")
def no_windows():
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    matplotlib.use(before)


@pytest.fixture(autouse=True)
def nothing_left_behind():
    style = dict(matplotlib.rcParams)
    yield
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == style


def model(d: int = 2, case=("bernoulli", {}), prior=priors.standard_normal):
    return vae(case, DATA, prior(d))


def prepared(small, n=4):
    return small.likelihood.prepare(DATA.train_x[:n])


def draw_posteriors(small, n=3, **options):
    return plots.posteriors(LatentGrid(small, points=40), small, prepared(small, n), **options)


FIGURES = {
    "learning_curve": lambda: plots.learning_curve(HISTORY),
    "learning_curve of one epoch": lambda: plots.learning_curve(HISTORY[:1]),
    "latent_plane": lambda: plots.latent_plane(model(), prepared(model()), DATA.train_y[:4]),
    "training_panel": lambda: plots.training_panel(
        HISTORY, model(), prepared(model(), 40), DATA.train_y
    ),
    "manifold": lambda: plots.manifold(model(), (2, 3), n=5),
    "elbo_against_exact": lambda: plots.elbo_against_exact(
        torch.tensor([-5.0, -4.0]), torch.tensor([-4.5, -3.0])
    ),
    "posteriors": lambda: draw_posteriors(model()),
    "posteriors of one image": lambda: draw_posteriors(model(), 1),
}


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_each_function_returns_a_labelled_figure(draw):
    figure = draw()
    assert isinstance(figure, Figure)
    for ax in figure.axes:
        assert ax.get_xlabel() or not ax.axison
    assert figure.axes[0].get_ylabel()
    file = io.BytesIO()
    figure.savefig(file)  # what a notebook does; an error in a label's mathematics shows here
    assert len(file.getvalue()) > 1000


@pytest.mark.parametrize("shape", [(2, 3), (1, 4), (3, 1), (1, 1)])
def test_image_rows_shows_each_image_beside_its_label(shape):
    rows, columns = shape
    brightness = torch.rand(rows, columns, 6)
    figure = plots.image_rows({f"row {i}": brightness[i] for i in range(rows)}, (2, 3))
    [ax] = figure.axes
    shown = [image.get_array() for image in ax.images]
    np.testing.assert_allclose(shown, brightness.reshape(-1, 2, 3))
    assert {image.get_clim() for image in ax.images} == {(0, 1)}
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [f"row {i}" for i in range(rows)]
    for k, image in enumerate(ax.images):  # each stands in its row and column, and in full view
        left, right, bottom, top = image.get_extent()
        assert bottom < ax.get_yticks()[k // columns] < top
        assert k % columns <= left < right <= ax.get_xlim()[1] + 1e-9
        assert ax.get_ylim()[0] - 1e-9 <= bottom < top <= ax.get_ylim()[1]


def test_image_rows_may_differ_in_length():
    figure = plots.image_rows({"three": torch.rand(3, 6), "one": torch.rand(1, 6)}, (2, 3))
    assert len(figure.axes[0].images) == 4


def test_a_figure_that_fails_is_closed_too():
    with pytest.raises(RuntimeError):
        plots.image_rows({"wrong": torch.rand(3, 7)}, (2, 3))


def test_the_latent_plane_shows_every_image_and_the_prior():
    small = model()
    figure = plots.latent_plane(small, prepared(small, 40), DATA.train_y, title="plane")
    [ax] = figure.axes
    at = np.concatenate([part.get_offsets() for part in ax.collections])
    with torch.no_grad():
        z = small.posterior(prepared(small, 40)).mean.numpy()
    np.testing.assert_allclose(np.sort(at, 0), np.sort(z, 0), rtol=1e-6)
    rings = [patch for patch in ax.patches if isinstance(patch, Circle)]
    assert [ring.radius for ring in rings] == [1, 2, 3]
    assert {to_hex(ring.get_edgecolor()).upper() for ring in rings} == {plots.COLORS["prior"]}
    assert ax.get_title() == "plane"


def test_the_latent_plane_of_other_models():
    small = model(prior=priors.uniform)
    assert plots.latent_plane(small, prepared(small), DATA.train_y[:4]).axes
    linear = LinearGaussian(torch.randn(5, 2), torch.zeros(5), 0.5)
    assert plots.latent_plane(linear, torch.randn(4, 5), torch.arange(4)).axes


def test_the_manifold_has_the_first_latent_to_the_right_and_the_second_upwards():
    class Gradient:
        """Brightness by the first latent in the left pixel, by the second in the right one."""

        latent_dim = 2

        def mean_image(self, z):
            return (z + 2.5) / 5

    picture = plots.manifold(Gradient(), (1, 2), n=3, reach=2.5).axes[0].images[0]
    table = np.asarray(picture.get_array())
    tile = np.array(table.shape) // 3

    def pair(row, column):
        """The two pixels in the middle of a tile."""
        middle = table[row * tile[0] + tile[0] // 2, column * tile[1] : (column + 1) * tile[1]]
        return middle[tile[1] // 2 - 1 : tile[1] // 2 + 1].round(3).tolist()

    assert (pair(0, 0), pair(0, 2)) == ([0, 1], [1, 1])
    assert (pair(2, 0), pair(2, 2)) == ([0, 0], [1, 0])


def test_posteriors_lie_where_the_grid_says():
    # A linear model's posterior of a known place: its heat map and its ellipse are both there.
    linear = LinearGaussian(torch.eye(3, 2), torch.zeros(3), 0.3)
    x = torch.tensor([[1.5, -0.5, 0.0]])
    figure = plots.posteriors(LatentGrid(linear, points=100), linear, x, titles=["one"])
    [ax] = figure.axes
    [heat] = ax.images
    left, right, bottom, top = heat.get_extent()
    row, column = np.unravel_index(np.argmax(heat.get_array()), heat.get_array().shape)
    peak = (
        left + (right - left) * (column + 0.5) / 100,
        bottom + (top - bottom) * (row + 0.5) / 100,
    )
    expected = linear.posterior(x).mean[0].numpy()
    np.testing.assert_allclose(peak, expected, atol=0.06)
    [contours] = ax.collections
    deviation = linear.posterior(x).stddev[0].numpy()
    for path, sigmas in zip(contours.get_paths(), (2, 1), strict=True):
        np.testing.assert_allclose(path.vertices.max(0), expected + sigmas * deviation, atol=0.05)
        np.testing.assert_allclose(path.vertices.min(0), expected - sigmas * deviation, atol=0.05)
    assert ax.get_title() == "one"


def test_elbo_against_exact_is_what_it_says():
    bound, exact = torch.tensor([-5.0, -4.0, -9.0]), torch.tensor([-4.5, -3.0, -8.9])
    left, right = plots.elbo_against_exact(bound, exact).axes
    np.testing.assert_allclose(left.collections[0].get_offsets(), torch.stack([exact, bound], 1))
    np.testing.assert_allclose(left.lines[0].get_xdata(), left.lines[0].get_ydata())
    assert sum(bar.get_height() for bar in right.patches) == 3


def test_the_learning_curve_shows_the_history():
    left, right = plots.learning_curve(HISTORY).axes
    curves = {line.get_label(): line.get_ydata() for ax in (left, right) for line in ax.lines}
    assert curves["ELBO"].tolist() == [step.elbo for step in HISTORY]
    assert any("KL" in label for label in curves)


def test_the_colours_are_told_apart():
    assert list(plots.COLORS) == [
        "prior",
        "likelihood",
        "marginal",
        "posterior",
        "approximate posterior",
    ]
    assert len(set(plots.COLORS.values())) == 5


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("draw", ["latent_plane", "training_panel", "manifold", "posteriors"])
def test_planes_are_of_two_dimensions(draw, d):
    small = model(d)
    with pytest.raises(ValueError, match=f"{d} dimensions"):
        if draw == "latent_plane":
            plots.latent_plane(small, prepared(small), DATA.train_y[:4])
        elif draw == "training_panel":
            plots.training_panel(HISTORY, small, prepared(small), DATA.train_y[:4])
        elif draw == "manifold":
            plots.manifold(small, (2, 3))
        else:
            draw_posteriors(small)


def test_points_are_no_images():
    rows = vae(("gaussian", {}), points(torch.randn(20, 6)))
    with pytest.raises(ValueError, match="points, not images"):
        plots.manifold(rows, (2, 3))


def test_a_box_prior_is_drawn_as_its_box():
    data = images()
    torch.manual_seed(0)
    model = vae(("bernoulli", {}), data, priors.uniform(2, 1.0, 3.0))
    x = model.likelihood.prepare(data.test_x)
    [ax] = plots.latent_plane(model, x, data.test_y).axes
    [outline] = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert outline.get_xy() == (1, 1) and outline.get_width() == outline.get_height() == 2
    assert ax.get_xlim()[0] <= 1 and ax.get_xlim()[1] >= 3
    assert len(plots.posteriors(LatentGrid(model, points=50), model, x[:2]).axes) == 2


def test_two_threads_draw_one_after_the_other():
    """A slider moved while a cell draws: each figure has the course's style and its own axes."""
    drawn = []

    def draw() -> None:
        for _ in range(5):
            with plots.figure(1, 2) as (fig, axes):
                time.sleep(0.002)
                drawn.append((plots.plt.rcParams["axes.spines.top"], len(fig.axes), len(axes)))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == 20 * [(False, 2, 2)]
    assert plots.plt.rcParams["axes.spines.top"] is True
