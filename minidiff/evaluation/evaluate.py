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
from .measure import LEAST, Draws, Found, Job, measure
from .sets import Pictures, draw

Images = Tensor | Pictures | Iterable[Tensor]
CLIP_SCORES = ("clip_score", "clip_score_100")

def metric_names() -> dict[str, str]:
    """The metrics that `evaluate` knows, each with one line about it."""
    return {name: known.line for name, known in METRICS.items()}


def chosen(metrics: Sequence[str] | None, extractor: FeatureExtractor, captions: bool = True) -> tuple[str, ...]:
    """The metrics that were asked for, or all that make sense in an extractor's features.

    Args:
        metrics: names from `METRICS`, or None.
        extractor: the extractor.
        captions: whether the pictures that are judged have captions.

    Raises:
        ValueError: a metric is unknown, or needs classes, texts or captions that are not there.
    """
    if metrics is None:
        has = {"inception_score": extractor.head is not None, "cmmd": extractor.name.startswith(OPEN_CLIP)}
        has |= dict.fromkeys(CLIP_SCORES, captions and extractor.texts is not None)
        return tuple(name for name in METRICS if has.get(name, True))
    asked = tuple(dict.fromkeys(name.strip() for name in metrics))
    unknown = [name for name in asked if name not in METRICS]
    if unknown or not asked:
        raise ValueError(f"metrics must be among {', '.join(METRICS)}; got {', '.join(map(repr, unknown)) or 'none'}")
    if "inception_score" in asked and extractor.head is None:
        raise ValueError(f"inception_score needs an extractor with a classifier; {extractor.name} has none")
    if set(CLIP_SCORES) & set(asked):
        if extractor.texts is None:
            raise ValueError(f"clip_score needs an extractor that reads texts; {extractor.name} does not")
        if not captions:
            raise ValueError("clip_score needs captions of the pictures that are judged; they have none")
    return asked


