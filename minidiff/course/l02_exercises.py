"""The exercises of lesson 02: one step, many steps, one jump; the others are in `l02_end` and `l02_broken`."""

import math

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l02_broken import CAUSES
from minidiff.course.l02_end import COSINE, KL_TO_NORMAL, POSTERIOR


def _randn(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng)


FORWARD_STEP = Exercise(
    id="02.forward_step",
    title="one step that shrinks and spreads",
    prompt="""\
Write equation (2) as code: take `x` from level $t-1$ to level $t$.

The noise `eps` is handed to you instead of drawn inside. That is a habit worth having: a function without
randomness of its own can be tested, and the course keeps it throughout.""",
    minutes=4,
    difficulty=1,
    starter='''\
def forward_step(x, beta, eps):
    """One step of the forward process, x_{t-1} -> x_t.

    x: tensor of any shape; beta: the variance added, a number between 0 and 1;
    eps: standard normal, shaped like x. Returns the same shape.
    """
    raise NotImplementedError
''',
    solution='''\
def forward_step(x, beta, eps):
    """One step of the forward process, x_{t-1} -> x_t."""
    return (1 - beta) ** 0.5 * x + beta**0.5 * eps
''',
    hints=(
        "A Gaussian of mean $m$ and variance $v$ is drawn as $m + \\sqrt{v}\\,\\epsilon$. What are $m$, $v$ in (2)?",
        "`beta` is a Python number, so `beta.sqrt()` does not exist: `beta ** 0.5` does.",
        "Check yourself with $\\beta = 0.36$: the two coefficients must be 0.8 and 0.6.",
    ),
    wrong={
        "spread_only": (
            "def forward_step(x, beta, eps):\n    return x + beta**0.5 * eps\n",
            "You spread without shrinking, as the particles do: without walls the variance grows for ever.",
        ),
        "sum_to_one": (
            "def forward_step(x, beta, eps):\n    return (1 - beta) * x + beta * eps\n",
            "Your coefficients sum to 1, as in a cross-fade. It is their squares that must: noise and data are "
            "independent, so variances add.",
        ),
        "variance_as_deviation": (
            "def forward_step(x, beta, eps):\n    return (1 - beta) ** 0.5 * x + beta * eps\n",
            "You multiply the noise by its variance. `beta` is the variance, so the noise takes its square root.",
        ),
        "mean_without_root": (
            "def forward_step(x, beta, eps):\n    return (1 - beta) * x + beta**0.5 * eps\n",
            "The noise is right. The picture shrinks too fast: multiplied by 1 - beta, its variance shrinks by the "
            "square of that.",
        ),
        "swapped": (
            "def forward_step(x, beta, eps):\n    return beta**0.5 * x + (1 - beta) ** 0.5 * eps\n",
            "The two coefficients are swapped: with a small beta, nearly all of the picture should survive one step.",
        ),
        "own_noise": (
            "def forward_step(x, beta, eps):\n    return (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn_like(x)\n",
            "You draw noise of your own. Use the `eps` that you are given: whoever calls may need it again, "
            "and in lesson 03 it is what the network must predict.",
        ),
    },
    probes=lambda rng: [
        (_randn(rng, 3, 5), 0.36, _randn(rng, 3, 5)),
        (_randn(rng, 2, 1, 7), 0.02, _randn(rng, 2, 1, 7)),
        (_randn(rng, 11), 0.9, _randn(rng, 11)),
    ],
    oracle=lambda x, beta, eps: torch.from_numpy(math.sqrt(1 - beta) * x.numpy() + math.sqrt(beta) * eps.numpy()),
)


def _true_alpha_bar(betas: Tensor) -> Tensor:
    table = [1.0]
    for beta in betas.tolist():
        table.append(table[-1] - table[-1] * beta)
    return torch.tensor(table, dtype=torch.float64)


