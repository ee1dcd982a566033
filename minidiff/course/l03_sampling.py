"""Exercises of lesson 03, part three: how a diffusion model draws."""

from __future__ import annotations

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.course.l03_probes import levels, network


def _picture(rng: torch.Generator, b: int, *shape: int) -> Tensor:
    return torch.randn(b, *shape, generator=rng)


def _ancestral(x_t: Tensor, eps: Tensor, t: int, alpha_bar: Tensor, z: Tensor) -> Tensor:
    """Mean and variance of q(x_{t-1} | x_t, x_0) as the product of two Gaussians in x_{t-1}."""
    a_t, a_s = float(alpha_bar[t]), float(alpha_bar[t - 1])
    x0 = (x_t - (1 - a_t) ** 0.5 * eps) / a_t**0.5
    if t == 1:
        return x0
    keep, added = a_t / a_s, 1 - a_t / a_s
    precision = 1 / (1 - a_s) + keep / added  # of the prior N(sqrt(a_s) x0, 1 - a_s) and of the step's likelihood
    mean = (a_s**0.5 * x0 / (1 - a_s) + keep**0.5 * x_t / added) / precision
    return mean + precision**-0.5 * z


ANCESTRAL_STEP = Exercise(
    id="03.ancestral_step",
    title="one step back",
    prompt=r"""Write one step of the sampler, equations (7) and (8): from level `t` to level `t - 1`, with `z` as the
fresh noise.

`t` is a plain integer from 1 to T and `alpha_bar` is the table [T+1]. You have no table of $\alpha_t$ and need none:
$\alpha_t = \bar\alpha_t / \bar\alpha_{t-1}$ and $\beta_t = 1 - \alpha_t$.""",
    minutes=12,
    difficulty=3,
    starter='''\
def ancestral_step(x_t, eps, t, alpha_bar, z):
    """From level t to t - 1: x_t, eps, z [B,C,H,W], t an int in 1..T, alpha_bar [T+1] -> like x_t"""
    raise NotImplementedError
''',
    solution='''\
def ancestral_step(x_t, eps, t, alpha_bar, z):
    """From level t to t - 1: x_t, eps, z [B,C,H,W], t an int in 1..T, alpha_bar [T+1] -> like x_t"""
    alpha = alpha_bar[t] / alpha_bar[t - 1]
    mean = (x_t - (1 - alpha) / (1 - alpha_bar[t]).sqrt() * eps) / alpha.sqrt()
    variance = (1 - alpha) * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
    return mean + variance.sqrt() * z
''',
    hints=(
        "Compute `alpha` first, then the mean of equation (7), then the variance of equation (8).",
        "What is `alpha_bar[0]`? Put t = 1 into equation (8): the last step needs no special case.",
        "`z` has standard deviation 1. To give it a variance v you multiply by the root of v.",
    ),
    wrong={
        "noise_at_the_end": (
            """\
def ancestral_step(x_t, eps, t, alpha_bar, z):
    alpha = alpha_bar[t] / alpha_bar[t - 1]
    mean = (x_t - (1 - alpha) / (1 - alpha_bar[t]).sqrt() * eps) / alpha.sqrt()
    return mean + (1 - alpha).sqrt() * z
""",
            "You use beta_t as the variance. It is not 0 at t = 1, so the last step puts noise on the finished "
            "picture. Equation (8) has a factor that vanishes there.",
        ),
        "bar_or_no_bar": (
            """\
def ancestral_step(x_t, eps, t, alpha_bar, z):
    alpha = alpha_bar[t]
    mean = (x_t - (1 - alpha) / (1 - alpha_bar[t]).sqrt() * eps) / alpha.sqrt()
    variance = (1 - alpha) * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
    return mean + variance.sqrt() * z
""",
            "You took alpha-bar_t, the product of all steps, for alpha_t, the one step: you jump to x0 at once. "
            "`alpha_bar[t] / alpha_bar[t - 1]` is the one step.",
        ),
        "variance_as_std": (
            """\
def ancestral_step(x_t, eps, t, alpha_bar, z):
    alpha = alpha_bar[t] / alpha_bar[t - 1]
    mean = (x_t - (1 - alpha) / (1 - alpha_bar[t]).sqrt() * eps) / alpha.sqrt()
    variance = (1 - alpha) * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
    return mean + variance * z
""",
            "You multiply the noise by its variance. Multiply by the standard deviation, the root.",
        ),
        "not_rescaled": (
            """\
def ancestral_step(x_t, eps, t, alpha_bar, z):
    alpha = alpha_bar[t] / alpha_bar[t - 1]
    mean = x_t - (1 - alpha) / (1 - alpha_bar[t]).sqrt() * eps
    variance = (1 - alpha) * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
    return mean + variance.sqrt() * z
""",
            "The factor 1 / sqrt(alpha_t) is missing: the forward step shrank the picture, the step back enlarges it.",
        ),
        "all_the_noise": (
            """\
def ancestral_step(x_t, eps, t, alpha_bar, z):
    alpha = alpha_bar[t] / alpha_bar[t - 1]
    mean = (x_t - (1 - alpha_bar[t]).sqrt() * eps) / alpha.sqrt()
    variance = (1 - alpha) * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t])
    return mean + variance.sqrt() * z
""",
            "You take all the noise away in one step. Equation (7) takes only beta_t / sqrt(1 - alpha_bar_t) of `eps`.",
        ),
    },
    probes=lambda rng: [
        (_picture(rng, b, *s), _picture(rng, b, *s), t, levels(rng, T), _picture(rng, b, *s))
        for b, s, t, T in [(3, (2, 5, 4), 4, 6), (2, (1, 3, 7), 1, 5), (4, (1, 2, 3), 8, 8)]
    ],
    oracle=_ancestral,
)

