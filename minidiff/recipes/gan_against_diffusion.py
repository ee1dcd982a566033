"""Claim 1 on real digits: the GAN of lesson 01 against the diffusion model of lesson 03, trained equally long.

    python -m minidiff.recipes.gan_against_diffusion

Both models get the steps that fit into the same seconds of processor time on one thread, without labels in the GAN and
with balanced, unguided labels in the diffusion model. Five seeds; each seed's row is kept under build/recipes, so that
an interrupted run goes on where it stopped. Writes the results 01_against_diffusion, one beside it for each part of the
claim, and 01_bundled_gan_and_diffusion; `--again` writes them anew without training.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import nn

from minidiff import data, pretrained
from minidiff.models.gan import Discriminator, Generator
from minidiff.models.unet import UNet
from minidiff.objectives import DiffusionLoss
from minidiff.recipes import mnist_ddpm, mnist_gan
from minidiff.recipes.gan_measures import measure
from minidiff.recipes.results import find, record
from minidiff.training import fit
from minidiff.training.checkpoint import write_atomic

WORK = Path("build/recipes")
SEEDS, SECONDS, N, DDIM_STEPS = (0, 1, 2, 3, 4), 90.0, 2000, 20
BATCH, LR, EMA_DECAY = 32, 2e-3, 0.99  # of the diffusion model: so short a run wants many small steps, as the GAN's
TRIAL = 15  # steps that tell what a step costs
CLEARLY = 6.39  # 95 % point of the ratio of two variances, each of five seeds (F with 4 and 4 degrees of freedom)
DISTANCE = "frechet_distance_in_classifier_features"
FIGURES = ("precision", "recall", "density", "coverage", DISTANCE)
ALL, BUNDLED, SOURCE = "01_against_diffusion", "01_bundled_gan_and_diffusion", "recipe gan_against_diffusion"
PARTS = {"faithful": ("precision", "density"), "covers_less": ("recall", "coverage"), "unstable": (DISTANCE,)}
DELTA = "spread of logs taken as spread over mean (delta method), since the seeds' own distances were not kept"


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
    out[DISTANCE] |= {f"{name}, spread of logs": stdev(math.log(r[DISTANCE]) for r in rows[name]) for name in rows}
    return out


def lead(values: dict[str, float], seeds: int) -> float:
    """How far the GAN's mean lies above the diffusion model's, in standard errors of the difference.

    >>> lead({"gan": 0.5, "gan, spread": 0.06, "diffusion": 0.4, "diffusion, spread": 0.08}, 4)
    2.0
    """
    error = ((values["gan, spread"] ** 2 + values["diffusion, spread"] ** 2) / seeds) ** 0.5
    return round((values["gan"] - values["diffusion"]) / max(error, 1e-12), 9)


def instability(distance: dict[str, float]) -> float:
    """The variance over seeds of the GAN's log distance, over that of the diffusion model's.

    Logs, since the two means differ: a spread of one says little beside a mean of forty, and much beside one of two.

    >>> instability({"gan, spread of logs": 0.3, "diffusion, spread of logs": 0.1})
    9.0
    """
    ratio = distance["gan, spread of logs"] / max(distance["diffusion, spread of logs"], 1e-12)
    return round(ratio**2, 9)


def verdicts(found: dict[str, dict[str, float]], seeds: int) -> dict[str, bool | None]:
    """What the figures say of each part of the claim; None where neither side is clear, as with a single seed.

    Args:
        found: what `summary` returns.
        seeds: of each model.

    Returns:
        `faithful` and `covers_less`: whether the GAN is ahead in precision and density, and behind in recall and
        coverage, by more than two standard errors in each. `unstable`: whether its log distances vary more than the
        diffusion model's, by more than two samples of five from one Gaussian do in 95 cases of 100.
    """
    if seeds < 2:
        return dict.fromkeys(PARTS)
    leads = {figure: lead(values, seeds) for figure, values in found.items()}
    ratio = instability(found[DISTANCE])
    return {
        "faithful": _clear([leads[f] for f in PARTS["faithful"]], 2),
        "covers_less": _clear([-leads[f] for f in PARTS["covers_less"]], 2),
        "unstable": _clear([math.log(max(ratio, 1e-12))], math.log(CLEARLY)),
    }


def _clear(leads: list[float], limit: float) -> bool | None:
    """True where every lead is above the limit, False where every one is as far on the other side, else None."""
    return True if min(leads) > limit else False if max(leads) < -limit else None


def conditions() -> dict[str, float]:
    """What the duel's figures depend on besides steps and seconds, for each model.

    Returns:
        Pictures a step; parameters trained, those of a GAN's discriminator among them; parameters of the network that
        draws; passes through it for a picture.
    """
    with torch.device("meta"):  # only counted
        generator, critic = Generator(mnist_gan.LIVE.generator), Discriminator(mnist_gan.LIVE.critic)
        unet = UNet(mnist_ddpm.CONFIG)
    return {
        "gan batch": mnist_gan.LIVE.batch, "diffusion batch": BATCH,
        "gan trained parameters": parameters(generator) + parameters(critic),
        "diffusion trained parameters": parameters(unet),
        "gan drawing parameters": parameters(generator), "diffusion drawing parameters": parameters(unet),
        "gan passes a picture": 1, "diffusion passes a picture": DDIM_STEPS,
    }  # fmt: skip


def parameters(model: nn.Module) -> int:
    """How many numbers of a model are trained."""
    return sum(p.numel() for p in model.parameters())


def report(rows: dict[str, list[dict]], seeds: tuple[int, ...], seconds: float, n: int) -> None:
    """Writes the result 01_against_diffusion with all figures, and one beside it for each part of the claim."""
    value = {f"{name} {figure}": v for figure, values in summary(rows).items() for name, v in values.items()}
    for name, some in rows.items():
        value |= {f"{name} {what}": mean(r[what] for r in some) for what in ("steps", "seconds")}
        value |= {f"{name} {f}, seed {seed}": r[f] for f in FIGURES for seed, r in zip(seeds, some, strict=True)}
    write({**value, **conditions(), "seconds allowed": seconds, "samples": n}, seeds)


def again() -> None:
    """Writes what `report` writes from the figures in 01_against_diffusion: a new reading, no training.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if (stored := find(ALL)) is None:
        raise FileNotFoundError(f"results have no {ALL}.json; run the recipe without --again first")
    value = {**conditions(), "seconds allowed": SECONDS, "samples": N, **stored["value"]}
    logs = {f"{p}, spread of logs {DISTANCE}": value[f"{p}, spread {DISTANCE}"] / value[f"{p} {DISTANCE}"]
            for p in PLAYERS}  # fmt: skip
    kept = DELTA not in stored["note"] and logs.keys() <= value.keys()
    write(value if kept else value | logs, stored["provenance"]["seed"], "" if kept else f"; {DELTA}", stored)


