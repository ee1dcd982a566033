"""Folders of small pictures for tests."""

import torch
from PIL import Image

from minidiff.data import load, to_uint8


def digits(n, split="test", start=0):
    """Real digits, [n,1,32,32]."""
    return load("digits", split)["x"][start : start + n]


def write(folder, x, name="{:04d}.png"):
    """Saves pictures [N,C,H,W] as files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(to_uint8(x)):
        array = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
        Image.fromarray(array.numpy()).save(folder / name.format(i))
    return folder


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
