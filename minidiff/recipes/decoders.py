"""What the bundled decoders of scenes leave of pictures, and what each of their trainings added (claim 14).

    python -m minidiff.recipes.decoders

Neither decoder ever saw a caption. Writes the results 06_decoder_autoencoder, 06_decoder_upscaler, and the stages of
both, 06_decoder_refined and 06_upscaler_refined, from their cards.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from torch import Tensor

from minidiff import data, pretrained
from minidiff.data.shapes import agreement, captioned, read
from minidiff.metrics import share
from minidiff.recipes import shapes_autoencoder, shapes_upscaler
from minidiff.recipes.results import record

ENOUGH = 0.95  # claim 14 holds of a decoder whose interval lies above this share
FIGURES = ("psnr", "psnr_on_edges", "attributes_kept")


def through(name: str) -> Callable[[Tensor], Tensor]:
    """A function that makes pictures [N,3,64,64] small and large again with a bundled decoder.

    Args:
        name: "autoencoder" or "upscaler".
    """
    if name == "autoencoder":
        model = pretrained.load(shapes_autoencoder.NAME).model
        return lambda x: shapes_autoencoder.reconstructed(model, x)
    model, seed = pretrained.load(shapes_upscaler.NAME).model, shapes_upscaler.NOISE_SEED
    factor = shapes_upscaler.FACTOR
    return lambda x: shapes_upscaler.upscale(model, data.downsample(x, factor), seed=seed, faithful=True)


def kept(name: str, n: int) -> dict:
    """The share of unseen scenes with all attributes right after a decoder, its interval, and that of true pictures."""
    seed = {"autoencoder": shapes_autoencoder, "upscaler": shapes_upscaler}[name].TEST_SEED
    known = captioned(n, "unseen", size=shapes_autoencoder.SIZE, seed=seed)
    before, after = (agreement(known.scenes, read(x))["all"] for x in (known.x, through(name)(known.x)))
    interval = share(after.tolist(), known.scenes)
    return {"after": after.double().mean().item(), "interval": tuple(interval), "before": before.double().mean().item()}


def report(name: str, found: dict, n: int) -> None:
    """Writes what `kept` found, as a result for claim 14."""
    record(
        f"06_decoder_{name}", found["after"], interval=found["interval"], floor=found["before"],
        source="recipe decoders", claim=14, holds=found["interval"][0] >= ENOUGH, figure="section 11",
        note=f"shapes-{name}, trained without captions: share of {n:,} unseen scenes of which all that a caption could "
        "state survives; the floor is the pictures themselves",
    )  # fmt: skip


def stages(card: dict, later: str, names: tuple[str, ...]) -> dict[str, float]:
    """Figures after each training of a decoder, from its card.

    Args:
        card: of the checkpoint.
        later: where it tells of the trainings after the first, "decoder" or "clean".
        names: of the stages, one more than later trainings.

    Returns:
        "stage: figure" -> value.
    """
    found = [part["metrics_before"] for part in card[later]] + [card["metrics"]]
    return {f"{name}: {k}": metrics[k] for name, metrics in zip(names, found, strict=True) for k in FIGURES}


def report_stages() -> None:
    """Writes the stages of both decoders."""
    parts = (
        ("06_decoder_refined", shapes_autoencoder, "decoder", "off", lambda part: f"latents off by up to {part:g}"),
        ("06_upscaler_refined", shapes_upscaler, "clean", "coarse", lambda part: f"coarse errors weighed {part:g}"),
    )
    for result, recipe, later, setting, says in parts:
        card = pretrained.load(recipe.NAME).card
        names = ("first training", *(f"{i}. training, {says(p[setting])}" for i, p in enumerate(card[later], 2)))
        seen = [card["images_seen"], *(part["images_seen"] for part in card[later])]
        record(
            result, stages(card, later, names), source="recipe decoders", seed=card["seed"], images=sum(seen),
            note=f"{card['metrics']['n']:,} unseen scenes; images seen: " + ", ".join(f"{k:,}" for k in seen),
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="unseen scenes")
    n = parser.parse_args().n
    os.environ["MINIDIFF_RECORD"] = "1"
    for name in ("autoencoder", "upscaler"):
        report(name, kept(name, n), n)
    report_stages()


if __name__ == "__main__":
    main()
