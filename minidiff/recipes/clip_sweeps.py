"""The sweeps of lesson 05: what contrastive learning depends on, one question at a time, three seeds each.

    python -m minidiff.recipes.clip_sweeps                 every run that is missing, then the tables
    python -m minidiff.recipes.clip_sweeps --part 2/8      the second of eight parts of the runs, no tables

Learning rates are chosen on validation scenes by runs of one epoch, a different seed. Writes the results of lesson 05.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Iterable
from dataclasses import replace

from minidiff.models.image_encoders import EfficientNetConfig, ViTConfig
from minidiff.models.text_encoders import CBOWConfig
from minidiff.recipes.clip_runs import POOL, SEEDS, SIZE, STYLES, WIDTH, Run, resnet, row, writer
from minidiff.recipes.pixels import interval
from minidiff.recipes.results import record

RATES, CHOOSING = (1e-3, 2e-3, 4e-3, 8e-3), 100  # learning rates; seed of the runs that choose one
BASE = Run()
BEST = 2e-3  # what the search chose for the base run; a test holds it against results/
SIZES = {
    "small": replace(BASE, image=resnet(10), text=writer(32)), "middle": BASE,
    "large": replace(BASE, image=resnet(38), text=writer(128)),
}  # fmt: skip
TOWERS = {
    "ResNet": BASE,
    "ViT": replace(BASE, image=ViTConfig(size=SIZE, patch=4, width=WIDTH, layers=3, heads=4)),
    "EfficientNet": replace(BASE, image=EfficientNetConfig(size=SIZE, scale=0.35, stages=5, stem=2, width=256)),
}
OBJECTIVES = {name: replace(BASE, objective=name) for name in ("contrastive", "words", "caption")}
LABELS = replace(BASE, objective="labels")
WIDE = writer(BASE.image.width)  # as wide as the image tower, so that no projection is needed


def search(run: Run) -> list[Run]:
    """One epoch at each learning rate."""
    return [replace(run, lr=lr, images=POOL, curve=False, seed=CHOOSING) for lr in RATES]


def chosen(run: Run) -> Run:
    """The run with the learning rate that is best on validation scenes after one epoch; a tie takes the smaller."""
    return replace(run, lr=max(search(run), key=lambda r: row(r, validation=True)["zero_shot"]).lr)


SEARCHED = {f"size {name}": run for name, run in SIZES.items()}
SEARCHED |= {f"tower {name}": run for name, run in TOWERS.items() if name != "ResNet"}
SEARCHED |= {f"objective {name}": run for name, run in OBJECTIVES.items() if name != "contrastive"}
SEARCHED |= {"objective labels": LABELS}


def questions() -> dict[str, dict[str, Run]]:
    """Question -> answer -> the run that gives it; learning rates are looked up, so the searches must have run.

    Every answer but those about rates has a rate from its own search, or the base run's where only data change.
    """
    base = chosen(BASE)

    def changed(**what) -> Run:
        return replace(base, **what)

    carried = chosen(SIZES["small"]).lr
    return {
        "batch": {
            str(n): changed(batch=n, lr=base.lr * (n / base.batch) ** 0.5) for n in (32, 128, 512)
        },  # the rate grows with the square root of the batch, so that no batch is at a disadvantage by it
        "image": {name: base if name == "ResNet" else chosen(run) for name, run in TOWERS.items()},
        "text": {"Transformer": base, "CBOW": changed(text=CBOWConfig(width=WIDTH))},
        "projection": {"linear": changed(text=WIDE), "none": changed(text=WIDE, dim=WIDE.width, projected=False)},
        "scale": {"learned": base, **{str(s): changed(scale=float(s)) for s in (5, 100)}},
        "noise": {str(share): changed(noise=share) for share in (0.0, 0.3, 0.6)},
        "pairs": {str(n): changed(pairs=n) for n in (1024, 4096, POOL)},
        "objective": {name: base if name == "contrastive" else chosen(run) for name, run in OBJECTIVES.items()},
        "supervised": {"contrastive": base, "labels": chosen(LABELS)},
        "size_carried": {name: replace(run, lr=carried) for name, run in SIZES.items()},
        "size_own": {name: chosen(run) for name, run in SIZES.items()},
    }


def part(items: Iterable, which: str) -> list:
    """The k-th of n parts, as in "2/8", every n-th item.

    >>> part(range(7), "2/3")
    [1, 4]
    """
    k, n = map(int, which.split("/"))
    if not 1 <= k <= n:
        raise ValueError(f"part must be K/N with K from 1 to N; got {which!r}")
    return list(items)[k - 1 :: n]


def searches() -> list[Run]:
    """All runs that choose a learning rate, each once."""
    return list(dict.fromkeys(run for searched in SEARCHED.values() for run in search(searched)))


def finals() -> list[Run]:
    """All runs behind the tables, each once; needs the searches' rows."""
    runs = [run for answers in questions().values() for run in answers.values()]
    return list(dict.fromkeys(replace(run, seed=seed) for seed in SEEDS for run in runs))


