"""What is measured of a whole system: bars, sweeps, and the text encoder exchanged; with systems of no training."""

from __future__ import annotations

import json

import pytest
import torch

from minidiff import pretrained
from minidiff.data import shapes
from minidiff.data.shapes import captioned, tokenizer
from minidiff.diffusion import Schedule
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig
from minidiff.models.unet import UNet, UNetConfig
from minidiff.pipelines import StableDiffusion
from minidiff.recipes import stable_diffusion, system_bars, text_encoder_swap
from minidiff.recipes.results import kept

SMALL = UNetConfig(channels=4, width=16, mults=(1, 2), blocks=1, attention=(1,), head_dim=8, text=128)


@pytest.fixture
def untrained(monkeypatch):
    torch.manual_seed(0)
    real, decoder = pretrained.load, Autoencoder(AutoencoderConfig(width=8, mults=(1, 2), patch=4, groups=4)).eval()

    def load(name, **options):
        return pretrained.Pretrained(decoder, {}) if name == "shapes-autoencoder" else real(name, **options)

    monkeypatch.setattr(pretrained, "load", load)
    monkeypatch.setattr(stable_diffusion, "CONFIG", SMALL)
    options = stable_diffusion.OPTIONS._replace(steps=2)
    monkeypatch.setattr(stable_diffusion, "OPTIONS", options)
    return StableDiffusion(tokenizer(), real("mini-clip").model, UNet(SMALL).eval(), decoder, options)


class Stub(torch.nn.Module):
    """A model that answers as a function does."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.weight = answer, torch.nn.Parameter(torch.zeros(1))

    def forward(self, x_t, t, text, mask):
        return self.answer(x_t, t, text, mask)


def recorded(folder):
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def test_a_bar_has_its_floors_and_interval(untrained, results):
    found = system_bars.bar(untrained, "unseen", 1, 24)
    assert found["true"]["all"] == 1 and found["system"]["all"] == 0
    assert found["system"]["interval"][0] == 0 < found["system"]["interval"][1] < 0.25
    system_bars.report_bars({"one object": found}, {"one object": 24})
    made = recorded(results)["09_bar_one_object"]
    assert made["value"] == 0 and made["floor"] == 1 and made["holds"] is False and made["claim"] == 4
    assert made["note"].startswith("24 captions")
    assert recorded(results)["09_bars_reconstructed"]["value"] == {"one object": found["reconstructed"]["all"]}
    assert recorded(results)["09_bars_captions"]["value"] == {"one object": 24}


def test_the_bars_ask_for_what_the_training_measured(untrained):
    scenes = stable_diffusion.wanted(12, "unseen", 2)
    bar = system_bars.bar(untrained, "unseen", 2, 12)
    again = stable_diffusion.evaluate(untrained, "unseen", 12)
    assert {f"{key}_2": value for key, value in bar["system"].items() if key != "interval"}.items() <= again.items()
    assert all(len(scene.things) == 2 for scene in scenes)


def test_drawing_on_from_a_level_begins_there_with_the_true_latents(untrained, monkeypatch):
    scenes = stable_diffusion.wanted(3, "validation", 2)
    z = untrained.autoencoder.latents(shapes.draw(scenes, 64, seed=stable_diffusion.TEST_SEED))
    seen, decoded = [], []

    def oracle(z_t, t, text, mask):  # v of the true latents, as if the noise were known
        schedule = Schedule.linear(1000)
        signal, noise = schedule.coefficients(t, z_t)
        x0 = z.repeat(len(z_t) // len(z), 1, 1, 1)
        seen.append(int(t[0]))
        return signal * (z_t - signal * x0) / noise - noise * x0

    monkeypatch.setattr(untrained, "unet", Stub(oracle))
    monkeypatch.setattr(untrained, "decode", lambda z: decoded.append(z) or torch.zeros(len(z), 3, 64, 64))
    untrained.options = untrained.options._replace(steps=4)
    assert system_bars.from_level(untrained, 300, 3) == 0
    assert seen == [300, 225, 150, 75]
    torch.testing.assert_close(decoded[0], z, atol=1e-4, rtol=0)
    assert system_bars.from_level(untrained, 0, 3) == 0 and len(seen) == 4
    torch.testing.assert_close(decoded[1], z)


def test_a_sweep_changes_one_option(untrained, results):
    seen = []
    real = untrained.trajectory

    def watched(text, **options):
        seen.append(options["steps"])
        return real(text, **options)

    untrained.trajectory = watched
    row = system_bars.sweep(untrained, "steps", 3, 6)
    assert set(seen) == {3} and {"all_1", "all_2", "distance_1", "processor_seconds_a_picture"} <= set(row)
    system_bars.report_sweep("09_steps", {"3": row}, 6, "guidance 2")
    assert recorded(results)["09_steps_distance_1"]["value"] == {"3": row["distance_1"]}


def test_a_finished_row_is_read_back(tmp_path):
    made = []
    for _ in range(2):
        assert kept(tmp_path / "row.json", lambda: made.append(1) or {"a": 1}) == {"a": 1}
    assert made == [1]


def test_encoders_are_exchanged_and_all_else_is_the_same(untrained, results, tmp_path):
    text_encoder_swap._pool.cache_clear()
    rows = {
        name: text_encoder_swap.row(name, images=64, n=6, pictures=40, work=tmp_path / "work")
        for name in text_encoder_swap.ENCODERS
    }
    again = text_encoder_swap.row("bag of words", images=64, n=6, pictures=40, work=tmp_path / "work")
    assert again == rows["bag of words"] and {"all_1", "all_2", "held_out_all_1"} <= set(again)
    text_encoder_swap.report(rows, n=6)
    made = recorded(results)["09_text_encoder_classifier_colour_2"]
    assert set(made["value"]) == {"Transformer", "bag of words"} and made["holds"] is False and made["claim"] == 5


def test_a_classifier_tells_attributes_apart_and_which_object_has_them():
    known = captioned(60, "unseen", size=64, objects=2, seed=5)
    right = text_encoder_swap.told_apart(known.scenes, known.x)
    assert set(right) == {"shape", "colour", "size", "relation", "background"} and min(right.values()) > 0.9
    swapped = text_encoder_swap.told_apart([scene.swapped() for scene in known.scenes], known.x)
    assert swapped["background"] == right["background"] and swapped["colour"] < 0.4
    one = captioned(30, "unseen", size=64, objects=1, seed=5)
    assert text_encoder_swap.told_apart(one.scenes, one.x)["place"] > 0.9
