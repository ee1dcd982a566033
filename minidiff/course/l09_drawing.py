"""Exercises of lesson 09 on drawing: guidance, levels, and the way from latents to a picture."""

import math

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise


def _true_gaussian(m: float, s: float, w: float) -> tuple[Tensor, Tensor]:
    """By summing the density itself on a fine grid."""
    x = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
    log = w * (-((x - m) ** 2) / (2 * s * s)) + (1 - w) * (-(x**2) / 2)
    p = (log - log.max()).exp()
    p = p / p.sum()
    mean = (p * x).sum()
    return mean, (p * (x - mean) ** 2).sum()


_GAUSSIAN = "def guided_gaussian(m, s, w):\n"

GAUSSIAN = Exercise(
    id="09.guided_gaussian",
    title="what guidance aims at",
    prompt="""\
Take the simplest case. Without a caption, x is N(0, 1); with it, N(m, s^2). Guidance at scale $w$ sharpens: it aims
at the density proportional to $p(x \\mid c)^w \\, p(x)^{1-w}$. That is a normal distribution again. Return its mean
and its variance. You may take it that $w / s^2 + 1 - w$ is positive; otherwise there
is no such density.""",
    minutes=9,
    difficulty=3,
    starter='''\
def guided_gaussian(m, s, w):
    """m, s, w: numbers; s is a standard deviation -> (mean, variance), two numbers."""
    raise NotImplementedError
''',
    solution='''\
def guided_gaussian(m, s, w):
    """Precisions add, each with its weight; so do precisions times means."""
    precision = w / s**2 + (1 - w)
    mean = w * m / s**2 / precision
    return mean, 1 / precision
''',
    hints=(
        "The logarithm of a normal density is $-(x - \\mu)^2 / (2\\sigma^2)$ plus a constant: collect $x^2$ and $x$.",
        "A power of a density multiplies its precision, one over the variance.",
        "In a product of normal densities, precisions add up, and so do precisions times means. The second mean is 0.",
    ),
    wrong={
        "straight_on": (
            _GAUSSIAN + "    return w * m, 1 / (w / s**2 + (1 - w))\n",
            "Your mean walks on in a straight line, as the *noise predictions* do. The density's mean slows down, the "
            "more the narrower it gets.",
        ),
        "without_the_rest": (
            _GAUSSIAN + "    return m, s**2 / w\n",
            "You sharpened $p(x \\mid c)$ alone. The factor $p(x)^{1-w}$ pushes away from what is common without a "
            "caption.",
        ),
        "deviation": (
            _GAUSSIAN + "    precision = w / s**2 + (1 - w)\n    return w * m / s**2 / precision, precision**-0.5\n",
            "That is the standard deviation; the variance was asked for.",
        ),
        "s_as_variance": (
            _GAUSSIAN + "    precision = w / s + (1 - w)\n    return w * m / s / precision, 1 / precision\n",
            "You took s for the variance. It is the standard deviation.",
        ),
        "times_both": (
            _GAUSSIAN + "    precision = w / s**2 + 1\n    return w * m / s**2 / precision, 1 / precision\n",
            "That is $p(x \\mid c)^w \\, p(x)$. The second power is $1 - w$, negative above 1.",
        ),
    },
    probes=lambda rng: [
        (round(m + torch.rand(1, generator=rng).item(), 3), s, w)
        for m, s, w in ((1.0, 0.5, 3.0), (-2.0, 0.7, 1.5), (0.5, 0.6, 0.4))
    ],
    oracle=_true_gaussian,
)

_HALVES = "def guided_halves(out, w):\n"

