"""Every bundled model that makes pictures, measured alike: fixed seeds, intervals, and what real pictures score.

    python -m minidiff.recipes.leaderboard

Two boards: handwritten digits, in the features of `mnist-classifier`, and scenes of the caption world, in those of
`shapes-classifier`. Within a board all rows have the same reference, number of pictures, extractor and preprocessing;
across boards nothing can be compared. Decoders stand apart from generators: they were given true pictures. Finished
rows are kept under build/recipes/board. Writes the results whose names begin with 07_board.
"""

from __future__ import annotations

import argparse
import functools
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from minidiff import data, evaluation, pretrained
from minidiff.data.shapes import agreement, captioned, read
from minidiff.metrics import share
from minidiff.pipelines import StableDiffusion
from minidiff.recipes import mnist_ddpm, shapes_upscaler, stable_diffusion
from minidiff.recipes.results import kept, record, slug
from minidiff.recipes.shapes_autoencoder import reconstructed

METRICS = ("frechet_distance", "kernel_distance", "precision", "recall")
N, SEED, DIGITS_SEED, SCENES_SEED = 2000, 0, 7_000_000, 71
WORK = Path("build/recipes/board")
DECODERS = ("mnist-autoencoder", "shapes-autoencoder", "shapes-upscaler")  # given true pictures


@torch.no_grad()
def gan_digits(n: int) -> Tensor:
    """Digits of the bundled GAN."""
    model = pretrained.load("mnist-gan").model
    z = torch.randn(n, model.config.z, generator=torch.Generator().manual_seed(DIGITS_SEED))
    return torch.cat([model(part) for part in z.split(250)])


def digits(n: int) -> dict[str, Callable[[], Tensor]]:
    """The models of digits, each as a function that makes n of them."""
    y = torch.arange(n) % 10

    def ddpm(**options) -> Tensor:
        return mnist_ddpm.sample(pretrained.load("mnist-ddpm").model, y, seed=DIGITS_SEED, **options)

    def again() -> Tensor:
        return reconstructed(pretrained.load("mnist-autoencoder").model, data.load("mnist", "test")["x"][-n:])

    return {
        "mnist-gan": lambda: gan_digits(n),
        "mnist-ddpm, guidance 2, 25 steps": ddpm,
        "mnist-ddpm, no guidance, 50 steps": lambda: ddpm(scale=1, steps=50),
        "mnist-autoencoder": again,
    }


def scenes(n: int) -> dict[str, Callable[[], Tensor]]:
    """The models of scenes, each as a function that makes n pictures of the same unseen scenes."""
    known = captioned(n, "unseen", size=64, seed=SCENES_SEED)

    def upscaled() -> Tensor:
        model, low = pretrained.load("shapes-upscaler").model, data.downsample(known.x, shapes_upscaler.FACTOR)
        return shapes_upscaler.upscale(model, low, seed=SEED, faithful=True)

    return {
        "stable-diffusion": lambda: stable_diffusion.paint(StableDiffusion.from_pretrained())(known.scenes),
        "shapes-upscaler": upscaled,
        "shapes-autoencoder": lambda: reconstructed(pretrained.load("shapes-autoencoder").model, known.x),
    }


def row(a: Tensor, b: Tensor, floor: Tensor, extractor: evaluation.FeatureExtractor, halves: int = 20) -> dict:
    """Value, interval and floor of each metric of one set of pictures.

    Args:
        a: the reference. b: what is judged. floor: more real pictures.
        extractor: of the features. halves: for the intervals.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say about the number of pictures stands on the page
        report = evaluation.evaluate(a, b, extractor, METRICS, floor=floor, seed=SEED, halves=halves)
    found = {"n": len(b), "extractor": extractor.name, "preprocessing": extractor.preprocessing}
    for result in report.results:
        found[result.metric] = {"value": result.value, "interval": list(result.interval), "floor": result.floor}
    return found


def alignment(x: Tensor, n: int) -> dict:
    """Share of pictures in which the reader finds all that the scene states, with its interval and its floor."""
    known = captioned(n, "unseen", size=64, seed=SCENES_SEED)
    right = agreement(known.scenes, read(x))["all"]
    ends = share(right.tolist(), known.scenes)
    return {"value": right.double().mean().item(), "interval": list(ends), "floor": _true_right(n)}


@functools.cache
def _true_right(n: int) -> float:
    known = captioned(n, "unseen", size=64, seed=SCENES_SEED)
    return agreement(known.scenes, read(known.x))["all"].double().mean().item()


def board(name: str, n: int = N, work: Path = WORK, halves: int = 20) -> dict[str, dict]:
    """All rows of one board.

    Args:
        name: "digits" or "scenes". n: pictures of each set.
        work: folder of finished rows. halves: for the intervals.
    """
    if name == "digits":
        extractor = evaluation.load_extractor("mnist-classifier")
        a, floor = data.load("mnist", "test")["x"][:n], data.load("mnist", "train")["x"][:n]
        models = digits(n)
    else:
        extractor = evaluation.load_extractor("shapes-classifier")
        a, floor = (captioned(n, "unseen", size=64, seed=SCENES_SEED + k).x for k in (1, 2))
        models = scenes(n)

    def measured(make: Callable[[], Tensor]) -> dict:
        x = make().cpu()
        found = row(a, x, floor, extractor, halves)
        return found | ({"all_right": alignment(x, n)} if name == "scenes" else {})

    paths = {model: work / f"{slug(model)}_{n}.json" for model in models}
    return {model: kept(paths[model], lambda make=make: measured(make)) for model, make in models.items()}


def report(name: str, rows: dict[str, dict]) -> None:
    """Writes one result for each row: of each metric the value, both ends of its interval, and its floor."""
    for model, found in rows.items():
        value = {}
        for metric, one in found.items():
            if isinstance(one, dict):
                low, high = one["interval"]
                value |= {metric: one["value"], f"{metric} low": low, f"{metric} high": high}
                value |= {f"{metric} floor": one["floor"]}
        record(
            f"07_board_{name}_{slug(model)}", value, seed=SEED, source="recipe leaderboard", figure=model,
            note=f"N = {found['n']:,} and as many real ones; features of {found['extractor']}; "
            f"{found['preprocessing']}",
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("digits", "scenes"), help="one board")
    args = parser.parse_args()
    os.environ["MINIDIFF_RECORD"] = "1"
    for name in ("digits", "scenes"):
        if args.only in (None, name):
            report(name, board(name))


if __name__ == "__main__":
    main()
