"""A toy exercise for the engine's tests: `q_sample` on vectors."""

import torch

from minidiff.course.exercise import Exercise

STARTER = '''\
def blend(x0, power, eps):
    """Keep a share `power` [B] of the power of x0 [B,D], fill up with eps [B,D]."""
    raise NotImplementedError
'''
SOLUTION = '''\
def blend(x0, power, eps):
    """Keep a share `power` [B] of the power of x0 [B,D], fill up with eps [B,D]."""
    power = power.view(-1, 1)
    return power.sqrt() * x0 + (1 - power).sqrt() * eps
'''
NO_SQRT = """\
def blend(x0, power, eps):
    power = power.view(-1, 1)
    return power * x0 + (1 - power) * eps
"""
SWAPPED = """\
def blend(x0, power, eps):
    power = power.view(-1, 1)
    return power.sqrt() * eps + (1 - power).sqrt() * x0
"""
NO_VIEW = """\
def blend(x0, power, eps):
    return power.sqrt() * x0 + (1 - power).sqrt() * eps
"""


def probes(rng: torch.Generator) -> list[tuple]:
    def one(b: int, d: int) -> tuple:
        return (
            torch.randn(b, d, generator=rng),
            0.1 + 0.8 * torch.rand(b, generator=rng),
            torch.randn(b, d, generator=rng),
        )

    return [one(3, 5), one(1, 2)]


def oracle(x0: torch.Tensor, power: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    signal, noise = power.numpy() ** 0.5, (1 - power.numpy()) ** 0.5
    return torch.from_numpy(signal[:, None] * x0.numpy() + noise[:, None] * eps.numpy())


TOY = Exercise(
    id="99.blend",
    title="blend data and noise",
    prompt="Write `blend`.",
    minutes=5,
    difficulty=1,
    starter=STARTER,
    solution=SOLUTION,
    hints=("Is `power` a variance?", "Reshape it to [B,1]."),
    wrong={
        "no_sqrt": (NO_SQRT, "Your coefficients sum to 1, so the variance shrinks."),
        "swapped": (SWAPPED, "You keep the power of the noise, not of the data."),
        "no_view": (NO_VIEW, "`power` has shape [B]; it meets the last axis, not the first."),
    },
    probes=probes,
    oracle=oracle,
)
