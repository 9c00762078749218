"""Live figures: a picture that controls redraw, and one that redraws itself while training."""

import asyncio
import base64
import html
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets as widgets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vae_edu import plots, training
from vae_edu.lab import DecoderLab, PosteriorMicroscope
from vae_edu.models import VAE

__all__ = ["DecoderLab", "LiveFigure", "PosteriorMicroscope", "TrainingDashboard"]


class _Picture(widgets.VBox):
    """A column of widgets with a picture below, which a notebook stores as a plain image too."""

    def __init__(self, description: str, controls: list[widgets.Widget]):
        self._description, self._layout, self._canvas = description, [], None
        self._image = widgets.Image(format="png")
        # As wide as it was drawn: the column would stretch it to its own width, and blur the words.
        self._image.layout.max_width, self._image.layout.align_self = "100%", "flex-start"
        self._error = widgets.HTML()
        # ipywidgets' image has no alt text (and a tooltip breaks its view): unseen words above it.
        unseen = "position:absolute;clip-path:inset(50%)"
        words = widgets.HTML(f'<span style="{unseen}">{html.escape(description)}</span>')
        super().__init__([*controls, words, self._image, self._error])

    @property
    def png(self) -> bytes:
        """The picture as it stands."""
        return bytes(self._image.value)

    def _show(self, draw: Callable[[], Figure]) -> None:
        """Draw, or tell the reader why not and raise."""
        try:
            figure, buffer = draw(), io.BytesIO()
            # Laying out the axes takes half of the time, and moves them when a label grows: so
            # the first layout is kept.
            if len(self._layout) == len(figure.axes):
                figure.set_layout_engine("none")
                for ax, place in zip(figure.axes, self._layout, strict=True):
                    ax.set_position(place)
            # One canvas for every redraw: it remembers how large each word is, and its memory is
            # used again. `figure.savefig` would draw everything twice.
            self._canvas = self._canvas or FigureCanvasAgg(figure)
            self._canvas.figure = figure
            figure.set_canvas(self._canvas)
            self._canvas.print_png(buffer, pil_kwargs={"compress_level": 1})
            self._layout = [ax.get_position(original=True) for ax in figure.axes]
        except Exception as error:
            self._tell(error)
            raise
        self._image.value = buffer.getvalue()
        self._error.value = ""

    def _tell(self, error: Exception) -> None:
        text = html.escape(f"{type(error).__name__}: {error}")
        self._error.value = f'<pre role="alert">{text}</pre>'

    def __repr__(self) -> str:
        # What a notebook stores as text, and nbval compares: no bytes, no random ids.
        return f"{type(self).__name__}: {self._description}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        return bundle | {
            "image/png": base64.b64encode(self.png).decode(),
            "text/plain": repr(self),
        }


class LiveFigure(_Picture):
    """A figure that is drawn again whenever a control moves.

        LiveFigure(draw, "what the picture shows", z=(-3.0, 3.0, 0.1), family=["gaussian", …])

    `draw(**values)` returns a Figure. Each control is a tuple (low, high, step) for a slider that
    starts in the middle, (low, high, step, start) to start elsewhere, a list of options, a bool, or
    any ipywidgets control. `description` is the text that a screen reader reads for the picture.
    `labels` gives a control another label than its name.

    Beside the live view a notebook stores the figure as it stands, which is what readers see where
    no kernel runs. `values` reads the controls, `set(**values)` moves them as a hand would; an
    error in `draw` is shown below the picture, and raised to whoever called `set`.
    """

    def __init__(
        self,
        draw: Callable[..., Figure],
        description: str,
        *,
        labels: dict[str, str] | None = None,
        **controls: Any,
    ):
        if not controls:
            raise ValueError("a live figure needs at least one control; show the figure itself")
        self._draw = draw
        self.controls = {
            name: _control((labels or {}).get(name, name), control)
            for name, control in controls.items()
        }
        super().__init__(description, list(self.controls.values()))
        for control in self.controls.values():
            control.observe(self._redraw, "value")
        self._redraw()

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **values: Any) -> None:
        """Move controls, each redrawing the figure as if moved by hand."""
        for name, value in values.items():
            if name not in self.controls:
                raise ValueError(f"no control {name!r}; there are {list(self.controls)}")
            self.controls[name].value = value

    def _redraw(self, change: Any = None) -> None:
        # While a slider moves the axes should stand still, but another option may need other axes.
        if change and not isinstance(change.owner, (widgets.IntSlider, widgets.FloatSlider)):
            self._layout = []
        self._show(lambda: self._draw(**self.values))


