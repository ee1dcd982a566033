"""The judge of the course: reads from a picture which scene it shows, or says that it shows none.

Analysis by synthesis: `minidiff.data.shapes.fit` finds the nearest drawing, and this module decides whether it is near
enough and what it is called. Nothing is trained, and nothing may be trained on it. Numbers are comparable only within
one `VERSION`; whatever changes a reading changes the version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .fit import SIZE, Fit, fit
from .layout import APART, ASIDE, CENTRES, DARKEST, DIAMETERS, GROUNDS, RGB, WANDER, Layout
from .render import render
from .world import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, Scene, Thing

VERSION = "1"
CHUNK = 256  # pictures at once

# Each check gives 1 for a picture as the world draws it and 0 where the reader stops believing; LIMITS says where.
LIMITS = {
    "share": (0.30, 0.50),  # of the pixels that are background
    "noise": (0.30, 0.00),  # standard deviation of the background
    "left": (0.30, 0.05),  # largest mean of 3 x 3 pixels that the drawing leaves, over the fainter object's contrast
    "shape": (0.62, 1.00),  # `Fit.between`
    "colour": (0.25, 0.05),  # distance from the colour's shades
    "doubt": (0.90, 0.50),  # that distance over the distance from the next colour's
    "background": (0.30, 0.10),  # distance from the background's colour, in the worst channel
    "aside": (1.00, 2 * ASIDE / APART),  # of two objects: distance across their relation over that along it
    "apart": (0.25, APART),  # distance along it
}
REASONS = {
    "share": "too little background",
    "background": "a background that is neither dark nor light",
    "noise": "too much noise",
    "objects": "no object, or more than two",
    "left": "something that no drawing explains",
    "shape": "a shape between two shapes",
    "colour": "a colour that is none of the eight",
    "doubt": "a colour between two colours",
    "size": "a size between two sizes",
    "place": "a place between two places",
    "relation": "no clear relation",
}
UNREADABLE = "nothing recognisable"


@dataclass(frozen=True, eq=False)
class Reading:
    """What the reader makes of one picture.

    Attributes:
        scene: the scene, complete; None where nothing is recognisable.
        confidence: 0 to 1, the least of all checks: 1 is a picture as the world draws it, 0 the edge of a class.
        reason: why nothing is recognisable; empty where something is.
        layout: of the nearest drawing, one picture.
    """

    scene: Scene | None
    confidence: float
    reason: str
    layout: Layout


def read(x: Tensor) -> list[Reading]:
    """Reads pictures.

    Args:
        x: [N,3,H,H] in [-1,1], H at least 32; averaged to 32 x 32. Values outside are clamped.

    Raises:
        ValueError: another shape, no floats, or values that are not finite.
    """
    if not (isinstance(x, Tensor) and x.is_floating_point()) or x.ndim != 4 or x.shape[1] != 3:
        what = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be [N,3,H,H] floats in [-1,1]; got {what}")
    if x.shape[2] != x.shape[3] or x.shape[2] < SIZE:
        raise ValueError(f"x must be square with sides of at least {SIZE}; got {list(x.shape[2:])}")
    if not bool(x.isfinite().all()):
        raise ValueError(f"x must be finite; {int((~x.isfinite()).flatten(1).any(1).sum())} of its pictures are not")
    found = []
    with torch.no_grad():
        for part in x.detach().float().cpu().split(CHUNK) if len(x) else ():
            found += _decided(fit(_shrunk(part.clamp(-1, 1))))
    return found


def redraw(readings: Sequence[Reading], size: int) -> Tensor:
    """The reader's drawings, to be put beside what it read; grey where nothing is recognisable.

    Args:
        readings: of `read`.
        size: side in pixels.

    Returns:
        [N,3,size,size] in [-1,1].
    """
    drawn = [render(r.layout, size) if r.scene else torch.zeros(1, 3, size, size) for r in readings]
    return torch.cat(drawn) if drawn else torch.zeros(0, 3, size, size)


def agreement(scenes: Sequence[Scene], readings: Sequence[Reading]) -> dict[str, Tensor]:
    """Which stated attributes the readings confirm.

    Args:
        scenes: what was asked for; None attributes are not asked for.
        readings: one for each.

    Returns:
        `"all"` [N] bool, and for each attribute (`"objects"`, `"shape"`, `"colour"`, `"size"`, `"place"`, `"relation"`,
        `"background"`) [M] bool over the scenes that state it. What is not recognisable confirms nothing.

    Raises:
        ValueError: the lengths differ.
    """
    if len(scenes) != len(readings):
        raise ValueError(f"scenes and readings must have one length; got {len(scenes)} and {len(readings)}")
    rows = []
    for scene, reading in zip(scenes, readings):
        found = scene.agrees(reading.scene or scene)
        rows.append(found if reading.scene else dict.fromkeys(found, False))
    names = ("objects", "shape", "colour", "size", "place", "relation", "background")
    table = {name: torch.tensor([row[name] for row in rows if name in row], dtype=torch.bool) for name in names}
    return {"all": torch.tensor([all(row.values()) for row in rows], dtype=torch.bool)} | table


def _shrunk(x: Tensor) -> Tensor:
    if x.shape[-1] % SIZE == 0:
        return F.avg_pool2d(x, x.shape[-1] // SIZE)
    return F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)


def _decided(found: Fit) -> list[Reading]:
    """Names and checks of a fit."""
    layout, n = found.layout, len(found.count)
    there = layout.shape >= 0
    pair = found.count == 2
    colour, near, next_near = _colours(layout.colour)
    size, sized = _nearest_interval(layout.diameter, [*DIAMETERS.values()])
    column, in_column = _nearest_interval(layout.x[:, 0], [(c - WANDER, c + WANDER) for c in CENTRES])
    row, in_row = _nearest_interval(layout.y[:, 0], [(c - WANDER, c + WANDER) for c in CENTRES])
    relation, first, related = _relation(layout)
    contrast = (layout.colour - layout.background[:, None]).norm(dim=2).where(there, 2.0).amin(dim=1)
    peak = F.avg_pool2d(found.left, 3, stride=1).norm(dim=1).flatten(1).amax(dim=1) / contrast.clamp_min(1e-6)
    ground = _signed(GROUNDS, BACKGROUNDS)[found.ground]
    checks = {
        "share": _check("share", found.share),
        "background": _check("background", (layout.background - ground).abs().amax(dim=1)),
        "noise": _check("noise", found.noise), "objects": ((found.count == 1) | pair).float(),
        "left": _check("left", peak),
        "shape": _least(_check("shape", found.between), there), "colour": _least(_check("colour", near), there),
        "doubt": _least(_check("doubt", near / next_near.clamp_min(1e-6)), there), "size": _least(sized, there),
        "place": torch.where(pair, 1.0, torch.minimum(in_column, in_row).clamp(0, 1)),
        "relation": torch.where(pair, related, 1.0),
    }  # fmt: skip
    least, worst = torch.stack([*checks.values()]).min(dim=0)
    readings = []
    for i in range(n):
        order = (0,) if found.count[i] == 1 else (int(first[i]), 1 - int(first[i]))
        reason = "" if least[i] > 0 else f"{UNREADABLE}: {REASONS[[*checks][int(worst[i])]]}"
        things = [
            Thing(SHAPES[layout.shape[i, k]], COLOURS[colour[i, k]], SIZES[size[i, k]]) for k in order if not reason
        ]
        where = {"relation": relation[i]} if pair[i] else {"place": PLACES[int(row[i] * 3 + column[i])]}
        scene = None if reason else Scene(tuple(things), background=BACKGROUNDS[found.ground[i]], **where)
        readings.append(Reading(scene, float(least[i]), reason, layout[i : i + 1]))
    return readings


def _colours(colour: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest of the eight [N,K], distance from its shades [N,K], least distance from another's [N,K]."""
    full = _signed(RGB, COLOURS) + 1  # [8,3]; shades lie on a line from black
    given = colour[..., None, :] + 1  # [N,K,1,3]
    along = (given * full).sum(-1) / full.square().sum(-1)
    distance = (given - along.clamp(DARKEST, 1)[..., None] * full).norm(dim=-1)  # [N,K,8]
    (near, other), index = distance.topk(2, dim=-1, largest=False)[0].unbind(-1), distance.argmin(dim=-1)
    return index, near, other


