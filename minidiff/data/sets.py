"""Well-known picture sets, whole in memory: real digits that are always there, and torchvision's."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import Batch
from .download import DataUnavailable, fetch

# name -> class in torchvision.datasets, folder that it reads below its root, hosts that it downloads from
TORCHVISION = {
    "mnist": ("MNIST", "MNIST", ("https://ossci-datasets.s3.amazonaws.com", "http://yann.lecun.com")),
    "fashion_mnist": (
        "FashionMNIST", "FashionMNIST", ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
    ),
    "cifar10": ("CIFAR10", "cifar-10-batches-py", ("https://www.cs.toronto.edu",)),
}  # fmt: skip
NAMES = ("digits", *TORCHVISION)
DIGITS_TEST = 360  # the file's last pictures: mostly by people who wrote none of the others


def load(
    name: str,
    split: str = "train",
    *,
    size: int | None = None,
    device: str | torch.device = "cpu",
    root: str | os.PathLike | None = None,
    download: bool = True,
) -> Batch:
    """A whole set as one batch.

    The torchvision sets are looked for in the folder that `MINIDIFF_DATA` names, then in the user's cache
    (`~/.cache/minidiff`), and downloaded to the cache if they are in neither.

    Args:
        name: `digits` (1,437 and 360 real digits that come with scikit-learn), `mnist`, `fashion_mnist` or `cifar10`.
        split: `train` or `test`.
        size: height and width; None is 32. MNIST and Fashion-MNIST are padded from 28 with -1, the background; all
            else is resized with antialiasing, and so are those two to a size below 28.
        device: where the tensors go.
        root: look (and download) here and nowhere else, in torchvision's own layout.
        download: False never goes to the network.

    Returns:
        `"x"` [N,C,size,size] float32 in [-1,1] and `"y"` [N] int64 labels in 0..9.

    Raises:
        ValueError: an argument is wrong.
        DataUnavailable: the set is nowhere, and cannot be downloaded; within two seconds where there is no network.
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}; got {name!r}")
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test'; got {split!r}")
    size = 32 if size is None else size
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be an integer of at least 1; got {size!r}")
    if name == "digits":
        pixels, labels, white = *_digits(split), 16
    else:
        pixels, labels, white = *_torchvision(name, split, root, download), 255
    pad = name in ("mnist", "fashion_mnist") and size >= max(pixels.shape[2:])
    x = _padded(pixels.to(device), size, white) if pad else _resized(pixels.to(device), size, white)
    return {"x": x, "y": labels.to(device)}


def load_or_digits(
    name: str,
    split: str = "train",
    *,
    size: int | None = None,
    device: str | torch.device = "cpu",
    root: str | os.PathLike | None = None,
    download: bool = True,
) -> tuple[str, Batch]:
    """`load`, or `digits` where the set cannot be had. Arguments and errors as `load`, less DataUnavailable.

    Returns:
        (the name of the set that was found, the set).
    """
    try:
        return name, load(name, split, size=size, device=device, root=root, download=download)
    except DataUnavailable:
        return "digits", load("digits", split, size=size, device=device)


def places() -> list[Path]:
    """Where sets are looked for, in this order; the last one is the user's cache, where downloads go."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidiff"
    named = os.environ.get("MINIDIFF_DATA")
    return [Path(named).expanduser(), cache] if named else [cache]


def _digits(split: str) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    part = slice(-DIGITS_TEST, None) if split == "test" else slice(None, -DIGITS_TEST)
    pixels = torch.from_numpy(found.images[part]).float()[:, None]  # [N, 1, 8, 8] in 0..16
    return pixels, torch.from_numpy(found.target[part]).long()


def _torchvision(name: str, split: str, root, download: bool) -> tuple[Tensor, Tensor]:
    """Pixels [N,C,H,W] uint8 and labels [N] int64, from the first place that has them."""
    kind, folder, hosts = TORCHVISION[name]
    where = places() if root is None else [Path(root).expanduser()]
    reasons = []
    for place in where:
        if not (place / folder).is_dir():
            reasons.append(f"{place} has no folder {folder}")
            continue
        try:
            return _open(kind, place, split)
        except Exception as error:  # whatever a reader says about a damaged file
            reasons.append(f"{place / folder} is incomplete or damaged ({type(error).__name__}: {error})")
    looked = f"{name} is not there: " + "; ".join(reasons)
    if not download:
        raise DataUnavailable(f"{looked}. Set MINIDIFF_DATA to a folder that has it, or allow the download")
    try:
        fetch(kind, hosts, where[-1])
        return _open(kind, where[-1], split)
    except DataUnavailable as error:
        raise DataUnavailable(
            f"{looked}; {error}. With a network, try again; without one, set MINIDIFF_DATA to a folder that has it "
            f"in torchvision's layout, or use the set 'digits', which needs none"
        ) from error


def _open(kind: str, root: Path, split: str) -> tuple[Tensor, Tensor]:
    from torchvision import datasets

    found = getattr(datasets, kind)(root, train=split == "train", download=False)
    pixels, labels = torch.as_tensor(found.data), torch.as_tensor(found.targets).long()
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)  # [N,H,W] or [N,H,W,C] -> [N,C,H,W]
    if len(pixels) != len(labels) or len(pixels) == 0:
        raise ValueError(f"{len(pixels)} pictures and {len(labels)} labels")
    return pixels, labels


def _padded(pixels: Tensor, size: int, white: int) -> Tensor:
    n, c, h, w = pixels.shape
    top, left = (size - h) // 2, (size - w) // 2
    x = torch.full((n, c, size, size), -1.0, device=pixels.device)
    x[:, :, top : top + h, left : left + w].copy_(pixels).mul_(2 / white).sub_(1)
    return x


def _resized(pixels: Tensor, size: int, white: int) -> Tensor:
    x = pixels.float().mul_(2 / white).sub_(1)
    if x.shape[2:] != (size, size):
        x = F.interpolate(x, (size, size), mode="bicubic", antialias=True)
    return x.clamp_(-1, 1).contiguous()  # cubic interpolation overshoots at edges; 2/255 is not exact
