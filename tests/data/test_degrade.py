"""Small pictures from large ones, noise on them, and batches through frozen models."""

import pytest
import torch

from minidiff.data import degrade, downsample, encode, only
from minidiff.diffusion import Schedule


def pictures(n=5, seed=0):
    return torch.rand(n, 3, 6, 9, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_small_pixel_is_the_mean_of_its_square():
    x = pictures()
    small = downsample(x, 3)
    assert small.shape == (5, 3, 2, 3)
    for i, j in ((0, 0), (1, 2)):
        want = x[:, :, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3].mean((2, 3))
        torch.testing.assert_close(small[:, :, i, j], want)
    torch.testing.assert_close(downsample(x, 1), x)


def test_no_alias_of_a_fine_pattern():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1  # every second pixel would be one colour
    assert downsample(board[None, None], 2).abs().max() == 0


def test_without_noise_the_small_picture_is_clean():
    batch = {"x": pictures(), "y": torch.arange(5)}
    made = degrade(3)(batch)
    torch.testing.assert_close(made["low"], downsample(batch["x"], 3))
    assert made["low_t"].tolist() == [0] * 5 and made["low_t"].dtype == torch.int64
    assert made["x"] is batch["x"] and made["y"] is batch["y"] and set(batch) == {"x", "y"}


def test_levels_are_drawn_from_0_to_the_top_and_the_noise_fits_them():
    torch.manual_seed(0)
    schedule = Schedule.linear(1000)
    x = torch.zeros(4000, 1, 8, 8)
    made = degrade(2, schedule.q_sample, 3)({"x": x})
    assert set(made["low_t"].tolist()) == {0, 1, 2, 3}
    assert (made["low_t"].bincount() - 1000).abs().max() < 150  # 5 standard deviations
    for level in range(4):
        variance = made["low"][made["low_t"] == level].square().mean().item()
        assert variance == pytest.approx(1 - schedule.alpha_bar[level].item(), rel=0.05, abs=1e-12)


def test_a_share_stays_clean():
    torch.manual_seed(0)
    schedule = Schedule.linear(1000)
    made = degrade(2, schedule.q_sample, 9, clean=0.4)({"x": torch.zeros(4000, 1, 2, 2)})
    counts = made["low_t"].bincount()
    assert counts[0].item() == pytest.approx(4000 * (0.4 + 0.6 / 10), abs=160)  # 5 standard deviations
    assert (counts[1:] - 240).abs().max() < 80
    assert made["low"][made["low_t"] == 0].abs().max() == 0


def test_encoding_replaces_and_leaves_no_graph():
    layer = torch.nn.Linear(3, 2)
    batch = {"x": torch.ones(4, 3, requires_grad=True), "y": torch.arange(4)}
    made = encode(x=layer, y=lambda y: y + 1)(batch)
    assert made["x"].shape == (4, 2) and not made["x"].requires_grad and made["y"].tolist() == [1, 2, 3, 4]
    assert batch["x"].shape == (4, 3)


def test_only_keeps_what_is_named():
    batch = {"x": torch.zeros(1), "y": torch.ones(1), "tokens": torch.ones(1)}
    assert set(only("x", "y")(batch)) == {"x", "y"} and len(batch) == 3


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: downsample(pictures(), 4), r"multiples of factor 4; got \[5, 3, 6, 9\]"),
        (lambda: downsample(pictures(), 0), "factor must be an integer of at least 1; got 0"),
        (lambda: degrade(2.0), "factor must be an integer of at least 1; got 2.0"),
        (lambda: degrade(2, top=3), "top must be 0 without q_sample; got 3"),
        (lambda: degrade(2, lambda *a: a[0], -1), "top must be an integer of at least 0; got -1"),
        (lambda: degrade(2, clean=1.5), "clean must lie in .0, 1.; got 1.5"),
        (lambda: encode(), "at least one key; got none"),
        (lambda: encode(z=abs)({"x": pictures()}), r"must have the keys \['z'\]; it has \['x'\]"),
        (lambda: only(), "names must hold at least one key"),
        (lambda: only("x", "z")({"x": pictures()}), r"must have the keys \['z'\]; it has \['x'\]"),
    ],
)
def test_bad_arguments_are_named(act, message):
    with pytest.raises(ValueError, match=message):
        act()
