"""Eight Gaussians on a circle: a GAN that collapses, one that covers all eight, and what each cure and imbalance does.

    python -m minidiff.recipes.gan_toy

Writes `results/01_toy_modes.json` and its companions: five seeds for each setting.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minidiff import data
from minidiff.models.gan import PointConfig, PointDiscriminator, PointGenerator
from minidiff.objectives import HINGE, NON_SATURATING, SATURATING, WASSERSTEIN, CriticLoss, Game, GeneratorLoss
from minidiff.recipes.results import record
from minidiff.training import History, Turn, run

MODES, RADIUS, SIGMA = 8, 2.0, 0.05
STEPS, SEEDS, SAMPLES = 1500, (0, 1, 2, 3, 4), 4000


def centres() -> Tensor:
    """The eight means, [8,2], counter-clockwise from (2, 0)."""
    angle = torch.arange(MODES) * (2 * math.pi / MODES)
    return RADIUS * torch.stack([angle.cos(), angle.sin()], dim=1)


def eight_gaussians(n: int, seed: int = 0) -> Tensor:
    """Draws n points, [n,2]: a centre, each equally likely, plus Gaussian noise of standard deviation `SIGMA`."""
    rng = torch.Generator().manual_seed(seed)
    which = torch.randint(MODES, (n,), generator=rng)
    return centres()[which] + SIGMA * torch.randn(n, 2, generator=rng)


class Covered(NamedTuple):
    """How well points cover the eight modes."""

    modes: int  # modes that hold at least 1 % of the points, within 3 sigma
    close: float  # share of points within 3 sigma of a mode; 1 - exp(-4.5), about 0.989, for real ones


def covered(x: Tensor) -> Covered:
    """Counts the modes that points [N,2] cover.

    >>> covered(centres()[:3])
    Covered(modes=3, close=1.0)
    """
    distance, which = torch.cdist(x, centres().to(x)).min(dim=1)  # [N], [N]
    close = distance <= 3 * SIGMA
    counts = torch.bincount(which[close], minlength=MODES)
    return Covered(int((counts >= 0.01 * len(x)).sum()), close.double().mean().item())


@dataclass(frozen=True)
class Toy:
    """How a game about points is played.

    Attributes:
        game: the losses.
        r1: gamma of R1.
        gp: weight of WGAN's gradient penalty.
        spectral: a spectral norm in the discriminator.
        generator_lr: of Adam.
        critic_lr: of Adam.
        generator_width: of its hidden layers.
        critic_width: of its hidden layers.
        depth: hidden layers of both players.
        beta1: of both players' Adam; above 0 it has momentum.
        z: numbers of noise.
        batch: points a step.
    """

    game: Game = NON_SATURATING
    r1: float = 0.1
    gp: float = 0.0
    spectral: bool = False
    generator_lr: float = 4e-3
    critic_lr: float = 4e-3
    generator_width: int = 64
    critic_width: int = 64
    depth: int = 2
    beta1: float = 0.0
    z: int = 2
    batch: int = 128


COVERS = Toy()
COLLAPSES = Toy(r1=0.0, generator_width=8, critic_lr=1e-2, beta1=0.5)  # a narrow generator that a quick critic chases
HOPS = Toy(r1=0.0, generator_lr=1e-2, critic_lr=1e-3, beta1=0.5)  # a quick generator: on one spot, then on another
CURES = {
    "saturating loss": replace(COLLAPSES, game=SATURATING),
    "hinge loss": replace(COLLAPSES, game=HINGE),
    "WGAN-GP": replace(COLLAPSES, game=WASSERSTEIN, gp=1.0),
    "R1": replace(COLLAPSES, r1=0.1),
    "spectral norm": replace(COLLAPSES, spectral=True),
    "equal rates": replace(COLLAPSES, critic_lr=4e-3),
    "no momentum": replace(COLLAPSES, beta1=0.0),
    "wide generator": replace(COLLAPSES, generator_width=64),
}
IMBALANCES = {
    "narrow discriminator": replace(COVERS, critic_width=8),
    "narrow generator": replace(COVERS, generator_width=8),
    "slow discriminator": replace(COVERS, critic_lr=2e-4),
    "slow generator": replace(COVERS, generator_lr=2e-4),
}
SETTINGS = {"collapses": COLLAPSES, **CURES, "hops": HOPS, "covers": COVERS, **IMBALANCES}


class Played(NamedTuple):
    """What a game leaves."""

    generator: nn.Module  # as it is at the end, in eval mode: an average of one that hops from mode to mode is nowhere
    critic: nn.Module
    history: History


def play(
    toy: Toy,
    steps: int = STEPS,
    seed: int = 0,
    watch: Callable[[int, nn.Module, nn.Module], None] | None = None,
) -> Played:
    """Trains both players on the eight Gaussians.

    Args:
        toy: how.
        steps: of each player.
        seed: of the weights, the points and all noise.
        watch: called after each step with the number of steps done, the generator, and the discriminator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = PointGenerator(PointConfig(z=toy.z, width=toy.generator_width, depth=toy.depth))
        critic = PointDiscriminator(PointConfig(width=toy.critic_width, depth=toy.depth, spectral=toy.spectral))
    betas = (toy.beta1, 0.99)
    turns = [
        Turn(
            critic, CriticLoss(generator, toy.z, toy.game, toy.r1, toy.gp),
            torch.optim.Adam(critic.parameters(), toy.critic_lr, betas, fused=True),
        ),
        Turn(
            generator, GeneratorLoss(critic, toy.z, toy.game),
            torch.optim.Adam(generator.parameters(), toy.generator_lr, betas, fused=True),
        ),
    ]  # fmt: skip
    loader = data.Batches({"x": eight_gaussians(20_000, seed)}, toy.batch, seed=seed)
    for turn in turns:
        turn.lr = lambda step: min(1.0, 2 * (1 - step / steps))  # falls in the second half
    hooks = [lambda step: watch(step, generator, critic)] if watch else []
    history = run(turns, loader, steps, seed=seed, clip=None, hooks=hooks, progress=False)
    return Played(generator.eval(), critic.eval(), history)


