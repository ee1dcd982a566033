"""Drawing: exact areas, one scene at every resolution, masks, and layouts that keep the world's promises."""

import math
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from minidiff.data import shapes
from minidiff.data.shapes import layout as lay
from minidiff.data.shapes import masks, place, render, sample, scatter, signed_distance

# Areas of the shapes in a bounding box of side 2, worked out by hand.
FIFTH = math.pi / 5
TIP = 1 / math.sin(2 * FIFTH)
A = 2 / (1 + math.sqrt(2))  # half diagonal of the heart's square, whose side is A sqrt(2)


def lens(r: float, d: float) -> float:
    """Area that discs of radius 1 and r share, their centres d apart."""
    a, b = (d * d + 1 - r * r) / (2 * d), (d * d + r * r - 1) / (2 * d)
    return math.acos(a) - a * math.sqrt(1 - a * a) + r * r * math.acos(b / r) - b * math.sqrt(r * r - b * b)


AREAS = {
    "circle": math.pi,
    "square": 4.0,
    "triangle": 2.0,
    "diamond": 2.0,
    "cross": 4 * 0.3 * 2 - (2 * 0.3) ** 2,
    "star": 5 * TIP * 0.5 * TIP * math.sin(FIFTH),
    "heart": 2 * A * A + math.pi * A * A / 2,  # a square of side A sqrt(2), and two half discs on its sides
    "crescent": math.pi - lens(0.85, 0.5),
}


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_area_and_box_are_as_by_hand(name):
    at = (torch.arange(2400, dtype=torch.float64) + 0.5) / 1000 - 1.2
    inside = signed_distance(name, at[None], at[:, None]) < 0  # rows are v
    assert inside.sum().item() / 1e6 == pytest.approx(AREAS[name], rel=2e-3)
    ends = []
    for axis in (0, 1):
        line = at[inside.any(dim=axis).nonzero().flatten()]
        ends.append((line[0].item(), line[-1].item()))
    for low, high in ends:
        assert low == pytest.approx(-high, abs=0.01)  # centred
    assert max(high - low for low, high in ends) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_distance_has_slope_one(name):
    at = torch.linspace(-1.4, 1.4, 561, dtype=torch.float64)
    d = signed_distance(name, at[None], at[:, None])
    slopes = torch.stack(torch.gradient(d, spacing=(at, at)))
    assert slopes.norm(dim=0)[d.abs() < 0.1].median().item() == pytest.approx(1, abs=0.01)
    assert slopes.abs().max() <= 1 + 1e-9  # along an axis, also across creases


def test_orientation():
    def inside(name, u, v):
        return signed_distance(name, torch.tensor([u]), torch.tensor([v])).item() < 0

    assert inside("triangle", 0.9, 0.95) and not inside("triangle", 0.9, -0.9)  # broad below
    assert inside("star", 0.0, -0.9) and not inside("star", 0.0, 0.9)  # a tip up
    assert inside("heart", 0.0, 0.85) and not inside("heart", 0.0, -0.8)  # the notch above
    assert inside("crescent", -0.7, 0.0) and not inside("crescent", 0.4, 0.0)  # open to the right


@pytest.mark.parametrize("size", [8, 17, 32, 100])
def test_pixels_add_up_to_the_area(size):
    scenes = sample(60, objects=1, seed=2)
    layout = place(scenes, seed=3)
    x = render(layout, size)
    colour, ground = layout.colour[:, 0, :, None, None], layout.background[:, :, None, None]
    channel = (colour - ground).abs().argmax(dim=1, keepdim=True)
    cover = ((x - ground) / (colour - ground)).gather(1, channel.expand(-1, -1, size, size))  # [N,1,size,size]
    area = torch.tensor([AREAS[s.things[0].shape] for s in scenes]) * (layout.diameter[:, 0] / 2) ** 2
    assert ((cover.mean(dim=(1, 2, 3)) - area).abs() / area).max() < {8: 0.08, 17: 0.02, 32: 0.02, 100: 0.01}[size]


