"""The checkpoints as shipped: small, complete, and as good as their cards say (a cheap part is measured again)."""

from __future__ import annotations

import json
import os

import pytest
import torch

from minidiff import data, pretrained
from minidiff.recipes import mnist_classifier, mnist_ddpm, shapes_classifier

needs_mnist = pytest.mark.skipif("MINIDIFF_DATA" not in os.environ, reason="MINIDIFF_DATA does not name a folder")


@pytest.fixture(scope="module")
def judge():
    return pretrained.load("mnist-classifier")


@pytest.fixture(scope="module")
def painter():
    return pretrained.load("mnist-ddpm")


def size(name):
    return (pretrained.CHECKPOINTS / f"{name}.safetensors").stat().st_size


def test_the_whole_system_is_small():
    parts = json.loads((pretrained.CHECKPOINTS / "stable-diffusion.json").read_text("utf-8"))["parts"]
    assert sum(map(size, parts.values())) <= 16_000_000


@pytest.mark.parametrize("name", pretrained.names())
def test_a_checkpoint_is_small_and_its_card_complete(name):
    limits = {"autoencoder": 6_000_000, "upscaler": 6_000_000, "gan": 4_000_000}
    assert size(name) <= limits.get(name.rpartition("-")[2], 8_000_000)
    card = pretrained.load(name).card
    assert {"recipe", "data", "seed", "batch", "images_seen", "training_seconds", "versions", "hardware"} <= set(card)
    assert card["metrics"]


def test_the_lesson_has_its_checkpoints():
    assert {"mnist-classifier", "mnist-ddpm", "mnist-gan", "shapes-classifier"} <= set(pretrained.names())


@needs_mnist
def test_the_judge_reads_real_digits_as_well_as_its_card_says(judge):
    found = mnist_classifier.accuracy(judge.model, data.load("mnist", "test"))
    assert found >= 0.985
    assert found == pytest.approx(judge.card["metrics"]["test_accuracy"], abs=3e-4)


def test_the_cards_figures_meet_what_the_course_promises(painter):
    m = painter.card["metrics"]
    assert m["n"] == 10_000
    assert m["guided"]["share_of_asked_class"] >= 0.995
    assert m["unguided"]["share_of_asked_class"] >= 0.96
    assert m["unguided"]["recall_over_real_recall"] >= 0.8


def test_the_bundled_model_draws_what_it_is_asked_for(painter, judge):
    y = torch.arange(60) % 10
    x = mnist_ddpm.sample(painter.model, y, steps=10, seed=77)
    assert mnist_ddpm.share_right(judge.model, x, y) >= 0.95
    assert x.shape == (60, 1, 32, 32) and x.abs().max() <= 1


def test_the_shapes_classifier_sees_what_its_card_says():
    found = pretrained.load("shapes-classifier")
    metrics = found.card["metrics"]
    for objects in (1, 2):
        assert metrics[f"unseen_accuracy_{objects}"] >= 0.99
        again = shapes_classifier.accuracy(found.model, "unseen", objects, n=300)
        assert again == pytest.approx(metrics[f"unseen_accuracy_{objects}"], abs=0.01)
