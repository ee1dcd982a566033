"""Exercises of lesson 01: the best discriminator, and what the two players minimise."""

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise

BEST = Exercise(
    id="01.best_discriminator",
    title="the best discriminator there can be",
    prompt="""\
Equation (2): at a place where real data have density `p` and generated data density `q`, which probability of "real"
does the best discriminator give? Half of what it is shown is real.""",
    minutes=4,
    difficulty=1,
    starter='''\
def best_discriminator(p, q):
    """p and q, densities at the same places, any shape -> probability of "real" there, same shape."""
    raise NotImplementedError
''',
    solution='''\
def best_discriminator(p, q):
    """The share of what lands here that is real."""
    return p / (p + q)
''',
    hints=(
        "Imagine 1,000 real and 1,000 generated points. How many of each land near this place?",
        "They are as `p` to `q`. Which share of them is real?",
    ),
    wrong={
        "of_fake": (
            "def best_discriminator(p, q):\n    return q / (p + q)\n",
            'That is the probability of "generated". The discriminator names that of "real".',
        ),
        "ratio": (
            "def best_discriminator(p, q):\n    return p / q\n",
            "That is the odds, which can be any positive number. A probability is the share: divide by everything that "
            "lands here.",
        ),
        "log_ratio": (
            "def best_discriminator(p, q):\n    return p.log() - q.log()\n",
            "That is the best discriminator's *logit*. Asked for is the probability, its sigmoid.",
        ),
        "which_is_larger": (
            "def best_discriminator(p, q):\n    return (p > q).to(p.dtype)\n",
            "That decides. The best discriminator does not decide: it is judged by its logarithm, so it must "
            "say how sure "
            "it may be.",
        ),
        "difference": (
            "def best_discriminator(p, q):\n    return 0.5 + (p - q) / 2\n",
            "A difference of densities is not a probability: with narrow peaks it leaves [0, 1].",
        ),
    },
    probes=lambda rng: [
        (3 * torch.rand(7, generator=rng) + 0.01, 3 * torch.rand(7, generator=rng) + 0.01),
        (torch.rand(3, 5, generator=rng) + 0.1, torch.rand(3, 5, generator=rng) + 0.1),
    ],
    oracle=lambda p, q: torch.from_numpy(1 / (1 + q.numpy() / p.numpy())),
    equivalent={},
)


def _logits(rng: torch.Generator) -> list[tuple]:
    far = torch.tensor([300.0, -200.0, 0.5])
    return [
        (torch.randn(7, generator=rng), torch.randn(7, generator=rng)),
        (far, far.flip(0)),
        (3 * torch.randn(5, generator=rng), 3 * torch.randn(5, generator=rng)),
    ]


def _soft(x: Tensor) -> np.ndarray:
    return np.logaddexp(0, x.numpy())


