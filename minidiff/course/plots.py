"""One style and one colour for each recurring thing, in every figure of the course."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

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
            "figure.dpi": 90,
            "savefig.dpi": 90,
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


def montage(images: Tensor, ncol: int = 8, pad: int = 1) -> Tensor:
    """Lay pictures out in rows on one canvas.

    Args:
        images: [N,C,H,W] in [-1,1], C = 1 or 3.
        ncol: pictures in a row.
        pad: pixels of white between them.

    Returns:
        [H',W',3] uint8.

    Raises:
        ValueError: if the shape is another.

    >>> montage(torch.zeros(5, 1, 4, 3), ncol=2).shape
    torch.Size([14, 7, 3])
    """
    from minidiff.data.transforms import to_uint8

    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images has shape {list(images.shape)}; it must be [N,C,H,W] with C = 1 or 3")
    n, _, h, w = images.shape
    ncol = min(ncol, n)
    nrow = -(-n // ncol)
    canvas = torch.full((nrow * (h + pad) - pad, ncol * (w + pad) - pad, 3), 255, dtype=torch.uint8)
    for i, picture in enumerate(to_uint8(images.detach().cpu()).expand(-1, 3, -1, -1)):
        top, left = i // ncol * (h + pad), i % ncol * (w + pad)
        canvas[top : top + h, left : left + w] = picture.permute(1, 2, 0)
    return canvas


def grid(images: Tensor, ncol: int = 8, titles: Sequence[str] | None = None, scale: float = 1.5) -> None:
    """Draw pictures as a grid in a new figure.

    Args:
        images: [N,C,H,W] in [-1,1].
        ncol: pictures in a row.
        titles: one for each picture, or one for each column if there are `ncol` of them.
        scale: screen pixels for each pixel of a picture.

    Raises:
        ValueError: if the shape is another, or the number of titles fits neither.
    """
    import matplotlib.pyplot as plt

    n, _, h, w = images.shape if images.ndim == 4 else (0, 0, 0, 0)
    ncol = min(ncol, n)
    if titles is not None and len(titles) not in (n, ncol):
        raise ValueError(f"titles has {len(titles)} entries; it must have {n} (pictures) or {ncol} (columns)")
    each = titles is not None and len(titles) == n
    canvas = montage(images, ncol, pad=12 if each and n > ncol else 1)
    fig, ax = plt.subplots(figsize=(canvas.shape[1] * scale / 90, canvas.shape[0] * scale / 90 + 0.3 * bool(titles)))
    ax.imshow(canvas.numpy(), interpolation="nearest")
    ax.set_axis_off()
    step_h, step_w = h + (12 if each and n > ncol else 1), w + (12 if each and n > ncol else 1)
    for i, title in enumerate(titles or ()):
        row, col = divmod(i, ncol)
        ax.text(col * step_w + w / 2, row * step_h - 2, title, ha="center", va="bottom", fontsize=8)


def trajectory(steps: Iterable, every: int = 1, count: int = 4, scale: float = 1.5) -> None:
    """Draw how a few pictures come out of noise: one row for each, one column for each kept step.

    Args:
        steps: `Step(t, x, x0)` of a sampler, x [B,C,H,W].
        every: keep each `every`-th step; the last is always kept.
        count: how many pictures of the batch.
        scale: screen pixels for each pixel of a picture.
    """
    steps = list(steps)
    kept = steps[:: -every or None][::-1] if every > 1 else steps
    rows = torch.stack([s.x[:count] for s in kept], dim=1).flatten(0, 1)
    grid(rows, ncol=len(kept), titles=[f"t = {s.t}" for s in kept], scale=scale)
