"""Claim 1 on real digits: the GAN of lesson 01 against the diffusion model of lesson 03, trained equally long.

    python -m minidiff.recipes.gan_against_diffusion

Both models train for the same seconds of processor time on one thread, without labels in the GAN and with balanced,
unguided labels in the diffusion model. Five seeds; each seed's row is kept under build/recipes, so that an interrupted
run goes on where it stopped. Writes results/01_gan_against_diffusion.json and its companions.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import torch

from minidiff import data, pretrained
from minidiff.models.unet import UNet
from minidiff.objectives import DiffusionLoss
from minidiff.recipes import mnist_ddpm, mnist_gan
from minidiff.recipes.gan_measures import measure
from minidiff.recipes.results import record
from minidiff.training import fit
from minidiff.training.checkpoint import write_atomic

WORK = Path("build/recipes")
SEEDS, SECONDS, N, DDIM_STEPS = (0, 1, 2, 3, 4), 90.0, 2000, 20
BATCH, LR, EMA_DECAY = 32, 2e-3, 0.99  # of the diffusion model: so short a run wants many small steps, as the GAN's
TRIAL = 15  # steps that tell what a step costs
CLEARLY = 6.39  # 95 % point of the ratio of two variances, each of five seeds (F with 4 and 4 degrees of freedom)
FIGURES = ("precision", "recall", "density", "coverage", "frechet_distance_in_classifier_features")


def gan(steps: int, seed: int) -> tuple[Callable[[int], torch.Tensor], float]:
    """Trains the lesson's GAN; returns (n -> [n,1,32,32], seconds of processor time)."""
    made = mnist_gan.live(steps, seed, progress=False)
    return lambda n: mnist_gan.sample(made.generator, n, seed=mnist_gan.SAMPLES), made.seconds


