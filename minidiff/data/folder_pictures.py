"""One picture file, of whatever kind, as a tensor; and which of many files cannot be read at all."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from .transforms import from_uint8

THREADS, CHUNK = 4, 64  # decoders let go of Python's lock; files that a thread takes at a time
PATIENCE = 2.0  # seconds until a bar is shown


def read(path: str | os.PathLike, size: int, channels: int = 3) -> Tensor:
    """Reads one picture: turned upright, on white where it is transparent, its middle square resized with antialiasing.

    Of an animation it is the first frame. Grey of 16 or 32 bits is read with 65535 as white, grey in floating point
    with 1.0; of a colour with 16 bits Pillow gives the upper 8.

    Args:
        path: the file; its content decides what it is, not its ending.
        size: height and width of what is returned.
        channels: 3 for colour, 1 for grey.

    Returns:
        [channels,size,size] float32 in [-1,1].

    Raises:
        ValueError: the file is no picture that can be read.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        picture = _decoded(path)
    except Exception as error:  # a broken file fails in each decoder's own way
        raise ValueError(f"{path} cannot be read as a picture: {_reason(error)}") from error
    picture = picture.convert("L") if channels == 1 else picture
    picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(picture)).view(size, size, channels)
    return from_uint8(pixels.permute(2, 0, 1).contiguous())


def unreadable(files: Sequence[Path]) -> dict[Path, str]:
    """The files that `read` would refuse, in their order, and why; decoded by a few threads.

    A bar is shown if this takes more than two seconds.
    """
    from tqdm import tqdm

    chunks = [files[i : i + CHUNK] for i in range(0, len(files), CHUNK)]
    found: dict[Path, str] = {}
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(THREADS) as pool,
        tqdm(total=len(files), desc="checking pictures", unit=" files", delay=PATIENCE, leave=False) as bar,
    ):
        # Pillow's own, of odd metadata and large pictures, would come without the file's name.
        warnings.simplefilter("ignore")
        for chunk, part in zip(chunks, pool.map(_refused, chunks)):
            found |= part
            bar.update(len(chunk))
    return found


def _refused(files: Sequence[Path]) -> dict[Path, str]:
    found = {}
    for file in files:
        try:
            _decoded(file, quick=True)
        except Exception as error:  # as in `read`
            found[file] = _reason(error)
    return found


def _decoded(path: str | os.PathLike, quick: bool = False):
    """The picture as Pillow's RGB; if `quick`, one with fewer pixels where that saves time, and the same errors."""
    from PIL import Image, ImageOps

    # Not by its name: Pillow would map some files into memory, and there (11 to 13.0) misreads a TIFF to be turned.
    with open(path, "rb") as data, Image.open(data) as file:
        if quick:  # a JPEG's bytes are all decoded, but only an eighth of its rows and columns are made
            file.draft("RGB", (1, 1))
        file.load()
        # What is wrong in a camera's notes leaves the pixels good. They are turned before the notes are written anew.
        with contextlib.suppress(Exception):
            ImageOps.exif_transpose(file, in_place=True)
        picture = _eight_bit(file)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return picture.convert("RGB")


def _eight_bit(picture):
    """Grey of more than 8 bits (Pillow's modes I, I;16, I;16B, F) as grey of 8: Pillow would clip it, not scale it."""
    import numpy as np
    from PIL import Image

    if picture.mode != "F" and not picture.mode.startswith("I"):
        return picture
    values, white = np.asarray(picture), 1.0 if picture.mode == "F" else 65535.0
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # NaN is neither
        raise ValueError(f"its values must lie in 0..{white:g} (black..white); they run from {low:g} to {high:g}")
    transparent = picture.info.get("transparency")  # the one grey that is, by a PNG's tRNS
    if transparent is not None:
        values = np.where(values == transparent, white, values)
    return Image.fromarray((values.astype(np.float32) * (255 / white)).round().astype(np.uint8))


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "no kind of picture that is known"  # Pillow's own text is mostly the path
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
