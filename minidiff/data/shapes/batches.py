"""Captioned pictures as batches: a fixed set in memory, or fresh ones at every step of training."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..batches import Batch
from .grammar import captions, tokenizer
from .layout import STYLES, place
from .render import check_size, render
from .splits import SPLITS, sample, scene, scenes
from .world import BACKGROUNDS, Scene, attributes


class Captioned(NamedTuple):
    """Pictures and what is true of them."""

    x: Tensor  # [N,3,size,size] in [-1,1]
    captions: list[str]
    scenes: list[Scene]


def draw(scenes: Sequence[Scene], size: int = 32, *, seed: int = 0, style: str = "plain") -> Tensor:
    """One picture of each scene.

    Args:
        scenes: what to draw; what a scene does not state is drawn at random.
        size: side in pixels, 8 to 256; the same seed gives the same picture at each size.
        seed: of places, shades and all that is not stated.
        style: `plain`, `outline` or `texture`.

    Returns:
        [N,3,size,size] float32 in [-1,1].

    Raises:
        ValueError: an argument is out of range.
    """
    return render(place(scenes, seed=seed, style=style), size)


def captioned(
    n: int, split: str = "train", *, size: int = 32, objects: int | None = None, style: str = "plain", seed: int = 0
) -> Captioned:
    """A fixed set of captioned pictures.

    Args:
        n: how many.
        split: `train`, `validation`, `unseen` or `held_out`, see `minidiff.data.shapes.scenes`.
        size: side in pixels.
        objects: 1 or 2; None is either.
        style: as for `draw`.
        seed: of scenes, layouts and phrasings.

    Raises:
        ValueError: an argument is out of range.
    """
    chosen = sample(n, split, objects=objects, seed=seed)
    return Captioned(draw(chosen, size, seed=seed + 1, style=style), captions(chosen, seed=seed + 2), chosen)


def gallery(n: int, split: str = "unseen", *, singles: float = 0.3, seed: int = 0) -> list[Scene]:
    """Scenes for retrieval: no two have a caption that is true of one picture, and each pair comes with its swap.

    Args:
        n: how many.
        split: where from.
        singles: share of the scenes that have one object, all different without their background; the others are pairs
            of objects, each followed by the same objects with their places exchanged.
        seed: of the choice.

    Raises:
        ValueError: an argument is out of range, or the split has too few different scenes.
    """
    if not 0 <= singles <= 1 or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be at least 1 and singles in [0,1]; got {n!r} and {singles!r}")
    rng = torch.Generator().manual_seed(seed)
    one, two = scenes(split, 1), scenes(split, 2)
    swaps = (n - round(n * singles)) // 2
    alone = n - 2 * swaps
    if alone > len(one) or 2 * swaps > len(two):
        raise ValueError(
            f"split {split!r} has {len(one)} different scenes of one object and {len(two)} of two; "
            f"got n = {n} with singles = {singles}, which needs {alone} and {2 * swaps}"
        )
    found = [scene(one[i], 1) for i in torch.randperm(len(one), generator=rng)[:alone].tolist()]
    taken = set()
    for i in torch.randperm(len(two), generator=rng).tolist() if swaps else ():
        pair = scene(two[i], 2)
        if pair not in taken:
            found += [pair, pair.swapped()]
            taken |= {pair, pair.swapped()}
        if len(found) == n:
            break
    grounds = torch.randint(len(BACKGROUNDS), (n,), generator=rng).tolist()
    grounds[alone + 1 :: 2] = grounds[alone::2]  # a swap differs in nothing but the order
    return [replace(s, background=BACKGROUNDS[ground]) for s, ground in zip(found, grounds)]


def partly(scenes: Sequence[Scene], share: float, *, seed: int = 0) -> list[Scene]:
    """The same scenes, some of them stating less, as people's captions do.

    Args:
        scenes: what is to be said.
        share: of the scenes that may lose something; of those, sizes, place or relation, and background are each kept
            with probability 1/2. Shapes and colours are always stated.
        seed: of the choice.

    Raises:
        ValueError: `share` lies outside [0, 1].

    >>> whole = scene(0, 1, "dark")
    >>> [s.place for s in partly([whole] * 3, 1.0, seed=1)]
    [None, None, 'top left']
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1]; got {share!r}")
    draws = torch.rand(len(scenes), 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    return [_without(s, [u < 0.5 for u in left]) if which < share else s for s, (which, *left) in zip(scenes, draws)]


def _without(scene: Scene, left_out: Sequence[bool]) -> Scene:
    size, where, background = left_out
    if size:
        scene = replace(scene, things=tuple(replace(thing, size=None) for thing in scene.things))
    if where:
        scene = replace(scene, place=None, relation=None)
    return replace(scene, background=None) if background else scene


@dataclass(frozen=True)
class ShapeBatches:
    """Fresh captioned pictures at every step, without end and without a set in memory: a loader for training.

    Batch number k is a pure function of (seed, k), as for `minidiff.data.Batches`: a resumed run, and each of several
    processes, sees the batches of one uninterrupted process.

    Attributes:
        size: side in pixels.
        batch_size: pictures of all ranks together.
        split: of the scenes.
        objects: 1 or 2; None is either.
        style: as for `draw`.
        partial: share of the captions that may leave something out, as for `partly`.
        seed: of everything.
        device: where the batches go.
        rank: of this process.
        world: number of processes.

    Raises:
        ValueError: an argument is out of range, or a batch cannot be divided among the processes.

    >>> batch = next(ShapeBatches(16, 4).from_step(0))
    >>> {name: list(value.shape) for name, value in batch.items()}
    {'x': [4, 3, 16, 16], 'y': [4, 51], 'tokens': [4, 24], 'mask': [4, 24]}
    """

    size: int
    batch_size: int
    split: str = "train"
    objects: int | None = None
    style: str = "plain"
    partial: float = 0.0
    seed: int = 0
    device: str | torch.device = "cpu"
    rank: int = 0
    world: int = 1

    def __post_init__(self):
        check_size(self.size)
        for name, value, known in (("split", self.split, SPLITS), ("style", self.style, STYLES)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
        if self.objects not in (None, 1, 2):
            raise ValueError(f"objects must be 1, 2 or None; got {self.objects!r}")
        if not 0 <= self.partial <= 1:
            raise ValueError(f"partial must lie in [0, 1]; got {self.partial!r}")
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank must lie in 0..world-1, here 0..{self.world - 1}; got {self.rank}")
        if not isinstance(self.batch_size, int) or self.batch_size < 1 or self.batch_size % self.world:
            raise ValueError(
                f"batch_size must be at least 1 and divisible by the {self.world} processes; got {self.batch_size!r}"
            )

    def from_step(self, step: int) -> Iterator[Batch]:
        """Yields batch number `step` (from 0), then the next, without end: `"x"`, `"y"`, `"tokens"` and `"mask"`.

        `"y"` is what `attributes` makes of the scenes.
        """
        if not isinstance(step, int) or step < 0:
            raise ValueError(f"step must be an integer of at least 0; got {step!r}")
        return map(self._batch, itertools.count(step))

    def shard(self, rank: int, world: int) -> ShapeBatches:
        """The slices of process `rank` of `world`: all ranks' batch k together are batch k of one process."""
        return replace(self, rank=rank, world=world)

    def _batch(self, step: int) -> Batch:
        digest = hashlib.blake2b(f"{self.seed}/{step}".encode(), digest_size=6).digest()
        seed = int.from_bytes(digest, "big")
        chosen = sample(self.batch_size, self.split, objects=self.objects, seed=seed)
        layout, said = place(chosen, seed=seed + 1, style=self.style), partly(chosen, self.partial, seed=seed + 3)
        texts = captions(said, seed=seed + 2)
        share = self.batch_size // self.world
        mine = slice(self.rank * share, (self.rank + 1) * share)
        batch = {"x": render(layout[mine], self.size), "y": attributes(chosen[mine])} | tokenizer()(texts[mine])
        return {name: value.to(self.device) for name, value in batch.items()}
