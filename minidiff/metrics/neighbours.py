"""How much of one set of features lies within the other: precision and recall, density and coverage."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .features import as_pair

CHUNK = 1 << 22  # numbers held at once: 16 MB of float32 distances
SPARE = 8  # neighbours beyond the k-th that are measured exactly
EDGE = 1 + 1e-12  # a point on the edge of a ball is inside (Kynkaanniemi et al., 2019, eq. 1), however it is rounded


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
    in the set (itself not counted). Most distances are computed in float32, in chunks, never as one [N,M] table; those
    whose rounding could change an answer are computed again in float64, so that the answer is float64's.

    Args:
        real: [N,D]. fake: [M,D].
        k: neighbours; less than N and M.

    Returns:
        precision: share of fakes within the manifold of the reals; recall: share of reals within that of the fakes.

    Raises:
        ValueError: shapes disagree, a value is not finite, or there are too few features for `k`.

    >>> real = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> precision_recall(real, torch.tensor([[1.5], [1.6], [9.0]]), k=1)
    PrecisionRecall(precision=0.6666666666666666, recall=0.5)
    """
    real, fake = _pair(real, fake, k, both=True)
    table, real_radii, fake_radii = _Squares(real, fake), _radii(real, k), _radii(fake, k)  # [N], [M]
    fake_inside = torch.zeros(len(fake.x), dtype=torch.bool, device=fake.x.device)
    real_inside = []
    for rows in table.parts():
        rough = table.rough(rows)  # [n, M]
        fake_inside |= table.at_most(real_radii[rows, None], rough, rows).any(dim=0)
        real_inside.append(table.at_most(fake_radii, rough, rows).any(dim=1))
    return PrecisionRecall(_share(fake_inside), _share(torch.cat(real_inside)))


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al., 2020, eqs. 4-5), with the real features' balls as in `precision_recall`.

    Args:
        real: [N,D]. fake: [M,D].
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
    real, fake = _pair(real, fake, k, both=False)
    table, radii, hits, covered = _Squares(real, fake), _radii(real, k), 0, []
    for rows in table.parts():
        inside = table.at_most(radii[rows, None], table.rough(rows), rows)
        hits += int(inside.sum())
        covered.append(inside.any(dim=1))
    return DensityCoverage(hits / (k * len(fake.x)), _share(torch.cat(covered)))


