"""Numbers that can be quoted: each with its interval, the numbers of pictures, the extractor and the preprocessing."""

from __future__ import annotations

import html
import json
import math
import textwrap
import warnings
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

INCEPTION = "inception-v3"  # the extractor whose 2,048 features a Frechet distance must be measured in to be an FID
CMMD = "open_clip:ViT-L-14-336/openai"  # likewise the one that CMMD is defined with
FORMAT = "minidiff report 1"


class Metric(NamedTuple):
    """What has to be said about a metric."""

    general: str  # its name
    famous: str  # its name in the features that it was defined with
    features: tuple[str, int] | None  # these: extractor and dimension; None if any will do
    better: str  # lower or higher
    line: str  # what it is
    low: float = 0.0  # values lie between these
    high: float = math.inf


METRICS = {
    "frechet_distance": Metric(
        "Frechet distance", "FID", (INCEPTION, 2048), "lower",
        f"between the Gaussians that fit the two sets; FID in the features of {INCEPTION}",
    ),
    "kernel_distance": Metric(
        "kernel distance", "KID", (INCEPTION, 2048), "lower",
        f"polynomial-kernel MMD, unbiased; KID in the features of {INCEPTION}", -math.inf,
    ),
    "cmmd": Metric(
        "Gaussian-kernel distance", "CMMD", (CMMD, 768), "lower",
        f"Gaussian-kernel MMD of features of unit length; CMMD in those of {CMMD}",
    ),
    "precision": Metric(
        "precision", "precision", None, "higher", "share of B among the pictures of A: are they good?", 0, 1
    ),
    "recall": Metric("recall", "recall", None, "higher", "share of A among the pictures of B: are all there?", 0, 1),
    "density": Metric("density", "density", None, "higher", "how deep among the pictures of A those of B lie"),
    "coverage": Metric("coverage", "coverage", None, "higher", "share of A's pictures with one of B close by", 0, 1),
    "inception_score": Metric(
        "class score", "Inception Score", (INCEPTION, 2048), "higher",
        f"how sure and how varied the classes of B are; Inception Score in those of {INCEPTION}", 1,
    ),
    "clip_score": Metric(
        "CLIP score", "CLIP score", None, "higher", "how well B's pictures fit their captions: 2.5 max(cos, 0)", 0, 2.5
    ),
    "clip_score_100": Metric(
        "CLIP score x 100", "CLIP score x 100", None, "higher", "the same as 100 times the mean cosine", 0, 100
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One metric's value and what it depends on. Results compare by value, and only where that makes sense.

    Attributes:
        metric: one of `METRICS`.
        value: the number.
        n: pictures in each set that it looks at: (A, B), or (B,).
        dim: of the features.
        extractor: name of what computed the features.
        preprocessing: what was done to the pictures before.
        settings: of the metric, such as `k = 3`.
        interval: low and high end; None where none was asked for.
        level: of the interval.
        method: how the interval was found.
        floor: what real pictures in place of the second set's score, if known.
        bias: what two samples of one distribution are expected to score at this `n`, if known.

    Raises:
        ValueError: the metric is unknown, a number is not finite, or the interval is upside down.

    >>> result = Result("frechet_distance", 3.14159, (500, 400), 128, "digits", "none", interval=(2.9, 3.4))
    >>> print(result)
    Frechet distance in digits features: 3.14 (95 % interval 2.90 to 3.40), N = 500 and 400, D = 128, preprocessing:
    none
    """

    metric: str
    value: float
    n: tuple[int, ...]
    dim: int
    extractor: str
    preprocessing: str
    settings: str = ""
    interval: tuple[float, float] | None = None
    level: float = 0.95
    method: str = ""
    floor: float | None = None
    bias: float | None = None

    def __post_init__(self):
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {self.metric!r}")
        for name in ("value", "floor", "bias"):
            number = getattr(self, name)
            if not (number is None and name != "value") and not math.isfinite(number):
                raise ValueError(f"{name} of {self.metric} must be finite; got {number}")
        if self.interval is not None and not self.interval[0] <= self.interval[1]:
            raise ValueError(f"interval of {self.metric} must have its low end first; got {self.interval}")

    @property
    def label(self) -> str:
        """The metric's name: the famous one only in the features that it was defined with."""
        known = METRICS[self.metric]
        return known.famous if known.features in (None, (self.extractor, self.dim)) else known.general

    @property
    def better(self) -> str:
        """`lower` or `higher`."""
        return METRICS[self.metric].better

    def show(self, number: float) -> str:
        """A number with the digits that the interval supports, two of its half-width; without one with four in all."""
        return _fixed(number, (self.interval[1] - self.interval[0]) / 2 if self.interval else abs(self.value) / 100)

    def span(self) -> str:
        """The interval's ends; empty where there is none."""
        return " to ".join(map(self.show, self.interval)) if self.interval else ""

    def real(self) -> str:
        """What real pictures score; empty where it is not known."""
        return "" if self.floor is None else self.show(self.floor)

    def __str__(self) -> str:
        beside = [f"{self.level * 100:g} % interval {self.span()}"] if self.interval else []
        beside += [f"real pictures score {self.real()}"] if self.floor is not None else []
        value = self.show(self.value) + (f" ({', '.join(beside)})" if beside else "")
        parts = [f"{self.label} in {self.extractor} features: {value}", f"N = {_and(self.n)}", f"D = {self.dim:,}"]
        parts += [self.settings] if self.settings else []
        return ", ".join([*parts, f"preprocessing: {self.preprocessing}"])

    def __lt__(self, other: Result) -> bool:
        return difference(self, other) < 0

    def __le__(self, other: Result) -> bool:
        return difference(self, other) <= 0


def difference(a: Result, b: Result) -> float:
    """The value of `a` less that of `b`, with a warning where other numbers of pictures alone make some of it.

    Raises:
        ValueError: they lie on different scales: another metric, other settings, another extractor or preprocessing.

    >>> a, b = (Result("recall", value, (500, 400), 128, "digits", "none", "k = 3") for value in (0.75, 0.5))
    >>> difference(a, b), b < a
    (0.25, True)
    """
    if not isinstance(b, Result):
        raise ValueError(f"a result can only be compared with a result; got {type(b).__name__}")
    for name in ("metric", "settings", "extractor", "preprocessing", "dim"):
        one, two = getattr(a, name), getattr(b, name)
        if one != two:
            raise ValueError(f"{a.label} and {b.label} cannot be compared: {name} is {one!r} here and {two!r} there")
    if a.n != b.n and a.bias is not None and b.bias is not None:
        warnings.warn(
            f"of the difference {a.value - b.value:.4g}, about {a.bias - b.bias:.4g} comes from the numbers of "
            f"pictures alone ({_and(a.n)} against {_and(b.n)}): measure both with the same",
            stacklevel=2,
        )
    return a.value - b.value


@dataclass(frozen=True)
class Report:
    """Results about the same two sets of pictures; `report["recall"]` finds one, `print(report)` shows all.

    Attributes:
        results: of each metric, in order.
        sets: names of the sets: the reference, and what is judged.
        n: pictures in each.
        floor: name of the set of real pictures that stood in for the second; empty if there was none.
        notes: what a reader must know.
        seed: of the random subsets.
        made_with: versions and device.
    """

    results: tuple[Result, ...]
    sets: tuple[str, str]
    n: tuple[int, int]
    floor: str = ""
    notes: tuple[str, ...] = ()
    seed: int = 0
    made_with: str = ""

    def __getitem__(self, metric: str) -> Result:
        for result in self.results:
            if result.metric == metric:
                return result
        raise KeyError(f"{metric!r} was not measured; there are {', '.join(r.metric for r in self.results)}")

    def rows(self) -> list[list[str]]:
        """The table's cells, its heading first; a column that no result fills is left out."""
        heading = ["", "value", f"{self.results[0].level * 100:g} % interval", "real pictures", "better", "settings"]
        table = [heading]
        for r in self.results:
            table.append([r.label, r.show(r.value), r.span(), r.real(), r.better, r.settings])
        kept = [i for i in range(len(heading)) if any(row[i] for row in table[1:])]
        return [[row[i] for i in kept] for row in table]

    def about(self) -> list[tuple[str, str]]:
        """(what, text) lines that stand above the table."""
        first = self.results[0]
        lines = [(which, f"{name}, {n:,} pictures") for which, name, n in zip("AB", self.sets, self.n)]
        lines += [("real pictures", f"{self.floor} in place of B")] if self.floor else []
        lines += [("features", f"{first.extractor}, D = {first.dim:,}"), ("preprocessing", first.preprocessing)]
        return lines

    def __str__(self) -> str:
        lines = [_folded(f"{what:<14} ", text) for what, text in self.about()] + [""]
        rows = self.rows()
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            cells = [f"{row[0]:<{widths[0]}}", f"{row[1]:>{widths[1]}}"]
            cells += [f"{cell:<{width}}" for cell, width in zip(row[2:], widths[2:])]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines + [""] + [_folded("- ", note) for note in self.footnotes()])

    def footnotes(self) -> list[str]:
        """How the intervals were found, then the notes, then versions and seed."""
        methods = dict.fromkeys(r.method for r in self.results if r.method)
        told = [f"intervals: {method}" for method in methods]
        return told + list(self.notes) + [f"{self.made_with or 'minidiff'}, seed {self.seed}"]

    def to_html(self) -> str:
        """The same for a page."""
        head, *body = self.rows()
        cells = ["".join(f"<th>{html.escape(c)}</th>" for c in head)]
        cells += ["".join(f"<td>{html.escape(c)}</td>" for c in row) for row in body]
        about = "".join(f"<div>{html.escape(what)}: {html.escape(text)}</div>" for what, text in self.about())
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.footnotes())
        return f"{about}<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table><ul>{notes}</ul>"

    _repr_html_ = to_html  # what a notebook shows

    def to_json(self) -> str:
        """The whole report; `from_json` reads it back."""
        results = [{**asdict(r), "label": r.label, "better": r.better} for r in self.results]
        return json.dumps({"format": FORMAT, **asdict(self), "results": results}, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: it is no report.
        """
        try:
            found = json.loads(text)
            if found.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT!r}")
            known = {f.name for f in fields(Result)}
            results = [{k: _tuple(v) for k, v in r.items() if k in known} for r in found.pop("results")]
            return cls(tuple(Result(**r) for r in results), **{k: _tuple(v) for k, v in found.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"text must be a report's JSON; {error!r}") from error


def _fixed(number: float, step: float) -> str:
    """A number to two digits of `step`."""
    return f"{number:,.{min(8, max(0, 1 - math.floor(math.log10(step)))) if step > 0 else 0}f}"


def _folded(start: str, text: str) -> str:
    return textwrap.fill(text, 100, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _and(n: tuple[int, ...]) -> str:
    return " and ".join(f"{v:,}" for v in n)
