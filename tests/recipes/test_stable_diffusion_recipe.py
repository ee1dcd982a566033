"""The recipe of Stable Diffusion's generation model, from scenes to card."""

from __future__ import annotations

import json

import torch

from minidiff import pretrained
from minidiff.data.shapes import tokenizer
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig
from minidiff.models.unet import UNet, UNetConfig
from minidiff.recipes import stable_diffusion

SMALL = UNetConfig(channels=4, width=16, mults=(1, 2), blocks=1, attention=(1,), head_dim=8, text=128)


def untrained_decoder(monkeypatch):
    torch.manual_seed(0)
    real, decoder = pretrained.load, Autoencoder(AutoencoderConfig(width=8, mults=(1, 2), patch=4, groups=4)).eval()

    def load(name, **options):
        return pretrained.Pretrained(decoder, {}) if name == "shapes-autoencoder" else real(name, **options)

    monkeypatch.setattr(pretrained, "load", load)
    return decoder


def test_the_recipe_leaves_weights_and_a_full_card(monkeypatch, tmp_path):
    untrained_decoder(monkeypatch)
    monkeypatch.setattr(stable_diffusion, "CONFIG", SMALL)
    monkeypatch.setattr(stable_diffusion, "OPTIONS", stable_diffusion.OPTIONS._replace(steps=2))
    made = stable_diffusion.train(tmp_path / "out", images=3 * 128, work=tmp_path / "work", n=10, pictures=300)
    card = json.loads((tmp_path / "out" / "shapes-latent-unet.json").read_text())
    assert card == made.card and card["images_seen"] == 3 * 128
    assert set(card["metrics"]) == set(card["first_metrics"]) == {"unseen", "held_out"}
    assert {"all_1", "all_2", "colour_1", "relation_2"} <= set(card["metrics"]["unseen"])
    assert card["second"]["images_seen"] == 320 and card["second"]["levels"] == stable_diffusion.LEVELS


def test_the_pool_holds_scaled_latents_of_captioned_pictures(monkeypatch):
    decoder = untrained_decoder(monkeypatch)
    found = stable_diffusion.pool(decoder, 6, chunk=3)
    assert found["x"].shape == (6, 4, 8, 8) and found["tokens"].shape == found["mask"].shape == (6, 24)
    again = stable_diffusion.pool(decoder, 6, chunk=3)
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_pools_of_one_and_of_two_objects_are_put_together(monkeypatch):
    decoder = untrained_decoder(monkeypatch)
    found = stable_diffusion.pools(decoder, {1: 2, 2: 5}, seed=3)
    one, two = (stable_diffusion.pool(decoder, n, 3 + objects, objects=objects) for objects, n in ((1, 2), (2, 5)))
    for name in one:
        assert torch.equal(found[name], torch.cat([one[name], two[name]]))


def test_captions_are_dropped_together_with_their_mask(monkeypatch):
    clip, seen = pretrained.load("mini-clip").model, []
    monkeypatch.setattr(stable_diffusion, "DROP", 1.0)

    class Model(torch.nn.Module):
        def forward(self, x_t, t, text, mask):
            seen.append((text, mask))
            return x_t

    batch = {"x": torch.randn(2, 4, 8, 8), **tokenizer()(["a red circle", "a large blue star"])}
    stable_diffusion.loss(clip)(Model(), batch)
    text, mask = seen[0]
    empty = tokenizer()([""])
    torch.testing.assert_close(text[0], clip.text.tokens(empty["tokens"])[0])
    assert mask.sum(1).tolist() == [2, 2]
    assert not text.requires_grad


def test_one_step_moves_the_unet_alone():
    torch.manual_seed(0)
    clip, unet = pretrained.load("mini-clip").model, UNet(SMALL)
    batch = {"x": torch.randn(2, 4, 8, 8), **tokenizer()(["a red circle", "a large blue star"])}
    loss, _ = stable_diffusion.loss(clip)(unet, batch)
    loss.backward()
    assert unet.head.weight.grad.abs().max() > 0 and all(p.grad is None for p in clip.parameters())
