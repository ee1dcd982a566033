"""From two sets of pictures to a report."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

import minidiff
from minidiff.metrics.features import features
from minidiff.metrics.report import METRICS, Report, Result

from .extractors import OPEN_CLIP, FeatureExtractor
from .measure import LEAST, Draws, Found, measure
from .sets import Pictures

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

    Pictures are read a batch at a time; what is kept of them are their features.

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
    sets = [a, b] if floor is None else [a, b, floor]
    names = [getattr(s, "name", name) for s, name in zip(sets, names)]
    found = [_features(extractor, s, name, progress) for s, name in zip(sets, names)]
    _check_enough(asked, names, found)
    real, fake = found[:2]
    notes = [note for s in sets for note in getattr(s, "notes", ())] + _copies(real, fake, names)
    values, floors = measure(real, fake, extractor, asked, Draws(halves, seed, level), progress), {}
    if "frechet_distance" in asked:
        notes += _bias_note(values["frechet_distance"].bias, len(real), len(fake), real.shape[1])
    if floor is not None:
        stand_in, note = _as_many(found[2], len(fake), names[2], seed)
        notes += note + _copies(real, stand_in, (names[0], names[2]))
        floors = measure(real, stand_in, extractor, asked, Draws(0, seed, level))
    results = tuple(_result(name, v, floors.get(name), extractor, real, fake, level) for name, v in values.items())
    made = f"minidiff {minidiff.__version__}, torch {torch.__version__}, {real.device}"
    return Report(results, (names[0], names[1]), names[2] if floors else "", tuple(dict.fromkeys(notes)), seed, made)


def _result(
    name: str, v: Found, floor: Found | None, extractor: FeatureExtractor, real: Tensor, fake: Tensor, level: float
) -> Result:
    return Result(
        name, v.value, (len(real), len(fake)), real.shape[1], extractor.name, extractor.preprocessing, v.settings,
        v.interval, level, v.method, floor.value if floor else None, v.bias,
    )  # fmt: skip


# --- features ----------------------------------------------------------------------------------------------------


def _features(extractor: FeatureExtractor, images: Images, name: str, progress: bool) -> Tensor:
    """[N,D] where the extractor leaves them."""
    batches = _batches(images, extractor.device)
    if progress:
        batches = _shown(batches, len(images) if isinstance(images, Tensor | Pictures) else None, name)
    try:
        return features(extractor.features, batches)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read by {extractor.name}: {error}") from error


def _batches(images: Images, device: torch.device | str) -> Iterator[Tensor]:
    if isinstance(images, Tensor):
        images = Pictures("", images, torch.arange(len(images)))
    if isinstance(images, Pictures):
        yield from images.batches(device)
        return
    for batch in images:
        yield batch.to(device)


def _shown(batches: Iterable[Tensor], total: int | None, name: str) -> Iterator[Tensor]:
    from tqdm import tqdm

    every = 0.5 if sys.stderr.isatty() else 30  # seconds: in a log each showing is a line
    with tqdm(total=total, desc=name, unit=" pictures", file=sys.stderr, ncols=100, mininterval=every) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def _check_enough(asked: Sequence[str], names: Sequence[str], found: Sequence[Tensor]) -> None:
    for metric in asked:
        least = LEAST.get(metric, 2)
        for name, x in zip(names, found):
            if len(x) < least:
                raise ValueError(f"{metric} needs at least {least} pictures in each set; {name} has {len(x)}")


def _as_many(x: Tensor, n: int, name: str, seed: int) -> tuple[Tensor, list[str]]:
    """Exactly `n` of the features, if there are so many, and what to say about it."""
    if len(x) < n:
        return x, [f"{name} has only {len(x):,} pictures: what real pictures score would be better with {n:,}"]
    pick = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]
    return x[pick.to(x.device)], []


def _copies(real: Tensor, fake: Tensor, names: Sequence[str]) -> list[str]:
    """A note where pictures of the second set have exactly the features of some in the first."""
    if real.shape == fake.shape and torch.equal(real, fake):
        return _warned(f"{names[0]} and {names[1]} are the same pictures: the distances say nothing")
    known = {hash(row.tobytes()) for row in real.float().cpu().numpy()}
    n = sum(hash(row.tobytes()) in known for row in fake.float().cpu().numpy())
    told = f"{n:,} of {len(fake):,} pictures of {names[1]} have exactly the features of one of {names[0]}: copies?"
    return _warned(told) if n else []


def _bias_note(bias: float, n: int, m: int, dim: int) -> list[str]:
    told = f"about {bias:.3g} of the Frechet distance comes from the numbers of pictures alone"
    if min(n, m) > dim:
        return [told]
    return _warned(f"{told}: {min(n, m):,} are no more than the features' {dim:,} dimensions; more would be better")


def _warned(note: str) -> list[str]:
    warnings.warn(note, stacklevel=4)
    return [note]
