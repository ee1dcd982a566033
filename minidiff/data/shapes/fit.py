"""Finds the objects of a picture by drawing: the layout whose drawing comes nearest to it in least squares.

For given geometry, the colour that fits best has a closed form, so only place, diameter, shape and sharpness are
searched: first on a grid, then by Gauss-Newton steps. Nothing here is learned. Pictures are looked at with 32 x 32
pixels, whatever they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import GROUNDS, Layout
from .render import covered, local, signed_distance
from .world import BACKGROUNDS, SHAPES

SIZE, COARSE = 32, 16  # sides at which objects are fitted, and at which they are found
NEAR = 0.35  # a pixel within this of a background's colour, in each channel, counts as background
ENERGY = 1.5  # least energy of an object at the coarse side; the faintest has about three times that
FOUND = (0.25, 0.28, 0.345, 0.375, 0.44, 0.47)  # diameters that are looked for
GRID = tuple(0.225 + 0.025 * i for i in range(12))  # diameters at which the fit may begin
BLURS = (0.0, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5)  # standard deviations in pixels of the 32 x 32
KEPT, STEPS = 4, 4  # shapes that are refined, and Gauss-Newton steps, twice
WINDOW = 20  # pixels about an object's centre


@dataclass(frozen=True)
class Fit:
    """The nearest drawings of N pictures, with at most two objects each.

    Attributes:
        layout: what was drawn; shape is -1 where no object was found.
        count: [N] number of objects; 3 stands for more than two.
        ground: [N] index of the nearest background in `BACKGROUNDS`.
        share: [N] of the pixels that are background.
        noise: [N] standard deviation of the background's pixels (from the median, so objects hardly enter).
        blur: [N] standard deviation in pixels of the 32 x 32.
        between: [N,2] where the picture lies on the line from the next best shape's drawing (-1) to the best's (1).
        left: [N,3,32,32] the picture less its drawing.
    """

    layout: Layout
    count: Tensor
    ground: Tensor
    share: Tensor
    noise: Tensor
    blur: Tensor
    between: Tensor
    left: Tensor


class _Objects(NamedTuple):
    """M objects, found or being fitted; pictures are numbered by `row`."""

    row: Tensor  # [M]
    slot: Tensor  # [M]
    x: Tensor  # [M]
    y: Tensor  # [M]
    diameter: Tensor  # [M]


def fit(x: Tensor) -> Fit:
    """Fits layouts to pictures.

    Args:
        x: [N,3,32,32] in [-1,1] (values somewhat outside do no harm).
    """
    n = len(x)
    ground, colour, share, noise = background(x)
    off = x - colour[:, :, None, None]
    count, found = _detect(off)
    layout = Layout(
        torch.full((n, 2), -1), *torch.zeros(3, n, 2), torch.zeros(n, 2, 3), colour,
        torch.zeros(n, 2, dtype=torch.long), torch.zeros(n),
    )  # fmt: skip
    blur, between, left = torch.zeros(n), torch.ones(n, 2), off
    if len(found.row):
        at = (found.row, found.slot)
        corner = (torch.stack([found.x, found.y], 1) * SIZE - WINDOW / 2).round().long()  # [M,2]
        patch = _cut(off[found.row] * _own(found, count)[:, None], corner)
        best, blur, between[at], drawing = _fitted(found, patch, corner, n)
        layout.shape[at], layout.x[at], layout.y[at], layout.diameter[at] = best.shape, *best.where.unbind(1)
        layout.colour[at] = best.colour + colour[found.row]
        left = off - _pasted(drawing, found.row, corner, n)
    return Fit(layout, count, ground, share, noise, blur, between, left)


def background(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The background that most pixels are near to: (index [N], colour [N,3], share of the pixels [N], noise [N])."""
    known = torch.tensor([GROUNDS[name] for name in BACKGROUNDS]) / 127.5 - 1  # [2,3]
    pixels = x.flatten(2)  # [N,3,P]
    near = ((pixels[:, None] - known[:, :, None]).abs() < NEAR).all(dim=2)  # [N,2,P]
    share, index = near.float().mean(dim=2).max(dim=1)
    near = near[torch.arange(len(x)), index][:, None]
    colour = pixels.where(near, torch.nan).nanmedian(dim=2).values
    colour = torch.where(colour.isnan(), known[index], colour)
    away = (pixels - colour[:, :, None]).abs().where(near, torch.nan).flatten(1).nanmedian(dim=1).values
    return index, colour, share, 1.4826 * away.nan_to_num(1.0)  # 1.4826: from the median to the deviation of a Gaussian


