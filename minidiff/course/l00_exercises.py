"""The exercises of lesson 00: drawing, tokens, reading by drawing, and counting what is right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise

COVER = Exercise(
    id="00.cover",
    title="how much of a pixel is covered",
    prompt="""\
Turn distances into covers, equation (1). `distance` holds each pixel centre's distance to the edge of a shape, negative
inside; `pixel` is the side of a pixel, in the same unit.

A pixel whose centre lies on the edge is half covered. Half a pixel's side further in it is covered whole, half a side
further out not at all, and in between the cover changes in a straight line.""",
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
    said = [number.get(word, 3) for word in caption.lower().split()]
    return torch.tensor(([1, *said, 2] + [0] * length)[:length])


WORDS = ["<pad>", "<begin>", "<end>", "<unknown>", "a", "blue", "circle", "red", "small", "star"]

ENCODE = Exercise(
    id="00.encode",
    title="a caption as numbers",
    prompt="""\
Write a word tokenizer. `words` is a list that begins with `<pad>`, `<begin>`, `<end>`, `<unknown>`; the number of a
word is its place in the list.

Split the caption at spaces, in lower case. The answer is a list of exactly `length` numbers: begin, the words (unknown
for those that are not in the list), end, then padding. The captions here are short enough.""",
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
    tokens = [1] + [number.get(word, 3) for word in caption.lower().split()] + [2]
    return tokens + [0] * (length - len(tokens))
''',
    hints=(
        "A dictionary from word to number makes the look-up one call: `{word: i for i, word in enumerate(words)}`.",
        "`dictionary.get(word, 3)` gives 3 where the word is missing.",
        "How many zeros are left to append once begin, words and end are there?",
    ),
    wrong={
        "no_ends": (
            "def encode(caption, words, length):\n"
            "    tokens = [words.index(w) if w in words else 3 for w in caption.lower().split()]\n"
            "    return tokens + [0] * (length - len(tokens))\n",
            "Begin and end are missing. A text encoder reads the caption off at the end token, and the empty caption "
            "would be nothing but padding.",
        ),
        "end_after_padding": (
            "def encode(caption, words, length):\n"
            "    tokens = [1] + [words.index(w) if w in words else 3 for w in caption.lower().split()]\n"
            "    return tokens + [0] * (length - len(tokens) - 1) + [2]\n",
            "The end comes right after the last word, and padding after the end.",
        ),
        "padding_first": (
            "def encode(caption, words, length):\n"
            "    tokens = [1] + [words.index(w) if w in words else 3 for w in caption.lower().split()] + [2]\n"
            "    return [0] * (length - len(tokens)) + tokens\n",
            "You pad on the left. Here padding stands on the right, so that begin is always at place 0.",
        ),
        "unknown_dropped": (
            "def encode(caption, words, length):\n"
            "    tokens = [1] + [words.index(w) for w in caption.lower().split() if w in words] + [2]\n"
            "    return tokens + [0] * (length - len(tokens))\n",
            "You leave unknown words out, so 'a green star' and 'a star' become the same. The model should at least "
            "see that there was a word.",
        ),
        "unknown_as_padding": (
            "def encode(caption, words, length):\n"
            "    tokens = [1] + [words.index(w) if w in words else 0 for w in caption.lower().split()] + [2]\n"
            "    return tokens + [0] * (length - len(tokens))\n",
            "You write padding for an unknown word. Padding says 'no word here'; 3 says 'a word that I do not know'.",
        ),
        "case": (
            "def encode(caption, words, length):\n"
            "    tokens = [1] + [words.index(w) if w in words else 3 for w in caption.split()] + [2]\n"
            "    return tokens + [0] * (length - len(tokens))\n",
            "'A' and 'a' are the same word: bring the caption into lower case first.",
        ),
    },
    probes=lambda rng: [
        ("A small red circle", WORDS, 9),
        ("", WORDS, 4),
        ("a GREEN star", WORDS[:4] + WORDS[:3:-1], 7),
        ("blue purple Circle a", WORDS, 6),
    ],
    oracle=lambda caption, words, length: _tokens(caption, words, length).tolist(),
)


def _probe(rng: torch.Generator, k: int, h: int, w: int) -> tuple[Tensor, Tensor]:
    covers = torch.rand(k, h, w, generator=rng) ** 3
    covers[0] = 0.9  # large: it overlaps everything
    colour = torch.tensor([1.2, -0.9, -0.3])[torch.randperm(3, generator=rng)]  # sums to 0
    patch = 0.5 * colour[:, None, None] * covers[-2] + 0.05 * torch.randn(3, h, w, generator=rng)
    return patch, covers


def _nearest(patch: Tensor, covers: Tensor) -> tuple[int, Tensor]:
    pixels = patch.flatten(1).T.numpy()  # [P,3]
    fits = [np.linalg.lstsq(t.flatten()[:, None].numpy(), pixels, rcond=None) for t in covers]
    best = int(np.argmin([residuals.sum() for _, residuals, *_ in fits]))
    return best, torch.from_numpy(fits[best][0][0])


_HEAD = 'def nearest_drawing(patch, covers):\n    shared = torch.einsum("chw,khw->kc", patch, covers)\n'

NEAREST_DRAWING = Exercise(
    id="00.nearest_drawing",
    title="which drawing comes nearest",
    prompt="""\
