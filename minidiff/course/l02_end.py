"""Exercises of lesson 02 about the end of the forward process and the way back."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from minidiff.course.exercise import Exercise

# What the notebook has when it comes to the cosine schedule: the exercise before.
_ALPHA_BAR_TABLE = """\
def alpha_bar_table(betas):
    return torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, dim=0)])
"""


def _true_cosine(T: int, offset: float, max_beta: float) -> Tensor:
    def f(t: int) -> float:
        return 0.5 + 0.5 * math.cos(math.pi * (t / T + offset) / (1 + offset))  # cos^2 by the half-angle formula

    table = [1.0]
    for t in range(1, T + 1):
        table.append(table[-1] * max(f(t) / f(t - 1), 1 - max_beta))
    return torch.tensor(table, dtype=torch.float64)


_COSINE_HEAD = "def cosine_table(T, offset=0.008, max_beta=0.999):\n"
_COSINE_F = (
    "    u = torch.arange(T + 1, dtype=torch.float64) / T\n"
    "    f = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2\n"
)
_COSINE_END = "    betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)\n    return alpha_bar_table(betas)\n"

COSINE = Exercise(
    id="02.cosine_table",
    title="the cosine schedule, with an end that can be used",
    prompt="""\
Write equation (5). It gives $\\bar\\alpha_t$ directly, but its last value is zero: a level without any signal, at which
nothing can be divided by $\\sqrt{\\bar\\alpha_T}$. The paper therefore takes a detour:

1. take the one-step variances that belong to the curve, $\\beta_t = 1 - \\bar\\alpha_t / \\bar\\alpha_{t-1}$;
2. clip them at `max_beta`;
3. build the table anew from the clipped ones, so that table and steps agree.""",
    minutes=9,
    difficulty=2,
    starter='''\
def cosine_table(T, offset=0.008, max_beta=0.999):
    """alpha_bar of the cosine schedule, [T + 1]; you may call your alpha_bar_table."""
    raise NotImplementedError
''',
    solution='''\
def cosine_table(T, offset=0.008, max_beta=0.999):
    """alpha_bar of the cosine schedule, [T + 1] float64."""
    u = torch.arange(T + 1, dtype=torch.float64) / T
    f = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    return alpha_bar_table(betas)
''',
    hints=(
        "Begin with all the levels at once: `u = torch.arange(T + 1, dtype=torch.float64) / T` runs from 0 to 1.",
        "Neighbours in a table: `f[1:]` are levels 1 to T, `f[:-1]` are levels 0 to T - 1. $f(0)$ cancels.",
        "Clip with `.clamp(max=max_beta)`, then hand the betas to `alpha_bar_table`.",
    ),
    wrong={
        "unclipped": (
            _COSINE_HEAD + _COSINE_F + "    return f / f[0]\n",
            "You return the curve itself. Its end is zero: clip the betas and rebuild the table from them.",
        ),
        "clipped_table": (
            _COSINE_HEAD + _COSINE_F + "    return (f / f[0]).clamp(min=1 - max_beta)\n",
            "You clip alpha-bar. `max_beta` bounds the variance of one step; the table follows from the steps.",
        ),
        "not_squared": (
            _COSINE_HEAD + _COSINE_F.replace(" ** 2", "") + _COSINE_END,
            "The cosine is not squared: alpha-bar is a power, its root is an amplitude.",
        ),
        "offset_not_divided": (
            _COSINE_HEAD + _COSINE_F.replace("(u + offset) / (1 + offset)", "(u + offset)") + _COSINE_END,
            "You add the offset but do not divide by 1 + offset, so the argument runs past a quarter turn and the "
            "curve rises again.",
        ),
        "no_offset": (
            _COSINE_HEAD + _COSINE_F.replace("(u + offset) / (1 + offset)", "u") + _COSINE_END,
            "The offset is missing: without it the first steps add almost no noise.",
        ),
        "no_level_0": (
            _COSINE_HEAD + _COSINE_F + "    betas = (1 - f[1:] / f[:-1]).clamp(max=max_beta)\n"
            "    return torch.cumprod(1 - betas, dim=0)\n",
            "Level 0 is missing: the table needs T + 1 entries. Your `alpha_bar_table` puts it in front.",
        ),
    },
    probes=lambda rng: [(11, 0.008, 0.6), (7, 0.05, 0.9), (1000, 0.008, 0.999)],
    oracle=_true_cosine,
    tolerance=1e-6,
    context=_ALPHA_BAR_TABLE,
    properties=(
        (
            "The values are right where everything is given, but the defaults must be 0.008 and 0.999.",
            lambda answer, rng: bool((answer(9).log() - _true_cosine(9, 0.008, 0.999).log()).abs().max() < 1e-3),
        ),
    ),
)


def _true_kl(mean: Tensor, var: Tensor) -> Tensor:
    return kl_divergence(Normal(mean, var.sqrt()), Normal(torch.zeros_like(mean), torch.ones_like(var)))


def _kl(body: str) -> str:
    return f"def kl_to_normal(mean, var):\n    return {body}\n"


KL_TO_NORMAL = Exercise(
    id="02.kl_to_normal",
    title="how far from a standard normal",
    prompt="""\
