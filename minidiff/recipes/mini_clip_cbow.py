"""A mini-CLIP whose text tower is a bag of words, else trained as the other: what does word order do?

    python -m minidiff.recipes.mini_clip_cbow

Writes results/05_word_order.json too, from both models' cards.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from minidiff import pretrained
from minidiff.models.text_encoders import CBOWConfig
from minidiff.recipes import mini_clip
from minidiff.recipes.command import command
from minidiff.recipes.results import record

NAME = "mini-clip-cbow"
CONFIG = replace(mini_clip.CONFIG, text=CBOWConfig(width=128))
FIGURES = ("1_object_captions_at_1", "2_object_captions_at_1", "swap_told_apart")


def train(out: Path, images: int = mini_clip.IMAGES, resume: bool = False) -> pretrained.Pretrained | None:
    """Trains, measures, and writes weights and card to `out`; see `mini_clip.train`."""
    made = mini_clip.train(out, images, resume=resume, name=NAME, config=CONFIG)
    if made:
        write(made.card)
    return made


def write(card: dict) -> None:
    """Writes retrieval with and without word order, from this model's card and the bundled mini-CLIP's."""
    os.environ["MINIDIFF_RECORD"] = "1"
    cards = {"Transformer": pretrained.load(mini_clip.NAME).card, "CBOW": card}
    value = {f"{name} {f}": c["metrics"]["retrieval"][f] for name, c in cards.items() for f in FIGURES}
    record(
        "05_word_order", value, source="recipe mini_clip_cbow", seed=card["seed"], images=card["images_seen"], claim=8,
        holds=value["Transformer swap_told_apart"] > value["CBOW swap_told_apart"],
        note="recall at 1 among 1,000 unseen captions; swaps: both pictures of a pair prefer their own caption; one "
        f"run each, trained on {card['hardware']}",
    )  # fmt: skip


if __name__ == "__main__":
    command(train, __doc__, mini_clip.IMAGES)
