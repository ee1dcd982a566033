"""Batches made ahead of time by other processes, in the same order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .batches import Batch


@dataclass(frozen=True)
class InWorkers:
    """A loader whose batches are made by worker processes while the model trains on earlier ones.

    For loaders that draw at every step, as `ShapeBatches` does: the batches are the same, and come in the same order,
    whatever the number of workers.

    Attributes:
        loader: has `from_step(step)`, and batch number k depends on k alone.
        workers: number of processes; 0 makes the batches where they are used.

    Raises:
        ValueError: `workers` is no integer of at least 0.
    """

    loader: object
    workers: int = 0

    def __post_init__(self):
        if not isinstance(self.workers, int) or self.workers < 0:
            raise ValueError(f"workers must be an integer of at least 0; got {self.workers!r}")

    def from_step(self, step: int) -> Iterator[Batch]:
        """Yields batch number `step` (from 0), then the next, without end."""
        if not self.workers:
            return self.loader.from_step(step)
        return iter(DataLoader(_Every(self.loader, step), batch_size=None, num_workers=self.workers, prefetch_factor=8))

    def shard(self, rank: int, world: int) -> InWorkers:
        """The same for process `rank` of `world`."""
        return replace(self, loader=self.loader.shard(rank, world))


class _Every(IterableDataset):
    """In worker w of n: batches `step + w`, `step + w + n`, and so on; the DataLoader takes one from each in turn."""

    def __init__(self, loader, step: int):
        self.loader, self.step = loader, step

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        for k in itertools.count(self.step + worker.id, worker.num_workers):
            yield next(self.loader.from_step(k))
