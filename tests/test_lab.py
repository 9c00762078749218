"""The Python side of DecoderLab and PosteriorMicroscope: what is refused, shared and stored."""

import base64
import gc
import io
import math
import re
import weakref

import matplotlib.image
import numpy as np
import pytest
import torch
import traitlets
from helpers import CASES, case_id, images, vae

from vae_edu import lab, likelihoods, pretrained, priors, training
from vae_edu.models import VAE
from vae_edu.widgets import DecoderLab, PosteriorMicroscope

BOTH = pytest.mark.parametrize("kind", [DecoderLab, PosteriorMicroscope], ids=["lab", "microscope"])


@pytest.fixture(scope="module")
def models(digits):
    return {family: pretrained.load(family, digits) for family in ("bernoulli", "gaussian")}


@BOTH
@pytest.mark.parametrize("empty", [{}, [], None], ids=["dict", "list", "none"])
def test_no_model_is_refused(kind, digits, empty):
    with pytest.raises(ValueError, match=r"models is empty.*dict"):
        kind(empty, digits)


@BOTH
def test_other_data_is_refused(kind, models):
    with pytest.raises(ValueError, match=r"gaussian.*'digits'.*'tiny'.*trained on"):
        kind({"gaussian": models["gaussian"]}, images(dim=64, levels=17))


@BOTH
def test_a_latent_that_is_no_plane_is_refused(kind, digits):
    model = VAE(priors.standard_normal(3), likelihoods.make("bernoulli", digits), 3, (4,))
    with pytest.raises(ValueError, match="deep has 3 latents; the plane shows 2"):
        kind({"deep": model}, digits)


@BOTH
@pytest.mark.parametrize("prior", [priors.uniform(2), priors.mixture(2)], ids=["box", "mixture"])
def test_another_prior_is_refused(kind, digits, prior):
    model = VAE(prior, likelihoods.make("bernoulli", digits), 2, (4,))
    with pytest.raises(ValueError, match="it has another prior"):
        kind({"it": model}, digits)


@BOTH
@pytest.mark.parametrize("case", CASES, ids=case_id)
@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_model_is_refused(kind, digits, case, seed):
    torch.manual_seed(seed)
    model = vae(case, digits, hidden=(64, 64))
    with pytest.raises(ValueError, match="raw explains images no better than random weights"):
        kind({"raw": model}, digits)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_few_epochs_are_training_enough(digits, case):
    model = vae(case, digits, hidden=(32,))
    for _ in training.train(model, digits, 12, bar=False):
        pass
    assert DecoderLab({"mine": model}, digits).model is model


@BOTH
def test_weights_that_are_nan_are_refused(kind, digits):
    model = pretrained.load("bernoulli", digits)
    with torch.no_grad():
        model.decoder[0].weight[0, 0] = math.nan
    with pytest.raises(ValueError, match="sick has weights that are NaN"):
        kind({"sick": model}, digits)


@BOTH
def test_other_networks_are_refused(kind, digits):
    model = pretrained.load("bernoulli", digits)
    model.decoder[1] = torch.nn.ReLU()
    with pytest.raises(ValueError, match="mine has other networks"):
        kind({"mine": model}, digits)
    with pytest.raises(ValueError, match="net is a Linear"):
        kind({"net": torch.nn.Linear(2, 2)}, digits)


@BOTH
def test_too_much_for_a_page_is_refused(kind, digits, models, monkeypatch):
    monkeypatch.setattr(lab, "_LARGEST", 1000)
    with pytest.raises(ValueError, match=r"the weights take .* MB.*fewer models"):
        kind(models, digits)


def test_refusing_leaves_the_reader_s_random_numbers_alone(models, digits):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    DecoderLab(models, digits)
    assert torch.equal(torch.rand(2), expected)


@BOTH
def test_state_starts_somewhere_sensible(kind, models, digits):
    widget = kind(models, digits)
    assert (widget.decoder, widget.image, widget.model) == ("bernoulli", 0, models["bernoulli"])
    if kind is DecoderLab:
        x = models["bernoulli"].likelihood.prepare(digits.test_x[0])
        assert widget.z == pytest.approx(models["bernoulli"].posterior(x).mean.tolist())
        assert widget.pixel == 4 * 8 + 4
    else:
        assert widget.levels == digits.test_x[0].tolist()


def test_state_can_be_given(models, digits):
    one = DecoderLab(models, digits, decoder="gaussian", z=[1.0, 2.0], pixel=3, image=7)
    assert (one.decoder, one.z, one.pixel, one.image) == ("gaussian", [1.0, 2.0], 3, 7)
    assert PosteriorMicroscope(models, digits, image=5).levels == digits.test_x[5].tolist()
    assert PosteriorMicroscope(models, digits, levels=[0] * 64).levels == [0] * 64


@pytest.mark.parametrize(
    ("trait", "value", "says"),
    [
        ("decoder", "poisson", "no decoder 'poisson'"),
        ("image", -1, "image is -1; it must be from 0 to 354"),
        ("image", 355, "image is 355"),
        ("z", [0.0], "two finite numbers"),
        ("z", [0.0, math.nan], "two finite numbers"),
        ("pixel", 64, "pixel is 64; it must be from 0 to 63"),
        ("view", "elsewhere", "points"),
    ],
)
def test_impossible_state_is_refused_and_nothing_changes(models, digits, trait, value, says):
    widget = DecoderLab(models, digits)
    before = getattr(widget, trait)
    with pytest.raises(traitlets.TraitError, match=says):
        setattr(widget, trait, value)
    assert getattr(widget, trait) == before


@pytest.mark.parametrize(
    ("levels", "says"),
    [([0] * 63, "63 numbers, not 64"), ([17] + [0] * 63, "17; it must be from 0 to 16"),
     ([-1] + [0] * 63, "from 0 to 16")],
    ids=["short", "bright", "negative"],
)  # fmt: skip
def test_impossible_images_are_refused(models, digits, levels, says):
    with pytest.raises(traitlets.TraitError, match=says):
        PosteriorMicroscope(models, digits).levels = levels


def test_choosing_an_image_puts_it_under_the_microscope(models, digits):
    microscope = PosteriorMicroscope(models, digits, levels=[0] * 64)
    microscope.image = 9
    assert microscope.levels == digits.test_x[9].tolist()


@BOTH
def test_a_notebook_stores_a_picture_and_a_text_that_stays_the_same(kind, models, digits):
    first, second = (kind(models, digits) for _ in range(2))
    data, _ = first._repr_mimebundle_()
    assert data["text/plain"] == repr(second) == f"{kind.__name__}: bernoulli, gaussian"
    assert "application/vnd.jupyter.widget-view+json" in data
    picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.shape[0] > 150 and np.ptp(picture[..., :3]) > 0.5
    assert data["image/png"] == second._repr_mimebundle_()[0]["image/png"]


@BOTH
def test_a_closed_widget_is_forgotten(kind, models, digits):
    widget = kind(models, digits)
    widget._repr_mimebundle_()
    seen = weakref.ref(widget)
    widget.close()
    del widget
    gc.collect()
    assert seen() is None


@BOTH
def test_html_asks_for_nothing_from_elsewhere(kind, models, digits):
    text = kind(models, digits).to_html()
    assert not re.search(r"(src|href)=|@import|\bimport\(|https?://(?!www\.w3\.org)", text)
    assert "\nimport " not in text and "\nexport " not in text


def test_script_is_one_module_without_imports():
    script = lab._script()
    assert 'from "./vae.js"' not in script and script.count("export default") == 1
