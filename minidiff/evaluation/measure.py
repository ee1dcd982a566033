"""Each metric of two sets of features, with its interval."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from minidiff.metrics.features import moments
from minidiff.metrics.frechet import frechet_bias, frechet_from_features
from minidiff.metrics.inception_score import inception_score
from minidiff.metrics.intervals import half_samples
from minidiff.metrics.kernels import cmmd, mmd2
from minidiff.metrics.neighbours import density_coverage, precision_recall
from minidiff.metrics.report import METRICS

from .extractors import FeatureExtractor

K_PRECISION, K_DENSITY, SPLITS = 3, 5, 10  # as in the papers
# Pictures in each set; 2 for all else.
LEAST = {"precision": 4, "recall": 4, "density": 6, "coverage": 6, "inception_score": SPLITS}


class Found(NamedTuple):
    """A value and what belongs to it; see `Result`."""

    value: float
    interval: tuple[float, float] | None = None
    method: str = ""
    settings: str = ""
    bias: float | None = None


class Draws(NamedTuple):
    """Of the intervals; `halves` may be 0."""

    halves: int
    seed: int
    level: float


def measure(
    real: Tensor,
    fake: Tensor,
    extractor: FeatureExtractor,
    asked: Sequence[str],
    draws: Draws,
    progress: bool = False,
) -> dict[str, Found]:
    """Metrics of two sets of features.

    Args:
        real: [N,D]. fake: [M,D].
        extractor: what they came from.
        asked: names from `METRICS`.
        draws: how intervals are found.
        progress: show it on stderr.

    Returns:
        What was asked for, by metric, in that order.
    """
    from tqdm import tqdm

    todo, found = [names for names in MEASURES if set(names) & set(asked)], {}
    for names in tqdm(todo, desc="metrics", unit=" metrics", file=sys.stderr, ncols=100, disable=not progress):
        found |= dict(zip(names, MEASURES[names](real, fake, extractor, draws)))
    return {name: found[name] for name in asked}


def _with_interval(
    names: Sequence[str], metric: Callable, sets: Sequence[Tensor], draws: Draws, settings: str
) -> list[Found]:
    """The values of a metric that returns one for each name, with intervals where halves are large enough."""
    if draws.halves == 0 or min(map(len, sets)) < 2 * max(LEAST.get(name, 2) for name in names):
        return [Found(value, settings=settings) for value in metric(*sets)]
    calls, ends = [], []
    for i, name in enumerate(names):
        # The same seed draws the same halves: what was measured for the first name is replayed for the others.
        past = iter(list(calls))

        def one(*x: Tensor, i: int = i, past: Iterator = past) -> float:
            if i == 0:
                calls.append(metric(*x))
            return calls[-1][0] if i == 0 else next(past)[i]

        low, high = half_samples(one, *sets, n=draws.halves, seed=draws.seed, level=draws.level)
        ends.append((max(low, METRICS[name].low), min(high, METRICS[name].high)))
    method = f"the value plus and minus {NormalDist().inv_cdf((1 + draws.level) / 2):.2f} standard deviations over "
    method += f"{draws.halves} random halves"
    return [Found(value, end, method, settings) for value, end in zip(calls[0], ends)]


def _frechet(real: Tensor, fake: Tensor, extractor: FeatureExtractor, draws: Draws) -> list[Found]:
    [found] = _with_interval(["frechet_distance"], lambda a, b: [frechet_from_features(a, b)], [real, fake], draws, "")
    return [found._replace(bias=frechet_bias(moments(real).cov, len(real), len(fake)))]


def _kernel(real: Tensor, fake: Tensor, extractor: FeatureExtractor, draws: Draws) -> list[Found]:
    return _with_interval(["kernel_distance"], lambda a, b: [mmd2(a, b)], [real, fake], draws, "all pairs")


def _cmmd(real: Tensor, fake: Tensor, extractor: FeatureExtractor, draws: Draws) -> list[Found]:
    return _with_interval(["cmmd"], lambda a, b: [cmmd(a, b)], [real, fake], draws, "")


def _precision(real: Tensor, fake: Tensor, extractor: FeatureExtractor, draws: Draws) -> list[Found]:
    def metric(a: Tensor, b: Tensor) -> tuple[float, float]:
        return precision_recall(a, b, K_PRECISION)

    return _with_interval(["precision", "recall"], metric, [real, fake], draws, f"k = {K_PRECISION}")


def _density(real: Tensor, fake: Tensor, extractor: FeatureExtractor, draws: Draws) -> list[Found]:
    def metric(a: Tensor, b: Tensor) -> tuple[float, float]:
        return density_coverage(a, b, K_DENSITY)

    return _with_interval(["density", "coverage"], metric, [real, fake], draws, f"k = {K_DENSITY}")


def _class_score(real: Tensor, fake: Tensor, extractor: FeatureExtractor, draws: Draws) -> list[Found]:
    def metric(logits: Tensor) -> list[float]:
        return [inception_score(logits, logits=True, splits=SPLITS, seed=draws.seed).mean]

    with torch.no_grad():
        logits = extractor.head(fake)
    return _with_interval(["inception_score"], metric, [logits], draws, f"{SPLITS} splits")


MEASURES: dict[tuple[str, ...], Callable[[Tensor, Tensor, FeatureExtractor, Draws], list[Found]]] = {
    ("frechet_distance",): _frechet,
    ("kernel_distance",): _kernel,
    ("cmmd",): _cmmd,
    ("precision", "recall"): _precision,
    ("density", "coverage"): _density,
    ("inception_score",): _class_score,
}
