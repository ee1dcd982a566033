"""What there is in the caption world: the inventory and scenes.

A scene is a tuple of stated attributes and no more: where exactly a shape stands, or in which shade, is drawn anew for
each picture (`minidiff.data.shapes.layout`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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

_ORDER = ("first", "second")
ATTRIBUTES = (
    *(f"{which} {value}" for which in _ORDER for value in (*SHAPES, *COLOURS, *SIZES)),
    *(f"at {place}" for place in PLACES), "left of", "above", *BACKGROUNDS,
)  # fmt: skip
_COLUMNS = {name: i for i, name in enumerate(ATTRIBUTES)}


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
        one_of("shape", self.shape, SHAPES)
        one_of("colour", self.colour, COLOURS, optional=True)
        one_of("size", self.size, SIZES, optional=True)


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
        one_of("place", self.place, PLACES, optional=True)
        one_of("relation", self.relation, RELATIONS, optional=True)
        one_of("background", self.background, BACKGROUNDS, optional=True)
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


def attributes(scenes: Sequence[Scene]) -> torch.Tensor:
    """What scenes state, as labels for a classifier: one column for each entry of `ATTRIBUTES`.

    Returns:
        [N,51] float32, 1 where the scene states it, else 0.

    >>> [ATTRIBUTES[i] for i in attributes([Scene((Thing("star", "red"),), place="top")])[0].nonzero().flatten()]
    ['first star', 'first red', 'at top']
    """
    rows = torch.zeros(len(scenes), len(ATTRIBUTES))
    for row, scene in zip(rows, scenes):
        stated = [f"{which} {v}" for which, t in zip(_ORDER, scene.things) for v in (t.shape, t.colour, t.size) if v]
        stated += [f"at {scene.place}"] * (scene.place is not None)
        stated += [v for v in (scene.relation, scene.background) if v]
        row[[_COLUMNS[name] for name in stated]] = 1
    return rows


def one_of(name: str, value: object, known: Sequence, optional: bool = False) -> None:
    """Raises ValueError unless `value` is one of `known`, or None where it is optional."""
    if value not in known and not (optional and value is None):
        raise ValueError(f"{name} must be one of {', '.join(map(str, known))}; got {value!r}")
