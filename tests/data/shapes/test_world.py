"""The inventory, scenes and splits of the caption world."""

from dataclasses import replace
from itertools import product

import pytest

from minidiff.data import shapes
from minidiff.data.shapes import Scene, Thing
from minidiff.data.shapes.splits import _split_table

STAR = Thing("star", "red", "small")
BOX = Thing("square", "blue", "large")


def test_the_inventory_is_at_least_what_was_asked_for():
    assert len(shapes.SHAPES) >= 6 and len(shapes.COLOURS) >= 8 and len(shapes.SIZES) == 3
    assert len(shapes.PLACES) == 9 and len(shapes.BACKGROUNDS) == 2 and len(shapes.RELATIONS) == 4
    for names in (shapes.SHAPES, shapes.COLOURS, shapes.PLACES):
        assert len(set(names)) == len(names)


def test_every_tuple_is_in_one_split():
    for objects, total in ((1, 8 * 8 * 3 * 9), (2, (8 * 8 * 3) ** 2 * 2 - 64 * 9 * 2)):
        parts = [set(shapes.scenes(split, objects).tolist()) for split in shapes.SPLITS]
        assert sum(map(len, parts)) == len(set.union(*parts)) == total


@pytest.mark.parametrize("objects", [1, 2])
def test_a_fifth_is_unseen(objects):
    sizes = {split: len(shapes.scenes(split, objects)) for split in shapes.SPLITS}
    drawn = sizes["train"] + sizes["validation"] + sizes["unseen"]
    assert sizes["unseen"] / drawn >= 0.2
    assert 0.04 <= sizes["validation"] / drawn <= 0.06


def test_held_out_pairs_are_nowhere_else():
    assert len(shapes.HELD_OUT) / 64 >= 0.1
    assert {s for s, _ in shapes.HELD_OUT} == set(shapes.SHAPES)
    assert {c for _, c in shapes.HELD_OUT} == set(shapes.COLOURS)
    for split, objects in product(shapes.SPLITS, (1, 2)):
        for number in shapes.scenes(split, objects)[::7]:
            held = [(t.shape, t.colour) in shapes.HELD_OUT for t in shapes.scene(number, objects).things]
            assert any(held) == (split == "held_out")


@pytest.mark.parametrize("objects", [1, 2])
def test_numbers_and_scenes_are_one_to_one(objects):
    for split in shapes.SPLITS:
        numbers = shapes.scenes(split, objects)[::31]
        found = [shapes.scene(number, objects) for number in numbers]
        assert len(set(found)) == len(numbers)
        assert {shapes.split_of(scene) for scene in found} == {split}


def test_a_scene_its_swap_and_both_backgrounds_share_a_split():
    for number in shapes.scenes("unseen", 2)[::97]:
        for ground in shapes.BACKGROUNDS:
            scene = shapes.scene(number, 2, ground)
            assert shapes.split_of(scene) == shapes.split_of(scene.swapped()) == "unseen"
            assert scene != scene.swapped()


def test_the_splits_never_move():
    # Checkpoints were trained on one split: whatever moves it invalidates every number measured on unseen scenes.
    assert [int(_split_table(k).astype("int64") @ range(len(_split_table(k)))) for k in (1, 2)] == SPLIT_SUMS


SPLIT_SUMS = [1178478, 2780838580]


def test_the_converse_is_the_same_scene():
    for relation, back in (("left of", "right of"), ("above", "below")):
        assert Scene((STAR, BOX), relation=relation) == Scene((BOX, STAR), relation=back)
        assert Scene((STAR, BOX), relation=relation) != Scene((BOX, STAR), relation=relation)
    assert Scene([STAR, BOX], relation="above") == Scene((STAR, BOX), relation="above")


def test_complete():
    scene = Scene((STAR,), place="top", background="dark")
    assert scene.complete and Scene((STAR, BOX), relation="above", background="light").complete
    for missing in ({"place": None}, {"background": None}, {"things": (Thing("star", "red"),)}):
        assert not replace(scene, **missing).complete


