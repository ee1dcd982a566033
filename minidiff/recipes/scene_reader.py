"""How well the scene reader reads, and what it refuses: clean, noisy and blurred pictures, and pictures that are wrong.

    python -m minidiff.recipes.scene_reader

Writes results/scene_reader_*.json. Scenes are unseen ones; the reader was settled on validation scenes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from minidiff.data.shapes import (
    BACKGROUNDS,
    COLOURS,
    PLACES,
    READER_VERSION,
    SHAPES,
    SIZES,
    Layout,
    Scene,
    agreement,
    place,
    read,
    render,
    sample,
)
from minidiff.data.transforms import from_uint8, to_uint8
from minidiff.recipes.results import record

SEED, PICTURES, RESOLUTIONS = 2026, 2000, (32, 64)


def with_noise(x: Tensor, rng: torch.Generator, sigma: float = 0.1) -> Tensor:
    """x plus Gaussian noise of standard deviation sigma."""
    return x + sigma * torch.randn(x.shape, generator=rng)


def blurred(x: Tensor, sigma: float = 1.0) -> Tensor:
    """x under a Gaussian blur of sigma pixels, mirrored at the edges."""
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(x, [2 * int(4 * sigma + 0.5) + 1] * 2, [sigma, sigma])


def one_changed(scene: Scene, rng: torch.Generator) -> Scene:
    """The scene with another value of one attribute, or with its objects exchanged."""
    whole = {"background": BACKGROUNDS} | ({"place": PLACES} if len(scene) == 1 else {"swap": (None,)})
    names = [*whole, "shape", "colour", "size"]
    name = names[_draw(len(names), rng)]
    if name == "swap":
        return scene.swapped()
    if name in whole:
        return replace(scene, **{name: _other(getattr(scene, name), whole[name], rng)})
    k = _draw(len(scene), rng)
    known = {"shape": SHAPES, "colour": COLOURS, "size": SIZES}[name]
    changed = replace(scene.things[k], **{name: _other(getattr(scene.things[k], name), known, rng)})
    return replace(scene, things=tuple(changed if i == k else thing for i, thing in enumerate(scene.things)))


def half_erased(layout: Layout, size: int, rng: torch.Generator) -> Tensor:
    """One object of each picture cut through its centre in a random direction, one half painted over."""
    x, at = render(layout, size), (torch.arange(size) + 0.5) / size
    k, rows = _one_object(layout, rng), torch.arange(len(layout))
    dx = at - layout.x[rows, k, None]  # [N,size]
    dy = at - layout.y[rows, k, None]
    angle = 2 * torch.pi * torch.rand(len(layout), 1, 1, generator=rng)
    reach = layout.diameter[rows, k, None, None] / 2 + 1.5 / size
    near = (dx[:, None].abs() <= reach) & (dy[:, :, None].abs() <= reach)
    gone = near & (dx[:, None] * angle.cos() + dy[:, :, None] * angle.sin() > 0)
    return torch.where(gone[:, None], layout.background[:, :, None, None], x)


def melted(layout: Layout, size: int, rng: torch.Generator) -> Tensor:
    """Pictures halfway between two: one object has another shape in the second one."""
    k, rows = _one_object(layout, rng), torch.arange(len(layout))
    shape = layout.shape.clone()
    step = torch.randint(1, len(SHAPES), (len(layout),), generator=rng)
    shape[rows, k] = (shape[rows, k] + step) % len(SHAPES)
    return (render(layout, size) + render(replace(layout, shape=shape), size)) / 2


def nothing(n: int, size: int, rng: torch.Generator) -> dict[str, Tensor]:
    """Pictures that show no scene: noise of three kinds, blank ones, clouds on a background of the world."""
    grounds = place(sample(n, seed=SEED)).background[:, :, None, None]
    clouds = F.interpolate(torch.randn(n, 3, 5, 5, generator=rng), (size, size), mode="bicubic")
    found = {
        "Gaussian noise": torch.randn(n, 3, size, size, generator=rng),
        "uniform noise": 2 * torch.rand(n, 3, size, size, generator=rng) - 1,
        "clouds": clouds,
        "clouds on a background": grounds + 0.5 * clouds,
        "blank": (2 * torch.rand(n, 3, 1, 1, generator=rng) - 1).expand(-1, -1, size, size),
        "blank background": grounds.expand(-1, -1, size, size),
        "noise on a background": with_noise(grounds.expand(-1, -1, size, size), rng),
    }
    return {name: x.clamp(-1, 1).contiguous() for name, x in found.items()}


def accuracy(n: int, size: int, objects: int, seed: int) -> dict[str, float]:
    """Share of scenes of which every attribute is read right: clean, noisy and blurred."""
    rng = torch.Generator().manual_seed(seed + 2)
    chosen = sample(n, "unseen", objects=objects, seed=seed)
    x = from_uint8(to_uint8(render(place(chosen, seed=seed + 1), size)))
    pictures = {"clean": x, "noise 0.1": with_noise(x, rng), "blur 1 pixel": blurred(x)}
    return {name: _right(chosen, read(made)) for name, made in pictures.items()}


def near_misses(n: int, size: int, objects: int, seed: int) -> dict[str, float]:
    """Share of near misses that are not read as the original."""
    rng = torch.Generator().manual_seed(seed + 2)
    chosen = sample(n, "unseen", objects=objects, seed=seed)
    layout = place(chosen, seed=seed + 1)
    changed = render(place([one_changed(scene, rng) for scene in chosen], seed=seed + 1), size)
    made = {"one attribute changed": changed, "half erased": half_erased(layout, size, rng)}
    made["two shapes melted"] = melted(layout, size, rng)
    return {name: 1 - _right(chosen, read(x)) for name, x in made.items()}


def measure(n: int = PICTURES, seed: int = SEED) -> dict[str, dict[str, float]]:
    """Shares of pictures: read right, refused, and not confused with what they nearly are; and pictures a second.

    Args:
        n: pictures for each number.
        seed: of scenes, layouts and damage.
    """
    rows = {"right": {}, "refused": {}, "not_confused": {}, "pictures_a_second": {}}
    for size in RESOLUTIONS:
        wrong = nothing(n, size, torch.Generator().manual_seed(seed))
        rows["refused"] |= {f"{k}, {size}x{size}": sum(r.scene is None for r in read(x)) / n for k, x in wrong.items()}
        rows["pictures_a_second"][f"{size}x{size}"] = _speed(size)
        for objects, what in ((1, "one object"), (2, "two objects")):
            found = {"right": accuracy(n, size, objects, seed + objects)}
            found["not_confused"] = near_misses(n, size, objects, seed + 10 + objects)
            for row, shares in found.items():
                rows[row] |= {f"{k}, {what}, {size}x{size}": share for k, share in shares.items()}
    return rows


def _speed(size: int, n: int = 512) -> float:
    x = render(place(sample(n, "unseen", seed=SEED), seed=SEED), size)
    read(x[:64])
    began = time.perf_counter()
    read(x)
    return round(n / (time.perf_counter() - began))


def _right(chosen: list[Scene], readings: list) -> float:
    return agreement(chosen, readings)["all"].double().mean().item()


def _one_object(layout: Layout, rng: torch.Generator) -> Tensor:
    """A slot of each picture that has an object, [N]."""
    second = torch.rand(len(layout), generator=rng) < 0.5
    return (second & (layout.shape[:, 1] >= 0)).long()


def _draw(n: int, rng: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=rng))


def _other(value: str, known: tuple[str, ...], rng: torch.Generator) -> str:
    others = [v for v in known if v != value]
    return others[_draw(len(others), rng)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    args = parser.parse_args()
    os.environ["MINIDIFF_RECORD"] = "1"
    note = f"reader version {READER_VERSION}; {args.pictures:,} pictures for each number"
    for row, shares in measure(args.pictures).items():
        print(row, json.dumps(shares, indent=1))
        record(f"scene_reader_{row}", shares, source="recipe scene_reader", seed=SEED, note=note)


if __name__ == "__main__":
    main()
