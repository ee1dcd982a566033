"""Which scenes a model may see in training, and which are kept for tests."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from .world import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, Scene, Thing, one_of

SPLITS = ("train", "validation", "unseen", "held_out")
# One pair for each shape and each colour: every part of a held-out pair is seen in training, in seven other pairs.
HELD_OUT = tuple(zip(SHAPES, ("purple", "green", "red", "pink", "yellow", "blue", "orange", "cyan"), strict=True))
_UNSEEN, _VALIDATION = 0.20, 0.05  # shares of the tuples
_THINGS = len(SHAPES) * len(COLOURS) * len(SIZES)


def scenes(split: str, objects: int) -> np.ndarray:
    """Numbers of the split's scenes of one or two objects, in order, without their background; `scene` reads one.

    A scene is in the same split on either background, and so is its swap. Scenes with a held-out pair of colour and
    shape are in no other split.

    Args:
        split: one of `SPLITS`; three quarters of the other tuples are for training, 5 % for validation, 20 % unseen.
        objects: 1 or 2.

    Returns:
        [n] int64.

    Raises:
        ValueError: an argument is none of those.
    """
    one_of("split", split, SPLITS)
    one_of("objects", objects, (1, 2))
    return np.flatnonzero(_split_table(objects) == SPLITS.index(split))


def scene(number: int, objects: int, background: str | None = None) -> Scene:
    """The scene of a number, as `scenes` gives them.

    >>> scene(0, 1)
    Scene(things=(Thing(shape='circle', colour='red', size='small'),), place='top left', relation=None, background=None)
    """
    if objects == 1:
        thing, place = divmod(int(number), len(PLACES))
        return Scene((_thing(thing),), place=PLACES[place], background=background)
    pair, axis = divmod(int(number), 2)
    first, second = divmod(pair, _THINGS)
    return Scene((_thing(first), _thing(second)), relation=("left of", "above")[axis], background=background)


def split_of(scene: Scene) -> str:
    """The split that a scene with all attributes but the background belongs to.

    Raises:
        ValueError: an attribute is not stated, or the two objects have the same shape and colour.
    """
    if not replace(scene, background="dark").complete:
        raise ValueError(f"scene must state every attribute but the background; got {scene}")
    things = [_number(thing) for thing in scene.things]
    if len(scene) == 1:
        number = things[0] * len(PLACES) + PLACES.index(scene.place)
    else:
        number = (things[0] * _THINGS + things[1]) * 2 + ("left of", "above").index(scene.relation)
    found = int(_split_table(len(scene))[number])
    if found < 0:
        raise ValueError(f"the two objects must differ in shape or colour; got {scene}")
    return SPLITS[found]


def sample(n: int, split: str = "train", *, objects: int | None = None, seed: int = 0) -> list[Scene]:
    """Draws complete scenes; the same tuple may come several times.

    Args:
        n: how many.
        split: one of `SPLITS`.
        objects: 1 or 2; None is either with equal probability.
        seed: the first scenes of a seed are the same for every `n`.

    Raises:
        ValueError: an argument is out of range.
    """
    if not isinstance(n, int) or n < 0:
        raise ValueError(f"n must be an integer of at least 0; got {n!r}")
    tables = {k: scenes(split, k) for k in ((1, 2) if objects is None else (objects,))}
    draws = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    found = []
    for kind, which, ground in draws:
        number = [*tables][int(kind * len(tables))]
        table = tables[number]
        found.append(scene(table[int(which * len(table))], number, BACKGROUNDS[int(ground * len(BACKGROUNDS))]))
    return found


@lru_cache(maxsize=2)
def _split_table(objects: int) -> np.ndarray:
    """Number of a scene -> index of its split; -1 where two objects have the same shape and colour."""
    pair = np.arange(_THINGS) // len(SIZES)
    held = np.isin(pair, [SHAPES.index(s) * len(COLOURS) + COLOURS.index(c) for s, c in HELD_OUT])
    if objects == 1:
        key = np.arange(_THINGS * len(PLACES))
        held, same = held[key // len(PLACES)], np.zeros(len(key), bool)
    else:
        number = np.arange(_THINGS * _THINGS * 2)
        first, second, axis = number // 2 // _THINGS, number // 2 % _THINGS, number % 2
        # The order of the two does not enter, so a scene and its swap are hard negatives within one split.
        key = ((np.minimum(first, second) * _THINGS) + np.maximum(first, second)) * 2 + axis + 2**32
        held, same = held[first] | held[second], pair[first] == pair[second]
    share = _mixed(key.astype(np.uint64)) / 2.0**64
    table = np.where(share < _UNSEEN, SPLITS.index("unseen"), SPLITS.index("train"))
    table[(share >= _UNSEEN) & (share < _UNSEEN + _VALIDATION)] = SPLITS.index("validation")
    table[held] = SPLITS.index("held_out")
    table[same] = -1
    return table


def _mixed(x: np.ndarray) -> np.ndarray:
    """Spread 64-bit integers evenly, the same on every machine (the output step of SplitMix64; Steele et al., 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _thing(number: int) -> Thing:
    pair, size = divmod(number, len(SIZES))
    shape, colour = divmod(pair, len(COLOURS))
    return Thing(SHAPES[shape], COLOURS[colour], SIZES[size])


def _number(thing: Thing) -> int:
    pair = SHAPES.index(thing.shape) * len(COLOURS) + COLOURS.index(thing.colour)
    return pair * len(SIZES) + SIZES.index(thing.size)
