"""From two sets of pictures to a report."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

import minidiff
from minidiff.data import to_uint8
from minidiff.metrics.features import features
from minidiff.metrics.report import METRICS, Report, Result

from .extractors import OPEN_CLIP, FeatureExtractor
from .measure import LEAST, Draws, Found, measure
from .sets import Pictures, draw

Images = Tensor | Pictures | Iterable[Tensor]

def metric_names() -> dict[str, str]:
    """The metrics that `evaluate` knows, each with one line about it."""
    return {name: known.line for name, known in METRICS.items()}


def chosen(metrics: Sequence[str] | None, extractor: FeatureExtractor) -> tuple[str, ...]:
    """The metrics that were asked for, or all that make sense in an extractor's features.

    Raises:
        ValueError: a metric is unknown, or needs classes that the extractor has not.
    """
    if metrics is None:
        has = {"inception_score": extractor.head is not None, "cmmd": extractor.name.startswith(OPEN_CLIP)}
        return tuple(name for name in METRICS if has.get(name, True))
    asked = tuple(dict.fromkeys(name.strip() for name in metrics))
    unknown = [name for name in asked if name not in METRICS]
    if unknown or not asked:
        raise ValueError(f"metrics must be among {', '.join(METRICS)}; got {', '.join(map(repr, unknown)) or 'none'}")
    if "inception_score" in asked and extractor.head is None:
        raise ValueError(f"inception_score needs an extractor with a classifier; {extractor.name} has none")
    return asked


def evaluate(
    a: Images, b: Images, extractor: FeatureExtractor, metrics: Sequence[str] | None = None, *,
    floor: Images | None = None, names: tuple[str, str, str] = ("A", "B", "C"), seed: int = 0, halves: int = 20,
    level: float = 0.95, progress: bool = False,
) -> Report:  # fmt: skip
    """Compares two sets of pictures in the features of a network.

    Pictures are read a batch at a time; what is kept of them are their features. Whatever a reader must know is among
    the report's notes; what spoils the numbers is also warned of.

    Args:
        a: the reference: [N,C,H,W] in [-1,1], an iterable of such batches, or what `open_set` returns.
        b: what is judged: likewise, M pictures.
        extractor: from `load`, or your own.
        metrics: names from `METRICS`; None: all that make sense in these features.
        floor: more real pictures, none of them in `a`. What M of them score in place of `b` is what a perfect
            generator would reach, since every metric depends on the numbers of pictures.
        names: of the sets, where they have none of their own.
        seed: of all that is drawn.
        halves: random halves that intervals are found from (`half_samples`); 0: no intervals. With 20, which take five
            times as long as the values themselves, the width of an interval is uncertain by a sixth.
        level: of the intervals.
        progress: show it on stderr.

    Raises:
        ValueError: there are too few pictures for a metric, or they are not what the extractor takes.
    """
    if halves < 0 or halves == 1:
        raise ValueError(f"halves must be 0 or at least 2; got {halves}")
    asked = chosen(metrics, extractor)
    real, fake = (_seen(extractor, s, name, progress) for s, name in zip((a, b), names))
    _check_enough(asked, [real, fake])
    notes = [*real.notes, *fake.notes, *_copies(real, fake)]
    values, floors = measure(real.x, fake.x, extractor, asked, Draws(halves, seed, level), progress), {}
    if "frechet_distance" in asked:
        notes += _bias_note(values["frechet_distance"].bias, len(real.x), len(fake.x), real.x.shape[1])
    if floor is not None:
        more = _seen(extractor, _as_many(floor, len(fake.x), seed), names[2], progress)
        _check_enough(asked, [more])
        notes += [*more.notes, *_copies(real, more), *_fewer(more, fake)]
        floors = measure(real.x, more.x, extractor, asked, Draws(0, seed, level))
    results = tuple(_result(name, v, floors.get(name), extractor, real.x, fake.x, level) for name, v in values.items())
    made = f"minidiff {minidiff.__version__}, torch {torch.__version__}, {real.x.device}"
    return Report(results, (real.name, fake.name), more.name if floors else "", tuple(dict.fromkeys(notes)), seed, made)


def _result(
    name: str, v: Found, floor: Found | None, extractor: FeatureExtractor, real: Tensor, fake: Tensor, level: float
) -> Result:
    return Result(
        name, v.value, (len(real), len(fake)), real.shape[1], extractor.name, extractor.preprocessing, v.settings,
        v.interval, level, v.method, floor.value if floor else None, v.bias,
    )  # fmt: skip


# --- reading -----------------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """What is kept of a set of pictures."""

    name: str
    x: Tensor  # features [N,D], where the extractor leaves them
    keys: list[int]  # equal for equal pictures
    notes: tuple[str, ...]


def _seen(extractor: FeatureExtractor, images: Images, name: str, progress: bool) -> _Seen:
    if isinstance(images, Tensor):
        images = Pictures(name, images, torch.arange(len(images)))
    known = isinstance(images, Pictures)
    name, keys = images.name if known else name, []
    batches = _keyed(images.batches() if known else images, keys, extractor.device)
    if progress:
        batches = _shown(batches, len(images) if known else None, name)
    try:
        with contextlib.closing(batches):  # so that an error is told below the progress, not beside it
            x = features(extractor.features, batches)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read by {extractor.name}: {error}") from error
    return _Seen(name, x, keys, images.notes if known else ())


def _keyed(batches: Iterable[Tensor], keys: list[int], device: torch.device | str) -> Iterator[Tensor]:
    """The batches on their device; adds a key for each picture: a hash of up to 4,096 of its numbers, in 8 bits."""
    for batch in batches:
        flat = batch.flatten(1)
        keys += [hash(row.tobytes()) for row in to_uint8(flat[:, :: -(-flat.shape[1] // 4096)]).cpu().numpy()]
        yield batch.to(device)


def _shown(batches: Iterable[Tensor], total: int | None, name: str) -> Iterator[Tensor]:
    from tqdm import tqdm

    every = 0.5 if sys.stderr.isatty() else 30  # seconds: in a log each showing is a line
    with tqdm(total=total, desc=name, unit=" pictures", file=sys.stderr, ncols=100, mininterval=every) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def _as_many(images: Images, n: int, seed: int) -> Images:
    """`n` of the pictures, if there are more."""
    if isinstance(images, Pictures) and len(images) > n:
        return images.drawn(n, seed)
    if isinstance(images, Tensor) and len(images) > n:
        return images[draw(len(images), n, seed).to(images.device)]
    return images


# --- what must be said -------------------------------------------------------------------------------------------


def _check_enough(asked: Sequence[str], sets: Sequence[_Seen]) -> None:
    for metric in asked:
        least = LEAST.get(metric, 2)
        for seen in sets:
            if len(seen.x) < least:
                raise ValueError(f"{metric} needs at least {least} pictures in each set; {seen.name} has {len(seen.x)}")


def _copies(real: _Seen, fake: _Seen) -> list[str]:
    """Notes on pictures that are in both sets, or twice in the second."""
    if sorted(real.keys) == sorted(fake.keys):
        return _warned(f"{real.name} and {fake.name} hold the same pictures: the distances say nothing")
    known, n, notes = set(real.keys), len(fake.keys), []
    if both := sum(key in known for key in fake.keys):
        notes += _warned(f"{both:,} of {n:,} pictures of {fake.name} are also in {real.name}")
    if twice := n - len(set(fake.keys)):
        notes += _warned(f"{twice:,} of {n:,} pictures of {fake.name} are copies of others in it")
    return notes


def _fewer(more: _Seen, fake: _Seen) -> list[str]:
    n, m = len(more.x), len(fake.x)
    told = f"real pictures were {n:,} against {m:,} of {fake.name}; each metric depends on that number"
    return [] if n == m else [told]


def _bias_note(bias: float, n: int, m: int, dim: int) -> list[str]:
    told = f"about {bias:.3g} of the Frechet distance comes from the numbers of pictures alone"
    if min(n, m) > dim:
        return [f"{told}; its interval is wider than it need be where the sets are nearly equal"]
    return _warned(f"at least {told}: {min(n, m):,} are no more than the features' {dim:,} dimensions")


def _warned(note: str) -> list[str]:
    warnings.warn(note, stacklevel=4)
    return [note]
