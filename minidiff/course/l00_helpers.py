"""What lesson 00 and the gallery of the caption world draw: pictures with words, and what the reader makes of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import torch
from torch import Tensor

from minidiff.course import plots
from minidiff.data import shapes
from minidiff.data.transforms import to_uint8


def captioned(x: Tensor, captions: Sequence[str], columns: int = 4, width: int = 24, rows_of_text: int = 3) -> None:
    """Draw pictures in a grid with their captions, wrapped, below them.

    Args:
        x: [N,3,H,H] in [-1,1].
        captions: one for each.
        columns: pictures in a row.
        width: letters in a line of text.
        rows_of_text: lines to leave room for.
    """
    import matplotlib.pyplot as plt

    rows = -(-len(x) // columns)
    side = 8.6 / columns
    figure, axes = plt.subplots(rows, columns, figsize=(8.6, rows * (side + 0.17 * rows_of_text)), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, text in zip(axes.flat, to_uint8(x), captions):
        axis.imshow(picture.permute(1, 2, 0))
        lines = "\n".join(textwrap.wrap(text, width))
        axis.text(0.5, -0.04, lines, transform=axis.transAxes, ha="center", va="top", fontsize=8.5)


def beside(x: Tensor, names: Sequence[str]) -> None:
    """Draw pictures in a row, under each the drawing that the reader found, and what it says.

    Args:
        x: [N,3,H,H] in [-1,1].
        names: a title for each picture.
    """
    import matplotlib.pyplot as plt

    readings = shapes.read(x)
    again = shapes.redraw(readings, x.shape[-1])
    lines = max(len(textwrap.wrap(name, 20)) for name in names)
    figure, axes = plt.subplots(2, len(x), figsize=(9, 3.85 + 0.15 * lines), squeeze=False)
    for column, reading in enumerate(readings):
        top, bottom = axes[:, column]
        top.imshow(to_uint8(x)[column].permute(1, 2, 0))
        top.set_title("\n".join(textwrap.wrap(names[column], 20)), fontsize=9 if len(names[column]) <= 20 else 8)
        bottom.imshow(to_uint8(again)[column].permute(1, 2, 0))
        said = shapes.caption(reading.scene) if reading.scene else reading.reason
        text = f"{said}\n(confidence {reading.confidence:.2f})" if reading.scene else said
        wrapped = "\n".join(line for part in text.split("\n") for line in textwrap.wrap(part, 21))
        bottom.text(0.5, -0.06, wrapped, transform=bottom.transAxes, ha="center", va="top", fontsize=8)
        for axis in (top, bottom):
            axis.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("given", fontsize=9)
    axes[1, 0].set_ylabel("drawn again", fontsize=9)


def inventory(size: int = 48, background: str = "light") -> None:
    """Draw every colour in every shape; a frame marks the pairs that training never shows."""
    import matplotlib.pyplot as plt

    pairs = [(shape, colour) for colour in shapes.COLOURS for shape in shapes.SHAPES]
    things = [shapes.Thing(shape, colour, "large") for shape, colour in pairs]
    x = shapes.draw([shapes.Scene((t,), place="centre", background=background) for t in things], size, seed=2)
    x = x[:, :, size // 5 : -(size // 5), size // 5 : -(size // 5)]
    canvas = plots.montage(x, ncol=len(shapes.SHAPES), gap=(2, 2))
    side = x.shape[-1] + 2
    figure, axis = plt.subplots(figsize=(6.4, 6.2))
    axis.imshow(canvas)
    for i, pair in enumerate(pairs):
        if pair in shapes.HELD_OUT:
            corner = (i % len(shapes.SHAPES) * side - 1.5, i // len(shapes.SHAPES) * side - 1.5)
            axis.add_patch(plt.Rectangle(corner, side, side, fill=False, edgecolor="black", linewidth=2.5))
    axis.set(xlim=(-3, canvas.shape[1] + 2), ylim=(canvas.shape[0] + 2, -3))
    middles = [(i + 0.5) * side - 1 for i in range(len(shapes.SHAPES))]
    axis.set_xticks(middles, shapes.SHAPES, fontsize=9)
    axis.set_yticks(middles, shapes.COLOURS, fontsize=9)
    axis.tick_params(length=0)
    axis.xaxis.tick_top()
    axis.spines[:].set_visible(False)


def distances(name: str, pixels: int = 16) -> None:
    """Draw a shape's signed distance, then which pixels hard edges would take, then their covers."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(9, 3.0))
    fine = torch.linspace(-1.3, 1.3, 260)
    d = shapes.signed_distance(name, fine[None], fine[:, None])
    image = axes[0].imshow(d, extent=(-1.3, 1.3, 1.3, -1.3), cmap="RdBu", vmin=-1, vmax=1)
    axes[0].contour(fine, fine, d, levels=[0.0], colors="black", linewidths=2)
    axes[0].set_title("signed distance", fontsize=10)
    figure.colorbar(image, ax=axes[0], shrink=0.8, label="in halves of the width")
    side = 2.6 / pixels
    at = -1.3 + side * (torch.arange(pixels) + 0.5)
    d = shapes.signed_distance(name, at[None], at[:, None])
    covers = {"hard edges": (d < 0).float(), "covers": (0.5 - d / side).clamp(0, 1)}
    for axis, (title, cover) in zip(axes[1:], covers.items()):
        axis.imshow(cover, extent=(-1.3, 1.3, 1.3, -1.3), cmap="Greys", vmin=0, vmax=1)
        axis.contour(fine, fine, shapes.signed_distance(name, fine[None], fine[:, None]), levels=[0.0],
                     colors=plots.PALETTE["vermilion"], linewidths=1)  # fmt: skip
        axis.set_title(f"{title}, {pixels} x {pixels} pixels", fontsize=10)
    for axis in axes:
        axis.set(xticks=[], yticks=[])


