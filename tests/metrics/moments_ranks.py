"""What each of two processes runs: `python moments_ranks.py FOLDER`, with the variables that torchrun sets."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from minidiff.metrics import Moments

SHARES = {"even": [50, 40], "one row": [89, 1], "nothing": [0, 90], "none at all": [0, 0]}  # rows of each rank


def everything():
    """[90,5], far from 0 and with one small dimension."""
    x = 1e4 + torch.randn(90, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x * torch.tensor([1, 1, 1e-6, 3, 1])


def main(folder):
    dist.init_process_group("gloo")
    rank, found = dist.get_rank(), {}
    for name, sizes in SHARES.items():
        own, total = everything()[: sum(sizes)].split(sizes)[rank], Moments()
        for part in own.split(17):
            if len(part):
                total.update(part)
        total.all_reduce()
        found[name] = (total.n, total.mean, total.scatter)
    try:
        Moments().update(everything()[:, : 3 + rank]).all_reduce()
    except ValueError as error:
        found["error"] = str(error)
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
