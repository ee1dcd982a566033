"""The mini-CLIP of lesson 05: pictures of the caption world and their captions, brought together.

    python -m minidiff.recipes.mini_clip

It reads captions for all later systems, and judges what they draw.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minidiff import pretrained
from minidiff.data.shapes import COLOURS, SHAPES, ShapeBatches, captions, draw, gallery, sample, tokenizer
from minidiff.data.workers import InWorkers
from minidiff.metrics import class_embeddings, nearest_class
from minidiff.models.clip import CLIP, CLIPConfig, clamp_logit_scale, parameter_groups
from minidiff.models.image_encoders import ViTConfig
from minidiff.models.text_encoders import TextTransformerConfig
from minidiff.objectives import CLIPLoss
from minidiff.recipes.command import command
from minidiff.recipes.provenance import is_main, provenance, ship
from minidiff.recipes.shapes_classifier import soften
from minidiff.training import EMA, History, Turn, run, warmup_cosine

NAME, SEED, SIZE, BATCH, IMAGES = "mini-clip", 0, 32, 512, 1_024_000
CONFIG = CLIPConfig(
    image=ViTConfig(size=SIZE, patch=4, width=128, layers=4, heads=4),
    text=TextTransformerConfig(width=128, layers=3, heads=4),
    dim=128,
)
PARTIAL, LR, WEIGHT_DECAY, EMA_DECAY = 0.5, 1e-3, 0.1, 0.998
TEMPLATES = ("a {}", "a picture of a {}", "an image of a {}", "there is a {}")
PAIRS = tuple((shape, colour) for shape in SHAPES for colour in COLOURS)
WORKERS = max(0, min(6, (os.cpu_count() or 1) - 2))


class Trained(NamedTuple):
    """What a run leaves."""

    model: nn.Module  # the average, in eval mode
    history: History  # "loss" and "scale", one float a step


def fit_clip(
    model: CLIP, loader, steps: int, *, loss=None, lr: float = LR, seed: int = SEED, checkpoint: Path | None = None,
    resume: bool = False, hooks=(), progress: bool = True, label: str = "CLIP",
) -> Trained:  # fmt: skip
    """Trains a CLIP with AdamW, warm-up and cosine decay, the temperature clamped after each step.

    Args:
        model: trained in place.
        loader: of batches with "x" and "tokens".
        steps: of training.
        loss: by default the contrastive loss of slightly noised pictures: what a model draws is never quite clean.
        lr: the highest learning rate.
        seed: of the noise.
        checkpoint, resume, hooks, progress, label: as for `minidiff.training.run`.
    """
    optimizer = torch.optim.AdamW(parameter_groups(model, WEIGHT_DECAY), lr=lr, betas=(0.9, 0.98), fused=True)
    ema, warmup = EMA(model, EMA_DECAY), min(200, max(1, steps // 10))
    turn = Turn(
        model, loss or CLIPLoss(prepare=soften), optimizer, after=clamp_logit_scale, ema=ema,
        lr=lambda step: warmup_cosine(step, steps, warmup),
    )  # fmt: skip
    history = run(
        [turn], loader, steps, seed=seed, precision="no", checkpoint=checkpoint, resume=resume, hooks=hooks,
        progress=progress, label=label,
    )  # fmt: skip
    return Trained(ema.model, history)


@torch.no_grad()
def embed_images(model: CLIP, x: Tensor, batch: int = 500) -> Tensor:
    """x [N,3,H,W] -> unit embeddings [N,D], on the model's device."""
    return torch.cat([model.encode_image(part.to(model.logit_scale.device)) for part in x.split(batch)])


@torch.no_grad()
def embed_texts(model: CLIP, texts: list[str]) -> Tensor:
    """N captions -> unit embeddings [N,D]."""
    return model.encode_text(tokenizer()(texts)["tokens"].to(model.logit_scale.device))