@torch.no_grad()
def draw(generator: nn.Module, n: int = SAMPLES, seed: int = 0) -> Tensor:
    """Draws n points of a generator, [n,2]."""
    return generator(torch.randn(n, generator.config.z, generator=torch.Generator().manual_seed(seed)))


def measure(toy: Toy, steps: int = STEPS, seeds: Sequence[int] = SEEDS) -> list[Covered]:
    """What each seed's generator covers at the end."""
    return [covered(draw(play(toy, steps, seed).generator)) for seed in seeds]


def main() -> None:
    os.environ["MINIDIFF_RECORD"] = "1"
    found = {}
    for name, toy in SETTINGS.items():
        found[name] = measure(toy)
        print(name, found[name], flush=True)
    about = f"{STEPS} steps, mean of {len(SEEDS)} seeds, sigma {SIGMA}; each cure changes one thing in what collapses, "
    about += "each imbalance one thing in what covers"
    for figure in Covered._fields:
        values = {name: mean(getattr(c, figure) for c in some) for name, some in found.items()}
        seeds = "; ".join(f"{k}: " + ", ".join(f"{getattr(c, figure):.3g}" for c in v) for k, v in found.items())
        record(f"01_toy_{figure}", values, source="recipe gan_toy", seed=SEEDS, note=f"{about}. Each seed: {seeds}")
    ends = {name: [c.modes for c in found[name]] for name in ("collapses", "covers")}
    record(
        "01_toy_collapse", {name: mean(modes) for name, modes in ends.items()}, source="recipe gan_toy", seed=SEEDS,
        unit="modes of 8", claim=1, holds=max(ends["collapses"]) <= MODES // 2,
        note=f"collapse: each seed {ends['collapses']}; with a wide generator, R1, equal rates and no momentum "
        f"{ends['covers']}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
