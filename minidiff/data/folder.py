"""A folder of the user's own pictures, with their captions if there are any."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .batches import Batch
from .captions import complete, few, find
from .folder_pictures import read, unreadable

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Folder:
    """Pictures on disk: `len(folder)`, and `folder[i]` is `{"x": [C,size,size], "y": [], "tokens": [L], "mask": [L]}`.

    `"y"` is there only with classes, `"tokens"` and `"mask"` (what the tokenizer gives) only with a tokenizer.

    Attributes:
        files: the pictures, sorted by path: by the folder's name, then the file's, in the order of Unicode.
        classes: names of the sub-folders that hold pictures, sorted; empty where all lie in the folder itself.
        size: height and width.
        channels: 1 or 3.
        captions: of `files`, in their order; empty where there are none.
        conditions: what the tokenizer made of them, tensors [N, ...] by their key; empty without one.
    """

    files: tuple[Path, ...]
    classes: tuple[str, ...]
    size: int
    channels: int
    captions: tuple[str, ...] = ()
    conditions: Batch = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Batch:
        path = self.files[i]
        item = {"x": read(path, self.size, self.channels)} | {k: v[i] for k, v in self.conditions.items()}
        return item | {"y": torch.tensor(self.classes.index(path.parent.name))} if self.classes else item

    def load(self, device: str | torch.device = "cpu") -> Batch:
        """All pictures as one batch, for a set that fits in memory."""
        items = [self[i] for i in range(len(self))]
        return {k: torch.stack([item[k] for item in items]).to(device) for k in items[0]}


def folder(
    path: str | os.PathLike,
    size: int = 32,
    *,
    channels: int = 3,
    captions: str | os.PathLike | None = "auto",
    tokenizer: Callable[[Sequence[str]], Batch] | None = None,
    check: bool = True,
    allow_duplicates: bool = False,
) -> Folder:
    """The pictures of a folder, read when they are asked for.

    Either the pictures lie in the folder itself, or in one sub-folder for each class. Captions are either text files
    beside the pictures (`a.txt` for `a.png`), or one table in the folder: `captions.csv`, `metadata.csv` (a header,
    then a row for each picture), `captions.jsonl` or `metadata.jsonl` (a JSON object in each line). Its columns are
    `file_name` (or `file`, `image`), the path from the folder, and `text` (or `caption`); others are ignored. All are
    in UTF-8.

    Args:
        path: the folder.
        size: height and width of what is read.
        channels: 3 for colour, 1 for grey.
        captions: `"auto"` takes what is there, `"sidecars"` the text files, None nothing; else the path of a table.
        tokenizer: makes of N texts a dict of tensors [N, ...], such as `WordTokenizer` and `BytePairTokenizer`.
        check: decode every picture now, and leave out, with one warning, those that cannot be read. False saves that
            time for a folder known to be good; a picture that cannot be read is then an error when it is asked for.
        allow_duplicates: accept files that are equal byte for byte.

    Raises:
        FileNotFoundError: there is no such folder or table.
        ValueError: the folder holds no pictures that can be read, or both pictures and sub-folders with pictures, or
            equal files; a picture has no caption, or the captions do not fit the pictures; or an argument is wrong.
    """
    path = Path(path).expanduser()
    _check_arguments(path, size, channels, tokenizer)
    files = _listed(path)
    classes = tuple(sorted({file.parent.name for file in files if file.parent != path}))
    found = find(path, files, captions)
    if tokenizer is not None and found is None:
        raise ValueError(f"tokenizer must have captions to read; {path} has none, or they were left aside by captions")
    files = _readable(path, files) if check else files
    if not allow_duplicates:
        _refuse_duplicates(path, files)
    texts = complete(path, files, found)
    return Folder(files, classes, size, channels, texts, {} if tokenizer is None else _conditions(tokenizer, texts))


def _check_arguments(path: Path, size, channels, tokenizer) -> None:
    if not path.is_dir():
        raise FileNotFoundError(f"path must be a folder; there is none at {path}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3; got {channels}")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be an integer of at least 1; got {size!r}")
    if tokenizer is not None and not callable(tokenizer):
        raise ValueError(f"tokenizer must be a function of texts or None; got {tokenizer!r:.60}")


def _listed(path: Path) -> tuple[Path, ...]:
    entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    flat = _pictures(entries)
    nested = _pictures(file for entry in entries if entry.is_dir() for file in entry.iterdir())
    if flat and nested:
        raise ValueError(f"{path} has pictures of its own and sub-folders with pictures; it must have one or the other")
    if not flat and not nested:
        raise ValueError(f"{path} holds no pictures ({', '.join(SUFFIXES)}), nor do its sub-folders")
    return flat or nested


def _pictures(paths: Iterable[Path]) -> tuple[Path, ...]:
    named = (p for p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    # A link to nothing is a picture that cannot be read: it is named, not passed over. `parts`: on every system alike.
    return tuple(sorted((p for p in named if p.is_file() or not p.exists()), key=lambda p: p.parts))


def _readable(path: Path, files: tuple[Path, ...]) -> tuple[Path, ...]:
    bad = unreadable(files)
    names = few(f"{file.relative_to(path).as_posix()} ({reason})" for file, reason in bad.items())
    if len(bad) == len(files):
        raise ValueError(f"{path} must hold pictures that can be read; none of its {len(files)} can: {names}")
    if bad:
        warnings.warn(
            f"{len(bad)} of {len(files)} pictures in {path} cannot be read and are left out: {names}", stacklevel=3
        )
    return tuple(file for file in files if file not in bad)


def _refuse_duplicates(path: Path, files: Sequence[Path]) -> None:
    named, copies = [], 0
    for equal in _duplicates(files):
        copies += len(equal) - 1
        where = sorted({file.parent.name for file in equal})
        names = " = ".join(file.relative_to(path).as_posix() for file in equal[:3]) + " = ..." * (len(equal) > 3)
        named.append(names + (f" (the same picture in the classes {few(where)})" if len(where) > 1 else ""))
    if named:
        raise ValueError(
            f"{path} must hold each picture once; {copies} of its {len(files)} files are copies of others, byte for "
            f"byte: {few(named)}. Remove the copies, or pass allow_duplicates=True"
        )


def _duplicates(files: Sequence[Path]) -> list[list[Path]]:
    """Files of equal content, in their order. Only those of equal size are read."""
    sizes: dict[int, list[Path]] = {}
    for file in files:
        if file.exists():
            sizes.setdefault(file.stat().st_size, []).append(file)
    contents: dict[bytes, list[Path]] = {}
    for file in (file for same in sizes.values() if len(same) > 1 for file in same):
        with file.open("rb") as content:
            contents.setdefault(hashlib.file_digest(content, "blake2b").digest(), []).append(file)
    return sorted((same for same in contents.values() if len(same) > 1), key=lambda same: same[0].parts)


def _conditions(tokenizer: Callable[[Sequence[str]], Batch], captions: Sequence[str]) -> Batch:
    made = tokenizer([*captions])
    shapes = {k: list(getattr(v, "shape", ())) for k, v in made.items()} if isinstance(made, dict) else type(made)
    if isinstance(made, dict) and made and not {"x", "y"} & made.keys():
        rows = [len(v) if isinstance(v, Tensor) and v.ndim else -1 for v in made.values()]
        if set(rows) == {len(captions)}:
            return made
    raise ValueError(
        f'tokenizer must give a dict of tensors, such as "tokens" and "mask" (and not "x" or "y"), with a row for each '
        f"of the {len(captions)} captions; got {shapes}"
    )
