"""Each metric of two sets of features, with its interval."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from minidiff.metrics.clip_score import WEIGHT, clip_score
from minidiff.metrics.features import moments
from minidiff.metrics.frechet import frechet_bias, frechet_from_features
from minidiff.metrics.inception_score import inception_score
from minidiff.metrics.intervals import bootstrap, half_samples
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


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        real: [N,D]. fake: [M,D].
        extractor: what they came from.
        draws: how intervals are found.
        texts: [M,D], features of the captions of `fake`, if it has any.
    """

    real: Tensor
    fake: Tensor
    extractor: FeatureExtractor
    draws: Draws
    texts: Tensor | None = None


def measure(job: Job, asked: Sequence[str], progress: bool = False) -> dict[str, Found]:
    """What was asked for, by metric, in that order.

    Args:
        job: what is measured.
        asked: names from `METRICS`.
        progress: show it on stderr.
    """
    from tqdm import tqdm

    todo, found = [names for names in MEASURES if set(names) & set(asked)], {}
    for names in tqdm(todo, desc="metrics", unit=" metrics", file=sys.stderr, ncols=100, disable=not progress):
        found |= dict(zip(names, MEASURES[names](job)))
    return {name: found[name] for name in asked}


def _with_interval(
    names: Sequence[str], metric: Callable, sets: Sequence[Tensor], draws: Draws, settings: str
) -> list[Found]:
    """The values of a metric that returns one for each name, with intervals where halves are large enough."""
    if draws.halves == 0 or min(map(len, sets)) < 2 * max(LEAST.get(name, 2) for name in names):
        return [Found(value, settings=settings) for value in metric(*sets)]
    calls = []

    def remembered(*x: Tensor) -> Sequence[float]:
        calls.append(metric(*x))
        return calls[-1]

    ends = half_samples(remembered, *sets, n=draws.halves, seed=draws.seed, level=draws.level)
    values = calls[0]  # the whole sets come first
    deviations = NormalDist().inv_cdf((1 + draws.level) / 2)
    method = f"the value plus and minus {deviations:.2f} standard deviations over {draws.halves} random halves"
    return [Found(v, _clipped(name, end), method, settings) for name, v, end in zip(names, values, ends)]


def _clipped(name: str, interval: tuple[float, float]) -> tuple[float, float]:
    return max(interval[0], METRICS[name].low), min(interval[1], METRICS[name].high)


def _frechet(job: Job) -> list[Found]:
    def metric(a: Tensor, b: Tensor) -> list[float]:
        return [frechet_from_features(a, b)]

    [found] = _with_interval(["frechet_distance"], metric, [job.real, job.fake], job.draws, "")
    return [found._replace(bias=frechet_bias(moments(job.real).cov, len(job.real), len(job.fake)))]


def _kernel(job: Job) -> list[Found]:
    def metric(a: Tensor, b: Tensor) -> list[float]:
        return [mmd2(a, b)]

    return _with_interval(["kernel_distance"], metric, [job.real, job.fake], job.draws, "all pairs")


def _cmmd(job: Job) -> list[Found]:
    def metric(a: Tensor, b: Tensor) -> list[float]:
        return [cmmd(a, b)]

    return _with_interval(["cmmd"], metric, [job.real, job.fake], job.draws, "")


def _precision(job: Job) -> list[Found]:
    def metric(a: Tensor, b: Tensor) -> tuple[float, float]:
        return precision_recall(a, b, K_PRECISION)

    return _with_interval(["precision", "recall"], metric, [job.real, job.fake], job.draws, f"k = {K_PRECISION}")


def _density(job: Job) -> list[Found]:
    def metric(a: Tensor, b: Tensor) -> tuple[float, float]:
        return density_coverage(a, b, K_DENSITY)

    return _with_interval(["density", "coverage"], metric, [job.real, job.fake], job.draws, f"k = {K_DENSITY}")


def _class_score(job: Job) -> list[Found]:
    def metric(logits: Tensor) -> list[float]:
        return [inception_score(logits, logits=True, splits=SPLITS, seed=job.draws.seed).mean]

    with torch.no_grad():
        logits = job.extractor.head(job.fake)
    return _with_interval(["inception_score"], metric, [logits], job.draws, f"{SPLITS} splits")


def _clip_score(job: Job) -> list[Found]:
    def scores(cosines: Tensor) -> list[float]:
        return [WEIGHT * cosines.clamp_min(0).mean().item(), max(0.0, 100 * cosines.mean().item())]

    found, settings = clip_score(job.fake, job.texts), ["2.5 max(cos, 0)", "100 cos"]
    if job.draws.halves == 0:
        return [Found(v, settings=told) for v, told in zip(found, settings)]
    # Pairs stand alone, so copies do no harm here, and to draw them costs next to nothing.
    ends = bootstrap(scores, found.cosines, n=1000, seed=job.draws.seed, level=job.draws.level)
    return [Found(v, tuple(end), "bootstrap, 1,000 draws", told) for v, end, told in zip(found, ends, settings)]


MEASURES: dict[tuple[str, ...], Callable[[Job], list[Found]]] = {
    ("frechet_distance",): _frechet,
    ("kernel_distance",): _kernel,
    ("cmmd",): _cmmd,
    ("precision", "recall"): _precision,
    ("density", "coverage"): _density,
    ("inception_score",): _class_score,
    ("clip_score", "clip_score_100"): _clip_score,
}
