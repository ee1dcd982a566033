"""Draws layouts: a signed distance for each shape, an anti-aliased edge, one object over the other."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import STYLES, Layout
from .world import SHAPES

SMALLEST, LARGEST = 8, 256
CHUNK = 1 << 20  # pixels drawn at once
ARM, TIP, VALLEY, HALF_SQUARE = 0.3, 1 / math.sin(2 * math.pi / 5), 0.5, 2 / (1 + math.sqrt(2))
BITE, BITE_AT = 0.85, 0.5  # radius and place of the disc that a crescent lacks
LINE = 0.11  # thickness of an outline, of the diameter


def signed_distance(shape: str, u: Tensor, v: Tensor) -> Tensor:
    """Distance to a shape's edge, negative inside; the shape's bounding box is centred at 0, its longer side is 2.

    Exact near the edge, away from corners; unions are minima of distances and intersections maxima.

    Args:
        shape: one of `SHAPES`.
        u: to the right. v: down. Any shapes that broadcast.

    Raises:
        ValueError: there is no such shape.

    >>> at = torch.tensor([0.0, 0.75, 1.0])
    >>> signed_distance("circle", at, torch.zeros(3))
    tensor([-1.0000, -0.2500,  0.0000])
    """
    if shape not in _DISTANCES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}; got {shape!r}")
    return _DISTANCES[shape](u, v)


def _circle(u: Tensor, v: Tensor) -> Tensor:
    return torch.hypot(u, v) - 1


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) - 1


def _triangle(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum((2 * u.abs() - v - 1) / math.sqrt(5), v - 1)


def _diamond(u: Tensor, v: Tensor) -> Tensor:
    return (u.abs() + v.abs() - 1) / math.sqrt(2)


def _cross(u: Tensor, v: Tensor) -> Tensor:
    u, v = u.abs(), v.abs()
    return torch.maximum(torch.minimum(u, v) - ARM, torch.maximum(u, v) - 1)


def _star(u: Tensor, v: Tensor) -> Tensor:
    fifth = math.pi / 5  # between a tip and its valley
    up = TIP * (1 - math.cos(fifth)) / 2 - v  # the lowest tips reach less far than the upper one
    u = u.abs()
    for _ in range(2):  # mirrors fold all five tips onto the upper one, whose edge is a straight line
        beyond = (u * math.cos(fifth) - up * math.sin(fifth)).clamp_min(0)
        u, up = (u - 2 * beyond * math.cos(fifth)).abs(), up + 2 * beyond * math.sin(fifth)
    across, along = VALLEY * TIP * math.sin(fifth), VALLEY * TIP * math.cos(fifth) - TIP
    return (across * (up - TIP) - along * u) / math.hypot(across, along)


def _heart(u: Tensor, v: Tensor) -> Tensor:
    a = HALF_SQUARE  # a square on its corner, and a disc on each of its upper sides
    u, v = u.abs(), v - a * (0.5 + math.sqrt(0.5) - 1) / 2
    square = (u + v.abs() - a) / math.sqrt(2)
    return torch.minimum(square, torch.hypot(u - a / 2, v + a / 2) - a / math.sqrt(2))


def _crescent(u: Tensor, v: Tensor) -> Tensor:
    tips = (1 - BITE**2 + BITE_AT**2) / (2 * BITE_AT)
    u = u + (tips - 1) / 2
    return torch.maximum(torch.hypot(u, v) - 1, BITE - torch.hypot(u - BITE_AT, v))


_DISTANCES = dict(
    zip(SHAPES, (_circle, _square, _triangle, _diamond, _cross, _star, _heart, _crescent), strict=True)
)  # fmt: skip


def render(layout: Layout, size: int) -> Tensor:
    """Draws every picture of a layout.

    Args:
        layout: what to draw.
        size: side in pixels, 8 to 256.

    Returns:
        [N,3,size,size] float32 in [-1,1].

    Raises:
        ValueError: `size` is out of range.
    """
    check_size(size)
    n = len(layout)
    x = layout.background[:, :, None, None].repeat(1, 1, size, size)
    if bool((layout.ground != 0).any()):
        x += _mottle(size) * layout.ground[:, None, None, None]
    flat = x.view(n, 3, size * size)
    for slot in range(layout.shape.shape[1]):
        for rows, pixels, cover, paint in _patches(layout, slot, size):
            at = pixels[:, None].expand(-1, 3, -1)
            here = flat[rows].gather(2, at)
            there = (rows[:, None, None], torch.arange(3)[:, None], at)
            flat.index_put_(there, torch.lerp(here, paint, cover[:, None]))
    return x.clamp_(-1, 1)


def masks(layout: Layout, size: int) -> tuple[Tensor, Tensor]:
    """What each pixel shows: the topmost object that covers at least half of it.

    Args:
        layout: as for `render`.
        size: as for `render`.

    Returns:
        (semantic, instance), each [N,size,size] int64: 0 is background; else the shape's index in `SHAPES` plus 1, and
        the object's slot plus 1.

    Raises:
        ValueError: `size` is out of range.
    """
    check_size(size)
    n = len(layout)
    semantic, instance = (torch.zeros(n, size * size, dtype=torch.long) for _ in range(2))
    for slot in range(layout.shape.shape[1]):
        for rows, pixels, cover, _ in _patches(layout, slot, size):
            row, column = (cover >= 0.5).nonzero(as_tuple=True)
            row, column = rows[row], pixels[row, column]
            semantic[row, column] = layout.shape[row, slot] + 1
            instance[row, column] = slot + 1
    return semantic.view(n, size, size), instance.view(n, size, size)


def _patches(layout: Layout, slot: int, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yields (pictures [n], pixels [n,P], cover [n,P], paint [n,3,P or 1]) of a slot's objects, shape by shape."""
    for index, name in enumerate(SHAPES):
        chosen = (layout.shape[:, slot] == index).nonzero().flatten()
        if not len(chosen):
            continue
        window = min(size, math.ceil(layout.diameter[chosen, slot].max().item() * size) + 2)
        for rows in chosen.split(max(1, CHUNK // window**2)):
            left, top = (_first(c[rows, slot], window, size) for c in (layout.x, layout.y))
            where = (layout.x[rows, slot], layout.y[rows, slot], layout.diameter[rows, slot])
            u, v = local(*where, left, top, window, size)
            style = layout.style[rows, slot]
            cover = covered(_styled(signed_distance(name, u, v), style), where[-1], window, size)
            steps = torch.arange(window)
            pixels = ((top[:, None] + steps)[:, :, None] * size + (left[:, None] + steps)[:, None]).flatten(1)
            yield rows, pixels, cover.flatten(1), _paint(layout.colour[rows, slot], style, u, v, window)


def local(
    x: Tensor, y: Tensor, diameter: Tensor, left: Tensor, top: Tensor, window: int, size: int
) -> tuple[Tensor, Tensor]:
    """Where a window of pixels is sampled, in the coordinates of `signed_distance`.

    Args:
        x: [n] centre. y: [n]. diameter: [n], of an object, in units of the side.
        left: [n] first column of its window. top: [n] first row.
        window: columns, and rows.
        size: side of the picture in pixels; small ones are sampled two or four times a pixel along each axis.

    Returns:
        (u [n,1,S], v [n,S,1]) with S the window times the samples in a pixel.
    """
    parts = 4 if size < 32 else 2 if size < 64 else 1
    inner = (torch.arange(window * parts) + 0.5) / parts
    radius = diameter[:, None] / 2
    u, v = (((first[:, None] + inner) / size - centre[:, None]) / radius for first, centre in ((left, x), (top, y)))
    return u[:, None], v[:, :, None]


def covered(distance: Tensor, diameter: Tensor, window: int, size: int) -> Tensor:
    """How much of each pixel lies inside, [n,window,window] in [0,1], from distances at the samples of `local`."""
    parts = distance.shape[-1] // window
    sharpness = diameter[:, None, None] / 2 * size * parts  # samples in a radius
    return _pooled((0.5 - distance * sharpness).clamp_(0, 1), window)


def _first(centre: Tensor, window: int, size: int) -> Tensor:
    """First row or column of the window about each centre, moved into the picture; [n] int64."""
    return (centre * size - window / 2).round().long().clamp(0, size - window)


def _pooled(fine: Tensor, window: int) -> Tensor:
    parts = fine.shape[-1] // window
    return fine if parts == 1 else F.avg_pool2d(fine[:, None], parts)[:, 0]


def _styled(distance: Tensor, style: Tensor) -> Tensor:
    outlined = style == STYLES.index("outline")
    if not bool(outlined.any()):
        return distance
    return torch.where(outlined[:, None, None], (distance + LINE).abs() - LINE, distance)


def _paint(colour: Tensor, style: Tensor, u: Tensor, v: Tensor, window: int) -> Tensor:
    """[n,3,1], or [n,3,P] where there are stripes: the colour, and a darker shade of it."""
    striped = style == STYLES.index("texture")
    if not bool(striped.any()):
        return colour[:, :, None]
    stripes = _pooled(0.25 * (1 + torch.sin(7 * (u + v))), window).flatten(1) * striped[:, None]
    return (colour[:, :, None] + 1) * (1 - stripes[:, None]) - 1


def _mottle(size: int) -> Tensor:
    """[size,size] in [-1,1]: the ground's texture, two crossed waves."""
    at = (torch.arange(size) + 0.5) / size * 2 * math.pi
    return torch.sin(5 * at[:, None] + 2 * at) * torch.sin(4 * at - 3 * at[:, None])


def check_size(size: int) -> None:
    """Raises ValueError unless `size` can be drawn."""
    if not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size must be an integer from {SMALLEST} to {LARGEST}; got {size!r}")
