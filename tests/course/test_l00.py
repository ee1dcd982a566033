"""Lesson 00 and the gallery: figures, and a recorded number computed once more."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from minidiff.course import Lesson, gallery, l00_models
from minidiff.course import l00_helpers as show
from minidiff.data import shapes

RESULTS = Path(__file__).parents[2] / "results"
pytestmark = pytest.mark.usefixtures("no_window")


def test_the_lesson_draws_its_own_pictures(capsys):
    lesson = Lesson("00")
    lesson.setup()
    assert "caption world" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no set to be loaded"):
        lesson.data()
    assert Lesson("02").dataset == "mnist"


def test_recorded_marks_of_clean_pictures_come_out_again():
    row = json.loads((RESULTS / "00_reader_noise.json").read_text("utf-8"))
    known = shapes.captioned(400, "unseen", seed=row["provenance"]["seed"])
    share = shapes.agreement(known.scenes, shapes.read(known.x))["all"].double().mean().item()
    assert share == pytest.approx(row["value"]["noise 0"], abs=0.005)


def test_what_the_reader_says_stands_below_its_drawing():
    scene = shapes.parse("a large pink heart in the centre on a light background")
    show.beside(torch.cat([shapes.draw([scene], 32), torch.zeros(1, 3, 32, 32)]), ("one", "none"))
    axes = plt.gcf().axes
    said = [" ".join(t.get_text().split()) for axis in axes for t in axis.texts]
    assert said[0].startswith("a large pink heart in the centre") and "(confidence 1.00)" in said[0]
    assert said[1].startswith("nothing recognisable") and [a.get_title() for a in axes[:2]] == ["one", "none"]


def test_every_caption_stands_below_its_picture():
    found = shapes.captioned(5, size=16)
    show.captioned(found.x, found.captions, columns=3)
    texts = [" ".join(t.get_text().split()) for axis in plt.gcf().axes for t in axis.texts]
    assert texts == found.captions


def test_the_inventory_frames_the_held_out_pairs():
    show.inventory(size=20)
    (axis,) = plt.gcf().axes
    side = axis.get_xticks()[1] - axis.get_xticks()[0]
    framed = {(round(p.get_x() / side), round(p.get_y() / side)) for p in axis.patches}
    assert framed == {(shapes.SHAPES.index(s), shapes.COLOURS.index(c)) for s, c in shapes.HELD_OUT}


def test_the_gallery_has_every_figure_that_its_page_shows(tmp_path):
    gallery.write(tmp_path)
    page = (RESULTS.parent / "book" / "caption-world.md").read_text("utf-8")
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {f"world-{name}.png" for name in gallery.FIGURES}
    assert all(f"build/book/{name}" in page for name in drawn)
    for path in tmp_path.iterdir():
        assert max(Image.open(path).size) > 400 and path.stat().st_size < 400_000


def test_marks_are_a_table_of_the_results(tmp_path):
    assert "Not measured" in gallery.marks(tmp_path)
    values = {f"clean, one object, {s}": v for s, v in (("32x32", 0.99125), ("64x64", 1.0))}
    content = {"name": "scene_reader_right", "value": values, "note": "reader version 7"}
    (tmp_path / "scene_reader_right.json").write_text(json.dumps(content))
    text = gallery.marks(tmp_path)
    assert "| clean, one object | 99.12 % | 100.00 % |" in text and "*Reader version 7.*" in text


def test_three_kinds_of_models_are_compared_with_their_numbers():
    found = l00_models.compared({"GAN": 0.0004, "diffusion": 0.02}).text
    assert "0.4 ms" in found and "20.0 ms" in found and "50 times" in found
    for name, key in (("01_toy_modes", "covers"), ("05_word_order", "CBOW swap_told_apart")):
        value = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))["value"][key]
        assert (f"{value:.1f}" if value > 1 else f"{value:.1%}") in found
    assert {len(line.split(" | ")) for line in found.splitlines()[2:]} == {4}


def test_without_results_the_table_has_dashes(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    assert "recall - after" in l00_models.compared({"GAN": 0.001, "diffusion": 0.01}).text


def test_a_pass_is_quicker_than_many():
    found = l00_models.seconds_a_digit(4, steps=5)
    assert 0 < found["GAN"] < found["diffusion"]


def test_words_are_rows():
    mask = torch.arange(6)[None] < 4
    l00_models.words(torch.randn(1, 6, 9), mask, ["<begin>", "a", "star", "<end>"])
    axes = plt.gcf().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["<begin>", "a", "star", "<end>"]
    assert axes.images[0].get_array().shape == (4, 9)
