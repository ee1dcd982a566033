"""What each change from FCN to U-Net gains: pairs of networks of lesson 04's grid, with Welch's intervals.

    python -m minidiff.recipes.pixel_gains        the gains anew, from the grid in results/; trains nothing

Two intervals that overlap do not say that two means are equal; the interval of the difference does the asking. The
grid of `minidiff.recipes.pixels` keeps a mean and Student's interval for each network. The width of the interval tells
the spread over seeds, so the gains follow from what is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple, get_args

from minidiff.models.fcn import Decoder, Skip
from minidiff.recipes.results import find, record, slug

# Task -> figure -> +1 if more of it is better, else -1; the first figure of a task is the one that claim 13 asks for.
GAINED = {"scenes": {"iou": 1, "boundary_f": 1}, "denoising": {"mse": -1}}
_SKIPS = (("none", "sum"), ("sum", "concatenate"), ("none", "concatenate"))


class Runs(NamedTuple):
    """The runs of one network: their mean, its standard error, and how many they are."""

    mean: float
    error: float
    n: int


def runs_of(mean: float, low: float, high: float, n: int) -> Runs:
    """The standard error back from Student's 95 % interval of a mean.

    The recipe cuts the intervals of shares off at 0 and 1. The longer side is the whole one, then.

    Args:
        mean: of the runs. low: end of the interval. high: the other end.
        n: runs, at least 2.

    Raises:
        ValueError: fewer than 2 runs, or an interval that was cut on both sides.
    """
    from scipy.stats import t

    if n < 2:
        raise ValueError(f"n must be at least 2; one run has no spread; got {n}")
    if (low, high) == (0, 1):
        raise ValueError("the interval was cut off at 0 and at 1: its width is lost")
    return Runs(mean, max(mean - low, high - mean) / float(t.ppf(0.975, n - 1)), n)


def welch(before: Runs, after: Runs) -> tuple[float, float]:
    """A 95 % interval of how much larger the second mean is, where spreads may differ (Welch, 1947).

    Args:
        before: runs of one network. after: runs of the other, not paired with them.

    Returns:
        Its low end and its high end.
    """
    from scipy.stats import t

    gain, squares = after.mean - before.mean, [runs.error**2 for runs in (before, after)]
    total = sum(squares)
    if total == 0:
        return gain, gain
    freedom = total**2 / sum(s**2 / (runs.n - 1) for s, runs in zip(squares, (before, after), strict=True))
    half = float(t.ppf(0.975, freedom)) * total**0.5
    return gain - half, gain + half


def pairs() -> dict[str, tuple[str, str]]:
    """Name of a gain -> the two networks of the grid that differ in that one thing, the simpler one first.

    >>> pairs()["concatenate over sum, symmetric"]
    ('sum-symmetric', 'concatenate-symmetric')
    """
    plain, mirrored = get_args(Decoder)
    found = {
        f"{after} over {before}, {decoder}": (f"{before}-{decoder}", f"{after}-{decoder}")
        for before, after in _SKIPS for decoder in (plain, mirrored)
    }  # fmt: skip
    return found | {
        f"{mirrored} over {plain}, {skip}": (f"{skip}-{plain}", f"{skip}-{mirrored}") for skip in get_args(Skip)
    }


def gains(grid: Mapping[str, Runs], better: int) -> dict[str, tuple[float, float, float]]:
    """Name of a gain -> (gain, low, high), for every pair that the grid has; a positive gain is an improvement.

    Args:
        grid: network, as "sum-symmetric" -> its runs.
        better: +1 if more is better, else -1.
    """
    found = {}
    for name, (before, after) in pairs().items():
        if before in grid and after in grid:
            ends = sorted(better * end for end in welch(grid[before], grid[after]))
            found[name] = (better * (grid[after].mean - grid[before].mean), *ends)
    return found


def verdict(low: float, high: float) -> bool | None:
    """Whether an interval lies above 0; None where it holds 0, for then nothing is decided."""
    return None if low <= 0 <= high else low > 0


def recorded(task: str, figure: str) -> tuple[dict[str, Runs], dict] | None:
    """The grid of one figure from `results/`, network -> runs, and where it came from; None where it is not.

    Args:
        task: "scenes" or "denoising". figure: "iou" and so on.
    """
    result = find(f"04_{task}_{figure}")
    if result is None:
        return None
    value, n = result["value"], len(result["provenance"]["seed"])
    cells = [k for k in value if not k.endswith(("-low", "-high"))]
    return {k: runs_of(value[k], value[f"{k}-low"], value[f"{k}-high"], n) for k in cells}, result["provenance"]


def write(task: str) -> None:
    """Writes all gains of each figure of a task, and those that claim 13 is about one by one, with their verdicts.

    Args:
        task: of `minidiff.recipes.pixels`; without its whole grid nothing is written.
    """
    for figure, better in GAINED.get(task, {}).items():
        found = recorded(task, figure)
        table = gains(found[0], better) if found else {}
        if len(table) < len(pairs()):
            continue
        kept = {"seed": found[1]["seed"], "images": found[1]["images"], "figure": "The grid"}
        value = {name: gain for name, (gain, _, _) in table.items()}
        value |= {f"{k}-{end}": row[j] for k, row in table.items() for j, end in ((1, "low"), (2, "high"))}
        note = f"from the means and intervals of 04_{task}_{figure}; + is better; Welch's 95 % intervals"
        record(f"04_{task}_{figure}_gains", value, source="recipe pixel_gains", note=note, **kept)
        if figure == next(iter(GAINED[task])):
            _write_claims(task, figure, found[0], table, kept)


def _write_claims(task: str, figure: str, grid: Mapping[str, Runs], table: Mapping[str, tuple], kept: dict) -> None:
    """The claim compares networks that have skips; what having them at all gains stands in the table of gains alone."""
    for name, (gain, low, high) in table.items():
        cells = pairs()[name]
        if any(cell.startswith("none") for cell in cells):
            continue
        value = {cell: grid[cell].mean for cell in cells} | {"gain": gain}
        note = f"{task}: {figure.replace('mse', 'mean squared error of eps')}; interval: of the gain (Welch)"
        record(
            f"04_{task}_{slug(name)}", value, source="recipe pixel_gains", interval=(low, high), claim=13,
            holds=verdict(low, high), note=f"{note}; open where it holds 0", **kept,
        )  # fmt: skip


def judge(task: str) -> None:
    """Writes the U-Net's recorded lead in a task again, with the verdict that its interval has now."""
    lead = find(f"04_{task}_lead")
    if lead:
        kept = {name: lead[name] for name in ("value", "interval", "claim", "figure", "note")}
        record(lead["name"], **kept, source="recipe pixels", holds=verdict(*lead["interval"]), measured=lead)


def main() -> None:
    """Writes what follows from what is recorded."""
    os.environ["MINIDIFF_RECORD"] = "1"
    for task in GAINED:
        write(task)
    for task in ("scenes", "digits", "denoising"):
        judge(task)


if __name__ == "__main__":
    main()
