"""Pixel networks: layers against what they must equal, shapes, matched sizes, and that they learn."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidiff.models.fcn import (
    PixelConfig,
    PixelNet,
    bilinear_kernel,
    convolution_of,
    deconvolution,
    matched,
    parameters,
    receptive_field,
)
from minidiff.recipes.pixels import GRID

SMALL = PixelConfig(inputs=2, outputs=5, width=4, mults=(1, 2, 3), scores=6)


def variant(skip, decoder, base=SMALL):
    return replace(base, skip=skip, decoder=decoder)


@pytest.mark.parametrize("bias", (True, False))
def test_fully_connected_layer_equals_its_convolution(bias):
    linear = nn.Linear(3 * 4 * 4, 7, bias=bias).double()
    conv = convolution_of(linear, 3, 4).double()
    h = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(conv(h)[..., 0, 0], linear(h.flatten(1)))
    wide = torch.randn(2, 3, 6, 9, dtype=torch.float64)
    windows = torch.stack([linear(wide[:, :, 2:6, j : j + 4].flatten(1)) for j in range(6)], dim=2)
    torch.testing.assert_close(conv(wide)[:, :, 2], windows)


def test_convolution_of_names_what_does_not_fit():
    with pytest.raises(ValueError, match=r"linear takes 48 numbers; channels \* side\^2 is 75"):
        convolution_of(nn.Linear(48, 2), 3, 5)


@pytest.mark.parametrize("stride", (2, 4, 8))
def test_deconvolution_begins_as_bilinear_interpolation(stride):
    layer = deconvolution(3, 3, stride).double()
    layer.weight.data = layer.weight.data.float().double()
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    want = F.interpolate(x, scale_factor=float(stride), mode="bilinear", align_corners=False)
    got = layer(x)
    assert got.shape == want.shape
    inside = (..., slice(stride, -stride), slice(stride, -stride))
    torch.testing.assert_close(got[inside], want[inside], rtol=1e-6, atol=1e-6)


def test_deconvolution_with_fewer_outputs_begins_as_means():
    layer, x = deconvolution(5, 2, 2), torch.randn(1, 5, 4, 6)
    means = torch.stack([x[:, [0, 2, 4]].mean(1), x[:, [1, 3]].mean(1)], dim=1)
    want = F.interpolate(means, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(layer(x)[..., 2:-2, 2:-2], want[..., 2:-2, 2:-2])


def test_deconvolution_with_more_outputs_learns_from_random_weights():
    assert deconvolution(2, 5, 2).weight.std() > 0


def test_odd_stride_is_refused():
    with pytest.raises(ValueError, match="stride must be even or 1; got 3"):
        deconvolution(2, 2, 3)


@pytest.mark.parametrize("stride", (2, 4, 6))
def test_bilinear_kernel_hears_each_place_equally(stride):
    kernel = bilinear_kernel(stride)
    per_phase = kernel.unflatten(0, (2, stride)).unflatten(2, (2, stride)).sum((0, 2))
    torch.testing.assert_close(per_phase, torch.ones(stride, stride))


@pytest.mark.parametrize("layers", ([(3, 1), (3, 1), (2, 2), (3, 1)], [(5, 2), (3, 3), (3, 1)], [(1, 1), (7, 2)]))
def test_receptive_field_is_where_gradients_reach(layers):
    chain = nn.Sequential(*(nn.Conv2d(1, 1, k, s) for k, s in layers))
    for p in chain.parameters():
        nn.init.constant_(p, 1.0)
    x = torch.randn(1, 1, 47, 47, requires_grad=True)
    chain(x)[0, 0, 1, 1].backward()
    reached = x.grad[0, 0] != 0
    assert reached.any(1).sum() == reached.any(0).sum() == receptive_field(layers)


@pytest.mark.parametrize("cell", GRID)
@pytest.mark.parametrize("levels", (False, True))
def test_shapes_and_determinism(cell, levels):
    model = PixelNet(replace(variant(*cell), levels=levels)).eval()
    x, t = torch.randn(3, 2, 8, 20), torch.tensor([1, 500, 1000]) if levels else None
    out = model(x, t)
    assert out.shape == (3, 5, 8, 20)
    assert torch.equal(out, model(x, t))
    torch.testing.assert_close(out[1:2], model(x[1:2], t[1:2] if levels else None))
    assert all(p.grad is not None for p in _grads(model, out))


def _grads(model, out):
    out.square().mean().backward()
    return [p for p in model.parameters() if p.requires_grad]


def test_level_is_heard():
    model = PixelNet(replace(SMALL, levels=True)).eval()
    x = torch.randn(1, 2, 8, 4)
    assert not torch.allclose(model(x, torch.tensor([3])), model(x, torch.tensor([900])))


@pytest.mark.parametrize(
    "shape, t, message",
    [
        ((1, 3, 8, 8), None, r"x must be \[B,2,H,W\] with H and W multiples of 4; got \[1, 3, 8, 8\]"),
        ((1, 2, 8, 6), None, "multiples of 4"),
        ((2, 8, 8), None, "x must be"),
        ((1, 2, 8, 8), torch.ones(1, dtype=torch.long), "t must be left out"),
    ],
)
def test_bad_input_is_named(shape, t, message):
    with pytest.raises(ValueError, match=message):
        PixelNet(SMALL)(torch.zeros(shape), t)


def test_missing_level_is_named():
    with pytest.raises(ValueError, match="t must be given"):
        PixelNet(replace(SMALL, levels=True))(torch.zeros(1, 2, 8, 8))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"width": 0}, "width must be an integer of at least 1; got 0"),
        ({"outputs": 2.0}, "outputs must be"),
        ({"mults": (1,)}, "mults must be two or more"),
        ({"skip": "stack"}, "skip must be one of none, sum, concatenate; got 'stack'"),
        ({"decoder": "big"}, "decoder must be one of deconvolution, symmetric; got 'big'"),
    ],
)
def test_bad_config_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        PixelConfig(**wrong)


@pytest.mark.parametrize("cell", GRID)
@pytest.mark.parametrize("levels", (False, True))
def test_matched_networks_have_as_many_parameters(cell, levels):
    base = PixelConfig(width=12, levels=levels)
    found = matched(variant(*cell, base), parameters(base))
    real = sum(p.numel() for p in PixelNet(found).parameters())
    assert real == parameters(found)
    assert abs(real - parameters(base)) <= 0.05 * parameters(base)


def test_unreachable_size_is_refused():
    with pytest.raises(ValueError, match="no width from 4 to 128 gives 10 parameters within 5%"):
        matched(SMALL, 10)


@pytest.mark.parametrize("cell", GRID)
def test_overfits_a_batch(cell):
    torch.manual_seed(0)
    model = PixelNet(variant(*cell, PixelConfig(inputs=1, outputs=3, width=8, mults=(1, 2))))
    x = torch.randn(4, 1, 8, 12)
    labels = torch.zeros(4, 8, 12, dtype=torch.long)
    labels[:, :4, :6], labels[:, 4:, 6:] = 1, 2
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    for _ in range(40):
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.25
