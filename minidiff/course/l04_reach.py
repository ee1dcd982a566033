"""Exercises of lesson 04: the kernel that interpolates, and how far an output can hear."""

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise


def _true_bilinear(stride: int) -> Tensor:
    hat = np.interp(np.arange(2 * stride) + 0.5, [0, stride, 2 * stride], [0, 1, 0])
    return torch.from_numpy(hat)


BILINEAR = Exercise(
    id="04.bilinear",
    title="the kernel that interpolates",
    prompt="""\
Which kernel makes a transposed convolution draw straight lines between its inputs? Build it in one dimension, equation
(3), for an even stride: a hat, `2 * stride` wide, that falls from 1 to 0 over `stride` places on either side.

Mind the half: with an even number of places the peak lies *between* the two in the middle, so no place reaches 1.""",
    minutes=6,
    difficulty=2,
    starter='''\
def bilinear(stride):
    """stride: even integer -> [2 * stride] float32."""
    raise NotImplementedError
''',
    solution='''\
def bilinear(stride):
    """A hat whose peak lies between the two places in the middle."""
    place = torch.arange(2 * stride) + 0.5 - stride
    return 1 - place.abs() / stride
''',
    hints=(
        "Measure places from the middle: for stride 2 they lie at -1.5, -0.5, 0.5, 1.5.",
        "The hat is 1 - |distance| / stride.",
        "For stride 2 you should find 0.25, 0.75, 0.75, 0.25.",
    ),
    wrong={
        "peak_on_a_place": (
            "def bilinear(stride):\n    return 1 - (torch.arange(2 * stride) - stride).abs() / stride\n",
            "Your hat peaks on a place, so it is lopsided over an even number of places and shifts the picture by half "
            "a pixel. The middle of 2 * stride places lies between two of them.",
        ),
        "sums_to_1": (
            "def bilinear(stride):\n"
            "    hat = 1 - (torch.arange(2 * stride) + 0.5 - stride).abs() / stride\n"
            "    return hat / hat.sum()\n",
            "A blur sums to 1. This kernel does not: each output place hears two inputs, and it is their two weights "
            "that sum to 1, so the whole sums to the stride.",
        ),
        "nearest": (
            "def bilinear(stride):\n    return torch.full((2 * stride,), 0.5)\n",
            "A flat kernel takes the mean of the two nearest inputs everywhere: steps, not lines.",
        ),
        "too_steep": (
            "def bilinear(stride):\n    return 1 - (torch.arange(2 * stride) + 0.5 - stride).abs() / (stride - 0.5)\n",
            "Your hat reaches 0 on its outermost places. It should reach 0 half a place beyond, where the next input's "
            "hat has its middle.",
        ),
    },
    probes=lambda rng: [(2,), (4,), (6,)],
    oracle=_true_bilinear,
)


def _true_field(layers: list) -> int:
    first = last = 0  # input places that output place 0 hears, walked back from the output
    for kernel, stride in reversed(layers):
        first, last = first * stride, last * stride + kernel - 1
    return last - first + 1


FIELD = Exercise(
    id="04.receptive_field",
    title="how far an output can hear",
    prompt="""\
Equation (4): a chain of layers, each with a kernel and a stride. How many input pixels, in one direction, can change
one output pixel?

Keep two numbers as you go through the layers: the field, and the `jump`, the distance in input pixels between two
neighbours of the current map.""",
    minutes=6,
    difficulty=2,
    starter='''\
def receptive_field(layers):
    """layers: list of (kernel, stride), from the input on -> int."""
    raise NotImplementedError
''',
    solution='''\
def receptive_field(layers):
    """Each layer adds (kernel - 1) neighbours, as far apart as the current map's pixels are."""
    field, jump = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * jump
        jump *= stride
    return field
''',
    hints=(
        "Without layers an output is an input: the field is 1.",
        "A kernel of 3 adds 2 neighbours. They are `jump` input pixels apart.",
        "A stride makes the neighbours of *later* maps lie further apart.",
    ),
    wrong={
        "no_jump": (
            "def receptive_field(layers):\n    return 1 + sum(kernel - 1 for kernel, _ in layers)\n",
            "You count neighbours as if every map had the input's resolution. After a stride of 2, one step on the map "
            "is two on the input.",
        ),
        "jump_too_early": (
            "def receptive_field(layers):\n"
            "    field, jump = 1, 1\n"
            "    for kernel, stride in layers:\n"
            "        jump *= stride\n"
            "        field += (kernel - 1) * jump\n"
            "    return field\n",
            "A layer's own stride changes the distance between its *outputs*. Its kernel still reads the finer map: "
            "add first, multiply then.",
        ),
        "whole_kernel": (
            "def receptive_field(layers):\n"
            "    field, jump = 1, 1\n"
            "    for kernel, stride in layers:\n"
            "        field += kernel * jump\n"
            "        jump *= stride\n"
            "    return field\n",
            "A kernel of 1 adds nothing, and one of 3 adds two neighbours: kernel - 1.",
        ),
        "product": (
            "def receptive_field(layers):\n"
            "    field = 1\n"
            "    for kernel, _ in layers:\n"
            "        field *= kernel\n"
            "    return field\n",
            "Neighbouring windows overlap, so fields grow by sums, not by products.",
        ),
    },
    probes=lambda rng: [
        ([(3, 1), (3, 1), (2, 2), (3, 1), (3, 1)],),
        ([(5, 2), (3, 2), (1, 1), (3, 3)],),
        ([(7, 1)],),
        ([],),
    ],
    oracle=_true_field,
)
