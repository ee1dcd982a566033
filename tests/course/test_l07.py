"""Lesson 07: what its helpers do to pictures and scores, and how its answers agree with the package."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from answers import answers

from minidiff import metrics, pretrained
from minidiff.course import l07_helpers as show
from minidiff.data import shapes

RESULTS = Path(__file__).parents[2] / "results"
pytestmark = pytest.mark.usefixtures("no_window")


answer = answers("07")


def test_answers_equal_the_package():
    a, b = torch.randn(60, 5).double(), torch.randn(70, 5).double() * 1.3 + 0.2
    moments = [answer("moments")(x) for x in (a, b)]
    for mine, theirs in zip(moments, map(metrics.moments, (a, b)), strict=True):
        torch.testing.assert_close(mine[0], theirs.mean, check_dtype=False)
        torch.testing.assert_close(mine[1], theirs.cov, check_dtype=False)
    distance = answer("frechet")(*moments[0], *moments[1]).item()
    assert distance == pytest.approx(metrics.frechet_from_features(a, b), rel=1e-5)
    assert answer("kernel_distance")(a, b).item() == pytest.approx(metrics.mmd2(a, b), rel=1e-6)
    found = metrics.precision_recall(a, b, k=3)
    assert answer("precision")(a, b, 3).item() == pytest.approx(found.precision)
    assert answer("precision")(b, a, 3).item() == pytest.approx(found.recall)
    p = torch.randn(40, 6).softmax(1)
    score = metrics.inception_score(p.log(), logits=True, splits=1)
    assert answer("class_score")(p).item() == pytest.approx(score.mean, rel=1e-5)
    both = a, a + b[:60]
    assert answer("clip_score")(*both).item() == pytest.approx(metrics.clip_score(*both).score, rel=1e-5)


def test_two_sizes_give_the_endless_one_where_the_bias_goes_with_one_over_n():
    assert answer("endless")(2 + 50 / 300, 300, 2 + 50 / 900, 900) == pytest.approx(2)


def test_a_coarser_file_is_farther_from_its_picture():
    x = shapes.captioned(6, "validation", size=32, seed=1).x
    errors = [(show.jpeg(x, q) - x).square().mean().item() for q in (95, 50, 10)]
    assert 0 < errors[0] < errors[1] < errors[2] < 0.1
    assert show.jpeg(x[:, :1], 90).shape == (6, 1, 32, 32)


def test_resizing_loses_less_when_it_is_smooth():
    x = torch.sin(torch.arange(32.0) * 2.5).expand(1, 1, 32, 32)
    smooth, single = (show.resized(x, 12, flag) for flag in (True, False))
    assert smooth.shape == x.shape and smooth.abs().max() < single.abs().max()


def test_noise_comes_nearer_in_features_and_stays_noise():
    judge = pretrained.load("shapes-classifier").model
    real = shapes.captioned(60, "validation", size=32, seed=2).x
    before, after = (show.noise_that_fools(judge.features, real, 40, steps) for steps in (0, 25))
    with torch.no_grad():
        target = judge.features(real)
        distances = [metrics.frechet_from_features(target, judge.features(x)) for x in (before, after)]
    assert distances[1] < 0.5 * distances[0]
    assert not any(reading.scene for reading in shapes.read(after))


def test_clip_is_pleased_by_what_no_reader_recognises():
    clip = pretrained.load("mini-clip").model
    captions = ["a large red circle in the centre on a light background"] * 3
    tokens = shapes.tokenizer()(captions)["tokens"]
    before, after = (show.pleasing(clip, tokens, 3, steps) for steps in (0, 40))
    with torch.no_grad():
        scores = [metrics.clip_score(clip.encode_image(x), clip.encode_text(tokens)).score for x in (before, after)]
    assert scores[1] > scores[0] + 0.3
    assert not any(reading.scene for reading in shapes.read(after))


def test_a_mistake_is_in_the_thing_that_it_is_named_after():
    rng = torch.Generator().manual_seed(0)
    for scene in shapes.sample(20, "validation", objects=2, seed=4):
        found = show.mistakes(scene, rng)
        for kind in ("shape", "colour", "size"):
            said = scene.agrees(found[kind])
            assert not said[kind] and sum(not ok for ok in said.values()) == 1
        assert not scene.agrees(found["one is missing"])["objects"]
        assert found["relation"] == scene.swapped()


def test_the_bias_is_predicted():
    x = torch.randn(4000, 6) * torch.tensor([1.0, 2.0, 0.5, 1.0, 1.5, 0.2])
    found = show.bias_curve(x[:2000], x[2000:], (50, 400), draws=8)
    assert found["measured"][0] > 4 * found["measured"][1]
    for measured, predicted in zip(found["measured"], found["predicted"], strict=True):
        assert measured == pytest.approx(predicted, rel=0.5)


def test_lookalikes_have_equal_moments_and_neighbours_tell_them_apart():
    clouds = show.lookalikes(400, seed=2)
    for cloud in clouds.values():
        torch.testing.assert_close(cloud.mean(0), torch.zeros(2).double(), atol=1e-12, rtol=0)
        torch.testing.assert_close(cloud.T.cov(), torch.eye(2).double(), atol=1e-12, rtol=0)
    gaussian, ring, heaps = (clouds[name] for name in ("Gaussian", "ring", "four heaps"))
    assert ring.norm(dim=1).min() > 1 and gaussian.norm(dim=1).min() < 0.3
    assert (heaps.abs() > 0.4).all()
    for cloud in (ring, heaps):
        assert metrics.precision_recall(gaussian, cloud, k=3)[1] < 0.5


def test_bars_are_drawn():
    show.bars({"a": 0.3, "b": 0.8}, "share", chance=0.5)
    assert len(plt.gcf().axes[0].patches) == 2


def test_recorded_marks_of_clip_score_come_out_again():
    row = json.loads((RESULTS / "07_clip_score_notices.json").read_text("utf-8"))
    seed = row["provenance"]["seed"]
    scenes, rng = shapes.sample(600, "unseen", objects=2, seed=seed), torch.Generator().manual_seed(seed)
    scenes = [s for s in scenes if s.things[0].colour != s.things[1].colour][:300]
    wrong = [show.mistakes(scene, rng) for scene in scenes]
    clip, said = pretrained.load("mini-clip").model, shapes.captions(scenes, seed=seed)
    with torch.no_grad():
        texts = clip.encode_text(shapes.tokenizer()(said)["tokens"])

        def score(drawn):
            images = clip.encode_image(shapes.draw(drawn, 32, seed=seed))
            return torch.nn.functional.cosine_similarity(images, texts)

        better = (score(scenes) > score([found["relation"] for found in wrong])).double().mean().item()
    assert better == pytest.approx(row["value"]["relation"], abs=0.01)