Write equation (7), for each element on its own: how far, in nats, is a Gaussian with mean `mean` and variance `var`
from the standard normal?""",
    minutes=6,
    difficulty=2,
    starter='''\
def kl_to_normal(mean, var):
    """KL( N(mean, var) || N(0, 1) ) in nats, for tensors of one shape, element by element."""
    raise NotImplementedError
''',
    solution='''\
def kl_to_normal(mean, var):
    """KL( N(mean, var) || N(0, 1) ) in nats, element by element."""
    return 0.5 * (mean**2 + var - 1 - var.log())
''',
    hints=(
        "Three things may be wrong with a Gaussian: it is off centre, it is too wide, it is too narrow. "
        "Which term of (7) speaks of which?",
        "It must be 0 at mean 0 and variance 1, and positive everywhere else. Try both on your formula.",
        "`var` is a variance already: no square, no root; the logarithm is the natural one.",
    ),
    wrong={
        "deviation": (
            _kl("0.5 * (mean**2 + var**2 - 1 - 2 * var.log())"),
            "You treat `var` as a standard deviation and square it.",
        ),
        "reversed": (
            _kl("0.5 * ((1 + mean**2) / var - 1 + var.log())"),
            "That is the divergence the other way round, from the standard normal to yours. It is no distance: the "
            "order matters.",
        ),
        "no_half": (_kl("mean**2 + var - 1 - var.log()"), "The factor one half is missing."),
        "bits": (
            _kl("0.5 * (mean**2 + var - 1 - var.log()) / math.log(2)"),
            "That is in bits. Leave it in nats; dividing by ln 2 comes when you print it.",
        ),
        "mean_not_squared": (
            _kl("0.5 * (mean.abs() + var - 1 - var.log())"),
            "The mean enters squared: an error of 0.1 counts 0.01.",
        ),
        "only_the_mean": (
            _kl("0.5 * mean**2"),
            "You compare the means only. A Gaussian with the right mean may still be too wide or too narrow.",
        ),
        "averaged": (
            _kl("(0.5 * (mean**2 + var - 1 - var.log())).mean()"),
            "The values are right, but you average them. Return one for each element; whoever calls decides.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(3, 5, generator=rng), 0.1 + 2 * torch.rand(3, 5, generator=rng)),
        (0.1 * torch.randn(7, generator=rng), 0.9 + 0.2 * torch.rand(7, generator=rng)),
    ],
    oracle=_true_kl,
    tolerance=1e-4,
)


def _true_posterior(a_t: Tensor, a_s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # Another way to the same place than the solution's: precisions of two Gaussian factors in x_s add.
    shrink = (a_t / a_s) ** 0.5
    prior, likelihood = 1 / (1 - a_s), shrink**2 / (1 - shrink**2)
    var = 1 / (prior + likelihood)
    return var * prior * a_s**0.5, var * likelihood / shrink, var


def _posterior_probes(rng: torch.Generator) -> list[tuple]:
    def one(n: int) -> tuple:
        a_s = 0.3 + 0.65 * torch.rand(n, generator=rng, dtype=torch.float64)
        return a_s * (0.2 + 0.7 * torch.rand(n, generator=rng, dtype=torch.float64)), a_s

    return [one(5), one(3)]


_POSTERIOR = """\
def posterior_coefficients(a_t, a_s):
    beta = 1 - a_t / a_s
    c_0 = a_s.sqrt() * beta / (1 - a_t)
    c_t = (a_t / a_s).sqrt() * (1 - a_s) / (1 - a_t)
    var = beta * (1 - a_s) / (1 - a_t)
    return c_0, c_t, var
