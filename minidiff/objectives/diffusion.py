"""The losses of diffusion models: squared error at a random noise level, and the variational bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion import Schedule, Target, split_variance

Batch = dict[str, Tensor]


def gaussian_kl(mean1: Tensor, log_var1: Tensor, mean2: Tensor, log_var2: Tensor) -> Tensor:
    """KL(N(mean1, var1) || N(mean2, var2)) of each element, in nats. All arguments broadcast.

    >>> z = torch.zeros(())
    >>> gaussian_kl(z + 1, z, z, z).item()
    0.5
    """
    d = log_var1 - log_var2
    return 0.5 * (d.exp() - 1 - d + (mean1 - mean2) ** 2 * (-log_var2).exp())


def discretized_gaussian_nll(x: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """-log p(x) of each element in nats, for 8-bit pixels in [-1, 1]: the Gaussian's mass in a bin 2/255 wide.

    The outermost bins reach to infinity (Ho et al., 2020, eq. 13). All arguments broadcast.

    >>> wide = torch.tensor(20.0)  # a Gaussian so wide that half its mass lies beyond either end
    >>> round(discretized_gaussian_nll(torch.ones(()), torch.zeros(()), wide).exp().item(), 2)
    2.0
    """
    inv_std = (-log_var / 2).exp()
    upper, lower = inv_std * (x - mean + 1 / 255), inv_std * (x - mean - 1 / 255)
    upper = torch.where(x > 0.999, torch.inf, upper)
    lower = torch.where(x < -0.999, -torch.inf, lower)
    # A difference of cdfs keeps its digits in the lower tail only, so the upper tail is mirrored.
    flip = x > mean
    lo, hi = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    return -(_cdf(hi) - _cdf(lo)).clamp_min(1e-12).log()


def _cdf(z: Tensor) -> Tensor:
    # torch.special.ndtr is (1 + erf) / 2, which has no digits left in the lower tail; erfc has all of them.
    return torch.special.erfc(-z * math.sqrt(0.5)) / 2


@dataclass
class DiffusionLoss:
    """Squared error of a network's prediction at a random level, by default any alike (Ho et al., 2020, eq. 14).

    With `vlb` = lambda > 0, the hybrid loss of Nichol & Dhariwal (2021, eq. 16): mse + lambda T L_t for each drawn t,
    where L_t, in bits per dimension, trains the learned variance alone.

    Attributes:
        schedule: the forward process.
        predict: what the network's first C channels predict.
        prepare: batch -> batch, applied first: encode, degrade, drop conditions. Everything in it but "x" goes to the
            model as a keyword of that name.
        vlb: lambda; above 0 the model must return 2C channels.
        coarse: weight of the same error of both pictures at half their height and width, each square of four pixels
            one: where an edge lies is what the mean of its pixels says. The minimum, the conditional mean, stays where
            it is; what changes is what a network of limited size spends itself on.
        levels: (B, T) -> B levels, int64 on the CPU, for a training that should see some levels more often.
    """

    schedule: Schedule
    predict: Target = "eps"
    prepare: Callable[[Batch], Batch] = dict
    vlb: float = 0.0
    coarse: float = 0.0
    levels: Callable[[int, int], Tensor] | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Draws t and eps and returns the mean loss, a scalar, and the means of its terms, detached.

        Raises:
            ValueError: the batch has no "x".
        """
        cond = dict(self.prepare(batch))
        if "x" not in cond:
            raise ValueError(f'a batch needs the key "x", the clean data; got {sorted(cond)}')
        x0 = cond.pop("x")
        if self.levels is None:
            t = torch.randint(1, self.schedule.T + 1, (len(x0),), device=x0.device)
        else:
            t = self.levels(len(x0), self.schedule.T).to(x0.device)
        terms = self.terms(model, x0, t, torch.randn_like(x0), **cond)
        return terms["loss"].mean(), {k: v.detach().mean() for k, v in terms.items()}

    def terms(self, model: nn.Module, x0: Tensor, t: Tensor, eps: Tensor, **cond: Tensor) -> dict[str, Tensor]:
        """The loss of each sample, without randomness.

        Args:
            model: `model(x_t, t, **cond)`.
            x0: [B, *shape]. t: [B] int64 in 1..T. eps: [B, *shape].
            cond: conditions.

        Returns:
            `{"loss": [B]}`, and where it has more than one term also "mse", "coarse" and "vlb" (bits per dimension) as
            far as they are in it, each [B].

        Raises:
            ValueError: `vlb` is above 0 and the model returns no variance.
        """
        x_t = self.schedule.q_sample(x0, t, eps)
        out, var = split_variance(model(x_t, t, **cond).to(x0.dtype), x0.shape[1])
        error = self.schedule.target(self.predict, x0, eps, t) - out
        terms = {"mse": error.square().flatten(1).mean(1)}  # [B]
        loss = terms["mse"]
        if self.coarse:
            terms["coarse"] = F.avg_pool2d(error, 2).square().flatten(1).mean(1)
            loss = loss + self.coarse * terms["coarse"]
        if self.vlb:
            if var is None:
                raise ValueError("vlb > 0 needs a model with a learned variance (2C output channels)")
            terms["vlb"] = bound_term(self.schedule, self.predict, out.detach(), var, x0, x_t, t)
            loss = loss + self.vlb * self.schedule.T * terms["vlb"]
        return {"loss": loss, **(terms if len(terms) > 1 else {})}


