"""The mini-CLIP's recipe and the sweeps of lesson 05 on a small scale; the bundled weights against their bars."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from minidiff import pretrained
from minidiff.data.shapes import gallery
from minidiff.recipes import clip_runs, clip_sweeps, mini_clip
from minidiff.recipes.clip_runs import Run

TINY = replace(Run(), image=replace(clip_runs.resnet(4), blocks=(1,)), batch=16, images=64, pairs=64)


@pytest.fixture
def small(monkeypatch):
    """Few test pictures, and no probe."""
    real = clip_runs.tested
    monkeypatch.setattr(clip_runs, "tested", lambda split, style="plain", n=20: real(split, style, 20))
    monkeypatch.setattr(clip_runs, "digits_probe", lambda model: 0.5)


def test_the_recipe_leaves_weights_and_a_full_card(monkeypatch, tmp_path):
    monkeypatch.setattr(mini_clip, "WORKERS", 0)
    monkeypatch.setattr(mini_clip, "BATCH", 32)
    made = mini_clip.train(tmp_path / "out", images=2 * mini_clip.BATCH, work=tmp_path / "work", n=40)
    card = json.loads((tmp_path / "out" / "mini-clip.json").read_text())
    assert card == made.card and card["images_seen"] == 2 * mini_clip.BATCH
    assert set(card["metrics"]) == {"retrieval", "zero_shot_seen_pairs", "zero_shot_held_out_pairs"}
    assert 0 <= made.model.logit_scale.item() <= 4.61


def test_recall_is_that_of_the_hand_made_table():
    """A model that knows each scene's number finds all; one to which a swap is the same ties with it: it finds none."""
    scenes = gallery(40, "unseen", seed=11)

    class Knows(torch.nn.Module):
        def __init__(self, blind):
            super().__init__()
            order = [scenes.index(s.swapped()) if len(s) == 2 else i for i, s in enumerate(scenes)]
            same = [min(i, j) for i, j in enumerate(order)] if blind else list(range(len(scenes)))
            self.rows = torch.eye(len(scenes))[same]
            self.logit_scale = torch.tensor(0.0)

        def encode_image(self, x):
            return self.rows

        encode_text = encode_image

    known, blind = (mini_clip.recall(Knows(b), n=40) for b in (False, True))
    assert all(value == 1 for value in known.values())
    assert blind["1_object_captions_at_1"] == 1 and blind["2_object_captions_at_1"] == 0  # a tie counts against it
    assert blind["2_object_captions_at_5"] == 1 and blind["swap_told_apart"] == 0


def test_the_bundled_model_meets_the_bars():
    made = pretrained.load(mini_clip.NAME)
    assert (pretrained.CHECKPOINTS / f"{mini_clip.NAME}.safetensors").stat().st_size <= 6_000_000
    metrics = made.card["metrics"]
    assert metrics["retrieval"]["1_object_captions_at_1"] >= 0.85
    assert metrics["zero_shot_seen_pairs"] >= 0.98 and metrics["zero_shot_held_out_pairs"] >= 0.85
    again = mini_clip.zero_shot(made.model, "held_out", 300)
    assert again == pytest.approx(metrics["zero_shot_held_out_pairs"], abs=0.03)
    assert mini_clip.recall(made.model, n=200)["1_object_captions_at_1"] >= 0.95


@pytest.mark.parametrize("objective", ("contrastive", "words", "caption", "labels"))
def test_a_run_leaves_a_row_and_is_read_back(objective, small, tmp_path):
    made = replace(TINY, objective=objective)
    found = clip_runs.row(made, work=tmp_path)
    assert {"zero_shot_plain", "zero_shot_held_out", "digits_probe", "parameters", "hardware", "run"} <= set(found)
    assert ("recall" in found) == (objective == "contrastive")
    assert len(found["curve"]["images"]) == len(found["curve"]["zero_shot"]) > 1
    path = tmp_path / f"{made.name}.json"
    path.write_text(json.dumps({**found, "zero_shot_plain": 0.25}))
    assert clip_runs.row(made, work=tmp_path)["zero_shot_plain"] == 0.25


def test_runs_that_differ_have_other_names():
    runs = [TINY, replace(TINY, seed=1), replace(TINY, noise=0.5), replace(TINY, image=clip_sweeps.TOWERS["ViT"].image)]
    assert len({run.name for run in runs}) == len(runs)


def test_noise_gives_captions_to_other_pictures(small):
    clean, noisy = (clip_runs.Pool(replace(TINY, noise=noise), "cpu").order.batch for noise in (0.0, 0.5))
    moved = (clean["tokens"] != noisy["tokens"]).any(1).double().mean()
    assert torch.equal(clean["tokens"], clip_runs.pool(64)["tokens"])
    assert 0.2 < moved < 0.8 and torch.equal(clean["x"], noisy["x"])
    assert sorted(map(tuple, clean["tokens"].tolist())) == sorted(map(tuple, noisy["tokens"].tolist()))


def test_a_small_pool_is_the_beginning_of_a_large_one():
    small, large = clip_runs.pool(64), clip_runs.pool(150)
    assert all(torch.equal(small[k], large[k][:64]) for k in large)


def test_without_projection_the_towers_are_the_embeddings(small):
    run = replace(TINY, text=clip_runs.writer(TINY.image.width), dim=TINY.image.width, projected=False)
    model = clip_runs.build(run).eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.encode_image(x), torch.nn.functional.normalize(model.image(x), dim=1))
    with pytest.raises(ValueError, match="must equal dim without projections; got 16, 64 and 64"):
        clip_runs.build(replace(TINY, projected=False))


def test_a_fixed_temperature_stays(small):
    model, _ = clip_runs.train(replace(TINY, scale=5.0, curve=False))
    assert model.logit_scale.exp().item() == pytest.approx(5.0)


def test_towers_are_matched():
    built = [clip_runs.build(run) for run in clip_sweeps.TOWERS.values()]
    sizes = [sum(p.numel() for p in model.image.parameters()) for model in built]
    assert max(sizes) <= 1.05 * min(sizes)


def test_images_to_an_accuracy():
    row = {"curve": {"images": [10, 20, 30], "zero_shot": [0.1, 0.5, 0.4]}}
    assert clip_sweeps.images_to(row, 0.05) == 5 and clip_sweeps.images_to(row, 0.3) == 15
    assert clip_sweeps.images_to(row, 0.6) == float("inf")


def test_every_part_of_the_runs_is_somebodys():
    assert sorted(sum((clip_sweeps.part(range(11), f"{k}/3") for k in (1, 2, 3)), [])) == list(range(11))
    with pytest.raises(ValueError, match="part must be K/N with K from 1 to N; got '4/3'"):
        clip_sweeps.part(range(3), "4/3")