"""

POSTERIOR = Exercise(
    id="02.posterior_coefficients",
    title="the bridge between two levels",
    prompt="""\
Write the three coefficients of equation (8): $q(x_s \\mid x_t, x_0)$ is a Gaussian with mean $c_0 x_0 + c_t x_t$ and
variance $\\tilde\\beta_{t,s}$.

You are given $\\bar\\alpha_t$ and $\\bar\\alpha_s$, nothing else. The levels need not be neighbours, only $s < t$.""",
    minutes=10,
    difficulty=3,
    starter='''\
def posterior_coefficients(a_t, a_s):
    """Coefficients of q(x_s | x_t, x0) for s < t.

    a_t, a_s: alpha_bar at the two levels, tensors of one shape, a_t < a_s.
    Returns (c_0, c_t, var): the mean is c_0 * x0 + c_t * x_t.
    """
    raise NotImplementedError
''',
    solution=_POSTERIOR.replace(
        "a_s):\n", 'a_s):\n    """Coefficients (c_0, c_t, var) of q(x_s | x_t, x0) for s < t."""\n', 1
    ),
    hints=(
        "First the variance that was added between $s$ and $t$: $\\beta_{t,s} = 1 - \\bar\\alpha_t / \\bar\\alpha_s$.",
        "All three share the denominator $1 - \\bar\\alpha_t$.",
        "Test it at the edge: as $s \\to 0$, $\\bar\\alpha_s \\to 1$, and the bridge must arrive at $x_0$ for certain: "
        "$c_0 \\to 1$, $c_t \\to 0$, variance 0.",
        "$c_0 = \\sqrt{\\bar\\alpha_s}\\,\\beta_{t,s} / (1-\\bar\\alpha_t)$. Now $c_t$, with "
        "$\\sqrt{\\bar\\alpha_t/\\bar\\alpha_s}$ and the other share of the noise.",
    ),
    wrong={
        "step_variance": (
            _POSTERIOR.replace("var = beta * (1 - a_s) / (1 - a_t)", "var = beta"),
            "The mean is right. Your variance is that of the step forward; knowing where the path started makes the "
            "bridge narrower: multiply by (1 - a_s) / (1 - a_t).",
        ),
        "swapped": (
            _POSTERIOR.replace("return c_0, c_t", "return c_t, c_0"),
            "The first two are swapped: c_0 belongs to x0 and comes first.",
        ),
        "deviation": (
            _POSTERIOR.replace("return c_0, c_t, var", "return c_0, c_t, var.sqrt()"),
            "You return the standard deviation; the variance was asked for.",
        ),
        "forgets_x_t": (
            "def posterior_coefficients(a_t, a_s):\n    return a_s.sqrt(), torch.zeros_like(a_t), 1 - a_s\n",
            "That is q(x_s | x0): you forget where the path is now. The bridge is tied down at both ends.",
        ),
        "no_roots": (
            _POSTERIOR.replace("a_s.sqrt() * beta", "a_s * beta").replace("(a_t / a_s).sqrt()", "(a_t / a_s)"),
            "The variance is right. In the mean stand amplitudes: take the roots of alpha-bar.",
        ),
        "neighbours_only": (
            _POSTERIOR.replace("beta = 1 - a_t / a_s", "beta = 1 - a_t"),
            "You take all the noise since level 0 for beta. What was added between s and t is 1 - a_t / a_s.",
        ),
    },
    probes=_posterior_probes,
    oracle=_true_posterior,
    tolerance=1e-6,
)