def recall(model: CLIP, split: str = "unseen", n: int = 1000, seed: int = 11) -> dict[str, float]:
    """Recall at 1 and 5 among n pictures and n captions, swapped pairs among them, apart for one and two objects.

    Args:
        model: in eval mode.
        split: of the scenes.
        n: of each.
        seed: of scenes, pictures and phrasings.
    """
    scenes = gallery(n, split, seed=seed)
    images = embed_images(model, draw(scenes, SIZE, seed=seed + 1))
    texts = embed_texts(model, captions(scenes, seed=seed + 2))
    scores, found = images @ texts.T, {}
    for objects in (1, 2):
        rows = torch.tensor([i for i, scene in enumerate(scenes) if len(scene) == objects], device=scores.device)
        for way, table in (("captions", scores), ("pictures", scores.T)):
            rank = (table[rows] >= table.diagonal()[rows, None]).sum(1)  # 1 is best; the partner counts itself
            found |= {f"{objects}_object_{way}_at_{k}": (rank <= k).double().mean().item() for k in (1, 5)}
    pairs = range(sum(len(scene) == 1 for scene in scenes), n, 2)  # each is followed by its swap
    right = [bool(scores[i, i] > scores[i, j] and scores[j, j] > scores[j, i]) for i, j in ((i, i + 1) for i in pairs)]
    return {**found, "swap_told_apart": sum(right) / len(right)}


def zero_shot(model: CLIP, split: str, n: int = 2000, seed: int = 21, templates=TEMPLATES) -> float:
    """Share of one-object pictures whose colour and shape are found among all 64 pairs.

    Args:
        model: in eval mode.
        split: "validation" and "unseen" have the 56 pairs seen in training, "held_out" the other eight.
        n: pictures.
        seed: of the pictures.
        templates: of the captions that name a class.
    """
    scenes = sample(n, split, objects=1, seed=seed)
    classes = class_embeddings(
        lambda texts: embed_texts(model, texts), [f"{colour} {shape}" for shape, colour in PAIRS], templates
    )
    said = nearest_class(embed_images(model, draw(scenes, SIZE, seed=seed + 1)), classes)
    true = [PAIRS.index((s.things[0].shape, s.things[0].colour)) for s in scenes]
    return (said.cpu() == torch.tensor(true)).double().mean().item()


def evaluate(model: CLIP, split: str = "unseen", n: int = 1000) -> dict:
    """Retrieval and zero-shot figures of a split, and those of the held-out pairs."""
    return {
        "retrieval": recall(model, split, n),
        "zero_shot_seen_pairs": zero_shot(model, split, 2 * n),
        "zero_shot_held_out_pairs": zero_shot(model, "held_out", 2 * n),
    }


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False, n: int = 1000,
    name: str = NAME, config: CLIPConfig = CONFIG, lr: float = LR,
) -> pretrained.Pretrained | None:  # fmt: skip
    """Trains, measures, writes weights and card to `out`; None from all processes but the first.

    Args:
        out: folder of the checkpoint.
        images: seen in training.
        work: folder of what an interrupted run goes on from, with `resume`.
        n: pictures of retrieval.
        name: of the checkpoint. config: of the model. lr: the highest learning rate. The recipes `mini_clip_cbow` and
            `mini_clip_resnet` have others.
    """
    torch.manual_seed(SEED)
    steps = images // BATCH
    loader = InWorkers(ShapeBatches(SIZE, BATCH, partial=PARTIAL, seed=SEED), WORKERS)
    found = fit_clip(CLIP(config), loader, steps, lr=lr, checkpoint=work / f"{name}.ckpt", resume=resume, label=name)
    if not is_main():
        return None
    card = {
        "recipe": f"minidiff.recipes.{name.replace('-', '_')}",
        "data": f"caption world, training scenes of one and two objects, plain style, {SIZE}x{SIZE}; half of the "
        "captions leave something out",
        "seed": SEED,
        "batch": BATCH,
        "images_seen": steps * BATCH,
        "training_seconds": round(found.history.seconds),
        "lr": lr,
        **provenance(),
    }
    return ship(name, found.model, card, out, lambda shipped: evaluate(shipped, "unseen", n))


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
