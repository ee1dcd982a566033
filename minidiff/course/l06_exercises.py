"""The exercises of lesson 06; those on small pictures are in `l06_small`, those on latents' size in `l06_scale`."""

import math

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l06_scale import SCALE, SNR, VQ
from minidiff.course.l06_small import GUESS, OVERLAPS, SMALL


def _true_psnr(x: Tensor, y: Tensor) -> Tensor:
    found = []
    for a, b in zip(x.flatten(1).tolist(), y.flatten(1).tolist()):
        square = sum((p - q) ** 2 for p, q in zip(a, b)) / len(a)
        found.append(10 * math.log10(4 / square))
    return torch.tensor(found, dtype=torch.float64)


_PSNR = "def psnr(x, y):\n    square = (x - y) ** 2\n"

PSNR = Exercise(
    id="06.psnr",
    title="how near a copy comes",
    prompt="""\
The *peak signal-to-noise ratio* of each picture: $10 \\log_{10}(\\text{peak}^2 / \\text{MSE})$ in decibels, where MSE
is the mean squared error over all numbers of that picture and the peak is the largest difference there can be, 2 for
pictures in [-1,1].""",
    minutes=5,
    difficulty=1,
    starter='''\
def psnr(x, y):
    """x and y [B,C,H,W] in [-1,1] -> [B], in decibels."""
    raise NotImplementedError
''',
    solution='''\
def psnr(x, y):
    """Logarithm of the squared peak over the mean squared error."""
    mse = (x - y).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(4 / mse)
''',
    hints=("One mean for each picture: `flatten(1)`, then `mean(dim=1)`.", "The peak is squared, as the error is."),
    wrong={
        "over_the_batch": (
            _PSNR + "    return 10 * torch.log10(4 / square.mean()).expand(len(x))\n",
            "You average over the whole batch: every picture gets the same number.",
        ),
        "peak_of_one": (
            _PSNR + "    return 10 * torch.log10(1 / square.flatten(1).mean(dim=1))\n",
            "Your peak is 1, as for pictures in [0,1]. Ours differ by up to 2, which is worth 6 decibels.",
        ),
        "twenty": (
            _PSNR + "    return 20 * torch.log10(4 / square.flatten(1).mean(dim=1))\n",
            "20 goes with the ratio of deviations, 10 with that of squares. You have squares, and twice the number.",
        ),
        "natural": (
            _PSNR + "    return 10 * torch.log(4 / square.flatten(1).mean(dim=1))\n",
            "Decibels are counted with the logarithm to base 10.",
        ),
    },
    probes=lambda rng: [tuple(torch.rand(2, *s, generator=rng) * 2 - 1) for s in ((3, 1, 5, 4), (2, 3, 4, 7))],
    oracle=_true_psnr,
)


def _latents(rng: torch.Generator) -> list[tuple]:
    return [tuple(torch.randn(2, *shape, generator=rng)) for shape in ((5, 2, 3, 4), (3, 4, 2, 2))]


_SAMPLE = "def sample(mean, log_var, eps):\n"

SAMPLE = Exercise(
    id="06.sample",
    title="noise that a gradient can pass",
    prompt="""\
The encoder says a mean and a *log-variance* for each latent number. Make a sample of N(mean, variance) out of given
noise `eps` from N(0, I), so that gradients reach both.""",
    minutes=4,
    difficulty=1,
    starter='''\
def sample(mean, log_var, eps):
    """mean, log_var and eps [B,Z,h,w] -> a sample, the same shape."""
    raise NotImplementedError
''',
    solution='''\
def sample(mean, log_var, eps):
    """The mean, plus the deviation times noise."""
    return mean + (log_var / 2).exp() * eps
''',
    hints=("Noise is multiplied by a standard deviation, not by a variance.", "The root of $e^v$ is $e^{v/2}$."),
    wrong={
        "variance": (
            _SAMPLE + "    return mean + log_var.exp() * eps\n",
            "You multiply by the variance. The deviation is its square root.",
        ),
        "log_as_deviation": (
            _SAMPLE + "    return mean + log_var * eps\n",
            "You use the logarithm itself. It may be negative, which no deviation is.",
        ),
        "root_of_log": (
            _SAMPLE + "    return mean + log_var.abs().sqrt() * eps\n",
            "You take the root of the logarithm. First `exp`, then the root (or half the logarithm first).",
        ),
        "no_noise": (_SAMPLE + "    return mean + 0 * eps\n", "That is the mean: an autoencoder without noise."),
    },
    probes=lambda rng: [(*pair, torch.randn(pair[0].shape, generator=rng)) for pair in _latents(rng)],
    oracle=lambda mean, log_var, eps: mean + torch.sqrt(torch.exp(log_var)) * eps,
)


def _true_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    found = []
    for m, v in zip(mean.flatten(1).tolist(), log_var.flatten(1).tolist()):
        found.append(sum((a * a + math.exp(b) - 1 - b) / 2 for a, b in zip(m, v)))
    return torch.tensor(found, dtype=torch.float64)


_KL = "def kl_to_normal(mean, log_var):\n    each = (mean**2 + log_var.exp() - 1 - log_var) / 2\n"

KL = Exercise(
    id="06.kl_to_normal",
    title="what a latent costs",
    prompt="""\
Equation (3): the divergence of N(mean, variance) from N(0, I), *summed* over all numbers of a picture's latents. One
number for each picture, in nats.""",
    minutes=6,
    difficulty=2,
    starter='''\
def kl_to_normal(mean, log_var):
    """mean and log_var [B,Z,h,w] -> [B], in nats, never negative."""
    raise NotImplementedError
''',
    solution='''\
def kl_to_normal(mean, log_var):
    """Closed form of two normal distributions, summed over a picture."""
    each = (mean**2 + log_var.exp() - 1 - log_var) / 2
    return each.flatten(1).sum(dim=1)
''',
    hints=("The variance is `log_var.exp()`.", "It is 0 where the mean is 0 and the variance 1. Is yours?"),
    wrong={
        "mean_over_places": (
            _KL + "    return each.flatten(1).mean(dim=1)\n",
            "You average over the latent numbers. Beside a sum over pixels, that makes the divergence's weight depend "
            "on the size of the latents.",
        ),
        "over_the_batch": (
            _KL + "    return each.sum().expand(len(mean))\n",
            "You sum over the batch as well: every picture gets the cost of all.",
        ),
        "without_half": (_KL + "    return 2 * each.flatten(1).sum(dim=1)\n", "Yours is twice as large: the half."),
        "no_log": (
            "def kl_to_normal(mean, log_var):\n"
            "    return ((mean**2 + log_var.exp() - 1) / 2).flatten(1).sum(dim=1)\n",
            "You leave out the log-variance. Then the best variance would be 0, and yours can be negative.",
        ),
        "the_other_way": (
            "def kl_to_normal(mean, log_var):\n"
            "    each = ((1 + mean**2) * (-log_var).exp() - 1 + log_var) / 2\n"
            "    return each.flatten(1).sum(dim=1)\n",
            "That is the divergence of N(0, I) from the encoder's distribution, the other direction.",
        ),
    },
    probes=_latents,
    oracle=_true_kl,
)


EXERCISES = (GUESS, SMALL, PSNR, SAMPLE, KL, SCALE, SNR, OVERLAPS, VQ)
