"""Intervals: how far a metric would move if other pictures had been drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

Metric = Callable[..., float | Sequence[float]]


class Interval(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


def bootstrap(
    metric: Metric, *rows: Tensor, n: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval | tuple[Interval, ...]:
    """Percentile bootstrap (Efron, 1979): for means over pictures, such as the CLIP score or an accuracy.

    Rows are drawn with replacement, so some come twice. That ruins what compares features with one another (a copy's
    nearest neighbour is at distance 0, and copies make a covariance look measured on fewer features): use
    `half_samples` there.

    Args:
        metric: of tensors like `rows` -> float, or several floats.
        rows: [N,...] each; they are paired, so row i of all of them is drawn together.
        n: draws. seed: of the draws.
        level: share of intervals that hold the truth, in (0,1).

    Returns:
        An interval; where the metric returns several floats, one for each.

    Raises:
        ValueError: tensors differ in N or have fewer than 2 rows, or `n` or `level` is out of range.

    >>> bootstrap(lambda x: x.mean().item(), torch.arange(100.0))
    Interval(low=43.5..., high=55.2...)
    """
    _check(n, level, *rows)
    if len({len(x) for x in rows}) != 1:
        raise ValueError(f"rows must be paired, of one length; got lengths {[len(x) for x in rows]}")
    rng = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(n):
        index = torch.randint(len(rows[0]), (len(rows[0]),), generator=rng)
        drawn.append(metric(*(x[index.to(x.device)] for x in rows)))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.tensor(drawn, dtype=torch.float64).quantile(ends, dim=0)
    return _intervals(low, high)


def half_samples(
    metric: Metric, *sets: Tensor, n: int = 50, seed: int = 0, level: float = 0.95
) -> Interval | tuple[Interval, ...]:
    """Interval from random halves (Shao & Wu, 1989): for metrics that compare features with one another.

    A half drawn without replacement spreads about the whole set's value as the whole set's value spreads about its
    expectation, and holds no copies. Such metrics also shift with N (the Frechet distance of halves is larger), so only
    the spread of the halves is used, about the value of the whole sets: value +- z std. The interval is one for the
    expectation at this N and M; it holds sampling noise and no bias. In simulations the intervals of nearly equal
    distributions are too wide; those of shares near 0 or 1 in sets of some tens of pictures are too narrow, because
    such a share is skewed (90 % intervals of a coverage of 0.95 held it in 7 of 10 trials at N = 40, 8 to 9 at 150).

    Use it for `frechet_from_features`, `mmd2`, `cmmd`, `precision_recall`, `density_coverage` and `inception_score`.

    Args:
        metric: of tensors like `sets` -> float, or several floats, as `precision_recall`. It must work on half of each.
        sets: [N,...], [M,...]: drawn from apart. The features that are real and those that are generated, say.
        n: halves; 50 make the interval's width uncertain by a tenth.
        seed: of the draws. level: share of intervals that hold the expectation, in (0,1).

    Returns:
        An interval; where the metric returns several floats, one for each.

    Raises:
        ValueError: a set has fewer than 4 rows, or `n` or `level` is out of range.

    >>> half_samples(lambda x: x.mean().item(), torch.arange(100.0))
    Interval(low=43..., high=55...)
    """
    _check(n, level, *sets, fewest=4)
    rng = torch.Generator().manual_seed(seed)
    value, drawn = metric(*sets), []
    for _ in range(n):
        drawn.append(metric(*(x[torch.randperm(len(x), generator=rng)[: len(x) // 2].to(x.device)] for x in sets)))
    value = torch.tensor(value, dtype=torch.float64)
    margin = NormalDist().inv_cdf((1 + level) / 2) * torch.tensor(drawn, dtype=torch.float64).std(dim=0)
    return _intervals(value - margin, value + margin)


def wilson(hits: float, n: float, level: float = 0.95) -> Interval:
    """The interval of Wilson (1927) for a share of which `hits` out of `n` were seen.

    Args:
        hits: how often it was so. n: how often it was looked; both may be fractions, for an effective number.
        level: share of intervals that hold the truth, in (0,1).

    Raises:
        ValueError: `n` is not above 0, `hits` does not lie in 0..n, or `level` is out of range.

    >>> [round(end, 3) for end in wilson(98, 100)]
    [0.93, 0.994]
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0,1); got {level}")
    if not (n > 0 and 0 <= hits <= n):
        raise ValueError(f"hits must lie in 0..n with n above 0; got {hits} of {n}")
    p, z = hits / n, NormalDist().inv_cdf((1 + level) / 2)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def share(right: Sequence[bool], groups: Sequence[Hashable], level: float = 0.95) -> Interval:
    """The interval of a share whose observations come in groups that succeed or fail together.

    A test set that asks for one scene several times has fewer independent answers than it has pictures. Their number
    is divided by the design effect, the variance between groups over that of independent draws, and Wilson's interval
    is taken at that effective number (Korn & Graubard, 1998). Where all answers are alike, it is the number of groups.

    Args:
        right: whether each observation was a success.
        groups: what each belongs to.
        level: as for `wilson`.

    Raises:
        ValueError: the lengths differ, or there is no observation.

    >>> [round(end, 2) for end in share([True, False] * 50, range(100))]
    [0.4, 0.6]
    >>> [round(end, 2) for end in share([True, False] * 50, [0, 1] * 50)]
    [0.05, 0.95]
    """
    if len(right) != len(groups) or not len(right):
        raise ValueError(f"groups must be one for each of right, at least one; got {len(groups)} for {len(right)}")
    n, p = len(right), sum(map(bool, right)) / len(right)
    excess: dict[Hashable, float] = {}
    for hit, group in zip(right, groups):
        excess[group] = excess.get(group, 0.0) + bool(hit) - p
    effective = float(len(excess))
    if 0 < p < 1 and len(excess) > 1:
        between = sum(e * e for e in excess.values()) / n**2 * len(excess) / (len(excess) - 1)
        effective = n / max(1.0, between / (p * (1 - p) / n))
    return wilson(p * effective, effective, level)


def _intervals(low: Tensor, high: Tensor) -> Interval | tuple[Interval, ...]:
    if low.ndim == 0:
        return Interval(low.item(), high.item())
    return tuple(Interval(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True))


def _check(n: int, level: float, *rows: Tensor, fewest: int = 2) -> None:
    if n < 2:
        raise ValueError(f"n must be at least 2 draws; got {n}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0,1); got {level}")
    if not rows or min(len(x) for x in rows) < fewest:
        raise ValueError(f"rows must be at least {fewest} in each set; got {[len(x) for x in rows]}")
