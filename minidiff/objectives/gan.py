"""The losses of the two players of a GAN, and the penalties that keep the discriminator smooth.

A discriminator's logit is above 0 for "real": D(x) = sigmoid(logit). All losses are softplus or linear in the logits; a
sigmoid followed by a logarithm would lose the small probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = dict[str, Tensor]


class Game(NamedTuple):
    """What the two players minimise, from logits.

    Attributes:
        critic: (logits of real pictures [B], logits of generated ones [B]) -> [B].
        generator: logits of generated pictures [B] -> [B].
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]

    def __repr__(self) -> str:
        return f"Game({self.critic.__name__}, {self.generator.__name__})"


def logistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)) of each pair, in nats (Goodfellow et al., 2014, eq. 1).

    >>> logistic_critic(torch.zeros(2), torch.zeros(2))  # D cannot tell: 2 log 2
    tensor([1.3863, 1.3863])
    """
    return F.softplus(-real) + F.softplus(fake)


def saturating(fake: Tensor) -> Tensor:
    """log(1 - D(fake)), what the generator minimises in the game's formula (Goodfellow et al., 2014, eq. 1).

    Its slope in the logit is -D(fake), so it says nothing just where D is sure of a fake.

    >>> saturating(torch.zeros(1))
    tensor([-0.6931])
    """
    return -F.softplus(fake)


def non_saturating(fake: Tensor) -> Tensor:
    """-log D(fake), what a generator minimises in practice (Goodfellow et al., 2014, section 3).

    Its slope in the logit is D(fake) - 1: steepest where D is sure of a fake.

    >>> non_saturating(torch.zeros(1))
    tensor([0.6931])
    """
    return F.softplus(-fake)


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - real) + max(0, 1 + fake) of each pair (Miyato et al., 2018, eq. 16).

    >>> hinge_critic(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]))
    tensor([0., 2.])
    """
    return F.relu(1 - real) + F.relu(1 + fake)


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """fake - real of each pair (Arjovsky et al., 2017, eq. 2, the sign turned so that it is minimised).

    >>> wasserstein_critic(torch.tensor([2.0]), torch.tensor([0.5]))
    tensor([-1.5000])
    """
    return fake - real


SATURATING = Game(logistic_critic, saturating)
NON_SATURATING = Game(logistic_critic, non_saturating)
HINGE = Game(hinge_critic, torch.neg)
WASSERSTEIN = Game(wasserstein_critic, torch.neg)


def r1(critic: nn.Module, x: Tensor, **cond: Tensor) -> Tensor:
    """The squared norm of the critic's gradient at each picture (Mescheder et al., 2018, eq. 9, without gamma / 2).

    Args:
        critic: `critic(x, **cond)` -> [B]; a logit must depend on its own picture alone.
        x: [B, *shape], real.
        cond: conditions.

    Returns:
        [B] float32 or float64, differentiable in the critic's parameters.
    """
    return _gradient(critic, x, cond).square().sum(1)


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, share: Tensor, **cond: Tensor) -> Tensor:
    """(norm of the critic's gradient - 1) squared, between a real and a fake (Gulrajani et al., 2017, eq. 3).

    Args:
        critic: `critic(x, **cond)` -> [B]; a logit must depend on its own picture alone.
        real: [B, *shape]. fake: [B, *shape].
        share: [B] in [0,1], how much of the fake is in the point between.
        cond: conditions.

    Returns:
        [B] float32 or float64, differentiable in the critic's parameters.
    """
    share = share.reshape(-1, *[1] * (real.ndim - 1))  # [B,1,...]
    return (_gradient(critic, torch.lerp(real, fake, share.to(real.dtype)), cond).norm(dim=1) - 1).square()


def _gradient(critic: nn.Module, x: Tensor, cond: dict[str, Tensor]) -> Tensor:
    """d critic(x)_i / d x_i, [B,D], itself differentiable; in full precision, since it is squared and summed."""
    # Mixed precision wraps `forward` in an autocast of its own, which one around it does not switch off. That this
    # goes past a data-parallel wrapper too does no harm: its hooks sit on the parameters.
    module = getattr(critic, "module", critic)
    forward = getattr(module, "_original_forward", module)
    with torch.autocast("cuda" if x.is_cuda else "cpu", enabled=False), torch.enable_grad():
        x = _full(x.detach()).requires_grad_()
        return torch.autograd.grad(forward(x, **cond).sum(), x, create_graph=True)[0].flatten(1)