def logit_normal(mean: float = 0.0, std: float = 1.0, share: float = 1.0) -> Callable[[int, int], Tensor]:
    """Levels of which the logit of t / T is normal (Esser et al., 2024, eq. 19): few at both ends.

    Args:
        mean: of the logits; below 0 the levels with little noise are seen more often.
        std: of the logits.
        share: of the levels; the others are uniform.

    Returns:
        For `DiffusionLoss.levels`.

    Raises:
        ValueError: `std` is not above 0, or `share` lies outside [0, 1].

    >>> _ = torch.manual_seed(0)
    >>> t = logit_normal(-1.0)(10_000, 1000)
    >>> round((t <= 269).double().mean().item(), 2)  # the sigmoid of -1 is 0.269
    0.5
    """
    if not std > 0 or not 0 <= share <= 1:
        raise ValueError(f"std must be above 0 and share in [0, 1]; got {std!r} and {share!r}")

    def draw(n: int, T: int) -> Tensor:
        u = torch.where(torch.rand(n) < share, (mean + std * torch.randn(n)).sigmoid(), torch.rand(n))
        return (u * T).long().clamp(0, T - 1) + 1  # float32 may round up to T itself

    return draw


def bound_term(
    schedule: Schedule, predict: Target, out: Tensor, var: Tensor, x0: Tensor, x_t: Tensor, t: Tensor
) -> Tensor:
    """L_{t-1} of the variational bound, [B], in bits per dimension (Ho et al., 2020, eqs. 5 and 13).

    KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) for t > 1 and -log p(x_0 | x_1) for t = 1, averaged over dimensions.

    Args:
        schedule: the forward process.
        predict: what `out` predicts.
        out: [B, C, ...] prediction. var: [B, C, ...] fraction between beta-tilde (0) and beta (1), in the log.
        x0: [B, C, ...]. x_t: [B, C, ...]. t: [B].
    """
    x0_hat = schedule.split(predict, out, x_t, t)[0]
    q, p = schedule.posterior(x0, x_t, t, t - 1), schedule.posterior(x0_hat, x_t, t, t - 1)
    log_var = var * p.log_var_max + (1 - var) * p.log_var_min
    kl = gaussian_kl(q.mean, q.log_var_min, p.mean, log_var).flatten(1).mean(1)
    nll = discretized_gaussian_nll(x0, p.mean, log_var).flatten(1).mean(1)
    return torch.where(t == 1, nll, kl) / math.log(2)
