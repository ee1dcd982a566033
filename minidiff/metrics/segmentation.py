"""How well labels of pixels agree: intersection over union, and how well the boundaries do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def confusion(predicted: Tensor, true: Tensor, classes: int) -> Tensor:
    """Pixels of each pair of labels; matrices of several batches add up.

    Args:
        predicted: [N,H,W] int64 labels. true: likewise.
        classes: number of labels.

    Returns:
        [classes, classes] int64; row: true label, column: predicted one.

    Raises:
        ValueError: shapes differ, or a label is out of range.

    >>> confusion(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 1]]]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    _check(predicted, true)
    for name, labels in (("predicted", predicted), ("true", true)):
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise ValueError(f"{name} must hold labels 0..{classes - 1}; got {int(labels.min())}..{int(labels.max())}")
    pairs = (true * classes + predicted).flatten()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def iou(matrix: Tensor) -> Tensor:
    """Intersection over union of each class (Everingham et al., 2010, section 4.1), over all pixels together.

    Args:
        matrix: [K,K] from `confusion`.

    Returns:
        [K] float64 in [0,1]; NaN for a class that is neither there nor predicted.

    >>> iou(torch.tensor([[1, 1], [0, 1]])).tolist()
    [0.5, 0.5]
    """
    matrix = matrix.double()
    both = matrix.diagonal()
    return both / (matrix.sum(0) + matrix.sum(1) - both)


def mean_iou(predicted: Tensor, true: Tensor, classes: int) -> float:
    """Mean of `iou` over the classes that are there or predicted. Arguments as for `confusion`."""
    return iou(confusion(predicted, true, classes)).nanmean().item()


def boundary(labels: Tensor) -> Tensor:
    """The pixels with a neighbour (above, below, left or right) of another label.

    Args:
        labels: [N,H,W] int64.

    Returns:
        [N,H,W] bool.

    >>> boundary(torch.tensor([[[0, 0, 1, 1]]])).tolist()
    [[[False, True, True, False]]]
    """
    found = torch.zeros_like(labels, dtype=torch.bool)
    down, right = labels[:, 1:] != labels[:, :-1], labels[:, :, 1:] != labels[:, :, :-1]
    found[:, 1:] |= down
    found[:, :-1] |= down
    found[:, :, 1:] |= right
    found[:, :, :-1] |= right
    return found


def near(mask: Tensor, distance: int) -> Tensor:
    """The pixels within `distance` rows and columns of a marked one.

    Args:
        mask: [N,H,W] bool.
        distance: at least 0.

    Returns:
        [N,H,W] bool.
    """
    side = 2 * distance + 1
    return F.max_pool2d(mask[:, None].float(), side, stride=1, padding=distance)[:, 0] > 0


def boundary_f_score(predicted: Tensor, true: Tensor, tolerance: int = 1) -> float:
    """Harmonic mean of the boundaries' precision and recall, averaged over pictures (after Csurka et al., 2013).

    Precision is the share of predicted boundary pixels within `tolerance` rows and columns of a true one, recall the
    share of true ones within it of a predicted one. Two pictures without a boundary score 1; one without, 0.

    Args:
        predicted: [N,H,W] int64 labels. true: likewise.
        tolerance: pixels.

    Raises:
        ValueError: shapes differ.

    >>> true = torch.tensor([[[0, 0, 1, 1, 1, 1]]])
    >>> boundary_f_score(torch.tensor([[[0, 0, 0, 1, 1, 1]]]), true), boundary_f_score(true * 0, true)
    (1.0, 0.0)
    """
    _check(predicted, true)
    found, wanted = boundary(predicted), boundary(true)
    precise = (found & near(wanted, tolerance)).flatten(1).sum(1).double() / found.flatten(1).sum(1).clamp_min(1)  # [N]
    recalled = (wanted & near(found, tolerance)).flatten(1).sum(1).double() / wanted.flatten(1).sum(1).clamp_min(1)
    score = 2 * precise * recalled / (precise + recalled).clamp_min(1e-12)
    empty = ~(found | wanted).flatten(1).any(1)
    return torch.where(empty, 1.0, score).mean().item()


def _check(predicted: Tensor, true: Tensor) -> None:
    if predicted.ndim != 3 or predicted.shape != true.shape:
        raise ValueError(f"predicted and true must both be [N,H,W]; got {list(predicted.shape)} and {list(true.shape)}")
