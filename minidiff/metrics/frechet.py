"""Frechet distance between two Gaussians: the FID where the features are Inception-v3's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .features import as_pair, moments

EPS = torch.finfo(torch.float64).eps
BLOCK = 192  # rows and columns; a block of float64 fits a processor's second cache


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """|mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)) (Dowson & Landau, 1982; Heusel et al., 2017, eq. 6).

    Computed in float64 without the square root of a matrix. Where the feature extractor is not FID's Inception-v3,
    this is no FID but a "Frechet distance in ... features"; it falls with the number of samples (`frechet_bias`), so
    report N beside it.

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
    unit = max(cov1.diagonal().max().item(), cov2.diagonal().max().item())
    if 1e-140 < unit < 1e140:
        return max(0.0, _distance(mean1, cov1, mean2, cov2))
    if unit == 0:  # two points
        return (mean1 - mean2).square().sum().item()
    root = unit**0.5  # traces and products of such covariances could leave float64's range
    return max(0.0, _distance(mean1 / root, cov1 / unit, mean2 / root, cov2 / unit)) * unit


def frechet_from_features(real: Tensor, fake: Tensor) -> float:
    """`frechet_distance` of the two sets' moments, quicker and more exact where features are fewer than dimensions.

    With centred features A [N,D] and B [M,D], tr(cov1 cov2)^(1/2) is the sum of the singular values of
    A B^T / sqrt((N-1)(M-1)): an [N,M] matrix, in which no root enlarges an error.

    Args:
        real: [N,D] with N of at least 2. fake: [M,D].

    Returns:
        The distance, at least 0.

    Raises:
        ValueError: features are none or disagree, or a set has only one.

    >>> x = torch.arange(12.0).view(4, 3) ** 2
    >>> round(frechet_from_features(x, x + 2), 9)
    12.0
    """
    real, fake = as_pair(real, fake)
    for name, x in (("real", real), ("fake", fake)):
        if len(x) < 2:
            raise ValueError(f"{name} must hold at least 2 features; got {len(x)}")
    if min(len(real), len(fake)) > real.shape[1]:
        return frechet_distance(*moments(real), *moments(fake))
    size = max(x.abs().max().item() for x in (real, fake)) or 1.0
    (mean1, a), (mean2, b) = (_mean_and_factor(x / size) for x in (real, fake))
    root = torch.linalg.svdvals(a.mT @ b).sum()
    distance = (mean1 - mean2).square().sum() + a.square().sum() + b.square().sum() - 2 * root
    return max(0.0, distance.item()) * size**2


def frechet_bias(cov: Tensor, n: int, m: int) -> float:
    """Expected `frechet_distance` of samples of `n` and `m` features of one Gaussian: what sample size alone costs.

    The means' share is tr(cov) (1/n + 1/m). For the covariances' share, S1 S2 has the eigenvalues of W1 cov W2 cov with
    white Wishart matrices W1, W2; for large D they are free of one another and of cov (Voiculescu, 1987), so that
    S-transforms multiply: 1 / (1 + c z) for each W (Marchenko & Pastur, 1967), c = D / (n - 1), and that of cov^2. The
    moment of order 1/2 then is one integral,

        E tr (S1 S2)^(1/2) = 2D/pi int_0^p ((1 - c1 w) (1 - c2 w) / v(w))^(1/2) dw,    p = min(1, 1/c1, 1/c2),

    where v(w) solves w = mean_i v l_i^2 / (1 + v l_i^2) over the eigenvalues l_i of cov. Real numbers, unlike complex
    ones, add a term of order 1/D: tr(cov) / 4 (1/(n-1) + 1/(m-1)), exact for large n; it stops growing where n falls to
    the effective dimension tr(cov)^2 / tr(cov^2). In simulations with equal, spread and spiked eigenvalues the result
    lies within 2 % for n and m of at least 2 D, and within 7 % down to n = m = 3.

    Args:
        cov: [D,D], of the distribution. A sample's covariance may stand in for it; if that sample has no more features
            than dimensions, the result is too low, by about half where the eigenvalues are equal.
        n: features in one sample, at least 2. m: in the other.

    Raises:
        ValueError: `cov` is no covariance, or `n` or `m` is below 2.

    >>> round(frechet_bias(torch.eye(128), 129, 129)), round(frechet_bias(torch.eye(128), 4096, 4096), 1)
    (66, 2.1)
    """
    _, cov = _checked("", torch.zeros(len(cov) if torch.as_tensor(cov).ndim else 0), cov)
    if min(n, m) < 2:
        raise ValueError(f"n and m must be at least 2; got {n} and {m}")
    eigenvalues = torch.linalg.eigvalsh(cov).cpu()
    eigenvalues = eigenvalues[_positive("cov", eigenvalues)]
    if len(eigenvalues) == 0:
        return 0.0
    top = eigenvalues[-1].item()
    eigenvalues = eigenvalues / top
    trace = eigenvalues.sum().item()
    real = [trace / 4 * min(1 / (size - 1), eigenvalues.square().sum().item() / trace**2) for size in (n, m)]
    covariances = 2 * _shortfall(eigenvalues, n - 1, m - 1) + sum(real)
    return top * (trace * (1 / n + 1 / m) + covariances)


