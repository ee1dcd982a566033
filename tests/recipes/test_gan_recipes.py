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
from minidiff.recipes import gan_against_diffusion, gan_measures, gan_toy, mnist_ddpm, mnist_gan, mnist_gan_live
from minidiff.recipes.results import find

DISTANCE = "frechet_distance_in_classifier_features"
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


def labelled(classes):
    return dataclasses.replace(
        SMALL, generator=GeneratorConfig(z=6, width=8, classes=classes),
        critic=DiscriminatorConfig(width=8, classes=classes), ema=0.9,
    )  # fmt: skip


def test_a_generator_learns_to_follow_its_label():
    y = torch.arange(200) % 2
    x = (2.0 * y - 1).mul(0.8).view(-1, 1, 1, 1).expand(-1, 1, 32, 32)  # dark or light all over
    made = mnist_gan.live(100, settings=labelled(2), batch={"x": x, "y": y}, progress=False)
    asked = torch.arange(20) % 2
    light = mnist_gan.sample(made.generator, 20, y=asked, seed=5).mean((1, 2, 3))  # [20]
    assert light[asked == 1].min() > 0.3 and light[asked == 0].max() < -0.3
    other = mnist_gan.sample(made.generator, 20, y=1 - asked, seed=5, batch=3).mean((1, 2, 3))  # the same noise
    assert torch.equal(other > 0, asked == 0)


def test_labels_that_do_not_fit_are_refused():
    torch.manual_seed(0)
    g = Generator(GeneratorConfig(z=6, width=8, classes=3)).eval()
    assert mnist_gan.sample(g, 4, y=torch.tensor([0, 1, 2, 0]), batch=3).shape == (4, 1, 32, 32)
    with pytest.raises(ValueError, match=r"y must be given: \[B\] labels .*classes=3"):
        mnist_gan.sample(g, 4)
    with pytest.raises(ValueError, match=r"\[4\] int64 labels, one a picture; got \[3\]"):
        mnist_gan.sample(g, 4, y=torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"got \[4\] torch.float32"):
        mnist_gan.sample(g, 4, y=torch.zeros(4))
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match="labels from 0 to 2"):
            mnist_gan.sample(g, 2, y=torch.tensor([0, wrong]))
    with pytest.raises(ValueError, match="y must be left out"):
        mnist_gan.sample(generator(), 4, y=torch.zeros(4, dtype=torch.int64))


def test_the_recipe_leaves_weights_and_a_full_card(small_mnist, monkeypatch, tmp_path):
    monkeypatch.setattr(mnist_gan, "BUNDLED", SMALL)
    made = mnist_gan.train(tmp_path / "out", images=3 * 20, work=tmp_path / "work", n=40)
    card = json.loads((tmp_path / "out" / "mnist-gan.json").read_text())
    assert card == made.card and card["images_seen"] == 60 and isinstance(made.model, Generator)
    assert {"recipe", "data", "seed", "batch", "versions", "hardware", "commit", "training_seconds"} <= set(card)
    assert set(card["metrics"]["confidence"]) == {"real", "samples", "noise", "spliced"}
    with pytest.raises(FileExistsError, match="resume"):
        mnist_gan.train(tmp_path / "out", images=60, work=tmp_path / "work", n=40)


# --- live and bundled --------------------------------------------------------------------------------------------


def measured(**other):
    """Figures that meet every bar by a hair."""
    figures = {"rarest_class": 0.04, "commonest_class": 0.2, "recall_over_real_recall": 0.5}
    figures |= {"coverage_over_real_coverage": 0.5, "copies": 0.03, "n": 1234}
    figures |= dict.fromkeys(("precision", "recall", "density", "coverage"), 0.6) | {DISTANCE: 2.0}
    return figures | other


@pytest.mark.parametrize(
    ("bar", "name", "value"),
    [
        ("each class 4-20 %", "rarest_class", 0.039),
        ("each class 4-20 %", "commonest_class", 0.201),
        ("recall at least half of real", "recall_over_real_recall", 0.499),
        ("coverage at least half of real", "coverage_over_real_coverage", 0.499),
        ("at most 3 % copies", "copies", 0.031),
    ],
)
def test_each_bar_can_be_met_and_missed(bar, name, value):
    assert all(mnist_gan_live.meets(measured()).values())
    missed = [bar for bar, met in mnist_gan_live.meets(measured(**{name: value})).items() if not met]
    assert missed == [bar]


def test_better_knows_which_way_is_up():
    higher, lower = set(mnist_gan_live.HIGHER), set(mnist_gan_live.LOWER)
    assert all(mnist_gan_live.better(measured(), measured()).values())  # as good is good enough
    for step in (0.01, -0.01):
        ahead = mnist_gan_live.better({k: v + step for k, v in measured().items()}, measured())
        assert {name for name, good in ahead.items() if good} == (higher if step > 0 else lower)
    assert lower == {DISTANCE, "commonest_class"} and not higher & lower


