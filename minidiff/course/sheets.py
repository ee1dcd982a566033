"""Sheets of pictures, latents as pictures, and tables of recorded results: for every lesson."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from minidiff import data
from minidiff.recipes import results


def channels(z: Tensor) -> Tensor:
    """Latents as grey pictures, their channels side by side: [N,Z,h,w] -> [N,1,h,Z (w + 1) - 1], for [-3,3]."""
    n, _, h, _ = z.shape
    bar = z.new_full((n, 1, h, 1), 3.0)
    parts = [part for i in range(z.shape[1]) for part in ([bar] if i else []) + [z[:, i : i + 1]]]
    return (torch.cat(parts, dim=3) / 3).clamp(-1, 1)


def sheet(rows: Mapping[str, Tensor], scale: float = 1.0) -> None:
    """Draw rows of pictures of different sizes, each enlarged without smoothing to the same width.

    Args:
        rows: name -> [N,C,H,W] in [-1,1], the same N everywhere.
        scale: of the whole figure.
    """
    import matplotlib.pyplot as plt

    n = len(next(iter(rows.values())))
    ratios = [x.shape[2] / x.shape[3] for x in rows.values()]
    width = 0.95 * scale * n
    _, axes = plt.subplots(
        len(rows), n, squeeze=False, figsize=(width + 1.3, 1.02 * scale * sum(ratios)), height_ratios=ratios
    )
    for line, (name, x) in zip(axes, rows.items(), strict=True):
        for ax, picture in zip(line, data.to_unit(x.float().cpu()), strict=True):
            grey = picture.shape[0] == 1
            ax.imshow(picture[0] if grey else picture.permute(1, 2, 0), cmap="gray" if grey else None, vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)


def recorded(prefix: str, figures: Sequence[str]) -> dict[str, dict[str, float]] | None:
    """Values of several results by figure, or None where this machine has none of them.

    Args:
        prefix: of the results' names. figures: the rest of them.
    """
    found = {figure: results.find(f"{prefix}{figure}") for figure in figures}
    return {figure: one["value"] for figure, one in found.items()} if all(found.values()) else None


def table(found: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> None:
    """Print figures as rows and names as columns.

    Args:
        found: figure -> name -> value. names: columns; where a figure lacks one, a dash stands.
    """
    width = max(len(figure) for figure in found) + 2
    print(" " * width + "".join(f"{name:>16}" for name in names))
    for figure, values in found.items():
        cells = (f"{values[name]:16.4g}" if name in values else f"{'-':>16}" for name in names)
        print(f"{figure.replace('_', ' '):{width}}" + "".join(cells))