def diffusion(steps: int, seed: int) -> tuple[Callable[[int], torch.Tensor], float]:
    """Trains lesson 03's diffusion model; returns (n -> [n,1,32,32], seconds of processor time)."""
    torch.manual_seed(seed)
    model = UNet(mnist_ddpm.CONFIG).to(memory_format=torch.channels_last)
    loader = data.Batches(data.load("mnist", "train"), BATCH, seed=seed)
    loss = DiffusionLoss(mnist_ddpm.SCHEDULE, prepare=data.drop_condition({"y": torch.tensor(10)}, mnist_ddpm.DROP))
    began = time.process_time()
    warmup = max(1, steps // 10)
    ema, _ = fit(model, loss, loader, steps, lr=LR, warmup=warmup, ema_decay=EMA_DECAY, seed=seed, progress=False)
    seconds = time.process_time() - began

    def draw(n: int) -> torch.Tensor:
        y = torch.arange(n) % 10
        return mnist_ddpm.sample(ema.model, y, scale=1, steps=DDIM_STEPS, seed=mnist_ddpm.SEEDS)

    return draw, seconds


PLAYERS = {"gan": gan, "diffusion": diffusion}


def steps_for(name: str, seconds: float, work: Path) -> int:
    """How many steps of a model fit into so many seconds of processor time; measured once, then read from `work`."""
    path = work / f"gan_against_diffusion_{name}_{seconds:g}_steps.json"
    if not path.exists():
        PLAYERS[name](TRIAL, 0)  # pays for imports and for memory
        cost = PLAYERS[name](TRIAL, 0)[1] / TRIAL
        write_atomic(path, json.dumps({"steps": max(1, int(seconds / cost)), "cost": cost}).encode())
    return json.loads(path.read_text("utf-8"))["steps"]


def row(name: str, seed: int, seconds: float = SECONDS, n: int = N, work: Path = WORK) -> dict:
    """One model trained and measured, or read back from `work` if that was done before."""
    path = work / f"gan_against_diffusion_{name}_{seconds:g}_{n}_{seed}.json"
    if not path.exists():
        steps = steps_for(name, seconds, work)
        draw, spent = PLAYERS[name](steps, seed)
        found = {"steps": steps, "seconds": spent, **measure(draw(n), n)}
        write_atomic(path, json.dumps(found).encode())
    return json.loads(path.read_text("utf-8"))


def summary(rows: dict[str, list[dict]]) -> dict[str, dict[str, float]]:
    """For each figure the mean and the spread (standard deviation over seeds) of both models, and their floor."""
    out = {}
    for figure in FIGURES:
        found = {name: [r[figure] for r in some] for name, some in rows.items()}
        out[figure] = {name: mean(values) for name, values in found.items()}
        out[figure] |= {f"{name}, spread": stdev(values) for name, values in found.items()}
        out[figure]["floor"] = rows["gan"][0]["real"][figure]
    return out


def lead(values: dict[str, float], seeds: int) -> float:
    """How far the GAN's mean lies above the diffusion model's, in standard errors of the difference.

    >>> lead({"gan": 0.5, "gan, spread": 0.06, "diffusion": 0.4, "diffusion, spread": 0.08}, 4)
    2.0
    """
    error = ((values["gan, spread"] ** 2 + values["diffusion, spread"] ** 2) / seeds) ** 0.5
    return round((values["gan"] - values["diffusion"]) / max(error, 1e-12), 9)


def verdicts(found: dict[str, dict[str, float]], seeds: int) -> dict[str, bool]:
    """What the figures say of each part of the claim; "clearly" means by more than two standard errors."""
    leads = {figure: lead(values, seeds) for figure, values in found.items()}
    distance = found["frechet_distance_in_classifier_features"]
    return {
        "faithful": leads["precision"] > -2 and leads["density"] > -2,  # not clearly less so than diffusion
        "covers_less": leads["recall"] < -2 and leads["coverage"] < -2,
        "unstable": distance["gan, spread"] ** 2 > CLEARLY * distance["diffusion, spread"] ** 2,
    }


def report(rows: dict[str, list[dict]], seeds: tuple[int, ...], seconds: float, n: int) -> None:
    """Writes `results/01_against_diffusion.json` with all figures, and one beside it for each part of the claim."""
    found, steps = summary(rows), {name: mean(r["steps"] for r in some) for name, some in rows.items()}
    said = verdicts(found, len(seeds))
    about = f"{seconds:g} s of processor time on one thread for each training ("
    about += ", ".join(f"{name} {count:g} steps" for name, count in steps.items())
    about += f"), {n:,} samples, mean of {len(seeds)} seeds; longer trainings: 01_bundled_gan_and_diffusion"
    parts = {
        "faithful": {k: found[k] for k in ("precision", "density")},
        "covers_less": {k: found[k] for k in ("recall", "coverage")},
        "unstable": {FIGURES[-1]: found[FIGURES[-1]]},
    }
    for part, figures in parts.items():
        value = {f"{name} {figure}": v[name] for figure, v in figures.items() for name in PLAYERS}
        spread = "; ".join(f"spread of {k}: " + " and ".join(f"{v[f'{p}, spread']:.3g}" for p in PLAYERS)
                           for k, v in figures.items())  # fmt: skip
        record(
            f"01_against_diffusion_{part}", value, source="recipe gan_against_diffusion", seed=seeds, claim=1,
            holds=said[part], note=f"{part.replace('_', ' ')}: {about}; {spread}",
        )  # fmt: skip
    every = {f"{name} {figure}": v[name] for figure, v in found.items() for name in v}
    every |= {f"{name} steps": v for name, v in steps.items()}
    every |= {f"{name} seconds": mean(r["seconds"] for r in some) for name, some in rows.items()}
    record("01_against_diffusion", every, source="recipe gan_against_diffusion", seed=seeds, note=about)
    report_bundled()


def report_bundled() -> None:
    """Writes how the two bundled models compare, from their cards."""
    names = (mnist_gan.NAME, mnist_ddpm.NAME)
    trained = ", ".join(f"{name} on {pretrained.load(name).card['hardware']}" for name in names)
    record(
        "01_bundled_gan_and_diffusion", bundled(), source="recipe gan_against_diffusion", seed=mnist_gan.SEED,
        note="one long training each, from the cards of mnist-gan and mnist-ddpm (unguided); 10,000 samples; seconds "
        f"are wall-clock time, {trained}",
    )  # fmt: skip


def bundled() -> dict[str, float]:
    """What the cards of both bundled models say of their samples, and how long they trained."""
    cards = {"gan": pretrained.load(mnist_gan.NAME).card, "diffusion": pretrained.load(mnist_ddpm.NAME).card}
    figures = {"gan": cards["gan"]["metrics"], "diffusion": cards["diffusion"]["metrics"]["unguided"]}
    shared = ("precision", "recall", FIGURES[-1])
    found = {f"{name} {figure}": figures[name][figure] for figure in shared for name in PLAYERS}
    found |= {f"real {figure}": cards["gan"]["metrics"]["real"][figure] for figure in shared}
    for name, card in cards.items():
        found |= {f"{name} images seen": card["images_seen"], f"{name} seconds": card["training_seconds"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PLAYERS, help="train and keep one model's rows; write no results")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="with --only: these seeds alone")
    args = parser.parse_args()
    rows = {name: [row(name, seed) for seed in args.seeds] for name in ([args.only] if args.only else PLAYERS)}
    if not args.only:
        os.environ["MINIDIFF_RECORD"] = "1"
        report(rows, SEEDS, SECONDS, N)


if __name__ == "__main__":
    main()
