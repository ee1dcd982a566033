"""Lesson 03: its helpers, and one of its recorded numbers computed once more."""

import matplotlib.pyplot as plt
import pytest
import torch

from minidiff.course import l03_helpers as show
from minidiff.course.profile import TABLE
from minidiff.data import DataUnavailable, load
from minidiff.diffusion import Schedule, Step
from minidiff.models.unet import UNet, UNetConfig
from minidiff.recipes import results

pytestmark = pytest.mark.usefixtures("no_window")


def test_unet_figure_has_every_map_and_skip():
    model = UNet(UNetConfig(channels=1, width=16, mults=(1, 2), blocks=1, head_dim=16, patch=2, classes=3))
    maps, skips = show._feature_maps(model, 16)
    assert [m[0] for m in maps][:4] == ["picture", "stem", "down", "halve"] and maps[-1] == ("noise", 1, 16)
    assert maps[1] == ("stem", 16, 8) and ("middle", 32, 4) in maps and maps[-2] == ("head", 4, 8)
    assert len(skips) == len(model.up)
    first = skips[0][1]
    for start, end in skips:  # a block on the way up is given the map before it and the one that the skip brings
        given = maps[end - 1][1] + maps[start][1]
        assert model.up[end - first].block.conv1.in_channels == given and maps[start][2] == maps[end - 1][2]
    show.unet(model, 16)
    assert sum(text.get_text() == "middle" for text in plt.gca().texts) == 2


def test_figures_draw_what_they_are_given():
    steps = [Step(t, torch.randn(9, 1), torch.randn(9, 1)) for t in (5, 2, 0)]
    show.paths(steps, torch.randn(9, 1), T=8, count=4)
    assert len(plt.gcf().axes[0].lines) == 4 and plt.gcf().axes[0].lines[0].get_xdata().tolist() == [8, 5, 2, 0]
    show.by_level([1, 5, 9], {"a": (torch.tensor([1.0, 0.5, 0.0]), "black", "-")})
    assert plt.gca().get_yscale() == "log"
    show.training([1.0, 0.5, 0.4, 0.3], {"none": (1.0, "black", ":")}, band=(0.1, 0.2))
    assert plt.gca().get_legend_handles_labels()[1] == ["this training, mean of 1 steps", "none", "expected at the end"]
    show.rows({"one": torch.zeros(3, 1, 4, 4), "two": torch.zeros(3, 1, 4, 4)}, titles=["a", "b", "c"])
    assert [text.get_text() for text in plt.gca().texts] == ["one", "two", "a", "b", "c"]
    row = {"n": 5, "share": 0.8, "low": 0.4, "high": 0.9, "precision": 0.7, "recall": 0.6, "distance": 1.25}
    show.sweep({1: row, 2: row}, row)
    assert len(plt.gcf().axes) == 2


def test_table_lines_up(capsys):
    row = {"n": 5, "share": 0.8, "low": 0.4, "high": 0.9, "precision": 0.7, "recall": 0.6, "distance": 1.25}
    show.table({"one": row})
    head, line = capsys.readouterr().out.splitlines()
    assert len(head) == len(line) and " ".join(line.split()) == "one 5 0.800 0.400 to 0.900 0.700 0.600 1.25"


def test_recorded_floor_of_64_digits():
    """Equation (2) once more, picture by picture in float64."""
    stored = next((r for r in results.load() if r["name"] == "03_floor_of_64_digits"), None)
    try:
        data = load("mnist", "train", download=False)["x"][:64].double().flatten(1)
    except DataUnavailable:
        data = None
    if stored is None or data is None:
        pytest.skip("needs the recorded result and MNIST")
    count, schedule = TABLE["03"]["levels"][1], Schedule.linear(1000)
    noise = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(1)).double().flatten(1)
    losses = []
    for i in range(count):
        a = schedule.alpha_bar[round(schedule.T * (i + 0.5) / count)]
        x_t = a.sqrt() * data + (1 - a).sqrt() * noise
        for x, eps in zip(x_t, noise, strict=True):
            weight = (-(x - a.sqrt() * data).square().sum(1) / (2 * (1 - a))).softmax(0)
            losses.append((eps - (x - a.sqrt() * (weight @ data)) / (1 - a).sqrt()).square().mean())
    assert stored["value"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-3)
