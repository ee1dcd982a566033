"""Guidance: functions that take a denoiser and return one that follows a condition more closely."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .denoiser import Denoise, Prediction
from .schedule import Schedule


def classifier_free(denoise: Denoise, cond: dict[str, Tensor], null: dict[str, Tensor], scale: float) -> Denoise:
    """Classifier-free guidance (Ho & Salimans, 2022, eq. 6 with scale = 1 + w).

    eps = eps_null + scale (eps_cond - eps_null). At fixed (x_t, t), x0 is an affine function of eps, so the same
    combination holds for x0. Both halves go through the model as one batch; at scale 1 the null half is not computed.

    Args:
        denoise: a conditional denoiser.
        cond: the conditions, each [B, ...].
        null: the value of "no condition" for some or all of them, each broadcastable to its condition's shape.
            Conditions that have none (a low-resolution picture, say) stay as they are in both halves.
        scale: 0 ignores the condition, 1 is the plain conditional model, above 1 extrapolates.

    Raises:
        ValueError: `null` is empty or names a condition that `cond` lacks.
    """
    if not null or not set(null) <= set(cond):
        raise ValueError(f"null must name some of the conditions {sorted(cond)}; got {sorted(null)}")
    both = {k: torch.cat([c, null[k].to(c).expand_as(c) if k in null else c]) for k, c in cond.items()}

    def guided(x_t: Tensor, t: Tensor) -> Prediction:
        if scale == 1:
            return denoise(x_t, t, **cond)
        p = denoise(torch.cat([x_t, x_t]), torch.cat([t, t]), **both)
        (x0_c, x0_u), (eps_c, eps_u) = p.x0.chunk(2), p.eps.chunk(2)
        var = None if p.var is None else p.var.chunk(2)[0]
        return Prediction(torch.lerp(x0_u, x0_c, scale), torch.lerp(eps_u, eps_c, scale), var)

    return guided


def classifier_guided(
    denoise: Denoise, schedule: Schedule, log_prob: Callable[[Tensor, Tensor], Tensor], scale: float
) -> Denoise:
    """Classifier guidance in its score form (Dhariwal & Nichol, 2021, algorithm 2), for DDPM and DDIM alike.

    eps = eps - scale sqrt(1 - alpha_bar_t) grad log p(y | x_t).

    Args:
        denoise: the denoiser to steer.
        schedule: its forward process.
        log_prob: (x_t [B, *shape], t [B]) -> [B], log p(y | x_t) of a classifier that has seen every noise level.
        scale: strength; 1 is Bayes' rule.
    """

    def guided(x_t: Tensor, t: Tensor) -> Prediction:
        with torch.enable_grad():
            x_in = x_t.detach().requires_grad_()
            grad = torch.autograd.grad(log_prob(x_in, t).sum(), x_in)[0]
        p = denoise(x_t, t)
        eps = p.eps - scale * schedule.coefficients(t, x_t)[1] * grad
        return Prediction(schedule.split("eps", eps, x_t, t)[0], eps, p.var)

    return guided
