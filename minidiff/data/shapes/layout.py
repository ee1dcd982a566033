"""Where each object of a scene stands, how large and in which shade: geometry, ready to be drawn at any resolution.

Lengths are in units of the picture's side, with x to the right and y down, so one layout serves every resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .world import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES, Scene

# Between the classes lie gaps wider than the classes: no picture shows a size or a place that could be either.
DIAMETERS = {"small": (0.25, 0.28), "medium": (0.345, 0.375), "large": (0.44, 0.47)}
CENTRES, WANDER = (0.265, 0.5, 0.735), 0.025  # of the rows and columns of places, and how far an object may stray
MARGIN, GAP = 0.005, 0.04  # least distance to the picture's edge, and between two objects
APART, ASIDE = 0.4, 0.06  # two objects in relation: least distance of centres along it; most that each strays across it

# sRGB, 0..255; a shade is darker than its colour by at most a factor of DARKEST.
RGB = {
    "red": (214, 48, 49), "orange": (245, 140, 30), "yellow": (250, 215, 60), "green": (50, 165, 75),
    "cyan": (40, 195, 210), "blue": (45, 85, 215), "purple": (130, 60, 175), "pink": (245, 130, 185),
}  # fmt: skip
GROUNDS = {"dark": (30, 32, 40), "light": (238, 238, 232)}
DARKEST, LIFT = 0.88, 8  # a background is lighter or darker by at most LIFT
STYLES = ("plain", "outline", "texture")


@dataclass(frozen=True)
class Layout:
    """N pictures of at most K objects each; a later object covers an earlier one.

    Attributes:
        shape: [N,K] int64, index into `SHAPES`; -1 where there is no object.
        x: [N,K] centre of the shape's bounding box, from the left.
        y: [N,K] the same, from the top.
        diameter: [N,K] longer side of the bounding box.
        colour: [N,K,3] in [-1,1].
        background: [N,3] in [-1,1].
        style: [N,K] int64, index into `STYLES`.
        ground: [N] amplitude of the background's texture; 0 is plain.
    """

    shape: Tensor
    x: Tensor
    y: Tensor
    diameter: Tensor
    colour: Tensor
    background: Tensor
    style: Tensor
    ground: Tensor

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, rows: slice | Tensor) -> Layout:
        """Some of the pictures."""
        return Layout(*(getattr(self, f.name)[rows] for f in fields(self)))


def place(scenes: Sequence[Scene], *, seed: int = 0, style: str = "plain") -> Layout:
    """Chooses a layout for each scene; what the scene does not state is drawn at random.

    Args:
        scenes: what is to be seen.
        seed: the layout of the first scenes does not depend on how many follow.
        style: `plain`, `outline` (thick lines) or `texture` (stripes on a mottled ground): a shift for tests.

    Returns:
        A layout of `len(scenes)` pictures with two slots; objects lie inside the picture and never overlap.

    Raises:
        ValueError: `style` is none of those.
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}; got {style!r}")
    n = len(scenes)
    u = torch.rand(n, 2, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    codes = torch.tensor([_codes(scene) for scene in scenes], dtype=torch.long).view(n, 2, 3)
    codes = torch.where(codes == -2, (u[..., :3] * torch.tensor([1, len(COLOURS), len(SIZES)])).long(), codes)
    shape, colour, size = codes.unbind(-1)  # each [N,2]; -1 where there is no second object
    low, high = torch.tensor([*DIAMETERS.values()], dtype=torch.float64).T
    diameter = torch.lerp(low[size], high[size], u[..., 3])
    single = _single(_indices([s.place for s in scenes], PLACES, u[:, 0, 4]), u[:, 0, 5:7])
    axis = _indices([s.relation for s in scenes], ("left of", "above"), u[:, 0, 4])
    pair = _pair(axis, diameter, u[..., 5], u[..., 6])
    two = torch.tensor([len(s) == 2 for s in scenes], dtype=torch.bool).view(n, 1, 1)
    centre = torch.where(two, pair, single[:, None])  # [N,2,2]: x, y
    ground = _indices([s.background for s in scenes], BACKGROUNDS, u[:, 1, 4])
    shade = torch.lerp(torch.tensor(DARKEST, dtype=torch.float64), torch.ones(()).double(), u[..., 7])
    lift = (2 * u[:, 0, 7:8] - 1) * LIFT
    rgb, grounds = (torch.tensor([*table.values()], dtype=torch.float64) for table in (RGB, GROUNDS))
    return Layout(
        shape, *centre.float().unbind(-1), diameter.float(), _signed(rgb[colour] * shade[..., None]),
        _signed(grounds[ground] + lift), torch.full_like(shape, STYLES.index(style)),
        torch.full((n,), 0.12 if style == "texture" else 0.0),
    )  # fmt: skip


def scatter(n: int, *, objects: tuple[int, int] = (2, 5), texture: float = 0.12, seed: int = 0) -> Layout:
    """Layouts without a caption: objects anywhere, overlapping, on a mottled ground; for dense prediction.

    Args:
        n: number of pictures.
        objects: fewest and most in a picture.
        texture: amplitude of the ground's texture, 0 to 0.3.
        seed: of the draws.

    Raises:
        ValueError: an argument is out of range.
    """
    fewest, most = objects
    if not (isinstance(n, int) and n >= 0 and 1 <= fewest <= most):
        raise ValueError(f"n must be at least 0 and objects (fewest, most) in order; got {n!r} and {objects!r}")
    if not 0 <= texture <= 0.3:
        raise ValueError(f"texture must lie in 0..0.3; got {texture}")
    u = torch.rand(n, most + 1, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    count = fewest + (u[:, -1, 0] * (most - fewest + 1)).long()  # [N]
    own, rgb = u[:, :-1], torch.tensor([*RGB.values()], dtype=torch.float64)
    absent = torch.arange(most) >= count[:, None]
    shape = (own[..., 0] * len(SHAPES)).long().masked_fill(absent, -1)
    diameter = torch.lerp(torch.tensor(0.2).double(), torch.tensor(0.5).double(), own[..., 3])
    x, y = (torch.lerp(diameter / 4, 1 - diameter / 4, own[..., i]) for i in (4, 5))  # a quarter may stick out
    shade = DARKEST + (1 - DARKEST) * own[..., 6:7]
    ground = torch.tensor([*GROUNDS.values()], dtype=torch.float64)[(u[:, -1, 1] * 2).long()]
    return Layout(
        shape, x.float(), y.float(), diameter.float(), _signed(rgb[(own[..., 1] * len(rgb)).long()] * shade),
        _signed(ground + (2 * u[:, -1, 2:3] - 1) * LIFT), torch.zeros_like(shape), torch.full((n,), float(texture)),
    )  # fmt: skip


def _codes(scene: Scene) -> list[tuple[int, int, int]]:
    """(shape, colour, size) of two slots: -1 without an object, -2 where nothing is stated."""
    rows = [
        (
            SHAPES.index(t.shape),
            -2 if t.colour is None else COLOURS.index(t.colour),
            -2 if t.size is None else SIZES.index(t.size),
        )
        for t in scene.things
    ]
    return rows + [(-1, -1, -1)] * (2 - len(rows))


def _indices(names: Sequence[str | None], table: Sequence[str], u: Tensor) -> Tensor:
    """Index of each name, drawn where it is None; [N] int64."""
    drawn = (u * len(table)).long()
    return torch.tensor([-1 if x is None else table.index(x) for x in names], dtype=torch.long).where(
        torch.tensor([x is not None for x in names], dtype=torch.bool), drawn
    )


def _single(where: Tensor, u: Tensor) -> Tensor:
    """Centres [N,2] of single objects at their places."""
    grid = torch.tensor(CENTRES, dtype=torch.float64)
    return torch.stack([grid[where % 3], grid[where // 3]], dim=-1) + (2 * u - 1) * WANDER


def _pair(axis: Tensor, diameter: Tensor, along: Tensor, across: Tensor) -> Tensor:
    """Centres [N,2,2] of two objects: the first one left of the second (axis 0) or above it (axis 1)."""
    least = torch.maximum(diameter.sum(1) / 2 + GAP, torch.tensor(APART).double())  # [N], distance of the centres
    first, last = MARGIN + diameter[:, 0] / 2, 1 - MARGIN - diameter[:, 1] / 2
    slack = last - first - least
    before, after = along.sort(dim=1).values.unbind(1)  # in order, so that their sum never exceeds the slack
    major = torch.stack([first + slack * before, last - slack * (1 - after)], dim=1)
    minor = 0.5 + (2 * across - 1) * ASIDE
    x = torch.where(axis[:, None] == 0, major, minor)
    return torch.stack([x, torch.where(axis[:, None] == 0, minor, major)], dim=-1)


def _signed(rgb: Tensor) -> Tensor:
    return (rgb / 127.5 - 1).float()
