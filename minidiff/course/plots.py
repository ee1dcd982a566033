"""One style and one colour for each recurring thing, in every figure of the course."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from minidiff.diffusion import Step

DPI = 90

# Okabe and Ito's palette, told apart also by readers who see fewer colours.
PALETTE = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}
DATA, NOISE, MODEL = PALETTE["blue"], "#8C8C8C", PALETTE["orange"]
REAL, GENERATED, TRUTH = PALETTE["blue"], PALETTE["vermilion"], PALETTE["black"]
COLORS = {"data": DATA, "noise": NOISE, "model": MODEL, "real": REAL, "generated": GENERATED, "truth": TRUTH}


def style() -> None:
    """Set matplotlib's defaults for the course; the white face keeps figures readable on a dark page."""
    import matplotlib as mpl

    order = [PALETTE[c] for c in ("blue", "orange", "green", "vermilion", "purple", "sky", "black")]
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.2),
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "savefig.facecolor": "white",
            "axes.prop_cycle": mpl.cycler(color=order),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.labelsize": 10,
            "font.size": 10,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "figure.constrained_layout.use": True,
        }
    )


def montage(images: Tensor, ncol: int = 8, gap: tuple[int, int] = (1, 1)) -> Tensor:
    """Lay pictures out in rows on one white canvas.

    Args:
        images: [N,C,H,W] in [-1,1], C = 1 or 3.
        ncol: pictures in a row.
        gap: pixels between rows and between columns.

    Returns:
        [H',W',3] uint8.

    Raises:
        ValueError: if the shape is another.

    >>> montage(torch.zeros(5, 1, 4, 3), ncol=2).shape
    torch.Size([14, 7, 3])
    """
    from minidiff.data.transforms import to_uint8

    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"images has shape {list(images.shape)}; it must be [N,C,H,W] with N >= 1 and C = 1 or 3")
    n, _, h, w = images.shape
    nrow, ncol = -(-n // ncol), min(ncol, n)
    down, right = h + gap[0], w + gap[1]
    canvas = torch.full((nrow * down - gap[0], ncol * right - gap[1], 3), 255, dtype=torch.uint8)
    for i, picture in enumerate(to_uint8(images.detach().cpu()).expand(-1, 3, -1, -1)):
        top, left = i // ncol * down, i % ncol * right
        canvas[top : top + h, left : left + w] = picture.permute(1, 2, 0)
    return canvas


def grid(images: Tensor, ncol: int = 8, titles: Sequence[str] | None = None, scale: float = 1.5) -> None:
    """Draw pictures as a grid in a new figure, which the notebook shows below the cell.

    Args:
        images: [N,C,H,W] in [-1,1], C = 1 or 3.
        ncol: pictures in a row.
        titles: one above each picture, or one above each column.
        scale: screen pixels for each pixel of a picture.

    Raises:
        ValueError: if the shape is another, or the number of titles fits neither.
    """
    import matplotlib.pyplot as plt

    n, ncol = len(images), min(ncol, len(images))
    titles = [] if titles is None else titles
    if len(titles) not in (0, n, ncol):
        raise ValueError(f"titles has {len(titles)} entries; it must have {n} (pictures) or {ncol} (columns)")
    label = math.ceil(16 / scale)  # height of a title in pixels of the canvas
    gap = (label if len(titles) > ncol else 1, 1)
    canvas = montage(images, ncol, gap)
    tall, wide = canvas.shape[0] + bool(titles) * label, canvas.shape[1]
    figure = plt.figure(figsize=(wide * scale / DPI, tall * scale / DPI), layout="none")
    axes = figure.add_axes((0, 0, 1, canvas.shape[0] / tall))
    axes.imshow(canvas.numpy(), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    h, w = images.shape[-2] + gap[0], images.shape[-1] + gap[1]
    for i, title in enumerate(titles):
        place = (i % ncol * w + w / 2 - 1, i // ncol * h - 2)
        axes.text(*place, title, ha="center", va="bottom", fontsize=8, clip_on=False)


def trajectory(steps: Iterable[Step], columns: int = 8, count: int = 4, scale: float = 1.5) -> None:
    """Draw how pictures come out of noise: a row for each picture, a column for each kept step.

    Args:
        steps: `Step(t, x, x0)` of a sampler, x [B,C,H,W]; kept evenly spaced, first and last among them.
        columns: steps to keep.
        count: pictures of the batch to show.
        scale: screen pixels for each pixel of a picture.

    Raises:
        ValueError: if there is no step.
    """
    steps = list(steps)
    if not steps:
        raise ValueError("steps is empty; it must hold at least one Step of a sampler")
    columns = min(columns, len(steps))
    kept = [steps[round(i)] for i in torch.linspace(0, len(steps) - 1, columns).tolist()]
    rows = torch.stack([s.x[:count] for s in kept], dim=1).flatten(0, 1)  # [count * columns, C, H, W]
    grid(rows, ncol=columns, titles=[f"t = {int(s.t)}" for s in kept], scale=scale)
