"""How much of one set of features lies within the other: precision and recall, density and coverage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .features import as_features

CHUNK = 1 << 22  # distances held at once: 32 MB of float64


class PrecisionRecall(NamedTuple):
    """Shares in [0,1]."""

    precision: float  # generated features that lie among the real ones
    recall: float  # real features that lie among the generated ones


class DensityCoverage(NamedTuple):
    """Density may exceed 1; coverage is a share in [0,1]."""

    density: float
    coverage: float


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al., 2019, eqs. 1-2).

    A set's manifold is the union of balls about its features, each reaching to that feature's k-th nearest neighbour
    in the set (itself not counted).

    Args:
        real: [N,D]. fake: [M,D]. Both finite; computed in float64 in chunks, never as one [N,M] table.
        k: neighbours; less than N and M.

    Returns:
        precision: share of fakes within the manifold of the reals; recall: share of reals within that of the fakes.

    Raises:
        ValueError: shapes disagree, a value is not finite, or there are too few features for `k`.

    >>> real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> precision_recall(real, torch.tensor([[1.5], [1.6], [9.0]]), k=1)
    PrecisionRecall(precision=0.6666666666666666, recall=0.5)
    """
    real, fake, slack = _pair(real, fake, k)
    real_radii, fake_radii = _radii(real, k) + slack, _radii(fake, k) + slack  # [N], [M]
    fake_inside = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    real_inside = []
    for rows, d in _distances(real, fake):  # d: [n, M]
        fake_inside |= (d <= real_radii[rows, None]).any(dim=0)
        real_inside.append((d <= fake_radii).any(dim=1))
    return PrecisionRecall(_share(fake_inside), _share(torch.cat(real_inside)))


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al., 2020, eqs. 4-5), with the real features' balls as in `precision_recall`.

    Args:
        real: [N,D]. fake: [M,D]. Both finite.
        k: neighbours; less than N.

    Returns:
        density: mean number of real balls that a fake lies in, divided by k; coverage: share of real balls that hold a
        fake.

    Raises:
        ValueError: shapes disagree, a value is not finite, or there are too few features for `k`.

    >>> real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> density_coverage(real, torch.tensor([[1.5], [1.6], [9.0]]), k=1)
    DensityCoverage(density=1.3333333333333333, coverage=0.5)
    """
    real, fake, slack = _pair(real, fake, k, both=False)
    radii, hits, covered = _radii(real, k) + slack, 0, []
    for rows, d in _distances(real, fake):
        inside = d <= radii[rows, None]
        hits += int(inside.sum())
        covered.append(inside.any(dim=1))
    return DensityCoverage(hits / (k * len(fake)), _share(torch.cat(covered)))


def _radii(x: Tensor, k: int) -> Tensor:
    """Squared distance of each feature to its k-th nearest neighbour, itself not counted, [N]."""
    found = []
    for rows, d in _distances(x, x):
        d.diagonal(rows.start).fill_(torch.inf)
        found.append(d.topk(k, dim=1, largest=False).values[:, -1])  # kthvalue takes eight times as long
    return torch.cat(found)


def _distances(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yields (rows, squared distances [n, M]) for successive rows of `a`."""
    norms = b.square().sum(dim=1)  # [M]
    step = max(1, CHUNK // len(b))
    for start in range(0, len(a), step):
        part = a[start : start + step]
        own = part.square().sum(dim=1, keepdim=True)  # [n, 1]
        yield slice(start, start + len(part)), ((-2 * part) @ b.mT).add_(norms).add_(own).clamp_min_(0)


def _pair(real: Tensor, fake: Tensor, k: int, both: bool = True) -> tuple[Tensor, Tensor, float]:
    """Both sets in float64 about the origin, and how much rounding may move a squared distance."""
    real, fake = as_features("real", real), as_features("fake", fake)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"real and fake must have the same dimension; got {real.shape[1]} and {fake.shape[1]}")
    fewest = min(len(real), len(fake)) if both else len(real)
    if not isinstance(k, int) or not 1 <= k < fewest:
        raise ValueError(f"k must be an integer in 1..{fewest - 1}, fewer than there are features; got {k!r}")
    centre = real.mean(dim=0)
    real, fake = real - centre, fake.to(real.device) - centre
    # A point on the edge of a ball counts (eq. 1 has <=), but |a|^2 - 2ab + |b|^2 rounds: without slack, equal points
    # would lie outside each other's balls by chance.
    largest = torch.cat([real, fake]).square().sum(dim=1).max().item()
    return real, fake, 1e-13 * largest


def _share(inside: Tensor) -> float:
    return inside.double().mean().item()
