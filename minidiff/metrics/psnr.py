"""How near a picture comes to another one, pixel by pixel: the peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST = 1e-12  # of a mean square: two equal pictures give a large number, not infinity


def psnr(x: Tensor, y: Tensor, peak: float = 2.0, where: Tensor | None = None) -> Tensor:
    """10 log10(peak^2 / mean squared error) of each pair of pictures, in decibels.

    Args:
        x, y: [B,C,H,W].
        peak: largest possible difference; 2 for pictures in [-1,1].
        where: [B,H,W] bool, the pixels that count; None counts all.

    Returns:
        [B] float64; NaN for a picture of which no pixel counts.

    Raises:
        ValueError: the shapes differ, or `peak` is not positive.

    >>> psnr(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.2))
    tensor([20.0000], dtype=torch.float64)
    """
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(f"x and y must have one shape [B,C,H,W]; got {list(x.shape)} and {list(y.shape)}")
    if not peak > 0:
        raise ValueError(f"peak must be above 0; got {peak!r}")
    square = (x.double() - y.double()).square().mean(1)  # [B,H,W]
    if where is None:
        mean = square.flatten(1).mean(1)
    else:
        if where.shape != square.shape or where.dtype != torch.bool:
            raise ValueError(f"where must be bool {list(square.shape)}; got {where.dtype} {list(where.shape)}")
        mean = (square * where).flatten(1).sum(1) / where.flatten(1).sum(1)
    return 10 * torch.log10(peak**2 / mean.clamp_min(LOWEST))


def edges(x: Tensor, least: float = 0.1) -> Tensor:
    """The pixels that differ from one of their eight neighbours.

    Args:
        x: [B,C,H,W].
        least: a difference in any channel that counts.

    Returns:
        [B,H,W] bool.

    >>> edges(torch.tensor([[[[0.0, 0.0, 0.0, 1.0]]]]))
    tensor([[[False, False,  True,  True]]])
    """
    high = torch.nn.functional.max_pool2d(x, 3, stride=1, padding=1)
    low = -torch.nn.functional.max_pool2d(-x, 3, stride=1, padding=1)
    return (high - low).amax(1) >= least
