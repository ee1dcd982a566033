"""Pictures on a sheet: where they lie, and that labels are there."""

import numpy as np
import pytest
import torch

from minidiff.pipelines import sheet
from minidiff.pipelines.sheet import LINE, MARGIN


def test_pictures_lie_where_they_should():
    x = torch.stack([torch.full((3, 4, 6), level) for level in (-1.0, 0.0, 0.5)])
    x[1, 0] = 1.0
    found = np.asarray(sheet(x, ["", "", ""], columns=2, side=12))
    tall, wide = 8 + MARGIN + LINE, 12 + MARGIN
    assert found.shape == (2 * tall + MARGIN, 2 * wide + MARGIN, 3)
    for i, colour in enumerate(((0, 0, 0), (255, 128, 128), (191, 191, 191))):
        top, left = MARGIN + i // 2 * tall, MARGIN + i % 2 * wide
        square = found[top : top + 8, left : left + 12]
        assert (abs(square.astype(int) - colour) <= 1).all()
        assert (found[top - 1, left : left + 12] == 255).all() and (found[top : top + 8, left - 1] == 255).all()


def test_labels_are_written_under_their_picture_and_broken_into_lines():
    x = torch.zeros(2, 3, 8, 8)
    short = np.asarray(sheet(x, ["a star", ""], side=64))
    assert short[MARGIN + 64 :, : MARGIN + 64].min() < 128 and short[MARGIN + 64 :, MARGIN + 72 :].min() == 255
    long = np.asarray(sheet(x, ["a small red circle to the left", ""], side=64))
    assert len(long) == len(short) + 3 * LINE


@pytest.mark.parametrize("n, labels", ((2, ["a"]), (0, [])))
def test_numbers_must_agree(n, labels):
    with pytest.raises(ValueError, match=f"got {len(labels)} for {n}"):
        sheet(torch.zeros(n, 3, 4, 4), labels)
