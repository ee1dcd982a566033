"""Lesson 04's drawings say what the networks do."""

import copy

import pytest
import torch
from torch import nn

from minidiff.course import l04_helpers as show
from minidiff.models.fcn import PixelConfig, PixelNet, receptive_field
from minidiff.recipes import pixels


def net(skip, decoder):
    return PixelNet(PixelConfig(width=4, skip=skip, decoder=decoder))


def test_labels_have_colours_of_their_own():
    colours = show.coloured(torch.arange(11).view(1, 1, 11))[0, :, 0].T
    assert len(colours.unique(dim=0)) == 11 and colours.min() >= -1 and colours.max() <= 1


@pytest.mark.parametrize("cell", pixels.GRID)
def test_every_map_that_comes_by_is_drawn(cell):
    maps, skips = show._maps(net(*cell), 32)
    heights = [height for _, _, height in maps]
    assert heights[:5] == [32, 32, 16, 8, 4] and heights[-1] == 32
    for start, ends in skips.items():
        assert all(maps[end][2] == maps[start][2] for end in ends)  # a skip joins maps of one size
    wanted = {
        ("none", "symmetric"): 0, ("sum", "symmetric"): 3, ("concatenate", "symmetric"): 3,
        ("none", "deconvolution"): 1, ("sum", "deconvolution"): 3, ("concatenate", "deconvolution"): 3,
    }  # fmt: skip
    assert len(skips) == wanted[cell]


@pytest.mark.parametrize("cell", pixels.GRID)
def test_arrows_reach_every_map(cell):
    maps, skips = show._maps(net(*cell), 32)
    arrows = show._arrows(maps, skips)
    assert {end for _, end, _ in arrows} == set(range(1, len(maps)))
    assert all(start < end for start, end, _ in arrows)


def ran(model, x, changes=None):
    """What the modules of the drawing give, in the order in which they run; `changes`: place -> what becomes of it."""
    decoder, found, hooks = model.decoder, [x], []
    rest = (decoder.block, [decoder.head]) if model.config.decoder == "symmetric" else (decoder.score, [decoder.last])
    modules = [module for part in (model.encoder, decoder.grow, *rest) for module in part]

    def hook(module, inputs, output):
        output = (changes or {}).get(len(found), lambda h: h)(output)
        found.append(output)
        return output

    hooks = [module.register_forward_hook(hook) for module in modules]
    with torch.no_grad():
        model(x)
    for handle in hooks:
        handle.remove()
    return found


@pytest.mark.parametrize("cell", pixels.GRID)
def test_every_arrow_of_a_skip_is_a_way_that_counts(cell):
    torch.manual_seed(0)
    model, x = net(*cell), torch.randn(1, 3, 32, 32)
    maps, skips = show._maps(model, 32)
    clean, deepest = ran(model, x), len(model.encoder)
    assert [(h.shape[1], h.shape[2]) for h in clean] == [(channels, height) for _, channels, height in maps]

    def heard_at(place):
        """The maps that change if this one does. The encoder's next block gives what it gave: only skips are left."""
        changes = {place: lambda h: h + torch.randn_like(h)}
        if place < deepest:
            changes[place + 1] = lambda h: clean[place + 1]
        moved = ran(model, x, changes)
        return [i for i in range(place + 1, len(maps)) if not torch.equal(moved[i], clean[i])]

    arrows = {(start, end) for start, end, kind in show._arrows(maps, skips) if kind == "skip"}
    counts = {start: heard_at(start) for start in range(1, deepest)}  # the deepest map has the way of the chain
    assert {start for start, heard in counts.items() if heard} == {a for a, _ in arrows if a < deepest}
    wanted = 0 if cell[0] == "none" else 3 if cell[1] == "symmetric" else 2  # FCN uses no map at full resolution
    assert len({a for a, _ in arrows if a < deepest}) == wanted
    for start, end in arrows:
        heard = counts.get(start) or heard_at(start)
        first = end + 1 if maps[start][0] == "score" else end  # scores join what "double" gives; the next map hears it
        assert heard[0] == first and heard[-1] == len(maps) - 1, (start, end, heard)


def test_gradients_end_where_the_formula_says():
    bare = copy.deepcopy(net(*pixels.FCN))
    for block in bare.encoder:
        block.norm1, block.norm2 = nn.Identity(), nn.Identity()
    heat = show.heard(bare, bare.encoder[1], size=32)
    field = receptive_field([(3, 1), (3, 1), (2, 2), (3, 1), (3, 1)])
    assert (heat > 0).any(0).sum() == (heat > 0).any(1).sum() == field == 14


def test_drawing_works(monkeypatch):
    import matplotlib.pyplot as plt

    show.architecture(net(*pixels.UNET))
    show.rows({"a": torch.zeros(3, 1, 8, 8), "b": torch.zeros(3, 3, 8, 8)})
    show.fields({"x": (torch.eye(9), 3), "y": (torch.eye(9), 5)})
    table = {f"{skip}-{decoder}": (0.5, 0.4, 0.6) for skip, decoder in pixels.GRID}
    show.bars({"IoU": table, "F": table})
    assert len(plt.get_fignums()) == 4
    plt.close("all")


def test_what_is_not_measured_here_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    assert show.measured("scenes", "iou") is None