@dataclass
class CriticLoss:
    """What the discriminator minimises; the generator, held unwrapped, only supplies pictures.

    Attributes:
        generator: `generator(z, **cond)`.
        z: width of its noise.
        game: the loss.
        r1: gamma; above 0 adds gamma / 2 times `r1` at the real pictures.
        gp: above 0 adds this many times `gradient_penalty` (10 in the paper).
        prepare: batch -> batch, applied first. Everything in it but "x" goes to both players as a keyword.
    """

    generator: nn.Module
    z: int
    game: Game = NON_SATURATING
    r1: float = 0.0
    gp: float = 0.0
    prepare: Callable[[Batch], Batch] = dict

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Draws noise and returns the mean loss, a scalar, and detached means: the terms, and both kinds of logits.

        Raises:
            ValueError: the batch has no "x".
        """
        x, cond = _split(self.prepare(batch))
        z, share = torch.randn(len(x), self.z, device=x.device), torch.rand(len(x), device=x.device)
        terms = self.terms(model, x, z, share, **cond)
        return terms["critic"].mean(), {k: v.detach().float().mean() for k, v in terms.items()}

    def terms(self, model: nn.Module, x: Tensor, z: Tensor, share: Tensor, **cond: Tensor) -> dict[str, Tensor]:
        """The loss of each pair of a real and a generated picture, without randomness.

        Args:
            model: the discriminator, `model(x, **cond)` -> [B].
            x: [B, *shape], real. z: [B,Z]. share: [B], where between real and fake `gp` looks.
            cond: conditions of both players.

        Returns:
            `{"critic": [B], "real": [B] logits, "fake": [B] logits}`, with penalties also "r1" and "gp", each [B].
        """
        with torch.no_grad():
            fake = self.generator(z, **cond).to(x.dtype)
        twice = {k: torch.cat([v, v]) for k, v in cond.items()}
        logits = _full(model(torch.cat([x, fake]), **twice))  # [2B], one forward for both
        real_logits, fake_logits = logits.chunk(2)
        terms = {"critic": self.game.critic(real_logits, fake_logits), "real": real_logits, "fake": fake_logits}
        if self.r1:
            terms["r1"] = r1(model, x, **cond)
            terms["critic"] = terms["critic"] + self.r1 / 2 * terms["r1"]
        if self.gp:
            terms["gp"] = gradient_penalty(model, x, fake, share, **cond)
            terms["critic"] = terms["critic"] + self.gp * terms["gp"]
        return terms


@dataclass
class GeneratorLoss:
    """What the generator minimises; the discriminator, held unwrapped, only judges.

    It judges in eval mode, and its parameters get no gradients: this turn leaves it exactly as it was.

    Attributes:
        critic: `critic(x, **cond)` -> [B].
        z: width of the generator's noise.
        game: the loss.
        prepare: as in `CriticLoss`.
    """

    critic: nn.Module
    z: int
    game: Game = NON_SATURATING
    prepare: Callable[[Batch], Batch] = dict

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Draws noise, one row for each picture of the batch; the pictures themselves are not looked at.

        Raises:
            ValueError: the batch has no "x".
        """
        x, cond = _split(self.prepare(batch))
        terms = self.terms(model, torch.randn(len(x), self.z, device=x.device), **cond)
        return terms["generator"].mean(), {k: v.detach().mean() for k, v in terms.items()}

    def terms(self, model: nn.Module, z: Tensor, **cond: Tensor) -> dict[str, Tensor]:
        """The loss of each generated picture, without randomness.

        Args:
            model: the generator, `model(z, **cond)`.
            z: [B,Z].
            cond: conditions of both players.

        Returns:
            `{"generator": [B]}`.
        """
        with frozen(self.critic):
            logits = self.critic(model(z, **cond), **cond)  # [B]
        return {"generator": self.game.generator(_full(logits))}


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """What runs inside neither changes the model's buffers nor records gradients of its parameters."""
    training, flags = model.training, [p.requires_grad for p in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for p, flag in zip(model.parameters(), flags, strict=True):
            p.requires_grad_(flag)


def _full(x: Tensor) -> Tensor:
    """At least float32, whatever autocast made of it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _split(batch: Batch) -> tuple[Tensor, Batch]:
    cond = dict(batch)
    if "x" not in cond:
        raise ValueError(f'a batch needs the key "x", the real pictures; got {sorted(cond)}')
    return cond.pop("x"), cond
