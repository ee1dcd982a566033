"""The bundled decoders are as good as their cards say (a cheap part is measured again)."""

from __future__ import annotations

import os

import pytest

from minidiff import data, pretrained
from minidiff.data.shapes import captioned
from minidiff.recipes import mnist_autoencoder, results, shapes_autoencoder, shapes_upscaler

N = 60
needs_mnist = pytest.mark.skipif("MINIDIFF_DATA" not in os.environ, reason="MINIDIFF_DATA does not name a folder")


def again(recipe, remake):
    """Figures of a few unseen scenes, beside those of the card."""
    known = captioned(N, "unseen", size=64, seed=recipe.TEST_SEED)
    found = remake(known.x)
    kept = shapes_autoencoder.attributes_kept(known.scenes, known.x, found)
    return {**shapes_autoencoder.fidelity(known.x, found), **kept}, pretrained.load(recipe.NAME).card["metrics"]


def test_the_autoencoder_keeps_what_a_picture_shows():
    model = pretrained.load(shapes_autoencoder.NAME).model
    found, card = again(shapes_autoencoder, lambda x: shapes_autoencoder.reconstructed(model, x))
    assert card["n"] == 2000 and card["psnr"] >= 30 and card["attributes_kept"] >= 0.98
    assert found["psnr"] == pytest.approx(card["psnr"], abs=1.5)
    assert found["attributes_kept"] == pytest.approx(card["attributes_kept"], abs=0.06)


def test_its_latents_have_unit_variance():
    model = pretrained.load(shapes_autoencoder.NAME).model
    z = model.latents(captioned(300, "validation", size=64, seed=3).x)
    assert z.shape == (300, 4, 8, 8) and z.std().item() == pytest.approx(1, abs=0.05)
    dead, *living = z.std(dim=(0, 2, 3)).tolist()  # lesson 06 says so
    assert dead < 0.2 and min(living) > 0.7


def test_the_way_through_latents_was_fast():
    found = results.find("latent_speed")["value"]
    assert found["times as fast"] >= 10 and found["share of decoding"] <= 0.4
    route = found["latents, seconds"] + found["decoding, seconds"]
    assert found["times as fast"] == pytest.approx(found["pixels, seconds"] / route)


def test_the_upscaler_puts_back_what_was_thrown_away():
    model = pretrained.load(shapes_upscaler.NAME).model

    def remake(x):
        return shapes_upscaler.upscale(model, data.downsample(x, 4), seed=shapes_upscaler.NOISE_SEED, faithful=True)

    found, card = again(shapes_upscaler, remake)
    assert card["n"] == 2000 and card["attributes_kept"] >= 0.98
    assert found["psnr"] == pytest.approx(card["psnr"], abs=1.5)
    assert found["attributes_kept"] == pytest.approx(card["attributes_kept"], abs=0.08)


@needs_mnist
def test_digits_stay_readable():
    found = pretrained.load(mnist_autoencoder.NAME)
    measured, card = mnist_autoencoder.evaluate(found.model, 500), found.card["metrics"]
    assert card["n"] == 10_000 and card["read_after"] >= card["read_before"] - 0.01
    assert measured["psnr"] == pytest.approx(card["psnr"], abs=1)
