"""Exercises of lesson 04 about convolutions: sliding a layer over a map, and spreading a map."""

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise


def _randn(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng)


def _true_slide(h: Tensor, weight: Tensor, bias: Tensor, side: int) -> Tensor:
    windows = np.lib.stride_tricks.sliding_window_view(h.numpy(), (side, side), axis=(2, 3))  # [B,C,H',W',s,s]
    table = weight.numpy().reshape(len(weight), h.shape[1], side, side)
    found = np.einsum("bchwij,kcij->bkhw", windows, table) + bias.numpy()[:, None, None]
    return torch.from_numpy(found)


SLIDE = Exercise(
    id="04.slide",
    title="let a fully connected layer slide",
    prompt="""\
A fully connected layer reads one flattened map of `side` x `side`. Turn its weights into those of a convolution,
equation (1), and run it over a map of any size: one answer for each place where the old map would fit.

`F.conv2d` does the sliding. Your part is the shape of the weights.""",
    minutes=6,
    difficulty=2,
    starter='''\
def slide(h, weight, bias, side):
    """h [B,C,H,W]; weight [K, C * side * side] and bias [K] of an nn.Linear that read h.flatten(1) when H = W = side.

    Returns [B, K, H - side + 1, W - side + 1].
    """
    raise NotImplementedError
''',
    solution='''\
def slide(h, weight, bias, side):
    """The fully connected layer as a convolution, at every place of h."""
    kernel = weight.view(weight.shape[0], h.shape[1], side, side)
    return F.conv2d(h, kernel, bias, stride=1, padding=0)
''',
    hints=(
        "`flatten(1)` walks over columns first, then rows, then channels. So what are the weights' last two axes?",
        "`F.conv2d` wants weights of shape [K, C, side, side].",
        "Each answer needs a full window: no padding, and one step at a time.",
    ),
    wrong={
        "channels_last": (
            "def slide(h, weight, bias, side):\n"
            "    w = weight.view(len(weight), side, side, h.shape[1]).permute(0, 3, 1, 2)\n"
            "    return F.conv2d(h, w, bias)\n",
            "The numbers are dealt out in the wrong order. `flatten(1)` of [B,C,H,W] keeps the channel as the slowest "
            "axis, so the weights are [K, C, side, side] as they lie.",
        ),
        "transposed": (
            "def slide(h, weight, bias, side):\n"
            "    return F.conv2d(h, weight.view(len(weight), h.shape[1], side, side).mT, bias)\n",
            "Rows and columns of the window are exchanged.",
        ),
        "flipped": (
            "def slide(h, weight, bias, side):\n"
            "    return F.conv2d(h, weight.view(len(weight), h.shape[1], side, side).flip(2, 3), bias)\n",
            "You turn the kernel round, as a convolution in mathematics does. `F.conv2d` does not: it multiplies and "
            "adds as the linear layer did.",
        ),
        "padded": (
            "def slide(h, weight, bias, side):\n"
            "    w = weight.view(len(weight), h.shape[1], side, side)\n"
            "    return F.conv2d(h, w, bias, padding=side // 2)\n",
            "With padding, the outer answers look at zeros that the layer never saw. Without it there are "
            "H - side + 1 rows.",
        ),
        "tiled": (
            "def slide(h, weight, bias, side):\n"
            "    w = weight.view(len(weight), h.shape[1], side, side)\n"
            "    return F.conv2d(h, w, bias, stride=side)\n",
            "You step from window to window. Sliding means all places, overlapping ones too: stride 1.",
        ),
        "no_bias": (
            "def slide(h, weight, bias, side):\n"
            "    return F.conv2d(h, weight.view(len(weight), h.shape[1], side, side))\n",
            "The bias is missing.",
        ),
    },
    probes=lambda rng: [
        (_randn(rng, 2, 3, 5, 7), _randn(rng, 4, 3 * 2 * 2), _randn(rng, 4), 2),
        (_randn(rng, 1, 2, 3, 3), _randn(rng, 5, 2 * 3 * 3), _randn(rng, 5), 3),
    ],
    oracle=_true_slide,
)


