"""Exercises of lesson 00, part two: reading a picture by drawing it, and counting what is right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise


def _probe(rng: torch.Generator, k: int, h: int, w: int) -> tuple[Tensor, Tensor]:
    covers = torch.rand(k, h, w, generator=rng) ** 3
    covers[0] = 0.9  # large: it overlaps everything
    colour = torch.tensor([1.2, -0.9, -0.3])[torch.randperm(3, generator=rng)]  # sums to 0
    patch = 0.5 * colour[:, None, None] * covers[-2] + 0.05 * torch.randn(3, h, w, generator=rng)
    return patch, covers


def _nested(rng: torch.Generator, middle: float) -> tuple[Tensor, Tensor]:
    """Discs one inside the other; the picture shows the second largest, with another strength in its middle."""
    u, v = torch.arange(9.0) - 4, torch.arange(11.0)[:, None] - 5
    covers = torch.stack([((u**2 + v**2).sqrt() < r).float() for r in (1.5, 2.5, 4.2, 5.2)])  # [4,11,9]
    colour = torch.tensor([0.8, -0.5, 0.3])[torch.randperm(3, generator=rng)]
    shade = covers[2] + middle * covers[0]
    return colour[:, None, None] * shade + 0.02 * torch.randn(3, 11, 9, generator=rng), covers


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
the cover that leaves least, and its colour. A loop over the covers is fine.""",
    minutes=20,
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
    rest = (patch - drawn).square().sum(dim=(1, 2, 3))
    best = rest.argmin()
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
            "    rest = (patch - colours[:, :, None, None] * covers[:, None]).square().sum(dim=(1, 2, 3))\n"
            "    best = rest.argmin()\n    return best, colours[best]\n",
            "You divide by the sum of the cover; least squares divides by the sum of its *square*. They differ at "
            "every pixel that is covered in part.",
        ),
        "strongest_colour": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    best = colours.norm(dim=1).argmax()\n    return best, colours[best]\n",
            "You take the cover whose colour comes out strongest. A small cover in the middle of a large shape gets a "
            "fine colour and explains little of it.",
        ),
        "inside_only": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    rest = (patch - colours[:, :, None, None] * covers[:, None]).square() * (covers[:, None] > 0)\n"
            "    best = rest.sum(dim=(1, 2, 3)).argmin()\n    return best, colours[best]\n",
            "You count what is unexplained only inside the cover. Then the smallest cover always does best: what lies "
            "outside it has to be explained too.",
        ),
        "most_left": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    rest = (patch - colours[:, :, None, None] * covers[:, None]).square().sum(dim=(1, 2, 3))\n"
            "    best = rest.argmax()\n    return best, colours[best]\n",
            "You return the cover that leaves *most* unexplained.",
        ),
        "channels_cancel": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    rest = (patch - colours[:, :, None, None] * covers[:, None]).sum(dim=1).square().sum(dim=(1, 2))\n"
            "    best = rest.argmin()\n    return best, colours[best]\n",
            "You add up the channels before you square, so that too much red makes up for too little green.",
        ),
        "signs_cancel": (
            _HEAD + "    colours = shared / covers.square().sum(dim=(1, 2))[:, None]\n"
            "    rest = (patch - colours[:, :, None, None] * covers[:, None]).sum(dim=(1, 2, 3))\n"
            "    best = rest.argmin()\n    return best, colours[best]\n",
            "You add up differences without squaring them: too bright here makes up for too dark there.",
        ),
    },
    probes=lambda rng: [
        *(_probe(rng, k, h, w) for k, h, w in ((5, 7, 9), (3, 11, 6), (8, 5, 13), (7, 6, 4), (9, 10, 8))),
        *(_nested(rng, middle) for middle in (0.3, -0.3)),
    ],  # fmt: skip
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
A caption asks for some attributes, and a picture was read. Compute the share of pictures, between 0 and 1, in which
*every* attribute that was asked for is right.

`asked` is a list of dictionaries such as `{"shape": "star", "colour": "red"}`; what is missing was not asked for and
does not count. `read` has a dictionary for each, or `None` where nothing was recognisable: such a picture is wrong, but
it is a picture.""",
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
