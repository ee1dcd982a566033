"""Captions: written from scenes, read back to the same scenes, and what cannot be read is named."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.data import shapes
from minidiff.data.shapes import Scene, Thing, caption, parse, phrasings
from minidiff.data.words import split_words

maybe = st.none()
colours, sizes = maybe | st.sampled_from(shapes.COLOURS), maybe | st.sampled_from(shapes.SIZES)
things = st.builds(Thing, st.sampled_from(shapes.SHAPES), colours, sizes)
grounds = maybe | st.sampled_from(shapes.BACKGROUNDS)
singles = st.builds(
    lambda t, place, ground: Scene((t,), place=place, background=ground),
    things, maybe | st.sampled_from(shapes.PLACES), grounds,
)  # fmt: skip
pairs = st.builds(
    lambda a, b, relation, ground: Scene((a, b), relation=relation, background=ground),
    things, things, maybe | st.sampled_from(shapes.RELATIONS), grounds,
)  # fmt: skip


def same(a: Scene, b: Scene) -> bool:
    """Equal, where two objects without a relation have no order."""
    return a == b or (a.relation is None and a == Scene(b.things[::-1], b.place, b.relation, b.background))


@settings(max_examples=400, deadline=None)
@given(singles | pairs, st.data())
def test_scene_to_caption_to_scene(scene, data):
    text = caption(scene, data.draw(st.integers(0, phrasings(scene) - 1)))
    assert same(parse(text), scene)
    assert same(parse(text.upper()), scene)
    assert set(split_words(text)) <= shapes.vocabulary()
    assert shapes.tokenizer()(text)["tokens"].shape == (1, shapes.tokenizer().length)


@settings(max_examples=60, deadline=None)
@given(singles, st.data())
def test_caption_to_scene_to_caption(scene, data):
    text = caption(scene, data.draw(st.integers(0, phrasings(scene) - 1)))
    again = parse(text)
    assert text in {caption(again, k) for k in range(phrasings(again))}


@settings(max_examples=100, deadline=None)
@given(singles | pairs)
def test_the_plain_caption_is_a_fixed_point(scene):
    assert caption(parse(caption(scene))) == caption(scene)


def test_every_phrasing_of_every_word():
    one = Scene((Thing("crescent", "yellow", "large"),), place="bottom right", background="light")
    two = Scene((Thing("cross", "cyan"), Thing("heart", size="medium")), relation="below", background="dark")
    for scene in (one, two):
        said = [caption(scene, k) for k in range(phrasings(scene))]
        assert len(set(said)) == len(said) and all(parse(text) == scene for text in said)
    for shape, colour in product(shapes.SHAPES, shapes.COLOURS):
        scene = Scene((Thing(shape, colour),))
        assert all(parse(caption(scene, k)) == scene for k in range(phrasings(scene)))


def test_both_directions_of_a_relation_are_said():
    scene = Scene((Thing("star"), Thing("heart")), relation="left of")
    said = {caption(scene, k) for k in range(phrasings(scene))}
    assert {"a star to the left of a heart", "a heart right of a star"} <= said


@pytest.mark.parametrize(
    "text, scene",
    [
        ("a red star", Scene((Thing("star", "red"),))),
        ("Star", Scene((Thing("star"),))),
        ("there is an orange disc at the top", Scene((Thing("circle", "orange"),), place="top")),
        ("in the middle, a tiny box in violet", Scene((Thing("square", "purple", "small"),), place="centre")),
        ("big moon lower left corner", Scene((Thing("crescent", None, "large"),), place="bottom left")),
        ("a circle in red above a square in blue",
         Scene((Thing("circle", "red"), Thing("square", "blue")), relation="above")),
        ("a circle, and a red square", Scene((Thing("circle"), Thing("square", "red")))),
        ("on a dark background a star", Scene((Thing("star"),), background="dark")),
        ("a heart on the left", Scene((Thing("heart"),), place="left")),
        ("a heart on the left of a star", Scene((Thing("heart"), Thing("star")), relation="left of")),
    ],
)  # fmt: skip
def test_what_people_write(text, scene):
    assert parse(text) == scene


@pytest.mark.parametrize(
    "text, words",
    [
        ("a rde circle", "'rde' .*nearest it knows: red"),
        ("a crimson sqare", "'sqare' .*square"),
        ("a dog", "'dog' .*it knows the shapes circle, square"),
        ("", "must name one or two of the shapes"),
        ("a red", "must name one or two of the shapes"),
        ("a red blue star", "one colour for each object; got 'red' and 'blue'"),
        ("a small star in red in blue", "one colour for each object"),
        ("a star above", "second object after 'above'"),
        ("above a star", "one object on each side of 'above'"),
        ("a star above a heart above a circle", "one object on each side of 'above'"),
        ("a star and a heart and a circle", "one or two of the shapes"),
        ("a star and a heart at the top", "not their place"),
        ("a star at the top on the left", "one place for each picture"),
        ("a star on a dark background on light ground", "one background for each picture"),
        ("a star, small", "a shape after 'small'"),
        ("a corner star", "must use 'corner' as the grammar does"),
    ],
)
def test_what_cannot_be_read_is_named(text, words):
    with pytest.raises(ValueError, match=words):
        parse(text)
    with pytest.raises(ValueError, match="must be a string"):
        parse(None)


def test_phrasings_have_their_bounds():
    scene = Scene((Thing("star"),))
    for wrong in (-1, phrasings(scene), 0.0):
        with pytest.raises(ValueError, match="phrasing must be an integer in 0.."):
            caption(scene, wrong)


def test_captions_are_seeded():
    scenes = shapes.sample(60, seed=1)
    first = shapes.captions(scenes, seed=5)
    assert shapes.captions(scenes[:20], seed=5) == first[:20] != shapes.captions(scenes, seed=6)[:20]
    assert [parse(text) for text in first] == scenes
    assert len({text.split()[0] for text in shapes.captions(shapes.sample(300, objects=1))}) >= 4


def test_the_tokenizer_knows_every_word_and_the_longest_caption():
    tokenizer = shapes.tokenizer()
    assert set(tokenizer.words[4:]) == shapes.vocabulary()
    scenes = [*shapes.sample(40, objects=1), *shapes.sample(40, objects=2)]
    longest = max(len(tokenizer.encode(caption(s, k))) for s in scenes for k in range(0, phrasings(s), 5))
    assert longest <= tokenizer.length - 2 <= longest + 3
    assert tokenizer.unknown not in tokenizer(shapes.captions(scenes))["tokens"]
