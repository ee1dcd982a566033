"""Captions of scenes, and scenes of captions: a small grammar with synonyms, written and read by the same tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import dropwhile

import torch

from ..tokens import WordTokenizer
from ..words import nearest, split_words
from .world import COLOURS, CONVERSE, SHAPES, SIZES, Scene, Thing

# What each attribute may be called; the first is its plain name.
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "circle": ("circle", "disc"), "square": ("square", "box"), "triangle": ("triangle",),
        "diamond": ("diamond", "rhombus"), "cross": ("cross", "plus"), "star": ("star",), "heart": ("heart",),
        "crescent": ("crescent", "moon"),
    },
    "colour": {
        "red": ("red", "scarlet"), "orange": ("orange",), "yellow": ("yellow", "gold"), "green": ("green",),
        "cyan": ("cyan", "turquoise"), "blue": ("blue",), "purple": ("purple", "violet"), "pink": ("pink",),
    },
    "size": {
        "small": ("small", "little", "tiny"), "medium": ("medium",), "large": ("large", "big", "huge"),
    },
    "place": {
        "top left": ("in the top left", "in the upper left corner"), "top": ("at the top", "in the top middle"),
        "top right": ("in the top right", "in the upper right corner"), "left": ("on the left", "at the left edge"),
        "centre": ("in the centre", "in the center", "in the middle"), "right": ("on the right", "at the right edge"),
        "bottom left": ("in the bottom left", "in the lower left corner"),
        "bottom": ("at the bottom", "in the bottom middle"),
        "bottom right": ("in the bottom right", "in the lower right corner"),
    },
    "relation": {
        "left of": ("to the left of", "left of"), "right of": ("to the right of", "right of"),
        "above": ("above", "over"), "below": ("below", "under", "beneath"),
    },
    "background": {
        "dark": ("on a dark background", "on dark ground", "against a dark backdrop"),
        "light": ("on a light background", "on light ground", "against a light backdrop"),
    },
}  # fmt: skip
FRAMES = {
    1: ("{0} {place}", "a picture of {0} {place}", "an image of {0} {place}", "there is {0} {place}", "{place}, {0}",
        "{place} there is {0}"),
    2: ("{0} {relation} {1}", "a picture of {0} {relation} {1}", "an image of {0} {relation} {1}",
        "there is {0} {relation} {1}"),
}  # fmt: skip
FORMS = ("{article} {size} {colour} {shape}", "{article} {size} {shape} in {colour}")
SMALL = frozenset(split_words("a an the in at on to of and there is picture image against ,"))
LENGTH = 24  # tokens of the longest caption, begin and end among them


def phrasings(scene: Scene) -> int:
    """In how many ways `caption` can say a scene.

    >>> phrasings(Scene((Thing("star", "red"),)))
    16
    """
    return math.prod(_choices(scene).values())


def caption(scene: Scene, phrasing: int = 0) -> str:
    """Says all that a scene states, and nothing else.

    Args:
        scene: what to say.
        phrasing: 0 is the plain one; each number below `phrasings(scene)` is another choice of frame and synonyms.

    Raises:
        ValueError: `phrasing` is out of range.

    >>> scene = Scene((Thing("star", "red"), Thing("heart", size="large")), relation="above", background="dark")
    >>> caption(scene)
    'a red star above a large heart on a dark background'
    >>> caption(scene, 700)
    'a big heart beneath a star in scarlet against a dark backdrop'
    """
    total = phrasings(scene)
    if not isinstance(phrasing, int) or not 0 <= phrasing < total:
        raise ValueError(f"phrasing must be an integer in 0..{total - 1}; got {phrasing!r}")
    pick = {}
    for name, number in _choices(scene).items():
        phrasing, pick[name] = divmod(phrasing, number)
    return _said(scene, pick)


def captions(scenes: Sequence[Scene], *, seed: int = 0) -> list[str]:
    """One caption for each scene, all phrasings equally probable."""
    draws = torch.rand(len(scenes), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    return [caption(scene, int(u * phrasings(scene))) for u, scene in zip(draws, scenes)]


def parse(text: str) -> Scene:
    """Reads a caption; what it does not say is None in the scene. Small words and commas may stand anywhere.

    Args:
        text: a caption, in upper or lower case.

    Raises:
        ValueError: a word is not of this world (the message names the nearest that are), or what the words say is no
            scene: no shape, two colours of one object, a relation of a single object.

    >>> parse("a small red circle left of a blue box")
    Scene(things=(Thing(shape='circle', colour='red', size='small'), Thing(shape='square', colour='blue', size=None)),
          place=None, relation='left of', background=None)
    """
    things: list[dict[str, str]] = []
    after: dict[str, str] = {}  # attributes that wait for their shape
    whole: dict[str, str] = {}  # place, relation, background
    into_last = False  # "a circle in red": what follows belongs to the object already named
    for kind, value, words in _units(text):
        if kind == "filler":
            into_last = bool(things) and (words == "in" or (into_last and words == ","))
        elif kind == "shape":
            things.append({"shape": value} | after)
            after, into_last = {}, False
        elif kind in ("colour", "size"):
            _put(things[-1] if into_last else after, kind, value, text)
        else:
            if kind == "relation" and (len(things) != 1 or after):
                raise ValueError(f"caption must have one object on each side of {words!r}; got {text!r}")
            _put(whole, kind, value, text)
            into_last = False
    return _scene(things, after, whole, text)


def tokenizer() -> WordTokenizer:
    """The world's words as tokens; the same numbers as long as the grammar is."""
    return WordTokenizer(sorted(vocabulary()), LENGTH)


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Every word and mark that a caption may have."""
    blank = dict.fromkeys((*NAMES, "article"), "")
    frames = [frame.format("", "", **blank) for frame in (*FRAMES[1], *FRAMES[2], *FORMS)]
    named = [phrase for kind in NAMES.values() for phrases in kind.values() for phrase in phrases]
    return frozenset(split_words(" ".join([*frames, *named, "a an and"])))


def _choices(scene: Scene) -> dict[str, int]:
    """Choice -> number of alternatives, for what the scene states."""
    frames = 4 if scene.place is None else len(FRAMES[1])
    found = {"frame": frames if len(scene) == 1 else len(FRAMES[2])}
    for i, thing in enumerate(scene.things):
        found[f"form {i}"] = 1 if thing.colour is None else len(FORMS)
        for kind in ("shape", "colour", "size"):
            found[f"{kind} {i}"] = _number(kind, getattr(thing, kind))
    return found | {
        "place": _number("place", scene.place), "relation": len(_relations(scene)),
        "background": _number("background", scene.background),
    }  # fmt: skip


def _relations(scene: Scene) -> list[tuple[int, str]]:
    """(step through the objects, words): the relation from the first object, then its converse from the second."""
    if len(scene) == 1:
        return [(1, "")]
    if scene.relation is None:
        return [(1, "and"), (-1, "and")]
    there, back = NAMES["relation"][scene.relation], NAMES["relation"][CONVERSE[scene.relation]]
    return [*((1, words) for words in there), *((-1, words) for words in back)]


def _number(kind: str, value: str | None) -> int:
    return 1 if value is None else len(NAMES[kind][value])


def _said(scene: Scene, pick: dict[str, int]) -> str:
    said = [_phrase(thing, i, pick) for i, thing in enumerate(scene.things)]
    step, relation = _relations(scene)[pick["relation"]]
    place = NAMES["place"][scene.place][pick["place"]] if scene.place else ""
    text = FRAMES[len(scene)][pick["frame"]].format(*said[::step], place=place, relation=relation)
    ground = NAMES["background"][scene.background][pick["background"]] if scene.background else ""
    return " ".join(f"{text} {ground}".split())


def _phrase(thing: Thing, i: int, pick: dict[str, int]) -> str:
    words = {
        kind: NAMES[kind][value][pick[f"{kind} {i}"]] if (value := getattr(thing, kind)) else ""
        for kind in ("shape", "colour", "size")
    }
    form = FORMS[pick[f"form {i}"]]
    first = form.format(article="", **words).lstrip()[0]
    return " ".join(form.format(article="an" if first in "aeiou" else "a", **words).split())


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, ...], tuple[str, str]]:
    """Words -> (kind, value), each phrase without the small words before its first telling one."""
    found = {}
    for kind, values in NAMES.items():
        for value, phrases in values.items():
            for phrase in phrases:
                words = split_words(phrase)
                found[tuple(dropwhile(SMALL.__contains__, words))] = (kind, value)
    return found


def _units(text: str) -> Iterator[tuple[str, str, str]]:
    """Yields (kind, value, words): the longest phrases that the table has, small words as "filler"."""
    if not isinstance(text, str):
        raise ValueError(f"caption must be a string; got {text!r}")
    words, table = split_words(text), _table()
    unknown = [word for word in dict.fromkeys(words) if word not in vocabulary()]
    if unknown:
        raise ValueError(f"caption has words that this world does not know: {'; '.join(map(_nearest, unknown))}")
    at = 0
    while at < len(words):
        for length in range(min(4, len(words) - at), 0, -1):
            phrase = tuple(words[at : at + length])
            if phrase in table:
                yield (*table[phrase], " ".join(phrase))
                break
        else:
            length = 1
            if words[at] not in SMALL:
                raise ValueError(f"caption must use {words[at]!r} as the grammar does; got {text!r}")
            yield "filler", "", words[at]
        at += length


def _nearest(word: str) -> str:
    shapes, colours, sizes = (", ".join(names) for names in (SHAPES, COLOURS, SIZES))
    otherwise = f"it knows the shapes {shapes}, the colours {colours} and the sizes {sizes}"
    return f"{word!r} ({nearest(word, vocabulary(), otherwise)})"


def _put(where: dict[str, str], kind: str, value: str, text: str) -> None:
    if kind in where:
        whose = "object" if kind in ("colour", "size") else "picture"
        raise ValueError(f"caption must say one {kind} for each {whose}; got {where[kind]!r} and {value!r} in {text!r}")
    where[kind] = value


def _scene(things: list[dict], after: dict, whole: dict, text: str) -> Scene:
    if not things or len(things) > 2:
        raise ValueError(f"caption must name one or two of the shapes {', '.join(SHAPES)}; got {text!r}")
    if after:
        raise ValueError(f"caption must name a shape after {' '.join(after.values())!r}; got {text!r}")
    if "relation" in whole and len(things) == 1:
        raise ValueError(f"caption must name a second object after {whole['relation']!r}; got {text!r}")
    if "place" in whole and len(things) == 2:
        raise ValueError(f"caption must say how two objects stand to each other, not their place; got {text!r}")
    return Scene(tuple(Thing(**thing) for thing in things), **whole)