def write(value: dict[str, float], seeds: Sequence[int], remark: str = "", measured: Mapping | None = None) -> None:
    """Writes all figures, and those of each part of the claim with what they say of it.

    Args:
        value: as in the result 01_against_diffusion.
        seeds: of the trainings.
        remark: what else is to be said of the spread of logs.
        measured: the earlier record, if the figures are not new.
    """
    found = {f: {k.removesuffix(f" {f}"): v for k, v in value.items() if k.endswith(f" {f}")} for f in FIGURES}
    said, note = verdicts(found, len(seeds)), about(value, len(seeds))
    for part, figures in PARTS.items():
        spread = "; ".join(f"spread of {f}: {_both(found[f], 'spread')}" for f in figures)
        if part == "unstable":
            spread += f", of its log: {_both(found[DISTANCE], 'spread of logs')}, variances as "
            spread += f"{instability(found[DISTANCE]):.3g} to 1; clear above {CLEARLY} and below {1 / CLEARLY:.3g}"
            spread += remark
        tested = (*PLAYERS, *(f"{p}, spread of logs" for p in PLAYERS)) if part == "unstable" else PLAYERS
        name, means = f"{ALL}_{part}", {f"{k} {f}": found[f][k] for f in figures for k in tested}
        record(
            name, means, source=SOURCE, seed=seeds, claim=1, holds=said[part], measured=measured and find(name),
            note=f"{part.replace('_', ' ')}, against diffusion: {note}; {spread}",
        )  # fmt: skip
    record(ALL, value, source=SOURCE, seed=seeds, note=note + remark, measured=measured)
    report_bundled()


