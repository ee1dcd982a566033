"""What Stable Diffusion in small can do: bars on unseen scenes with intervals, and sweeps of its two options.

    python -m minidiff.recipes.system_bars

The bars ask for fixed scenes with fixed seeds, one picture a caption, judged by the reader of the caption world; beside
them stands what the reader says of true pictures of the same scenes, and of true pictures after the autoencoder. The
sweeps use validation scenes, and so does the question which levels lose what was asked for. Finished rows are kept
under build/recipes/system. Writes the results whose names begin with 09_bar, 09_guidance, 09_steps and 09_levels.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from pathlib import Path

import torch
from torch import Tensor

from minidiff.data.shapes import Scene, agreement, captioned, captions, read
from minidiff.data.shapes import draw as draw_scenes
from minidiff.diffusion import Schedule, classifier_free, ddim, denoiser, final, generators, randn
from minidiff.metrics import share
from minidiff.pipelines import StableDiffusion
from minidiff.recipes import stable_diffusion as base
from minidiff.recipes.results import kept, record, slug
from minidiff.recipes.shapes_autoencoder import reconstructed
from minidiff.recipes.three_ways import distance

BARS = {"one object": ("unseen", 1, 0.95), "two objects": ("unseen", 2, 0.70), "held-out pairs": ("held_out", 1, 0.70),
        "two objects, held-out pairs": ("held_out", 2, 0.70)}  # fmt: skip
N, HELD_OUT, SWEPT = 1000, 200, 200
SCALES, STEPS = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 9.0), (2, 4, 8, 16, 25, 50, 100)
LEVELS = (0, 50, 100, 200, 300, 400, 600, 800, 1000)
WORK = Path("build/recipes/system")


def bar(pipe: StableDiffusion, split: str, objects: int, n: int) -> dict[str, dict[str, float | list[float]]]:
    """All attributes right, share and interval, of the system's pictures, of true ones and of reconstructed ones.

    Intervals count a scene that is asked for several times as one group.

    Args:
        pipe: the system.
        split, objects: of the scenes.
        n: captions.
    """
    scenes = base.wanted(n, split, objects)

    def true(scenes: list[Scene]) -> Tensor:
        return draw_scenes(scenes, base.SIZE, seed=base.TEST_SEED)

    def again(scenes: list[Scene]) -> Tensor:
        return reconstructed(pipe.autoencoder, true(scenes))

    ways = {"system": base.paint(pipe), "true": true, "reconstructed": again}
    found = {}
    for name, painted in ways.items():
        right = agreement(scenes, read(painted(scenes)))
        found[name] = {**base.shares(right), "interval": list(share(right["all"].tolist(), scenes))}
    return found


def sweep(pipe: StableDiffusion, name: str, value: float, n: int) -> dict[str, float]:
    """Attributes right of one and of two objects, distance from true pictures, seconds a picture, at one setting.

    Args:
        pipe: the system.
        name: "scale" or "steps". value: of that option.
        n: validation captions of each kind.
    """
    found, seconds = {}, 0.0
    for objects in (1, 2):
        scenes = base.wanted(n, "validation", objects)
        began = time.process_time()
        x = base.paint(pipe, **{name: value})(scenes)
        seconds += time.process_time() - began
        found[f"all_{objects}"] = agreement(scenes, read(x))["all"].double().mean().item()
        found[f"distance_{objects}"] = distance(_real(objects), x)
    return {**found, "processor_seconds_a_picture": seconds / (2 * n)}


@torch.no_grad()
def from_level(pipe: StableDiffusion, t: int, n: int) -> float:
    """Share of pictures with all right when the system draws only from level t on.

    The latents of a true picture of two objects are noised to level t, and DDIM goes on from there, in the system's
    number of steps.

    Args:
        pipe: the system.
        t: 0 only decodes.
        n: validation scenes.
    """
    scenes, schedule, steps = base.wanted(n, "validation", 2), Schedule.linear(pipe.options.T), pipe.options.steps
    said, pictures = captions(scenes, seed=base.TEST_SEED), draw_scenes(scenes, base.SIZE, seed=base.TEST_SEED)
    null, found = {name: value[0] for name, value in pipe.read([""]).items()}, []
    for i in range(0, n, 50):
        z = pipe.autoencoder.latents(pictures[i : i + 50].to(pipe.device))
        noise = randn(tuple(z.shape[1:]), generators(range(base.NOISE_SEED + i, base.NOISE_SEED + i + len(z))))
        z = schedule.q_sample(z, torch.full((len(z),), t, device=z.device), noise.to(z.device))
        guided = classifier_free(
            denoiser(pipe.unet, schedule, pipe.options.predict), pipe.read(said[i : i + 50]), null, pipe.options.scale
        )
        if t:  # a schedule that ends at t has the same levels below
            z = final(ddim(guided, Schedule(schedule.alpha_bar[: t + 1]), z, steps))
        found.append(pipe.decode(z).cpu())
    return agreement(scenes, read(torch.cat(found)))["all"].double().mean().item()


@functools.cache
def _real(objects: int) -> Tensor:
    return captioned(2000, "validation", size=base.SIZE, objects=objects, seed=base.TEST_SEED + 9).x


def report_bars(rows: dict[str, dict], numbers: dict[str, int]) -> None:
    """Writes one result for each bar, and two for all: what the autoencoder leaves of true pictures, and how many."""
    for figure, value in (
        ("reconstructed", {name: found["reconstructed"]["all"] for name, found in rows.items()}), ("captions", numbers),
    ):  # fmt: skip
        record(f"09_bars_{figure}", value, source="recipe system_bars", seed=base.TEST_SEED)
    for name, found in rows.items():
        bound = BARS[name][2]
        note = (
            f"{numbers[name]} captions, one picture each; shape, colour, size, position or relation, number and "
            "background right; the floor is true pictures of the same scenes, see also 09_bars_reconstructed"
        )
        record(
            f"09_bar_{slug(name)}", found["system"]["all"],
            interval=tuple(found["system"]["interval"]), floor=found["true"]["all"], source="recipe system_bars",
            seed=base.TEST_SEED, claim=4, holds=found["system"]["interval"][0] >= bound, note=note, figure="section 7",
        )  # fmt: skip


def report_sweep(prefix: str, rows: dict[str, dict[str, float]], n: int, other: str) -> None:
    """Writes one result for each figure of a sweep, with a number for each setting; `other`: what stayed as it was."""
    note = (
        f"{n} validation captions of one object and {n} of two; {other}; distance in the bundled classifier's features "
        "of pictures averaged to 32x32"
    )
    for figure in next(iter(rows.values())):
        value = {setting: found[figure] for setting, found in rows.items()}
        record(f"{prefix}_{figure}", value, seed=base.TEST_SEED, source="recipe system_bars", note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("sweeps", "levels", "bars"), help="one part")
    args = parser.parse_args()
    os.environ["MINIDIFF_RECORD"] = "1"
    pipe = StableDiffusion.from_pretrained()
    if args.only in (None, "levels"):
        value = {f"{t}": kept(WORK / f"level_{t}_{SWEPT}.json", lambda t=t: from_level(pipe, t, SWEPT)) for t in LEVELS}
        note = (
            f"{SWEPT} validation captions of two objects; true latents, noised to that level and drawn on from there, "
            f"guidance {pipe.options.scale:g}, {pipe.options.steps} steps"
        )
        record("09_levels_all", value, seed=base.TEST_SEED, source="recipe system_bars", note=note)
    if args.only in (None, "sweeps"):
        o, plans = pipe.options, (("scale", SCALES, "09_guidance"), ("steps", STEPS, "09_steps"))
        others = {"scale": f"{o.steps} steps", "steps": f"guidance {o.scale:g}"}
        for name, values, prefix in plans:
            rows = {
                f"{v:g}": kept(WORK / f"{name}_{v:g}_{SWEPT}.json", lambda v=v, name=name: sweep(pipe, name, v, SWEPT))
                for v in values
            }
            report_sweep(prefix, rows, SWEPT, others[name])
    if args.only in (None, "bars"):
        numbers = {name: N if split == "unseen" else HELD_OUT for name, (split, _, _) in BARS.items()}
        rows = {}
        for name, (split, objects, _) in BARS.items():
            path = WORK / f"bar_{split}_{objects}_{numbers[name]}.json"
            rows[name] = kept(path, lambda s=split, o=objects, n=numbers[name]: bar(pipe, s, o, n))
        report_bars(rows, numbers)


if __name__ == "__main__":
    main()
