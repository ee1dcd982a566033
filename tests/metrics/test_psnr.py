"""PSNR against torchmetrics and by hand; edges."""

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from minidiff.metrics import edges, psnr


def pictures(seed, shape=(3, 2, 7, 5)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("peak", (1.0, 2.0))
def test_equals_torchmetrics(peak):
    x, y = pictures(0), pictures(1)
    for i, value in enumerate(psnr(x, y, peak)):
        want = peak_signal_noise_ratio(x[i : i + 1].double(), y[i : i + 1].double(), data_range=peak)
        assert value.item() == pytest.approx(want.item(), abs=1e-5)


def test_only_the_pixels_that_count_do():
    x, y, where = pictures(0), pictures(1), torch.zeros(3, 7, 5, dtype=torch.bool)
    where[0, 2, 3] = where[0, 6, 1] = where[1] = True
    found = psnr(x, y, where=where)
    square = sum((x[0, c, i, j] - y[0, c, i, j]).item() ** 2 for c in range(2) for i, j in ((2, 3), (6, 1))) / 4
    assert found[0].item() == pytest.approx(10 * math.log10(4 / square), abs=1e-5)
    assert found[1].item() == pytest.approx(psnr(x, y)[1].item())
    assert found[2].isnan()


def test_equal_pictures_are_finite():
    assert psnr(pictures(0), pictures(0)).min() > 100


def test_edges_are_both_sides_of_a_jump():
    x = torch.zeros(2, 3, 6, 5)
    x[0, 1, :, 3:] = 0.5
    found = edges(x)
    assert found.shape == (2, 6, 5) and not found[1].any()
    assert torch.equal(found[0], torch.tensor([[False, False, True, True, False]]).expand(6, 5))
    assert not edges(x, least=0.6).any()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"y": torch.zeros(3, 2, 7, 4)}, r"one shape \[B,C,H,W\]; got \[3, 2, 7, 5\] and \[3, 2, 7, 4\]"),
        ({"peak": 0}, "peak must be above 0; got 0"),
        ({"where": torch.zeros(3, 7, 5)}, r"where must be bool \[3, 7, 5\]; got torch.float32"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        psnr(**{"x": pictures(0), "y": pictures(1), **change})
