"""A folder of the user's own pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .batches import Batch
from .transforms import from_uint8

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Folder:
    """Pictures on disk: `len(folder)`, and `folder[i]` is `{"x": [C,size,size], "y": []}`, `"y"` only with classes.

    Attributes:
        files: the pictures, sorted by path.
        classes: names of the sub-folders that hold pictures, sorted; empty where all lie in the folder itself.
        size: height and width.
        channels: 1 or 3.
    """

    files: tuple[Path, ...]
    classes: tuple[str, ...]
    size: int
    channels: int

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Batch:
        path = self.files[i]
        item = {"x": read(path, self.size, self.channels)}
        return item | {"y": torch.tensor(self.classes.index(path.parent.name))} if self.classes else item

    def load(self, device: str | torch.device = "cpu") -> Batch:
        """All pictures as one batch, for a set that fits in memory."""
        items = [self[i] for i in range(len(self))]
        return {k: torch.stack([item[k] for item in items]).to(device) for k in items[0]}


def folder(path: str | os.PathLike, size: int = 32, *, channels: int = 3) -> Folder:
    """The pictures of a folder, read when they are asked for.

    Either the pictures lie in the folder itself, or in one sub-folder for each class.

    Args:
        path: the folder.
        size: height and width of what is read.
        channels: 3 for colour, 1 for grey.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no pictures, or both pictures and sub-folders with pictures, or an argument is wrong.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"path must be a folder; there is none at {path}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3; got {channels}")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be an integer of at least 1; got {size!r}")
    flat, nested = _pictures(path.iterdir()), _pictures(path.glob("*/*"))
    if flat and nested:
        raise ValueError(f"{path} has pictures of its own and sub-folders with pictures; it must have one or the other")
    if not flat and not nested:
        raise ValueError(f"{path} holds no pictures ({', '.join(SUFFIXES)})")
    return Folder(flat or nested, tuple(sorted({p.parent.name for p in nested})), size, channels)


def read(path: str | os.PathLike, size: int, channels: int = 3) -> Tensor:
    """Reads one picture: turned upright, on white where it is transparent, its middle square resized with antialiasing.

    Returns:
        [channels,size,size] float32 in [-1,1].

    Raises:
        ValueError: the file is no picture that can be read.
    """
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture).convert("L" if channels == 1 else "RGB")
    picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(picture)).view(size, size, channels)
    return from_uint8(pixels.permute(2, 0, 1).contiguous())


def _pictures(paths) -> tuple[Path, ...]:
    visible = (p for p in paths if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    return tuple(sorted(p for p in visible if p.is_file()))
