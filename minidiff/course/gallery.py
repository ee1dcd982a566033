"""The book's gallery of the caption world: its pictures and tables, made anew at each build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from minidiff.course import l00_helpers as show
from minidiff.course import plots
from minidiff.data import shapes
from minidiff.recipes.results import load

SEED = 20


def _captions() -> None:
    found = shapes.captioned(12, "train", size=64, seed=SEED)
    show.captioned(found.x, found.captions, columns=4, width=27, rows_of_text=4)


def _places_and_sizes() -> None:
    scenes = [
        shapes.Scene((shapes.Thing("star", colour, size),), place=place, background=ground)
        for size, colour, ground in zip(shapes.SIZES, ("blue", "orange", "green"), ("light", "dark", "light"))
        for place in shapes.PLACES
    ]
    plots.grid(shapes.draw(scenes, 64, seed=1), ncol=9, titles=[p.replace(" ", "\n") for p in shapes.PLACES], scale=1.3)


def _swaps() -> None:
    scenes = shapes.gallery(8, singles=0.0, seed=2)
    show.captioned(shapes.draw(scenes, 64, seed=3), [shapes.caption(s) for s in scenes], width=27, rows_of_text=4)


def _styles() -> None:
    scenes = shapes.sample(8, "train", seed=SEED + 3)
    x = torch.cat([shapes.draw(scenes, 64, seed=4, style=style) for style in shapes.STYLES])
    plots.grid(x, ncol=8, scale=1.45)


def _resolutions() -> None:
    layout = shapes.place([shapes.parse("a small red heart to the left of a large cyan crescent on a dark background")])
    sizes = (8, 16, 32, 64, 128)
    x = [F.interpolate(shapes.render(layout, size), 128) for size in sizes]
    plots.grid(torch.cat(x), ncol=5, titles=[f"{size} x {size}" for size in sizes], scale=1.2)


def _masks() -> None:
    import matplotlib.pyplot as plt

    layout = shapes.scatter(6, objects=(3, 5), seed=5)
    x, (semantic, instance) = shapes.render(layout, 64), shapes.masks(layout, 64)
    figure, axes = plt.subplots(3, 6, figsize=(8.6, 4.5))
    rows = ((x * 0.5 + 0.5).permute(0, 2, 3, 1), semantic, instance)
    for name, pictures, line, most in zip(("picture", "shape", "object"), rows, axes, (None, len(shapes.SHAPES), 5)):
        line[0].set_ylabel(name)
        for picture, axis in zip(pictures, line):
            axis.imshow(picture, cmap="tab10" if most else None, vmin=0, vmax=9, interpolation="nearest")
            axis.set(xticks=[], yticks=[])


def _reader() -> None:
    from minidiff.recipes import scene_reader

    rng = torch.Generator().manual_seed(1)
    layout = shapes.place(shapes.sample(6, "unseen", seed=SEED + 6), seed=7)
    clean = shapes.render(layout, 64)
    x = torch.cat([
        clean[:1], scene_reader.with_noise(clean[1:2], rng), scene_reader.blurred(clean[2:3], 2.0),
        scene_reader.half_erased(layout[3:4], 64, rng), scene_reader.melted(layout[4:5], 64, rng),
        shapes.render(shapes.place([shapes.Scene((shapes.Thing("star"),))], style="outline"), 64),
    ])  # fmt: skip
    show.beside(x, ("clean", "noise", "blur", "half erased", "two melted", "second style"))


FIGURES: dict[str, Callable[[], None]] = {
    "captions": _captions, "inventory": show.inventory, "places": _places_and_sizes, "swaps": _swaps, "styles": _styles,
    "resolutions": _resolutions, "masks": _masks, "reader": _reader,
}  # fmt: skip


def write(folder: Path) -> None:
    """Draws every figure of the gallery into `folder`, as `world-NAME.png`."""
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plots.style()
    for name, draw in FIGURES.items():
        draw()
        figure = plt.gcf()
        tight = "tight" if figure.get_layout_engine() else None
        figure.savefig(folder / f"world-{name}.png", dpi=120, bbox_inches=tight)
        plt.close("all")
    matplotlib.use(before)


def marks(results_dir: Path) -> str:
    """The reader's marks as a Markdown table, from `results/scene_reader_*.json`."""
    found = {row.get("name", "").removeprefix("scene_reader_"): row for row in load(results_dir)}
    titles = {
        "right": "every attribute read right", "refused": "refused: nothing recognisable",
        "not_confused": "not read as what it nearly is",
    }  # fmt: skip
    lines = []
    for name, title in titles.items():
        if name not in found:
            continue
        columns = ("32x32", "64x64")
        lines += [f"| {title} | " + " | ".join(columns) + " |", "|---|---|---|"]
        values = found[name]["value"]
        kinds = dict.fromkeys(key.rsplit(", ", 1)[0] for key in values)
        lines += [f"| {k} | " + " | ".join(f"{100 * values[f'{k}, {c}']:.2f} %" for c in columns) + " |" for k in kinds]
        lines += ["", f"*{found[name]['note'][0].upper()}{found[name]['note'][1:]}.*", ""]
    return "\n".join(lines) or "*Not measured yet.*\n"
