"""A figure of several values: fields and sliders where a kernel runs, a film of chosen settings everywhere else."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minidiff.course.explore import bundle, drawn, element
from minidiff.course.player import Player, player

Setting = Mapping[str, object]


@dataclass(frozen=True)
class Studio:
    """What `studio` returns: put it on the last line of a cell.

    Attributes:
        film: the kernel-free twin.
        draw: called with one setting's values by name -> picture.
        controls: name -> first text of a field, or the values of a slider.
        first: the setting shown at the start.
        title: stands above the picture.
        alt: what there is to see.
        width: width on the screen in pixels, at most.
    """

    film: Player
    draw: Callable
    controls: Mapping[str, str | Sequence]
    first: Setting
    title: str
    alt: str
    width: int

    def frame(self, setting: Setting) -> np.ndarray:
        """Draw the picture of one setting, [H,W,3] uint8."""
        return drawn(lambda chosen: self.draw(**chosen), setting, 1)

    def widget(self) -> object:
        """New fields, sliders and a button with their picture, an `ipywidgets.VBox`."""
        import ipywidgets

        wide = ipywidgets.Layout(width="100%", max_width="640px")
        fields = {}
        for name, values in self.controls.items():
            if isinstance(values, str):
                fields[name] = ipywidgets.Text(value=str(self.first[name]), description=name, layout=wide)
            else:
                options = [(f"{value:g}", value) for value in values]
                fields[name] = ipywidgets.SelectionSlider(
                    options=options, value=self.first[name], description=name, layout=wide, continuous_update=False
                )
        picture, button = ipywidgets.HTML(), ipywidgets.Button(description="Draw")

        def show(*_: object) -> None:
            setting = {name: field.value for name, field in fields.items()}
            button.disabled, button.description = True, "Drawing ..."
            picture.value = element(lambda: self.frame(setting), said(setting), self.alt, self.width)
            button.disabled, button.description = False, "Draw"

        button.on_click(show)
        show()
        heading = ipywidgets.HTML(f"<strong>{html.escape(self.title)}</strong>")
        return ipywidgets.VBox([heading, *fields.values(), button, picture])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        return bundle(self.film, self.widget)

    def __repr__(self) -> str:
        return self.film.text


def studio(
    draw: Callable, controls: Mapping[str, str | Sequence], settings: Sequence[Setting], *, title: str, alt: str,
    width: int = 256, kilobytes: int = 120,
) -> Studio:  # fmt: skip
    """Let the reader choose several values, press a button, and see the picture that they give.

    Args:
        draw: called as `draw(**setting)` -> [C,H,W] picture in [-1,1], matplotlib figure or [H,W,3] uint8 array.
        controls: name of an argument -> a text, for a field to write in, or the numbers of a slider.
        settings: what the film shows, each with a value for every control; the first is shown at the start.
        title: a line above the picture.
        alt: what there is to see, for those who do not see it.
        width: width on the screen in pixels, at most.
        kilobytes: what the film may take in the notebook.

    Raises:
        ValueError: there is no setting, or one lacks a control, has another, or a value that its slider has not.

    >>> import torch
    >>> def patch(word, level):
    ...     return torch.full((1, 2, 2), level * len(word))
    >>> setting = {"word": "ab", "level": 0.5}
    >>> both = studio(patch, {"word": "", "level": (0.0, 0.5)}, [setting], title="Grey", alt="Flat")
    >>> both.frame({"word": "a", "level": 0.0})[0, 0].tolist(), both.film.text.splitlines()[-1]
    ([128, 128, 128], 'Frames: word ab, level 0.5')
    """
    if not settings:
        raise ValueError("settings is empty; it must hold at least one")
    for setting in settings:
        if set(setting) != set(controls):
            raise ValueError(f"settings must each have the controls {sorted(controls)}; got {sorted(setting)}")
        for name, value in setting.items():
            if not isinstance(controls[name], str) and value not in controls[name]:
                raise ValueError(f"settings must have a {name} of {list(controls[name])}; got {value!r}")
    frames = (drawn(lambda chosen: draw(**chosen), setting, 1) for setting in settings)
    film = player(frames, captions=[*map(said, settings)], title=title, alt=alt, width=width, kilobytes=kilobytes)
    return Studio(film, draw, controls, settings[0], title, alt, width)


def said(setting: Setting) -> str:
    """A setting in words.

    >>> said({"caption": "a red star", "scale": 3.0, "seed": 4})
    'a red star, scale 3, seed 4'
    """
    parts = []
    for name, value in setting.items():
        text = value if isinstance(value, str) else f"{value:g}"
        parts.append(text if name == "caption" else f"{name} {text}")
    return ", ".join(parts)
