"""Lesson 01: what its riddle says of three bugs, its drawings, and its numbers from results."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from minidiff.course import Lesson
from minidiff.course import l01_helpers as show
from minidiff.models.gan import PointConfig, PointDiscriminator, PointGenerator
from minidiff.recipes import gan_toy

ROOT = Path(__file__).resolve().parents[2]


def after(bug, steps=30):
    """A generator's first points and its last ones, and what the discriminator thinks of the last."""
    exercise = Lesson("01").exercise("train_step")
    source = exercise.wrong[bug][0] if bug else exercise.solution
    step = exercise.build(source, bug or "solution")
    torch.manual_seed(0)
    generator, critic = PointGenerator(PointConfig(z=2)), PointDiscriminator(PointConfig())
    before, z = copy.deepcopy(generator), torch.randn(200, 2)
    g, c = (torch.optim.Adam(m.parameters(), 1e-3, betas=(0.0, 0.99)) for m in (generator, critic))
    for i in range(steps):
        step(generator, critic, g, c, gan_toy.eight_gaussians(64, seed=i), torch.randn(64, 2))
    with torch.no_grad():
        return before(z), generator(z), critic(generator(z)).mean().item()


def test_without_gradients_the_generator_stays():
    first, last, _ = after("no_detour")
    assert torch.equal(first, last)
    first, last, _ = after(None)
    assert not torch.allclose(first, last)


def test_one_loss_for_both_makes_it_easy_to_catch():
    assert after("one_loss_for_both")[2] < after(None)[2]


def test_the_riddle_in_the_notebook_names_registered_bugs():
    cells = json.loads((ROOT / "notebooks" / "01_gan.ipynb").read_text("utf-8"))["cells"]
    [line] = [s for c in cells for s in c["source"] if s.startswith("bugs = {")]
    found = {}
    exec(line, found)
    assert set(found["bugs"].values()) <= set(Lesson("01").exercise("train_step").wrong)


def test_smooth_is_a_running_mean():
    np.testing.assert_allclose(show.smooth([1, 2, 3, 6], 2), [1.5, 2.5, 4.5])
    np.testing.assert_allclose(show.smooth([1, 3], 25), [2])


def test_table_prints_every_number(capsys):
    show.table({"a": {"x": 0.5, "longer name": 2.0}, "b": {"x": 1.0, "longer name": 3.25}}, digits=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [["a", "0.50", "2.00"], ["b", "1.00", "3.25"]]


def test_table_prints_words_as_wide_as_they_are(capsys):
    show.table({"a": {"x": "7.2 (6.0 to 8.0)", "y": 1.0}, "b": {"x": "-", "y": 22.0}}, digits=0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [["a", "7.2", "(6.0", "to", "8.0)", "1"], ["b", "-", "22"]]
    assert len({len(line) for line in lines}) == 1


def test_spread_is_of_one_setting_alone():
    value = {"R1": 6.5, "R1, seed 0": 8.0, "R1, seed 1": 5.0, "R1 more, seed 0": 1.0, "no R1, seed 0": 9.0}
    assert show.spread(value, "R1", 1) == "6.5 (5.0 to 8.0)"


def test_what_changes_is_listed():
    cures = {name: show.listed(gan_toy.changed(toy, gan_toy.COLLAPSES)) for name, toy in gan_toy.CURES.items()}
    assert cures["WGAN-GP"] == "game, gp 1" and cures["R1"] == "r1 0.1" and cures["spectral norm"] == "spectral"
    assert show.listed(gan_toy.changed(gan_toy.COVERS, gan_toy.COVERS)) == "-"


def test_field_is_a_figure_for_a_player():
    from minidiff.course.player import player

    critic, centres = PointDiscriminator(PointConfig()), gan_toy.centres()
    figures = [show.field(critic, torch.randn(20, 2), centres, f"step {i}") for i in range(2)]
    assert "step 1" in player(figures, captions=["step 0", "step 1"], title="t", alt="a").html


def test_curves_and_points_are_drawn():
    import matplotlib.pyplot as plt

    show.curves({"a": {"critic": [1.0, 2.0], "generator": [0.5, 0.4]}})
    show.points({"x": torch.randn(5, 2), "y": torch.randn(5, 2)}, gan_toy.centres())
    assert len(plt.get_fignums()) == 2
    plt.close("all")


@pytest.mark.parametrize("there", (True, False))
def test_recorded_or_none(monkeypatch, tmp_path, there):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    if there:
        (tmp_path / "a.json").write_text('{"name": "a", "value": 3}')
    assert show.recorded("a") == ({"name": "a", "value": 3} if there else None)
