"""Real digits on clutter: every pixel gets a label, and ink alone does not tell it."""

from __future__ import annotations

import torch
from torch import Tensor

from .batches import Batch

SCRAPS, SIDE = 6, 10  # pieces of other digits in a picture, and their side in pixels
INK = 0.5  # a pixel belongs to the digit where it is at least half inked


def cluttered(x: Tensor, y: Tensor, *, noise: float = 0.2, seed: int = 0) -> Batch:
    """Lays pieces of other digits and noise around digits, and labels every pixel.

    The pieces are ink like the digit's own, so a pixel's neighbourhood does not give its label away: the digit has to
    be seen whole.

    Args:
        x: [N,1,H,W] in [-1,1], light ink on dark ground.
        y: [N] int64, which digit it is.
        noise: standard deviation of the noise, on the scale of [-1,1].
        seed: of the pieces, their places and the noise.

    Returns:
        `{"x": [N,1,H,W] in [-1,1], "labels": [N,H,W] int64}`; label 0 is the ground, digit d is d + 1.

    Raises:
        ValueError: a shape does not fit, or the pictures are smaller than a piece.
    """
    if x.ndim != 4 or x.shape[1] != 1 or min(x.shape[2:]) < SIDE or y.shape != x.shape[:1]:
        raise ValueError(
            f"x must be [N,1,H,W] of at least {SIDE}x{SIDE} and y [N]; got {list(x.shape)} and {list(y.shape)}"
        )
    rng = torch.Generator().manual_seed(seed)
    n, _, height, width = x.shape
    ground = torch.full_like(x, -1.0)
    rows, columns = torch.arange(SIDE)[:, None], torch.arange(SIDE)
    every = torch.arange(n)[:, None, None]
    for _ in range(SCRAPS):
        other = x[torch.randperm(n, generator=rng).to(x.device), 0]  # [N,H,W]
        top, left, to_top, to_left = (
            torch.randint(0, side - SIDE + 1, (n, 1, 1), generator=rng) for side in (height, width, height, width)
        )
        piece = other[every, top + rows, left + columns]  # [N,SIDE,SIDE]
        ground[every, 0, to_top + rows, to_left + columns] = torch.maximum(
            ground[every, 0, to_top + rows, to_left + columns], piece
        )
    mixed = torch.maximum(x, ground) + noise * torch.randn(x.shape, generator=rng).to(x)
    digit = (x[:, 0] + 1) / 2 >= INK
    return {"x": mixed.clamp(-1, 1), "labels": torch.where(digit, y[:, None, None] + 1, 0)}