class TrainingDashboard(_Picture):
    """Start and stop training by hand, and watch: the ELBO's terms, latent plane, reconstructions.

        dashboard = TrainingDashboard({"bernoulli": vae, …}, images)

    `models` maps a label to a VAE with two latents, each with its own course of training; the
    switch chooses which is shown and trained. Stop answers within an epoch, and the weights are
    those of the last complete one, so every model can be used at any time. `options` go to
    `training.train`. `histories` holds each model's `training.Progress` so far.

    `run(epochs)` trains the chosen model from Python, without the buttons.
    """

    def __init__(self, models: dict[str, VAE], data, **options: Any):
        if not models:
            raise ValueError("models is empty: give at least one VAE to train")
        for label, model in models.items():
            if model.latent_dim != 2:
                raise ValueError(f"{label} has {model.latent_dim} latents; the plane shows 2")
        self.models, self._data = models, data
        self.histories: dict[str, list[training.Progress]] = {label: [] for label in models}
        self._options = options
        self._runs = {label: self._endless(label) for label in models}
        self._x = {m: models[m].likelihood.prepare(data.test_x) for m in models}
        self._switch = widgets.ToggleButtons(options=list(models), description="Decoder")
        self._start = widgets.Button(description="Start", icon="play", tooltip="Start training")
        self._stop = widgets.Button(
            description="Stop", icon="stop", tooltip="Stop training", disabled=True
        )
        self._status = widgets.Label()
        self._task: asyncio.Task | None = None
        self._drawn_at = 0.0
        description = "the ELBO's terms, the latent plane and reconstructions while training"
        buttons = widgets.HBox([self._start, self._stop, self._status])
        super().__init__(description, [self._switch, buttons])
        self._switch.observe(self._redraw, "value")
        self._start.on_click(lambda _button: self.start())
        self._stop.on_click(lambda _button: self.stop())
        self._redraw()

    @property
    def decoder(self) -> str:
        """The label of the model that is shown and trained."""
        return self._switch.value

    @decoder.setter
    def decoder(self, label: str) -> None:
        self._switch.value = label

    @property
    def running(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        """Train in the background until `stop`, giving way to the page after each epoch."""
        if not self.running:
            self._start.disabled, self._stop.disabled = True, False
            self._task = asyncio.get_running_loop().create_task(self._keep_training())

    def stop(self) -> None:
        """Stop at once; a second start carries on."""
        if self.running:
            self._task.cancel()

    def run(self, epochs: int) -> None:
        """Train the chosen model for so many epochs more, here and now."""
        for _ in range(epochs):
            self._advance()
        self._redraw()

    async def _keep_training(self) -> None:
        try:
            while True:
                self._advance()
                if time.monotonic() - self._drawn_at > 0.5:
                    self._redraw()
                # Messages from the page, a click on Stop among them, come in during this sleep.
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            self._tell(error)
        finally:
            self._task = None
            self._start.disabled, self._stop.disabled = False, True
            if not self._error.value:
                self._redraw()

    def _endless(self, label: str) -> Iterator[training.Progress]:
        # Stopping is only not asking for the next epoch.
        return training.train(
            self.models[label], self._data, epochs=10**9, bar=False, **self._options
        )

    def _advance(self) -> None:
        label = self.decoder
        try:
            self.histories[label].append(next(self._runs[label]))
        except BaseException:
            # A run that has failed, or was interrupted, is over: the next start begins another.
            self._runs[label] = self._endless(label)
            raise

    def _redraw(self, _change: Any = None) -> None:
        label, history = self.decoder, self.histories[self.decoder]
        self._layout = []  # the numbers at the axes grow and shrink with training
        self._show(
            lambda: plots.training_panel(
                history, self.models[label], self._x[label], self._data.test_y
            )
        )
        self._drawn_at = time.monotonic()
        self._status.value = (
            f"epoch {history[-1].epoch}: ELBO {history[-1].elbo:.2f} nats per training image"
            if history
            else "not trained yet"
        )


def _control(label: str, control: Any) -> widgets.Widget:
    wide = {"description": label, "style": {"description_width": "initial"}}
    if isinstance(control, widgets.Widget):
        control.description = control.description or label
        return control
    if isinstance(control, bool):
        return widgets.Checkbox(value=control, indent=False, **wide)
    if isinstance(control, list):
        wide["style"]["button_width"] = "auto"  # or long options are cut off
        return widgets.ToggleButtons(options=control, **wide)
    if isinstance(control, tuple) and len(control) in (3, 4):
        low, high, step, *start = control
        if all(isinstance(number, int) for number in control):
            kind, middle = widgets.IntSlider, (low + high) // 2
        else:
            kind, middle = widgets.FloatSlider, low + step * round((high - low) / 2 / step)
        layout = widgets.Layout(width="min(36em, 100%)")
        value = start[0] if start else middle
        return kind(value=value, min=low, max=high, step=step, layout=layout, **wide)
    raise TypeError(f"{label}: {control!r} is no control; give (low, high, step), a list or a bool")
