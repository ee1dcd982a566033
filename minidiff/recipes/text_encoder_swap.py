"""How much the text encoder matters: one latent diffusion model for each encoder, all else fixed.

    python -m minidiff.recipes.text_encoder_swap

Two frozen text towers of the same width, from the same training: mini-CLIP's Transformer, and a bag of words (CBOW),
which hands on a vector for each word and does not know their order. Each model sees a quarter of the images of the
bundled one. A finished row is kept under build/recipes/swap, and an interrupted one goes on from its checkpoint there.
Writes the results whose names begin with 09_text_encoder.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import torch

from minidiff import data, pretrained
from minidiff.data.shapes import tokenizer
from minidiff.metrics import wilson
from minidiff.models.unet import UNet
from minidiff.pipelines import StableDiffusion
from minidiff.recipes import mini_clip, mini_clip_cbow, shapes_autoencoder
from minidiff.recipes import stable_diffusion as base
from minidiff.recipes.results import record
from minidiff.training import fit
from minidiff.training.checkpoint import write_atomic

ENCODERS = {"Transformer": mini_clip.NAME, "bag of words": mini_clip_cbow.NAME}
IMAGES, N, HELD_OUT = base.IMAGES // 4, 500, 200
WORK = Path("build/recipes/swap")


def row(name: str, images: int = IMAGES, n: int = N, pictures: int = base.POOL, work: Path = WORK) -> dict[str, float]:
    """One encoder's model trained and measured, or read back from `work` if that was done before.

    Args:
        name: one of `ENCODERS`.
        images: seen in training.
        n: captions of one and of two objects; of held-out pairs at most `HELD_OUT`.
        pictures: different ones among the images.
        work: folder of rows and of what an interrupted run goes on from.
    """
    path = work / f"{name.replace(' ', '_')}_{images}_{n}.json"
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    torch.manual_seed(base.SEED)
    clip, autoencoder = (pretrained.load(part).model for part in (ENCODERS[name], shapes_autoencoder.NAME))
    unet, steps = UNet(base.CONFIG).to(memory_format=torch.channels_last), max(2, images // base.BATCH)
    loader = data.Batches(base.pool(autoencoder, pictures), base.BATCH, seed=base.SEED, check=False)
    ema, _ = fit(
        unet, base.loss(clip), loader, steps, lr=base.LR, warmup=min(500, max(1, steps // 4)),
        ema_decay=base.EMA_DECAY, seed=base.SEED, checkpoint=path.with_suffix(".ckpt"),
        resume=path.with_suffix(".ckpt").exists(), label=name,
    )  # fmt: skip
    pipe = StableDiffusion(tokenizer(), clip, ema.model, autoencoder, base.OPTIONS)
    found = base.evaluate(pipe, "unseen", n)
    found |= {f"held_out_{key}": value for key, value in base.evaluate(pipe, "held_out", min(n, HELD_OUT)).items()}
    write_atomic(path, json.dumps(found).encode())
    return found


def report(rows: dict[str, dict[str, float]], n: int = N) -> None:
    """Writes one result for each figure, with a number for each encoder."""
    about = (
        f"{IMAGES:,} images for each, a quarter of the bundled model's, the same pictures in the same order; one seed; "
        f"{n} unseen captions of one and of two objects, {min(n, HELD_OUT)} of held-out pairs; guidance "
        f"{base.OPTIONS.scale:g}, {base.OPTIONS.steps} steps"
    )
    for figure in next(iter(rows.values())):
        value = {name: found[figure] for name, found in rows.items()}
        extra = {}
        if figure == "all_2":
            low = {name: wilson(round(share * n), n) for name, share in value.items()}
            extra = {"claim": 5, "holds": low["Transformer"][0] > low["bag of words"][1], "figure": "section 9"}
        record(
            f"09_text_encoder_{figure}", value, seed=base.SEED, source="recipe text_encoder_swap", images=IMAGES,
            note=about, **extra,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(ENCODERS), help="one row; writes no result")
    args = parser.parse_args()
    rows = {name: row(name) for name in ENCODERS if args.only in (None, name)}
    if not args.only:
        os.environ["MINIDIFF_RECORD"] = "1"
        report(rows)


if __name__ == "__main__":
    main()
