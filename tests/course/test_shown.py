"""What the course shows: players, quizzes, plots."""

import base64
import html
import io
import json
import re

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from minidiff.course import plots
from minidiff.course.player import player
from minidiff.course.quiz import Question, asked, quiz
from minidiff.diffusion import Step

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

Q = Question("What is `a < b`?", ("a *test*", "a sum", "a file"), ("It compares.", "No `+`.", "On no disk."), correct=0)


@pytest.fixture(autouse=True)
def no_open_figures():
    plt.close("all")
    yield
    plt.close("all")


def unpack(shown):
    """What a browser would read: the film's description and its sheet."""
    film = json.loads(html.unescape(re.search(r'data-film="([^"]*)"', shown.html)[1]))
    kind, data = re.search(r'src="data:(image/\w+);base64,([^"]*)"', shown.html).groups()
    sheet = Image.open(io.BytesIO(base64.b64decode(data)))
    assert Image.MIME[sheet.format] == kind
    return film, np.asarray(sheet.convert("RGB"))


def test_every_frame_is_where_the_script_looks_for_it():
    values = torch.linspace(-1, 1, 8)
    frames = values.view(8, 1, 1, 1).expand(8, 1, 5, 9)
    film, sheet = unpack(player(frames, captions=[f"t = {i}" for i in range(8)], title="Grey", alt="Brighter", first=3))
    assert (film["columns"], film["rows"], film["width"], film["height"]) == (6, 2, 9, 5)
    assert film["first"] == 3 and film["captions"][7] == "t = 7"
    assert sheet.shape == (2 * 5, 6 * 9, 3)
    for i, value in enumerate(values.tolist()):
        top, left = i // 6 * 5, i % 6 * 9
        frame = sheet[top : top + 5, left : left + 9]
        assert np.abs(frame - 255 * (value + 1) / 2).max() <= 0.5


def test_player_stands_alone_and_is_the_same_every_time():
    def make():
        return player(torch.zeros(3, 2, 1, 4, 5), captions=["<a>", 'b"', "c"], title="One & two", alt="Nothing <yet>")

    shown = make()
    assert shown.html == make().html
    assert "//" not in shown.html.replace("data:image/", "")  # no other host, no comment that hides code
    assert " id=" not in shown.html  # copies cannot collide
    assert 'alt="Nothing &lt;yet&gt;"' in shown.html and 'aria-label="One &amp; two"' in shown.html
    assert "data-lm-suppress-shortcuts" in shown.html and "<details" not in shown.html
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain", shown.mime}
    strip = Image.open(io.BytesIO(base64.b64decode(bundle[shown.mime])))
    assert strip.size == (3 * 11, 4)  # three grids of two pictures with one pixel between
    assert "Nothing <yet>" in repr(shown) and '<a>; b"; c' in repr(shown)


def test_figures_become_frames_within_the_budget():
    plots.style()

    def figures():
        for i in range(8):
            figure, ax = plt.subplots()
            noise = np.random.default_rng(i).normal(size=(2, 1500))
            ax.scatter(*noise, s=2, c=noise[0])
            yield figure

    shown = player(figures(), captions=[str(i) for i in range(8)], title="t", alt="a", kilobytes=70)
    assert not plt.get_fignums()  # closed, or the notebook would show each once more
    assert len(shown.html) < 70_000 + 6_000 and len(shown.strip) < 41_000
    film, sheet = unpack(shown)
    assert film["width"] <= 640 and sheet.shape[:2] == (2 * film["height"], 6 * film["width"])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"captions": ["a"]}, "captions has 1 entries; it must have 2"),
        ({"first": 2}, "first is 2"),
        ({"alt": " "}, "alt"),
        ({"frames": torch.zeros(2, 4, 5)}, r"frames has shape \[2, 4, 5\]"),
        ({"frames": []}, "none"),
        ({"frames": [np.zeros((2, 3, 3), "uint8"), np.zeros((3, 2, 3), "uint8")]}, "one size"),
        ({"frames": [np.zeros((2, 3, 3))] * 2}, "uint8"),
    ],
)
def test_player_refuses(changes, words):
    arguments = {"frames": torch.zeros(2, 1, 4, 5), "captions": ["a", "b"], "title": "t", "alt": "a"} | changes
    with pytest.raises(ValueError, match=words):
        player(arguments.pop("frames"), **arguments)


def test_quiz_says_right_once():
    shown = Q.quiz()
    assert shown.html.count("<details>") == 3 and shown.html.count("Right.") == 1
    assert "A. a <em>test</em></summary>" in shown.html and "<code>a &lt; b</code>" in shown.html
    assert "<script" not in shown.html
    assert repr(shown).endswith("Answer: A. It compares.")
    assert quiz(Q.question, Q.options, Q.correct, Q.why) == shown