GUIDED_EPS = Exercise(
    id="03.guided_eps",
    title="ask twice, exaggerate the difference",
    prompt=r"""Write equation (9). Ask the network for the noise with the label `y` and once more with the label
`null` for every picture, then go from the second answer towards the first, `scale` times the whole way.""",
    minutes=6,
    difficulty=2,
    starter='''\
def guided_eps(model, x_t, t, y, null, scale):
    """x_t [B,C,H,W], t and y [B] int64, null an int, scale a number -> eps like x_t"""
    raise NotImplementedError
''',
    solution='''\
def guided_eps(model, x_t, t, y, null, scale):
    """x_t [B,C,H,W], t and y [B] int64, null an int, scale a number -> eps like x_t"""
    with_label = model(x_t, t, y)
    without = model(x_t, t, torch.full_like(y, null))
    return without + scale * (with_label - without)
''',
    hints=(
        "What must come out at `scale` = 0, and what at `scale` = 1?",
        "`torch.full_like(y, null)` is a tensor of labels that all mean none.",
    ),
    wrong={
        "paper_scale": (
            """\
def guided_eps(model, x_t, t, y, null, scale):
    with_label = model(x_t, t, y)
    without = model(x_t, t, torch.full_like(y, null))
    return (1 + scale) * with_label - scale * without
""",
            "That is the paper's w, which counts from the conditional answer: w = 0 is no guidance there. Our scale is "
            "1 + w, so 1 is the plain conditional answer and 0 ignores the label.",
        ),
        "swapped": (
            """\
def guided_eps(model, x_t, t, y, null, scale):
    with_label = model(x_t, t, y)
    without = model(x_t, t, torch.full_like(y, null))
    return with_label + scale * (without - with_label)
""",
            "Swapped: at scale 1 you ignore the label, and above 1 you draw anything *but* the digit asked for.",
        ),
        "only_the_difference": (
            """\
def guided_eps(model, x_t, t, y, null, scale):
    with_label = model(x_t, t, y)
    without = model(x_t, t, torch.full_like(y, null))
    return scale * (with_label - without)
""",
            "The difference alone is no estimate of the noise. Start from the answer without a label and add it.",
        ),
        "null_is_zero": (
            """\
def guided_eps(model, x_t, t, y, null, scale):
    with_label = model(x_t, t, y)
    without = model(x_t, t, torch.zeros_like(y))
    return without + scale * (with_label - without)
""",
            'Label 0 is a digit. "No label" is the number `null`.',
        ),
    },
    probes=lambda rng: [
        (
            network(rng, c, classes),
            _picture(rng, b, c, h, w),
            torch.randint(1, 9, (b,), generator=rng),
            1 + torch.randint(0, classes - 1, (b,), generator=rng),
            classes,
            scale,
        )
        for b, c, h, w, classes, scale in [(5, 2, 3, 4, 7, 2.5), (2, 1, 4, 3, 6, 0.4)]
    ],
    oracle=lambda model, x_t, t, y, null, scale: scale * model(x_t, t, y) + (1 - scale) * model(x_t, t, 0 * y + null),
)


