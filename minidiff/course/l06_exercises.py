"""The exercises of lesson 06; those on small pictures are in `l06_small`."""

import math

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
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


EXERCISES = (GUESS, SMALL, PSNR, SAMPLE, KL, SCALE, SNR, OVERLAPS, VQ)