class _Set:
    """Features [N,D] in float64, and about `centre` [D] in units of `size`, so that none is longer than 1."""

    def __init__(self, x: Tensor, centre: Tensor, size: float):
        self.x, self.centre, self.size, self.copies = x, centre, size, {}

    def scaled(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The features in those units [N,D], and their squared lengths [N]."""
        if dtype not in self.copies:
            x = (self.x - self.centre) / self.size
            self.copies[dtype] = x.to(dtype), x.square().sum(dim=1).to(dtype)
        return self.copies[dtype]


class _Squares:
    """Squared distances between two sets in units of `size`^2: rough ones with a bounded error, and exact ones."""

    def __init__(self, a: _Set, b: _Set):
        self.a, self.b = a, b
        # Where a user lets products of float32 be rounded more coarsely (TF32), the bound below does not hold.
        self.first = torch.float32 if torch.get_float32_matmul_precision() == "highest" else torch.float64

    def parts(self) -> list[slice]:
        """Rows of the first set whose distances fit in memory at once."""
        size, step = len(self.a.x), max(1, CHUNK // len(self.b.x))
        return [slice(start, min(start + step, size)) for start in range(0, size, step)]

    def rough(self, rows: slice | Tensor, columns: slice = slice(None), dtype: torch.dtype | None = None) -> Tensor:
        """Distances of some rows of the first set to some of the second, [n,m], as |a|^2 - 2 a.b + |b|^2."""
        (a, a_squares), (b, b_squares) = (x.scaled(dtype or self.first) for x in (self.a, self.b))
        return torch.addmm(b_squares[columns], a[rows], b[columns].mT, alpha=-2).add_(a_squares[rows, None])

    def error(self, dtype: torch.dtype) -> float:
        """Bound on the error of `rough`: D products, rounded inputs, norms of at most 1 (Higham, 2002, ch. 3)."""
        return (self.a.x.shape[1] + 16) * torch.finfo(dtype).eps

    def exact(self, i: Tensor, j: Tensor) -> Tensor:
        """Distances between rows i of the first set and j of the second, both [P,1] or [P,Q], by subtraction."""
        step = max(1, CHUNK // (8 * self.a.x.shape[1] * j.shape[1]))  # three tables of float64
        pairs = zip(i.split(step), j.split(step), strict=True)
        found = [(self.a.x[i] - self.b.x[j]).square_().sum(dim=2) for i, j in pairs]
        return torch.cat(found).div_(self.a.size**2)

    def at_most(self, limits: Tensor, rough: Tensor, rows: slice) -> Tensor:
        """Whether distances are at most the limits (broadcast to [n,M]), as float64 sees it, [n,M] bool."""
        error = self.error(rough.dtype)
        inside = rough <= (limits - error).to(rough.dtype)
        i, j = (inside ^ (rough <= (limits + error).to(rough.dtype))).nonzero(as_tuple=True)
        if rough.dtype == torch.float32 and 16 * len(i) > rough.numel():  # clusters far tighter than the sets are wide
            return self.at_most(limits, self.rough(rows, dtype=torch.float64), rows)
        if len(i):
            exact = self.exact(rows.start + i[:, None], j[:, None])[:, 0]
            inside[i, j] = exact <= limits.expand_as(rough)[i, j] * EDGE
        return inside


def _radii(x: _Set, k: int) -> Tensor:
    """Squared distance of each feature to its k-th nearest neighbour, itself not counted, [N]."""
    table, size, step = _Squares(x, x), len(x.x), max(1, math.isqrt(CHUNK))
    count = min(k + SPARE, size - 1)
    best = torch.full((size, count), torch.inf, dtype=table.first, device=x.x.device)
    who = torch.zeros_like(best, dtype=torch.int64)

    def offer(rows: slice, rough: Tensor, start: int) -> None:
        values, columns = rough.topk(min(count, rough.shape[1]), dim=1, largest=False)  # quicker than kthvalue
        values, columns = torch.cat([best[rows], values], dim=1), torch.cat([who[rows], columns + start], dim=1)
        best[rows], order = values.topk(count, dim=1, largest=False)
        who[rows] = columns.gather(1, order)

    blocks = [slice(start, start + step) for start in range(0, size, step)]
    for at, rows in enumerate(blocks):  # the table is symmetric: each block of it serves its rows and its columns
        for columns in blocks[at:]:
            rough = table.rough(rows, columns)
            if columns is rows:
                rough.diagonal().fill_(torch.inf)
            else:
                offer(columns, rough.mT.contiguous(), rows.start)
            offer(rows, rough, columns.start)
    found = table.exact(torch.arange(size, device=who.device)[:, None], who).kthvalue(k, dim=1).values
    if count < size - 1 and table.first == torch.float32:
        # The others are at least as far as the last of these roughly is. Where that does not tell, look more closely.
        unsure = (found > best[:, -1].double() - table.error(table.first)).nonzero()[:, 0]
        for rows in unsure.split(max(1, CHUNK // size)):
            found[rows] = _radii_of(rows, table, k, count)
    return found


def _radii_of(rows: Tensor, table: _Squares, k: int, count: int) -> Tensor:
    """`_radii` of some rows, searched in float64, [n]."""
    rough = table.rough(rows, dtype=torch.float64)
    rough[torch.arange(len(rows), device=rows.device), rows] = torch.inf
    return table.exact(rows[:, None], rough.topk(count, dim=1, largest=False).indices).kthvalue(k, dim=1).values


def _pair(real: Tensor, fake: Tensor, k: int, both: bool) -> tuple[_Set, _Set]:
    """Both sets, with enough features for `k`."""
    real, fake = as_pair(real, fake)
    fewest = min(len(real), len(fake)) if both else len(real)
    if not isinstance(k, int) or not 1 <= k < fewest:
        raise ValueError(f"k must be an integer in 1..{fewest - 1}, fewer than there are features; got {k!r}")
    centre = real.mean(dim=0)
    largest = max((x - centre).abs().max().item() for x in (real, fake))
    if largest and not 1e-140 < largest < 1e140:  # squares would leave float64's range; a power of two keeps all digits
        shift = 2.0 ** min(1000, -round(math.log2(largest)))
        return _pair(real * shift, fake * shift, k, both)
    size = max((x - centre).norm(dim=1).max().item() for x in (real, fake)) or 1.0
    return _Set(real, centre, size), _Set(fake, centre, size)


def _share(inside: Tensor) -> float:
    return inside.double().mean().item()
