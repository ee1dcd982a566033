"""Recipes run from data to card on a small stand-in; sampling does not depend on the batch."""

from __future__ import annotations

import json

import pytest
import torch

from minidiff import pretrained
from minidiff.models.unet import UNet
from minidiff.recipes import mnist_classifier, mnist_ddpm, shapes_classifier
from minidiff.recipes.command import command
from minidiff.recipes.provenance import provenance


@pytest.fixture
def untrained():
    torch.manual_seed(0)
    model = UNet(mnist_ddpm.CONFIG)
    for parameter in model.parameters():  # the zero-initialised layers too, so that every condition matters
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def test_both_recipes_leave_weights_and_a_full_card(small_mnist, monkeypatch, tmp_path):
    monkeypatch.setattr(mnist_classifier, "VALIDATION", 40)
    out, work = tmp_path / "out", tmp_path / "work"
    judge = mnist_classifier.train(out, images=2 * 128, work=work)
    assert set(judge.card["metrics"]) == {"validation_accuracy", "test_accuracy"}

    real_load = pretrained.load
    monkeypatch.setattr(pretrained, "load", lambda name, **options: real_load(name, **{"folder": out, **options}))
    monkeypatch.setattr(mnist_ddpm, "UNGUIDED_STEPS", 3)
    made = mnist_ddpm.train(out, images=3 * 128, work=work, n=30)
    card = json.loads((out / "mnist-ddpm.json").read_text())
    assert card == made.card
    assert card["images_seen"] == 3 * 128 and card["seed"] == 0
    assert {"recipe", "data", "versions", "hardware", "commit", "training_seconds", "model"} <= set(card)
    assert {"real", "guided", "unguided"} <= set(card["metrics"])
    for part in ("guided", "unguided"):
        shares = card["metrics"][part]
        assert 0 <= shares["share_of_asked_class"] <= 1 and shares["frechet_distance_in_classifier_features"] >= 0
    with pytest.raises(FileExistsError, match="resume"):
        mnist_ddpm.train(out, images=3 * 128, work=work, n=30)


def test_the_shapes_classifier_leaves_weights_and_a_full_card(monkeypatch, tmp_path):
    real = shapes_classifier.accuracy
    monkeypatch.setattr(shapes_classifier, "accuracy", lambda *arguments: real(*arguments, n=20))
    made = shapes_classifier.train(tmp_path / "out", images=2 * 128, work=tmp_path / "work")
    card = json.loads((tmp_path / "out" / "shapes-classifier.json").read_text())
    assert card == made.card and card["images_seen"] == 256
    splits = ("validation", "unseen", "held_out")
    assert set(card["metrics"]) == {f"{split}_accuracy_{k}" for split in splits for k in (1, 2)}


def test_features_get_unit_variance_and_the_logits_stay():
    torch.manual_seed(3)
    model = shapes_classifier.Classifier(shapes_classifier.CONFIG).eval()
    model.project.weight.data *= 37
    x = shapes_classifier.captioned(200, "train", seed=1).x
    before = model(x)
    after = shapes_classifier.unit_variance(model, x)
    torch.testing.assert_close(after(x), before, rtol=1e-4, atol=1e-4)
    assert after.features(x).var(dim=0).mean().item() == pytest.approx(1, rel=1e-4)


def test_softening_adds_noise_of_another_strength_to_each_picture():
    torch.manual_seed(2)
    batch = {"x": torch.zeros(300, 3, 8, 8), "y": torch.zeros(300, 51)}
    soft = shapes_classifier.soften(batch)
    strength = soft["x"].flatten(1).std(dim=1)
    assert soft["y"] is batch["y"] and strength.max() < 0.12 and strength.mean().item() == pytest.approx(0.05, abs=0.01)
    assert strength.std() > 0.02 and not batch["x"].any()


def test_every_recipe_has_the_same_command(monkeypatch, tmp_path, capsys):
    seen = []

    def train(out, images, resume):
        seen.append((out, images, resume))
        return pretrained.Pretrained(None, {"metrics": {"share": 0.5}}) if images > 5 else None

    monkeypatch.setattr("sys.argv", ["recipe"])
    command(train, "About.", 7)
    monkeypatch.setattr("sys.argv", ["recipe", "--out", str(tmp_path), "--images", "3", "--resume"])
    command(train, "About.", 7)
    assert seen == [(pretrained.CHECKPOINTS, 7, False), (tmp_path, 3, True)]
    assert capsys.readouterr().out == "{'share': 0.5}\n"


def test_jitter_moves_ink_without_inventing_any():
    torch.manual_seed(1)
    batch = {"x": torch.full((5, 1, 32, 32), -1.0), "y": torch.arange(5)}
    batch["x"][:, :, 12:20, 13:18] = 1.0
    moved = mnist_classifier.jitter(batch)
    assert moved["x"].shape == batch["x"].shape and moved["y"] is batch["y"]
    assert moved["x"].min() >= -1 and moved["x"].max() <= 1 + 1e-6
    ink = (moved["x"] + 1).sum((1, 2, 3)) / (batch["x"] + 1).sum((1, 2, 3))
    assert (ink > 0.7).all() and (ink < 1.4).all()  # the zoom of at most 12 % a side
    assert not torch.equal(moved["x"][0], moved["x"][1])


def test_jitter_keeps_paper_blank_at_the_rim():
    paper = torch.full((3, 1, 32, 32), -1.0)
    assert torch.equal(mnist_classifier.jitter({"x": paper})["x"], paper)


def test_the_same_seed_gives_the_same_picture_in_any_batch(untrained):
    y = torch.tensor([3, 1, 4, 1, 5])
    whole = mnist_ddpm.sample(untrained, y, steps=4, scale=2.5, seed=11)
    split = mnist_ddpm.sample(untrained, y, steps=4, scale=2.5, seed=11, batch=2)
    torch.testing.assert_close(whole, split, atol=1 / 255, rtol=0)
    alone = mnist_ddpm.sample(untrained, y[2:3], steps=4, scale=2.5, seed=13)
    torch.testing.assert_close(whole[2:3], alone, atol=1 / 255, rtol=0)
    other = mnist_ddpm.sample(untrained, y[2:3], steps=4, scale=2.5, seed=14)
    assert (other - alone).abs().max() > 0.1


def test_guidance_and_labels_matter(untrained):
    plain = mnist_ddpm.sample(untrained, torch.tensor([7]), steps=3, scale=1.0)
    guided = mnist_ddpm.sample(untrained, torch.tensor([7]), steps=3, scale=3.0)
    another = mnist_ddpm.sample(untrained, torch.tensor([2]), steps=3, scale=1.0)
    assert (plain - guided).abs().max() > 1e-4
    assert (plain - another).abs().max() > 1e-4
    assert plain.abs().max() <= 1


def test_provenance_can_be_written_as_json():
    found = json.loads(json.dumps(provenance()))
    assert found["versions"]["torch"] == torch.__version__
    assert found["hardware"]
