"""Small sets in torchvision's file formats, written in place of the real ones."""

import hashlib
import pickle
import struct

import numpy as np


def mnist_arrays(n, seed, height=28, width=28):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, height, width), dtype=np.uint8)
    return pixels, rng.integers(0, 10, n, dtype=np.uint8)


def write_mnist(raw, train, test):
    """Four idx files; `train` and `test` are (pixels [N,H,W], labels [N])."""
    raw.mkdir(parents=True, exist_ok=True)
    for prefix, (pixels, labels) in (("train", train), ("t10k", test)):
        head = struct.pack(">iiii", 0x803, *pixels.shape)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 0x801, len(labels)) + labels.tobytes())


def write_cifar(root, monkeypatch, train, test):
    """Pickled batches, and torchvision told their checksums; `train` and `test` are (pixels [N,3,32,32], labels)."""
    from torchvision.datasets import CIFAR10

    def write(name, content):
        path = root / CIFAR10.base_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(content))
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()

    def part(name, pixels, labels):
        return [name, write(name, {"data": pixels.reshape(len(pixels), -1), "labels": list(map(int, labels))})]

    half = len(train[0]) // 2
    parts = [part("one", train[0][:half], train[1][:half]), part("two", train[0][half:], train[1][half:])]
    monkeypatch.setattr(CIFAR10, "train_list", parts)
    monkeypatch.setattr(CIFAR10, "test_list", [part("three", *test)])
    meta = {"filename": "meta", "key": "label_names", "md5": write("meta", {"label_names": list("abcdefghij")})}
    monkeypatch.setattr(CIFAR10, "meta", meta)
