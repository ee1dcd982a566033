"""Run by each of two processes: gradients of a small contrastive loss, averaged as data-parallel training does."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from minidiff.objectives import contrastive

N, INPUTS, D = 10, 7, 5


class Pair(nn.Module):
    """Two linear towers and a temperature."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.image, self.text = (nn.Linear(INPUTS, D, dtype=torch.float64) for _ in range(2))
        self.logit_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))

    def forward(self, x, y):
        unit = nn.functional.normalize
        return unit(self.image(x), dim=1), unit(self.text(y), dim=1), self.logit_scale.exp()


def data():
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(N, INPUTS, generator=rng, dtype=torch.float64) for _ in range(2))


def gradients(chunk, rows=slice(None)):
    """Loss and gradients of one process that has these rows."""
    model, (x, y) = Pair(), data()
    loss = contrastive(*model(x[rows], y[rows]), chunk=chunk)
    loss.backward()
    return {"loss": loss.detach(), **{k: p.grad for k, p in model.named_parameters()}}


def main(folder):
    dist.init_process_group("gloo")
    rank, found = dist.get_rank(), {}
    mine = slice(rank * N // 2, (rank + 1) * N // 2)
    for chunk in (None, 2, 3):
        for name, value in gradients(chunk, mine).items():
            dist.all_reduce(value)
            found[f"{chunk}/{name}"] = value / 2
    x, y = data()
    try:
        contrastive(*Pair()(x[: 3 + rank], y[: 3 + rank]))
    except ValueError as error:
        (folder / f"uneven{rank}.txt").write_text(str(error), encoding="utf-8")
    torch.save(found, folder / f"{rank}.pt")
    dist.barrier()  # a process that leaves while the other still talks to it makes gloo abort
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    main(Path(sys.argv[1]))