ALPHA_BAR = Exercise(
    id="02.alpha_bar_table",
    title="the whole schedule in one table",
    prompt="""\
From the one-step variances $\\beta_1 \\dots \\beta_T$, build the table $\\bar\\alpha_0 \\dots \\bar\\alpha_T$ of
equation (3).

Levels are counted from 1, and level 0 is the clean picture. So the table has one entry more than `betas`, and the
index is the level: `alpha_bar[t]` belongs to $x_t$.""",
    minutes=6,
    difficulty=1,
    starter='''\
def alpha_bar_table(betas):
    """betas [T] float64, where betas[t - 1] belongs to level t -> alpha_bar [T + 1]."""
    raise NotImplementedError
''',
    solution='''\
def alpha_bar_table(betas):
    """betas [T] float64, where betas[t - 1] belongs to level t -> alpha_bar [T + 1]."""
    return torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, dim=0)])
''',
    hints=(
        "How much of the picture's variance survives one step? And after a second step, how much of that?",
        "A running product is `torch.cumprod(..., dim=0)`.",
        "Level 0 has had no step. What is a product of no factors? Put it in front with `torch.cat`.",
    ),
    wrong={
        "no_level_0": (
            "def alpha_bar_table(betas):\n    return torch.cumprod(1 - betas, dim=0)\n",
            "Level 0 is missing: the table needs T + 1 entries, of which the first is 1. Without it every level is "
            "off by one.",
        ),
        "sum": (
            "def alpha_bar_table(betas):\n    return torch.cat([betas.new_ones(1), 1 - torch.cumsum(betas, dim=0)])\n",
            "You subtract the variances one after another. Each step takes a share of what is left, so shares "
            "multiply; your table goes below zero.",
        ),
        "product_of_betas": (
            "def alpha_bar_table(betas):\n    return torch.cat([betas.new_ones(1), torch.cumprod(betas, dim=0)])\n",
            "You multiply what is added. Multiply what survives: 1 - beta.",
        ),
        "amplitude": (
            "def alpha_bar_table(betas):\n"
            "    return torch.cat([betas.new_ones(1), torch.cumprod((1 - betas) ** 0.5, dim=0)])\n",
            "That is the coefficient of the picture, the square root of alpha-bar. The table holds powers; the root "
            "comes when the table is used.",
        ),
        "noise_share": (
            "def alpha_bar_table(betas):\n"
            "    return torch.cat([betas.new_zeros(1), 1 - torch.cumprod(1 - betas, dim=0)])\n",
            "That is the share of noise, 1 - alpha-bar. The table holds the picture's share: it starts at 1 and falls.",
        ),
    },
    probes=lambda rng: [
        (0.02 + 0.6 * torch.rand(5, generator=rng, dtype=torch.float64),),
        (0.3 * torch.rand(11, generator=rng, dtype=torch.float64),),
        (torch.tensor([0.36], dtype=torch.float64),),
    ],
    oracle=_true_alpha_bar,
    tolerance=1e-6,
    equivalent={"0 -> -1": "the first and the last axis of a vector are the same"},
)