def _shortfall(eigenvalues: Tensor, n: int, m: int) -> float:
    """tr cov - E tr (S1 S2)^(1/2) by the integral of `frechet_bias`, for eigenvalues of at most 1.

    With g for the root of (1 - c1 w) (1 - c2 w), or 0 beyond p, it is 2D/pi int (1 - g) v^(-1/2) dw: nothing cancels
    where n is large. In y = log v each eigenvalue is a step of width 1; y = end - x^2 smooths g's root at w = p.
    """
    dims, logs = len(eigenvalues), 2 * eigenvalues.log()
    c1, c2 = dims / n, dims / m

    def missing(w: Tensor) -> Tensor:
        a, b = (c1 * w).clamp_max(1), (c2 * w).clamp_max(1)
        return (a + b - a * b) / (1 + ((1 - a) * (1 - b)).sqrt())  # 1 - g

    low, high, p = -60.0, 60.0 - logs[0].item(), min(1.0, 1 / c1, 1 / c2)
    for _ in range(60):  # bisection of w(y) = p
        middle = (low + high) / 2
        low, high = (middle, high) if (middle + logs).sigmoid().mean() < p else (low, middle)
    step = 0.01
    x = torch.arange(step / 2, (high + 60) ** 0.5, step, dtype=torch.float64)
    y = high - x.square()
    steps = (y[:, None] + logs).sigmoid()
    slope = (steps * (1 - steps)).mean(dim=1)  # dw / dy
    below = (missing(steps.mean(dim=1)) * slope * (-y / 2).exp() * 2 * x * step).sum()
    s = eigenvalues * math.exp(high / 2)
    above = (
        missing(torch.tensor(p, dtype=torch.float64))
        * (eigenvalues * (s.reciprocal().atan() - s / (1 + s.square()))).mean()
    )
    return 2 * dims / torch.pi * (below + above).item()


def _distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """The distance before it is kept from falling below 0."""
    traces = cov1.trace() + cov2.trace()
    return ((mean1 - mean2).square().sum() + traces - 2 * _trace_of_root(cov1, cov2)).item()


def _trace_of_root(cov1: Tensor, cov2: Tensor) -> Tensor:
    """tr (cov1 cov2)^(1/2), [] float64."""
    alive = (cov1.diagonal() > 0) & (cov2.diagonal() > 0)
    if not bool(alive.any()):
        return torch.zeros_like(cov1[0, 0])
    if not bool(alive.all()):  # a feature that is constant in one set adds nothing
        cov1, cov2 = cov1[alive][:, alive], cov2[alive][:, alive]
    trace1, trace2 = cov1.trace(), cov2.trace()
    scale = trace1.sqrt() * trace2.sqrt()
    factor, failed = torch.linalg.cholesky_ex(cov1)
    if not failed:
        # cov1 = L L^T, so cov1 cov2 has the eigenvalues of the symmetric L^T cov2 L.
        eigenvalues = torch.linalg.eigvalsh(_congruence(factor.div_(scale), cov2))
        roots = eigenvalues.clamp_min(0).sqrt()
        # An eigenvalue is right to about EPS times the two norms, and its root to half that over the root: small
        # eigenvalues lose their digits here. Where that could show, the slower way below keeps them.
        noise = EPS * (cov1.norm() / trace1) * (cov2.norm() / trace2)
        if noise * roots.reciprocal().sum() < 1e-9:
            return scale * roots.sum()
    # cov1 = A A^T and cov2 = B B^T: the singular values of A^T B are those roots, and no square root enlarges an error.
    a, b = _factor("cov1", cov1 / trace1), _factor("cov2", cov2 / trace2)
    return scale * torch.linalg.svdvals(a.mT @ b).sum()


