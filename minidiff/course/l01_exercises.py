"""The exercises of lesson 01; the others are in `l01_losses`, `l01_training`, `l01_penalties`."""

import math

import numpy as np
import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l01_losses import BEST, CRITIC_LOSS, SLOPES
from minidiff.course.l01_penalties import PENALTY, R1
from minidiff.course.l01_training import TRAIN_STEP


def _true_modes(x: Tensor, centres: Tensor, sigma: float) -> int:
    counts = [0] * len(centres)
    for point in x.tolist():
        distances = [math.dist(point, c) for c in centres.tolist()]
        if min(distances) <= 3 * sigma:
            counts[distances.index(min(distances))] += 1
    return sum(100 * count >= len(x) for count in counts)


def _mode_probes(rng: torch.Generator) -> list[tuple]:
    centres = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0], [1.5, 1.5]])

    def ring(k: int, n: int, radius: float) -> Tensor:
        return centres[k] + radius * torch.nn.functional.normalize(torch.randn(n, 2, generator=rng), dim=1)

    rare = [ring(0, 400, 0.02), ring(1, 250, 0.03), ring(2, 2, 0.02)]  # the third holds too few
    just = [ring(0, 98, 0.01), ring(1, 100, 0.01), ring(3, 2, 0.01)]  # the fourth holds exactly 1 %
    edge = [ring(0, 60, 0.125), ring(1, 60, 0.175), ring(4, 9, 0.05)]  # at 2.5, 3.5 and 1 sigma
    away = [ring(2, 900, 0.8), ring(3, 90, 0.05), ring(4, 5, 0.05)]  # most points are far from any mode
    return [(torch.cat(parts), centres, 0.05) for parts in (rare, just, edge, away)]


_MODES = "def modes_covered(x, centres, sigma):\n    distance, which = torch.cdist(x, centres).min(dim=1)\n"

MODES = Exercise(
    id="01.modes_covered",
    title="count the modes",
    prompt="""\
How many of the modes does a generator cover? A mode counts if at least 1 % of *all* points lie within `3 * sigma` of
its centre. (A point belongs to the centre that is nearest.)""",
    minutes=7,
    difficulty=2,
    starter='''\
def modes_covered(x, centres, sigma):
    """x [N,2] points, centres [K,2], sigma the modes' standard deviation -> int."""
    raise NotImplementedError
''',
    solution='''\
def modes_covered(x, centres, sigma):
    """Modes with at least 1 % of the points within 3 sigma."""
    distance, which = torch.cdist(x, centres).min(dim=1)
    counts = torch.bincount(which[distance <= 3 * sigma], minlength=len(centres))
    return int((counts >= 0.01 * len(x)).sum())
''',
    hints=(
        "`torch.cdist(x, centres)` holds all distances, [N,K]; `.min(dim=1)` gives the nearest centre and how "
        "far it is.",
        "`torch.bincount(which[close], minlength=K)` counts the close points of each centre.",
    ),
    wrong={
        "nearest_counts": (
            _MODES + "    counts = torch.bincount(which, minlength=len(centres))\n"
            "    return int((counts >= 0.01 * len(x)).sum())\n",
            "Every point is nearest to *some* centre, so points between the modes count for you as well. Ask how near.",
        ),
        "one_is_enough": (
            _MODES + "    counts = torch.bincount(which[distance <= 3 * sigma], minlength=len(centres))\n"
            "    return int((counts > 0).sum())\n",
            "One stray point makes a mode covered for you. It takes 1 % of the points.",
        ),
        "one_sigma": (
            _MODES + "    counts = torch.bincount(which[distance <= sigma], minlength=len(centres))\n"
            "    return int((counts >= 0.01 * len(x)).sum())\n",
            "Within one sigma lie only 39 % of the points of a perfect mode in two dimensions. Asked for are three.",
        ),
        "share_of_the_close": (
            _MODES + "    close = which[distance <= 3 * sigma]\n"
            "    counts = torch.bincount(close, minlength=len(centres))\n"
            "    return int((counts >= 0.01 * len(close)).sum())\n",
            "You take 1 % of the *close* points. Then a generator that misses nearly always still covers modes.",
        ),
        "share": (
            _MODES + "    return (distance <= 3 * sigma).float().mean().item()\n",
            "That is the share of points that lie close to a mode: quality. Asked for is the number of modes: variety.",
        ),
    },
    probes=_mode_probes,
    oracle=_true_modes,
    equivalent={
        "distance <= 3 * sigma -> distance < 3 * sigma": "no point lies at exactly three sigma, but for rounding",
    },
)


