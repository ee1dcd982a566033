"""The forward process: one table, alpha_bar[0..T], and every coefficient derived from it.

Levels are counted from 1, as in Ho et al. (2020): `alpha_bar[0] = 1` is clean data and `alpha_bar[T]` is (nearly)
pure noise. Other libraries store `alphas_cumprod[0..T-1]`, the same numbers shifted by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Target = Literal["eps", "x0", "v"]


class Posterior(NamedTuple):
    """q(x_s | x_t, x_0) = N(mean, var I), with the two log-variances that bound a learned one."""

    mean: Tensor  # [B, *shape]
    log_var_min: Tensor  # [B, 1, ...]  log of beta-tilde_{t,s}
    log_var_max: Tensor  # [B, 1, ...]  log of beta_{t,s}


@dataclass(frozen=True, eq=False)
class Schedule:
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps, for t = 1..T (Ho et al., 2020, eq. 4).

    Attributes:
        alpha_bar: [T+1] float64, the signal power of each level; starts at 1 and falls strictly, never to 0.

    Raises:
        ValueError: `alpha_bar` is not such a table.
    """

    alpha_bar: Tensor
    _on: dict = field(default_factory=dict, init=False, repr=False)  # device -> copy of the table

    def __post_init__(self):
        a = self.alpha_bar
        if a.ndim != 1 or len(a) < 2 or a.dtype != torch.float64:
            raise ValueError(f"alpha_bar must be float64 of shape [T+1] with T >= 1; got {a.dtype} {list(a.shape)}")
        if not (a[0] == 1 and bool((a[1:] < a[:-1]).all()) and bool(a[-1] > 0)):
            raise ValueError("alpha_bar must start at 1 and fall strictly towards 0 without reaching it")

    @classmethod
    def from_betas(cls, betas: Tensor) -> Schedule:
        """Builds the table from one-step variances beta_1..beta_T, [T].

        Raises:
            ValueError: a beta lies outside (0, 1). Stretching the linear schedule to T = 10 does this: beta_T = 2.

        >>> Schedule.from_betas(torch.tensor([0.5, 0.5])).alpha_bar.tolist()
        [1.0, 0.5, 0.25]
        """
        betas = torch.as_tensor(betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) == 0:
            raise ValueError(f"betas must be a non-empty vector [T]; got shape {list(betas.shape)}")
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError(
                "every beta must lie strictly between 0 and 1; "
                f"got values from {betas.min().item():g} to {betas.max().item():g}"
            )
        return cls(torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, dim=0)]))

    @classmethod
    def linear(cls, T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> Schedule:
        """Betas evenly spaced between `beta_1` and `beta_T` (Ho et al., 2020, section 4).

        >>> round(Schedule.linear().alpha_bar[-1].item(), 7)
        4.04e-05
        """
        return cls.from_betas(torch.linspace(beta_1, beta_T, _levels(T), dtype=torch.float64))

    @classmethod
    def scaled_linear(cls, T: int = 1000, beta_1: float = 0.00085, beta_T: float = 0.012) -> Schedule:
        """Square roots of the betas evenly spaced: the schedule of latent diffusion (Rombach et al., 2022).

        >>> round(Schedule.scaled_linear().alpha_bar[-1].item(), 4)
        0.0047
        """
        return cls.from_betas(torch.linspace(beta_1**0.5, beta_T**0.5, _levels(T), dtype=torch.float64) ** 2)

    @classmethod
    def cosine(cls, T: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
        """alpha_bar follows a squared cosine (Nichol & Dhariwal, 2021, eq. 17), rebuilt from the clipped betas.

        >>> round(Schedule.cosine().alpha_bar[500].item(), 3)
        0.494
        """
        u = torch.arange(_levels(T) + 1, dtype=torch.float64) / T
        f = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
        return cls.from_betas((1 - f[1:] / f[:-1]).clamp(max=max_beta))

    @property
    def T(self) -> int:
        """Number of noise levels."""
        return len(self.alpha_bar) - 1

    @property
    def betas(self) -> Tensor:
        """One-step variances, [T] float64; `betas[t - 1]` belongs to level t."""
        return 1 - self.alpha_bar[1:] / self.alpha_bar[:-1]

    def snr(self) -> Tensor:
        """Signal-to-noise ratio alpha_bar / (1 - alpha_bar) of levels 0..T, [T+1] float64; infinite at 0."""
        return self.alpha_bar / (1 - self.alpha_bar)

    def at(self, t: Tensor, like: Tensor) -> Tensor:
        """alpha_bar[t] in float64, shaped [B, 1, ...] to broadcast against `like`.

        Args:
            t: [B] int64 levels in 0..T.
            like: [B, *shape].

        Raises:
            ValueError: `t` is no [B] int64 tensor.
            IndexError or RuntimeError: a level lies outside 0..T (on CUDA, torch's device-side assertion).
        """
        if t.dtype != torch.int64 or t.shape != like.shape[:1]:
            raise ValueError(f"t must be int64 of shape [{len(like)}]; got {t.dtype} {list(t.shape)}")
        table = self._on.get(t.device)
        if table is None:
            table = self._on[t.device] = self.alpha_bar.to(t.device)
        # index_select, unlike indexing, refuses negative levels instead of wrapping round to pure noise.
        return table.index_select(0, t).view(-1, *[1] * (like.ndim - 1))

    def coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(signal, noise) = (sqrt(alpha_bar_t), sqrt(1 - alpha_bar_t)), [B, 1, ...] in `like`'s dtype."""
        a = self.at(t, like)
        return a.sqrt().to(like.dtype), (1 - a).sqrt().to(like.dtype)

    def q_sample(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Noises x0 to level t in one jump: signal x0 + noise eps (Ho et al., 2020, eq. 4).

        Args:
            x0: [B, *shape] clean data.
            t: [B] int64 levels in 0..T.
            eps: [B, *shape] standard normal noise.

        Returns:
            x_t, [B, *shape].

        Raises:
            ValueError: shapes disagree.

        >>> x0, eps = torch.ones(1, 2), torch.zeros(1, 2)
        >>> Schedule.from_betas(torch.tensor([0.75])).q_sample(x0, torch.tensor([1]), eps)
        tensor([[0.5000, 0.5000]])
        """
        if x0.shape != eps.shape:
            raise ValueError(f"eps must have the shape of x0, {list(x0.shape)}; got {list(eps.shape)}")
        signal, noise = self.coefficients(t, x0)
        return signal * x0 + noise * eps

    def target(self, kind: Target, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """What a network that predicts `kind` should say: eps, x0, or v = signal eps - noise x0.

        v is Salimans & Ho (2022), section 4. Returns [B, *shape].
        """
        if kind == "eps":
            return eps
        if kind == "x0":
            return x0
        _check_target(kind)
        signal, noise = self.coefficients(t, x0)
        return signal * eps - noise * x0

    def split(self, kind: Target, out: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """A network's output -> (x0, eps), two views of the same prediction: x_t = signal x0 + noise eps.

        Args:
            kind: what `out` predicts.
            out: [B, *shape].
            x_t: [B, *shape].
            t: [B] int64 levels in 1..T (at 0 there is no noise to predict).
        """
        signal, noise = self.coefficients(t, x_t)
        if kind == "eps":
            return (x_t - noise * out) / signal, out
        if kind == "x0":
            return out, (x_t - signal * out) / noise
        _check_target(kind)
        return signal * x_t - noise * out, noise * x_t + signal * out

    def posterior(self, x0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Posterior:
        """q(x_s | x_t, x_0) for any s < t (Ho et al., 2020, eqs. 6-7; any jump, so respacing needs no new table).

        beta_{t,s} = 1 - alpha_bar_t / alpha_bar_s is the variance added between s and t; beta-tilde_{t,s} =
        beta_{t,s} (1 - alpha_bar_s) / (1 - alpha_bar_t) is the posterior's variance. It is 0 at s = 0, where its log is
        floored at the value of the first true step, beta-tilde_{2,1}.

        Args:
            x0: [B, *shape]. x_t: [B, *shape]. t: [B] int64 in 1..T. s: [B] int64 in 0..t-1.
        """
        a_t, a_s = self.at(t, x_t), self.at(s, x_t)
        beta = 1 - a_t / a_s
        c_0 = a_s.sqrt() * beta / (1 - a_t)
        c_t = (a_t / a_s).sqrt() * (1 - a_s) / (1 - a_t)
        var_min = beta * (1 - a_s) / (1 - a_t)
        # Only s = 0 takes the floor: where betas fall, later steps may truly have less variance than the first.
        log_var_min = torch.where(a_s == 1, self._smallest_variance(), var_min).log()
        mean = c_0.to(x_t.dtype) * x0 + c_t.to(x_t.dtype) * x_t
        return Posterior(mean, log_var_min.to(x_t.dtype), beta.log().to(x_t.dtype))

    def _smallest_variance(self) -> float:
        if self.T == 1:
            return float(1 - self.alpha_bar[1])
        _, a_1, a_2 = self.alpha_bar[:3].tolist()
        return (1 - a_1) * (1 - a_2 / a_1) / (1 - a_2)


def _levels(T: int) -> int:
    if not isinstance(T, int) or T < 1:
        raise ValueError(f"T must be an integer of at least 1; got {T!r}")
    return T


def _check_target(kind: str) -> None:
    if kind not in get_args(Target):
        raise ValueError(f"the prediction target must be one of {get_args(Target)}; got {kind!r}")
