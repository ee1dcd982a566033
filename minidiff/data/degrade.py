"""Small pictures out of large ones, with noise on them or without: what a super-resolution model is trained on."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import Batch
from .transforms import Transform


def downsample(x: Tensor, factor: int) -> Tensor:
    """Each square of `factor` x `factor` pixels becomes one, their mean: what a coarser sensor would have seen.

    A mean is a filter against aliasing, if a simple one; to take every `factor`-th pixel is none.

    Args:
        x: [B,C,H,W].
        factor: divides H and W.

    Returns:
        [B,C,H/factor,W/factor].

    Raises:
        ValueError: `factor` is no integer of at least 1, or does not divide H and W.

    >>> downsample(torch.tensor([[[[1.0, 0.0], [0.0, -1.0]]]]), 2)
    tensor([[[[0.]]]])
    """
    if not isinstance(factor, int) or isinstance(factor, bool) or factor < 1:
        raise ValueError(f"factor must be an integer of at least 1; got {factor!r}")
    if x.ndim != 4 or x.shape[2] % factor or x.shape[3] % factor:
        raise ValueError(f"x must be [B,C,H,W] with H and W multiples of factor {factor}; got {list(x.shape)}")
    return F.avg_pool2d(x, factor)


def degrade(
    factor: int, q_sample: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None, top: int = 0, clean: float = 0.0
) -> Transform:
    """A transform that adds what is left of "x" at a lower resolution, as the conditions "low" and "low_t".

    With noise conditioning augmentation (Ho et al., 2022, "Cascaded diffusion models"): a small picture is noised to a
    level that is drawn anew each time, and the model is told which. In a cascade it then meets nothing new: the small
    pictures that another model draws are not quite right either, and noise hides by how much.

    Args:
        factor: height and width of "x" over those of "low".
        q_sample: (x0, t, eps) -> x_t, a schedule's `q_sample`; None adds no noise.
        top: levels are drawn from 0 (clean) to this one.
        clean: share of the small pictures that are left at level 0 whatever was drawn.

    Raises:
        ValueError: `factor` is no integer of at least 1, `top` is negative, or above 0 without `q_sample`, or `clean`
            lies outside [0, 1].

    >>> small = degrade(4)({"x": torch.zeros(2, 3, 8, 8)})
    >>> small["low"].shape, small["low_t"]
    (torch.Size([2, 3, 2, 2]), tensor([0, 0]))
    """
    if not isinstance(factor, int) or isinstance(factor, bool) or factor < 1:
        raise ValueError(f"factor must be an integer of at least 1; got {factor!r}")
    if not isinstance(top, int) or isinstance(top, bool) or top < 0:
        raise ValueError(f"top must be an integer of at least 0; got {top!r}")
    if top and q_sample is None:
        raise ValueError(f"top must be 0 without q_sample; got {top}")

    if not 0 <= clean <= 1:
        raise ValueError(f"clean must lie in [0, 1]; got {clean!r}")

    def apply(batch: Batch) -> Batch:
        low = downsample(batch["x"], factor)
        low_t = torch.randint(0, top + 1, (len(low),), device=low.device)
        if clean:
            low_t = low_t * (torch.rand(len(low), device=low.device) >= clean)
        if q_sample is not None:
            low = q_sample(low, low_t, torch.randn_like(low))
        return {**batch, "low": low, "low_t": low_t}

    return apply


def encode(**encoders: Callable[[Tensor], Tensor]) -> Transform:
    """A transform that replaces tensors by what frozen models make of them; no gradient flows back.

    Args:
        encoders: a function for each key of the batch, as in `encode(x=autoencoder.latents)`.

    Raises:
        ValueError: there is no encoder, or (when applied) the batch lacks a key.

    >>> encode(x=lambda x: 2 * x)({"x": torch.ones(1), "y": torch.zeros(1)})
    {'x': tensor([2.]), 'y': tensor([0.])}
    """
    if not encoders:
        raise ValueError("encode needs a function for at least one key; got none")

    @torch.no_grad()
    def apply(batch: Batch) -> Batch:
        if missing := encoders.keys() - batch.keys():
            raise ValueError(f"the batch must have the keys {sorted(missing)}; it has {sorted(batch)}")
        return {**batch, **{name: fn(batch[name]) for name, fn in encoders.items()}}

    return apply