@pytest.mark.parametrize(("other", "behind"), [({}, "none"), ({"recall": 0.5, DISTANCE: 3.0}, f"recall, {DISTANCE}")])
def test_the_comparison_names_what_the_bundled_generator_loses(monkeypatch, tmp_path, other, behind):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    monkeypatch.setenv("MINIDIFF_RECORD", "0")  # the recipe sets it, and monkeypatch sets it back
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    card = {"metrics": measured(**other)}
    monkeypatch.setattr(pretrained, "load", lambda name: pretrained.Pretrained(nn.Identity(), card))
    mnist_gan_live.compare(measured())
    found = find("01_bundled_against_live")
    assert found["holds"] is (behind == "none") and found["note"].endswith(f"not ahead in: {behind}")
    assert found["note"].startswith("1,234 samples")
    assert found["value"]["bundled recall"] == card["metrics"]["recall"] and found["value"]["live recall"] == 0.6


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


def test_each_cure_but_one_and_each_imbalance_changes_one_thing():
    for base, some in ((gan_toy.COLLAPSES, gan_toy.CURES), (gan_toy.COVERS, gan_toy.IMBALANCES)):
        for name, toy in some.items():
            assert len(gan_toy.changed(toy, base)) == (2 if name == "WGAN-GP" else 1), name
    assert len(gan_toy.SETTINGS) == 3 + len(gan_toy.CURES) + len(gan_toy.IMBALANCES)


@pytest.mark.parametrize("name", ["covers", "WGAN-GP", "spectral norm"])
def test_a_toy_game_runs_and_repeats_itself(name):
    seen = []
    one = gan_toy.play(gan_toy.SETTINGS[name], 3, 7, watch=lambda *state: seen.append(state))
    assert [step for step, *_ in seen] == [1, 2, 3] and seen[0][2] is one.critic
    two = gan_toy.play(gan_toy.SETTINGS[name], 3, 7)
    assert one.history == two.history and torch.equal(gan_toy.draw(one.generator, 5), gan_toy.draw(two.generator, 5))
    assert gan_toy.draw(one.generator, 5, seed=1).shape == (5, 2)


@pytest.fixture
def recording(monkeypatch, tmp_path):
    """An empty folder for results, in which they are written."""
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    monkeypatch.setenv("MINIDIFF_RECORD", "1")
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    return tmp_path


TOY = {name: [gan_toy.Covered(m, c) for m, c in ((8, 0.51234), (6, 0.25))] for name in ("covers", "R1")}
TOY |= {"collapses": [gan_toy.Covered(3, 0.75), gan_toy.Covered(2, 0.5)]}


def test_the_toys_report_has_every_seed_as_a_number(recording):
    gan_toy.report(TOY, (0, 1))
    close, end = find("01_toy_close")["value"], find("01_toy_collapse")
    assert close["R1"] == pytest.approx(0.38117) and gan_toy.over_seeds(close, "R1") == [0.51234, 0.25]
    assert gan_toy.over_seeds(find("01_toy_modes")["value"], "collapses") == [3, 2]
    assert end["value"] == {"collapses": 2.5, "covers": 7.0} and end["holds"] is True
    gan_toy.report(TOY | {"collapses": [gan_toy.Covered(3, 0.75), gan_toy.Covered(5, 0.5)]}, (0, 1))
    assert find("01_toy_collapse")["holds"] is False  # more than half of the modes with one seed
    gan_toy.again()
    assert find("01_toy_close")["value"] == close | {"collapses, seed 1": 0.5}
    assert gan_toy.DIGITS not in find("01_toy_close")["note"]


def test_seeds_that_stand_in_a_note_become_numbers_once(recording):
    gan_toy.report(TOY, (0, 1))
    for path in recording.glob("*.json"):
        old = json.loads(path.read_text())
        each = {k: gan_toy.over_seeds(old["value"], k) for k in TOY}
        old["value"] = {k: v for k, v in old["value"].items() if "seed" not in k}
        old["note"] = "As it was. Each seed: " + "; ".join(
            f"{k}: " + ", ".join(f"{v:.3g}" for v in some) for k, some in each.items()
        )
        old["provenance"]["date"] = "2020-02-02"
        path.write_text(json.dumps(old))
    for _ in range(2):
        gan_toy.again()
        close = find("01_toy_close")
        assert close["value"]["R1"] == pytest.approx(0.38117)  # as it was
        assert gan_toy.over_seeds(close["value"], "R1") == [0.512, 0.25] and gan_toy.DIGITS in close["note"]
        assert "Each seed" not in close["note"] and close["provenance"]["date"] == "2020-02-02"
        assert find("01_toy_modes")["value"]["R1, seed 1"] == 6 and find("01_toy_collapse")["holds"] is True


