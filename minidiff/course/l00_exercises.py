"""The exercises of lesson 00: covers and tokens; the others are in `l00_reading`."""

from __future__ import annotations

import re

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l00_reading import NEAREST_DRAWING, SHARE_RIGHT

COVER = Exercise(
    id="00.cover",
    title="how much of a pixel is covered",
    prompt="""\
Turn distances into covers, equation (1). `distance` holds each pixel centre's distance to the edge of a shape, negative
inside; `pixel` is the side of a pixel, in the same unit.

A pixel whose centre lies on the edge is half covered. Half a pixel's side further in it is covered whole, half a side
further out not at all, and in between the cover changes in a straight line. It must work on whole tensors at once.""",
    minutes=5,
    difficulty=1,
    starter='''\
def cover(distance, pixel):
    """distance [H,W], negative inside; pixel: a number -> share of each pixel inside, [H,W] in [0,1]"""
    raise NotImplementedError
''',
    solution='''\
def cover(distance, pixel):
    """distance [H,W], negative inside; pixel: a number -> share of each pixel inside, [H,W] in [0,1]"""
    return (0.5 - distance / pixel).clamp(0, 1)
''',
    hints=(
        "Measure the distance in pixels first: divide by the side.",
        "Distance 0 must give one half, and a larger distance must give less.",
        "`clamp(0, 1)` keeps what lies outside of the straight part.",
    ),
    wrong={
        "hard": (
            "def cover(distance, pixel):\n    return (distance < 0).float()\n",
            "Each pixel is either in or out, so edges become stairs (this is called aliasing). A pixel on the edge is "
            "covered in part.",
        ),
        "inside_out": (
            "def cover(distance, pixel):\n    return (0.5 + distance / pixel).clamp(0, 1)\n",
            "Your shape is a hole: the distance is negative *inside*, where the cover must be 1.",
        ),
        "no_unit": (
            "def cover(distance, pixel):\n    return (0.5 - distance).clamp(0, 1)\n",
            "You compare the distance with 1, whatever the size of a pixel. Divide by `pixel`, or the blur at the "
            "edge grows with the resolution.",
        ),
        "too_small": (
            "def cover(distance, pixel):\n    return (-distance / pixel).clamp(0, 1)\n",
            "Your shape is half a pixel too small all around: where the distance is 0 the pixel is half covered.",
        ),
        "no_clamp": (
            "def cover(distance, pixel):\n    return 0.5 - distance / pixel\n",
            "A share lies between 0 and 1. Far from the edge yours grows without end.",
        ),
    },
    probes=lambda rng: [
        (2 * torch.randn(5, 7, generator=rng) * pixel, pixel) for pixel in (0.25, 1.0, 0.031)
    ],  # fmt: skip
    oracle=lambda distance, pixel: torch.from_numpy(
        np.interp(distance.numpy(), [-pixel / 2, pixel / 2], [1.0, 0.0])
    ),
)  # fmt: skip


def _tokens(caption: str, words: list[str], length: int) -> Tensor:
    number = {word: i for i, word in enumerate(words)}
    said = [number.get(word, 3) for word in re.findall(r"[^\s,]+|,", caption.lower())]
    return torch.tensor(([1, *said, 2] + [0] * length)[:length])


WORDS = ["<pad>", "<begin>", "<end>", "<unknown>", ",", "a", "blue", "circle", "red", "small", "star", "top"]
_WRONG = "def encode(caption, words, length):\n    said = {}\n    number = {{w: i for i, w in enumerate(words)}}\n"


def _wrong(said: str, rest: str) -> str:
    """A wrong answer that differs from the solution in its words, or in what it makes of them."""
    return _WRONG.format(said) + rest


_SAID = 'caption.lower().replace(",", " , ").split()'
_NUMBERS = "    tokens = [1] + [number.get(w, 3) for w in said] + [2]\n"
_PADDED = "    return tokens + [0] * (length - len(tokens))\n"