def test_agreement_names_each_attribute():
    shown = Scene((STAR, BOX), relation="left of", background="dark")
    assert shown.agrees(shown) == dict.fromkeys(("objects", "shape", "colour", "size", "relation", "background"), True)
    found = shown.agrees(shown.swapped())
    assert found == {"objects": True, "shape": False, "colour": False, "size": False} | {
        "relation": True, "background": True
    }  # fmt: skip
    assert not any(shown.agrees(Scene((STAR,), place="top", background="dark")).values())
    found = shown.agrees(replace(shown, things=(replace(STAR, colour="pink"), BOX)))
    assert [k for k, v in found.items() if not v] == ["colour"]
    found = shown.agrees(replace(shown, relation="above", background="light"))
    assert [k for k, v in found.items() if not v] == ["relation", "background"]


def test_without_a_relation_the_order_is_free():
    said, shown = Scene((BOX, STAR)), Scene((STAR, BOX), relation="above", background="dark")
    assert all(said.agrees(shown).values()) and "relation" not in said.agrees(shown)
    assert Scene((Thing("star"), Thing("star", "red"))).agrees(
        Scene((STAR, Thing("star", "blue", "large")), relation="above")
    ) == {"objects": True, "shape": True, "colour": True}


def test_samples():
    first, more = shapes.sample(50, "train", seed=3), shapes.sample(80, "train", seed=3)
    assert more[:50] == first != shapes.sample(50, "train", seed=4)
    assert all(s.complete and shapes.split_of(s) == "train" for s in first)
    assert {len(s) for s in first} == {1, 2} and {s.background for s in first} == set(shapes.BACKGROUNDS)
    assert {len(s) for s in shapes.sample(20, "held_out", objects=2)} == {2}
    assert shapes.sample(0) == []
    many = shapes.sample(20_000, "train", objects=1)
    for values in zip(*((s.things[0].shape, s.things[0].size, s.place) for s in many)):
        shares = [values.count(v) / len(values) * len(set(values)) for v in set(values)]
        assert min(shares) > 0.85 and max(shares) < 1.15


def test_attributes_are_one_column_each():
    scenes = shapes.sample(200, seed=4)
    rows = shapes.attributes(scenes)
    assert rows.shape == (200, len(shapes.ATTRIBUTES)) and len(set(shapes.ATTRIBUTES)) == len(shapes.ATTRIBUTES) == 51
    assert rows.sum(1).tolist() == [5.0 if len(s) == 1 else 8.0 for s in scenes]
    assert len(set(map(tuple, rows.tolist()))) == len(set(scenes))  # nothing of a scene is lost
    two = Scene((STAR, BOX), relation="below", background="light")
    named = [shapes.ATTRIBUTES[i] for i in shapes.attributes([two])[0].nonzero().flatten()]
    assert named == ["first square", "first blue", "first large", "second star", "second red", "second small", "above",
                     "light"]  # fmt: skip


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Thing("blob"), "shape must be one of circle.*got 'blob'"),
        (lambda: Thing("star", "grey"), "colour must be one of"),
        (lambda: Thing("star", size="vast"), "size must be one of"),
        (lambda: Scene(()), "one or two objects; got 0"),
        (lambda: Scene((STAR,) * 3), "one or two objects; got 3"),
        (lambda: Scene((STAR, BOX), place="top"), "place must be None for two objects"),
        (lambda: Scene((STAR,), relation="above"), "relation must be None for a single object"),
        (lambda: Scene((STAR,), place="middle"), "place must be one of"),
        (lambda: Scene((STAR,)).swapped(), "needs two objects"),
        (lambda: shapes.split_of(Scene((STAR,))), "must state every attribute"),
        (lambda: shapes.split_of(Scene((STAR, replace(STAR, size="large")), relation="above")), "must differ"),
        (lambda: shapes.scenes("test", 1), "split must be one of train, validation, unseen, held_out; got 'test'"),
        (lambda: shapes.scenes("train", 3), "objects must be one of 1, 2; got 3"),
        (lambda: shapes.sample(-1), "n must be an integer of at least 0; got -1"),
    ],
)
def test_what_is_wrong_is_said(make, words):
    with pytest.raises(ValueError, match=words):
        make()