def rows(run: Run) -> list[dict]:
    """The rows of a run's seeds."""
    return [row(replace(run, seed=seed)) for seed in SEEDS]


def spread(answers: dict[str, Run], figure: Callable[[dict], float]) -> dict[str, float]:
    """Mean of a figure over seeds with its 95 % interval, for each answer; shares stay within [0, 1]."""
    value = {}
    for name, run in answers.items():
        found = [figure(r) for r in rows(run)]
        low, high = interval(found)
        value |= {name: statistics.mean(found), f"{name}-low": max(0.0, low), f"{name}-high": min(1.0, high)}
    return value


def images_to(row: dict, accuracy: float) -> float:
    """Images seen until validation accuracy first reached so much, by linear interpolation of the curve; else inf.

    >>> images_to({"curve": {"images": [100, 200], "zero_shot": [0.2, 0.6]}}, 0.4)
    150.0
    """
    last = (0.0, 0.0)
    for images, found in zip(row["curve"]["images"], row["curve"]["zero_shot"]):
        if found >= accuracy:
            share = (accuracy - last[1]) / (found - last[1])
            return last[0] + share * (images - last[0])
        last = (images, found)
    return float("inf")


def write() -> None:
    """Writes a result for each question and figure, from rows that are all there."""
    asked = questions()
    named = {"zero_shot": "zero_shot_plain", "held_out": "zero_shot_held_out", "digits_probe": "digits_probe"}
    for question, answers in asked.items():
        figures = named | ({} if question in ("objective", "supervised") else {"recall": "recall"})
        for name, figure in figures.items():
            keep(f"05_{question}_{name}", spread(answers, lambda r, figure=figure: r[figure]), answers)
    for style in STYLES[1:]:
        figure = f"zero_shot_{style}"
        keep(f"05_supervised_{style}", spread(asked["supervised"], lambda r, f=figure: r[f]), asked["supervised"])
    record(
        "05_learning_rates", {name: chosen(run).lr for name, run in SEARCHED.items()}, source="recipe clip_sweeps",
        seed=CHOOSING, images=POOL, note="best on validation scenes after one epoch; a tie takes the smaller",
    )  # fmt: skip
    sizes = {
        f"{question} {name}": row(run)["parameters"]
        for question in ("image", "text", "size_own") for name, run in asked[question].items()
    }  # fmt: skip
    record("05_parameters", sizes, source="recipe clip_sweeps", note="both towers, projections and temperature")
    write_efficiency(asked["objective"])
    write_verdicts(asked)


def ran_on(runs: Iterable[Run]) -> str:
    """What the runs were trained on, as their rows say."""
    return "trained on " + ", ".join(sorted({r["hardware"] for run in runs for r in rows(run)}))


def keep(name: str, value: dict[str, float], answers: dict[str, Run]) -> None:
    """Records one table."""
    record(
        name, value, source="recipe clip_sweeps", seed=list(SEEDS), images=BASE.images,
        note=f"means over seeds with 95 % intervals (Student's t); {ran_on(answers.values())}",
    )  # fmt: skip


