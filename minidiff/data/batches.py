"""Batches from a set in memory or on disk, in an order that is a pure function of (seed, epoch).

A loader keeps no position: `from_step(1000)` finds batch 1000 without drawing the first 999. A resumed run, and each of
several processes, therefore sees exactly the batches of one uninterrupted process.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

Batch = dict[str, Tensor]


class Dataset(Protocol):
    """What `StreamBatches` reads: a number of items, each a dict of tensors without the batch dimension."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Batch: ...


@dataclass(frozen=True)
class Order:
    """Which items are in batch number `step`, counted from 0 over all epochs.

    Attributes:
        n: items in an epoch.
        batch_size: of the joint batch, over all ranks.
        seed: of the permutations.
        shuffle: False keeps the items' own order in each epoch.
        drop_last: leave out an epoch's last, smaller batch.
        rank: of this process.
        world: number of processes.

    Raises:
        ValueError: a field is out of range, or a batch cannot be divided among the processes.
    """

    n: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    rank: int = 0
    world: int = 1

    def __post_init__(self):
        for name in ("n", "batch_size", "world"):
            _at_least(name, getattr(self, name), 1)
        _at_least("seed", self.seed, 0)
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank must lie in 0..world-1, here 0..{self.world - 1}; got {self.rank}")
        if self.batch_size > self.n and self.drop_last:
            raise ValueError(
                f"batch_size must be at most the number of items, {self.n}, when the last batch is dropped; "
                f"got {self.batch_size}, which leaves no batch at all (or pass drop_last=False)"
            )
        ragged = 0 if self.drop_last else self.n % self.batch_size
        for what, size in (("batch_size", self.batch_size), ("the last, smaller batch", ragged)):
            if size % self.world:
                raise ValueError(f"{what} must be divisible by the {self.world} processes; got {size}")

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.n // self.batch_size if self.drop_last else -(-self.n // self.batch_size)

    def epoch(self, epoch: int) -> Tensor:
        """The items of one epoch in their order, [n] int64 on the CPU.

        >>> sorted(Order(5, 2).epoch(3).tolist())
        [0, 1, 2, 3, 4]
        """
        if not self.shuffle:
            return torch.arange(self.n)
        # Hashed, not added: epoch 1 of seed 0 must not be epoch 0 of seed 1.
        digest = hashlib.blake2b(f"{self.seed}/{epoch}".encode(), digest_size=4).digest()
        return torch.randperm(self.n, generator=torch.Generator().manual_seed(int.from_bytes(digest, "big")))

    def from_step(self, step: int) -> Iterator[Tensor]:
        """Yields this rank's items of batch `step`, `step + 1`, ... without end; each [<= batch_size / world]."""
        _at_least("step", step, 0)
        first, skip = divmod(step, len(self))
        return (part for e in itertools.count(first) for part in self.parts(e, skip if e == first else 0))

    def parts(self, epoch: int, skip: int = 0) -> Iterator[Tensor]:
        """Yields this rank's items of each batch of one epoch, from batch `skip` on."""
        order = self.epoch(epoch)
        for k in range(skip, len(self)):
            yield order[k * self.batch_size : (k + 1) * self.batch_size].chunk(self.world)[self.rank]


