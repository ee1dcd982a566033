"""Exercises of lesson 06 on small pictures: made by hand, enlarged, and why a squared error blurs."""

import math

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise


def _true_small(x: Tensor, factor: int) -> Tensor:
    n, c, h, w = x.shape
    out = torch.zeros(n, c, h // factor, w // factor, dtype=x.dtype)
    for i in range(h // factor):
        for j in range(w // factor):
            square = x[:, :, i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
            out[:, :, i, j] = square.sum((2, 3)) / factor**2
    return out


_SMALL = "def downsample(x, factor):\n"

SMALL = Exercise(
    id="06.downsample",
    title="a small picture by hand",
    prompt="""\
Each square of `factor` x `factor` pixels becomes one pixel: their mean. Use no pooling function; `reshape` and `mean`
are enough.""",
    minutes=6,
    difficulty=2,
    starter='''\
def downsample(x, factor):
    """x [B,C,H,W], H and W multiples of factor -> [B,C,H/factor,W/factor]."""
    raise NotImplementedError
''',
    solution='''\
def downsample(x, factor):
    """Split both axes in two, and average over the inner ones."""
    b, c, h, w = x.shape
    squares = x.reshape(b, c, h // factor, factor, w // factor, factor)
    return squares.mean(dim=(3, 5))
''',
    hints=(
        "An axis of length H is H/factor groups of `factor` neighbours: `reshape` can split it in two.",
        "Reshape to [B, C, H/factor, factor, W/factor, factor]. Which two of these six axes lie inside a square?",
    ),
    wrong={
        "every_nth": (
            _SMALL + "    return x[:, :, ::factor, ::factor]\n",
            "You keep one pixel of each square and drop the others. Fine patterns then turn into coarse ones that were "
            "never there: aliasing.",
        ),
        "inner_first": (
            _SMALL + "    b, c, h, w = x.shape\n"
            "    return x.reshape(b, c, factor, h // factor, factor, w // factor).mean(dim=(2, 4))\n",
            "You split the axes the other way round, so you average pixels that lie far apart.",
        ),
        "sum": (
            _SMALL + "    b, c, h, w = x.shape\n"
            "    return x.reshape(b, c, h // factor, factor, w // factor, factor).sum(dim=(3, 5))\n",
            "You add the pixels up. The small picture must stay in [-1,1].",
        ),
        "largest": (
            _SMALL + "    return F.max_pool2d(x, factor)\n",
            "You keep the brightest pixel of each square: thin bright lines become thick ones.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(2, 3, 4, 6, generator=rng), 2),
        (torch.randn(1, 2, 9, 6, generator=rng), 3),
        (torch.randn(3, 1, 2, 5, generator=rng), 1),
    ],
    oracle=_true_small,
)


def _true_guess(y: Tensor, sigma: float, p: float) -> Tensor:
    found = []
    for value in y.flatten().tolist():
        ratio = math.log(p / (1 - p)) + 2 * value / sigma**2  # log of P(+1 | y) / P(-1 | y)
        plus = 1 / (1 + math.exp(-ratio))
        found.append(plus - (1 - plus))
    return torch.tensor(found, dtype=torch.float64).reshape(y.shape)


_GUESS = "def best_guess(y, sigma, p):\n"

GUESS = Exercise(
    id="06.best_guess",
    title="the best guess that is never right",
    prompt="""\
A pixel is black or white: $x = 1$ with probability $p$, else $x = -1$. You see $y = x + \\sigma \\epsilon$. Which *one*
number has the smallest mean squared error? It is the mean of $x$ given $y$: weigh both answers by how likely each one,
times its prior, makes the $y$ that you saw.""",
    minutes=9,
    difficulty=3,
    starter='''\
def best_guess(y, sigma, p):
    """y [N] what was seen, sigma > 0, p in (0,1) -> [N], in (-1,1)."""
    raise NotImplementedError
''',
    solution='''\
def best_guess(y, sigma, p):
    """Mean of the two answers, each weighted by prior times likelihood."""
    log_plus = math.log(p) - (y - 1) ** 2 / (2 * sigma**2)
    log_minus = math.log(1 - p) - (y + 1) ** 2 / (2 * sigma**2)
    return 2 * torch.sigmoid(log_plus - log_minus) - 1
''',
    hints=(
        "The probability of $x = 1$ given $y$ is $p\\,N(y; 1, \\sigma^2)$ over the sum of that and "
        "$(1-p)\\,N(y; -1, \\sigma^2)$.",
        "`torch.sigmoid(a - b)` is $e^a / (e^a + e^b)$.",
        "A mean of $+1$ with probability $q$ and $-1$ with $1 - q$ is $2q - 1$.",
    ),
    wrong={
        "likelier": (
            _GUESS + "    ratio = math.log(p / (1 - p)) + 2 * y / sigma**2\n    return torch.sign(ratio)\n",
            "That is the likelier answer. It is right more often, but where it is wrong it is wrong by 2, and the "
            "squared error counts that fourfold.",
        ),
        "no_prior": (
            _GUESS + "    return torch.tanh(y / sigma**2)\n",
            "You forget the prior: yours is right for p = 1/2 alone.",
        ),
        "probability": (
            _GUESS + "    return torch.sigmoid(math.log(p / (1 - p)) + 2 * y / sigma**2)\n",
            "That is the probability of white, between 0 and 1. The guess is a pixel, between -1 and 1.",
        ),
        "deviation": (
            _GUESS + "    return torch.tanh(y / sigma + math.log(p / (1 - p)) / 2)\n",
            "You divide by sigma where its square belongs.",
        ),
        "what_was_seen": (
            _GUESS + "    return y.clamp(-1, 1)\n",
            "You return what you saw. A pixel can only be -1 or 1, and that is worth knowing.",
        ),
    },
    probes=lambda rng: [
        (2 * torch.randn(7, generator=rng), 0.8, 0.3),
        (2 * torch.randn(5, generator=rng), 1.7, 0.5),
        (torch.randn(3, generator=rng), 0.6, 0.8),
    ],
    oracle=_true_guess,
)


def _true_overlaps(n: int, kernel: int, stride: int) -> Tensor:
    out = [0.0] * ((n - 1) * stride + kernel)
    for i in range(n):
        for k in range(kernel):
            out[i * stride + k] += 1
    return torch.tensor(out, dtype=torch.float64)


_OVERLAPS = "def overlaps(n, kernel, stride):\n    out = torch.zeros((n - 1) * stride + kernel)\n"

OVERLAPS = Exercise(
    id="06.overlaps",
    title="where a checkerboard comes from",
    prompt="""\
A *transposed convolution* enlarges: each of `n` inputs writes `kernel` neighbouring outputs, beginning at its place
times `stride`. Where stamps overlap, the outputs add up. Count how many stamps each output gets.""",
    minutes=6,
    difficulty=2,
    starter='''\
def overlaps(n, kernel, stride):
    """n inputs in a row -> [(n - 1) * stride + kernel] float, stamps for each output."""
    raise NotImplementedError
''',
    solution='''\
def overlaps(n, kernel, stride):
    """Add 1 wherever an input writes."""
    out = torch.zeros((n - 1) * stride + kernel)
    for i in range(n):
        out[i * stride : i * stride + kernel] += 1
    return out
''',
    hints=(
        "Input `i` writes the outputs from `i * stride` up to, not including, `i * stride + kernel`.",
        "Begin with zeros and add 1 to a slice for each input.",
    ),
    wrong={
        "once": (
            _OVERLAPS + "    for i in range(n):\n        out[i * stride : i * stride + kernel] = 1\n    return out\n",
            "You mark outputs that are written at all. The trouble is in those that are written twice: use `+=`.",
        ),
        "next_to_each_other": (
            _OVERLAPS + "    for i in range(n):\n        out[i : i + kernel] += 1\n    return out\n",
            "You forget the stride: that is an ordinary convolution's reach, which enlarges nothing.",
        ),
        "kernel_apart": (
            _OVERLAPS
            + "    for i in range(n):\n        out[i * kernel : i * kernel + kernel] += 1\n    return out\n",
            "Your stamps lie `kernel` apart, so they never overlap. They lie `stride` apart.",
        ),
        "even": (
            "def overlaps(n, kernel, stride):\n"
            "    return torch.full(((n - 1) * stride + kernel,), kernel / stride)\n",
            "That is the number far from the borders if the stride divides the kernel. Elsewhere it alternates.",
        ),
    },
    probes=lambda rng: [(5, 3, 2), (4, 4, 2), (7, 5, 3), (3, 2, 3), (1, 3, 2)],
    oracle=_true_overlaps,
)