def evaluate(
    a: Images, b: Images, extractor: FeatureExtractor, metrics: Sequence[str] | None = None, *,
    captions: Sequence[str] = (), floor: Images | None = None, names: tuple[str, str, str] = ("A", "B", "C"),
    seed: int = 0, halves: int = 20, level: float = 0.95, progress: bool = False,
) -> Report:  # fmt: skip
    """Compares two sets of pictures in the features of a network.

    Pictures are read a batch at a time; what is kept of them are their features. Whatever a reader must know is among
    the report's notes; what spoils the numbers is also warned of.

    Args:
        a: the reference: [N,C,H,W] in [-1,1], an iterable of such batches, or what `open_set` returns.
        b: what is judged: likewise, M pictures.
        extractor: from `load`, or your own.
        metrics: names from `METRICS`; None: all that make sense in these features.
        captions: of `b`, for the CLIP score; those of `open_set` are found there.
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
    captions = captions or (b.captions if isinstance(b, Pictures) else ())
    asked = chosen(metrics, extractor, bool(captions))
    real, fake = (_seen(extractor, s, name, progress) for s, name in zip((a, b), names))
    values, notes = _judged(extractor, real, fake, captions, asked, Draws(halves, seed, level), progress)
    more, floors = None, {}
    if floor is not None:
        more = _seen(extractor, _as_many(floor, len(fake.x), seed), names[2], progress)
        floors, notes = _floors(extractor, real, fake, more, asked, seed, notes)
    n, notes = (len(real.x), len(fake.x)), tuple(dict.fromkeys(notes))
    dim = real.x.shape[1]
    results = tuple(_result(name, v, floors.get(name), extractor, n, dim, level) for name, v in values.items())
    made = f"minidiff {minidiff.__version__}, torch {torch.__version__}, {real.x.device}"
    return Report(results, (real.name, fake.name), n, more.name if more else "", notes, seed, made)


def _judged(
    extractor: FeatureExtractor, real: _Seen, fake: _Seen, captions: Sequence[str], asked: Sequence[str], draws: Draws,
    progress: bool,
) -> tuple[dict[str, Found], list[str]]:  # fmt: skip
    _check_enough(asked, [real, fake])
    notes = [*real.notes, *fake.notes, *_sizes(real, fake), *_copies(real, fake)]
    texts = _texts(extractor, captions, fake) if set(CLIP_SCORES) & set(asked) else None
    values = measure(Job(real.x, fake.x, extractor, draws, texts), asked, progress)
    if "frechet_distance" in asked:
        notes += _bias_note(values["frechet_distance"], len(real.x), len(fake.x), real.x.shape[1])
    return values, notes


def _floors(
    extractor: FeatureExtractor, real: _Seen, fake: _Seen, more: _Seen, asked: Sequence[str], seed: int,
    notes: list[str],
) -> tuple[dict[str, Found], list[str]]:  # fmt: skip
    asked = [name for name in asked if name not in CLIP_SCORES]  # these pictures have no captions
    _check_enough(asked, [more])
    notes = [*notes, *more.notes, *_copies(real, more), *_fewer(more, fake)]
    return measure(Job(real.x, more.x, extractor, Draws(0, seed, 0.95)), asked), notes


def _result(
    name: str, v: Found, floor: Found | None, extractor: FeatureExtractor, n: tuple[int, int], dim: int, level: float
) -> Result:
    n = n[1:] if name in ("inception_score", *CLIP_SCORES) else n
    return Result(
        name, v.value, n, dim, extractor.name, extractor.preprocessing, v.settings, v.interval, level, v.method,
        floor.value if floor else None, v.bias,
    )  # fmt: skip


# --- reading -----------------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """What is kept of a set of pictures."""

    name: str
    x: Tensor  # features [N,D], where the extractor leaves them
    keys: list[int]  # equal for equal pictures
    sizes: set[str]  # of the pictures
    notes: tuple[str, ...]


def _seen(extractor: FeatureExtractor, images: Images, name: str, progress: bool) -> _Seen:
    if isinstance(images, Tensor):
        images = Pictures(name, images, torch.arange(len(images)))
    known = isinstance(images, Pictures)
    name, keys, sizes = images.name if known else name, [], set()
    batches = _watched(images.batches(extractor.size) if known else images, keys, sizes, extractor.device)
    if progress:
        batches = _shown(batches, len(images) if known else None, name)
    try:
        with contextlib.closing(batches):  # so that an error is told below the progress, not beside it
            x = features(extractor.features, batches)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read by {extractor.name}: {error}") from error
    return _Seen(name, x, keys, sizes, images.notes if known else ())


def _watched(
    batches: Iterable[Tensor], keys: list[int], sizes: set[str], device: torch.device | str
) -> Iterator[Tensor]:
    """The batches on their device. Adds their sizes, and for each picture a hash of up to 4,096 numbers in 8 bits."""
    for batch in batches:
        sizes.add("x".join(map(str, batch.shape[:1:-1])))
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


@torch.no_grad()
def _texts(extractor: FeatureExtractor, captions: Sequence[str], fake: _Seen) -> Tensor:
    """Features of the captions, [M,D]."""
    if len(captions) != len(fake.x):
        raise ValueError(f"captions must be one for each of the {len(fake.x)} pictures; got {len(captions)}")
    parts = [extractor.texts(captions[i : i + 256]) for i in range(0, len(captions), 256)]
    return torch.cat(parts)


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


def _sizes(real: _Seen, fake: _Seen) -> list[str]:
    one, two = (" and ".join(sorted(seen.sizes)) for seen in (real, fake))
    told = f"pictures of {real.name} are {one}, those of {fake.name} {two}: sharpness alone makes them differ"
    return [] if one == two else [told]


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


def _bias_note(found: Found, n: int, m: int, dim: int) -> list[str]:
    told = f"about {found.bias:.3g} of the Frechet distance comes from the numbers of pictures alone"
    if min(n, m) > dim:
        wide = "; its interval is wider than it need be where the sets are nearly equal" if found.interval else ""
        return [told + wide]
    return _warned(f"at least {told}: {min(n, m):,} are no more than the features' {dim:,} dimensions")


def _warned(note: str) -> list[str]:
    warnings.warn(note, stacklevel=5)
    return [note]