def test_the_recorded_toys_agree_with_their_seeds():
    modes, close, end = (find(f"01_toy_{name}") for name in ("modes", "close", "collapse"))
    for result, low in ((modes, 1e-9), (close, 5e-4)):  # the seeds' shares have three digits
        for name in gan_toy.SETTINGS:
            each = gan_toy.over_seeds(result["value"], name)
            assert len(each) == len(gan_toy.SEEDS) and sum(each) / len(each) == pytest.approx(
                result["value"][name], abs=low
            )
            assert result is close or all(m == int(m) <= gan_toy.MODES for m in each)
    assert end["value"] == {name: modes["value"][name] for name in ("collapses", "covers")}
    assert end["holds"] is (max(gan_toy.over_seeds(modes["value"], "collapses")) <= gan_toy.MODES / 2)


@pytest.mark.parametrize("name", ["collapses", "covers"])
def test_a_recorded_seed_is_found_again(name):
    """Not to the digit, for another processor rounds otherwise: within what the recorded seeds span, and a little."""
    [again] = gan_toy.measure(gan_toy.SETTINGS[name], seeds=gan_toy.SEEDS[:1])
    for figure, slack in (("modes", 1), ("close", 0.1)):
        each = gan_toy.over_seeds(find(f"01_toy_{figure}")["value"], name)
        assert min(each) - slack <= getattr(again, figure) <= max(each) + slack


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
    assert said == {"faithful": None, "covers_less": None, "unstable": True}  # all but recall is the same
    found = gan_against_diffusion.summary({"gan": rows(high, steady), "diffusion": rows(low, wild)})
    assert gan_against_diffusion.verdicts(found, 3)["unstable"] is False
    assert found["recall"] == pytest.approx(
        {"gan": 0.8, "diffusion": 0.5, "gan, spread": 0.01, "diffusion, spread": 0.01, "floor": 0.9}
    )


@pytest.mark.parametrize(("first", "second"), [("precision", "density"), ("recall", "coverage")])
def test_a_part_is_decided_only_where_both_of_its_figures_are_clear(first, second):
    same = gan_against_diffusion.summary({name: rows((0.5, 0.5), (5.0, 5.1)) for name in ("gan", "diffusion")})
    part = "faithful" if first == "precision" else "covers_less"
    ahead = dict.fromkeys(("gan", "diffusion"), 0.5) | {"gan, spread": 0.02, "diffusion, spread": 0.0}
    error = 0.02 / 2**0.5  # of the difference, with two seeds
    for leads, answer in (((2.1, 2.1), True), ((2.1, 1.9), None), ((-2.1, -2.1), False), ((2.1, -2.1), None)):
        figures = {f: ahead | {"gan": 0.5 + k * error} for f, k in zip((first, second), leads, strict=True)}
        said = gan_against_diffusion.verdicts(same | figures, 2)[part]
        assert said is (answer if answer is None or part == "faithful" else not answer)
        assert gan_against_diffusion.verdicts(same | figures, 1)[part] is None  # one seed has no spread


def test_stability_is_that_of_logs():
    """Ten times the distance with ten times the spread is as steady; what is between the bounds is open."""
    limit = gan_against_diffusion.CLEARLY**0.5
    near, far = (4.0, 5.0, 6.25), (40.0, 50.0, 62.5)
    for gan, diffusion in ((near, far), (far, near)):
        found = gan_against_diffusion.summary(
            {"gan": rows((0.5,) * 3, gan), "diffusion": rows((0.5,) * 3, diffusion)}
        )
        assert gan_against_diffusion.instability(found[DISTANCE]) == pytest.approx(1)
        assert gan_against_diffusion.verdicts(found, 3)["unstable"] is None
    for ratio, answer in ((1.01, True), (0.99, None)):
        for spreads, said in (((limit * ratio, 1.0), answer), ((1.0, limit * ratio), answer and False)):
            found[DISTANCE] |= {f"{k}, spread of logs": v for k, v in zip(("gan", "diffusion"), spreads, strict=True)}
            assert gan_against_diffusion.verdicts(found, 3)["unstable"] is said


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


def both():
    return {"gan": rows((0.5, 0.6), (3.0, 4.0)), "diffusion": rows((0.7, 0.7), (5.0, 5.5))}