def _congruence(factor: Tensor, cov: Tensor) -> Tensor:
    """Lower triangle of L^T cov L, by blocks; what stands above the diagonal is undefined.

    The zeros above L's diagonal and half of the symmetric result are left out: a quarter of two products' arithmetic.
    """
    product = torch.empty_like(cov).mT  # by columns, as LAPACK takes it
    for start in range(0, len(cov), BLOCK):  # cov L, from its diagonal down
        stop = start + BLOCK
        torch.mm(cov[start:, start:], factor[start:, start:stop], out=product[start:, start:stop])
    for start in range(0, len(cov), BLOCK):  # its rows below are still cov L, the rows above are done
        stop = start + BLOCK
        product[start:stop, :stop] = factor[start:, start:stop].mT @ product[start:, :stop]
    return product


def _factor(name: str, cov: Tensor) -> Tensor:
    """A [D,r] with A A^T = cov, r its numerical rank.

    Raises:
        ValueError: `cov` has a negative eigenvalue.
    """
    factor, failed = torch.linalg.cholesky_ex(cov)
    if not failed:
        return factor
    eigenvalues, vectors = torch.linalg.eigh(cov)
    keep = _positive(name, eigenvalues)
    return vectors[:, keep] * eigenvalues[keep].sqrt()


def _positive(name: str, eigenvalues: Tensor) -> Tensor:
    """Which of a covariance's ascending eigenvalues [D] are above rounding, [D] bool.

    Raises:
        ValueError: one is clearly negative.
    """
    low, high = eigenvalues[0].item(), eigenvalues[-1].item()
    if low < -1e-5 * abs(high):
        raise ValueError(f"{name} must be positive semi-definite; its eigenvalues go from {low:g} to {high:g}")
    return eigenvalues > len(eigenvalues) * EPS * high


def _mean_and_factor(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] of features [N,D] and A [D, at most D] with A A^T their covariance."""
    if len(x) > x.shape[1]:
        mean, cov = moments(x)
        return mean, _factor("cov", cov)
    mean = x.mean(dim=0)
    return mean, (x - mean).mT / (len(x) - 1) ** 0.5


def _checked(which: str, mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
    mean, cov = torch.as_tensor(mean), torch.as_tensor(cov)
    if mean.ndim != 1 or cov.shape != (len(mean), len(mean)) or len(mean) == 0:
        raise ValueError(
            f"mean{which} must be [D] and cov{which} [D,D] with D of at least 1; "
            f"got {list(mean.shape)} and {list(cov.shape)}"
        )
    device = torch.device("cpu") if cov.device.type == "mps" else cov.device  # MPS has no float64
    mean, cov = mean.to(device).double(), cov.to(device).double()
    low, high = cov.aminmax()
    spread = high - low  # not finite where a value is not
    for name, value, finite in [(f"mean{which}", mean, mean.isfinite().all()), (f"cov{which}", cov, spread.isfinite())]:
        if not bool(finite):
            raise ValueError(f"{name} must be finite; {int((~value.isfinite()).sum())} of its values are not")
    skew = _skew(cov)
    if skew > 1e-5 * max(-low.item(), high.item()):
        raise ValueError(f"cov{which} must be symmetric; it differs from its transpose by {skew:g}")
    if cov.diagonal().min() < 0:
        raise ValueError(f"cov{which} must have no negative variance; got {cov.diagonal().min().item():g}")
    return mean, (cov + cov.mT) / 2 if skew else cov


def _skew(cov: Tensor) -> float:
    """Largest |cov - cov^T|, by blocks: a transposed read of the whole misses the cache at every value."""
    largest = cov.new_zeros(())
    for i in range(0, len(cov), BLOCK):
        for j in range(0, i + 1, BLOCK):
            part = cov[i : i + BLOCK, j : j + BLOCK] - cov[j : j + BLOCK, i : i + BLOCK].mT
            largest = torch.maximum(largest, part.abs().max())
    return largest.item()
