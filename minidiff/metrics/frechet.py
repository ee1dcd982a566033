"""Frechet distance between two Gaussians fitted to features (Heusel et al., 2017, eq. 6).

In Inception features it is called FID. In other features it is a Frechet distance in those features, and its numbers
cannot be compared with FID's.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .features import check_features


class Moments:
    """Mean and covariance of features that arrive in batches, in float64 (Chan et al.'s parallel update).

    Any split into batches, or over several `Moments` that are merged, gives the same result within rounding.
    """

    def __init__(self):
        self.n, self.mean, self.scatter = 0, None, None

    def update(self, batch: Tensor) -> Moments:
        """Adds features [N, D].

        Raises:
            ValueError: `batch` is no finite [N, D], or D differs from before.
        """
        x = check_features("batch", batch)
        mean = x.mean(0)
        centred = x - mean
        return self._add(len(x), mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """Adds what another process has collected."""
        return self if other.n == 0 else self._add(other.n, other.mean, other.scatter)

    def result(self) -> tuple[Tensor, Tensor]:
        """(mean [D], unbiased covariance [D, D]), float64.

        Raises:
            ValueError: fewer than two samples have been added.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 samples; got {self.n}")
        return self.mean, self.scatter / (self.n - 1)

    def _add(self, n: int, mean: Tensor, scatter: Tensor) -> Moments:
        if self.n == 0:
            self.n, self.mean, self.scatter = n, mean, scatter
            return self
        if mean.shape != self.mean.shape:
            raise ValueError(f"features must keep D = {len(self.mean)}; got {len(mean)}")
        total, gap = self.n + n, mean - self.mean
        self.scatter = self.scatter + scatter + torch.outer(gap, gap) * (self.n * n / total)
        self.mean = self.mean + gap * (n / total)
        self.n = total
        return self


def moments(features: Tensor | Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean [D] and unbiased covariance [D, D], float64, of features [N, D] or of an iterable of such batches.

    >>> mean, cov = moments(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
    >>> mean.tolist(), cov.tolist()
    ([1.0, 1.0], [[2.0, 0.0], [0.0, 0.0]])
    """
    collected = Moments()
    for batch in [features] if isinstance(features, Tensor) else features:
        collected.update(batch)
    return collected.result()


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """|mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)) (Dowson & Landau, 1982).

    The trace of the root is the sum of the roots of the eigenvalues of A^T cov2 A with cov1 = A A^T, a symmetric
    matrix; a general matrix square root would lose digits and return imaginary parts.

    Args:
        mean1: [D]. cov1: [D, D] symmetric, positive semi-definite. mean2, cov2: the same of the other set.

    Returns:
        The squared distance, at least 0.

    Raises:
        ValueError: shapes disagree, a value is not finite, or a covariance is not symmetric.

    >>> zero, one = torch.zeros(1), torch.ones(1, 1)
    >>> frechet_distance(zero, one, zero + 3, 4 * one)  # (3 - 0)^2 + (2 - 1)^2
    10.0
    """
    mean1, cov1 = _check_moments("1", mean1, cov1)
    mean2, cov2 = _check_moments("2", mean2, cov2)
    if mean1.shape != mean2.shape:
        raise ValueError(f"both sets need features of one width; got {len(mean1)} and {len(mean2)}")
    root = _factor(cov1)
    values = torch.linalg.eigvalsh(root.T @ cov2 @ root).clamp_min(0)
    distance = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * values.sqrt().sum()
    return max(0.0, distance.item())


def _factor(cov: Tensor) -> Tensor:
    """A with A A^T = cov: Cholesky where the matrix has full rank, else from its eigenvectors."""
    factor, failed = torch.linalg.cholesky_ex(cov)
    if not failed:
        return factor
    values, vectors = torch.linalg.eigh(cov)
    return vectors * values.clamp_min(0).sqrt()


def _check_moments(which: str, mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
    mean, cov = torch.as_tensor(mean).double(), torch.as_tensor(cov).double()
    if mean.ndim != 1 or cov.shape != (len(mean), len(mean)):
        shapes = f"{list(mean.shape)} and {list(cov.shape)}"
        raise ValueError(f"mean{which} must be [D] and cov{which} [D, D]; got {shapes}")
    if not bool(mean.isfinite().all() and cov.isfinite().all()):
        raise ValueError(f"mean{which} and cov{which} must be finite; they hold NaN or infinity")
    if not torch.allclose(cov, cov.T, rtol=1e-6, atol=1e-6 * cov.abs().max().item()):
        raise ValueError(f"cov{which} must be symmetric")
    return mean, (cov + cov.T) / 2
