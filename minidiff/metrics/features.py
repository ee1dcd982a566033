"""From pictures to feature vectors. Any callable from [B, C, H, W] to [B, D] is an extractor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def features(extractor: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = 256) -> Tensor:
    """Applies an extractor to many pictures, some at a time.

    Args:
        extractor: [B, C, H, W] in [-1, 1] -> [B, D].
        images: [N, C, H, W] in [-1, 1].
        batch_size: pictures at once.

    Returns:
        [N, D] float32 on the CPU.

    Raises:
        ValueError: there are no pictures, they leave [-1, 1] or are not finite, or the extractor returns another shape.
    """
    if images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        raise ValueError(f"images must be floats [N, C, H, W] with N >= 1; got {images.dtype} {list(images.shape)}")
    low, high = images.min().item(), images.max().item()
    if not (low >= -1.001 and high <= 1.001):  # also false for NaN
        raise ValueError(f"images must lie in [-1, 1]; got values from {low:g} to {high:g}")
    out = torch.cat([extractor(part).float().cpu() for part in images.split(batch_size)])
    if out.ndim != 2 or len(out) != len(images):
        raise ValueError(f"the extractor must return [B, D]; {len(images)} images gave {list(out.shape)}")
    return out


def check_features(name: str, x: Tensor, least: int = 1) -> Tensor:
    """`x` in float64, if it is a finite [N, D] with N >= `least`; else a ValueError that names it."""
    if x.ndim != 2 or len(x) < least or x.shape[1] == 0 or not x.is_floating_point():
        raise ValueError(f"{name} must be floats [N, D] with N >= {least}; got {x.dtype} {list(x.shape)}")
    if not bool(x.isfinite().all()):
        raise ValueError(f"{name} must be finite; it holds NaN or infinity")
    return x.double()
