"""The exercises of lesson 07 on Gaussians and samples; those on neighbours, kernels and scores are in `l07_scores`."""

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l07_scores import CLIP, INCEPTION, KERNEL, PRECISION


def _true_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    rows, n = x.double().tolist(), len(x)
    mean = [sum(column) / n for column in zip(*rows)]
    cov = [[sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in rows) / (n - 1) for j in range(len(mean))]
           for i in range(len(mean))]  # fmt: skip
    return torch.tensor(mean, dtype=torch.float64), torch.tensor(cov, dtype=torch.float64)


_MOMENTS = "def moments(x):\n    centred = x - x.mean(dim=0)\n"

MOMENTS = Exercise(
    id="07.moments",
    title="what is kept of a set",
    prompt="""\
A Frechet distance looks at a set of pictures through two things only: the mean of their features and the covariance,
divided by N - 1. Do not use `torch.cov`.""",
    minutes=5,
    difficulty=1,
    starter='''\
def moments(x):
    """x [N,D] features of N pictures -> (mean [D], covariance [D,D])."""
    raise NotImplementedError
''',
    solution='''\
def moments(x):
    """Mean over the pictures; products of what is left of two features, averaged."""
    mean = x.mean(dim=0)
    centred = x - mean
    return mean, centred.mT @ centred / (len(x) - 1)
''',
    hints=("The mean runs over pictures: `dim=0`.", "`centred.mT @ centred` is [D,D]: a sum over pictures."),
    wrong={
        "by_n": (
            _MOMENTS + "    return x.mean(dim=0), centred.mT @ centred / len(x)\n",
            "You divide by N. The mean was taken from the same pictures, which costs one: N - 1.",
        ),
        "not_centred": (
            _MOMENTS + "    return x.mean(dim=0), x.mT @ x / (len(x) - 1)\n",
            "You forgot to take the mean away before you multiply.",
        ),
        "of_pictures": (
            _MOMENTS + "    return x.mean(dim=0), centred @ centred.mT / (len(x) - 1)\n",
            "That is [N,N]: how pictures go together, not how features do.",
        ),
        "over_features": (
            "def moments(x):\n    mean = x.mean(dim=1)\n    centred = x - mean[:, None]\n"
            "    return mean, centred.mT @ centred / (len(x) - 1)\n",
            "You average over the features of each picture; it is over the pictures, for each feature.",
        ),
    },
    probes=lambda rng: [(torch.randn(n, d, generator=rng) + 2,) for n, d in ((7, 3), (12, 5))],
    oracle=_true_moments,
)


def _true_plain(m1: Tensor, s1: Tensor, m2: Tensor, s2: Tensor) -> Tensor:
    rows = zip(m1.tolist(), s1.tolist(), m2.tolist(), s2.tolist())
    return torch.tensor(sum((a - c) ** 2 + (b - d) ** 2 for a, b, c, d in rows), dtype=torch.float64)


_PLAIN = "def plain_distance(m1, s1, m2, s2):\n    means = (m1 - m2).square().sum()\n"

