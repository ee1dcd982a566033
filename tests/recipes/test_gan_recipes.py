"""GAN recipes: measures with known values, runs on a small stand-in, rows that are kept, and verdicts by code."""

from __future__ import annotations

import dataclasses
import json
import math
import os

import pytest
import torch
from torch import nn

from minidiff import pretrained
from minidiff.models.gan import DiscriminatorConfig, Generator, GeneratorConfig
from minidiff.recipes import gan_against_diffusion, gan_measures, gan_toy, mnist_gan

SMALL = mnist_gan.Settings(GeneratorConfig(z=6, width=8), DiscriminatorConfig(width=8), batch=20)


def generator(z=6):
    torch.manual_seed(0)
    return Generator(GeneratorConfig(z=z, width=8)).eval()


# --- measures ----------------------------------------------------------------------------------------------------


def test_nearest_is_what_all_distances_say():
    x, train = torch.rand(13, 2, 3, 4), torch.rand(31, 2, 3, 4)
    x[5] = train[17]
    table = torch.stack([torch.stack([(a - b).norm() for b in train]) for a in x])
    found = gan_measures.nearest(x, train, chunk=4)
    torch.testing.assert_close(found.distance, table.min(1).values)
    assert torch.equal(found.index, table.argmin(1)) and found.distance[5] == 0
    with pytest.raises(ValueError, match=r"train's shape \[2, 3, 4\]; got \[2, 4, 3\]"):
        gan_measures.nearest(x.mT, train)


