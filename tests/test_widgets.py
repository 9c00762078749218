"""Live figures and the training dashboard, driven as a hand would through their traits."""

import asyncio
import base64
import math

import ipywidgets
import pytest
import torch
from helpers import images, vae

from vae_edu import plots
from vae_edu.widgets import LiveFigure, TrainingDashboard

PNG = b"\x89PNG\r\n"


def line(z, family="one", dashed=False):
    if z > 2.5:
        raise ValueError(f"z = {z} is <too> far")
    with plots.figure(size=(2, 2)) as (fig, ax):
        ax.plot([0, z], ls="--" if dashed else "-")
        ax.set_title(family)
    return fig


def live():
    return LiveFigure(line, "a line", z=(-3.0, 3.0, 0.5), family=["one", "two"], dashed=False)


def test_every_control_redraws():
    figure = live()
    assert figure.values == {"z": 0.0, "family": "one", "dashed": False}
    pictures = [figure.png]
    for change in ({"z": 2.0}, {"family": "two"}, {"dashed": True}):
        figure.set(**change)
        pictures.append(figure.png)
    assert figure.values == {"z": 2.0, "family": "two", "dashed": True}
    assert len(set(pictures)) == 4
    assert all(picture.startswith(PNG) for picture in pictures)


def test_the_same_values_give_the_same_picture():
    figure = live()
    before = figure.png
    figure.set(z=1.0)
    figure.set(z=0.0)
    assert figure.png == before


def test_an_error_reaches_the_reader_and_the_caller():
    figure = live()
    with pytest.raises(ValueError, match="far"):
        figure.set(z=3.0)
    *_, message = [w for w in figure.children if isinstance(w, ipywidgets.HTML)]
    assert "&lt;too&gt; far" in message.value and 'role="alert"' in message.value
    figure.set(z=0.0)
    assert message.value == ""


def test_a_notebook_stores_the_picture_and_a_plain_text():
    bundle = live()._repr_mimebundle_()
    assert bundle["text/plain"] == "LiveFigure: a line"
    assert base64.b64decode(bundle["image/png"]).startswith(PNG)
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_screen_reader_has_words_for_picture_and_controls():
    figure = LiveFigure(line, "a line", z=(-1.0, 1.0, 0.5), labels={"z": "the latent z"})
    assert any("a line" in w.value for w in figure.children if isinstance(w, ipywidgets.HTML))
    assert figure.controls["z"].description == "the latent z"


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ((-3.0, 3.0, 0.1), 0.0),
        ((0, 10, 1), 5),
        ((0.0, 1.0, 0.1, 0.7), 0.7),
        (["a", "b"], "a"),
        (True, True),
        (ipywidgets.IntText(4), 4),
    ],
)
def test_kinds_of_control(control, value):
    def draw(it):
        with plots.figure() as (fig, _):
            return fig

    figure = LiveFigure(draw, "nothing", it=control)
    assert figure.values["it"] == pytest.approx(value)


def test_unusable_controls_are_told():
    with pytest.raises(TypeError, match=r"z: \(1, 2\) is no control"):
        LiveFigure(line, "a line", z=(1, 2))
    with pytest.raises(ValueError, match="at least one control"):
        LiveFigure(line, "a line")
    with pytest.raises(ValueError, match="no control 'y'"):
        live().set(y=1)


@pytest.fixture
def dashboard():
    data = images()
    torch.manual_seed(0)
    models = {name: vae((name, {}), data) for name in ("bernoulli", "categorical")}
    return TrainingDashboard(models, data, batch_size=8)


def test_running_from_python_trains_the_chosen_model_only(dashboard):
    before, start = dashboard.png, dashboard.models["categorical"].state_dict()
    start = {name: weight.clone() for name, weight in start.items()}
    dashboard.run(3)
    assert [step.epoch for step in dashboard.histories["bernoulli"]] == [1, 2, 3]
    assert dashboard.histories["categorical"] == []
    assert dashboard.png != before
    for name, weight in dashboard.models["categorical"].state_dict().items():
        assert torch.equal(weight, start[name])


def test_start_switch_and_stop_while_it_trains(dashboard):
    async def by_hand():
        dashboard._start.click()
        assert dashboard.running and dashboard._start.disabled
        while len(dashboard.histories["bernoulli"]) < 5:
            await asyncio.sleep(0)
        dashboard.decoder = "categorical"
        while len(dashboard.histories["categorical"]) < 5:
            await asyncio.sleep(0)
        dashboard._stop.click()
        await asyncio.sleep(0.05)
        assert not dashboard.running and dashboard._stop.disabled

    asyncio.run(asyncio.wait_for(by_hand(), 60))
    epochs = len(dashboard.histories["categorical"])
    dashboard.run(1)  # a second start carries on where the first stopped
    assert dashboard.histories["categorical"][-1].epoch == epochs + 1
    assert all(math.isfinite(step.elbo) for step in dashboard.histories["bernoulli"])


def test_divergence_is_shown_and_the_model_stays_usable():
    data = images()
    model = vae(("gaussian", {}), data)
    dashboard = TrainingDashboard({"gaussian": model}, data, learning_rate=1e6)

    async def by_hand():
        dashboard.start()
        while dashboard.running:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(by_hand(), 60))
    assert "TrainingDiverged" in dashboard._error.value
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    assert not dashboard._start.disabled


def test_unusable_models_are_told():
    data = images()
    with pytest.raises(ValueError, match="models is empty"):
        TrainingDashboard({}, data)
    from vae_edu import priors

    flat = vae(("bernoulli", {}), data, priors.standard_normal(1))
    with pytest.raises(ValueError, match="bernoulli has 1 latents"):
        TrainingDashboard({"bernoulli": flat}, data)
