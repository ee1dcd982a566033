"""Samplers: generators that iterate a denoiser from noise (level T) to data (level 0).

Each picture has a random generator of its own, so that the same seed gives the same picture in any batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .denoiser import Denoise
from .schedule import Schedule

Rngs = Sequence[torch.Generator]


class Step(NamedTuple):
    """What a sampler yields after each move."""

    t: int  # the noise level that x has now: ..., 2, 1, 0
    x: Tensor  # [B, *shape]
    x0: Tensor  # [B, *shape], the prediction that led here


def generators(seeds: Iterable[int]) -> list[torch.Generator]:
    """One CPU generator for each seed. CPU streams do not depend on the device that samples."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def randn(shape: Sequence[int], rngs: Rngs, *, like: Tensor | None = None) -> Tensor:
    """Standard normal noise [B, *shape], row i drawn from `rngs[i]`.

    Args:
        shape: of one picture, without the batch.
        rngs: B generators.
        like: a tensor whose device and dtype the noise takes.

    >>> a = randn([2], generators([7, 8, 9]))
    >>> bool((a[1] == randn([2], generators([8]))[0]).all())
    True
    """
    x = torch.stack([torch.randn(tuple(shape), generator=rng) for rng in rngs])
    return x if like is None else x.to(like)


def timesteps(T: int, steps: int | Sequence[int] | None = None) -> list[int]:
    """The levels that a sampler visits: descending, always from T, always to 0.

    Args:
        T: number of levels.
        steps: how many moves (evenly spaced, rounded), or the levels themselves, or None for all T.

    Raises:
        ValueError: `steps` is not in 1..T, or the levels do not fall strictly from T.

    >>> timesteps(10, 4)
    [10, 8, 5, 2, 0]
    """
    if steps is None or isinstance(steps, int):
        n = T if steps is None else steps
        if not 1 <= n <= T:
            raise ValueError(f"steps must lie in 1..T = {T}; got {n}")
        return torch.linspace(T, 0, n + 1, dtype=torch.float64).round().long().tolist()
    ts = [int(t) for t in steps]
    ts = ts if ts and ts[-1] == 0 else [*ts, 0]
    if ts[0] != T or any(s >= t for t, s in pairwise(ts)):
        raise ValueError(f"the levels in steps must fall strictly from T = {T}; got {list(steps)}")
    return ts


@torch.no_grad()
def ddpm(
    denoise: Denoise,
    schedule: Schedule,
    x: Tensor,
    steps: int | Sequence[int] | None = None,
    *,
    variance: Literal["small", "large"] = "small",
    rngs: Rngs | None = None,
) -> Iterator[Step]:
    """Ancestral sampling (Ho et al., 2020, algorithm 2), with any number of steps.

    Args:
        denoise: (x_t, t) -> Prediction.
        schedule: the forward process.
        x: [B, *shape] noise at level T.
        steps: see `timesteps`; None visits all T levels.
        variance: beta-tilde ("small") or beta ("large") where the denoiser predicts none.
        rngs: one generator a picture; None draws from torch's global stream.

    Yields:
        Step(t, x, x0) after each move; the last has t = 0.

    Raises:
        ValueError: an argument is out of range.
    """
    if variance not in ("small", "large"):
        raise ValueError(f'variance must be "small" or "large"; got {variance!r}')
    _check_rngs(rngs, x)
    for _, s, tt, ss in _moves(schedule, x, steps):
        p = denoise(x, tt)
        q = schedule.posterior(p.x0, x, tt, ss)
        x = q.mean
        if s > 0:  # the last move adds no noise: it would only blur the picture
            fraction = float(variance == "large") if p.var is None else p.var
            log_var = fraction * q.log_var_max + (1 - fraction) * q.log_var_min
            x = x + (log_var / 2).exp() * _noise(x, rngs)
        yield Step(s, x, p.x0)


@torch.no_grad()
def ddim(
    denoise: Denoise,
    schedule: Schedule,
    x: Tensor,
    steps: int | Sequence[int] | None = 50,
    *,
    eta: float = 0.0,
    rngs: Rngs | None = None,
) -> Iterator[Step]:
    """DDIM (Song et al., 2021, eq. 12): deterministic at eta = 0, the same law as `ddpm` at eta = 1.

    Args and yields as in `ddpm`; `eta` scales the standard deviation of the noise that a move adds.

    Raises:
        ValueError: `eta` lies outside [0, 1], or another argument is out of range.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must lie in [0, 1]; got {eta}")
    _check_rngs(rngs, x)
    for _, s, tt, ss in _moves(schedule, x, steps):
        p, a_t, a_s = denoise(x, tt), schedule.at(tt, x), schedule.at(ss, x)
        var = eta**2 * (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)  # float64; 0 at s = 0
        x = a_s.sqrt().to(x.dtype) * p.x0 + (1 - a_s - var).clamp_min(0).sqrt().to(x.dtype) * p.eps
        if eta > 0 and s > 0:
            x = x + var.sqrt().to(x.dtype) * _noise(x, rngs)
        yield Step(s, x, p.x0)


@torch.no_grad()
def invert(
    denoise: Denoise, schedule: Schedule, x0: Tensor, steps: int | Sequence[int] | None = 50, *, refine: int = 0
) -> Iterator[Step]:
    """Runs DDIM backwards: the noise at level T from which `ddim` with the same steps returns to x0.

    Each move solves x_s = DDIM(x_t) for x_t. The plain move (refine = 0) takes eps at the known end (Song et al., 2021,
    section 4.3); each refinement puts the new x_t back into the denoiser, a fixed-point iteration.

    Args:
        denoise: an unclipped denoiser. x0: [B, *shape]. steps: as for `ddim`. refine: refinements a move.

    Yields:
        Step(t, x, x0) with rising t; the last has t = T.
    """
    x = x0
    for t, s, tt, ss in reversed(list(_moves(schedule, x, steps))):
        a_t, a_s = schedule.at(tt, x), schedule.at(ss, x)
        ratio = (a_t / a_s).sqrt()
        shift = (1 - a_t).sqrt() - ratio * (1 - a_s).sqrt()
        p = denoise(x, ss if s > 0 else tt)  # level 0 is outside a network's training range
        x_t = ratio.to(x.dtype) * x + shift.to(x.dtype) * p.eps
        for _ in range(refine):
            p = denoise(x_t, tt)
            x_t = ratio.to(x.dtype) * x + shift.to(x.dtype) * p.eps
        x = x_t
        yield Step(t, x, p.x0)


def final(steps: Iterable[Step]) -> Tensor:
    """Runs a sampler to its end and returns the last x, [B, *shape]."""
    last = deque(steps, maxlen=1)
    if not last:
        raise ValueError("the sampler yielded no step")
    return last[0].x


def _moves(schedule: Schedule, x: Tensor, steps) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    ts = timesteps(schedule.T, steps)
    for t, s in pairwise(ts):
        yield t, s, *(torch.full((len(x),), level, dtype=torch.long, device=x.device) for level in (t, s))


def _noise(x: Tensor, rngs: Rngs | None) -> Tensor:
    return torch.randn_like(x) if rngs is None else randn(x.shape[1:], rngs, like=x)


def _check_rngs(rngs: Rngs | None, x: Tensor) -> None:
    if rngs is not None and len(rngs) != len(x):
        raise ValueError(f"rngs must hold one generator a picture, {len(x)}; got {len(rngs)}")
