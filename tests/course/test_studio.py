"""A figure of several values: the live one, the film, and what both say."""

import base64
import io
import re
import types

import IPython
import numpy as np
import pytest
import torch
from PIL import Image

from minidiff.course import stored
from minidiff.course.studio import studio

CONTROLS = {"caption": "", "level": (0, 1, 2), "seed": (0, 5)}
FIRST = {"caption": "a star", "level": 1, "seed": 5}
WORDS = {"title": "Shades & more", "alt": "Gets <lighter>"}


def shade(caption, level, seed):
    if "circel" in caption:
        raise ValueError("no such <word>")
    return torch.full((1, 3, 5), level - 1.0)


def pixels(html):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(re.search(r'base64,([^"]*)"', html)[1]))))


def test_the_button_draws_what_the_fields_say():
    asked = []
    figure = studio(lambda **s: asked.append(s) or shade(**s), CONTROLS, [FIRST, {**FIRST, "level": 2}], **WORDS)
    assert asked == [FIRST, {**FIRST, "level": 2}]
    assert figure.film.text.endswith("Frames: a star, level 1, seed 5; a star, level 2, seed 5")
    heading, caption, level, seed, button, picture = figure.widget().children
    assert heading.value == "<strong>Shades &amp; more</strong>" and asked[-1] == FIRST
    assert (caption.value, level.value, seed.value) == ("a star", 1, 5)
    assert 'alt="a star, level 1, seed 5. Gets &lt;lighter&gt;"' in picture.value
    caption.value, level.value = "a red star", 0
    assert len(asked) == 3  # not before the button is pressed
    button.click()
    assert asked[-1] == {"caption": "a red star", "level": 0, "seed": 5} and (pixels(picture.value) == 0).all()
    caption.value = "a circel"
    button.click()
    assert picture.value == '<div role="alert">a circel, level 0, seed 5: ValueError: no such &lt;word&gt;</div>'
    assert not button.disabled and button.description == "Draw"
    caption.value = "a star"
    button.click()
    assert "<img" in picture.value


def test_a_view_is_sent_only_where_a_kernel_runs(monkeypatch):
    figure = studio(shade, CONTROLS, [FIRST], **WORDS)
    alone = set(figure._repr_mimebundle_())
    assert {"text/html", "text/plain"} <= alone and stored.WIDGET not in alone
    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(kernel=object()))
    assert set(figure._repr_mimebundle_()) == alone | {stored.WIDGET}


@pytest.mark.parametrize(
    "settings, message",
    [
        ([], "settings is empty"),
        ([{"caption": "a"}], "must each have the controls"),
        ([{**FIRST, "more": 1}], "must each have the controls"),
        ([{**FIRST, "level": 7}], r"must have a level of \[0, 1, 2\]; got 7"),
    ],
)
def test_settings_must_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        studio(shade, CONTROLS, settings, **WORDS)