def _true_between(z0: Tensor, z1: Tensor, s: float) -> Tensor:
    a, b = z0.numpy(), z1.numpy()
    found = []
    for p, q in zip(a, b, strict=True):
        angle = math.acos(np.dot(p, q) / (np.linalg.norm(p) * np.linalg.norm(q)))
        found.append((math.sin((1 - s) * angle) * p + math.sin(s * angle) * q) / math.sin(angle))
    return torch.from_numpy(np.stack(found))


_BETWEEN = "def between(z0, z1, s):\n"
_ANGLE = "    angle = F.cosine_similarity(z0, z1, dim=1).acos()[:, None]\n"

BETWEEN = Exercise(
    id="01.between",
    title="walk without leaving the shell",
    prompt="""\
Equation (8): a point `s` of the way from one noise to another, along the *arc*. In 64 dimensions nearly all noise
lies on a thin shell, and the straight line between two of its points cuts through the empty inside.""",
    minutes=8,
    difficulty=2,
    starter='''\
def between(z0, z1, s):
    """z0 and z1 [B,Z], no two parallel; s a number in [0,1] -> [B,Z]."""
    raise NotImplementedError
''',
    solution='''\
def between(z0, z1, s):
    """Spherical interpolation, each row along its own arc."""
    angle = F.cosine_similarity(z0, z1, dim=1).acos()[:, None]
    return (((1 - s) * angle).sin() * z0 + (s * angle).sin() * z1) / angle.sin()
''',
    hints=(
        "The angle between two vectors: `F.cosine_similarity(z0, z1, dim=1).acos()`, one for each row.",
        "The angles are [B]. To weight the rows of [B,Z] they must be [B,1].",
        "Check the ends: s = 0 must give z0, s = 1 must give z1.",
    ),
    wrong={
        "straight": (
            _BETWEEN + "    return (1 - s) * z0 + s * z1\n",
            "That is the straight line. Half-way its points are shorter by about a factor 0.7: noise that the "
            "generator "
            "has hardly ever seen.",
        ),
        "cosine_for_angle": (
            _BETWEEN + "    angle = F.cosine_similarity(z0, z1, dim=1)[:, None]\n"
            "    return (((1 - s) * angle).sin() * z0 + (s * angle).sin() * z1) / angle.sin()\n",
            "You use the cosine as if it were the angle. Take its `acos`.",
        ),
        "backwards": (
            _BETWEEN + _ANGLE + "    return ((s * angle).sin() * z0 + ((1 - s) * angle).sin() * z1) / angle.sin()\n",
            "You walk backwards: at s = 0 you stand at z1.",
        ),
        "one_angle_for_all": (
            _BETWEEN + _ANGLE + "    angle = angle.mean()\n"
            "    return (((1 - s) * angle).sin() * z0 + (s * angle).sin() * z1) / angle.sin()\n",
            "You use one mean angle for the whole batch. Each pair has its own.",
        ),
        "not_divided": (
            _BETWEEN + _ANGLE + "    return ((1 - s) * angle).sin() * z0 + (s * angle).sin() * z1\n",
            "Divide by the sine of the whole angle: at s = 0 you should be at z0, and you are at sin(angle) times it.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(3, 5, generator=rng), torch.randn(3, 5, generator=rng), 0.3),
        (torch.randn(2, 7, generator=rng), torch.randn(2, 7, generator=rng), 0.85),
    ],
    oracle=_true_between,
    tolerance=1e-3,
)


EXERCISES = (BEST, CRITIC_LOSS, SLOPES, TRAIN_STEP, MODES, R1, PENALTY, BETWEEN)
