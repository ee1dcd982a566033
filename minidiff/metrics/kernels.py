"""Distances by kernels: the KID where the features are Inception-v3's, and the CMMD where they are CLIP's."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .features import as_pair

CHUNK = 1 << 22  # kernel values held at once: 32 MB of float64
SIGMA, SCALE = 10.0, 1000.0  # of CMMD (Jayasumana et al., 2024, section 4)


class KernelDistance(NamedTuple):
    """Over random subsets: their mean, and how far one subset lies from it."""

    mean: float
    std: float  # divided by the number of subsets, as in the KID's own code; no error of `mean`


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Kernel distance over random subsets (Binkowski et al., 2018, section 4): the KID in Inception-v3's features.

    Unlike the Frechet distance its expectation does not depend on N and M: two samples of one distribution give 0 on
    average, so that values below 0 occur. `mmd2` of all features has less noise than the mean over subsets; the subsets
    are what the field reports.

    Args:
        real: [N,D]. fake: [M,D].
        subsets: how many are drawn, each without replacement from both sets.
        size: features of each set in a subset, at most N and M. Where it equals both, all subsets are one, and `std` is
            0 whatever the noise.
        seed: of the draws.

    Raises:
        ValueError: features are none or disagree, or there are fewer than `size`.

    >>> x = torch.arange(12.0).view(6, 2)
    >>> kernel_distance(x, x + 1, subsets=1, size=6).mean == mmd2(x, x + 1)
    True
    """
    real, fake = as_pair(real, fake)
    fewest = min(len(real), len(fake))
    if subsets < 1:
        raise ValueError(f"subsets must be at least 1; got {subsets}")
    if not 2 <= size <= fewest:
        raise ValueError(f"size must be in 2..{fewest}, at most the features of each set; got {size}")
    rng = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        a, b = (x[torch.randperm(len(x), generator=rng)[:size].to(x.device)] for x in (real, fake))
        values.append(_mmd2(a, b))
    found = torch.tensor(values, dtype=torch.float64)
    return KernelDistance(found.mean().item(), found.std(correction=0).item())


def mmd2(real: Tensor, fake: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3 (Gretton et al., 2012, eq. 3).

    Args:
        real: [N,D] with N of at least 2. fake: [M,D]; N and M may differ.

    Returns:
        An estimate whose expectation is 0 for equal distributions; it may be negative.

    Raises:
        ValueError: features are none or disagree, or a set has only one.

    >>> a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    >>> mmd2(a, b)  # k(0,1) + k(0,2) - 2 * mean of k(0,0), k(0,2), k(1,0), k(1,2)
    -13.0
    """
    real, fake = as_pair(real, fake)
    for name, x in (("real", real), ("fake", fake)):
        if len(x) < 2:
            raise ValueError(f"{name} must hold at least 2 features; got {len(x)}")
    return _mmd2(real, fake)


def cmmd(real: Tensor, fake: Tensor) -> float:
    """1000 times the squared MMD of directions, Gaussian kernel of width 10 (Jayasumana et al., 2024, section 4).

    The features are CLIP's image embeddings (ViT-L/14 at 336 pixels in the paper), brought to unit length here. As in
    the authors' code, this is the biased estimate, in which a feature is also compared with itself: it is at least 0,
    and two samples of one distribution are at a distance that falls as 1/N.

    Args:
        real: [N,D]. fake: [M,D].

    Raises:
        ValueError: features are none or disagree, or one is zero and has no direction.

    >>> cmmd(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]]))  # 1000 * 2 * (1 - exp(-2 / 200))
    19.90033...
    """
    real, fake = as_pair(real, fake)
    real, fake = unit("real", real), unit("fake", fake)

    def mean(a: Tensor, b: Tensor) -> float:
        # |a - b|^2 = 2 - 2 a.b; the kernel less 1, because all of its values are near 1 and their difference is wanted.
        return _mean(a, b, lambda dot: torch.expm1((dot - 1) / SIGMA**2))

    return max(0.0, SCALE * (mean(real, real) + mean(fake, fake) - 2 * mean(real, fake)))


def unit(name: str, x: Tensor) -> Tensor:
    """Features [N,D] brought to unit length.

    Raises:
        ValueError: a feature is zero.
    """
    x = x / x.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    norms = x.norm(dim=1, keepdim=True)
    if bool((norms == 0).any()):
        raise ValueError(f"{name} must have a direction in each row; {int((norms == 0).sum())} of {len(x)} are zero")
    return x / norms


def _cubic(x: Tensor, dot: Tensor) -> Tensor:
    """The kernel of features like x [N,D] from their products."""
    return (dot / x.shape[1] + 1) ** 3


def _mmd2(a: Tensor, b: Tensor) -> float:
    def within(x: Tensor) -> float:
        n = len(x)
        own = _cubic(x, x.square().sum(dim=1)).mean().item()
        return (n * _mean(x, x, lambda dot: _cubic(x, dot)) - own) / (n - 1)

    return within(a) + within(b) - 2 * _mean(a, b, lambda dot: _cubic(a, dot))


def _mean(a: Tensor, b: Tensor, kernel: Callable[[Tensor], Tensor]) -> float:
    """Mean of kernel(a_i . b_j) over all pairs."""
    total, step = 0.0, max(1, CHUNK // len(b))
    for part in a.split(step):
        total += kernel(part @ b.mT).sum().item()
    return total / (len(a) * len(b))
