"""A denoiser is a function (x_t, t) -> Prediction. Models become one here; guidance and clipping wrap it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .schedule import Schedule, Target


class Prediction(NamedTuple):
    """One prediction seen from both ends, x_t = signal x0 + noise eps."""

    x0: Tensor  # [B, *shape]
    eps: Tensor  # [B, *shape]
    var: Tensor | None = None  # [B, *shape] or None; 0 means beta-tilde, 1 means beta


Denoise = Callable[..., Prediction]  # (x_t [B, *shape], t [B], **cond) -> Prediction


def split_variance(out: Tensor, channels: int) -> tuple[Tensor, Tensor | None]:
    """Separates a learned variance from a network's output, told apart by the number of channels.

    Args:
        out: [B, C, ...] or, with a learned variance, [B, 2C, ...].
        channels: C.

    Returns:
        The prediction [B, C, ...], and the fraction of Nichol & Dhariwal (2021, eq. 15), 0 for beta-tilde and
        1 for beta, or None.

    Raises:
        ValueError: `out` has neither C nor 2C channels.
    """
    if out.shape[1] == channels:
        return out, None
    if out.shape[1] == 2 * channels:
        out, var = out.chunk(2, dim=1)
        return out, (var + 1) / 2
    raise ValueError(f"the model must return {channels} or {2 * channels} channels; it returned {out.shape[1]}")


def denoiser(model: nn.Module, schedule: Schedule, predict: Target = "eps") -> Denoise:
    """Turns a network into a denoiser.

    Args:
        model: `model(x_t, t, **cond)` -> [B, C, ...], or [B, 2C, ...] with a learned variance.
        schedule: the forward process it was trained on.
        predict: what its first C channels mean.
    """

    def denoise(x_t: Tensor, t: Tensor, **cond: Tensor) -> Prediction:
        out, var = split_variance(model(x_t, t, **cond).to(x_t.dtype), x_t.shape[1])
        return Prediction(*schedule.split(predict, out, x_t, t), var)

    return denoise


def given(denoise: Denoise, cond: dict[str, Tensor]) -> Denoise:
    """Fixes the conditions, so that a sampler sees (x_t, t) alone."""
    return lambda x_t, t: denoise(x_t, t, **cond)


def clipped(denoise: Denoise, schedule: Schedule, percentile: float | None = None) -> Denoise:
    """Keeps x0 in [-1, 1] and recomputes eps from it. For pixels only, and outermost: after guidance.

    Args:
        denoise: the denoiser to wrap.
        schedule: its forward process.
        percentile: None clamps (static). Between 0 and 1, Imagen's dynamic threshold: each sample is clamped at that
            quantile of |x0| over all its values, at least 1, and divided by it (Saharia et al., 2022, section 2.3).

    Raises:
        ValueError: `percentile` lies outside (0, 1].
    """
    if percentile is not None and not 0 < percentile <= 1:
        raise ValueError(f"percentile must be None or lie in (0, 1]; got {percentile}")

    def clip(x_t: Tensor, t: Tensor, **cond: Tensor) -> Prediction:
        p = denoise(x_t, t, **cond)
        if percentile is None:
            x0 = p.x0.clamp(-1, 1)
        else:
            bound = torch.quantile(p.x0.abs().flatten(1).float(), percentile, dim=1).clamp_min(1)  # [B]
            bound = bound.to(x_t.dtype).view(-1, *[1] * (x_t.ndim - 1))
            x0 = p.x0.clamp(-bound, bound) / bound
        return Prediction(x0, schedule.split("x0", x0, x_t, t)[1], p.var)

    return clip


def consistent(denoise: Denoise, schedule: Schedule, low: Tensor) -> Denoise:
    """Keeps x0 true to a small picture: its squares get the small picture's pixels as their means.

    The range-null-space step of Wang et al. (2023): x0 becomes A+ low + (I - A+ A) x0, where A takes means of squares
    and A+ repeats pixels. What the mean leaves open stays as the model says; eps is recomputed from the new x0.

    Args:
        denoise: of large pictures [B,C,H,W]; wraps `clipped`, since a shift may lead out of [-1, 1] again.
        schedule: its forward process.
        low: [B,C,h,w], without noise; h divides H and w divides W by one factor.

    Raises:
        ValueError: (when called) the shapes do not fit.
    """

    def project(x_t: Tensor, t: Tensor, **cond: Tensor) -> Prediction:
        p = denoise(x_t, t, **cond)
        factor, rest = divmod(p.x0.shape[-1], low.shape[-1])
        if rest or (*low.shape[:2], *(n * factor for n in low.shape[2:])) != tuple(p.x0.shape):
            raise ValueError(f"low must be [B,C,H/f,W/f] for x0 {list(p.x0.shape)}; got {list(low.shape)}")
        missing = low - F.avg_pool2d(p.x0, factor)
        x0 = p.x0 + missing.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        return Prediction(x0, schedule.split("x0", x0, x_t, t)[1], p.var)

    return project
