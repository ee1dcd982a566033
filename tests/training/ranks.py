"""What each of two processes runs: `python ranks.py FOLDER`, with the variables that torchrun and accelerate set.

The losses draw nothing: noise and levels come with the batch, so that two ranks must equal one process.
"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import nn

from minidiff.diffusion import Schedule
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import DiffusionLoss
from minidiff.training import EMA, TrainingDiverged, Turn, run
from minidiff.training import checkpoint as ckpt

JOINT, STEPS = 6, 4
SCHEDULE = Schedule.linear(20, 0.01, 0.3)
CONFIG = UNetConfig(channels=1, width=8, mults=(1, 2), blocks=1, head_dim=4, classes=3, learned_var=True)


class Loader:
    """Joint batches by step; a shard is a rank's slice of each."""

    def __init__(self, rank=0, world=1, poison=None):
        self.rank, self.world, self.poison = rank, world, poison

    def shard(self, rank, world):
        return Loader(rank, world, self.poison)

    def from_step(self, step):
        size = JOINT // self.world
        while True:
            rng = torch.Generator().manual_seed(step)
            x, eps = (torch.randn(JOINT, 1, 6, 8, generator=rng, dtype=torch.float64) for _ in range(2))
            t, y = (torch.randint(1, n, (JOINT,), generator=rng) for n in (21, 4))
            if self.poison == step:
                x[-1] = torch.nan  # in the last rank's slice alone
            batch = {"x": x.clamp(-1, 1), "eps": eps, "t": t, "y": y}
            yield {k: v[self.rank * size : (self.rank + 1) * size] for k, v in batch.items()}
            step += 1


def hybrid(model, batch):
    """Three names to log, in an order that a set would shuffle."""
    loss = DiffusionLoss(SCHEDULE, vlb=0.01)
    terms = loss.terms(model, batch["x"], batch["t"], batch["eps"], y=batch["y"])
    return terms["loss"].mean(), {k: v.detach().mean() for k, v in terms.items()}


def draws(model, batch):
    """Logs a random draw: each rank must have its own."""
    return hybrid(model, batch)[0], {"draw": torch.rand(())}


def turns(loss=hybrid):
    torch.manual_seed(0)
    model = UNet(CONFIG).double()
    for p in model.parameters():
        if p.count_nonzero() == 0:
            nn.init.normal_(p, std=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    return [Turn(model, loss, optimizer, ema=EMA(model, 0.9))]


def train(loss=hybrid, steps=STEPS, poison=None, **more):
    """Everything that training has made, as a checkpoint holds it."""
    made = turns(loss)
    history = run(made, Loader(poison=poison), steps, progress=False, **more)
    tensors, _ = ckpt.pack(made, {k: torch.tensor(v, dtype=torch.float64) for k, v in history.items()})
    return tensors


def main(folder):
    rank = os.environ["RANK"]
    ckpt.save(folder / f"whole.{rank}", train(), {})
    path = folder / "run.ckpt"
    train(steps=2, checkpoint=path)
    ckpt.save(folder / f"resumed.{rank}", train(checkpoint=path, resume=True), {})
    ckpt.save(folder / f"draws.{rank}", train(draws, steps=2), {})
    try:
        train(poison=2, steps=60, checkpoint=folder / "bad.ckpt", save_every=2)
    except TrainingDiverged as error:
        (folder / f"diverged.{rank}").write_text(json.dumps(str(error)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    torch.distributed.destroy_process_group()