def test_the_report_writes_every_part_of_the_claim(recording):
    gan_against_diffusion.report(both(), (0, 1), 120.0, 30)
    found = {path.stem: json.loads(path.read_text()) for path in recording.glob("*.json")}
    parts = {f"01_against_diffusion_{part}" for part in ("faithful", "covers_less", "unstable")}
    assert set(found) == parts | {"01_against_diffusion", "01_bundled_gan_and_diffusion"}
    every = found["01_against_diffusion"]
    said = gan_against_diffusion.verdicts(gan_against_diffusion.summary(both()), 2)
    for part in parts:
        assert found[part]["claim"] == 1 and found[part]["holds"] is said[part.removeprefix("01_against_diffusion_")]
        assert "cures in the GAN: R1" in found[part]["note"] and "gan 9 in 120 s" in found[part]["note"]
    assert every["value"]["gan recall"] == pytest.approx(0.55) and every["value"]["gan recall, seed 1"] == 0.6
    assert found["01_against_diffusion_covers_less"]["value"]["diffusion recall"] == pytest.approx(0.7)
    assert every["value"]["seconds allowed"] == 120 and every["value"]["samples"] == 30
    unstable = found["01_against_diffusion_unstable"]["note"]
    logs = [math.log(4 / 3) / 2**0.5, math.log(1.1) / 2**0.5]
    assert f"of its log: {logs[0]:.3g} and {logs[1]:.3g}" in unstable and gan_against_diffusion.DELTA not in unstable


def test_the_conditions_are_those_of_the_models():
    found = gan_against_diffusion.conditions()
    made = mnist_gan.players(mnist_gan.LIVE, 10)
    g, d = (sum(p.numel() for p in m.parameters()) for m in (made.generator, made.critic))
    assert (found["gan drawing parameters"], found["gan trained parameters"]) == (g, g + d)
    unet = pretrained.load(mnist_ddpm.NAME).model
    assert unet.config == mnist_ddpm.CONFIG
    assert found["diffusion trained parameters"] == sum(p.numel() for p in unet.parameters())
    assert found["diffusion passes a picture"] == gan_against_diffusion.DDIM_STEPS
    assert mnist_gan.cures(mnist_gan.LIVE) == "R1 with gamma 1, equal rates, no momentum"


def test_the_bundled_models_are_compared_by_what_their_cards_hold(recording):
    gan_against_diffusion.report_bundled()
    result, cards = find("01_bundled_gan_and_diffusion"), [pretrained.load(n).card for n in ("mnist-gan", "mnist-ddpm")]
    value, metrics = result["value"], (cards[0]["metrics"], cards[1]["metrics"]["unguided"])
    assert result["claim"] == 1 and result["holds"] is None  # of one run each nothing is clear
    for figure in gan_against_diffusion.FIGURES:
        for name, some in zip(("gan", "diffusion"), metrics, strict=True):
            assert value.get(f"{name} {figure}") == some.get(figure)
        missing = figure not in metrics[0] or figure not in metrics[1]
        assert (figure in result["note"].partition("not in both cards: ")[2].split(", ")) is missing
    assert value["diffusion passes a picture"] == cards[1]["metrics"]["unguided_steps"]


@pytest.mark.parametrize("old", [True, False])
def test_stored_figures_are_read_again_without_training(recording, monkeypatch, old):
    gan_against_diffusion.report(both(), (0, 1), 120.0, 30)
    path = recording / "01_against_diffusion.json"
    first = json.loads(path.read_text())
    if old:  # a record from before the logs were kept
        first["value"] = {k: v for k, v in first["value"].items() if "logs" not in k and "seed" not in k}
        path.write_text(json.dumps(first))
    monkeypatch.setattr(gan_against_diffusion, "PLAYERS", dict.fromkeys(("gan", "diffusion")))  # nothing to train with
    for _ in range(2):
        gan_against_diffusion.again()
        found = find("01_against_diffusion")
        assert {k: found["value"][k] for k in first["value"]} == first["value"]
        assert found["provenance"] == first["provenance"]
        assert (gan_against_diffusion.DELTA in found["note"]) is old
        spread = found["value"][f"gan, spread of logs {DISTANCE}"]
        assert spread == pytest.approx(0.5**0.5 / 3.5 if old else math.log(4 / 3) / 2**0.5)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="without --again"):
        gan_against_diffusion.again()


def test_what_is_recorded_of_the_duel_is_what_its_figures_say():
    every = find("01_against_diffusion")
    value, seeds = every["value"], every["provenance"]["seed"]
    figures = gan_against_diffusion.FIGURES
    found = {f: {k.removesuffix(f" {f}"): v for k, v in value.items() if k.endswith(f" {f}")} for f in figures}
    for part, holds in gan_against_diffusion.verdicts(found, len(seeds)).items():
        result = find(f"01_against_diffusion_{part}")
        assert result["holds"] is holds and result["claim"] == 1
        assert all(value[k] == v for k, v in result["value"].items())


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
