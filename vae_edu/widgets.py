"""Live figures: a picture that controls redraw."""

import base64
import html
import io
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure


class LiveFigure(widgets.VBox):
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
        self._draw, self._description = draw, description
        self.controls = {
            name: _control((labels or {}).get(name, name), control)
            for name, control in controls.items()
        }
        self._image = widgets.Image(format="png", alt=description)
        self._image.layout.max_width = "100%"
        self._error = widgets.HTML()
        super().__init__([*self.controls.values(), self._image, self._error])
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

    @property
    def png(self) -> bytes:
        """The picture as it stands."""
        return bytes(self._image.value)

    def _redraw(self, _change: Any = None) -> None:
        try:
            figure = self._draw(**self.values)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png")
        except Exception as error:
            text = html.escape(f"{type(error).__name__}: {error}")
            self._error.value = f'<pre role="alert">{text}</pre>'
            raise
        self._image.value = buffer.getvalue()
        self._error.value = ""

    def __repr__(self) -> str:
        # What a notebook stores as text, and nbval compares: no bytes, no random ids.
        return f"LiveFigure: {self._description}"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        return bundle | {
            "image/png": base64.b64encode(self.png).decode(),
            "text/plain": repr(self),
        }


def _control(label: str, control: Any) -> widgets.Widget:
    wide = {"description": label, "style": {"description_width": "initial"}}
    if isinstance(control, widgets.Widget):
        control.description = control.description or label
        return control
    if isinstance(control, bool):
        return widgets.Checkbox(value=control, indent=False, **wide)
    if isinstance(control, list):
        return widgets.ToggleButtons(options=control, **wide)
    if isinstance(control, tuple) and len(control) in (3, 4):
        low, high, step, *start = control
        if all(isinstance(number, int) for number in control):
            kind, middle = widgets.IntSlider, (low + high) // 2
        else:
            kind, middle = widgets.FloatSlider, low + step * round((high - low) / 2 / step)
        layout = widgets.Layout(width="min(28em, 100%)")
        value = start[0] if start else middle
        return kind(value=value, min=low, max=high, step=step, layout=layout, **wide)
    raise TypeError(f"{label}: {control!r} is no control; give (low, high, step), a list or a bool")