def _both(values: dict[str, float], what: str) -> str:
    return " and ".join(f"{values[f'{name}, {what}']:.3g}" for name in PLAYERS)


def about(value: dict[str, float], seeds: int) -> str:
    """What must be known to read the duel's figures, in one line."""
    spent = ", ".join(f"{p} {value[f'{p} steps']:g} in {value[f'{p} seconds']:.0f} s" for p in PLAYERS)
    drawn = " and ".join(f"{p} in {value[f'{p} passes a picture']:g}" for p in PLAYERS)
    return (
        f"steps that a trial said fit into {value['seconds allowed']:g} s of processor time on one thread ({spent}); "
        f"mean of {seeds} seeds; {value['samples']:,.0f} samples, passes for each: {drawn} (DDIM); cures in the GAN: "
        f"{mnist_gan.cures(mnist_gan.LIVE)}; longer trainings: {BUNDLED}"
    )


def report_bundled() -> None:
    """Writes how the two bundled models compare, from their cards: one run each, which leaves the claim open."""
    names, value = (mnist_gan.NAME, mnist_ddpm.NAME), bundled()
    cards = [pretrained.load(name).card for name in names]
    trained = ", ".join(f"{name} on {card['hardware']}" for name, card in zip(names, cards, strict=True))
    note = f"long training: one run each, so no spread over seeds; from the cards of {' and '.join(names)} (unguided); "
    note += f"{cards[0]['metrics']['n']:,} samples; seconds are wall-clock time, {trained}"
    missing = [f for f in FIGURES if not all(f"{player} {f}" in value for player in PLAYERS)]
    note += f"; not in both cards: {', '.join(missing)}" if missing else ""
    holds = verdicts({}, seeds=1)["covers_less"]
    record(BUNDLED, value, source=SOURCE, seed=mnist_gan.SEED, claim=1, holds=holds, note=note)


def bundled() -> dict[str, float]:
    """What the cards of both bundled models say of their samples, and how long they trained; only what is in them."""
    made = {"gan": pretrained.load(mnist_gan.NAME), "diffusion": pretrained.load(mnist_ddpm.NAME)}
    metrics = {name: one.card["metrics"] for name, one in made.items()}
    figures = {"gan": metrics["gan"], "diffusion": metrics["diffusion"]["unguided"], "real": metrics["gan"]["real"]}
    found = {f"{name} {f}": some[f] for f in FIGURES for name, some in figures.items() if f in some}
    for name, one in made.items():
        found |= {f"{name} images seen": one.card["images_seen"], f"{name} seconds": one.card["training_seconds"]}
        found[f"{name} drawing parameters"] = parameters(one.model)
    return found | {"gan passes a picture": 1, "diffusion passes a picture": metrics["diffusion"]["unguided_steps"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PLAYERS, help="train and keep one model's rows; write no results")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="with --only: these seeds alone")
    parser.add_argument("--again", action="store_true", help="read the stored figures anew; train nothing")
    args = parser.parse_args()
    if args.again:
        os.environ["MINIDIFF_RECORD"] = "1"
        return again()
    rows = {name: [row(name, seed) for seed in args.seeds] for name in ([args.only] if args.only else PLAYERS)}
    if not args.only:
        os.environ["MINIDIFF_RECORD"] = "1"
        report(rows, SEEDS, SECONDS, N)


if __name__ == "__main__":
    main()