def _nearest_interval(value: Tensor, intervals: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    """Index of the nearest interval, and 1 inside it, falling to 0 halfway to the next; gaps are equally wide."""
    low, high = torch.tensor(intervals).T
    distance = torch.maximum(low - value[..., None], value[..., None] - high).clamp_min(0)
    nearest, index = distance.min(dim=-1)
    return index, 1 - nearest / ((low[1] - high[0]) / 2)


def _relation(layout: Layout) -> tuple[list[str], Tensor, Tensor]:
    """Of two objects: the relation, the slot of the object that it starts from, and how clear it is."""
    delta = torch.stack([layout.x[:, 1] - layout.x[:, 0], layout.y[:, 1] - layout.y[:, 0]], dim=1)  # [N,2]
    axis = delta.abs().argmax(dim=1)
    along, across = (delta.gather(1, i[:, None])[:, 0] for i in (axis, 1 - axis))
    clear = torch.minimum(
        _check("apart", along.abs()), _check("aside", across.abs() / along.abs().clamp_min(1e-6))
    )  # fmt: skip
    return [("left of", "above")[i] for i in axis.tolist()], (along < 0).long(), clear


def _check(name: str, value: Tensor) -> Tensor:
    worst, best = LIMITS[name]
    return ((value - worst) / (best - worst)).clamp(0, 1)


def _least(check: Tensor, there: Tensor) -> Tensor:
    """The worse of two objects' checks [N]."""
    return torch.where(there, check, 1.0).amin(dim=1).clamp(0, 1)


def _signed(table: dict[str, tuple[int, int, int]], names: Sequence[str]) -> Tensor:
    return torch.tensor([table[name] for name in names]) / 127.5 - 1