class Batches:
    """Batches of a set that lies in memory, gathered on the device where its tensors are.

    Args:
        batch: the whole set, tensors [N, ...] on one device; `"x"` is the data.
        batch_size: items in a batch (of all ranks together).
        seed: of the order; epoch e has its own permutation for each seed.
        shuffle: False keeps the set's order.
        drop_last: leave out an epoch's last, smaller batch.
        check: refuse pictures ([N,C,H,W] with C = 1 or 3) outside [-1,1]; pass False for latents of that shape.

    Raises:
        ValueError: the set is empty, its tensors disagree in length or device, its pictures are out of range, or the
            batch size does not fit.

    >>> loader = Batches({"x": torch.arange(6.0)[:, None]}, 2, shuffle=False)
    >>> len(loader), [batch["x"].flatten().tolist() for batch in loader]
    (3, [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> next(loader.from_step(4))["x"].flatten().tolist()
    [2.0, 3.0]
    """

    def __init__(
        self,
        batch: Batch,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        check: bool = True,
    ):
        _check_set(batch, check)
        self.batch = batch
        self.order = Order(len(batch["x"]), batch_size, seed, shuffle, drop_last)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches of epoch 0; `from_step` goes through all epochs."""
        return map(self._take, self.order.parts(0))

    def from_step(self, step: int) -> Iterator[Batch]:
        """Yields batch number `step` (from 0, over all epochs), then the next, without end."""
        return map(self._take, self.order.from_step(step))

    def shard(self, rank: int, world: int) -> Batches:
        """The slices of process `rank` of `world`: all ranks' batch k together are batch k of one process.

        Raises:
            ValueError: a batch cannot be divided by `world`, or there is no such rank.
        """
        other = object.__new__(Batches)
        other.batch, other.order = self.batch, replace(self.order, rank=rank, world=world)
        return other

    def _take(self, items: Tensor) -> Batch:
        device = self.batch["x"].device
        if device.type == "cuda":  # from pinned memory the copy does not make the host wait
            items = items.pin_memory().to(device, non_blocking=True)
        return {k: v.index_select(0, items.to(device)) for k, v in self.batch.items()}


class StreamBatches:
    """Batches of a set that does not fit in memory, read by worker processes ahead of their use.

    Order and sharding are those of `Batches`. A dataset whose items are random in the workers gives up that a resumed
    run sees the same pixels: augment in the loss's `prepare` instead.

    Args:
        dataset: see `Dataset`; for example `folder(path, size)`.
        batch_size: items in a batch (of all ranks together).
        workers: processes that read; 0 reads in this one.
        pin: collect in page-locked memory, from which copies to a GPU overlap with computing; None: if there is one.
        device: where the batches go.
        seed: of the order.
        shuffle: False keeps the set's order.
        drop_last: leave out an epoch's last, smaller batch.

    Raises:
        ValueError: as `Batches`, or `workers` is negative.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        workers: int = 2,
        pin: bool | None = None,
        *,
        device: str | torch.device = "cpu",
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
    ):
        _at_least("workers", workers, 0)
        self.dataset, self.workers, self.device = dataset, workers, torch.device(device)
        self.pin = self.device.type == "cuda" if pin is None else pin
        self.order = Order(len(dataset), batch_size, seed, shuffle, drop_last)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches of epoch 0; `from_step` goes through all epochs."""
        return self._read(self.order.parts(0))

    def from_step(self, step: int) -> Iterator[Batch]:
        """Yields batch number `step` (from 0, over all epochs), then the next, without end."""
        return self._read(self.order.from_step(step))

    def shard(self, rank: int, world: int) -> StreamBatches:
        """The slices of process `rank` of `world`; see `Batches.shard`."""
        other = object.__new__(StreamBatches)
        other.__dict__.update(self.__dict__, order=replace(self.order, rank=rank, world=world))
        return other

    def _read(self, parts: Iterator[Tensor]) -> Iterator[Batch]:
        from torch.utils.data import DataLoader

        loader = DataLoader(
            self.dataset,
            batch_sampler=(part.tolist() for part in parts),
            num_workers=self.workers,
            pin_memory=self.pin,
            # Its own generator: otherwise each pass would draw from the global random state.
            generator=torch.Generator().manual_seed(self.order.seed),
        )
        for batch in loader:
            yield {k: v.to(self.device, non_blocking=self.pin) for k, v in batch.items()}


def _check_set(batch: Batch, check: bool) -> None:
    if "x" not in batch:
        raise ValueError(f'batch must have a tensor "x", the data; got the keys {sorted(batch)}')
    x = batch["x"]
    for name, value in batch.items():
        if not isinstance(value, Tensor) or value.ndim == 0:
            raise ValueError(f'batch["{name}"] must be a tensor [N, ...]; got {type(value).__name__} {value!r:.60}')
        if len(value) != len(x) or value.device != x.device:
            raise ValueError(
                f'batch["{name}"] must have the length and device of "x", {len(x)} on {x.device}; '
                f"got {len(value)} on {value.device}"
            )
    if len(x) == 0:
        raise ValueError("batch must hold at least one item; got none")
    if not check or x.ndim != 4 or x.shape[1] not in (1, 3):
        return
    low, high = (v.item() for v in x.aminmax())
    if not x.is_floating_point() or not (low >= -1.001 and high <= 1.001):
        raise ValueError(
            f'pictures in batch["x"] must be floats in [-1,1]; got {x.dtype} from {low:g} to {high:g} '
            "(uint8: data.from_uint8; latents: check=False)"
        )


def _at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