def write_verdicts(asked: dict[str, dict[str, Run]]) -> None:
    """Writes the leads that claims of the course are about, with intervals over seeds."""
    compared = (
        # name, claim, figure, better, than
        ("05_size_lead", 7, "zero_shot_plain", asked["size_own"]["large"], asked["size_own"]["small"],
         "large tower against small, each with its own learning rate"),
        ("05_carried_lead", 16, "zero_shot_plain", asked["size_carried"]["large"], asked["size_own"]["large"],
         "large tower with the small one's learning rate, against its own"),
        ("05_shift_lead", 10, "zero_shot_outline", asked["supervised"]["contrastive"], asked["supervised"]["labels"],
         "pictures in outline: contrastive against supervised"),
        ("05_held_out_lead", 12, "zero_shot_held_out", asked["objective"]["contrastive"], asked["objective"]["words"],
         "pairs never seen: contrastive against predicted words"),
    )  # fmt: skip
    for name, claim, figure, one, other, about in compared:
        leads = [a[figure] - b[figure] for a, b in zip(rows(one), rows(other), strict=True)]
        low, high = interval(leads)
        holds = low > 0 if claim != 16 else high >= 0 >= low or low > 0  # carried over: no worse, as far as seeds tell
        record(
            name, statistics.mean(leads), source="recipe clip_sweeps", seed=list(SEEDS), images=BASE.images,
            interval=(low, high), claim=claim, holds=holds, note=f"{about}; {ran_on((one, other))}",
        )  # fmt: skip


def write_efficiency(answers: dict[str, Run]) -> None:
    """Writes how many images each objective needs for the accuracy that the weakest of them ends with."""
    found = {name: rows(run) for name, run in answers.items()}
    last = {name: statistics.mean(r["curve"]["zero_shot"][-1] for r in some) for name, some in found.items()}
    record(
        "05_objective_final", last, source="recipe clip_sweeps", seed=list(SEEDS), images=BASE.images,
        note="validation accuracy on 500 pictures at the end of the curve",
    )  # fmt: skip
    for name, some in found.items():
        looks = zip(some[0]["curve"]["images"], zip(*(r["curve"]["zero_shot"] for r in some)))
        curve = {str(images): statistics.mean(values) for images, values in looks}
        record(
            f"05_curve_{name}", curve, source="recipe clip_sweeps", seed=list(SEEDS), images=BASE.images,
            note=f"images seen: validation accuracy, mean of seeds; {ran_on([answers[name]])}",
        )  # fmt: skip
    for name in ("words", "caption"):
        goal = last[name]
        need = [images_to(r, goal) for r in found["contrastive"]]
        if any(x == float("inf") for x in need):
            record(
                f"05_efficiency_{name}", {"accuracy": goal}, source="recipe clip_sweeps", seed=list(SEEDS), claim=6,
                holds=False, note="the contrastive runs do not all reach that accuracy",
            )  # fmt: skip
            continue
        ratios = [BASE.images / x for x in need]
        record(
            f"05_efficiency_{name}",
            {"ratio": statistics.mean(ratios), "accuracy": goal, "images, contrastive": statistics.mean(need)},
            source="recipe clip_sweeps", seed=list(SEEDS), images=BASE.images, interval=interval(ratios), claim=6,
            holds=interval(ratios)[0] > 1,
            note=f"images that a run that predicts ({name}) has seen at its end, over those after which contrastive "
            "runs reached the same validation accuracy",
        )  # fmt: skip


def main() -> None:
    """Runs what is missing and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", help="K/N: only the K-th of N parts of the runs, and no tables")
    parser.add_argument("--stage", choices=("search", "final"), help="only these runs")
    args = parser.parse_args()
    which = args.part or "1/1"
    if args.stage != "final":
        for run in part(searches(), which):
            print(run.name, row(run, validation=True)["zero_shot"], flush=True)
    if args.stage != "search":
        for run in part(finals(), which):
            print(run.name, row(run)["zero_shot_plain"], flush=True)
    if not args.part and not args.stage:
        os.environ["MINIDIFF_RECORD"] = "1"
        write()


if __name__ == "__main__":
    main()