def test_quiz_as_markdown_is_read_back():
    text = Q.markdown("02")
    assert text.count("</summary>\n\n") == 3 and text.count("**Right.**") == 1
    # Without the blank lines around it, what stands inside the <div> would not be read as Markdown.
    assert text.startswith('<div class="minidiff-quiz" data-question="02.what-is-a-b">\n\n**What is')
    assert text.endswith("\n\n</details>\n\n</div>")
    assert asked(f"## Quiz\n\n{text}\n\n{text}") == [("02.what-is-a-b", "What is `a < b`?")] * 2
    assert asked("**What?**\n\n<details>") == []


def test_prediction_is_asked_without_and_reviewed_with_the_answer():
    asked = Q.ask()
    for text in (asked.html, repr(asked)):
        assert "a sum" in text and "compares" not in text and "Right" not in text
    assert repr(Q.review("a")).startswith("You said A (a *test*), and so it is.")
    assert repr(Q.review("C")).startswith("You said C (a file). The answer is A")
    for nothing in ("", "D", None, ...):
        assert repr(Q.review(nothing)).startswith("You made no prediction. The answer is A")


def test_bad_questions_are_refused():
    with pytest.raises(ValueError, match="at least 2"):
        Question("?", ("a",), ("b",), 0)
    with pytest.raises(ValueError, match="same"):
        Question("?", ("a", "b"), ("b",), 0)
    with pytest.raises(ValueError, match="correct is 2"):
        Question("?", ("a", "b"), ("a", "b"), 2)


def test_montage_places_pictures():
    images = torch.stack([torch.full((1, 3, 5), v) for v in (-1.0, 0.0, 1.0)])
    canvas = plots.montage(images, ncol=2, gap=(2, 1))
    assert canvas.shape == (3 + 2 + 3, 5 + 1 + 5, 3)
    assert canvas[:3, :5].eq(0).all() and canvas[5:, :5].eq(255).all()
    assert canvas[0, 6, 0] in (127, 128) and canvas[3:5].eq(255).all()
    colour = torch.tensor([-1.0, 0.2, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 4)
    assert plots.montage(colour)[0, 0].tolist() == [0, 153, 255]
    with pytest.raises(ValueError, match=r"\[N,C,H,W\]"):
        plots.montage(torch.zeros(2, 2, 3, 4))


@pytest.mark.parametrize("count, titles", [(5, None), (5, list("abcde")), (6, list("abc")), (2, list("ab"))])
def test_grid_draws_and_labels(count, titles):
    plots.grid(torch.zeros(count, 1, 12, 16), ncol=3, titles=titles, scale=2)
    figure = plt.gcf()
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.texts] == (titles or [])
    w, h = figure.get_size_inches() * plots.DPI
    assert axes.images[0].get_array().shape[1] * 2 == pytest.approx(w)
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y1 <= h + 1
    with pytest.raises(ValueError, match="titles has 4"):
        plots.grid(torch.zeros(count, 1, 12, 16), ncol=3, titles=list("abcd"))


def test_trajectory_keeps_first_and_last():
    steps = [Step(t, torch.full((3, 1, 4, 4), t / 10), torch.zeros(3, 1, 4, 4)) for t in range(10, -1, -1)]
    plots.trajectory(iter(steps), columns=4, count=2)
    (axes,) = plt.gcf().axes
    labels = [t.get_text() for t in axes.texts]
    assert len(labels) == 4 and labels[0] == "t = 10" and labels[-1] == "t = 0"
    assert axes.images[0].get_array().shape[:2] == (2 * 4 + 1, 4 * 4 + 3)
    with pytest.raises(ValueError, match="at least one"):
        plots.trajectory([])


def test_recurring_things_keep_their_colours():
    assert set(plots.COLORS) >= {"data", "noise", "model", "real", "generated"}
    assert plots.COLORS["real"] == plots.COLORS["data"]  # real pictures are the data
    apart = [plots.COLORS[k] for k in ("data", "noise", "model", "generated")]
    lightness = sorted(np.dot([0.2126, 0.7152, 0.0722], matplotlib.colors.to_rgb(c)) for c in apart)
    assert min(np.diff(lightness)) > 0.02  # also in grey
    plots.style()
    assert matplotlib.rcParams["figure.dpi"] <= 100
    assert matplotlib.rcParams["figure.figsize"][0] * matplotlib.rcParams["figure.dpi"] <= 800
