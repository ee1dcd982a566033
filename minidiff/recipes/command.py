"""The command line that every recipe of a checkpoint has: where to, how many images, and whether to go on."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from minidiff import pretrained


def command(train: Callable[..., pretrained.Pretrained | None], about: str, images: int) -> None:
    """Reads the arguments, trains, and prints what the card says.

    Args:
        train: `train(out, images, resume=...)` of a recipe.
        about: the recipe's docstring.
        images: images seen in training, where nothing else is asked for.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=pretrained.CHECKPOINTS)
    parser.add_argument("--images", type=int, default=images, help="images seen in training")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint of an interrupted run")
    args = parser.parse_args()
    made = train(args.out, args.images, resume=args.resume)
    if made:
        print(made.card["metrics"])
