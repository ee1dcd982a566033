"""Exercises of lesson 03, part one: guessing the picture behind the noise."""

from __future__ import annotations

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise

BEST_GUESS = Exercise(
    id="03.best_guess",
    title="the best guess that anyone could make",
    prompt=r"""Write equation (2): the mean of the data points, each weighted by how probable it is that $x_t$ came
from it.

`x_t` is [B, D], `data` is [N, D], `alpha_bar_t` is one number between 0 and 1; the answer is [B, D]. It must also
work for an `x_t` that lies far from every data point.""",
    minutes=12,
    difficulty=2,
    starter='''\
def best_guess(x_t, data, alpha_bar_t):
    """x_t [B,D], data [N,D], alpha_bar_t a number -> E[x0 | x_t], [B,D]"""
    raise NotImplementedError
''',
    solution='''\
def best_guess(x_t, data, alpha_bar_t):
    """x_t [B,D], data [N,D], alpha_bar_t a number -> E[x0 | x_t], [B,D]"""
    gap = x_t[:, None] - alpha_bar_t**0.5 * data  # [B,N,D]
    log_weight = -gap.square().sum(-1) / (2 * (1 - alpha_bar_t))  # [B,N]
    return log_weight.softmax(dim=1) @ data  # [B,D]
''',
    hints=(
        "If $x_0$ is data point $i$, then $x_t$ is Gaussian. What are its mean and its variance? Equation (1) has "
        "both.",
        "You need every $x_t$ against every data point. `x_t[:, None] - something * data` has shape [B, N, D].",
        "`softmax(dim=1)` of the exponents does the exponentials and the division in one go, and it subtracts the "
        "largest exponent first, so nothing becomes 0 / 0.",
    ),
    wrong={
        "nearest": (
            """\
def best_guess(x_t, data, alpha_bar_t):
    gap = x_t[:, None] - alpha_bar_t**0.5 * data
    return data[gap.square().sum(-1).argmin(dim=1)]
""",
            "You return the nearest data point. A squared error is smallest at the *mean* of everything that could be "
            "behind `x_t`, so every data point has a say, weighted by its probability.",
        ),
        "no_shrink": (
            """\
def best_guess(x_t, data, alpha_bar_t):
    gap = x_t[:, None] - data
    return (-gap.square().sum(-1) / (2 * (1 - alpha_bar_t))).softmax(dim=1) @ data
""",
            "You measure the distance to the data points themselves. At level t each has shrunk to "
            "`alpha_bar_t ** 0.5` times itself; measure from there.",
        ),
        "no_variance": (
            """\
def best_guess(x_t, data, alpha_bar_t):
    gap = x_t[:, None] - alpha_bar_t**0.5 * data
    return (-gap.square().sum(-1)).softmax(dim=1) @ data
""",
            "Your exponent does not know the noise level. A squared distance counts in units of `2 * (1 - "
            "alpha_bar_t)`: the same gap says much when there is little noise and nothing when there is a lot.",
        ),
        "root_of_variance": (
            """\
def best_guess(x_t, data, alpha_bar_t):
    gap = x_t[:, None] - alpha_bar_t**0.5 * data
    return (-gap.square().sum(-1) / (2 * (1 - alpha_bar_t) ** 0.5)).softmax(dim=1) @ data
""",
            "You divide by the standard deviation. The exponent of a Gaussian has the variance, `1 - alpha_bar_t`, "
            "without a root.",
        ),
        "by_hand": (
            """\
def best_guess(x_t, data, alpha_bar_t):
    gap = x_t[:, None] - alpha_bar_t**0.5 * data
    weight = (-gap.square().sum(-1) / (2 * (1 - alpha_bar_t))).exp()
    return weight / weight.sum(dim=1, keepdim=True) @ data
""",
            "The formula is right, but far from the data every exponential rounds to 0 and you divide 0 by 0. "
            "`softmax` subtracts the largest exponent first.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(3, 5, generator=rng), torch.randn(7, 5, generator=rng), 0.6),
        (torch.randn(4, 1, generator=rng), torch.randn(9, 1, generator=rng), 0.2),
        (30 + torch.randn(2, 3, generator=rng), torch.randn(5, 3, generator=rng), 0.9),
    ],
    oracle=lambda x_t, data, a: _posterior_mean(x_t, data, a),
)


def _posterior_mean(x_t: Tensor, data: Tensor, a: float) -> Tensor:
    """Bayes' rule point by point, with the log of a Gaussian density that keeps its constant."""
    rows = []
    for x in x_t:
        logs = torch.stack([torch.distributions.Normal(a**0.5 * d, (1 - a) ** 0.5).log_prob(x).sum() for d in data])
        shares = (logs - logs.logsumexp(0)).exp()
        rows.append(sum(share * d for share, d in zip(shares, data, strict=True)))
    return torch.stack(rows)


X0_FROM_EPS = Exercise(
    id="03.x0_from_eps",
    title="the picture behind the noise",
    prompt=r"""Write equation (3): whoever knows the noise knows the picture.

`x_t` and `eps` are [B, C, H, W], `alpha_bar_t` is [B]: one noise level for each picture.""",
    minutes=5,
    difficulty=1,
    starter='''\
def x0_from_eps(x_t, eps, alpha_bar_t):
    """x_t and eps [B,C,H,W], alpha_bar_t [B] -> x0 [B,C,H,W]"""
    raise NotImplementedError
''',
    solution='''\
def x0_from_eps(x_t, eps, alpha_bar_t):
    """x_t and eps [B,C,H,W], alpha_bar_t [B] -> x0 [B,C,H,W]"""
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return (x_t - (1 - a).sqrt() * eps) / a.sqrt()
''',
    hints=(
        "Take the noise away first, then undo the shrinking.",
        "`alpha_bar_t.view(-1, 1, 1, 1)` has shape [B, 1, 1, 1], which meets the pictures picture by picture.",
    ),
    wrong={
        "no_sqrt": (
            """\
def x0_from_eps(x_t, eps, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return (x_t - (1 - a) * eps) / a
""",
            "`alpha_bar_t` and `1 - alpha_bar_t` are variances; equation (1) has their square roots.",
        ),
        "plus": (
            """\
def x0_from_eps(x_t, eps, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return (x_t + (1 - a).sqrt() * eps) / a.sqrt()
""",
            "You add the noise a second time. It has to be taken away.",
        ),
        "not_rescaled": (
            """\
def x0_from_eps(x_t, eps, alpha_bar_t):
    a = alpha_bar_t.view(-1, 1, 1, 1)
    return x_t - (1 - a).sqrt() * eps
""",
            "Without noise you are left with the *shrunken* picture, `sqrt(alpha_bar_t) * x0`. Undo the shrinking, "
            "too.",
        ),
        "no_view": (
            """\
def x0_from_eps(x_t, eps, alpha_bar_t):
    return (x_t - (1 - alpha_bar_t).sqrt() * eps) / alpha_bar_t.sqrt()
""",
            "`alpha_bar_t` has shape [B], so it meets the last axis, the columns of a picture. Reshape it to [B, 1, "
            "1, 1].",
        ),
    },
    probes=lambda rng: [
        (
            torch.randn(b, *shape, generator=rng),
            torch.randn(b, *shape, generator=rng),
            0.05 + 0.9 * torch.rand(b, generator=rng),
        )
        for b, shape in [(3, (2, 5, 7)), (4, (1, 3, 2))]
    ],
    oracle=lambda x_t, eps, a: torch.stack(
        [(x - e * float(1 - p) ** 0.5) * float(p) ** -0.5 for x, e, p in zip(x_t, eps, a, strict=True)]
    ),
)
