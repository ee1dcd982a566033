"""Frechet distance between two Gaussians: the FID where the features are Inception-v3's."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = torch.finfo(torch.float64).eps


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """|mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)) (Dowson & Landau, 1982; Heusel et al., 2017, eq. 6).

    Computed in float64 without the square root of a matrix. Where the feature extractor is not FID's Inception-v3,
    this is no FID but a "Frechet distance in ... features"; it falls with the number of samples, so report N beside it.

    Args:
        mean1: [D]. cov1: [D,D], symmetric and positive semi-definite; may be rank-deficient or zero.
        mean2: [D]. cov2: [D,D].

    Returns:
        The distance, at least 0.

    Raises:
        ValueError: a shape is wrong, or a value is not finite, or a covariance is none.

    >>> one, eye = torch.ones(2), torch.eye(2)
    >>> round(frechet_distance(0 * one, eye, one, 4 * eye), 12)
    4.0
    """
    mean1, cov1 = _checked("1", mean1, cov1)
    mean2, cov2 = _checked("2", mean2, cov2)
    if mean1.shape != mean2.shape:
        raise ValueError(f"both Gaussians must have the same dimension; got {len(mean1)} and {len(mean2)}")
    mean2, cov2 = mean2.to(mean1.device), cov2.to(mean1.device)
    distance = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * _trace_of_root(cov1, cov2)
    return max(0.0, distance.item())


def _trace_of_root(cov1: Tensor, cov2: Tensor) -> Tensor:
    """tr (cov1 cov2)^(1/2), [] float64."""
    scale1, scale2 = cov1.trace(), cov2.trace()
    if scale1 <= 0 or scale2 <= 0:  # constant features
        return torch.zeros_like(scale1)
    cov1, cov2, scale = cov1 / scale1, cov2 / scale2, (scale1.sqrt() * scale2.sqrt())
    factor, failed = torch.linalg.cholesky_ex(cov1)
    if not failed:
        # cov1 = L L^T, so cov1 cov2 has the eigenvalues of the symmetric L^T cov2 L.
        eigenvalues = torch.linalg.eigvalsh(factor.mT @ cov2 @ factor)
        roots = eigenvalues.clamp_min(0).sqrt()
        # Each eigenvalue is right to about EPS times the largest, and its root to half that over the root: small
        # eigenvalues lose their digits here. Where that could show, the slower way below keeps them.
        if eigenvalues[0] > 0 and EPS * eigenvalues[-1] * roots.reciprocal().sum() < 1e-9 * roots.sum():
            return scale * roots.sum()
    # cov1 = A A^T and cov2 = B B^T: the singular values of A^T B are those roots, and no square root enlarges an error.
    return scale * torch.linalg.svdvals(_factor("cov1", cov1).mT @ _factor("cov2", cov2)).sum()


def _factor(name: str, cov: Tensor) -> Tensor:
    """A [D,r] with A A^T = cov, r its numerical rank.

    Raises:
        ValueError: `cov` has a clearly negative eigenvalue.
    """
    eigenvalues, vectors = torch.linalg.eigh(cov)
    if eigenvalues[0] < -1e-5 * eigenvalues[-1]:
        raise ValueError(
            f"{name} must be positive semi-definite; its eigenvalues go from {eigenvalues[0]:g} to {eigenvalues[-1]:g} "
            "times its trace"
        )
    keep = eigenvalues > len(cov) * EPS * eigenvalues[-1]
    return vectors[:, keep] * eigenvalues[keep].sqrt()


def _checked(which: str, mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
    mean, cov = torch.as_tensor(mean), torch.as_tensor(cov)
    if mean.ndim != 1 or cov.shape != (len(mean), len(mean)) or len(mean) == 0:
        raise ValueError(
            f"mean{which} must be [D] and cov{which} [D,D] with D of at least 1; "
            f"got {list(mean.shape)} and {list(cov.shape)}"
        )
    device = torch.device("cpu") if cov.device.type == "mps" else cov.device  # MPS has no float64
    mean, cov = mean.to(device).double(), cov.to(device).double()
    for name, value in ((f"mean{which}", mean), (f"cov{which}", cov)):
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name} must be finite; {int((~value.isfinite()).sum())} of its values are not")
    if (cov - cov.mT).abs().max() > 1e-5 * cov.abs().max():
        raise ValueError(f"cov{which} must be symmetric; it differs from its transpose by {(cov - cov.mT).abs().max()}")
    if cov.diagonal().min() < 0:
        raise ValueError(f"cov{which} must have no negative variance; got {cov.diagonal().min().item():g}")
    return mean, (cov + cov.mT) / 2