CRITIC_LOSS = Exercise(
    id="01.critic_loss",
    title="what the discriminator minimises",
    prompt="""\
Equation (3), from *logits*: numbers whose sigmoid is the probability of "real".

Write it without a sigmoid. $-\\log \\sigma(l)$ is `F.softplus(-l)`, and $-\\log(1 - \\sigma(l))$ is `F.softplus(l)`;
both stay finite however sure the discriminator is.""",
    minutes=5,
    difficulty=2,
    starter='''\
def critic_loss(real, fake):
    """Logits of real pictures [B] and of generated ones [B] -> scalar."""
    raise NotImplementedError
''',
    solution='''\
def critic_loss(real, fake):
    """-log D(real) - log(1 - D(fake)), averaged over the batch."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()
''',
    hints=(
        "Two terms, one for each kind of picture, each a mean over the batch.",
        "For a real picture a large logit is good, so its loss must fall with the logit.",
    ),
    wrong={
        "swapped": (
            "def critic_loss(real, fake):\n    return F.softplus(real).mean() + F.softplus(-fake).mean()\n",
            "You reward a discriminator that calls real pictures generated, and generated ones real.",
        ),
        "only_real": (
            "def critic_loss(real, fake):\n    return F.softplus(-real).mean()\n",
            'The generated pictures are missing: a discriminator that always says "real" would be perfect.',
        ),
        "sigmoid_then_log": (
            "def critic_loss(real, fake):\n"
            "    return -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()\n",
            "Right on paper, infinite in float32: the sigmoid of -200 is exactly 0, and its logarithm is gone. "
            "`F.softplus` never forms the probability.",
        ),
        "double_sigmoid": (
            "def critic_loss(real, fake):\n"
            "    return F.softplus(-real.sigmoid()).mean() + F.softplus(fake.sigmoid()).mean()\n",
            "You squash twice: softplus expects logits, and you hand it probabilities. The loss could never fall far "
            "below 1.",
        ),
        "game_value": (
            "def critic_loss(real, fake):\n    return -F.softplus(-real).mean() - F.softplus(fake).mean()\n",
            "That is the value of the game, which the discriminator *maximises*. An optimiser goes down, so "
            "turn the sign.",
        ),
        "mean_of_both": (
            "def critic_loss(real, fake):\n    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2\n",
            "Half of equation (3). It trains alike, but then no longer meets the closed form: at equilibrium "
            "the loss is "
            "2 log 2.",
        ),
    },
    probes=_logits,
    oracle=lambda real, fake: float(_soft(-real).mean() + _soft(fake).mean()),
)


def _true_slopes(fake: Tensor) -> tuple[Tensor, Tensor]:
    d = 1 / (1 + np.exp(-fake.numpy()))
    return torch.from_numpy(-d), torch.from_numpy(-1 / (1 + np.exp(fake.numpy())))


SLOPES = Exercise(
    id="01.slopes",
    title="where each loss pushes",
    prompt="""\
A generator learns from the slope of its loss in the logit $l$ of each picture. Write both slopes, with $D =
\\sigma(l)$: that of $\\log(1 - D)$, equation (4), and that of $-\\log D$, equation (5).

You need $\\sigma' = \\sigma\\,(1 - \\sigma)$, and then nearly everything cancels.""",
    minutes=6,
    difficulty=2,
    starter='''\
def slopes(fake):
    """Logits of generated pictures [B] -> (slope of log(1 - D), slope of -log D), each [B]."""
    raise NotImplementedError
''',
    solution='''\
def slopes(fake):
    """Derivatives in the logit of the saturating and of the non-saturating loss."""
    d = fake.sigmoid()
    return -d, d - 1
''',
    hints=(
        "Chain rule: the slope of $\\log(1 - D)$ in D is $-1/(1 - D)$. Multiply by $D(1 - D)$.",
        "The slope of $-\\log D$ in D is $-1/D$.",
        "Both are negative everywhere: either way a larger logit is better. They differ in *where* they are small.",
    ),
    wrong={
        "in_d": (
            "def slopes(fake):\n    d = fake.sigmoid()\n    return -1 / (1 - d), -1 / d\n",
            "These are slopes in the probability D. The logit comes before it: multiply by D (1 - D).",
        ),
        "swapped": (
            "def slopes(fake):\n    d = fake.sigmoid()\n    return d - 1, -d\n",
            "The two are swapped. Where D is nearly 0, log(1 - D) is flat and -log D is steep.",
        ),
        "wrong_sign": (
            "def slopes(fake):\n    d = fake.sigmoid()\n    return d, 1 - d\n",
            "The signs are turned: both losses *fall* as the logit grows.",
        ),
        "curvature": (
            "def slopes(fake):\n    d = fake.sigmoid()\n    return -d * (1 - d), -d * (1 - d)\n",
            "That is the sigmoid's slope, turned round. Multiply it by the slope of the logarithm, which "
            "differs for the two.",
        ),
        "values": (
            "def slopes(fake):\n    return -F.softplus(fake), F.softplus(-fake)\n",
            "These are the losses themselves. Asked for are their slopes.",
        ),
    },
    probes=lambda rng: [(real,) for real, _ in _logits(rng)],
    oracle=_true_slopes,
)
