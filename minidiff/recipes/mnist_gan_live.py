"""The run that lesson 01 allows, measured as the bundled generator was: is the longer run better on each figure?

    python -m minidiff.recipes.mnist_gan_live

Writes results/01_live.json and results/01_bundled_against_live.json; needs the bundled generator.
"""

from __future__ import annotations

import os

from minidiff import pretrained
from minidiff.recipes import mnist_gan
from minidiff.recipes.results import record

# Copies are not among them: blurred samples are no copies either, and real digits have 1 % by definition.
HIGHER = ("precision", "recall", "density", "coverage", "rarest_class")
LOWER = ("frechet_distance_in_classifier_features", "commonest_class")


def meets(found: dict) -> dict[str, bool]:
    """Whether samples are good enough for a lesson, bar by bar.

    Args:
        found: what `mnist_gan.evaluate` returns.
    """
    return {
        "each class 4-20 %": found["rarest_class"] >= 0.04 and found["commonest_class"] <= 0.2,
        "recall at least half of real": found["recall_over_real_recall"] >= 0.5,
        "coverage at least half of real": found["coverage_over_real_coverage"] >= 0.5,
        "at most 3 % copies": found["copies"] <= 0.03,
    }


def better(bundled: dict, live: dict) -> dict[str, bool]:
    """For each figure whether the bundled generator is at least as good as the live one."""
    ahead = {name: bundled[name] >= live[name] for name in HIGHER}
    return ahead | {name: bundled[name] <= live[name] for name in LOWER}


def main() -> None:
    os.environ["MINIDIFF_RECORD"] = "1"
    made, settings = mnist_gan.live(), mnist_gan.LIVE
    chosen, found = mnist_gan.evaluate(made.generator, 5000, validation=True), mnist_gan.evaluate(made.generator)
    print("validation", chosen, "test", found, sep="\n")
    images, n = mnist_gan.LIVE_STEPS * settings.batch, f"{found['n']:,} samples against as many test digits"
    numbers = {
        k: found[k]
        for k in (*HIGHER, *LOWER, "copies", "confident", "recall_over_real_recall", "coverage_over_real_coverage")
    }
    bars = meets(found)
    record(
        "01_live", {**numbers, "seconds": made.seconds}, source="recipe mnist_gan_live", seed=mnist_gan.SEED,
        images=images, holds=all(bars.values()),
        note=f"{n}; seconds of processor time on one thread; bars: "
        + "; ".join(f"{bar}: {'met' if good else 'missed'}" for bar, good in bars.items()),
    )  # fmt: skip
    compare(found)


def compare(found: dict) -> None:
    """Writes whether the bundled generator is ahead of the live one.

    Args:
        found: what `mnist_gan.evaluate` returned of the live one, or its record 01_live.
    """
    os.environ["MINIDIFF_RECORD"] = "1"
    card = pretrained.load(mnist_gan.NAME).card
    bundled = card["metrics"]
    ahead, n = better(bundled, found), f"{bundled['n']:,} samples against as many test digits"
    record(
        "01_bundled_against_live",
        {f"{who} {name}": m[name] for name in ahead for who, m in (("bundled", bundled), ("live", found))},
        source="recipe mnist_gan_live", seed=mnist_gan.SEED, holds=all(ahead.values()),
        note=f"{n}; the bundled generator is not ahead in: {', '.join(k for k, v in ahead.items() if not v) or 'none'}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