def candidates(x: Tensor, patch: Tensor, covers: Tensor, noise: float) -> None:
    """Draw what each shape's best drawing leaves unexplained of a patch.

    Args:
        x: [3,H,W], the picture.
        patch: [3,H,W], less its background.
        covers: [8,H,W], one for each shape.
        noise: what the true drawing would leave.
    """
    import matplotlib.pyplot as plt

    shared = torch.einsum("chw,khw->kc", patch, covers)
    drawn = (shared / covers.square().sum(dim=(1, 2))[:, None])[:, :, None, None] * covers[:, None]
    rest = (patch - drawn).square().sum(dim=(1, 2, 3))
    figure, (first, second) = plt.subplots(1, 2, figsize=(9, 2.9), width_ratios=(1, 2.4))
    first.imshow(to_uint8(x).permute(1, 2, 0))
    first.set(xticks=[], yticks=[], title="what is read")
    colours = [plots.MODEL if i == rest.argmin() else plots.NOISE for i in range(len(rest))]
    second.scatter(rest, range(len(rest)), color=colours, s=60, zorder=2)
    second.axvline(noise, color=plots.TRUTH, ls=":", label="the noise alone")
    second.set_yticks(range(len(rest)), shapes.SHAPES)
    second.set(xlabel="sum of squares left unexplained", title="eight candidates")
    second.invert_yaxis()
    second.legend(loc="lower right")


def stated(scene: shapes.Scene | None) -> dict[str, str] | None:
    """A scene of one object as a dictionary of what it states; None stays None.

    >>> stated(shapes.parse("a red star at the top"))
    {'shape': 'star', 'colour': 'red', 'place': 'top'}
    """
    if scene is None:
        return None
    (thing,) = scene.things
    found = {"shape": thing.shape, "colour": thing.colour, "size": thing.size, "place": scene.place}
    return {name: value for name, value in (found | {"background": scene.background}).items() if value}