@pytest.mark.parametrize("small, large", [(16, 64), (8, 32), (32, 256)])
def test_the_same_scene_at_every_resolution(small, large):
    layout = place(sample(120, seed=4), seed=5)
    averaged = F.avg_pool2d(render(layout, large), large // small)
    assert (averaged - render(layout, small)).abs().mean() * 127.5 < (2 if small > 8 else 4)


def test_pictures_are_in_range_and_seeded():
    scenes = sample(40, seed=6)
    x = shapes.draw(scenes, 24, seed=1)
    assert x.shape == (40, 3, 24, 24) and x.dtype == torch.float32 and x.abs().max() <= 1
    assert torch.equal(shapes.draw(scenes[:7], 24, seed=1), x[:7])
    assert not torch.equal(shapes.draw(scenes, 24, seed=2), x)
    before = torch.get_rng_state()
    shapes.draw(scenes, 24)
    assert torch.equal(torch.get_rng_state(), before)
    assert shapes.draw([], 9).shape == (0, 3, 9, 9)


def test_thousands_a_second():
    layout = place(sample(2000, seed=7))
    render(layout[:100], 32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.process_time()  # of this process alone: the bar is for one core
    render(layout, 32)
    spent = time.process_time() - began
    torch.set_num_threads(threads)
    assert 2000 / spent > 5000


def test_layouts_keep_the_margins():
    scenes = sample(3000, seed=8)
    layout = place(scenes, seed=9)
    there, r = layout.shape >= 0, layout.diameter / 2
    for c in (layout.x, layout.y):
        assert ((c - r)[there] >= 0).all() and ((c + r)[there] <= 1).all()
    for i, scene in enumerate(scenes):
        for k, thing in enumerate(scene.things):
            low, high = lay.DIAMETERS[thing.size]
            assert low - 1e-6 <= layout.diameter[i, k] <= high + 1e-6 and layout.diameter[i, k] >= 0.25
            assert shapes.SHAPES[layout.shape[i, k]] == thing.shape
        if len(scene) == 2:
            dx, dy = layout.x[i, 1] - layout.x[i, 0], layout.y[i, 1] - layout.y[i, 0]
            along, across = (dx, dy) if scene.relation == "left of" else (dy, dx)
            assert along >= lay.APART - 1e-6 and across.abs() <= 2 * lay.ASIDE + 1e-6
            assert along >= r[i].sum() + lay.GAP - 1e-6  # never overlap
    gaps = [lay.DIAMETERS[b][0] - lay.DIAMETERS[a][1] for a, b in (("small", "medium"), ("medium", "large"))]
    assert min(gaps) > 2 * max(high - low for low, high in lay.DIAMETERS.values())


def test_what_is_not_stated_is_drawn_at_random():
    layout = place([shapes.Scene((shapes.Thing("star"),))] * 400, seed=1)
    assert set(map(tuple, layout.shape.tolist())) == {(shapes.SHAPES.index("star"), -1)}
    assert len({tuple(c) for c in layout.colour[:, 0].mul(3).round().tolist()}) >= 8
    assert layout.diameter[:, 0].min() < 0.28 and layout.diameter[:, 0].max() > 0.44
    assert layout.x[:, 0].min() < 0.3 and layout.x[:, 0].max() > 0.7
    assert layout.background[:, 0].min() < 0 < layout.background[:, 0].max()
    pair = place([shapes.Scene((shapes.Thing("star"), shapes.Thing("heart")))] * 100)
    beside = (pair.x[:, 1] - pair.x[:, 0]).abs() > (pair.y[:, 1] - pair.y[:, 0]).abs()
    assert 20 < beside.sum() < 80


@pytest.mark.parametrize("style", ["outline", "texture"])
def test_a_second_style_changes_the_pixels_and_nothing_else(style):
    scenes = sample(50, seed=3)
    plain, other = place(scenes, seed=4), place(scenes, seed=4, style=style)
    assert torch.equal(plain.x, other.x) and torch.equal(plain.colour, other.colour)
    a, b = render(plain, 32), render(other, 32)
    assert (a - b).abs().mean(dim=(1, 2, 3)).min() > 0.003
    averaged = F.avg_pool2d(render(other, 64), 4)
    assert (averaged - render(other, 16)).abs().mean() * 127.5 < 4


def test_masks_name_what_is_on_top():
    layout = scatter(80, objects=(2, 5), seed=2)
    semantic, instance = masks(layout, 33)
    assert semantic.shape == instance.shape == (80, 33, 33) and semantic.dtype == torch.int64
    assert torch.equal(semantic > 0, instance > 0) and instance.max() == 5
    slots = (instance - 1).clamp_min(0).flatten(1)
    assert torch.equal((layout.shape.gather(1, slots) + 1).where(instance.flatten(1) > 0, 0), semantic.flatten(1))
    # where only one object and no texture is, its mask is where its colour is
    single = place(sample(30, objects=1, seed=5), seed=6)
    x, (semantic, _) = render(single, 40), masks(single, 40)
    near = (x - single.colour[:, 0, :, None, None]).norm(dim=1) < (x - single.background[:, :, None, None]).norm(dim=1)
    assert (near != (semantic > 0)).float().mean() < 0.01
    covered = torch.cat([(instance == k + 1).flatten(1).any(1)[:, None] for k in range(5)], dim=1)
    assert (covered <= (layout.shape >= 0)).all() and covered.sum() < (layout.shape >= 0).sum()  # some are hidden


def test_a_later_object_covers_an_earlier_one():
    layout = scatter(1, objects=(2, 2), texture=0.0, seed=0)
    same = replace(
        layout, x=torch.full((1, 2), 0.5), y=torch.full((1, 2), 0.5), shape=torch.tensor([[1, 0]]),
        diameter=torch.tensor([[0.5, 0.3]]),
    )  # fmt: skip
    assert torch.allclose(render(same, 32)[0, :, 16, 16], same.colour[0, 1])
    assert masks(same, 32)[1][0, 16, 16] == 2 and masks(same, 32)[1][0, 9, 9] == 1


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: shapes.draw(sample(1), 7), "size must be an integer from 8 to 256; got 7"),
        (lambda: shapes.draw(sample(1), 257), "size must be"),
        (lambda: shapes.draw(sample(1), 32.0), "size must be"),
        (lambda: masks(place(sample(1)), 3), "size must be"),
        (lambda: place(sample(1), style="oil"), "style must be one of plain, outline, texture; got 'oil'"),
        (lambda: scatter(3, objects=(3, 2)), r"objects \(fewest, most\)"),
        (lambda: scatter(3, texture=0.5), "texture must lie in 0..0.3; got 0.5"),
        (lambda: signed_distance("blob", torch.zeros(1), torch.zeros(1)), "shape must be one of"),
    ],
)
def test_what_is_wrong_is_said(make, words):
    with pytest.raises(ValueError, match=words):
        make()
