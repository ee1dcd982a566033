"""Eight Gaussians on a circle: a GAN that collapses, one that covers all eight, and what each cure and imbalance does.

    python -m minidiff.recipes.gan_toy

Writes `results/01_toy_modes.json` and its companions: five seeds for each setting. `--again` writes them anew from the
stored figures, without playing.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import mean
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minidiff import data
from minidiff.models.gan import PointConfig, PointDiscriminator, PointGenerator
from minidiff.objectives import HINGE, NON_SATURATING, SATURATING, WASSERSTEIN, CriticLoss, Game, GeneratorLoss
from minidiff.recipes.results import find, record
from minidiff.training import History, Turn, run

MODES, RADIUS, SIGMA = 8, 2.0, 0.05
STEPS, SEEDS, SAMPLES = 1500, (0, 1, 2, 3, 4), 4000
DIGITS = "each seed's share to three digits, the means exact"


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


def changed(toy: Toy, base: Toy) -> dict[str, object]:
    """The fields in which a setting differs from another, with its values.

    >>> changed(CURES["WGAN-GP"], COLLAPSES)
    {'game': Game(wasserstein_critic, neg), 'gp': 1.0}
    """
    return {f.name: getattr(toy, f.name) for f in fields(toy) if getattr(toy, f.name) != getattr(base, f.name)}


def over_seeds(value: Mapping[str, float], name: str) -> list[float]:
    """Each seed's number of a setting, in the order of the seeds, from the value of a recorded result.

    >>> over_seeds({"R1": 7.5, "R1, seed 0": 8, "R1, seed 1": 7}, "R1")
    [8, 7]
    """
    return [v for key, v in value.items() if key.startswith(f"{name}, seed ")]


def report(found: Mapping[str, list[Covered]], seeds: Sequence[int] = SEEDS) -> None:
    """Writes of each setting the mean over seeds and every seed's number; and whether a game can collapse.

    Args:
        found: setting -> what each seed covers.
        seeds: which they are.
    """
    for figure in Covered._fields:
        each = {name: [getattr(c, figure) for c in some] for name, some in found.items()}
        value = {name: mean(some) for name, some in each.items()}
        value |= {f"{k}, seed {seed}": v for k, some in each.items() for seed, v in zip(seeds, some, strict=True)}
        record(f"01_toy_{figure}", value, source="recipe gan_toy", seed=seeds, note=_about(len(seeds)))
    _report_collapse({name: [c.modes for c in found[name]] for name in ("collapses", "covers")}, seeds)


def again() -> None:
    """Writes the results anew from the stored ones, whose seeds may stand in their notes, as they once did.

    Raises:
        FileNotFoundError: there is nothing stored.
    """
    for figure in Covered._fields:
        if (stored := find(f"01_toy_{figure}")) is None:
            raise FileNotFoundError(f"results have no 01_toy_{figure}.json; run the recipe without --again first")
        value, seeds = stored["value"] | in_note(stored["note"]), stored["provenance"]["seed"]
        rounded = figure == "close" and ("Each seed: " in stored["note"] or DIGITS in stored["note"])
        note = _about(len(seeds)) + (f"; {DIGITS}" if rounded else "")
        record(f"01_toy_{figure}", value, source="recipe gan_toy", seed=seeds, note=note, measured=stored)
        if figure == "modes":
            ends = {name: [round(v) for v in over_seeds(value, name)] for name in ("collapses", "covers")}
            _report_collapse(ends, seeds, stored)


def in_note(note: str) -> dict[str, float]:
    """The seeds' numbers of a note that lists them; nothing of one that does not.

    >>> in_note("two games. Each seed: R1: 8, 7.5; covers: 8, 8")
    {'R1, seed 0': 8.0, 'R1, seed 1': 7.5, 'covers, seed 0': 8.0, 'covers, seed 1': 8.0}
    """
    rows = [row.split(": ") for row in note.partition("Each seed: ")[2].split("; ") if row]
    return {f"{name}, seed {i}": float(v) for name, numbers in rows for i, v in enumerate(numbers.split(", "))}


def _about(seeds: int) -> str:
    more = {k: list(changed(toy, COLLAPSES)) for k, toy in CURES.items() if len(changed(toy, COLLAPSES)) > 1}
    note = f"{STEPS} steps, mean of {seeds} seeds, sigma {SIGMA}; each cure changes one setting of what collapses"
    note += "".join(f" ({name}: {' and '.join(names)})" for name, names in more.items())
    return f"{note}, each imbalance one of what covers"


def _report_collapse(ends: dict[str, list[int]], seeds: Sequence[int], measured: Mapping | None = None) -> None:
    differ = ", ".join(changed(COLLAPSES, COVERS))
    record(
        "01_toy_collapse", {name: mean(modes) for name, modes in ends.items()}, source="recipe gan_toy", seed=seeds,
        unit="modes of 8", claim=1, holds=max(ends["collapses"]) <= MODES // 2, measured=measured,
        note=f"collapse, in a game set up for it: each seed {ends['collapses']}; with other settings ({differ}) "
        f"{ends['covers']}",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="write the stored figures anew; play nothing")
    os.environ["MINIDIFF_RECORD"] = "1"
    if parser.parse_args().again:
        return again()
    found = {}
    for name, toy in SETTINGS.items():
        found[name] = measure(toy)
        print(name, found[name], flush=True)
    report(found)


if __name__ == "__main__":
    main()
