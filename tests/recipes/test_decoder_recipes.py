"""The recipes of the decoders, from data to card, and what they measure."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from minidiff import pretrained
from minidiff.data.shapes import captioned
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig
from minidiff.models.unet import UNet
from minidiff.recipes import (
    decoder_terms,
    decoders,
    latent_sweep,
    mnist_autoencoder,
    results,
    shapes_autoencoder,
    shapes_upscaler,
    three_ways,
)  # fmt: skip

TINY = AutoencoderConfig(channels=3, latent=4, width=8, mults=(1, 2), patch=4, groups=4)


@pytest.mark.parametrize("recipe", (shapes_autoencoder, shapes_upscaler))
def test_a_recipe_leaves_weights_and_a_full_card(recipe, tmp_path):
    made = recipe.train(tmp_path / "out", images=4 * recipe.BATCH, work=tmp_path / "work", n=12)
    card = json.loads((tmp_path / "out" / f"{recipe.NAME}.json").read_text())
    assert card == made.card and card["images_seen"] == 4 * recipe.BATCH
    assert {"recipe", "data", "seed", "versions", "hardware", "commit", "training_seconds", "model"} <= set(card)
    assert {"psnr", "psnr_on_edges", "attributes_kept"} <= set(card["metrics"])
    with pytest.raises(FileExistsError, match="resume"):
        recipe.train(tmp_path / "out", images=4 * recipe.BATCH, work=tmp_path / "work", n=12)


def test_later_trainings_move_what_they_should(tmp_path):
    torch.manual_seed(0)
    model = Autoencoder(TINY)
    model.scale.fill_(0.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = shapes_autoencoder.refine(model, 32, 0.4, 2, tmp_path).ema.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name.startswith(("decoder.", "post_quant.")) for name in moved)
    with pytest.raises(FileExistsError, match="resume"):
        shapes_autoencoder.refine(model, 32, 0.4, 2, tmp_path)
    shapes_autoencoder.refine(model, 32, 0.4, 3, tmp_path)  # a training of its own


def test_the_cards_of_decoders_tell_of_every_training(tmp_path):
    made = shapes_autoencoder.train(tmp_path, images=4 * 16, work=tmp_path / "work", n=12)
    told = [(part["images_seen"], part["off"]) for part in made.card["decoder"]]
    assert told == [(64, 0.0), (48, 0.4), (32, 0.25)]
    assert list(made.card["decoder"][1]["kept_when_off"]) == ["0", "0.1", "0.2", "0.3"]
    made = shapes_upscaler.train(tmp_path, images=4 * 16, work=tmp_path / "work", n=12)
    told = [(part["images_seen"], part["coarse"]) for part in made.card["clean"]]
    assert told == [(32, 0.0), (96, 8.0)]
    first, second = (part["metrics_before"]["psnr"] for part in made.card["clean"])
    assert len({first, second, made.card["metrics"]["psnr"]}) == 3


def test_the_decoders_recipe_measures_both_and_tells_of_every_stage(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    for name in ("autoencoder", "upscaler"):
        found = decoders.kept(name, 8)
        assert 0 <= found["interval"][0] <= found["after"] <= found["interval"][1] <= 1 and found["before"] == 1
        decoders.report(name, {"after": 0.96, "interval": (0.951, 0.97), "before": 1.0}, 8)
        told = results.find(f"06_decoder_{name}")
        assert told["claim"] == 14 and told["holds"] and told["floor"] == 1 and told["value"] == 0.96
    decoders.report("upscaler", {"after": 0.96, "interval": (0.949, 0.97), "before": 1.0}, 8)
    assert not results.find("06_decoder_upscaler")["holds"]
    decoders.report_stages()
    found = results.find("06_decoder_refined")
    card = pretrained.load(shapes_autoencoder.NAME).card
    assert found["value"]["first training: psnr"] == card["decoder"][0]["metrics_before"]["psnr"]
    assert list(found["value"].values())[-1] == card["metrics"]["attributes_kept"]
    assert found["provenance"]["images"] == card["images_seen"] + sum(p["images_seen"] for p in card["decoder"])


def test_the_digits_recipe_leaves_weights_and_a_full_card(small_mnist, tmp_path):
    made = mnist_autoencoder.train(tmp_path / "out", images=4 * 32, work=tmp_path / "work", n=40)
    assert {"psnr", "read_before", "read_after", "nats_a_picture"} <= set(made.card["metrics"])
    x = torch.rand(300, 1, 32, 32) * 2 - 1
    assert made.model.scale.item() == pytest.approx(made.card["scale"], rel=1e-3)
    assert made.model.latents(x).shape == (300, 2, 8, 8)


def test_the_scale_makes_unit_variance(tmp_path):
    torch.manual_seed(0)
    made = shapes_autoencoder.train(tmp_path / "out", images=4 * 16, work=tmp_path / "work", n=12)
    x = captioned(2000, "train", size=64, seed=shapes_autoencoder.SEED + 5).x
    z = torch.cat([made.model.latents(part) for part in x.split(250)])
    assert z.std().item() == pytest.approx(1, abs=0.01)


def test_kept_attributes_are_a_ratio_and_fidelity_pools_squares():
    known = captioned(6, "validation", size=64, seed=3)
    found = known.x.clone()
    found[:2] = 0
    kept = shapes_autoencoder.attributes_kept(known.scenes, known.x, found)
    assert kept["attributes_kept"] == pytest.approx(4 / 6) and kept["attributes_before"] == 1
    moved = known.x + torch.tensor([0.1, 0.2, 0.1, 0.2, 0.1, 0.2]).view(-1, 1, 1, 1)
    found = shapes_autoencoder.fidelity(known.x, moved)
    assert found["psnr"] == pytest.approx(10 * torch.log10(torch.tensor(4 / 0.025)).item(), abs=1e-3)
    assert found["psnr_on_edges"] == pytest.approx(found["psnr"], abs=1e-3)
    assert found["psnr_mean_over_pictures"] > found["psnr"]


def test_perceptual_maps_are_a_classifiers_first_two_stages():
    found = pretrained.load("shapes-classifier").model
    first, second = shapes_autoencoder.maps(found)(torch.zeros(2, 3, 64, 64))
    assert first.shape[2:] == (32, 32) and second.shape[2:] == (16, 16)


@pytest.mark.parametrize("factor", (2, 4))
def test_upscaling_does_not_depend_on_the_batch_and_knows_its_level(factor):
    torch.manual_seed(0)
    model = UNet(shapes_upscaler.CONFIG)
    for parameter in model.parameters():  # the zero-initialised layers too, so that every condition matters
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    low = torch.rand(5, 3, 4, 8) * 2 - 1
    whole = shapes_upscaler.upscale(model, low, factor, steps=3, seed=7)
    assert whole.shape == (5, 3, 4 * factor, 8 * factor) and whole.abs().max() <= 1
    parts = shapes_upscaler.upscale(model, low, factor, steps=3, seed=7, batch=2)
    torch.testing.assert_close(whole, parts, atol=1 / 255, rtol=0)
    other = shapes_upscaler.upscale(model, low, factor, level=100, steps=3, seed=7)
    assert not torch.allclose(whole, other, atol=0.01)


def test_the_sweep_keeps_its_rows_and_writes_all_figures(small_mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(latent_sweep, "STEPS", 3)
    rows = {w: latent_sweep.row(w, images=96, painted=96, n=30, work=tmp_path / "work") for w in (0.0, 1.0)}
    latent_sweep.report(rows)
    found = results.find("06_kl_psnr")
    assert found["value"] == {"0": rows[0.0]["psnr"], "1": rows[1.0]["psnr"]}
    again = latent_sweep.row(1.0, images=96, painted=96, n=30, work=tmp_path / "work")
    assert again == rows[1.0] and 0 <= again["drawn_as_asked"] <= 1


def stand_ins(monkeypatch):
    torch.manual_seed(0)
    real = pretrained.load
    models = {"shapes-autoencoder": Autoencoder(TINY).eval(), "shapes-upscaler": UNet(shapes_upscaler.CONFIG).eval()}

    def load(name, **options):
        return pretrained.Pretrained(models[name], {"training_seconds": 1}) if name in models else real(name, **options)

    monkeypatch.setattr(pretrained, "load", load)
    monkeypatch.setattr(three_ways, "STEPS", 2)


def test_three_ways_are_measured_alike(monkeypatch, tmp_path):
    stand_ins(monkeypatch)
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(three_ways, "TRIAL", 1)
    found = three_ways.ways()
    rows = {name: three_ways.row(name, way, seconds=0.1, n=12, work=tmp_path) for name, way in found.items()}
    assert list(rows) == ["pixels", "small picture", "latents"]
    assert all(0 <= row["all"] <= 1 and row["frechet_distance"] >= 0 for row in rows.values())
    assert rows == {name: three_ways.row(name, way, seconds=0.1, n=12, work=tmp_path) for name, way in found.items()}
    floors = {name: three_ways.floor(way, n=12) for name, way in found.items()}
    assert floors["pixels"]["all"] == 1
    three_ways.report(rows, floors)
    assert "pixels, perfect model" in results.find("06_ways_all")["value"]
    swept = results.find("06_cascade")["value"]
    assert list(map(int, swept)) == list(three_ways.LEVELS) and min(swept.values()) > 0


def test_the_level_with_the_least_distance_is_taken(monkeypatch):
    seen, way = [], three_ways.ways()["pixels"]
    far = {0: 3.0, 10: 1.0, 50: 2.0}
    chosen = dataclasses.replace(way, levels=tuple(far), decode=lambda x, level: seen.append(level) or x)
    monkeypatch.setattr(three_ways, "cascade", lambda model, way, n: far)
    monkeypatch.setattr(three_ways, "TRIAL", 1)
    three_ways._row(chosen, 0.1, 12)
    assert seen == [10]


def test_rows_of_other_decoders_are_not_read_back(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(three_ways, "kept", lambda path, make: kept.append(path) or {})
    monkeypatch.setattr(pretrained, "CHECKPOINTS", tmp_path)
    for content in (b"one", b"other"):
        for name in ("shapes-upscaler", "shapes-autoencoder"):
            (tmp_path / f"{name}.safetensors").write_bytes(content)
        three_ways.row("pixels", None)
    assert kept[0] != kept[1]


def test_all_ways_have_the_same_widths(monkeypatch):
    stand_ins(monkeypatch)
    x = captioned(3, "validation", size=64, objects=1, seed=3).x
    sizes = {name: tuple(way.encode(x).shape[1:]) for name, way in three_ways.ways().items()}
    assert sizes == {"pixels": (3, 64, 64), "small picture": (3, 16, 16), "latents": (4, 8, 8)}
    widths = {(way.config().width, way.config().mults, way.config().blocks) for way in three_ways.ways().values()}
    assert len(widths) == 1


def test_terms_and_factors_are_trained_measured_and_kept(small_mnist, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path / "results"))
    found = decoder_terms.rows(images=128, n=30, work=tmp_path / "work")
    terms = [found["terms"][name]["psnr"] for name in decoder_terms.TERMS]
    assert len(set(terms)) == 3  # each term changes what is learned
    assert set(found["factors"]) == {f"{loss} x {k}" for loss in ("regression", "diffusion") for k in (2, 4)} | {
        "true digits"
    }
    decoder_terms.report(found, 128, 30)
    assert results.find("06_factors_psnr")["value"]["regression x 2"] == found["factors"]["regression x 2"]["psnr"]
    assert set(results.find("06_terms_frechet_distance")["value"]) == {*decoder_terms.TERMS, "true digits"}
    monkeypatch.setattr(decoder_terms, "autoencoder", None)  # kept rows train nothing
    assert decoder_terms.rows(images=128, n=30, work=tmp_path / "work")["terms"] == found["terms"]


def test_grey_pixels_and_the_floor_of_the_digits(small_mnist):
    x, y = torch.full((12, 1, 32, 32), 1.0), torch.zeros(12, dtype=torch.long)
    found = x.clone()
    found[:, :, :8] = 0.5
    grey = decoder_terms.measure(x, y, found, x)
    assert grey["grey_pixels"] == 0.25 and grey["frechet_distance"] > 0
    assert decoder_terms.measure(x, y, x, x)["frechet_distance"] == pytest.approx(0, abs=1e-4)
