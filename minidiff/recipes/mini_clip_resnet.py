"""A mini-CLIP whose image tower is a ResNet with attention pooling, else trained as the other: its map keeps places.

    python -m minidiff.recipes.mini_clip_resnet
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from minidiff import pretrained
from minidiff.models.image_encoders import ResNetConfig
from minidiff.recipes import mini_clip
from minidiff.recipes.command import command

NAME, LR = "mini-clip-resnet", 2e-3
CONFIG = replace(mini_clip.CONFIG, image=ResNetConfig(size=mini_clip.SIZE, base=32, blocks=(2, 3), stem=2))


def train(out: Path, images: int = mini_clip.IMAGES, resume: bool = False) -> pretrained.Pretrained | None:
    """Trains, measures, and writes weights and card to `out`; see `mini_clip.train`."""
    return mini_clip.train(out, images, resume=resume, name=NAME, config=CONFIG, lr=LR)


if __name__ == "__main__":
    command(train, __doc__, mini_clip.IMAGES)
