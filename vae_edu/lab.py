"""The two widgets that run in the browser: DecoderLab and PosteriorMicroscope.

Python checks the models, sends their weights once, and shares the widgets' state as traits;
networks, likelihoods, exact inference and drawing are JavaScript (`static/`), so that they follow
the hand, and go on without a kernel.
"""

import base64
import html
import io
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget
import torch
import traitlets
from matplotlib.figure import Figure
from torch import nn

from vae_edu import plots, priors
from vae_edu.data import ImageData
from vae_edu.exact import LatentGrid
from vae_edu.likelihoods import FullGaussian, Gaussian
from vae_edu.models import VAE

STATIC = Path(__file__).with_name("static")
_LARGEST = 20e6  # bytes of weights: more would make a page too heavy to open


def _script() -> str:
    """Both JavaScript files as one module: a widget's module can import no file beside it."""
    numbers, drawing = (STATIC / name for name in ("vae.js", "widgets.js"))
    imported, rest = drawing.read_text("utf-8").split('from "./vae.js";\n', 1)
    before = imported[: imported.rindex("import ")]
    return numbers.read_text("utf-8").replace("\nexport ", "\n") + before + rest


class _BrowserWidget(anywidget.AnyWidget):
    """Models and test images, sent to the browser once, and a switch between the models."""

    _esm = _script()
    # As text: anywidget would watch a file, and the watch would keep every widget alive for ever.
    _css = (STATIC / "widgets.css").read_text("utf-8")
    _description = traitlets.Dict().tag(sync=True)
    _weights = traitlets.Bytes().tag(sync=True)
    _images = traitlets.Bytes().tag(sync=True)

    decoder = traitlets.Unicode(help="the label of the model that is shown").tag(sync=True)
    image = traitlets.Int(0, help="which test image is chosen").tag(sync=True)

    def __init__(self, models: Mapping[str, VAE], data: ImageData, **state: Any):
        self._check(models, data)
        self.models, self.data = dict(models), data
        description = {
            "levels": data.levels,
            "shape": list(data.shape),
            "labels": data.test_y.tolist(),
            "colors": plots.COLORS,
            "classColors": list(plots.CLASS_COLORS),
            "models": [_describe(label, model) for label, model in models.items()],
        }
        super().__init__(
            _description=description,
            _weights=b"".join(_numbers(model) for model in models.values()),
            _images=data.test_x.numpy().tobytes(),
            **{"decoder": next(iter(models))} | state,
        )

    @staticmethod
    def _check(models: Mapping[str, VAE], data: ImageData) -> None:
        if not isinstance(models, Mapping) or not models:
            raise ValueError('models is empty: give a dict of at least one VAE, {"label": vae, …}')
        for label, model in models.items():
            _check_model(label, model, data)
        size = sum(len(_numbers(model)) for model in models.values())
        if size > _LARGEST:
            raise ValueError(
                f"the weights take {size / 1e6:.0f} MB; a page stays quick below "
                f"{_LARGEST / 1e6:.0f} MB: show fewer models, or smaller ones"
            )

    @traitlets.validate("decoder")
    def _known_decoder(self, proposal):
        if proposal["value"] not in self.models:
            raise traitlets.TraitError(
                f"no decoder {proposal['value']!r}; there are {list(self.models)}"
            )
        return proposal["value"]

    @traitlets.validate("image")
    def _known_image(self, proposal):
        return _within("image", proposal["value"], len(self.data.test_x))

    @property
    def model(self) -> VAE:
        """The model that is shown."""
        return self.models[self.decoder]

    def to_html(self) -> str:
        """The widget in its present state as HTML that needs neither kernel nor network.

        For a page of your own, a slide, or a mail: all is in it, the weights too.
        """
        names = set(self.class_trait_names(sync=True)) - set(
            anywidget.AnyWidget.class_trait_names(sync=True)
        )
        state = {name: getattr(self, name) for name in sorted(names)}
        binary = {
            name: base64.b64encode(state.pop(name)).decode() for name in ("_weights", "_images")
        }
        script = _script().replace("export default", "const widget =")
        stored = html.escape(json.dumps({"state": state, "binary": binary}))
        style, page = ((STATIC / name).read_text("utf-8") for name in ("widgets.css", "page.js"))
        return (
            f'<div data-vae-state="{stored}"></div><style>{style}</style>'
            f'<script type="module">{script}{page}</script>'
        )

    def _still(self) -> Figure:
        """A picture of the present state, which a notebook stores beside the live view."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {', '.join(self.models)}"

    def _repr_mimebundle_(self, **kwargs: Any):
        if os.environ.get("VAE_EDU_STATIC"):  # tools/pages.py: a page that will have no kernel
            return {"text/plain": repr(self), "text/html": self.to_html()}, {}
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        buffer = io.BytesIO()
        self._still().savefig(buffer, format="png")
        still = base64.b64encode(buffer.getvalue()).decode()
        return data | {"text/plain": repr(self), "image/png": still}, metadata


class DecoderLab(_BrowserWidget):
    """Drag z over the latent plane, switch decoders, and see what p(x|z) is.

        lab = DecoderLab({"gaussian": vae, "bernoulli": other}, images)

    For the z under the hand: the mean of p(x|z), a draw from it, the spread of each pixel, and the
    whole distribution of one pixel; test images above their reconstructions; log p(x|z) of the
    chosen image. Arrows move z (with Shift farther), digits switch decoders, N draws again,
    M tiles the plane with decoded images.

    `models` maps labels to trained VAEs of this data with two latents and a standard normal prior,
    as `VAE` builds them. Raises `ValueError`, naming the model, for any other.

    `decoder`, `z`, `pixel`, `image`, `view` and `seed` are what the page shows: read or set them.
    """

    _kind = traitlets.Unicode("lab").tag(sync=True)
    z = traitlets.List(traitlets.Float(), [0.0, 0.0], help="the latent, two numbers").tag(sync=True)
    pixel = traitlets.Int(0, help="whose distribution is drawn, row by row").tag(sync=True)
    view = traitlets.Enum(["points", "manifold"], "points", help="the plane's picture").tag(
        sync=True
    )
    seed = traitlets.Int(0, help="of the draw from p(x|z)").tag(sync=True)

    def __init__(self, models: Mapping[str, VAE], data: ImageData, **state: Any):
        super().__init__(models, data, **state)
        if "z" not in state:
            self.z = _posterior_mean(self.model, data, self.image)
        if "pixel" not in state:
            height, width = data.shape
            self.pixel = height // 2 * width + width // 2

    @traitlets.validate("z")
    def _in_the_plane(self, proposal):
        z = proposal["value"]
        if len(z) != 2 or not all(math.isfinite(value) for value in z):
            raise traitlets.TraitError(f"z is {z}; it must be two finite numbers")
        return z

    @traitlets.validate("pixel")
    def _known_pixel(self, proposal):
        return _within("pixel", proposal["value"], self.data.dim)

    def _still(self) -> Figure:
        levels = self.data.test_x[self.image : self.image + 1]
        return plots.decoded(self.model, torch.tensor(self.z), levels, self.data)


class PosteriorMicroscope(_BrowserWidget):
    """The exact posterior p(z|x) of a test image, or of one you paint, beside the encoder's q(z|x).

        PosteriorMicroscope({"bernoulli": vae, …}, images)

    The posterior is a sum over a grid, as in `exact.LatentGrid`; q is drawn as its 1 and 2 sigma
    ellipses; log p(x), the ELBO and the gap between them, KL(q || p(z|x)), stand beside. *Refine*
    fits q for this one image, which splits the gap into amortization (gone) and approximation
    (left). Digits switch decoders; on the painting, arrows move, Space paints, Delete erases.

    `models` and errors as for `DecoderLab`. `levels` is the image under the microscope, `[D]` grey
    levels, and can be set. `result` holds the numbers that the page shows, in nats (empty until a
    page has computed them).
    """

    _kind = traitlets.Unicode("microscope").tag(sync=True)
    levels = traitlets.List(traitlets.Int(), help="the image, grey levels row by row").tag(
        sync=True
    )
    refined = traitlets.Bool(False, help="whether q has been fitted to this image").tag(sync=True)
    result = traitlets.Dict(help="log_marginal, elbo, gap, … of the page").tag(sync=True)

    def __init__(self, models: Mapping[str, VAE], data: ImageData, **state: Any):
        super().__init__(models, data, **state)
        if "levels" not in state:
            self.levels = data.test_x[self.image].tolist()

    @traitlets.validate("levels")
    def _an_image(self, proposal):
        levels = proposal["value"]
        if len(levels) != self.data.dim:
            raise traitlets.TraitError(f"levels are {len(levels)} numbers, not {self.data.dim}")
        for level in levels:
            _within("grey level", level, self.data.levels)
        return levels

    @traitlets.observe("image")
    def _take_test_image(self, change):
        self.levels = self.data.test_x[change["new"]].tolist()

    def _still(self) -> Figure:
        x = self.model.likelihood.prepare(torch.tensor([self.levels]))
        return plots.posteriors(LatentGrid(self.model), self.model, x, [self.decoder])


def _within(name: str, value: int, n: int) -> int:
    if not 0 <= value < n:
        raise traitlets.TraitError(f"{name} is {value}; it must be from 0 to {n - 1}")
    return value


@torch.no_grad()
def _posterior_mean(model: VAE, data: ImageData, image: int) -> list[float]:
    return model.posterior(model.likelihood.prepare(data.test_x[image])).mean.tolist()


def _layers(network: nn.Module) -> list[nn.Linear] | None:
    """The linear layers of a network as `models.mlp` builds it; None for any other."""
    layers = list(network) if isinstance(network, nn.Sequential) else []
    regular = len(layers) % 2 == 1 and all(
        isinstance(layer, nn.Tanh if i % 2 else nn.Linear) for i, layer in enumerate(layers)
    )
    return layers[::2] if regular else None


def _check_model(label: str, model: VAE, data: ImageData) -> None:
    if not isinstance(model, VAE):
        raise ValueError(f"{label} is a {type(model).__name__}; the browser runs a models.VAE")
    if model.latent_dim != 2:
        raise ValueError(f"{label} has {model.latent_dim} latents; the plane shows 2")
    if priors.describe(model.prior)["name"] != "standard_normal":
        raise ValueError(f"{label} has another prior than N(0, I), on which the plane is drawn")
    likelihood = model.likelihood
    if (likelihood.data_name, likelihood.dim, likelihood.levels) != (
        data.name,
        data.dim,
        data.levels,
    ):
        raise ValueError(
            f"{label} was made for the data {likelihood.data_name!r} (D = {likelihood.dim}), but "
            f"these are {data.name!r} (D = {data.dim}): give the data that it was trained on"
        )
    if _layers(model.encoder) is None or _layers(model.decoder) is None:
        raise ValueError(f"{label} has other networks than linear layers with tanh between them")
    if not all(torch.isfinite(p).all() for p in model.parameters()):
        raise ValueError(f"{label} has weights that are NaN or infinite: train it again")
    if not _trained(model, data):
        raise ValueError(f"{label} explains images no better than random weights: train it first")


@torch.no_grad()
def _trained(model: VAE, data: ImageData) -> bool:
    """Whether reconstructions are better than fresh weights could make them by luck."""
    x = model.likelihood.prepare(data.test_x[:64])

    def score(network: VAE) -> float:
        return float(network.decode(network.posterior(x).mean).log_prob(x).mean())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = [score(VAE(model.prior, model.likelihood, 2, model.hidden)) for _ in range(5)]
    return score(model) > max(fresh) + 2 * (max(fresh) - min(fresh))


def _numbers(model: VAE) -> bytes:
    layers = _layers(model.encoder) + _layers(model.decoder)
    parts = [part for layer in layers for part in (layer.weight, layer.bias)]
    return torch.cat([part.detach().flatten().float() for part in parts]).numpy().tobytes()


@torch.no_grad()
def _describe(label: str, model: VAE) -> dict:
    """What `readModels` in vae.js needs besides the weights."""
    likelihood = model.likelihood
    entry = {
        "label": label,
        "family": likelihood.name,
        "unit": likelihood.unit,
        "dim": likelihood.dim,
        "encoder": [list(layer.weight.shape) for layer in _layers(model.encoder)],
        "decoder": [list(layer.weight.shape) for layer in _layers(model.decoder)],
    }
    if isinstance(likelihood, Gaussian | FullGaussian):
        entry["floor"] = 1 / (12 * likelihood.levels**2)
    if isinstance(likelihood, FullGaussian):
        entry["rank"] = likelihood.rank
    if isinstance(likelihood, Gaussian):
        from_z = likelihood.scale == "from_z"
        some = likelihood(torch.zeros(likelihood.n_parameters)).base_dist.variance
        entry["variance"] = None if from_z else some.expand(likelihood.dim).tolist()
    return entry
