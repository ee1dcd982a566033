"""Pictures with a line of text under each, on one white sheet that can be saved."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from torch import Tensor

from ..data import to_uint8

if TYPE_CHECKING:
    from PIL import Image

MARGIN, LINE, LETTER = 8, 13, 6  # pixels: between pictures, height of a line, width of a letter


def sheet(pictures: Tensor, labels: Sequence[str], columns: int = 4, side: int = 256) -> Image.Image:
    """Lays pictures out in rows, each enlarged without smoothing and with its label under it.

    Args:
        pictures: [N,3,H,W] in [-1,1].
        labels: N texts; long ones are broken into lines.
        columns: pictures in a row at most.
        side: width of a picture on the sheet at least, by a whole factor.

    Returns:
        An RGB picture.

    Raises:
        ValueError: the numbers of pictures and labels differ, or there is none.

    >>> import torch
    >>> sheet(torch.zeros(3, 3, 8, 8), ["a", "b", "c"], columns=2, side=64).size
    (152, 178)
    """
    from PIL import Image, ImageDraw, ImageFont

    if len(pictures) != len(labels) or not len(labels):
        raise ValueError(f"labels must be one for each picture, at least one; got {len(labels)} for {len(pictures)}")
    n, _, h, w = pictures.shape
    factor, columns = max(1, ceil(side / w)), min(columns, n)
    texts = [textwrap.wrap(label, max(1, factor * w // LETTER)) or [""] for label in labels]
    wide, tall = factor * w + MARGIN, factor * h + MARGIN + LINE * max(map(len, texts))
    canvas = Image.new("RGB", (columns * wide + MARGIN, ceil(n / columns) * tall + MARGIN), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=11)
    for i, (picture, lines) in enumerate(zip(to_uint8(pictures.cpu()).permute(0, 2, 3, 1).numpy(), texts)):
        left, top = MARGIN + i % columns * wide, MARGIN + i // columns * tall
        enlarged = Image.fromarray(picture).resize((factor * w, factor * h), Image.Resampling.NEAREST)
        canvas.paste(enlarged, (left, top))
        for k, line in enumerate(lines):
            pen.text((left, top + factor * h + 2 + k * LINE), line, fill="black", font=font)
    return canvas
