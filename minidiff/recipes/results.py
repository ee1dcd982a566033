"""Write a measured result with its provenance to `results/`, and read all of them back."""

from __future__ import annotations

import datetime
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from minidiff.recipes.provenance import provenance
from minidiff.training.checkpoint import write_atomic

_ROOT = Path(__file__).resolve().parents[2]

Number = float | int


def folder() -> Path:
    """Where results stand: `MINIDIFF_RESULTS`, else `results/` of the checkout."""
    return Path(os.environ.get("MINIDIFF_RESULTS") or _ROOT / "results")


def record(
    name: str, value: Number | Mapping[str, Number], *, source: str, seed: int | Sequence[int] | None = None,
    images: int | None = None, interval: tuple[float, float] | None = None, floor: float | None = None,
    unit: str = "", claim: int | None = None, holds: bool | None = None, figure: str = "", note: str = "",
    measured: Mapping | None = None,
) -> None:  # fmt: skip
    """Write one measured result to `results/NAME.json`, whole or not at all.

    Nothing is written unless `MINIDIFF_RECORD` is 1 (`make outputs` and the recipes set it), and
    never in the `smoke` profile: its numbers mean nothing.

    Args:
        name: file name without ending; letters, digits, `_`, `-` and `.`.
        value: the number, or several named ones.
        source: what measured it, as in `"lesson 02"` or `"recipe mnist_ddpm"`.
        seed: seed or seeds used.
        images: training images seen, counted with repetition.
        interval: a 95 % interval of the value, low end first.
        floor: what the metric gives for real data against real data.
        unit: of the value; empty for a pure number.
        claim: number of the claim that it tests, 1 to 16 (`minidiff.course.claims`).
        holds: whether the measurement agrees with the claim, decided by the code that measured.
        figure: what the figure or table beside it is called.
        note: anything that a reader must know to read the number.
        measured: an earlier record of the same measurement, of which only the reading is new: its provenance stays.

    Raises:
        ValueError: if the name is no file name, a number is not finite or the interval is upside down.
    """
    _check(name, value, interval)
    if os.environ.get("MINIDIFF_RECORD") != "1" or os.environ.get("MINIDIFF_PROFILE") == "smoke":
        return
    number = {k: float(v) for k, v in value.items()} if isinstance(value, Mapping) else float(value)
    origin = measured["provenance"] if measured else {"source": source, "seed": seed, "images": images, **_run()}
    content = {
        "name": name, "value": number, "unit": unit, "interval": list(interval) if interval else None, "floor": floor,
        "claim": claim, "holds": holds, "figure": figure, "note": note,
        "provenance": origin,
    }  # fmt: skip
    write_atomic(folder() / f"{name}.json", (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _check(name: str, value: Number | Mapping[str, Number], interval: tuple[float, float] | None) -> None:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"name is {name!r}; it must consist of letters, digits, '_', '-' and '.'")
    numbers = value if isinstance(value, Mapping) else {"value": value}
    bad = {k: v for k, v in numbers.items() if isinstance(v, bool) or not math.isfinite(v)}
    if bad:
        raise ValueError(f"value of {name} holds {bad}; it must hold finite numbers")
    if interval is not None and not interval[0] <= interval[1]:
        raise ValueError(f"interval of {name} is {interval}; its low end must come first")


def load(root: Path | None = None) -> list[dict]:
    """All recorded results, in the order of their names.

    Args:
        root: the folder; by default `folder()`.
    """
    return [json.loads(path.read_text("utf-8")) for path in sorted((root or folder()).glob("*.json"))]


def find(name: str) -> dict | None:
    """The recorded result of that name, or None where this machine has none, as beside an installed package."""
    path = folder() / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def kept(path: Path, make: Callable[[], dict]) -> dict:
    """A row of numbers that takes long: what `make()` returns, or what it returned when the file was written.

    Args:
        path: a JSON file, written whole or not at all.
        make: () -> what JSON can hold.
    """
    if not path.exists():
        write_atomic(path, json.dumps(make()).encode())
    return json.loads(path.read_text("utf-8"))


def slug(text: str) -> str:
    """Text as part of a result's or a file's name.

    >>> slug("mnist-ddpm, no guidance, 50 steps")
    'mnist-ddpm_no_guidance_50_steps'
    """
    return re.sub(r"[^\w-]+", "_", text)


def _run() -> dict[str, object]:
    profile = os.environ.get("MINIDIFF_PROFILE") or ("gpu" if torch.cuda.is_available() else "laptop")
    return {"profile": profile, "date": datetime.datetime.now(datetime.UTC).date().isoformat(), **provenance()}