def test_a_share_of_test_pictures_lies_below_the_copy_distance():
    test, train = torch.rand(200, 1, 4, 4), torch.rand(50, 1, 4, 4)
    limit = gan_measures.copy_distance(test, train, share=0.1)
    assert (gan_measures.nearest(test, train).distance < limit).float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_shares_of_classes_and_of_confidence():
    class Reader(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * 10

    x = torch.zeros(8, 1, 2, 2)
    for i, k in enumerate((0, 0, 0, 2, 2, 1)):
        x[i].view(-1)[k] = 1.0
    reader = Reader().eval()  # the last two pictures have three equal logits and count as the first class
    assert gan_measures.class_shares(reader, x) == [5 / 8, 1 / 8, 2 / 8]
    assert gan_measures.confident_share(reader, x) == 6 / 8
    assert gan_measures.confident_share(reader, x * 0.3) == 0  # e^3 / (e^3 + 2) is 0.91


def test_spliced_digits_come_from_two_classes():
    y = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    x = y.float().view(-1, 1, 1, 1).expand(-1, 1, 6, 5).clone()
    made = gan_measures.spliced(x, y, seed=1)
    assert torch.equal(made[:, :, :3], x[:, :, :3]) and (made[:, :, 3:] != x[:, :, 3:]).all()
    assert not torch.equal(made, gan_measures.spliced(x, y, seed=2))
    with pytest.raises(ValueError, match="at least two classes"):
        gan_measures.spliced(x, torch.zeros(7))


def test_a_set_is_judged_perfect_against_itself_and_worse_when_it_repeats_itself():
    x = torch.randn(200, 4)
    same = gan_measures.judged(x, x.clone())
    assert same.precision == same.recall == same.coverage == 1 and same.frechet < 1e-6
    few = gan_measures.judged(x, x[:5].repeat(40, 1) + 0.01 * torch.randn(200, 4))
    assert few.precision > 0.9 and few.recall < 0.2 and few.coverage < 0.2 and few.frechet > 0.5


def test_everything_is_measured(small_mnist):
    found = gan_measures.measure(small_mnist("mnist")["x"][50:90], n=40)
    assert found["copies"] == 1 and found["n"] == 40  # they are training digits
    assert sum(found["class_shares"]) == pytest.approx(1) and len(found["class_shares"]) == 10
    assert found["rarest_class"] == min(found["class_shares"]) and found["commonest_class"] < 0.5
    ratio = found["recall"] / found["real"]["recall"]
    assert found["recall_over_real_recall"] == pytest.approx(ratio)
    noise = gan_measures.measure(2 * torch.rand(40, 1, 32, 32) - 1, n=40)
    assert noise["copies"] == 0 and noise["coverage"] < 0.2
    name = "frechet_distance_in_classifier_features"
    assert noise[name] > 5 * found[name]


def test_validation_digits_are_held_out_of_training(small_mnist):
    train = small_mnist("mnist")["x"]
    ref = gan_measures.reference(30, True)
    assert torch.equal(ref.train, train[:-30])
    assert gan_measures.reference(30, True) is ref and torch.equal(gan_measures.reference(30).train, train)


# --- the GAN on digits -------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_picture():
    g = generator()
    whole = mnist_gan.sample(g, 7, seed=11)
    torch.testing.assert_close(mnist_gan.sample(g, 7, seed=11, batch=3), whole, atol=1 / 255, rtol=0)
    torch.testing.assert_close(mnist_gan.sample(g, 2, seed=15), whole[4:6], atol=1 / 255, rtol=0)
    assert (whole[0] - whole[1]).abs().max() > 1e-3


def test_truncation_draws_pictures_together():
    g = generator()
    spreads = [mnist_gan.sample(g, 40, truncation=t).std(0).mean() for t in (0.0, 0.5, 1.0)]
    assert spreads[0] < 1e-6 < spreads[1] < spreads[2]


def test_players_are_a_function_of_the_seed_and_leave_the_random_state_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = (mnist_gan.players(SMALL, 10, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.generator.head.weight, two.generator.head.weight)
    assert not torch.equal(one.generator.head.weight, other.generator.head.weight)
    rates = [one.turns[0].lr(step) for step in (0, 7, 8, 9)]
    assert rates == pytest.approx([1, 1, 2 / 3, 1 / 3])


def test_a_live_run(small_mnist):
    seen = []
    made = mnist_gan.live(4, 1, settings=SMALL, watch=lambda step, g: seen.append((step, g)), progress=False)
    assert [step for step, _ in seen] == [1, 2, 3, 4] and all(g is made.generator for _, g in seen)
    assert not made.generator.training and not made.critic.training and made.seconds > 0
    assert set(made.history) == {"critic", "real", "fake", "r1", "generator"} and len(made.history["critic"]) == 4
    again = mnist_gan.live(4, 1, settings=SMALL, batch=small_mnist("mnist"), progress=False)
    assert again.history == made.history


def test_labels_are_used_where_the_players_want_them(small_mnist):
    settings = dataclasses.replace(
        SMALL, generator=GeneratorConfig(z=6, width=8, classes=10), critic=DiscriminatorConfig(width=8, classes=10)
    )
    made = mnist_gan.live(2, settings=settings, progress=False)
    assert made.generator.config.classes == 10 and len(made.history["generator"]) == 2


def test_the_recipe_leaves_weights_and_a_full_card(small_mnist, monkeypatch, tmp_path):
    monkeypatch.setattr(mnist_gan, "BUNDLED", SMALL)
    made = mnist_gan.train(tmp_path / "out", images=3 * 20, work=tmp_path / "work", n=40)
    card = json.loads((tmp_path / "out" / "mnist-gan.json").read_text())
    assert card == made.card and card["images_seen"] == 60 and isinstance(made.model, Generator)
    assert {"recipe", "data", "seed", "batch", "versions", "hardware", "commit", "training_seconds"} <= set(card)
    assert set(card["metrics"]["confidence"]) == {"real", "samples", "noise", "spliced"}
    with pytest.raises(FileExistsError, match="resume"):
        mnist_gan.train(tmp_path / "out", images=60, work=tmp_path / "work", n=40)


# --- eight Gaussians ---------------------------------------------------------------------------------------------


def test_eight_gaussians():
    x = gan_toy.eight_gaussians(16_000, seed=3)
    found = gan_toy.covered(x)
    assert found.modes == 8 and found.close == pytest.approx(1 - math.exp(-4.5), abs=0.004)
    which = torch.cdist(x, gan_toy.centres()).argmin(1)
    for k in range(8):
        angle = k * math.pi / 4
        mean = x[which == k].mean(0)
        assert mean.tolist() == pytest.approx([2 * math.cos(angle), 2 * math.sin(angle)], abs=0.01)
        assert x[which == k].std(0).tolist() == pytest.approx([0.05, 0.05], rel=0.1)
    assert torch.equal(x, gan_toy.eight_gaussians(16_000, seed=3))


def test_modes_count_from_one_per_cent_within_three_sigma():
    x = gan_toy.centres()[[0] * 97 + [3, 5, 5]]
    x[97] += 4 * gan_toy.SIGMA  # the only point of mode 3 lies outside
    assert gan_toy.covered(x) == (2, 0.99)
    assert gan_toy.covered(torch.zeros(10, 2)) == (0, 0.0)


def test_each_cure_and_each_imbalance_changes_one_thing():
    for base, some in ((gan_toy.COLLAPSES, gan_toy.CURES), (gan_toy.COVERS, gan_toy.IMBALANCES)):
        for name, toy in some.items():
            changed = {f.name for f in dataclasses.fields(toy) if getattr(toy, f.name) != getattr(base, f.name)}
            assert len(changed - {"gp"}) == 1, name
    assert len(gan_toy.SETTINGS) == 3 + len(gan_toy.CURES) + len(gan_toy.IMBALANCES)


@pytest.mark.parametrize("name", ["covers", "WGAN-GP", "spectral norm"])
def test_a_toy_game_runs_and_repeats_itself(name):
    seen = []
    one = gan_toy.play(gan_toy.SETTINGS[name], 3, 7, watch=lambda *state: seen.append(state))
    assert [step for step, *_ in seen] == [1, 2, 3] and seen[0][2] is one.critic
    two = gan_toy.play(gan_toy.SETTINGS[name], 3, 7)
    assert one.history == two.history and torch.equal(gan_toy.draw(one.generator, 5), gan_toy.draw(two.generator, 5))
    assert gan_toy.draw(one.generator, 5, seed=1).shape == (5, 2)


# --- against diffusion -------------------------------------------------------------------------------------------


def rows(recall, distance):
    figures = {"precision": 0.8, "density": 0.7, "coverage": 0.6, "seconds": 120.0, "steps": 9}
    name = "frechet_distance_in_classifier_features"
    return [{**figures, "recall": r, name: d, "real": {**figures, "recall": 0.9, name: 0.3}}
            for r, d in zip(recall, distance, strict=True)]  # fmt: skip


def test_the_verdicts_follow_the_figures():
    steady, wild, low, high = (5.0, 5.1, 4.9), (2.0, 9.0, 5.0), (0.5, 0.51, 0.49), (0.8, 0.81, 0.79)
    said = gan_against_diffusion.verdicts(
        gan_against_diffusion.summary({"gan": rows(low, wild), "diffusion": rows(high, steady)}), 3
    )
    assert said == {"faithful": True, "covers_less": False, "unstable": True}  # coverage is the same
    found = gan_against_diffusion.summary({"gan": rows(high, steady), "diffusion": rows(low, wild)})
    assert gan_against_diffusion.verdicts(found, 3)["unstable"] is False
    assert found["recall"] == pytest.approx(
        {"gan": 0.8, "diffusion": 0.5, "gan, spread": 0.01, "diffusion, spread": 0.01, "floor": 0.9}
    )
    worse = {**found, "precision": {**found["precision"], "gan": 0.3, "gan, spread": 0.01}}
    assert gan_against_diffusion.verdicts(worse, 3)["faithful"] is False


def test_a_row_is_trained_once_and_measured_at_the_asked_size(small_mnist, monkeypatch, tmp_path):
    runs = []

    def train(steps, seed):
        runs.append((steps, seed))
        return lambda n: small_mnist("mnist")["x"][:n], 0.5 * steps

    monkeypatch.setitem(gan_against_diffusion.PLAYERS, "gan", train)
    made = gan_against_diffusion.row("gan", 4, seconds=12.0, n=30, work=tmp_path)
    trial = gan_against_diffusion.TRIAL
    assert runs == [(trial, 0), (trial, 0), (24, 4)] and (made["steps"], made["seconds"], made["n"]) == (24, 12.0, 30)
    assert gan_against_diffusion.row("gan", 4, seconds=12.0, n=30, work=tmp_path) == made and len(runs) == 3
    gan_against_diffusion.row("gan", 5, seconds=12.0, n=30, work=tmp_path)
    assert runs[3:] == [(24, 5)]


def test_both_models_train_and_draw(small_mnist, monkeypatch):
    monkeypatch.setattr(gan_against_diffusion, "DDIM_STEPS", 2)
    monkeypatch.setattr(mnist_gan, "LIVE", SMALL)
    for train in gan_against_diffusion.PLAYERS.values():
        draw, seconds = train(2, 0)
        x = draw(3)
        assert x.shape == (3, 1, 32, 32) and x.abs().max() <= 1 and seconds > 0


def test_the_report_writes_every_part_of_the_claim(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    both = {"gan": rows((0.5, 0.6), (3.0, 4.0)), "diffusion": rows((0.7, 0.7), (5.0, 5.5))}
    gan_against_diffusion.report(both, (0, 1), 120.0, 30)
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    parts = {f"01_against_diffusion_{part}" for part in ("faithful", "covers_less", "unstable")}
    assert set(found) == parts | {"01_against_diffusion", "01_bundled_gan_and_diffusion"}
    card = pretrained.load("mnist-gan").card
    assert found["01_bundled_gan_and_diffusion"]["value"]["gan recall"] == card["metrics"]["recall"]
    assert all(found[part]["claim"] == 1 and isinstance(found[part]["holds"], bool) for part in parts)
    assert found["01_against_diffusion"]["value"]["gan recall"] == pytest.approx(0.55)
    assert found["01_against_diffusion_covers_less"]["value"]["diffusion recall"] == pytest.approx(0.7)


# --- what is bundled ---------------------------------------------------------------------------------------------


def test_the_bundled_generators_card_meets_what_the_course_promises():
    metrics = pretrained.load("mnist-gan").card["metrics"]
    assert metrics["n"] == 10_000
    assert metrics["rarest_class"] >= 0.04 and metrics["commonest_class"] <= 0.2
    assert metrics["recall_over_real_recall"] >= 0.5 and metrics["coverage_over_real_coverage"] >= 0.5
    assert metrics["copies"] <= 0.03


@pytest.mark.skipif("MINIDIFF_DATA" not in os.environ, reason="MINIDIFF_DATA does not name a folder")
def test_the_bundled_generator_draws_what_its_card_says():
    made = pretrained.load("mnist-gan")
    x = mnist_gan.sample(made.model, 600, seed=mnist_gan.SAMPLES)
    found = gan_measures.confident_share(pretrained.load("mnist-classifier").model, x)
    assert found == pytest.approx(made.card["metrics"]["confident"], abs=0.06)