HALVES = Exercise(
    id="09.guided_halves",
    title="two answers from one pass",
    prompt="""\
A system asks its model for both answers in one batch: the first half of `out` was computed with the captions, the
second half, in the same order, with the empty one. Combine them into guided ones: from the answer without the caption,
go `w` times the way to the answer with it.""",
    minutes=5,
    difficulty=1,
    starter='''\
def guided_halves(out, w):
    """out [2B,C,h,w'], with captions first; w: a number, 1 is no guidance -> [B,C,h,w']."""
    raise NotImplementedError
''',
    solution='''\
def guided_halves(out, w):
    """Equation (2), for both halves of a batch."""
    with_caption, without = out.chunk(2)
    return without + w * (with_caption - without)
''',
    hints=("`out.chunk(2)` cuts the first axis in two.", "At `w` = 1 nothing is left of the answer without a caption."),
    wrong={
        "swapped": (
            _HALVES + "    without, with_caption = out.chunk(2)\n    return without + w * (with_caption - without)\n",
            "You took the halves for one another: your pictures flee from their captions.",
        ),
        "interleaved": (
            _HALVES + "    with_caption, without = out[0::2], out[1::2]\n"
            "    return without + w * (with_caption - without)\n",
            "You take every other row. The halves lie one behind the other.",
        ),
        "from_the_caption": (
            _HALVES + "    with_caption, without = out.chunk(2)\n"
            "    return with_caption + w * (with_caption - without)\n",
            "You start from the answer with the caption: that is scale w + 1 here. Ho & Salimans write it so; most "
            "programs, and this course, call the plain model 1.",
        ),
        "mean": (
            _HALVES + "    with_caption, without = out.chunk(2)\n"
            "    return (without + w * with_caption) / (1 + w)\n",
            "That is a mean of both. Guidance goes beyond the answer with the caption, away from the other.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(2 * b, c, h, v, generator=rng), w) for b, c, h, v, w in ((3, 2, 4, 5, 3.0), (2, 4, 3, 2, 0.5))
    ],
    oracle=lambda out, w: torch.stack(
        [(1 - w) * out[i + len(out) // 2].double() + w * out[i].double() for i in range(len(out) // 2)]
    ),
)

_LEVELS = "def levels(T, steps):\n"

LEVELS = Exercise(
    id="09.levels",
    title="which levels to visit",
    prompt="""\
A model was trained on T levels, a sampler makes `steps` moves. List the levels that it visits: from T to 0, both among
them, in moves as equal as whole numbers allow: take evenly spaced numbers, and round each.""",
    minutes=4,
    difficulty=1,
    starter='''\
def levels(T, steps):
    """T and steps: ints with steps <= T -> list of steps + 1 falling ints."""
    raise NotImplementedError
''',
    solution='''\
def levels(T, steps):
    """Evenly spaced numbers, rounded."""
    return [round(T * (1 - i / steps)) for i in range(steps + 1)]
''',
    hints=(
        "`steps` moves have `steps + 1` ends.", "`range(steps + 1)` ends with `steps`.",
        "Number i, from 0 to `steps`, is `T * (1 - i / steps)`, rounded.",
    ),
    wrong={
        "no_end": (
            _LEVELS + "    return [round(T * (1 - i / steps)) for i in range(steps)]\n",
            "You never reach level 0: what you show still has noise in it.",
        ),
        "no_start": (
            _LEVELS + "    return [round((T - 1) * (1 - i / steps)) for i in range(steps + 1)]\n",
            "You begin at T - 1. Levels are counted from 1 to T here, and pure noise is level T.",
        ),
        "rising": (
            _LEVELS + "    return [round(T * i / steps) for i in range(steps + 1)]\n",
            "You go from the picture to noise.",
        ),
        "stride": (
            _LEVELS + "    return [T - i * (T // steps) for i in range(steps + 1)]\n",
            "A fixed stride ends above 0 where `steps` does not divide T.",
        ),
    },
    probes=lambda rng: [(1000, 7), (50, 6), (999, 11)],
    oracle=lambda T, steps: [math.floor(T * (steps - i) / steps + 0.5) for i in range(steps + 1)],
)


def _true_box(z: Tensor, scale: float, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.zeros(len(z), len(weight), *z.shape[2:], dtype=torch.float64)
    for o in range(len(weight)):
        total = torch.full(z[:, 0].shape, bias[o].item(), dtype=torch.float64)
        for i in range(z.shape[1]):
            total += weight[o, i].item() * z[:, i].double() / scale
        out[:, o] = total.clamp(-1, 1)
    return out


_BOX = "def last_box(z, scale, weight, bias):\n"

BOX = Exercise(
    id="09.last_box",
    title="from the sampler's latents to a picture",
    prompt="""\
The generation model draws latents of unit variance: those of the encoder *times* `scale`. The decoder was trained on
the encoder's own. Here the decoder is the smallest there is: one 1 x 1 convolution, `F.conv2d(z, weight, bias)`. Hand
it what it expects, and return a picture: no value of it lies outside [-1, 1].""",
    minutes=5,
    difficulty=2,
    starter='''\
def last_box(z, scale, weight, bias):
    """z [B,Z,h,w] from the sampler, scale: a number, weight [3,Z,1,1], bias [3] -> [B,3,h,w] in [-1,1]."""
    raise NotImplementedError
''',
    solution='''\
def last_box(z, scale, weight, bias):
    """Undo the scale, decode, and only then clamp."""
    x = F.conv2d(z / scale, weight, bias)
    return x.clamp(-1, 1)
''',
    hints=("Latents were multiplied by `scale`; the decoder never saw that.", "Latents know no bounds; pixels do."),
    wrong={
        "times": (
            _BOX + "    return F.conv2d(z * scale, weight, bias).clamp(-1, 1)\n",
            "You multiply once more. To go back, divide.",
        ),
        "no_scale": (
            _BOX + "    return F.conv2d(z, weight, bias).clamp(-1, 1)\n",
            "You forgot the scale: the decoder gets latents of another size than it was trained on.",
        ),
        "clamped_latents": (
            _BOX + "    return F.conv2d((z / scale).clamp(-1, 1), weight, bias).clamp(-1, 1)\n",
            "You clamp the latents too. They are no pixels: most of a picture's colour lies beyond 1.",
        ),
        "no_clamp": (
            _BOX + "    return F.conv2d(z / scale, weight, bias)\n",
            "Your picture has values outside [-1, 1].",
        ),
        "scaled_picture": (
            _BOX + "    return (F.conv2d(z, weight, bias) / scale).clamp(-1, 1)\n",
            "You scale the picture in place of the latents. That scales the decoder's bias as well.",
        ),
    },
    probes=lambda rng: [
        (
            1.5 * torch.randn(b, z, h, w, generator=rng), scale, 0.6 * torch.randn(3, z, 1, 1, generator=rng),
            0.4 * torch.randn(3, generator=rng),
        )  # fmt: skip
        for b, z, h, w, scale in ((2, 4, 3, 5, 0.6), (3, 2, 4, 2, 1.8))
    ],
    oracle=_true_box,
)
