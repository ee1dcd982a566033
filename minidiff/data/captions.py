"""Captions of a folder's pictures: a text file beside each, or one table for all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from unicodedata import normalize

TABLES = ("captions.csv", "metadata.csv", "captions.jsonl", "metadata.jsonl")
# The first of each, and `metadata` as the table's name, are those of Hugging Face's imagefolder.
FILE, TEXT = ("file_name", "file", "image"), ("text", "caption")


class Caption(NamedTuple):
    """A caption, stripped, and where it was written."""

    text: str
    where: str


class Row(NamedTuple):
    """What a table says in one of its rows, the line in which it starts (from 1) first."""

    line: int
    file: str
    text: str


def find(root: Path, files: Sequence[Path], captions: str | os.PathLike | None) -> dict[Path, Caption] | None:
    """What is written about the pictures of a folder.

    Args:
        root: the folder.
        files: its pictures.
        captions: a table; `"sidecars"`; `"auto"`, whichever of the two is there; or None, neither.

    Returns:
        The captions by their pictures, which need not be complete, or None: there are no captions.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: there is more than one source of captions, or it cannot be read or does not fit the pictures.
    """
    if captions is None:
        return None
    if not isinstance(captions, str | os.PathLike):
        raise ValueError(f'captions must be "auto", "sidecars", None or the path of a table; got {captions!r:.60}')
    if captions not in ("auto", "sidecars"):
        return _from_table(root, files, Path(captions).expanduser())
    beside = _sidecars(files)
    tables = [root / name for name in TABLES if (root / name).is_file()] if captions == "auto" else []
    if len(tables) + bool(beside) > 1:
        sources = [table.name for table in tables] + ["text files beside its pictures"] * bool(beside)
        raise ValueError(
            f"{root} must have its captions in one place; it has {' and '.join(sources)}. "
            'Say which: captions="the table\'s path" or captions="sidecars"'
        )
    if tables:
        return _from_table(root, files, tables[0])
    return _from_sidecars(root, beside) if beside else None


def complete(root: Path, files: Sequence[Path], found: dict[Path, Caption] | None) -> tuple[str, ...]:
    """The captions of `files`, in their order; none at all if none were found.

    Raises:
        ValueError: some picture has none, or an empty one.
    """
    if found is None:
        return ()
    missing = []
    for file in files:
        if file not in found or not found[file].text:
            empty = f" (empty in {found[file].where})" if file in found else ""
            missing.append(f"{file.relative_to(root).as_posix()}{empty}")
    if missing:
        raise ValueError(
            f"captions must be there for every picture of {root}; {len(missing)} of {len(files)} have none: "
            f"{few(missing)}. Write them, take these pictures away, or pass captions=None"
        )
    return tuple(found[file].text for file in files)


def few(items: Iterable[str], most: int = 5) -> str:
    """The first few, and how many more there are.

    >>> few("abcd", most=3)
    'a, b, c and 1 more'
    """
    items = [*items]
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _sidecars(files: Sequence[Path]) -> dict[Path, list[Path]]:
    """Text files that lie beside a picture of their name -> the pictures, which should be one."""
    texts = {}
    for parent in sorted({file.parent for file in files}):
        for path in sorted(parent.iterdir()):
            if path.suffix.lower() == ".txt" and path.is_file():
                texts[path.with_suffix("")] = path
    beside: dict[Path, list[Path]] = {}
    for file in files:
        if file.with_suffix("") in texts:
            beside.setdefault(texts[file.with_suffix("")], []).append(file)
    return beside


def _from_sidecars(root: Path, beside: dict[Path, list[Path]]) -> dict[Path, Caption]:
    shared = [f"{text.name}: {' and '.join(f.name for f in files)}" for text, files in beside.items() if files[1:]]
    if shared:
        raise ValueError(
            f"each text file in {root} must belong to one picture; {len(shared)} of {len(beside)} belong to several "
            f"({few(shared)}). Rename the pictures, or take away those that are not meant"
        )
    found, bad = {}, []
    for text, [file] in beside.items():
        name = text.relative_to(root).as_posix()
        try:
            found[file] = Caption(_decoded(text).strip(), name)
        except ValueError as error:
            bad.append(f"{name} ({error})")
    if bad:
        raise ValueError(
            f"text files in {root} must be UTF-8; {len(bad)} of {len(beside)} are not: {few(bad)}. Save them as UTF-8"
        )
    return found


def _from_table(root: Path, files: Sequence[Path], table: Path) -> dict[Path, Caption]:
    readers = {".csv": _csv, ".jsonl": _jsonl}
    if table.suffix.lower() not in readers:
        raise ValueError(f'captions must be "auto", "sidecars", None or a .csv or .jsonl file; got {str(table)!r}')
    if not table.is_file():
        raise FileNotFoundError(f"captions must be a table; there is none at {table}")
    try:
        content = _decoded(table)
    except ValueError as error:
        raise ValueError(f"{table} must be UTF-8; it is not ({error}). Save it as UTF-8") from error
    rows = readers[table.suffix.lower()](table, content)
    exact = {file.relative_to(root).as_posix(): file for file in files}
    loose = {_key(name): file for name, file in exact.items()}
    found: dict[Path, Caption] = {}
    absent, twice = [], []
    for line, name, text in rows:
        file = exact.get(name) or loose.get(_key(name))
        if file is None:
            absent.append(f"{name!r} in line {line}")
        elif file in found:
            twice.append(f"{name!r} in line {line} (first in {found[file].where})")
        else:
            found[file] = Caption(text.strip(), f"{table.name}, line {line}")
    if absent:
        raise ValueError(
            f"{table} must name pictures of {root}, by their paths from there; {len(absent)} of its {len(rows)} rows "
            f"do not: {few(absent)}. Correct or remove these rows"
        )
    if twice:
        raise ValueError(
            f"{table} must name each picture once; {len(twice)} of its {len(rows)} rows repeat one: {few(twice)}. "
            "Remove these rows"
        )
    return found


def _key(name: str) -> str:
    """A name as it is compared: "./a.png", Windows' "cats\\a.png" and both spellings of an umlaut are understood."""
    return normalize("NFC", PurePosixPath(name.strip().replace("\\", "/")).as_posix())


