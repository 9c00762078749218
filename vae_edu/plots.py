"""Figures. Each function draws one and returns it; a notebook shows what a cell returns.

The objects of the course always have the same colours, `COLORS`, from Okabe & Ito's palette
(2008), which is distinguishable without red-green vision.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from torch import Tensor

from vae_edu.priors import box

COLORS = {
    "prior": "#0072B2",
    "likelihood": "#D55E00",
    "marginal": "#009E73",
    "posterior": "#CC79A7",
    "approximate posterior": "#E69F00",
}
STYLE = Path(__file__).with_name("vae_edu.mplstyle")
# Widgets are answered in a thread beside that of the cells, and pyplot's state is one for both.
_DRAWING = threading.RLock()
CLASS_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B57900", "#2E9BDA", "#000000",
                 "#882255", "#666666", "#4B3FBF")  # fmt: skip


@contextmanager
def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.0, 4.0)) -> Iterator:
    """A styled figure's axes to draw on: `with figure() as (fig, ax): …`, then return fig.

    The figure is closed to pyplot, so that a notebook shows it once, where a cell returns it.
    """
    with _DRAWING, plt.style.context(STYLE):
        fig, axes = plt.subplots(rows, columns, figsize=size)
        try:
            yield fig, axes
        finally:
            plt.close(fig)


def image_rows(rows: Mapping[str, Tensor], shape: tuple[int, int], size: float = 0.75) -> Figure:
    """Rows of images, each row under its label. Values are brightness in [0, 1], `[n, D]` each.

    Say in the label what the row is: data, the *mean* of p(x|z), or a *draw* from it.
    """
    columns = max(len(images) for images in rows.values())
    height, gap = shape[0] / shape[1], 0.12  # an image is 1 wide
    with figure(size=(size * columns + 1.6, size * len(rows) + 0.1)) as (fig, ax):
        # One pair of axes for all: dozens of them would cost seconds, and tens of megabytes.
        for r, images in enumerate(rows.values()):
            top = -r * (height + gap)
            for c, image in enumerate(images):
                left = c * (1 + gap)
                place = (left, left + 1, top - height, top)
                ax.imshow(
                    image.detach().reshape(shape),
                    extent=place,
                    vmin=0,
                    vmax=1,
                    interpolation="nearest",
                )
        middles = [-r * (height + gap) - height / 2 for r in range(len(rows))]
        ax.set_yticks(middles, list(rows))
        bottom = -(len(rows) - 1) * (height + gap) - height
        ax.set(xticks=[], xlim=(0, columns * (1 + gap) - gap), ylim=(bottom, 0), frame_on=False)
        ax.tick_params(length=0)
    return fig


def learning_curve(history: Sequence) -> Figure:
    """The ELBO and its two terms over the epochs of training, from `training.Progress`."""
    with figure(1, 2, (8.5, 3.2)) as (fig, axes):
        _draw_terms(*axes, history)
    return fig


def _draw_terms(left, right, history: Sequence) -> None:
    epochs = [step.epoch for step in history]
    reconstruction = [step.reconstruction for step in history]
    total = [step.elbo for step in history]
    left.plot(epochs, total, color="black", label="ELBO")
    left.plot(epochs, reconstruction, color=COLORS["likelihood"], label="reconstruction")
    color = COLORS["approximate posterior"]
    right.plot(epochs, [step.kl for step in history], color=color, label="KL(q(z|x) ‖ p(z))")
    # The first epochs start so low that with them all the rest would look flat.
    lowest, highest = min(total[len(total) // 20 :]), max(reconstruction)
    margin = 0.05 * (highest - lowest) + 1e-9
    left.set(ylim=(lowest - margin, highest + margin), ylabel="nats per image")
    for ax in (left, right):
        ax.set_xlabel("epoch")
        ax.legend(loc="best")


def _check_plane(latent_dim: int) -> None:
    if latent_dim != 2:
        raise ValueError(f"the latent has {latent_dim} dimensions; a plane shows 2")


@torch.no_grad()
def latent_plane(model, x: Tensor, y: Tensor, title: str = "") -> Figure:
    """The mean of q(z|x) of each image, written as its class; rings at |z| = 1, 2 and 3, or a box.

    x is prepared data `[N, D]`, y its classes `[N]`; the model's latent has two dimensions. The
    rings are standard deviations of a standard normal prior; a uniform prior's box is drawn.
    """
    with figure(size=(5.6, 5.2)) as (fig, ax):
        _draw_plane(ax, model.prior, model.posterior(x).mean, y)
        ax.set(title=title, xlabel="first latent, $z_1$", ylabel="second latent, $z_2$")
    return fig


def _draw_plane(ax, prior, z: Tensor, y: Tensor) -> None:
    _check_plane(z.shape[-1])
    look = {"fill": False, "color": COLORS["prior"], "alpha": 0.5, "lw": 1}
    corners = box(prior)
    if corners is None:
        outlines = [Circle((0, 0), radius, **look) for radius in (1, 2, 3)]
        reach = max(3.2, 1.05 * float(z.abs().max()))
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    else:
        (left, bottom), (width, height) = corners[0], corners[1] - corners[0]
        outlines = [Rectangle((float(left), float(bottom)), float(width), float(height), **look)]
        ax.margins(0.02)
    for outline in outlines:
        ax.add_patch(outline)
    for label in y.unique().tolist():
        at = z[y == label]
        color = CLASS_COLORS[label % len(CLASS_COLORS)]
        ax.scatter(at[:, 0], at[:, 1], s=36, marker=f"${label}$", color=color, lw=0.3)
    ax.set(aspect="equal", xlabel="$z_1$", ylabel="$z_2$")


@torch.no_grad()
def manifold(model, shape: tuple[int, int], n: int = 11, reach: float = 2.5) -> Figure:
    """The latent plane tiled with the mean of p(x|z) at n x n points, -reach … reach each way."""
    _check_plane(model.latent_dim)
    at = torch.linspace(-reach, reach, n)
    # Rows of the picture go down, so the second latent, which points up, runs from its largest.
    z = torch.cartesian_prod(at.flip(0), at).flip(-1)
    picture = _tiled(model.mean_image(z), shape, n)
    edge = reach * n / (n - 1)  # the outermost tiles are centred on ±reach
    with figure(size=(6.6, 6.2)) as (fig, ax):
        ax.imshow(picture, vmin=0, vmax=1, extent=(-edge, edge, -edge, edge), cmap="gray")
        ax.set(xlabel="first latent, $z_1$", ylabel="second latent, $z_2$")
        ax.set_title("mean of p(x|z) at each z")
    return fig


def _tiled(images: Tensor, shape: tuple[int, int], columns: int) -> Tensor:
    """Images `[n, D]` row by row as one picture, with a grey frame around each."""
    tiles = torch.nn.functional.pad(images.reshape(-1, *shape), (1, 1, 1, 1), value=0.4)
    height, width = tiles.shape[1:]
    rows = tiles.reshape(-1, columns, height, width).transpose(1, 2)
    return rows.reshape(-1, columns * width)


@torch.no_grad()
def training_panel(history: Sequence, model, x: Tensor, y: Tensor, shown: int = 4) -> Figure:
    """Training at a glance: the ELBO's terms, the latent plane, and some reconstructions.

    x is prepared data `[N, D]`, y its classes; `shown` images stand left of the mean of p(x|z) at
    the mean of their q(z|x).
    """
    z, likelihood = model.posterior(x).mean, model.likelihood
    pairs = torch.stack([likelihood.image(x[:shown]), model.mean_image(z[:shown])], 1)
    picture = _tiled(pairs.flatten(0, 1), likelihood.shape, 2)
    with figure(1, 4, (11.5, 3.3)) as (fig, (left, right, plane, images)):
        if history:
            _draw_terms(left, right, history)
        _draw_plane(plane, model.prior, z, y)
        plane.set_title("means of q(z|x)")
        images.imshow(picture, vmin=0, vmax=1, interpolation="nearest")
        images.set_title("data | mean of p(x|z)")
        images.axis("off")
    return fig


def elbo_against_exact(elbo: Tensor, log_marginal: Tensor) -> Figure:
    """One dot an image: its ELBO against its exact log p(x). No dot can lie above the line."""
    low, high = float(torch.min(elbo.min(), log_marginal.min())), float(log_marginal.max())
    with figure(1, 2, (8.5, 3.6)) as (fig, (left, right)):
        left.plot([low, high], [low, high], color="black", lw=1, label="ELBO = log p(x)")
        left.scatter(log_marginal, elbo, s=12, color=COLORS["approximate posterior"], alpha=0.7)
        left.set(xlabel="exact log p(x), nats", ylabel="ELBO, nats", aspect="equal")
        left.legend(loc="upper left")
        right.hist(log_marginal - elbo, bins=40, color=COLORS["posterior"])
        right.set(xlabel="gap: log p(x) - ELBO, nats", ylabel="test images")
    return fig


@torch.no_grad()
def posteriors(grid, model, x: Tensor, titles: Sequence[str] = (), reach: float = 3.5) -> Figure:
    """The exact p(z|x) of a few images as heat maps, with contours of q(z|x).

    The contours are where q has exp(-1/2) and exp(-2) of its height: a Gaussian's 1 and 2 sigma
    ellipses. x is prepared data `[n, D]`, grid a `LatentGrid` of the model in two dimensions.
    """
    _check_plane(grid.dim)
    density = grid.posterior(x)
    log_q = model.posterior(x).log_prob(grid.z.unsqueeze(1)).T
    extent = [float(edge) for ends in zip(grid.low, grid.high, strict=True) for edge in ends]
    with figure(1, len(x), (2.6 * len(x) + 0.4, 2.9)) as (fig, axes):
        for i, ax in enumerate(axes if len(x) > 1 else [axes]):
            # Square root: a faint second hump should be seen beside a sharp first one.
            ax.imshow(density[i].T.sqrt(), origin="lower", extent=extent, cmap="magma")
            height = log_q[i].reshape(grid.points, grid.points).T - log_q[i].max()
            ax.contour(
                *grid.axes,
                height,
                levels=[-2, -0.5],
                colors="white",
                linewidths=1,
                linestyles="solid",
            )
            left, right, bottom, top = extent
            ax.set(xlim=(max(-reach, left), min(reach, right)), xlabel="$z_1$")
            ax.set(ylim=(max(-reach, bottom), min(reach, top)))
            if len(titles):
                ax.set_title(titles[i])
            if i == 0:
                ax.set_ylabel("$z_2$")
    return fig


@torch.no_grad()
def decoded(model, z: Tensor, levels: Tensor, data) -> Figure:
    """The latent plane of the test images with one z, and what the decoder makes of it.

    z is `[2]`, `levels` `[1, D]` the image that stands first; then the mean of p(x|z), one draw
    from it and each pixel's standard deviation (white is 0.5).
    """
    likelihood, p = model.likelihood, model.decode(z)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        draws = p.sample((2000,)).to(z.dtype)
    # How much brightness one unit of x is.
    n = likelihood.levels
    unit = 1 if likelihood.name == "bernoulli" else 1 / (n - 1)
    if likelihood.unit == "nats of a density":
        unit = n / (n - 1)
    pictures = {
        "image": likelihood.image(likelihood.prepare(levels))[0],
        "mean of p(x|z)": model.mean_image(z),
        "a draw from p(x|z)": likelihood.image(draws[0]),
        "spread of each pixel": 2 * unit * draws.std(0),
    }
    with figure(1, 5, (11.5, 3.0)) as (fig, (ax, *others)):
        test = model.posterior(likelihood.prepare(data.test_x)).mean
        _draw_plane(ax, model.prior, test, data.test_y)
        ax.plot(*z.tolist(), "o", ms=10, mfc="none", mec="black", mew=2)
        ax.set(xlabel="$z_1$", ylabel="$z_2$")
        for ax, (title, picture) in zip(others, pictures.items(), strict=True):
            ax.imshow(picture.reshape(data.shape), vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(title, fontsize=10)
            ax.axis("off")
    return fig
