"""Captioned pictures as sets and as loaders."""

from dataclasses import replace

import pytest
import torch

from minidiff.data import shapes
from minidiff.data.shapes import ShapeBatches, captioned, gallery, parse, partly, sample


def test_a_set_says_what_it_shows():
    found = captioned(60, "unseen", size=40, seed=3)
    assert found.x.shape == (60, 3, 40, 40) and [parse(text) for text in found.captions] == found.scenes
    assert {shapes.split_of(s) for s in found.scenes} == {"unseen"}
    assert shapes.agreement(found.scenes, shapes.read(found.x))["all"].double().mean() > 0.97
    again, other = captioned(20, "unseen", size=40, seed=3), captioned(20, "unseen", size=40, seed=4)
    assert torch.equal(again.x, found.x[:20]) and again.captions == found.captions[:20] != other.captions
    assert {len(s) for s in captioned(9, objects=2).scenes} == {2}
    assert not torch.equal(captioned(5, style="outline").x, captioned(5).x)


def test_a_gallery_has_no_two_captions_of_one_picture():
    scenes = gallery(400, seed=1)
    assert len(scenes) == 400 and {shapes.split_of(s) for s in scenes} == {"unseen"}
    assert len({replace(s, background=None) for s in scenes}) == 400
    single = [s for s in scenes if len(s) == 1]
    pairs = [s for s in scenes if len(s) == 2]
    assert len(single) == 120
    assert all(b == a.swapped() for a, b in zip(pairs[::2], pairs[1::2]))
    for i in range(0, 400, 7):
        true = [j for j, s in enumerate(scenes) if all(s.agrees(scenes[i]).values())]
        assert true == [i]
    assert gallery(400, seed=1) == scenes != gallery(400, seed=2)
    assert len(gallery(7, singles=0.0)) == len(gallery(7, singles=1.0)) == 7
    for words, arguments in (("n must be", {"n": 0}), ("singles", {"n": 5, "singles": 2}), ("has 310", {"n": 2000})):
        with pytest.raises(ValueError, match=words):
            gallery(**arguments)


def test_fresh_batches_are_a_function_of_seed_and_step():
    loader = ShapeBatches(16, 12, seed=5)
    stream = loader.from_step(0)
    first, second = next(stream), next(stream)
    again = next(ShapeBatches(16, 12, seed=5).from_step(1))
    assert all(torch.equal(second[k], again[k]) for k in ("x", "tokens", "mask"))
    assert not torch.equal(first["x"], second["x"])
    assert not torch.equal(next(ShapeBatches(16, 12, seed=6).from_step(1))["x"], second["x"])
    tokenizer = shapes.tokenizer()
    scenes = [parse(tokenizer.decode(row)) for row in second["tokens"]]
    assert {shapes.split_of(s) for s in scenes} == {"train"}


def test_captions_belong_to_their_pictures():
    batch = next(ShapeBatches(32, 60, split="unseen", seed=1).from_step(0))
    said = [parse(shapes.tokenizer().decode(row)) for row in batch["tokens"]]
    assert shapes.agreement(said, shapes.read(batch["x"]))["all"].double().mean() > 0.97


def test_ranks_share_a_batch():
    whole = next(ShapeBatches(16, 12, seed=2).from_step(4))
    parts = [next(ShapeBatches(16, 12, seed=2).shard(rank, 3).from_step(4)) for rank in range(3)]
    assert all(torch.equal(torch.cat([p[k] for p in parts]), whole[k]) for k in whole)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"size": 4}, "size must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 5, "world": 2}, "divisible by the 2 processes; got 5"),
        ({"split": "test"}, "split must be one of"),
        ({"style": "oil"}, "style must be one of"),
        ({"objects": 3}, "objects must be 1, 2 or None"),
        ({"rank": 1}, "rank must lie in"),
    ],
)
def test_what_is_wrong_is_said(changes, words):
    with pytest.raises(ValueError, match=words):
        ShapeBatches(**({"size": 16, "batch_size": 4} | changes))
    with pytest.raises(ValueError, match="step must be"):
        ShapeBatches(16, 4).from_step(-1)


def test_partial_captions_leave_out_and_never_lie():
    whole = sample(400, seed=3)
    said = partly(whole, 0.5, seed=4)
    assert all(all(less.agrees(scene).values()) for less, scene in zip(said, whole))
    assert all(t.shape and t.colour for scene in said for t in scene.things)
    changed = sum(a != b for a, b in zip(said, whole)) / len(whole)
    assert abs(changed - 0.5 * (1 - 0.5**3)) < 0.08  # half may lose something, one in eight of those loses nothing
    assert partly(whole, 0.0) == whole
    with pytest.raises(ValueError, match=r"share must lie in \[0, 1\]; got 2"):
        partly(whole, 2)
    with pytest.raises(ValueError, match=r"partial must lie in \[0, 1\]; got -1"):
        ShapeBatches(16, 4, partial=-1)
    plain, partial = (next(ShapeBatches(16, 8, partial=p, seed=5).from_step(0)) for p in (0.0, 1.0))
    assert torch.equal(plain["x"], partial["x"]) and not torch.equal(plain["tokens"], partial["tokens"])