def _true_q_sample(x0: Tensor, t: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    rows = []
    for picture, level, noise in zip(x0.numpy(), t.tolist(), eps.numpy(), strict=True):
        power = float(alpha_bar[level])
        rows.append(math.sqrt(power) * picture + math.sqrt(1 - power) * noise)
    return torch.from_numpy(np.stack(rows))


def _q_sample_probes(rng: torch.Generator) -> list[tuple]:
    table = torch.tensor([1.0, 0.9, 0.64, 0.5, 0.36, 0.2, 0.04], dtype=torch.float64)

    def one(b: int, c: int, h: int, w: int, t: list[int]) -> tuple:
        return _randn(rng, b, c, h, w), torch.tensor(t), _randn(rng, b, c, h, w), table

    return [one(3, 2, 5, 4, [2, 6, 1]), one(2, 1, 3, 5, [4, 0]), one(1, 3, 2, 4, [6])]


_VIEW = "    a = alpha_bar[t].view(-1, 1, 1, 1)\n"
_HEAD = "def q_sample(x0, t, eps, alpha_bar):\n"

Q_SAMPLE = Exercise(
    id="02.q_sample",
    title="jump to any level",
    prompt="""\
Write equation (4) for a batch of pictures: each picture jumps to *its own* level, in one go and without a loop.

This is the line that lesson 03 calls at every training step.""",
    minutes=8,
    difficulty=2,
    starter='''\
def q_sample(x0, t, eps, alpha_bar):
    """Noise each picture of a batch to its own level.

    x0: [B,C,H,W] float32; t: [B] int64, from 0 to T; alpha_bar: [T + 1] float64;
    eps: standard normal, shaped like x0. Returns x_t, [B,C,H,W] float32.
    """
    raise NotImplementedError
''',
    solution='''\
def q_sample(x0, t, eps, alpha_bar):
    """Noise each picture of a batch to its own level, [B,C,H,W]."""
    a = alpha_bar[t].view(-1, 1, 1, 1)
    return a.sqrt().to(x0.dtype) * x0 + (1 - a).sqrt().to(x0.dtype) * eps
''',
    hints=(
        "`alpha_bar[t]` looks up one number for each picture: shape [B]. Which shape broadcasts against [B,C,H,W]?",
        "`.view(-1, 1, 1, 1)` makes it [B,1,1,1].",
        "$\\bar\\alpha_t$ and $1-\\bar\\alpha_t$ are both variances. What multiplies a picture, "
        "a variance or its root?",
        "The table is float64, the pictures are float32. Compute the roots first and cast them last: "
        "`.sqrt().to(x0.dtype)`.",
    ),
    wrong={
        "no_sqrt": (
            _HEAD + _VIEW + "    return a.to(x0.dtype) * x0 + (1 - a).to(x0.dtype) * eps\n",
            "Your coefficients sum to 1, so the variance shrinks on the way: at half and half it is a half. "
            "Their squares must sum to 1.",
        ),
        "variance_as_deviation": (
            _HEAD + _VIEW + "    return a.sqrt().to(x0.dtype) * x0 + (1 - a).to(x0.dtype) * eps\n",
            "The picture is right. The noise is multiplied by its variance, 1 - alpha-bar; it takes the square root.",
        ),
        "off_by_one": (
            _HEAD + "    a = alpha_bar[t - 1].view(-1, 1, 1, 1)\n"
            "    return a.sqrt().to(x0.dtype) * x0 + (1 - a).sqrt().to(x0.dtype) * eps\n",
            "You look up level t - 1. Many libraries store the table without level 0, shifted by one; here the index "
            "is the level. (And at t = 0 yours wraps round to pure noise.)",
        ),
        "swapped": (
            _HEAD + _VIEW + "    return (1 - a).sqrt().to(x0.dtype) * x0 + a.sqrt().to(x0.dtype) * eps\n",
            "The coefficients are swapped: at t = 0 the picture must come out untouched.",
        ),
        "no_reshape": (
            _HEAD + "    a = alpha_bar[t]\n    return a.sqrt().to(x0.dtype) * x0 + (1 - a).sqrt().to(x0.dtype) * eps\n",
            "`alpha_bar[t]` has shape [B] and so meets the last axis, the columns of the picture. Reshape it to "
            "[B,1,1,1]. With B equal to W nothing would have been raised.",
        ),
        "one_level_for_all": (
            _HEAD + "    a = alpha_bar[t[0]]\n"
            "    return a.sqrt().to(x0.dtype) * x0 + (1 - a).sqrt().to(x0.dtype) * eps\n",
            "Every picture gets the level of the first. In training each has its own: look up all of `t`.",
        ),
        "stays_float64": (
            _HEAD + _VIEW + "    return a.sqrt() * x0 + (1 - a).sqrt() * eps\n",
            "The values are right, but the float64 table has turned the pictures into float64: twice the memory, and a "
            "float32 network would refuse them. Cast the roots to `x0.dtype`.",
        ),
    },
    probes=_q_sample_probes,
    oracle=_true_q_sample,
    tolerance=1e-5,
    properties=(
        (
            "The values are right, but float32 pictures must come out as float32.",
            lambda answer, rng: answer(*_q_sample_probes(rng)[0]).dtype == torch.float32,
        ),
    ),
)


EXERCISES = (FORWARD_STEP, ALPHA_BAR, Q_SAMPLE, COSINE, KL_TO_NORMAL, POSTERIOR, CAUSES)