PLAIN = Exercise(
    id="07.plain_distance",
    title="two Gaussians without covariances",
    prompt="""\
Where features are uncorrelated, equation (1) falls apart into one term for each: the covariances are diagonal, and
their roots hold standard deviations. Write it for means `m1`, `m2` and standard deviations `s1`, `s2`, all [D].""",
    minutes=5,
    difficulty=1,
    starter='''\
def plain_distance(m1, s1, m2, s2):
    """Means and standard deviations [D] of two Gaussians -> their Frechet distance, a scalar."""
    raise NotImplementedError
''',
    solution='''\
def plain_distance(m1, s1, m2, s2):
    """Squared distance of the means, plus that of the deviations."""
    means = (m1 - m2).square().sum()
    return means + (s1 - s2).square().sum()
''',
    hints=(
        "The trace of a diagonal matrix is a sum: $s_1^2 + s_2^2 - 2 \\sqrt{s_1^2 s_2^2}$ for each feature.",
        "$a^2 + b^2 - 2ab$ is a square.",
    ),
    wrong={
        "variances": (
            _PLAIN + "    return means + (s1**2 - s2**2).square().sum()\n",
            "You compare variances. The root in equation (1) makes it standard deviations.",
        ),
        "root": (
            _PLAIN + "    return (means + (s1 - s2).square().sum()).sqrt()\n",
            "You took the root. The number that the field calls FID is the square.",
        ),
        "mean_over_features": (
            _PLAIN + "    return ((m1 - m2).square() + (s1 - s2).square()).mean()\n",
            "You average over the features; the distance is their sum.",
        ),
        "no_cross_term": (
            _PLAIN + "    return means + (s1**2 + s2**2).sum()\n",
            "You left the third term out: two equal Gaussians would then lie apart.",
        ),
    },
    probes=lambda rng: [
        tuple(torch.rand(d, generator=rng) * 2 + (0.2 if i % 2 else -1) for i in range(4)) for d in (3, 6)
    ],
    oracle=_true_plain,
)


def _spread(rng: torch.Generator, d: int) -> Tensor:
    x = torch.randn(3 * d, d, generator=rng, dtype=torch.float64)
    return (x.mT @ x / (3 * d)).float()


def _true_frechet(m1: Tensor, c1: Tensor, m2: Tensor, c2: Tensor) -> Tensor:
    """By the root of C1: sqrt(C1) C2 sqrt(C1) has the same eigenvalues as C1 C2, and is symmetric."""
    values, vectors = torch.linalg.eigh(c1.double())
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.mT
    inner = torch.linalg.eigvalsh(root @ c2.double() @ root).clamp_min(0).sqrt().sum()
    means = (m1.double() - m2.double()).square().sum()
    return means + torch.trace(c1.double()) + torch.trace(c2.double()) - 2 * inner


_FRECHET = (
    "def frechet(m1, c1, m2, c2):\n    means = (m1 - m2).square().sum()\n"
    "    roots = torch.linalg.eigvals(c1 @ c2).real.clamp_min(0).sqrt()\n"
)