def _true_deconvolve(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    table = np.zeros((len(x), (len(x) - 1) * stride + len(kernel)))
    for i in range(len(x)):
        table[i, i * stride : i * stride + len(kernel)] = kernel.numpy()
    return torch.from_numpy(x.numpy() @ table)


DECONVOLVE = Exercise(
    id="04.deconvolve",
    title="a transposed convolution by hand",
    prompt="""\
Write equation (2) in one dimension. Every input number prints its own scaled copy of the kernel onto the output,
`stride` places further on than the one before it. Where copies overlap, they add up.""",
    minutes=7,
    difficulty=2,
    starter='''\
def deconvolve(x, kernel, stride):
    """x [N], kernel [K] -> [(N - 1) * stride + K]."""
    raise NotImplementedError
''',
    solution='''\
def deconvolve(x, kernel, stride):
    """Each x[i] prints x[i] * kernel from place i * stride on; overlaps add."""
    out = x.new_zeros((len(x) - 1) * stride + len(kernel))
    for i in range(len(x)):
        out[i * stride : i * stride + len(kernel)] += x[i] * kernel
    return out
''',
    hints=(
        "Start from zeros of the right length: `x.new_zeros(...)`.",
        "Number i starts at place `i * stride` and covers `len(kernel)` places.",
        "`+=` on a slice adds to what an earlier copy has left there.",
    ),
    wrong={
        "overwrites": (
            "def deconvolve(x, kernel, stride):\n"
            "    out = x.new_zeros((len(x) - 1) * stride + len(kernel))\n"
            "    for i in range(len(x)):\n"
            "        out[i * stride : i * stride + len(kernel)] = x[i] * kernel\n"
            "    return out\n",
            "Each copy wipes out what the one before it left. Overlaps add up: that sum is what makes interpolation "
            "possible, and checkerboards.",
        ),
        "no_stride": (
            "def deconvolve(x, kernel, stride):\n"
            "    out = x.new_zeros((len(x) - 1) * stride + len(kernel))\n"
            "    for i in range(len(x)):\n"
            "        out[i : i + len(kernel)] += x[i] * kernel\n"
            "    return out\n",
            "All copies lie one place apart. The stride is how far: number i starts at i * stride.",
        ),
        "flipped": (
            "def deconvolve(x, kernel, stride):\n"
            "    out = x.new_zeros((len(x) - 1) * stride + len(kernel))\n"
            "    for i in range(len(x)):\n"
            "        out[i * stride : i * stride + len(kernel)] += x[i] * kernel.flip(0)\n"
            "    return out\n",
            "The kernel is printed back to front. `F.conv_transpose1d` prints it as it is.",
        ),
        "cropped": (
            "def deconvolve(x, kernel, stride):\n"
            "    out = x.new_zeros((len(x) - 1) * stride + len(kernel))\n"
            "    for i in range(len(x)):\n"
            "        out[i * stride : i * stride + len(kernel)] += x[i] * kernel\n"
            "    return out[: len(x) * stride]\n",
            "You cut the result to N * stride places. That is what padding does in a layer; here all copies count.",
        ),
        "blows_up_first": (
            "def deconvolve(x, kernel, stride):\n"
            "    wide = x.repeat_interleave(stride)[: (len(x) - 1) * stride + 1]\n"
            "    return F.conv1d(wide[None, None], kernel.flip(0)[None, None], padding=len(kernel) - 1)[0, 0]\n",
            "You repeat each number before you convolve. A transposed convolution puts zeros between them instead: "
            "every number prints its kernel once.",
        ),
    },
    probes=lambda rng: [
        (_randn(rng, 5), _randn(rng, 4), 2),
        (_randn(rng, 3), _randn(rng, 7), 3),
        (_randn(rng, 4), _randn(rng, 3), 1),
    ],
    oracle=_true_deconvolve,
)
