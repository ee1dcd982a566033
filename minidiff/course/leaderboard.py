"""The leaderboard of the course as Markdown, built from `results/`."""

from __future__ import annotations

from pathlib import Path

from minidiff.recipes.leaderboard import DECODERS
from minidiff.recipes.results import load

COLUMNS = {
    "frechet_distance": ("Frechet distance", "{:.2f}"), "kernel_distance": ("kernel distance", "{:.4f}"),
    "precision": ("precision", "{:.1%}"), "recall": ("recall", "{:.1%}"),
    "all_right": ("all attributes right", "{:.1%}"),
}  # fmt: skip
TITLES = {"digits": "Handwritten digits", "scenes": "Scenes of the caption world"}


def table(results_dir: str | Path) -> str:
    """Both boards, generators first, each sorted by Frechet distance; real pictures stand in the last row.

    Args:
        results_dir: folder with the results' JSON files.
    """
    found = [r for r in load(Path(results_dir)) if r.get("name", "").startswith("07_board_")]
    parts = []
    for board, title in TITLES.items():
        rows = [r for r in found if r["name"].startswith(f"07_board_{board}_")]
        if rows:
            parts.append(f"## {title}\n\n{_board(rows)}")
    return "\n\n".join(parts or ["Nothing has been measured yet."]) + "\n"


def _board(rows: list[dict]) -> str:
    metrics = [metric for metric in COLUMNS if metric in rows[0]["value"]]
    rows = sorted(rows, key=lambda r: (r["figure"] in DECODERS, r["value"]["frechet_distance"]))
    heads = " | ".join(COLUMNS[metric][0] for metric in metrics)
    lines = [f"| model | {heads} |", "|---" * (len(metrics) + 1) + "|"]
    for one in rows:
        name = f"{one['figure']} (decoder: was given true pictures)" if one["figure"] in DECODERS else one["figure"]
        lines.append(f"| {name} | " + " | ".join(_cell(one["value"], metric) for metric in metrics) + " |")
    floors = [COLUMNS[metric][1].format(rows[0]["value"][f"{metric} floor"]) for metric in metrics]
    lines.append("| *real pictures in its place* | " + " | ".join(floors) + " |")
    return "\n".join(lines) + f"\n\n{rows[0]['note']}. In brackets 95 % intervals."


def _cell(value: dict[str, float], metric: str) -> str:
    form = COLUMNS[metric][1].format
    return f"{form(value[metric])} [{form(value[f'{metric} low'])}, {form(value[f'{metric} high'])}]"
