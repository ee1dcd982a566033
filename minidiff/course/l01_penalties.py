"""Exercises of lesson 01: two penalties that keep the discriminator smooth."""

import torch
from torch import Tensor, nn

from minidiff.course.exercise import Exercise


class _Bowl(nn.Module):
    """A critic whose gradient is known: a . x + c / 2 |x|^2 has the gradient a + c x."""

    def __init__(self, a: Tensor, c: Tensor):
        super().__init__()
        self.a, self.c = nn.Parameter(a), nn.Parameter(c)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.a).flatten(1).sum(1) + self.c / 2 * x.square().flatten(1).sum(1)


def _value_and_slope(penalty: Tensor, critic: _Bowl) -> tuple[Tensor, Tensor]:
    if not (isinstance(penalty, Tensor) and penalty.requires_grad):
        return torch.as_tensor(penalty), torch.zeros(())
    return penalty.detach(), torch.autograd.grad(penalty, critic.c)[0]


def _use_r1(answer, a: Tensor, c: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    critic = _Bowl(a, c)
    return _value_and_slope(answer(critic, x), critic)


def _true_r1(a: Tensor, c: Tensor, x: Tensor) -> tuple[float, float]:
    gradient = (a + c * x).flatten(1)
    return gradient.square().sum(1).mean().item(), 2 * (gradient * x.flatten(1)).sum(1).mean().item()


_R1 = "def r1_penalty(critic, x):\n    x = x.detach().requires_grad_()\n"
_GRAD = "    gradient = torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0].flatten(1)\n"

R1 = Exercise(
    id="01.r1_penalty",
    title="a penalty on steep discriminators",
    prompt="""\
Equation (6) without its factor: the squared length of the discriminator's gradient *in the picture*, averaged over
the real pictures of the batch.

The penalty is part of a loss, so it must itself have a gradient in the discriminator's weights:
`torch.autograd.grad(..., create_graph=True)`.""",
    minutes=9,
    difficulty=3,
    starter='''\
def r1_penalty(critic, x):
    """critic: x [B,...] -> logits [B]; x: real pictures -> scalar that can be differentiated."""
    raise NotImplementedError
''',
    solution='''\
def r1_penalty(critic, x):
    """Mean over the batch of |d critic / d x|^2."""
    x = x.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()
''',
    hints=(
        "`x = x.detach().requires_grad_(True)` makes the pictures something to differentiate by.",
        "A logit depends on its own picture alone, so the gradient of the *sum* of logits holds every picture's own.",
        "Square, sum over all pixels of a picture (`flatten(1)`), then average over the batch.",
    ),
    wrong={
        "not_squared": (
            _R1 + _GRAD + "    return gradient.norm(dim=1).mean()\n",
            "You average the gradient's length. R1 takes its square.",
        ),
        "mean_over_pixels": (
            _R1 + _GRAD + "    return gradient.square().mean()\n",
            "You average over the pixels as well, so the penalty shrinks with the size of the picture. A "
            "squared length is "
            "a sum over pixels.",
        ),
        "gradient_of_the_mean": (
            _R1 + "    gradient = torch.autograd.grad(critic(x).mean(), x, create_graph=True)[0].flatten(1)\n"
            "    return gradient.square().sum(1).mean()\n",
            "The gradient of the *mean* of logits is every picture's gradient divided by B, so the penalty is "
            "B squared "
            "times too small. Differentiate the sum.",
        ),
        "sum_over_batch": (
            _R1 + _GRAD + "    return gradient.square().sum()\n",
            "You add up over the batch. Average, so that the penalty's weight does not depend on the batch size.",
        ),
        "no_graph": (
            _R1 + "    gradient = torch.autograd.grad(critic(x).sum(), x)[0].flatten(1)\n"
            "    return gradient.square().sum(1).mean()\n",
            "The value is right, but it is a constant: without `create_graph=True` the discriminator cannot learn from "
            "it, and training goes on as if the penalty were not there.",
        ),
        "towards_1": (
            _R1 + _GRAD + "    return (gradient.norm(dim=1) - 1).square().mean()\n",
            "That pulls the length towards 1, as WGAN's penalty does. R1 pulls it towards 0, at real pictures.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(1, 3, 5, generator=rng), torch.tensor(0.7), torch.randn(4, 1, 3, 5, generator=rng)),
        (torch.randn(2, generator=rng), torch.tensor(-0.4), torch.randn(7, 2, generator=rng)),
    ],
    call=_use_r1,
    oracle=_true_r1,
)


def _use_gp(answer, a: Tensor, c: Tensor, real: Tensor, fake: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    critic = _Bowl(a, c)
    return _value_and_slope(answer(critic, real, fake, share), critic)


def _true_gp(a: Tensor, c: Tensor, real: Tensor, fake: Tensor, share: Tensor) -> tuple[float, float]:
    share = share.reshape(-1, *[1] * (real.ndim - 1))
    x = ((1 - share) * real + share * fake).flatten(1)
    gradient = a.flatten() + c * x
    length = gradient.square().sum(1).sqrt()
    slope = 2 * (length - 1) * (gradient * x).sum(1) / length
    return (length - 1).square().mean().item(), slope.mean().item()


_GP = "def gradient_penalty(critic, real, fake, share):\n"
_COLUMN = "    share = share.reshape(-1, *[1] * (real.ndim - 1))\n"
_LERP = "    x = ((1 - share) * real + share * fake).detach().requires_grad_()\n"

PENALTY = Exercise(
    id="01.gradient_penalty",
    title="WGAN's penalty, between real and generated",
    prompt="""\
Equation (7). Each picture pair has a point of its own on the line from real to generated, `share` of the way. There the
gradient's length should be 1: penalise the squared distance from 1, averaged over the batch.""",
    minutes=10,
    difficulty=3,
    starter='''\
def gradient_penalty(critic, real, fake, share):
    """real and fake [B,...]; share [B] in [0,1], 0 is at the real picture -> scalar that can be differentiated."""
    raise NotImplementedError
''',
    solution='''\
def gradient_penalty(critic, real, fake, share):
    """Mean over the batch of (|d critic / d x| - 1)^2, x between real and fake."""
    share = share.reshape(-1, *[1] * (real.ndim - 1))
    x = ((1 - share) * real + share * fake).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
''',
    hints=(
        "`share` is [B]; to weight whole pictures it needs the shape [B,1,1,...].",
        "The rest is as in `r1_penalty`, but for what is done with the length.",
        "The length of each picture's gradient is `gradient.flatten(1).norm(dim=1)`.",
    ),
    wrong={
        "one_point_for_all": (
            _GP + "    share = share[:1]\n" + _LERP + _GRAD + "    return (gradient.norm(dim=1) - 1).square().mean()\n",
            "All pairs get the share of the first. Each has its own.",
        ),
        "swapped_ends": (
            _GP
            + _COLUMN
            + _LERP.replace("(1 - share) * real + share * fake", "share * real + (1 - share) * fake")
            + _GRAD
            + "    return (gradient.norm(dim=1) - 1).square().mean()\n",
            "Your line runs the other way: share 0 should be the real picture. (With uniform shares it would "
            "not matter; "
            "here the test hands you the shares.)",
        ),
        "square_minus_1": (
            _GP + _COLUMN + _LERP + _GRAD + "    return (gradient.square().sum(1) - 1).square().mean()\n",
            "You compare the *squared* length with 1. The length itself should be 1.",
        ),
        "length_of_the_batch": (
            _GP + _COLUMN + _LERP + _GRAD + "    return (gradient.norm() - 1).square()\n",
            "You take one length over the whole batch. Each picture has its own.",
        ),
        "no_graph": (
            _GP + _COLUMN + _LERP + _GRAD.replace(", create_graph=True", "")
            + "    return (gradient.norm(dim=1) - 1).square().mean()\n",
            "The value is right, but it is a constant: without `create_graph=True` the discriminator cannot "
            "learn from it.",
        ),
        "only_above": (
            _GP + _COLUMN + _LERP + _GRAD + "    return (gradient.norm(dim=1) - 1).clamp_min(0).square().mean()\n",
            "You let shallow places be. That is a variant, but equation (7) pulls from both sides.",
        ),
    },
    probes=lambda rng: [
        (
            torch.randn(1, 3, 5, generator=rng), torch.tensor(0.7), torch.randn(4, 1, 3, 5, generator=rng),
            torch.randn(4, 1, 3, 5, generator=rng), torch.rand(4, generator=rng),
        ),
        (
            0.2 * torch.randn(2, generator=rng), torch.tensor(0.3), torch.randn(7, 2, generator=rng),
            torch.randn(7, 2, generator=rng), torch.rand(7, generator=rng),
        ),
    ],
    call=_use_gp,
    oracle=_true_gp,
)  # fmt: skip