FRECHET = Exercise(
    id="07.frechet",
    title="the Frechet distance",
    prompt="""\
Equation (1) for full covariances. The trace of a root is the sum of the roots of the eigenvalues, so no matrix root is
needed. $C_1 C_2$ is not symmetric, but it has the eigenvalues of $C_1^{1/2} C_2\\, C_1^{1/2}$, which is; so they are
real and not negative, but for rounding.""",
    minutes=10,
    difficulty=3,
    starter='''\
def frechet(m1, c1, m2, c2):
    """Means [D] and covariances [D,D] of two sets -> a scalar."""
    raise NotImplementedError
''',
    solution='''\
def frechet(m1, c1, m2, c2):
    """Squared distance of means, both traces, less twice the trace of the root of the product."""
    means = (m1 - m2).square().sum()
    roots = torch.linalg.eigvals(c1 @ c2).real.clamp_min(0).sqrt()
    return means + c1.trace() + c2.trace() - 2 * roots.sum()
''',
    hints=(
        "If $A$ has eigenvalues $a_i$, then $A^{1/2}$ has $\\sqrt{a_i}$, and a trace is the sum of the eigenvalues.",
        "Three parts: means, both traces, and minus 2 times the sum of the roots of `torch.linalg.eigvals(..).real`.",
        "Two equal sets must give 0.",
    ),
    wrong={
        "root_of_trace": (
            "def frechet(m1, c1, m2, c2):\n    means = (m1 - m2).square().sum()\n"
            "    return means + c1.trace() + c2.trace() - 2 * (c1 @ c2).trace().sqrt()\n",
            "You took the root of the trace; it is the trace of the root.",
        ),
        "elementwise": (
            "def frechet(m1, c1, m2, c2):\n    means = (m1 - m2).square().sum()\n"
            "    return means + c1.trace() + c2.trace() - 2 * (c1 @ c2).clamp_min(0).sqrt().trace()\n",
            "You took the root of each number of the matrix. The root of a matrix is one that, times itself, gives it.",
        ),
        "no_two": (
            _FRECHET + "    return means + c1.trace() + c2.trace() - roots.sum()\n",
            "The last term counts twice.",
        ),
        "square_root": (
            _FRECHET + "    return (means + c1.trace() + c2.trace() - 2 * roots.sum()).clamp_min(0).sqrt()\n",
            "You took the root at the end. The field's number is the square.",
        ),
        "length_of_means": (
            _FRECHET + "    return means.sqrt() + c1.trace() + c2.trace() - 2 * roots.sum()\n",
            "The distance of the means counts squared.",
        ),
        "diagonal": (
            "def frechet(m1, c1, m2, c2):\n    means = (m1 - m2).square().sum()\n"
            "    return means + (c1.diagonal().sqrt() - c2.diagonal().sqrt()).square().sum()\n",
            "That is the last exercise: you threw away how features go together.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(d, generator=rng), _spread(rng, d), torch.randn(d, generator=rng), _spread(rng, d)) for d in (3, 5)
    ],
    oracle=_true_frechet,
    tolerance=1e-3,
    equivalent={"0 -> -1": "no eigenvalue lies below 0 by more than rounding"},
)

_ENDLESS = "def endless(d1, n1, d2, n2):\n"

ENDLESS = Exercise(
    id="07.endless",
    title="what endlessly many pictures would score",
    prompt="""\
A Frechet distance of two sets of N pictures is too large on average, to first order by something over N:
$d(N) = d_\\infty + c / N$. Two measurements, `d1` with `n1` pictures and `d2` with `n2`, are two equations with two
unknowns. Return $d_\\infty$.""",
    minutes=6,
    difficulty=2,
    starter='''\
def endless(d1, n1, d2, n2):
    """Distances d1, d2 of n1 and n2 pictures, four numbers -> the distance of endlessly many."""
    raise NotImplementedError
''',
    solution='''\
def endless(d1, n1, d2, n2):
    """The straight line through both points over 1/N, read off at 0."""
    slope = (d1 - d2) / (1 / n1 - 1 / n2)
    return d1 - slope / n1
''',
    hints=("Over $1/N$ the formula is a straight line. Where on it are endlessly many pictures?",
           "First the slope $c$, from the difference of the two equations."),
    wrong={
        "over_n": (
            _ENDLESS + "    slope = (d1 - d2) / (n1 - n2)\n    return d1 - slope * n1\n",
            "You drew the line over N; at N = 0 there are no pictures at all. It is straight over 1/N.",
        ),
        "root": (
            _ENDLESS + "    slope = (d1 - d2) / (n1**-0.5 - n2**-0.5)\n    return d1 - slope * n1**-0.5\n",
            "Noise falls with the root of N. This is bias, and falls with N.",
        ),
        "mean": (
            _ENDLESS + "    return (n1 * d1 + n2 * d2) / (n1 + n2)\n",
            "A mean of two that are too large is too large.",
        ),
        "wrong_way": (
            _ENDLESS + "    slope = (d1 - d2) / (1 / n1 - 1 / n2)\n    return d1 + slope / n1\n",
            "You walked away from endlessly many: take the bias off, do not add it.",
        ),
    },
    probes=lambda rng: [
        (round(3 + torch.rand(1, generator=rng).item(), 3), 500, 2.4, 2000),
        (5.25, 300, round(1 + torch.rand(1, generator=rng).item(), 3), 700),
    ],
    oracle=lambda d1, n1, d2, n2: (n2 * d2 - n1 * d1) / (n2 - n1),
)  # fmt: skip


EXERCISES = (MOMENTS, PLAIN, FRECHET, ENDLESS, KERNEL, PRECISION, INCEPTION, CLIP)
