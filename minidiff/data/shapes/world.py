"""What there is in the caption world: the inventory, scenes, and which scenes a model may see in training.

A scene is a tuple of stated attributes and no more: where exactly a shape stands, or in which shade, is drawn anew for
each picture (`minidiff.data.shapes.layout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

SHAPES = ("circle", "square", "triangle", "diamond", "cross", "star", "heart", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "medium", "large")
PLACES = (
    "top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip
BACKGROUNDS = ("dark", "light")
RELATIONS = ("left of", "right of", "above", "below")
CONVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
SPLITS = ("train", "validation", "unseen", "held_out")

# One pair for each shape and each colour: every part of a held-out pair is seen in training, in seven other pairs.
HELD_OUT = tuple(zip(SHAPES, ("purple", "green", "red", "pink", "yellow", "blue", "orange", "cyan"), strict=True))
_UNSEEN, _VALIDATION = 0.20, 0.05  # shares of the tuples
_THINGS = len(SHAPES) * len(COLOURS) * len(SIZES)


@dataclass(frozen=True)
class Thing:
    """One object. What is None is not stated: any value fits.

    Attributes:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`.
        size: one of `SIZES`.

    Raises:
        ValueError: an attribute is none of the world's.
    """

    shape: str
    colour: str | None = None
    size: str | None = None

    def __post_init__(self):
        _one_of("shape", self.shape, SHAPES)
        _one_of("colour", self.colour, COLOURS, optional=True)
        _one_of("size", self.size, SIZES, optional=True)


@dataclass(frozen=True)
class Scene:
    """One or two objects on a background. What is None is not stated.

    "A is right of B" and "B is left of A" are the same scene: the constructor keeps the form with "left of" or "above".

    Attributes:
        things: one or two.
        place: one of `PLACES`; of a single object only.
        relation: one of `RELATIONS`, of the first object to the second; of two objects only.
        background: one of `BACKGROUNDS`.

    Raises:
        ValueError: an attribute is none of the world's, or does not go with that number of objects.

    >>> Scene((Thing("star"), Thing("heart")), relation="below")
    Scene(things=(Thing(shape='heart', colour=None, size=None), Thing(shape='star', colour=None, size=None)),
          place=None, relation='above', background=None)
    """

    things: tuple[Thing, ...]
    place: str | None = None
    relation: str | None = None
    background: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "things", tuple(self.things))
        if len(self.things) not in (1, 2):
            raise ValueError(f"things must be one or two objects; got {len(self.things)}")
        _one_of("place", self.place, PLACES, optional=True)
        _one_of("relation", self.relation, RELATIONS, optional=True)
        _one_of("background", self.background, BACKGROUNDS, optional=True)
        if len(self.things) == 2 and self.place is not None:
            raise ValueError(f"place must be None for two objects, which stand in a relation; got {self.place!r}")
        if len(self.things) == 1 and self.relation is not None:
            raise ValueError(f"relation must be None for a single object; got {self.relation!r}")
        if self.relation in ("right of", "below"):
            object.__setattr__(self, "things", self.things[::-1])
            object.__setattr__(self, "relation", CONVERSE[self.relation])

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.things)

    @property
    def complete(self) -> bool:
        """Whether every attribute is stated."""
        where = self.place if len(self) == 1 else self.relation
        return None not in (where, self.background, *((t.colour and t.size) for t in self.things))

    def swapped(self) -> Scene:
        """The same objects with their places exchanged: what a model that ignores word order takes for this scene.

        Raises:
            ValueError: there is one object, or no relation.
        """
        if self.relation is None:
            raise ValueError("swapped needs two objects in a stated relation")
        return replace(self, things=self.things[::-1])

    def agrees(self, other: Scene) -> dict[str, bool]:
        """Which of the stated attributes are true of another scene.

        Args:
            other: what a picture shows; usually complete.

        Returns:
            `"objects"` (their number), then `"shape"`, `"colour"`, `"size"` (each of all objects together), `"place"`,
            `"relation"`, `"background"`, as far as stated. With another number of objects all are False.

        >>> said = Scene((Thing("star", "red"),), place="top")
        >>> said.agrees(Scene((Thing("star", "blue", "small"),), place="top", background="dark"))
        {'objects': True, 'shape': True, 'colour': False, 'place': True}
        """
        if len(self) != len(other):
            return dict.fromkeys(_agreement(self, other, self.things), False)
        found = [_agreement(self, other, things) for things in _orders(self, other)]
        return max(found, key=lambda agreement: sum(agreement.values()))


def _orders(scene: Scene, other: Scene) -> list[tuple[Thing, ...]]:
    """In which orders the other's things may be compared: any, where no relation tells them apart."""
    tied = scene.relation is not None and scene.relation == other.relation
    return [other.things] if tied or len(scene) == 1 else [other.things, other.things[::-1]]


def _agreement(scene: Scene, other: Scene, things: Sequence[Thing]) -> dict[str, bool]:
    found = {"objects": len(scene) == len(other)}
    for name in ("shape", "colour", "size"):
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(scene.things, things)]
        stated = [a == b for a, b in pairs if a is not None]
        if stated:
            found[name] = all(stated)
    if scene.place is not None:
        found["place"] = scene.place == other.place
    if scene.relation is not None:
        found["relation"] = scene.relation == other.relation and tuple(things) == other.things
    if scene.background is not None:
        found["background"] = scene.background == other.background
    return found


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
    _one_of("split", split, SPLITS)
    _one_of("objects", objects, (1, 2))
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


def _one_of(name: str, value: object, known: Sequence, optional: bool = False) -> None:
    if value not in known and not (optional and value is None):
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}; got {value!r}")
