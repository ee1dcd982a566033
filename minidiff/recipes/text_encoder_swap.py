"""How much the text encoder matters: one latent diffusion model for each encoder, all else fixed.

    python -m minidiff.recipes.text_encoder_swap

Two frozen text towers of the same width, from the same training: mini-CLIP's Transformer, and a bag of words (CBOW),
which hands on a vector for each word and does not know their order. Each model sees a quarter of the images of the
bundled one, and is judged twice: by the reader, which refuses what is drawn imprecisely, and by the frozen classifier
of the caption world, which says of every picture what it shows first, second, and how they stand. A finished row is
kept under build/recipes/swap, and an interrupted one goes on from its checkpoint there. Writes the results whose names
begin with 09_text_encoder.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from minidiff import data, pretrained
from minidiff.data.shapes import ATTRIBUTES, COLOURS, SHAPES, SIZES, Scene, agreement, attributes, read, tokenizer
from minidiff.metrics import wilson
from minidiff.pipelines import StableDiffusion
from minidiff.recipes import mini_clip, mini_clip_cbow, shapes_autoencoder
from minidiff.recipes import stable_diffusion as base
from minidiff.recipes.results import kept, record, slug

ENCODERS = {"Transformer": mini_clip.NAME, "bag of words": mini_clip_cbow.NAME}
IMAGES, N, HELD_OUT = base.IMAGES // 4, 500, 200
WORK = Path("build/recipes/swap")


@functools.cache
def _pool(pictures: int) -> data.Batch:
    return base.pool(pretrained.load(shapes_autoencoder.NAME).model, pictures)


@torch.no_grad()
def told_apart(scenes: Sequence[Scene], x: Tensor) -> dict[str, float]:
    """Share of stated attributes that the bundled classifier finds likelier than their alternatives.

    The first object of a pair is the one that is left or above; so colours that change places count as wrong.

    Args:
        scenes: N, complete ones. x: [N,3,64,64] in [-1,1].
    """
    judge = pretrained.load("shapes-classifier").model
    logits = torch.cat([judge(F.avg_pool2d(part, 2)) for part in x.split(500)])
    stated, groups = attributes(scenes) > 0.5, {}
    for i, name in enumerate(ATTRIBUTES):
        groups.setdefault(_group(name), []).append(i)
    hits: dict[str, list[Tensor]] = {}
    for group, columns in groups.items():
        asked = stated[:, columns]
        there = asked.any(1)
        right = logits[:, columns].argmax(1) == asked.long().argmax(1)
        hits.setdefault(group.split()[-1], []).append(right[there])
    return {name: torch.cat(parts).double().mean().item() for name, parts in hits.items() if sum(map(len, parts))}


def _group(attribute: str) -> str:
    which, _, value = attribute.partition(" ")
    if which in ("first", "second"):
        kinds = {"shape": SHAPES, "colour": COLOURS, "size": SIZES}
        return f"{which} {next(kind for kind, known in kinds.items() if value in known)}"
    return "place" if which == "at" else "relation" if attribute in ("left of", "above") else "background"


def row(name: str, images: int = IMAGES, n: int = N, pictures: int = base.POOL, work: Path = WORK) -> dict[str, float]:
    """One encoder's model trained and measured, or read back from `work` if that was done before.

    Args:
        name: one of `ENCODERS`.
        images: seen in training.
        n: captions of one and of two objects; of held-out pairs at most `HELD_OUT`.
        pictures: different ones among the images.
        work: folder of rows and of what an interrupted run goes on from.
    """
    path = work / f"{slug(name)}_{images}_{n}.json"

    def made() -> dict[str, float]:
        clip, autoencoder = (pretrained.load(part).model for part in (ENCODERS[name], shapes_autoencoder.NAME))
        checkpoint = path.with_suffix(".ckpt")
        unet = base.fit_unet(clip, _pool(pictures), images, checkpoint, checkpoint.exists(), label=name).ema.model
        return measure(StableDiffusion(tokenizer(), clip, unet, autoencoder, base.OPTIONS), n)

    return kept(path, made)


def measure(pipe: StableDiffusion, n: int) -> dict[str, float]:
    """What both judges say of a system's pictures: the reader, and on unseen scenes the classifier too.

    Args:
        pipe: the system. n: as for `row`.
    """
    found = {f"held_out_{key}": value for key, value in base.evaluate(pipe, "held_out", min(n, HELD_OUT)).items()}
    for objects in (1, 2):
        scenes = base.wanted(n, "unseen", objects)
        x = base.paint(pipe)(scenes)
        found |= {f"{key}_{objects}": value for key, value in base.shares(agreement(scenes, read(x))).items()}
        found |= {f"classifier_{key}_{objects}": value for key, value in told_apart(scenes, x).items()}
    return found


def report(rows: dict[str, dict[str, float]], n: int = N) -> None:
    """Writes one result for each figure, with a number for each encoder."""
    about = (
        f"{IMAGES:,} images for each, a quarter of the bundled model's first training, the same pictures in the same "
        "order; one seed; "
        f"{n} unseen captions of one and of two objects, {min(n, HELD_OUT)} of held-out pairs; guidance "
        f"{base.OPTIONS.scale:g}, {base.OPTIONS.steps} steps"
    )
    for figure in next(iter(rows.values())):
        value = {name: found[figure] for name, found in rows.items()}
        extra = {}
        if figure == "classifier_colour_2":
            low = {name: wilson(round(share * 2 * n), 2 * n) for name, share in value.items()}  # two colours a picture
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
