"""Digits on clutter: labels follow the digit's ink, scraps are ink without a label, and the seed decides."""

import pytest
import torch

from minidiff.data import cluttered, load


@pytest.fixture(scope="module")
def digits():
    found = load("digits", "train")
    return found["x"][:40], found["y"][:40]


def test_labels_are_the_digits_ink(digits):
    x, y = digits
    found = cluttered(x, y, seed=1)
    ink = x[:, 0] >= 0
    assert torch.equal(found["labels"] > 0, ink)
    assert all(set(row[mask].tolist()) == {int(d) + 1} for row, mask, d in zip(found["labels"], ink, y, strict=True))


def test_scraps_are_ink_without_a_label(digits):
    x, y = digits
    found = cluttered(x, y, noise=0.0, seed=1)
    outside = found["labels"] == 0
    assert (found["x"][:, 0][outside] > 0).float().mean() > 0.02  # as bright as ink, and not the digit
    assert torch.equal(found["x"][:, 0][~outside], torch.maximum(x[:, 0], found["x"][:, 0])[~outside])
    assert found["x"].min() >= -1 and found["x"].max() <= 1


def test_seed_and_noise(digits):
    x, y = digits
    one, again, other = (cluttered(x, y, seed=s)["x"] for s in (3, 3, 4))
    assert torch.equal(one, again) and not torch.equal(one, other)
    plain = cluttered(x, y, noise=0.0, seed=3)["x"]
    middle = (plain.abs() < 0.5) & (one.abs() < 1)  # where nothing was clamped
    assert (one - plain)[middle].std().item() == pytest.approx(0.2, rel=0.15)


def test_arguments_are_not_changed(digits):
    x, y = digits
    before = x.clone()
    cluttered(x, y)
    assert torch.equal(x, before)


@pytest.mark.parametrize("x, y", [((3, 2, 12, 12), 3), ((3, 1, 9, 12), 3), ((3, 1, 12, 12), 2), ((1, 12, 12), 1)])
def test_bad_shapes_are_named(x, y):
    with pytest.raises(ValueError, match=r"x must be \[N,1,H,W\] of at least 10x10 and y \[N\]"):
        cluttered(torch.zeros(x), torch.zeros(y, dtype=torch.long))
