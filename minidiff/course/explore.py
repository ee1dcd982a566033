"""A figure of one value: a live slider where a kernel runs, a film of the same figure everywhere else."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from minidiff.course.player import Player, pictures, player
from minidiff.course.stored import WIDGET


@dataclass(frozen=True)
class Explorer:
    """What `explore` returns: put it on the last line of a cell.

    A front end with a kernel behind it shows the slider, which calls `draw` anew for each value. Every other reader
    sees the film; `make outputs` stores nothing else.

    Attributes:
        film: the kernel-free twin.
        draw: value -> picture.
        values: what the slider runs through.
        captions: one for each value.
        title: stands above the picture.
        alt: what there is to see.
        first: index of the value shown at the start.
        width: width on the screen in pixels, at most.
        ncol: pictures in a row, where `draw` returns several.
    """

    film: Player
    draw: Callable
    values: Sequence
    captions: Sequence[str]
    title: str
    alt: str
    first: int
    width: int
    ncol: int

    def frame(self, i: int) -> np.ndarray:
        """Draw the picture of `values[i]`, [H,W,3] uint8."""
        return drawn(self.draw, self.values[i], self.ncol)

    def widget(self) -> object:
        """A new slider with its picture, an `ipywidgets.VBox`; made of what versions 7 and 8 share."""
        import ipywidgets

        picture = ipywidgets.HTML()
        slider = ipywidgets.SelectionSlider(
            options=[(caption, i) for i, caption in enumerate(self.captions)],
            value=self.first,
            layout=ipywidgets.Layout(width="100%", max_width=f"{self.width}px"),
        )

        def show(change: dict | None = None) -> None:
            picture.value = self._html(slider.value)

        slider.observe(show, names="value")
        show()
        heading = ipywidgets.HTML(f"<strong>{html.escape(self.title)}</strong>")
        return ipywidgets.VBox([heading, picture, slider])

    def _html(self, i: int) -> str:
        return element(lambda: self.frame(i), self.captions[i], self.alt, self.width)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        return bundle(self.film, self.widget)

    def __repr__(self) -> str:
        return self.film.text


def explore(
    draw: Callable,
    values: Sequence,
    *,
    title: str,
    alt: str,
    name: str = "",
    captions: Sequence[str] | None = None,
    frames: int = 24,
    first: int = 0,
    width: int = 640,
    ncol: int = 8,
    kilobytes: int = 250,
) -> Explorer:
    """Let the reader move one value and see the figure follow.

    Args:
        draw: value -> matplotlib figure, [C,H,W] or [N,C,H,W] pictures in [-1,1], or a [H,W,3] uint8 array; all of
            one size.
        values: in the order of the slider, such as `range(schedule.T + 1)`.
        title: a line above the picture.
        alt: what there is to see, for those who do not see it.
        name: of the value, as in `"t"`; captions are then `t = 250`.
        captions: one for each value, instead.
        frames: how many values the film keeps, evenly spaced, `first` among them. They are drawn at once.
        first: index of the value shown at the start.
        width: width on the screen in pixels, at most.
        ncol: pictures in a row, where `draw` returns several.
        kilobytes: what the film may take in the notebook.

    Raises:
        ValueError: if there is no value, the number of captions is another, `first` is no index, `frames` is less than
            2, or title or alt is empty; and what `draw` returns is no picture.

    >>> import torch
    >>> shade = explore(lambda v: torch.full((1, 2, 2), v), [-1.0, 0.0, 1.0], title="Grey", alt="A square", name="v")
    >>> shade.frame(2)[0, 0].tolist(), shade
    ([255, 255, 255], Grey
    A square
    Frames: v = -1.0; v = 0.0; v = 1.0)
    """
    values = list(values)
    captions = [f"{name} = {value}" if name else str(value) for value in values] if captions is None else list(captions)
    kept = _kept(len(values), len(captions), frames, first)
    pictured, said = (drawn(draw, values[i], ncol) for i in kept), [captions[i] for i in kept]
    shown = kept.index(first)
    film = player(pictured, captions=said, title=title, alt=alt, first=shown, width=width, kilobytes=kilobytes)
    return Explorer(film, draw, values, captions, title, alt, first, width, ncol)


def _kept(values: int, captions: int, frames: int, first: int) -> list[int]:
    """Which values the film keeps."""
    if not values:
        raise ValueError("values is empty; it must hold at least one value")
    if captions != values:
        raise ValueError(f"captions has {captions} entries and values {values}; they must be as many")
    if not 0 <= first < values:
        raise ValueError(f"first is {first}; it must be an index of the {values} values")
    if frames < 2:
        raise ValueError(f"frames is {frames}; it must be at least 2")
    return sorted({round(i) for i in np.linspace(0, values - 1, min(frames, values))} | {first})


def bundle(film: Player, widget: Callable[[], object]) -> dict:
    """What a front end is sent of a figure: the film, and where a kernel runs the live twin as well.

    Args:
        film: the kernel-free twin.
        widget: () -> a new widget.
    """
    sent = dict(film._repr_mimebundle_())
    if _has_kernel():
        sent[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": widget().model_id}
    return sent


def element(frame: Callable[[], np.ndarray], caption: str, alt: str, width: int) -> str:
    """The HTML of a picture, or of the error that its making raised.

    Args:
        frame: () -> [H,W,3] uint8.
        caption: what it is a picture of.
        alt: what there is to see.
        width: on the screen in pixels, at most.
    """
    try:
        pixels = frame()
    except Exception as error:  # a traceback of a callback would go to a log that nobody reads
        words = html.escape(f"{caption}: {type(error).__name__}: {error}")
        return f'<div role="alert">{words}</div>'
    sharp = 1.5 * pixels.shape[1] <= width  # as in the film
    size = f"width:{width}px;image-rendering:pixelated;" if sharp else ""
    text = html.escape(f"{caption}. {alt}")
    return f'<img alt="{text}" style="max-width:min(100%, {width}px);{size}" src="{_address(pixels)}">'


def drawn(draw: Callable, value: object, ncol: int) -> np.ndarray:
    """One picture, whatever `draw(value)` returns: [H,W,3] uint8."""
    found = draw(value)
    return pictures(found[None] if isinstance(found, Tensor) else [found], ncol)[0]


def _address(pixels: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _has_kernel() -> bool:
    """Whether a notebook's kernel runs this, and not a plain Python or a terminal."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None
