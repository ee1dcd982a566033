"""IoU and the boundary F-score against scikit-learn and against loops."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from minidiff.metrics import boundary_f_score, confusion, iou, mean_iou
from minidiff.metrics.segmentation import boundary, near


def labels(seed, classes=4, shape=(3, 7, 5)):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(3))
def test_iou_equals_sklearn(seed):
    predicted, true = labels(seed), labels(seed + 10)
    want = jaccard_score(true.flatten(), predicted.flatten(), average=None)
    np.testing.assert_allclose(iou(confusion(predicted, true, 4)), want)
    assert math.isclose(mean_iou(predicted, true, 4), want.mean())


def test_confusion_adds_up_and_has_true_labels_as_rows():
    predicted, true = labels(0), labels(1)
    parts = confusion(predicted[:1], true[:1], 4) + confusion(predicted[1:], true[1:], 4)
    assert torch.equal(parts, confusion(predicted, true, 4))
    assert confusion(torch.full((1, 2, 3), 2), torch.full((1, 2, 3), 1), 4)[1, 2] == 6


def test_absent_classes_are_left_out():
    predicted, true = torch.zeros(1, 2, 3, dtype=torch.long), torch.zeros(1, 2, 3, dtype=torch.long)
    true[0, 0, 0] = 3
    found = iou(confusion(predicted, true, 5))
    assert found.isnan().tolist() == [False, True, True, False, True]
    assert math.isclose(mean_iou(predicted, true, 5), (5 / 6 + 0) / 2)


def slow_boundary(picture):
    h, w = picture.shape
    found = set()
    for i in range(h):
        for j in range(w):
            for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if 0 <= a < h and 0 <= b < w and picture[a, b] != picture[i, j]:
                    found.add((i, j))
    return found


def slow_f(predicted, true, tolerance):
    scores = []
    for p, t in zip(predicted, true, strict=True):
        found, wanted = slow_boundary(p), slow_boundary(t)

        def hits(some, others):
            return sum(any(max(abs(i - a), abs(j - b)) <= tolerance for a, b in others) for i, j in some)

        if not found and not wanted:
            scores.append(1.0)
        elif not found or not wanted:
            scores.append(0.0)
        else:
            precision, recall = hits(found, wanted) / len(found), hits(wanted, found) / len(wanted)
            scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return sum(scores) / len(scores)


@pytest.mark.parametrize("tolerance", (0, 1, 2))
def test_boundary_f_equals_loops(tolerance):
    true = torch.zeros(4, 9, 11, dtype=torch.long)
    true[0, 2:5, 3:7], true[1, :, 6:], true[2, 4, 4] = 1, 2, 3  # and the last picture is empty
    predicted = true.roll((1, -1), (1, 2))
    predicted[2] = 0
    assert math.isclose(boundary_f_score(predicted, true, tolerance), slow_f(predicted, true, tolerance))
    noisy = labels(2, 2, (4, 9, 11))
    assert math.isclose(boundary_f_score(noisy, true, tolerance), slow_f(noisy, true, tolerance))


def test_boundary_equals_loops():
    picture = labels(5, 3, (2, 6, 8))
    for one, mask in zip(picture, boundary(picture), strict=True):
        assert {tuple(p) for p in mask.nonzero().tolist()} == slow_boundary(one)


def test_near_is_a_square():
    mask = torch.zeros(1, 7, 9, dtype=torch.bool)
    mask[0, 3, 4] = True
    assert near(mask, 2).sum() == 25 and near(mask, 0).equal(mask)


def test_perfect_and_empty():
    true = labels(3)
    assert boundary_f_score(true, true) == 1 and mean_iou(true, true, 4) == 1
    assert boundary_f_score(true * 0, true) == 0


@pytest.mark.parametrize("metric", (boundary_f_score, lambda p, t: mean_iou(p, t, 4)))
def test_shapes_must_agree(metric):
    with pytest.raises(ValueError, match=r"both be \[N,H,W\]; got \[3, 7, 5\] and \[3, 7, 4\]"):
        metric(labels(0), labels(0, shape=(3, 7, 4)))


@pytest.mark.parametrize("value, name", ((4, "predicted"), (-1, "predicted")))
def test_labels_out_of_range_are_named(value, name):
    bad = labels(0)
    bad[0, 0, 0] = value
    with pytest.raises(ValueError, match=rf"{name} must hold labels 0..3"):
        confusion(bad, labels(1), 4)
