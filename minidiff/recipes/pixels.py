"""FCN against U-Net, and what lies between: the grid of lesson 04, several seeds of each network on three tasks.

    python -m minidiff.recipes.pixels             every run that is missing, then the tables
    python -m minidiff.recipes.pixels scenes      those of one task
    python -m minidiff.recipes.pixels lengths     FCN and U-Net on scenes, after fewer steps too

Each run leaves a row in build/recipes/pixels, so that an interrupted sweep goes on. Each network has its own learning
rate, chosen from one grid by shorter runs on validation pictures.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from minidiff import data
from minidiff.data.shapes import SHAPES, masks, render, scatter
from minidiff.diffusion import Schedule
from minidiff.metrics import boundary_f_score, mean_iou
from minidiff.metrics.segmentation import boundary, near
from minidiff.models.fcn import Decoder, PixelConfig, PixelNet, Skip, matched, parameters
from minidiff.objectives import ClassifierLoss, DiffusionLoss
from minidiff.recipes import pixel_gains
from minidiff.recipes.provenance import hardware
from minidiff.recipes.results import record
from minidiff.training import fit
from minidiff.training.checkpoint import write_atomic

WORK = Path("build/recipes/pixels")
SIZE, WIDTH, SEEDS = 32, 12, (0, 1, 2)
RATES, CHOOSING, SHARE = (3e-3, 1e-2, 3e-2), 100, 0.35  # learning rates; seed and length of the runs that choose one
SCHEDULE = Schedule.linear(1000)
LEVELS = (20, 100, 200, 400, 700)  # where denoising is measured
FCN, UNET = ("sum", "deconvolution"), ("concatenate", "symmetric")
# What the sweep chose; a test holds it against results/.
BEST = {
    "scenes": {FCN: 1e-2, UNET: 1e-2},
    "digits": {FCN: 3e-3, UNET: 1e-2},
    "denoising": {FCN: 1e-2, UNET: 3e-2},
}
GRID = [(skip, decoder) for decoder in get_args(Decoder) for skip in get_args(Skip)]


@dataclass(frozen=True)
class Task:
    """One thing to be told of every pixel.

    Attributes:
        base: the network that the others are matched to, but for its skips and decoder.
        load: split ("train", "validation", "test") -> a batch of everything.
        loss: what trains.
        measure: (model, batch) -> numbers; the first is the one by which learning rates are chosen.
        better: +1 if more of that number is better, else -1.
        grid: the networks that run.
        batch: pictures a step. Small ones: at this size it is the number of steps that counts.
        steps: of a run.
    """

    base: PixelConfig
    load: Callable[[str], dict[str, Tensor]]
    loss: ClassifierLoss | DiffusionLoss
    measure: Callable[[PixelNet, dict[str, Tensor]], dict[str, float]]
    better: int
    grid: tuple[tuple[str, str], ...]
    batch: int
    steps: int


@cache
def scenes(split: str, n: int | None = None) -> dict[str, Tensor]:
    """Overlapping shapes on mottled ground, [N,3,32,32], and which shape each pixel shows, [N,32,32], 0 for none.

    Args:
        split: "train", "validation" or "test": other scenes.
        n: how many; None is the sweep's number.
    """
    usual, seed = {"train": (12_800, 1), "validation": (1000, 2), "test": (2000, 4)}[split]
    drawn = scatter(n or usual, seed=seed)
    return {"x": render(drawn, SIZE), "labels": masks(drawn, SIZE)[0]}


def digits_of(batch: dict[str, Tensor], n: int, seed: int) -> dict[str, Tensor]:
    """The first `n` digits of a labelled set, on clutter."""
    return data.cluttered(batch["x"][:n], batch["y"][:n], seed=seed)


@cache
def digits(split: str) -> dict[str, Tensor]:
    """MNIST on clutter, and which digit each pixel belongs to; validation pictures are the last training digits."""
    found = data.load("mnist", "test" if split == "test" else "train")
    part = {"train": slice(0, 12_800), "validation": slice(-1000, None), "test": slice(0, 2000)}[split]
    return data.cluttered(found["x"][part], found["y"][part], seed={"train": 1, "validation": 2, "test": 3}[split])


def clean_digits(split: str) -> dict[str, Tensor]:
    """MNIST without labels, for denoising."""
    found = data.load("mnist", "test" if split == "test" else "train")
    part = {"train": slice(0, 50_000), "validation": slice(-500, None), "test": slice(0, 1000)}[split]
    return {"x": found["x"][part]}


@torch.no_grad()
def labels_of(model: PixelNet, x: Tensor) -> Tensor:
    """The likeliest label of each pixel, [N,H,W]."""
    return torch.cat([model(part).argmax(1) for part in x.split(250)])


def measure_labels(model: PixelNet, batch: dict[str, Tensor]) -> dict[str, float]:
    """Mean IoU, boundary F-score (1 pixel), and the share of pixels right near boundaries and far from them."""
    said, true = labels_of(model, batch["x"]), batch["labels"]
    edge = near(boundary(true), 1)
    right = said == true
    return {
        "iou": mean_iou(said, true, model.config.outputs),
        "boundary_f": boundary_f_score(said, true),
        "right_at_edges": right[edge].double().mean().item(),
        "right_inside": right[~edge].double().mean().item(),
    }


@torch.no_grad()
def measure_denoising(model: PixelNet, batch: dict[str, Tensor]) -> dict[str, float]:
    """Mean squared error of eps, averaged over `LEVELS`, and at each of them; the noise is the same for every model."""
    x0, loss = batch["x"], DiffusionLoss(SCHEDULE)
    rng, errors = torch.Generator().manual_seed(0), {}
    for level in LEVELS:
        eps = torch.randn(x0.shape, generator=rng).to(x0)
        t = torch.full((len(x0),), level, device=x0.device)
        parts = zip(x0.split(250), t.split(250), eps.split(250), strict=True)
        errors[f"t{level}"] = torch.cat([loss.terms(model, *part)["loss"] for part in parts]).double().mean().item()
    return {"mse": statistics.mean(errors.values()), **errors}


NAMES = ClassifierLoss(labels="labels")
_LABELS = PixelConfig(inputs=3, outputs=len(SHAPES) + 1, width=WIDTH)
TASKS = {
    "scenes": Task(_LABELS, scenes, NAMES, measure_labels, 1, tuple(GRID), 8, 4800),
    "digits": Task(
        replace(_LABELS, inputs=1, outputs=11), digits, NAMES, measure_labels, 1, (FCN, UNET), 8, 4800
    ),
    "denoising": Task(
        replace(_LABELS, inputs=1, outputs=1, levels=True), clean_digits, DiffusionLoss(SCHEDULE), measure_denoising,
        -1, tuple(GRID), 16, 700,
    ),
}  # fmt: skip


def config(task: Task, skip: str, decoder: str) -> PixelConfig:
    """The network of one cell of the grid, with about as many parameters as the U-Net."""
    return matched(replace(task.base, skip=skip, decoder=decoder), parameters(task.base))


def train(
    task: Task, shape: PixelConfig, lr: float, steps: int, seed: int, *, batch: dict[str, Tensor] | None = None,
    label: str = "", progress: bool = False,
) -> PixelNet:  # fmt: skip
    """Trains one network on `batch` (by default the task's training set); lesson 04's live part too."""
    torch.manual_seed(seed)
    model = PixelNet(shape).to(memory_format=torch.channels_last)
    loader = data.Batches(task.load("train") if batch is None else batch, task.batch, seed=seed)
    return fit(
        model, task.loss, loader, steps, lr=lr, warmup=50, ema_decay=0.99, seed=seed, precision="no", progress=progress,
        label=label,
    ).ema.model  # fmt: skip


def row(name: str, skip: str, decoder: str, lr: float, steps: int, seed: int, split: str) -> dict:
    """Trains and measures one network, or reads what an earlier call found."""
    task = TASKS[name]
    path = WORK / f"{name}-{task.batch}-{task.base.width}-{skip}-{decoder}-{lr:g}-{steps}-{seed}-{split}.json"
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    shape, began = config(task, skip, decoder), time.process_time()
    model = train(task, shape, lr, steps, seed)
    batch = {k: v.to(next(model.parameters()).device) for k, v in task.load(split).items()}
    found = {"lr": lr, "width": shape.width, "parameters": parameters(shape), **task.measure(model, batch)}
    found |= {"seconds": time.process_time() - began, "hardware": hardware()}
    write_atomic(path, json.dumps(found).encode())
    print(path.stem, {k: round(v, 4) for k, v in found.items() if k != "hardware"}, flush=True)
    return found


def chosen_rate(name: str, skip: str, decoder: str) -> float:
    """The learning rate with the best figure on validation pictures."""
    task = TASKS[name]
    steps = round(SHARE * task.steps)
    rows = [row(name, skip, decoder, lr, steps, CHOOSING, "validation") for lr in RATES]
    first = figures(rows[0])[0]
    return max(rows, key=lambda r: task.better * r[first])["lr"]


def searched_on(name: str) -> set[str]:
    """What a task's learning rates were chosen on; a sweep may have been continued on another machine."""
    task = TASKS[name]
    steps, cells = round(SHARE * task.steps), [(cell, lr) for cell in task.grid for lr in RATES]
    return {row(name, *cell, lr, steps, CHOOSING, "validation")["hardware"] for cell, lr in cells}


def figures(row: dict) -> list[str]:
    """The names of what was measured, the one by which rates are chosen first."""
    return [k for k in row if k not in ("lr", "width", "parameters", "seconds", "hardware")]


def sweep(name: str) -> dict[tuple[str, str], list[dict]]:
    """All runs of a task: network -> one row of test figures for each seed."""
    found = {}
    for skip, decoder in TASKS[name].grid:
        lr = chosen_rate(name, skip, decoder)
        found[skip, decoder] = [row(name, skip, decoder, lr, TASKS[name].steps, seed, "test") for seed in SEEDS]
    return found


def interval(values: list[float]) -> tuple[float, float]:
    """A 95 % interval of the mean of a few runs (Student's t)."""
    from scipy.stats import t

    mean = statistics.mean(values)
    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return mean - half, mean + half


def lengths(numbers: tuple[int, ...] = (1200, 4800)) -> None:
    """Trains FCN and U-Net on scenes for several numbers of steps, one seed; writes a result of its own."""
    value = {}
    for name, cell in (("FCN", FCN), ("U-Net", UNET)):
        rate = chosen_rate("scenes", *cell)
        value |= {f"{name} {steps}": row("scenes", *cell, rate, steps, SEEDS[0], "test")["iou"] for steps in numbers}
    record(
        "04_scenes_lengths", value, source="recipe pixels", seed=SEEDS[0], images=numbers[-1] * TASKS["scenes"].batch,
        note="mean IoU after so many steps, each a run of its own; one seed",
    )  # fmt: skip


def main(names: list[str]) -> None:
    """Runs what is missing and writes results."""
    os.environ["MINIDIFF_RECORD"] = "1"
    for name in names or [*TASKS, "lengths"]:
        lengths() if name == "lengths" else write(name, sweep(name), searched_on(name))


def write(name: str, found: dict[tuple[str, str], list[dict]], searched: set[str]) -> None:
    """Writes the grid of each figure and its gains, learning rates and sizes, and the U-Net's lead in the first figure.

    Args:
        name: of the task.
        found: network -> a row for each seed.
        searched: the machines on which learning rates were chosen.
    """
    measured = figures(found[FCN][0])
    images = TASKS[name].steps * TASKS[name].batch
    kept = {"source": "recipe pixels", "seed": list(SEEDS), "images": images, "figure": "The grid"}
    rates = {"-".join(cell): rows[0]["lr"] for cell, rows in found.items()}
    about = f"best on validation pictures after {round(SHARE * TASKS[name].steps)} steps; a tie takes the smaller"
    about += f"; searched on {', '.join(sorted(searched))}"
    record(f"04_{name}_learning_rate", rates, source="recipe pixels", seed=CHOOSING, note=about)
    sizes = {"-".join(cell): rows[0]["parameters"] for cell, rows in found.items()}
    record(f"04_{name}_parameters", sizes, source="recipe pixels")
    for figure in measured:
        runs = {"-".join(cell): [r[figure] for r in rows] for cell, rows in found.items()}
        value = {cell: statistics.mean(v) for cell, v in runs.items()}
        value |= {f"{cell}-{end}": edge for cell, v in runs.items() for end, edge in zip(("low", "high"), interval(v))}
        if TASKS[name].better > 0:  # shares: no interval leaves [0, 1]
            value = {cell: min(1.0, max(0.0, v)) for cell, v in value.items()}
        record(f"04_{name}_{figure}", value, note="means over seeds with 95 % intervals", **kept)
    first, better = measured[0], TASKS[name].better
    fcn, unet = ([r[first] for r in found[cell]] for cell in (FCN, UNET))
    leads = [better * (u - f) for f, u in zip(fcn, unet, strict=True)]
    value = {"U-Net": statistics.mean(unet), "FCN": statistics.mean(fcn), "U-Net ahead by": statistics.mean(leads)}
    note = f"{name}: {first.replace('mse', 'mean squared error of eps')} after {TASKS[name].steps} steps; "
    note += "interval: of the lead, over seeds"
    record(
        f"04_{name}_lead", value, interval=interval(leads), claim=13, holds=pixel_gains.verdict(*interval(leads)),
        note=note, **kept,
    )  # fmt: skip
    pixel_gains.write(name)


if __name__ == "__main__":
    main(sys.argv[1:])
