"""Exercises of lesson 06 on what comes after an encoder: scale, noise, and vectors from a list."""

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise


def _true_scale(z: Tensor) -> Tensor:
    numbers = z.flatten().tolist()
    mean = sum(numbers) / len(numbers)
    return torch.tensor((sum((n - mean) ** 2 for n in numbers) / (len(numbers) - 1)) ** -0.5, dtype=torch.float64)


_SCALE = "def scale_factor(z):\n"

SCALE = Exercise(
    id="06.scale_factor",
    title="latents of unit variance",
    prompt="""\
One number that makes latents of variance 1 when they are multiplied by it: the same for all channels and places, so
that it changes no direction in the space.""",
    minutes=4,
    difficulty=1,
    starter='''\
def scale_factor(z):
    """z [N,Z,h,w], latents of training pictures -> scalar tensor."""
    raise NotImplementedError
''',
    solution='''\
def scale_factor(z):
    """One over the standard deviation of all numbers: the root of their mean square about their mean."""
    centred = z - z.mean()
    return 1 / centred.square().mean().sqrt()
''',
    hints=("If all numbers are multiplied by $s$, their standard deviation is too.", "`z.std()` looks at all of them."),
    wrong={
        "variance": (_SCALE + "    return 1 / z.var()\n", "You divide by the variance; its root is what scales."),
        "deviation": (_SCALE + "    return z.std()\n", "Multiplied by that, large latents get larger still."),
        "about_zero": (
            _SCALE + "    return 1 / z.square().mean().sqrt()\n",
            "That makes the mean *square* 1. With a mean other than 0, the variance is then below 1.",
        ),
        "mean_of_channels": (
            _SCALE + "    return 1 / z.std(dim=(0, 2, 3)).mean()\n",
            "You average the channels' deviations. That is not the deviation of all numbers together.",
        ),
    },
    probes=lambda rng: [
        (3 * torch.randn(5, 2, 3, 4, generator=rng) * torch.tensor([1.0, 4.0]).view(1, 2, 1, 1) + 2,),
        (0.2 * torch.randn(3, 4, 2, 5, generator=rng) - 0.5,),
    ],
    oracle=_true_scale,
    tolerance=0.02,  # whether a variance is divided by n or n - 1 is not the question here
)


def _true_snr(alpha_bar: Tensor, deviation: float) -> Tensor:
    return torch.tensor([a * deviation**2 / (1 - a) for a in alpha_bar.tolist()], dtype=torch.float64)


_SNR = "def snr(alpha_bar, deviation):\n"

SNR = Exercise(
    id="06.snr",
    title="what a forgotten scale does to the noise",
    prompt="""\
$z_t = \\sqrt{\\bar\\alpha_t}\\, z + \\sqrt{1 - \\bar\\alpha_t}\\, \\epsilon$, where the latents $z$ have standard
deviation `deviation`. Return the signal's variance over the noise's, for each level.""",
    minutes=4,
    difficulty=2,
    starter='''\
def snr(alpha_bar, deviation):
    """alpha_bar [T] in (0,1), deviation of the latents > 0 -> [T]."""
    raise NotImplementedError
''',
    solution='''\
def snr(alpha_bar, deviation):
    """Variance of the signal over variance of the noise."""
    return alpha_bar * deviation**2 / (1 - alpha_bar)
''',
    hints=("A factor multiplies a variance by its square.", "$\\sqrt{\\bar\\alpha_t}\\, z$ has variance "
           "$\\bar\\alpha_t$ times that of $z$."),
    wrong={
        "unit_variance": (
            _SNR + "    return alpha_bar / (1 - alpha_bar)\n",
            "That is right for latents of variance 1. How do larger ones change it?",
        ),
        "not_squared": (
            _SNR + "    return alpha_bar * deviation / (1 - alpha_bar)\n",
            "A ratio of variances: the deviation has to be squared.",
        ),
        "amplitudes": (
            _SNR + "    return (alpha_bar / (1 - alpha_bar)).sqrt() * deviation\n",
            "That is the ratio of standard deviations. Its square is asked for.",
        ),
        "upside_down": (
            _SNR + "    return (1 - alpha_bar) / (alpha_bar * deviation**2)\n",
            "Yours grows with the noise: it is noise over signal.",
        ),
    },
    probes=lambda rng: [(0.98 * torch.rand(n, generator=rng) + 0.01, s) for n, s in ((7, 0.3), (5, 4.0))],
    oracle=_true_snr,
)


def _true_quantised(z: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    rows, codes = [], []
    for vector in z.tolist():
        distances = [sum((a - b) ** 2 for a, b in zip(vector, row)) for row in table.tolist()]
        codes.append(distances.index(min(distances)))
        rows.append(table.tolist()[codes[-1]])
    return torch.tensor(rows, dtype=torch.float64), torch.ones_like(z)


def _with_gradient(quantise, z: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """What the answer returns, and the gradient of its sum in z (zeros where none arrives)."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        out = quantise(z, table)
        if not out.requires_grad:
            return out, torch.zeros_like(z)
        (grad,) = torch.autograd.grad(out.sum(), z, allow_unused=True)
    return out.detach(), torch.zeros_like(z) if grad is None else grad


_VQ = "def quantise(z, table):\n    found = table[torch.cdist(z, table).argmin(dim=1)]\n"

VQ = Exercise(
    id="06.quantise",
    title="latents from a list, with a gradient",
    prompt="""\
Replace each vector by the nearest one of the table. Choosing has no gradient, so the encoder would never learn: pass it
*straight through*, as if the output were `z` plus a constant.""",
    minutes=8,
    difficulty=3,
    starter='''\
def quantise(z, table):
    """z [N,D], table [K,D] -> [N,D]: values from the table, gradient 1 with respect to z."""
    raise NotImplementedError
''',
    solution='''\
def quantise(z, table):
    """The nearest vector; its difference from z counts as a constant."""
    found = table[torch.cdist(z, table).argmin(dim=1)]
    return z + (found - z).detach()
''',
    hints=(
        "`torch.cdist(z, table)` gives all distances [N,K].",
        "`.detach()` makes a constant. Which constant turns `z` into the vector that you found?",
    ),
    wrong={
        "no_gradient": (
            _VQ + "    return found\n",
            "The values are right, but no gradient reaches z: indexing by an argmin says nothing of how to move z.",
        ),
        "no_values": (
            _VQ + "    return z + 0 * found\n",
            "The gradient is right, but the values are still z: the decoder would see what is in no list.",
        ),
        "inner_product": (
            "def quantise(z, table):\n    found = table[(z @ table.T).argmax(dim=1)]\n"
            "    return z + (found - z).detach()\n",
            "You take the largest inner product. Long vectors win that way, near or not.",
        ),
        "farthest": (
            "def quantise(z, table):\n    found = table[torch.cdist(z, table).argmax(dim=1)]\n"
            "    return z + (found - z).detach()\n",
            "You take the farthest vector: argmin, not argmax.",
        ),
        "twice": (
            _VQ + "    return 2 * z + (found - 2 * z).detach()\n",
            "The values are right, and the gradient twice too large.",
        ),
    },
    probes=lambda rng: [
        (torch.randn(7, 3, generator=rng), 1.5 * torch.randn(5, 3, generator=rng)),
        (torch.randn(4, 2, generator=rng), 1.5 * torch.randn(9, 2, generator=rng)),
    ],
    oracle=_true_quantised,
    call=_with_gradient,
)