def _detect(off: Tensor) -> tuple[Tensor, _Objects]:
    """How many objects each picture has [N], and roughly where: matched filters, the best answer first.

    An answer is good where it explains much and leaves little in the object's box. Without the second half, a filter
    between two objects would explain more than one that fits either.
    """
    n, at = len(off), torch.arange(COARSE)
    templates, shapes, diameters, _ = _bank(COARSE, 9, FOUND, (0.0,))
    middle = torch.full((len(templates),), 4.5 / COARSE)
    where = torch.stack([middle, middle, diameters + 1 / COARSE], dim=1)
    square, corner = torch.full_like(shapes, SHAPES.index("square")), torch.zeros(len(shapes), 2)
    boxes = _covers(square, where, corner, 9, COARSE)
    left = F.avg_pool2d(off, SIZE // COARSE)
    energies, places = [], []
    for _ in range(3):
        answers = F.conv2d(left.flatten(0, 1)[:, None], templates[:, None], padding=4)
        explained = answers.view(n, 3, -1).square().sum(dim=1)  # [N, templates * pixels]
        boxed = F.conv2d(left.square().sum(dim=1, keepdim=True), boxes[:, None], padding=4).flatten(1)
        best = (2 * explained - boxed).argmax(dim=1)
        energy = explained.gather(1, best[:, None])[:, 0]
        which, pixel = best // COARSE**2, best % COARSE**2
        row, column, diameter = pixel // COARSE, pixel % COARSE, diameters[which]
        energies.append(energy)
        places.append(torch.stack([(column + 0.5) / COARSE, (row + 0.5) / COARSE, diameter]))
        reach = (diameter * COARSE / 2 + 1)[:, None]
        taken = ((at - column[:, None]).abs() <= reach)[:, None] & ((at - row[:, None]).abs() <= reach)[:, :, None]
        left = left.masked_fill(taken[:, None], 0)
    count = (torch.stack(energies, 1) > ENERGY).long().cumprod(dim=1).sum(dim=1)
    rows, slots = (torch.arange(2) < count[:, None]).nonzero(as_tuple=True)
    return count, _Objects(rows, slots, *torch.stack(places, 2)[:, rows, slots])


def _own(found: _Objects, count: Tensor) -> Tensor:
    """[M,32,32] bool: the pixels that lie nearer to an object's box than to that of the other object of its picture."""
    at = (torch.arange(SIZE) + 0.5) / SIZE
    beyond = torch.maximum(
        (at - found.x[:, None]).abs()[:, None], (at - found.y[:, None]).abs()[:, :, None]
    ) - found.diameter[:, None, None] / 2  # fmt: skip
    table = torch.full((len(count), 2, SIZE, SIZE), torch.inf)
    table[found.row, found.slot] = beyond
    return beyond <= table[found.row, 1 - found.slot]


class _Best(NamedTuple):
    """One candidate for each object."""

    shape: Tensor  # [M]
    where: Tensor  # [M,3] x, y, diameter
    colour: Tensor  # [M,3] less the background's


def _fitted(found: _Objects, patch: Tensor, corner: Tensor, n: int) -> tuple[_Best, Tensor, Tensor, Tensor]:
    """The best candidate of each object, each picture's blur [N], `Fit.between` [M], the drawings [M,3,W,W]."""
    m = len(patch)
    shape, where = _begin(patch, corner)  # [M*8], [M*8,3]
    every = torch.arange(m).repeat_interleave(len(SHAPES))
    level, miss = _sharpness(found.row, shape, where, patch[every], corner[every], n)
    kept = miss.topk(KEPT, dim=1, largest=False).indices  # [M,KEPT]
    pick = (torch.arange(m)[:, None] * len(SHAPES) + kept).flatten()
    shape, where, patch, corner = shape[pick], where[pick], patch[every[pick]], corner[every[pick]]
    row = found.row.repeat_interleave(KEPT)
    _, where, _ = _refined(shape, where, patch, corner, level[row])
    level, _ = _sharpness(found.row, shape, where, patch, corner, n)  # places on the grid had blurred the drawings
    miss, where, cover = _refined(shape, where, patch, corner, level[row])
    ranked = miss.view(m, KEPT).sort(dim=1)
    first, runner_up = (torch.arange(m) * KEPT + ranked.indices[:, i] for i in (0, 1))
    colours = _miss(patch, cover)[1]
    drawing, other = (colours[i][:, :, None, None] * cover[i][:, None] for i in (first, runner_up))
    apart = (drawing - other).square().sum(dim=(1, 2, 3)).clamp_min(1e-9)
    between = (ranked.values[:, 1] - ranked.values[:, 0]) / apart
    return _Best(shape[first], where[first], colours[first]), torch.tensor(BLURS)[level], between, drawing


def _sharpness(
    row: Tensor, shape: Tensor, where: Tensor, patch: Tensor, corner: Tensor, n: int
) -> tuple[Tensor, Tensor]:
    """Index of each picture's blur [N], one for all its objects, and what candidates then miss [M,candidates]."""
    sharp = _covers(shape, where, corner)
    misses = torch.stack(
        [_miss(patch, _blurred(sharp, level))[0].view(len(row), -1) for level in range(len(BLURS))]
    )  # [blurs, M, candidates]
    level = torch.zeros(len(BLURS), n).index_add_(1, row, misses.amin(dim=2)).argmin(dim=0)
    return level, misses[level[row], torch.arange(len(row))]


def _begin(patch: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
    """For each object and each shape the best place and diameter of a grid: shapes [M*8], (x, y, diameter) [M*8,3]."""
    m, inner = len(patch), WINDOW - 2  # templates are moved by up to a pixel in each direction
    templates, _, diameters, offsets = _bank(SIZE, inner, GRID, (-0.25, 0.25))
    answers = F.conv2d(patch.flatten(0, 1)[:, None], templates[:, None]).view(m, 3, len(SHAPES), -1)
    best = answers.square().sum(dim=1).argmax(dim=2)  # [M,8]; 9 moves of each template
    which = best // 9 + torch.arange(len(SHAPES)) * (len(templates) // len(SHAPES))
    move = torch.stack([best % 3, best % 9 // 3], dim=2)
    centre = (corner[:, None] + move + inner / 2 + offsets[which]) / SIZE
    where = torch.cat([centre, diameters[which][..., None]], dim=2).flatten(0, 1)
    return torch.arange(len(SHAPES)).repeat(m), where


def _refined(shape: Tensor, where: Tensor, patch: Tensor, corner: Tensor, level: Tensor) -> tuple[Tensor, ...]:
    """Gauss-Newton on x, y, diameter and strength: (what is missed [M], x, y and diameter [M,3], covers [M,W,W])."""
    pixels = torch.arange(WINDOW) + 0.5
    best = None
    for _ in range(STEPS + 1):
        cover = _blurred(_covers(shape, where, corner), level)
        miss, colour = _miss(patch, cover)
        if best is None:
            best = (miss, where, cover)
        better = miss < best[0]
        best = tuple(
            torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)
            for old, new in zip(best, (miss, where, cover))
        )
        strength = colour.norm(dim=1).clamp_min(1e-6)[:, None, None]
        grey = (patch * colour[:, :, None, None]).sum(dim=1) / strength  # the patch along its colour, [M,W,W]
        along_y, along_x = torch.gradient(cover, dim=(1, 2))
        dx, dy = (pixels - where[:, i, None] * SIZE + corner[:, i, None] for i in (0, 1))
        grown = -(dx[:, None] * along_x + dy[:, :, None] * along_y) / (where[:, 2] * SIZE)[:, None, None]
        slopes = torch.stack([cover, *(-strength * d for d in (along_x, along_y)), strength * grown], 1).flatten(2)
        normal = slopes @ slopes.mT
        normal += torch.diag_embed(1e-3 * normal.diagonal(dim1=1, dim2=2) + 1e-6)  # damped: never singular
        step = torch.linalg.solve(normal, slopes @ (grey - strength * cover).flatten(1)[:, :, None])[:, 1:, 0]
        where = where + step.clamp(-1, 1) / SIZE
        where = torch.cat([where[:, :2], where[:, 2:].clamp(0.15, 0.6)], dim=1)
    return best


def _miss(patch: Tensor, cover: Tensor) -> tuple[Tensor, Tensor]:
    """What the best colour of a cover leaves of a patch, squared [M], and that colour [M,3]."""
    area = cover.square().sum(dim=(1, 2)).clamp_min(1e-6)
    shared = torch.einsum("mchw,mhw->mc", patch, cover)
    return patch.square().sum(dim=(1, 2, 3)) - shared.square().sum(dim=1) / area, shared / area[:, None]


def _covers(shape: Tensor, where: Tensor, corner: Tensor, window: int = WINDOW, size: int = SIZE) -> Tensor:
    """Sharp covers of candidates [M], windows beginning at (column, row) [M,2]; [M,window,window]."""
    out = torch.empty(len(shape), window, window)
    for index, name in enumerate(SHAPES):
        rows = (shape == index).nonzero().flatten()
        x, y, diameter = where[rows].unbind(1)
        u, v = local(x, y, diameter, *corner[rows].unbind(1), window, size)
        out[rows] = covered(signed_distance(name, u, v), diameter, window, size)
    return out


@lru_cache(maxsize=2)
def _blur_matrices(window: int) -> Tensor:
    """[blurs,window,window]: each blurs a column of pixels by one of BLURS; zero outside."""
    at = torch.arange(float(window))
    squares = (at[:, None] - at).square()
    rows = [torch.exp(-squares / (2 * sigma**2)) if sigma else torch.eye(window) for sigma in BLURS]
    full = torch.arange(-3.0 * window, 3.0 * window + 1).square()
    return torch.stack([m / torch.exp(-full / (2 * s**2)).sum() if s else m for m, s in zip(rows, BLURS)])


def _blurred(cover: Tensor, level: Tensor | int) -> Tensor:
    """Covers [M,W,W] blurred by BLURS[level], one level for all or one for each."""
    blur = _blur_matrices(cover.shape[-1])[level]
    return blur @ cover @ blur.mT


@lru_cache(maxsize=2)
def _bank(size: int, window: int, diameters: tuple, offsets: tuple) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Templates of norm 1 [K,window,window], their shapes [K], diameters [K] and offsets (x, y) in pixels [K,2]."""
    axes = (torch.arange(float(len(SHAPES))), *map(torch.tensor, (diameters, offsets, offsets)))
    shape, diameter, x, y = (t.flatten() for t in torch.meshgrid(*axes, indexing="ij"))
    where = torch.stack([(window / 2 + x) / size, (window / 2 + y) / size, diameter], dim=1)
    cover = _covers(shape.long(), where, torch.zeros(len(shape), 2), window, size)
    cover = _blurred(cover, 1)
    return cover / cover.flatten(1).norm(dim=1)[:, None, None], shape.long(), diameter, torch.stack([x, y], dim=1)


def _index(row: Tensor, corner: Tensor) -> tuple[Tensor, ...]:
    """Where windows stand in pictures with a margin of WINDOW."""
    steps = torch.arange(WINDOW) + WINDOW
    lines, columns = corner[:, 1, None] + steps, corner[:, 0, None] + steps
    return row[:, None, None, None], torch.arange(3)[:, None, None], lines[:, None, :, None], columns[:, None, None]


def _cut(pictures: Tensor, corner: Tensor) -> Tensor:
    """A window of each picture, zero outside; [M,3,W,W]."""
    padded = F.pad(pictures, [WINDOW] * 4)
    return padded[_index(torch.arange(len(corner)), corner)]


def _pasted(drawing: Tensor, row: Tensor, corner: Tensor, n: int) -> Tensor:
    """All drawings of each picture added up; [N,3,32,32]."""
    out = torch.zeros(n, 3, SIZE + 2 * WINDOW, SIZE + 2 * WINDOW)
    out.index_put_(_index(row, corner), drawing, accumulate=True)
    return out[:, :, WINDOW:-WINDOW, WINDOW:-WINDOW]
