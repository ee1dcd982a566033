"""Lesson 09: what its helpers train and draw, and how it agrees with the package."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from answers import answers
from untrained import untrained

from minidiff.course import l09_helpers as show
from minidiff.data import shapes
from minidiff.data.shapes import tokenizer
from minidiff.diffusion import classifier_free, timesteps
from minidiff.diffusion.denoiser import Prediction
from minidiff.models.layers import Attention
from minidiff.recipes import stable_diffusion, system_bars

RESULTS = Path(__file__).parents[2] / "results"
pytestmark = pytest.mark.usefixtures("no_window")


answer = answers("09")


def test_answers_equal_the_package():
    layer = Attention(12, 12, c_context=7)
    layer.proj.weight.data.copy_(torch.eye(12))
    x, words, mask = torch.randn(3, 12, 2, 4), torch.randn(3, 5, 7), torch.arange(5) < torch.tensor([[2], [5], [3]])
    q = layer.to_q(layer.norm(x).flatten(2).transpose(1, 2))
    k, v = layer.to_kv(words).chunk(2, dim=-1)
    found = answer("cross_attention")(q, k, v, mask).transpose(1, 2).view_as(x)
    torch.testing.assert_close(x + found, layer(x, words, mask), rtol=1e-4, atol=1e-5)
    for T, steps in ((1000, 25), (1000, 7), (50, 50)):
        assert answer("levels")(T, steps) == timesteps(T, steps)
    out = torch.randn(6, 2, 3, 4)
    guided = classifier_free(lambda x, t, y: Prediction(out, out), {"y": torch.ones(3)}, {"y": torch.zeros(())}, 2.5)
    torch.testing.assert_close(guided(out[:3], torch.ones(3)).eps, answer("guided_halves")(out, 2.5))


def test_without_guidance_the_toy_draws_its_distribution():
    x = show.guided_line(2.0, 0.5, 1.0, answer("guided_halves"), n=4000)
    assert x.mean().item() == pytest.approx(2, abs=0.03) and x.std().item() == pytest.approx(0.5, abs=0.03)
    free = show.guided_line(2.0, 0.5, 0.0, answer("guided_halves"), n=4000)
    assert free.mean().item() == pytest.approx(0, abs=0.06) and free.std().item() == pytest.approx(1, abs=0.04)


def test_guidance_sharpens_and_overshoots_but_does_not_hit_what_it_aims_at():
    m, s, w = 1.0, 0.5, 3.0
    x = show.guided_line(m, s, w, answer("guided_halves"), n=4000)
    mean, var = answer("guided_gaussian")(m, s, w)
    assert x.mean() > m and x.std() < s
    assert abs(x.mean().item() - mean) > 0.05 or abs(x.var().item() / var - 1) > 0.1


def test_listening_gives_the_weights_that_the_layers_use():
    pipe = untrained()
    text = pipe.read(["a red circle", "a star"])
    z = torch.randn(2, 4, 8, 8)
    before = pipe.unet(z, torch.tensor([400, 400]), **text)
    found = show.listen(pipe, text, z, 400)
    assert {tuple(w.shape) for w in found} == {(2, 2, 64, 24), (2, 4, 16, 24)}
    for weights in found:
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert (weights[..., 5:] == 0)[0].all() and (weights[1, ..., 4:] == 0).all()
    torch.testing.assert_close(pipe.unet(z, torch.tensor([400, 400]), **text), before)  # no hook is left


def test_a_layers_output_follows_from_what_listening_says():
    pipe = untrained()
    text, z = pipe.read(["a red circle"]), torch.randn(1, 4, 8, 8)
    layer = next(s.cross for s in pipe.unet.modules() if getattr(s, "cross", None) is not None)
    seen = []
    hook = layer.register_forward_hook(lambda layer, inputs, out: seen.append((inputs[0], out)))
    weights = show.listen(pipe, text, z, 400)[0]
    hook.remove()
    x, out = seen[0]
    v = layer._split(layer.to_kv(text["text"]).chunk(2, dim=-1)[1])
    mixed = layer.proj((weights @ v).transpose(1, 2).reshape(1, 64, -1)).transpose(1, 2).view_as(x)
    torch.testing.assert_close(x + mixed, out, rtol=1e-4, atol=1e-5)


def test_a_small_model_trains():
    pipe = untrained()
    model, losses = show.small_model(pipe, steps=4, pictures=70)
    assert len(losses) == 4 and all(0 < loss < 5 for loss in losses)
    assert model(torch.randn(2, 4, 8, 8), torch.tensor([3, 4]), **pipe.read(["a star", ""])).shape == (2, 4, 8, 8)


def test_drawings_work(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDIFF_RESULTS", str(tmp_path))
    show.sweeps({"scale": "09_guidance_"})  # nothing is recorded: empty axes, no error
    x = shapes.captioned(3, "validation", size=64)
    show.judged(x.x, x.captions, shapes.read(x.x))
    show.heard(x.x[0], ["red", "star"], torch.rand(2, 8, 8))
    assert len(plt.gcf().axes) == 7 and len(tokenizer()) == 72


def test_a_recorded_floor_comes_out_again():
    row = json.loads((RESULTS / "09_bar_held-out_pairs.json").read_text("utf-8"))
    scenes = stable_diffusion.wanted(system_bars.HELD_OUT, "held_out", 1)
    x = shapes.draw(scenes, stable_diffusion.SIZE, seed=stable_diffusion.TEST_SEED)
    right = shapes.agreement(scenes, shapes.read(x))["all"].double().mean().item()
    assert right == pytest.approx(row["floor"], abs=0.006)
