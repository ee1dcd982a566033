"""What each of two processes runs: `python gan_ranks.py FOLDER`, with the variables that torchrun and accelerate set.

Noise comes with the batch, so that two ranks must equal one process.
"""

import os
import sys
from pathlib import Path

import torch

from minidiff.models.gan import PointConfig, PointDiscriminator, PointGenerator
from minidiff.objectives import CriticLoss, GeneratorLoss
from minidiff.training import EMA, Turn, run
from minidiff.training import checkpoint as ckpt

JOINT, STEPS, DIM, Z = 6, 4, 3, 5


class Loader:
    """Joint batches by step; a shard is a rank's slice of each."""

    def __init__(self, rank=0, world=1):
        self.rank, self.world = rank, world

    def shard(self, rank, world):
        return Loader(rank, world)

    def from_step(self, step):
        size = JOINT // self.world
        while True:
            rng = torch.Generator().manual_seed(step)
            batch = {k: torch.randn(JOINT, d, generator=rng, dtype=torch.float64) for k, d in (("x", DIM), ("z", Z))}
            batch["share"] = torch.rand(JOINT, generator=rng, dtype=torch.float64)
            yield {k: v[self.rank * size : (self.rank + 1) * size] for k, v in batch.items()}
            step += 1


def means(terms, name):
    return terms[name].mean(), {k: v.detach().mean() for k, v in terms.items()}


def train():
    """Everything that a game with both penalties and a spectral norm has made, as a checkpoint holds it."""
    torch.manual_seed(0)
    config = PointConfig(dim=DIM, z=Z, width=7, spectral=True)
    generator, critic = PointGenerator(config).double(), PointDiscriminator(config).double()
    first, second = CriticLoss(generator, Z, r1=0.7, gp=0.3), GeneratorLoss(critic, Z)

    def critic_loss(model, batch):
        return means(first.terms(model, batch["x"], batch["z"], batch["share"]), "critic")

    def generator_loss(model, batch):
        return means(second.terms(model, batch["z"]), "generator")

    made = [
        Turn(critic, critic_loss, torch.optim.Adam(critic.parameters(), 1e-2, fused=True)),
        Turn(generator, generator_loss, torch.optim.Adam(generator.parameters(), 1e-2, fused=True),
             ema=EMA(generator, 0.9)),
    ]  # fmt: skip
    history = run(made, Loader(), STEPS, progress=False)
    tensors, _ = ckpt.pack(made, {k: torch.tensor(v, dtype=torch.float64) for k, v in history.items()})
    return tensors


if __name__ == "__main__":
    ckpt.save(Path(sys.argv[1]) / f"game.{os.environ['RANK']}", train(), {})
    torch.distributed.destroy_process_group()
