"""Sets of pictures by name or folder, read a batch at a time."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from minidiff import data
from minidiff.data import shapes

DRAWN = {f"shapes:{split}": split for split in shapes.SPLITS}  # of the caption world, as many as are asked for
SETS = {f"{name}:{split}": (name, split) for name in data.NAMES for split in ("train", "test")} | DRAWN
DRAWN_PICTURES, DRAWN_SIZE = 5_000, 32
PIXELS = 1 << 23  # numbers in a batch of pictures: 32 MB of float32
GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class Pictures:
    """Some pictures of a set.

    Attributes:
        name: what reports call the set.
        source: the whole set: a tensor [N,C,H,W] in [-1,1], or a dataset of dicts with `"x"` [C,H,W].
        items: which of them, [n] int64, ascending.
        captions: of those, if they have any.
        notes: what was done to get them.
    """

    name: str
    source: Tensor | data.Dataset
    items: Tensor
    captions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def batches(self, side: int | None = None, workers: int | None = None) -> Iterator[Tensor]:
        """Yields [B,C,H,W] in [-1,1], as many at once as fit in 32 MB.

        Args:
            side: height and width that a network will bring them to, if larger: that is what has to fit.
            workers: processes that read files; None: two where there are many.
        """
        first = self.source[0] if isinstance(self.source, Tensor) else self.source[int(self.items[0])]["x"]
        numbers = max(first.numel(), len(first) * (side or 0) ** 2)
        size = max(1, min(256, len(self), PIXELS // numbers))
        if isinstance(self.source, Tensor):
            yield from (self.source[part.to(self.source.device)] for part in self.items.split(size))
            return
        workers = (2 if len(self) >= 1000 else 0) if workers is None else workers
        chosen = torch.utils.data.Subset(self.source, self.items.tolist())
        for batch in data.StreamBatches(chosen, size, workers, shuffle=False, drop_last=False):
            yield batch["x"]

    def drawn(self, n: int, seed: int) -> Pictures:
        """`n` of them, drawn without replacement, and a note that says so; all of them if they are no more."""
        if n >= len(self):
            return self
        note = f"{self.name}: {n:,} of its {len(self):,} pictures, drawn with seed {seed}"
        kept = draw(len(self), n, seed)
        captions = tuple(self.captions[i] for i in kept) if self.captions else ()
        return replace(self, items=self.items[kept], captions=captions, notes=(*self.notes, note))


def draw(n: int, m: int, seed: int) -> Tensor:
    """`m` of 0..n-1 without replacement, ascending, [m] int64.

    >>> draw(5, 5, seed=0).tolist()
    [0, 1, 2, 3, 4]
    """
    # At random: the first pictures of a sorted folder would all be of its first class.
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:m].sort().values


def open_set(
    spec: str | os.PathLike,
    *,
    channels: int | None = None,
    size: int | None = None,
    fallback: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    captions: bool = False,
) -> Pictures:
    """Opens a named set or a folder.

    Args:
        spec: one of `SETS`, such as `mnist:test` or `shapes:unseen` (drawn from the seed), or a folder of pictures.
        channels: 1 reads a folder's pictures as grey, 3 or None as RGB; a named set keeps its own.
        size: height and width of the pictures. None: of a named set, what `data.load` gives by default; of the caption
            world `fallback` or 32; of a folder, that of its pictures, if it is one and the same and square, else
            `fallback`.
        fallback: size for folders of pictures of several sizes.
        limit: at most so many pictures, drawn without replacement.
        seed: of that draw.
        captions: look for a folder's captions, as `data.folder` does.

    Raises:
        ValueError: an argument is wrong, or the folder holds no pictures.
        FileNotFoundError: there is neither a set of that name nor such a folder.
        DataUnavailable: the set is not on this machine and cannot be downloaded.
    """
    for name, value in (("size", size), ("limit", limit)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
    if str(spec) in DRAWN:
        return _drawn(str(spec), limit or DRAWN_PICTURES, size or fallback or DRAWN_SIZE, seed)
    if str(spec) in SETS:
        found = data.load(*SETS[str(spec)], size=size)["x"]
        return Pictures(str(spec), found, torch.arange(len(found))).drawn(limit or len(found), seed)
    path = Path(spec).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"a set must be a folder or one of {', '.join(SETS)}; got {str(spec)!r}")
    found, unread = _opened(path, channels or 3, captions)
    some = Pictures(str(spec), found, torch.arange(len(found)), found.captions, unread)
    some = some.drawn(limit or len(found), seed)
    size, notes = _reading(some.name, [found.files[i] for i in some.items], size, fallback, channels or 3)
    return replace(some, source=replace(found, size=size), notes=some.notes + notes)


def _drawn(spec: str, n: int, size: int, seed: int) -> Pictures:
    """Pictures of the caption world: half of them with one object, half with two."""
    found = shapes.captioned(n, DRAWN[spec], size=size, seed=seed)
    note = f"{spec}: {n:,} pictures of {size}x{size}, drawn with seed {seed}"
    return Pictures(spec, found.x, torch.arange(n), tuple(found.captions), (note,))


def _opened(path: Path, channels: int, captions: bool) -> tuple[data.Folder, tuple[str, ...]]:
    """A folder, and what `data.folder` warned of: it must not be lost to the report's readers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Equal files are no fault of the folder here: a generator may well draw one picture twice.
        found = data.folder(path, channels=channels, captions="auto" if captions else None, allow_duplicates=True)
    told = tuple(str(warning.message) for warning in caught if str(path) in str(warning.message))
    for message in told:
        warnings.warn(message, stacklevel=3)
    return found, told


def _reading(
    name: str, files: list[Path], size: int | None, fallback: int | None, channels: int
) -> tuple[int, tuple[str, ...]]:
    """The size to read a folder's pictures at, and notes on what that does to them.

    Raises:
        ValueError: there is no such size.
    """
    from PIL import Image

    sizes, colour = Counter(), 0
    for file in files:
        try:
            with Image.open(file) as picture:  # reads the head only
                sizes[picture.size] += 1
                colour += picture.mode not in GREY
        except OSError:
            continue  # reading it says what is wrong with it
    (w, h), *others = sorted(sizes, key=lambda s: s[0] * s[1]) or [(0, 1)]
    own = w if w == h and not others else None
    size = size or own or fallback
    if size is None:
        raise ValueError(f"size must be given for {name}, whose pictures are not all squares of one size")
    notes = []
    if size != own:
        which = f"{len(others) + 1} sizes from {w}x{h} to {others[-1][0]}x{others[-1][1]}" if others else f"{w}x{h}"
        told = f"the middle square of each resized to {size}x{size} (bicubic, antialiased)"
        notes.append(f"{name}: pictures of {which}, {told}")
    if colour and channels == 1:
        notes.append(f"{name}: {colour:,} of {len(files):,} pictures are stored in colour and were read as grey")
    return size, tuple(notes)