Read a shape by drawing, equations (2) and (3). `patch` is a piece of a picture, less its background; `covers` holds the
covers of K shapes that it might be.

For each cover take the colour that fits best, then see how much of the patch it leaves unexplained. Return the index of
the cover that leaves least, and its colour.""",
    minutes=12,
    difficulty=3,
    starter='''\
def nearest_drawing(patch, covers):
    """patch [3,H,W], covers [K,H,W] -> (index of the best cover, its colour [3])"""
    raise NotImplementedError
''',
    solution='''\
def nearest_drawing(patch, covers):
    """patch [3,H,W], covers [K,H,W] -> (index of the best cover, its colour [3])"""
    shared = torch.einsum("chw,khw->kc", patch, covers)
    colours = shared / covers.square().sum(dim=(1, 2))[:, None]
    drawn = colours[:, :, None, None] * covers[:, None]
    left = (patch - drawn).square().sum(dim=(1, 2, 3))
    best = left.argmin()
    return best, colours[best]
''',
    hints=(
        "Do it for one cover first: `colour = (patch * cover).sum((1, 2)) / cover.square().sum()` is [3].",
        "The drawing is `colour[:, None, None] * cover`, [3,H,W]. What it leaves is one number: the sum of squares.",
        "With K covers at once, `torch.einsum('chw,khw->kc', patch, covers)` gives all the sums of products.",
    ),
    wrong={
        "largest_overlap": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    best = shared.square().sum(dim=1).argmax()\n    return best, colours[best]\n",
            "You take the cover with the largest overlap. A large shape overlaps with everything: compare what is "
            "left over instead.",
        ),
        "mean_colour": (
            _HEAD + "    colours = shared / covers.sum(dim=(1, 2))[:, None]\n"
            "    left = (patch - colours[:, :, None, None] * covers[:, None]).square().sum(dim=(1, 2, 3))\n"
            "    best = left.argmin()\n    return best, colours[best]\n",
            "You divide by the sum of the cover; least squares divides by the sum of its *square*. They differ at "
            "every pixel that is covered in part.",
        ),
        "most_left": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    left = (patch - colours[:, :, None, None] * covers[:, None]).square().sum(dim=(1, 2, 3))\n"
            "    best = left.argmax()\n    return best, colours[best]\n",
            "You return the cover that leaves *most* unexplained.",
        ),
        "channels_cancel": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    left = (patch - colours[:, :, None, None] * covers[:, None]).sum(dim=1).square().sum(dim=(1, 2))\n"
            "    best = left.argmin()\n    return best, colours[best]\n",
            "You add up the channels before you square, so that too much red makes up for too little green.",
        ),
        "signs_cancel": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    left = (patch - colours[:, :, None, None] * covers[:, None]).sum(dim=(1, 2, 3))\n"
            "    best = left.argmin()\n    return best, colours[best]\n",
            "You add up differences without squaring them: too bright here makes up for too dark there.",
        ),
    },
    probes=lambda rng: [_probe(rng, k, h, w) for k, h, w in ((5, 7, 9), (3, 11, 6), (8, 5, 13), (7, 6, 4), (9, 10, 8))],
    oracle=_nearest,
)


def _share(asked: list[dict], read: list[dict | None]) -> float:
    wrong = 0
    for want, got in zip(asked, read):
        wrong += got is None or bool(want.items() - got.items())
    return 1 - wrong / len(asked)


_ASKED = [
    {"shape": "star", "colour": "red"},
    {"shape": "heart", "colour": "blue", "size": "large"},
    {"shape": "circle"},
    {"shape": "cross", "size": "small"},
    {"shape": "star", "colour": "pink", "size": "large"},
]
_READ = [
    {"shape": "star", "colour": "red", "size": "small"},
    {"shape": "heart", "colour": "red", "size": "large"},
    None,
    {"shape": "cross", "colour": "red", "size": "small"},
    {"shape": "star", "colour": "pink", "size": "small"},
]

SHARE_RIGHT = Exercise(
    id="00.share_right",
    title="what counts as right",
    prompt="""\
