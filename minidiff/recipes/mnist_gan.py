"""The GAN of lesson 01: the run that a lesson allows, and the bundled generator, trained longer.

    python -m minidiff.recipes.mnist_gan
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minidiff import data, pretrained
from minidiff.diffusion import generators, randn
from minidiff.models.gan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from minidiff.objectives import NON_SATURATING, CriticLoss, Game, GeneratorLoss
from minidiff.recipes.command import command
from minidiff.recipes.gan_measures import confidence, measure
from minidiff.recipes.provenance import is_main, provenance, ship
from minidiff.training import EMA, History, Turn, run

NAME, SEED, SAMPLES = "mnist-gan", 0, 1_000_000  # the last: first seed of the pictures of a test run


@dataclass(frozen=True)
class Settings:
    """How the two players are built and trained.

    Attributes:
        generator: sizes of the generator.
        critic: sizes of the discriminator.
        batch: real pictures a step.
        lr: learning rate of both players' Adam.
        critic_lr: of the discriminator alone, where it differs.
        betas: of Adam; no momentum, since the other player moves the target.
        r1: gamma of the gradient penalty at real pictures.
        game: the losses.
        ema: decay of the generator's average.
        decay_from: share of the steps after which both learning rates fall in a line to 0.
    """

    generator: GeneratorConfig
    critic: DiscriminatorConfig
    batch: int = 32
    lr: float = 1.5e-3
    critic_lr: float | None = None
    betas: tuple[float, float] = (0.0, 0.99)
    r1: float = 1.0
    game: Game = NON_SATURATING
    ema: float = 0.999
    decay_from: float = 0.7


LIVE = Settings(GeneratorConfig(width=24), DiscriminatorConfig(width=32))
LIVE_STEPS = 2300
BUNDLED = Settings(GeneratorConfig(width=32), DiscriminatorConfig(width=48), batch=128, r1=0.7)
IMAGES = 640_000


class Players(NamedTuple):
    """Two players that have not met."""

    generator: Generator
    critic: Discriminator
    ema: EMA  # of the generator
    turns: list[Turn]


class Trained(NamedTuple):
    """What a run leaves."""

    generator: nn.Module  # the average, in eval mode
    critic: nn.Module
    history: History  # "critic", "real", "fake", "r1" and "generator", one float a step
    seconds: float  # of processor time


def cures(settings: Settings) -> str:
    """What keeps a GAN from falling over, as far as its settings say so.

    >>> cures(Settings(GeneratorConfig(), DiscriminatorConfig(), r1=0.0, betas=(0.5, 0.99)))
    'equal rates'
    """
    there = {
        f"R1 with gamma {settings.r1:g}": settings.r1 > 0,
        "equal rates": settings.critic_lr in (None, settings.lr),
        "no momentum": settings.betas[0] == 0,
    }
    return ", ".join(cure for cure, is_there in there.items() if is_there) or "none"


def players(settings: Settings, steps: int, seed: int = 0) -> Players:
    """Builds both players and their turns; the first move is the discriminator's.

    Args:
        settings: how.
        steps: of the run, over which the learning rates fall.
        seed: of the weights; the caller's random state stays as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, critic = Generator(settings.generator), Discriminator(settings.critic)
    generator, critic = (m.to(memory_format=torch.channels_last) for m in (generator, critic))

    def adam(model: nn.Module, lr: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=lr, betas=settings.betas, fused=True)

    def lr(step: int) -> float:
        return min(1.0, (1 - step / steps) / (1 - settings.decay_from))

    ema, z, labels = EMA(generator, settings.ema), settings.generator.z, settings.generator.classes
    prepare = dict if labels else _unlabelled
    critic_loss = CriticLoss(generator, z, settings.game, r1=settings.r1, prepare=prepare)
    turns = [
        Turn(critic, critic_loss, adam(critic, settings.critic_lr or settings.lr), lr=lr),
        Turn(generator, GeneratorLoss(critic, z, settings.game, prepare), adam(generator, settings.lr), lr=lr, ema=ema),
    ]
    return Players(generator, critic, ema, turns)


