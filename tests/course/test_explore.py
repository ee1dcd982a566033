"""The live twin of the player: the same figure as a slider, and as the film that is stored."""

import base64
import io
import re
import types

import IPython
import matplotlib
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from nbformat import v4
from PIL import Image

from minidiff.course import stored
from minidiff.course.explore import explore

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

WORDS = {"title": "Shades & more", "alt": "Gets <lighter>"}


def shade(value):
    return torch.full((2, 1, 3, 5), 2 * value / 40 - 1)


def pixels(html):
    data = re.search(r'src="data:image/png;base64,([^"]*)"', html)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_slider_draws_values_that_the_film_has_not():
    drawn = []
    figure = explore(lambda v: drawn.append(v) or shade(v), range(41), name="t", frames=5, first=7, **WORDS)
    assert drawn == [0, 7, 10, 20, 30, 40]
    assert figure.film.text.endswith("Frames: t = 0; t = 7; t = 10; t = 20; t = 30; t = 40")
    heading, picture, slider = figure.widget().children
    assert heading.value == "<strong>Shades &amp; more</strong>"
    assert slider.value == 7 and slider.label == "t = 7" and 'alt="t = 7. Gets &lt;lighter&gt;"' in picture.value
    slider.value = 33
    assert drawn[-1] == 33 and 'alt="t = 33.' in picture.value
    assert pixels(picture.value).shape == (3, 5 + 1 + 5, 3) and pixels(picture.value)[0, 0, 0] == round(255 * 33 / 40)


def test_an_error_while_drawing_is_shown():
    def draw(value):
        if value == 2:
            raise RuntimeError("no such <level>")
        return np.zeros((3, 4, 3), np.uint8)

    _, picture, slider = explore(draw, [0, 2, 4], frames=2, **WORDS).widget().children
    slider.value = 1
    assert picture.value == '<div role="alert">2: RuntimeError: no such &lt;level&gt;</div>'
    slider.value = 2
    assert "<img" in picture.value


def test_figures_are_closed():
    def draw(value):
        figure, _ = plt.subplots(figsize=(2, 1))
        return figure

    plt.close("all")
    explore(draw, [1, 2], **WORDS).widget()
    assert not plt.get_fignums()


def test_a_view_is_sent_only_where_a_kernel_runs(monkeypatch):
    figure = explore(shade, [0, 40], **WORDS)
    assert set(figure._repr_mimebundle_()) == {"text/html", "text/plain", "image/png"}
    monkeypatch.setattr(IPython, "get_ipython", lambda: types.SimpleNamespace(kernel=object()))
    bundle = figure._repr_mimebundle_()
    assert bundle.pop(stored.WIDGET)["model_id"] and bundle == figure.film._repr_mimebundle_()


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"values": []}, "values is empty"),
        ({"captions": ["a"]}, "captions has 1 entries and values 2"),
        ({"first": 2}, "first is 2"),
        ({"frames": 1}, "frames is 1"),
        ({"title": " "}, "title"),
        ({"draw": lambda v: torch.zeros(3)}, "frames has shape"),
    ],
)
def test_explore_refuses(changes, words):
    arguments = {"draw": shade, "values": [0, 40]} | WORDS | changes
    with pytest.raises(ValueError, match=words):
        explore(arguments.pop("draw"), arguments.pop("values"), **arguments)


def test_in_a_kernel_both_twins_are_shown_and_the_film_alone_is_stored(tmp_path):
    source = """\
import numpy as np
from minidiff.course.explore import explore
explore(lambda v: np.full((3, 4, 3), v, np.uint8), range(9), title="t", alt="a", frames=3)"""
    nb = v4.new_notebook(cells=[v4.new_code_cell(source)])
    NotebookClient(nb, timeout=100, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (out,) = nb.cells[0].outputs
    assert stored.WIDGET in out.data and "minidiff-player" in out.data["text/html"]
    state = nb.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert out.data[stored.WIDGET]["model_id"] in state
    stored.clean(nb, tmp_path, {})
    assert set(nb.cells[0].outputs[0].data) == {"text/html", "text/plain", "image/png"}
    assert "widgets" not in nb.metadata
    nbformat.validate(nb)
