"""Improved precision and recall (Kynkaanniemi et al., 2019): how many samples look real, how much of real is covered."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .features import check_features

CHUNK = 1000  # rows of a distance matrix at a time


class PrecisionRecall(NamedTuple):
    """Two shares in [0, 1]."""

    precision: float  # samples that lie within the real set's manifold
    recall: float  # real pictures that lie within the samples' manifold


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Estimates each set's manifold by balls around its points, out to the k-th nearest neighbour (section 2, eq. 1).

    Both depend on the number of samples and on k: compare at equal N, beside the figure of real against real.

    Args:
        real: [N, D] features. fake: [M, D] features. k: neighbours, a point itself not counted.

    Returns:
        (precision, recall).

    Raises:
        ValueError: shapes or values are wrong, or a set has no k other points.

    >>> real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    >>> precision_recall(real, torch.tensor([[0.5], [1.5], [30.0]]), k=1)
    PrecisionRecall(precision=0.6666666666666666, recall=0.75)
    """
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be an integer of at least 1; got {k!r}")
    real, fake = check_features("real", real, k + 1), check_features("fake", fake, k + 1)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real and fake need features of one width; got {real.shape[1]} and {fake.shape[1]}")
    centre = real.mean(0)  # distances do not change, but lose fewer digits near the origin
    real, fake = (real - centre).float(), (fake - centre).float()
    return PrecisionRecall(_covered(fake, real, radii(real, k)), _covered(real, fake, radii(fake, k)))


def radii(points: Tensor, k: int) -> Tensor:
    """Distance of each point, [N, D], to its k-th nearest other one, [N]."""
    # The nearest of the k + 1 smallest distances is a point's own, 0.
    return torch.cat([torch.cdist(part, points).kthvalue(k + 1, dim=1).values for part in points.split(CHUNK)])


def _covered(points: Tensor, centres: Tensor, radius: Tensor) -> float:
    """Share of points that lie in at least one ball."""
    inside = [(torch.cdist(part, centres) <= radius).any(1) for part in points.split(CHUNK)]
    return torch.cat(inside).double().mean().item()