def _ddim(x_t: Tensor, eps: Tensor, t: int, s: int, alpha_bar: Tensor) -> Tensor:
    """The move along the line through x_t: what x0 does not explain is noise, and keeps its direction."""
    a_t, a_s = float(alpha_bar[t]), float(alpha_bar[s])
    x0 = ((x_t - (1 - a_t) ** 0.5 * eps) * a_t**-0.5).numpy().clip(-1, 1)
    rest = x_t.numpy() - a_t**0.5 * x0
    return torch.from_numpy(a_s**0.5 * x0 + ((1 - a_s) / (1 - a_t)) ** 0.5 * rest)


DDIM_STEP = Exercise(
    id="03.ddim_step",
    title="a long step without dice",
    prompt=r"""Write one DDIM move from level `t` to any lower level `s`, in this order: find $x_0$ from `eps`, clip
it to [-1, 1], find the `eps` that fits the clipped $x_0$, put both together at level `s` with equation (10).

`t` and `s` are plain integers, `alpha_bar` is the table [T+1].""",
    minutes=12,
    difficulty=3,
    starter='''\
def ddim_step(x_t, eps, t, s, alpha_bar):
    """x_t and eps [B,C,H,W], levels t > s as ints, alpha_bar [T+1] -> x_s like x_t"""
    raise NotImplementedError
''',
    solution='''\
def ddim_step(x_t, eps, t, s, alpha_bar):
    """x_t and eps [B,C,H,W], levels t > s as ints, alpha_bar [T+1] -> x_s like x_t"""
    signal, noise = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()
    x0 = ((x_t - noise * eps) / signal).clamp(-1, 1)
    eps = (x_t - signal * x0) / noise
    return alpha_bar[s].sqrt() * x0 + (1 - alpha_bar[s]).sqrt() * eps
''',
    hints=(
        "Equation (1) ties x_t, x0 and eps together: whoever has two of the three has the third. You use it three "
        "times.",
        "After clipping, the old `eps` no longer fits equation (1). Solve it for `eps` again.",
        "The coefficients of the last line belong to `s`, those of the others to `t`.",
    ),
    wrong={
        "no_clip": (
            """\
def ddim_step(x_t, eps, t, s, alpha_bar):
    x0 = (x_t - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()
    return alpha_bar[s].sqrt() * x0 + (1 - alpha_bar[s]).sqrt() * eps
""",
            "You do not clip. At high levels you divide by a tiny `sqrt(alpha_bar)`, so a small error in `eps` "
            "becomes a large one in x0; no pixel lies outside [-1, 1].",
        ),
        "old_eps": (
            """\
def ddim_step(x_t, eps, t, s, alpha_bar):
    x0 = ((x_t - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()).clamp(-1, 1)
    return alpha_bar[s].sqrt() * x0 + (1 - alpha_bar[s]).sqrt() * eps
""",
            "You clip x0 but keep the old `eps`, so the two no longer add up to `x_t`. Recompute `eps` from the "
            "clipped x0.",
        ),
        "clips_the_result": (
            """\
def ddim_step(x_t, eps, t, s, alpha_bar):
    x0 = (x_t - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()
    return (alpha_bar[s].sqrt() * x0 + (1 - alpha_bar[s]).sqrt() * eps).clamp(-1, 1)
""",
            "You clip x_s. A noisy picture may leave [-1, 1], and must; clip the estimate of the clean one, x0.",
        ),
        "stays": (
            """\
def ddim_step(x_t, eps, t, s, alpha_bar):
    signal, noise = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()
    x0 = ((x_t - noise * eps) / signal).clamp(-1, 1)
    eps = (x_t - signal * x0) / noise
    return signal * x0 + noise * eps
""",
            "You put x0 and eps together at level t again, so nothing has moved. Use the coefficients of `s`.",
        ),
    },
    probes=lambda rng: [
        (_picture(rng, b, *shape), _picture(rng, b, *shape), t, s, levels(rng, T))
        for b, shape, t, s, T in [(3, (2, 5, 4), 5, 2, 7), (2, (1, 3, 7), 3, 0, 6), (4, (1, 2, 3), 8, 7, 8)]
    ],
    oracle=_ddim,
)