A caption asks for some attributes, and a picture was read. Count the share of pictures in which *every* attribute that
was asked for is right.

`asked` is a list of dictionaries such as `{"shape": "star", "colour": "red"}`; what is missing was not asked for and
does not count. `read` has a dictionary for each, or `None` where nothing was recognisable.""",
    minutes=6,
    difficulty=2,
    starter='''\
def share_right(asked, read):
    """asked: N dictionaries; read: N dictionaries or None -> a number between 0 and 1"""
    raise NotImplementedError
''',
    solution='''\
def share_right(asked, read):
    """asked: N dictionaries; read: N dictionaries or None -> a number between 0 and 1"""
    right = 0
    for want, got in zip(asked, read):
        if got is not None and all(got[name] == value for name, value in want.items()):
            right = right + 1
    return right / len(asked)
''',
    hints=(
        "Go through both lists at once with `zip(asked, read)`.",
        "`all(...)` is True if every attribute that was asked for has the value that was read.",
        "A picture in which nothing was recognisable is a wrong picture: it stays in the count.",
    ),
    wrong={
        "mean_of_attributes": (
            "def share_right(asked, read):\n"
            "    found = [bool(got) and got[k] == v for want, got in zip(asked, read) for k, v in want.items()]\n"
            "    return sum(found) / len(found)\n",
            "You count attributes, not pictures: a blue star in place of a red one gets half a point. Whoever asked "
            "for a red star has no use for it.",
        ),
        "must_be_equal": (
            "def share_right(asked, read):\n"
            "    return sum(want == got for want, got in zip(asked, read)) / len(asked)\n",
            "You also demand what was not asked for. A small red star is a red star.",
        ),
        "unreadable_left_out": (
            "def share_right(asked, read):\n"
            "    pairs = [(want, got) for want, got in zip(asked, read) if got is not None]\n"
            "    right = [all(got[k] == v for k, v in want.items()) for want, got in pairs]\n"
            "    return sum(right) / len(right)\n",
            "You leave out the pictures in which nothing was recognisable. Then the surest way to a good score is to "
            "draw mostly rubbish.",
        ),
        "any_attribute": (
            "def share_right(asked, read):\n"
            "    right = [bool(got) and any(got[k] == v for k, v in want.items()) for want, got in zip(asked, read)]\n"
            "    return sum(right) / len(right)\n",
            "One right attribute is enough for you. All that were asked for must be right.",
        ),
    },
    probes=lambda rng: [(_ASKED, _READ), (_ASKED[:4], _READ[:4]), (_ASKED[3:], _READ[3:]), (_ASKED[2:3], _READ[3:4])],
    oracle=_share,
)

EXERCISES = (COVER, ENCODE, NEAREST_DRAWING, SHARE_RIGHT)