def live(
    steps: int = LIVE_STEPS,
    seed: int = SEED,
    *,
    settings: Settings = LIVE,
    batch: dict[str, Tensor] | None = None,
    watch: Callable[[int, nn.Module], None] | None = None,
    progress: bool = True,
) -> Trained:
    """Trains a GAN on MNIST's training digits, as lesson 01 does.

    Args:
        steps: of each player.
        seed: of the weights, the order of the digits and all noise.
        settings: sizes, losses and rates.
        batch: other pictures to train on, {"x": [N,1,32,32]}.
        watch: called after each step with the number of steps done and the averaged generator.
        progress: show a progress line.
    """
    made, began = players(settings, steps, seed), time.process_time()
    loader = data.Batches(batch or data.load("mnist", "train"), settings.batch, seed=seed)
    hooks = [lambda step: watch(step, made.ema.model)] if watch else []
    history = run(made.turns, loader, steps, seed=seed, clip=None, hooks=hooks, progress=progress, label="GAN")
    return Trained(made.ema.model, made.critic.eval(), history, time.process_time() - began)


@torch.no_grad()
def sample(
    generator: nn.Module, n: int, *, y: Tensor | None = None, seed: int = 0, truncation: float = 1.0, batch: int = 500
) -> Tensor:
    """Draws n pictures.

    Args:
        generator: put into eval mode.
        n: number of pictures.
        y: [n] int64 labels, one a picture, if the generator was built for labels.
        seed: picture i has seed `seed + i`, whatever the batch.
        truncation: the noise's standard deviation; below 1 pictures are more typical and less diverse (compare Brock et
            al., 2019).
        batch: pictures at once.

    Returns:
        [n,C,32,32] in [-1,1], on the generator's device.

    Raises:
        ValueError: `y` is missing, unexpected, not one label a picture, or outside the generator's classes.
    """
    device, classes = next(generator.parameters()).device, generator.config.classes
    if y is not None and classes:  # the generator itself asks for labels, or refuses them
        if y.shape != (n,) or y.dtype != torch.int64:
            raise ValueError(f"y must be [{n}] int64 labels, one a picture; got {list(y.shape)} {y.dtype}")
        if n and not 0 <= y.min() <= y.max() < classes:
            raise ValueError(f"y must hold labels from 0 to {classes - 1}; got {y.min()} to {y.max()}")
    z = randn((generator.config.z,), generators(range(seed, seed + n))) * truncation  # [n,Z]
    labels = [None] * n if y is None else y.to(device).split(batch)
    return torch.cat([generator.eval()(part.to(device), label) for part, label in zip(z.split(batch), labels)])


def evaluate(generator: nn.Module, n: int = 10_000, validation: bool = False) -> dict:
    """Draws n samples and measures them against n held-out digits; see `gan_measures.measure`.

    Args:
        generator: without labels.
        n: pictures of each kind.
        validation: compare with training digits held out by `reference` instead of test digits; to choose settings by.
    """
    x = sample(generator, n, seed=SAMPLES + (1 if validation else 0)).cpu()
    return {**measure(x, n, validation), "confidence": confidence(x, min(n, 2000))}


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False, n: int = 10_000
) -> pretrained.Pretrained | None:
    """Trains, measures on `n` samples, and writes weights and card to `out`; None from all processes but the first."""
    steps = images // BUNDLED.batch
    made = players(BUNDLED, steps, SEED)
    loader = data.Batches(data.load("mnist", "train"), BUNDLED.batch, seed=SEED)
    history = run(
        made.turns, loader, steps, seed=SEED, clip=None, precision="no", label=NAME,
        checkpoint=work / f"{NAME}.ckpt", save_every=500, resume=resume,
    )  # fmt: skip
    if not is_main():
        return None
    card = {
        "recipe": "minidiff.recipes.mnist_gan",
        "data": "MNIST, 60,000 training digits, padded to 32x32",
        "game": {"losses": "non-saturating", "r1": BUNDLED.r1, "lr": BUNDLED.lr, "critic_width": BUNDLED.critic.width},
        "seed": SEED,
        "batch": BUNDLED.batch,
        "images_seen": steps * BUNDLED.batch,
        "training_seconds": round(history.seconds),
        **provenance(),
    }
    return ship(NAME, made.ema.model, card, out, lambda shipped: evaluate(shipped, n))


def _unlabelled(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"x": batch["x"]}


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