ENCODE = Exercise(
    id="00.encode",
    title="a caption as numbers",
    prompt="""\
Write a word tokenizer. `words` is a list that begins with `<pad>`, `<begin>`, `<end>`, `<unknown>`; the number of a
word is its place in the list.

Bring the caption into lower case and split it at white space; a comma is a word of its own ("top, a" has three words),
and an empty caption has none. Return a list of exactly `length` numbers: begin, the words (unknown for those that are
not in the list), end, then padding. The captions here are short enough.""",
    minutes=8,
    difficulty=2,
    starter='''\
def encode(caption, words, length):
    """caption: a string; words: list of strings, the first four special -> list of `length` numbers"""
    raise NotImplementedError
''',
    solution='''\
def encode(caption, words, length):
    """caption: a string; words: list of strings, the first four special -> list of `length` numbers"""
    number = {word: i for i, word in enumerate(words)}
    said = caption.lower().replace(",", " , ").split()
    tokens = [1] + [number.get(word, 3) for word in said] + [2]
    return tokens + [0] * (length - len(tokens))
''',
    hints=(
        "A dictionary from word to number makes the look-up one call: `{word: i for i, word in enumerate(words)}`, "
        "and `dictionary.get(word, 3)` gives 3 where the word is missing.",
        "`replace(',', ' , ')` sets a comma free; `split()` without an argument takes any white space, and makes of "
        "an empty text an empty list.",
        "How many zeros are left to append once begin, words and end are there?",
    ),
    wrong={
        "no_ends": (
            _wrong(_SAID, "    tokens = [number.get(w, 3) for w in said]\n" + _PADDED),
            "Begin and end are missing. A text encoder has to know where the caption stops, and the empty caption "
            "would be nothing but padding.",
        ),
        "end_after_padding": (
            _wrong(_SAID, "    tokens = [1] + [number.get(w, 3) for w in said]\n"
                   "    return tokens + [0] * (length - len(tokens) - 1) + [2]\n"),
            "The end comes right after the last word, and padding after the end.",
        ),
        "padding_first": (
            _wrong(_SAID, _NUMBERS + "    return [0] * (length - len(tokens)) + tokens\n"),
            "You pad on the left. Here padding stands on the right, so that begin is always at place 0.",
        ),
        "unknown_dropped": (
            _wrong(_SAID, "    tokens = [1] + [number[w] for w in said if w in number] + [2]\n" + _PADDED),
            "You leave unknown words out, so 'a green star' and 'a star' become the same. The model should at least "
            "see that there was a word.",
        ),
        "unknown_as_padding": (
            _wrong(_SAID, "    tokens = [1] + [number.get(w, 0) for w in said] + [2]\n" + _PADDED),
            "You write padding for an unknown word. Padding says 'no word here'; 3 says 'a word that I do not know'.",
        ),
        "case": (
            _wrong('caption.replace(",", " , ").split()', _NUMBERS + _PADDED),
            "'A' and 'a' are the same word: bring the caption into lower case first.",
        ),
        "comma_glued": (
            _wrong("caption.lower().split()", _NUMBERS + _PADDED),
            "A word with a comma at its end is not in the list: 'top,' becomes unknown. Make the comma a word of its "
            "own first.",
        ),
        "one_space": (
            _wrong('caption.lower().replace(",", " , ").split(" ")', _NUMBERS + _PADDED),
            "`split(' ')` finds an empty word in an empty caption, and between two spaces. `split()` without an "
            "argument does not.",
        ),
    },
    probes=lambda rng: [
        ("A small red circle", WORDS, 9),
        ("", WORDS, 4),
        ("top, a GREEN star", WORDS[:4] + WORDS[:3:-1], 9),
        ("blue purple  Circle a", WORDS, 8),
    ],
    oracle=lambda caption, words, length: _tokens(caption, words, length).tolist(),
)  # fmt: skip

EXERCISES = (COVER, ENCODE, NEAREST_DRAWING, SHARE_RIGHT)
