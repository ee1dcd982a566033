"""What the tests of recipes share."""

import pytest

from minidiff import data
from minidiff.recipes import gan_measures


@pytest.fixture
def small_mnist(monkeypatch):
    """The embedded digits in the place of MNIST: the same interface, 300 and 90 pictures."""

    def load(name, split="train", *, device="cpu", **_):
        assert name == "mnist"
        whole = real_load("digits", split)
        return {k: v[: 300 if split == "train" else 90].to(device) for k, v in whole.items()}

    real_load = data.load
    monkeypatch.setattr(data, "load", load)
    gan_measures.reference.cache_clear()  # it keeps what it has made of the real set, or of this one
    yield load
    gan_measures.reference.cache_clear()