def _csv(table: Path, content: str) -> list[Row]:
    reader = csv.reader(io.StringIO(content, newline=""), strict=True, skipinitialspace=True)
    rows, bad, line = [], [], 1
    try:
        header = next(reader, [])
        file, text = (header.index(name) for name in _columns(header))
        line = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                bad.append(f"line {line} has {len(row)}")
            elif row:
                rows.append(Row(line, row[file], row[text]))
            line = reader.line_num + 1
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{table} cannot be read as CSV with captions; line {line}: {error}. Correct it, or pass captions=None"
        ) from error
    if bad:
        raise ValueError(
            f"{table} must have {len(header)} values in each row, as in its header; {len(bad)} of "
            f"{len(bad) + len(rows)} rows do not: {few(bad)}. A caption with a comma must stand in double quotes "
            '("a red, round ball")'
        )
    return rows


def _jsonl(table: Path, content: str) -> list[Row]:
    rows, bad = [], []
    for line, text in enumerate(content.split("\n"), 1):  # splitlines would also split at U+2028 inside a caption
        if not text.strip():
            continue
        try:
            rows.append(Row(line, *_entry(text)))
        except json.JSONDecodeError as error:
            bad.append(f"line {line} ({error.msg} at column {error.colno})")
        except (ValueError, RecursionError) as error:
            bad.append(f"line {line} ({error})")
    if bad:
        raise ValueError(
            f"{table} must have one JSON object in each line, with a file's name and its caption; {len(bad)} of "
            f"{len(bad) + len(rows)} lines are none: {few(bad)}. Write them like "
            f'{{"{FILE[0]}": "a.png", "{TEXT[0]}": "a red ball"}}, or pass captions=None'
        )
    return rows


def _entry(text: str) -> tuple[str, str]:
    entry = json.loads(text)
    if not isinstance(entry, dict):
        raise ValueError("no object")
    file, caption = (entry[name] for name in _columns([*entry]))
    caption = "" if caption is None else caption
    if not isinstance(file, str) or not isinstance(caption, str):
        raise ValueError("a value that is no text")
    return file, caption


def _columns(names: Sequence[str]) -> list[str]:
    """The two of a table's columns that matter, file and caption."""
    picked = []
    for wanted in (FILE, TEXT):
        among = [name for name in names if name.strip().lower() in wanted]
        if len(among) != 1:
            raise ValueError(f"one column must be {' or '.join(wanted)}; the columns are {', '.join(names) or 'none'}")
        picked += among
    return picked


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{error.reason} at byte {error.start}") from error
