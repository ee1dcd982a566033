"""Exercises of lesson 03, part two: the loss, its dice, and the average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minidiff.course.exercise import Exercise
from minidiff.course.l03_probes import levels, network


def _loss_probe(rng: torch.Generator, b: int, shape: tuple[int, int, int], classes: int, T: int) -> tuple:
    x0, eps = torch.randn(b, *shape, generator=rng), torch.randn(b, *shape, generator=rng)
    y = torch.randint(0, classes, (b,), generator=rng)
    t = torch.randint(1, T + 1, (b,), generator=rng)
    return network(rng, shape[0], classes), x0, y, t, eps, levels(rng, T)


def _noise_loss(model: nn.Module, x0: Tensor, y: Tensor, t: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    losses = []
    for i in range(len(x0)):
        power = float(alpha_bar[int(t[i])])
        noised = power**0.5 * x0[i] + (1 - power) ** 0.5 * eps[i]
        answer = model(noised[None], t[i : i + 1], y[i : i + 1])[0]
        losses.append(((answer - eps[i]) ** 2).mean())
    return torch.stack(losses)


NOISE_LOSS = Exercise(
    id="03.noise_loss",
    title="the training loss",
    prompt=r"""Write equation (5) without the expectation: one number for each picture. Noise the pictures to their
levels, ask the network for the noise, return the squared error, averaged over the pixels of each picture.

`model(x_t, t, y)` returns a tensor like `x_t`. `alpha_bar` is the whole table, [T+1], and `alpha_bar[0]` is 1. The
draws of `t` and `eps` are made outside, so that your function has no randomness in it and can be checked.""",
    minutes=10,
    difficulty=2,
    starter='''\
def noise_loss(model, x0, y, t, eps, alpha_bar):
    """x0 and eps [B,C,H,W], y and t [B] int64, alpha_bar [T+1] -> one loss for each picture, [B]"""
    raise NotImplementedError
''',
    solution='''\
def noise_loss(model, x0, y, t, eps, alpha_bar):
    """x0 and eps [B,C,H,W], y and t [B] int64, alpha_bar [T+1] -> one loss for each picture, [B]"""
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps
    return (eps - model(x_t, t, y)).square().mean(dim=(1, 2, 3))
''',
    hints=(
        "Three lines: look up the levels, make `x_t` with equation (1), compare what the network says with `eps`.",
        "`alpha_bar[t]` looks up B levels at once, [B]. Reshape it to [B, 1, 1, 1] before you multiply.",
        "`.mean(dim=(1, 2, 3))` averages over channels, rows and columns and leaves one number for each picture.",
    ),
    wrong={
        "asks_for_the_picture": (
            """\
def noise_loss(model, x0, y, t, eps, alpha_bar):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps
    return (x0 - model(x_t, t, y)).square().mean(dim=(1, 2, 3))
""",
            "You compare the network's answer with the picture. It is asked for the noise: the target is `eps`.",
        ),
        "clean_input": (
            """\
def noise_loss(model, x0, y, t, eps, alpha_bar):
    return (eps - model(x0, t, y)).square().mean(dim=(1, 2, 3))
""",
            "You show the network the clean picture, where there is no noise to find. Show it `x_t`.",
        ),
        "no_sqrt": (
            """\
def noise_loss(model, x0, y, t, eps, alpha_bar):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    return (eps - model(a * x0 + (1 - a) * eps, t, y)).square().mean(dim=(1, 2, 3))
""",
            "`alpha_bar` is a variance; equation (1) has square roots. Without them the variance of `x_t` shrinks.",
        ),
        "off_by_one": (
            """\
def noise_loss(model, x0, y, t, eps, alpha_bar):
    a = alpha_bar[t - 1].view(-1, 1, 1, 1)
    x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps
    return (eps - model(x_t, t, y)).square().mean(dim=(1, 2, 3))
""",
            "Off by one: `alpha_bar[0]` is the clean picture, so level t stands at index t. With t - 1 the network "
            "hears of one level and sees another.",
        ),
        "one_number": (
            """\
def noise_loss(model, x0, y, t, eps, alpha_bar):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps
    return (eps - model(x_t, t, y)).square().mean()
""",
            "You average over the batch as well. Keep one number for each picture: we want to see the loss level by "
            "level.",
        ),
        "sum": (
            """\
def noise_loss(model, x0, y, t, eps, alpha_bar):
    a = alpha_bar[t].view(-1, 1, 1, 1)
    x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps
    return (eps - model(x_t, t, y)).square().sum(dim=(1, 2, 3))
""",
            "You add up the pixels. Average them, or the loss (and the right learning rate) changes with the "
            "picture's size.",
        ),
    },
    probes=lambda rng: [_loss_probe(rng, 5, (2, 3, 4), 6, 7), _loss_probe(rng, 2, (1, 5, 3), 4, 9)],
    oracle=_noise_loss,
)


def _draw_probe(rng: torch.Generator, b: int, p: float, null: int, T: int) -> tuple:
    u, v = torch.rand(2, b, generator=rng)
    u[3] = p  # uniform draws can hit p itself, and then the label stays
    return 1 + torch.randint(0, 9, (b,), generator=rng), u, v, p, null, T


def _draws(y: Tensor, u: Tensor, v: Tensor, p: float, null: int, T: int) -> tuple[Tensor, Tensor]:
    labels = [null if float(a) < p else int(b) for a, b in zip(u, y, strict=True)]
    edges = torch.arange(1, T + 1, dtype=torch.float64) / T  # level t owns the numbers from (t-1)/T up to t/T
    return torch.tensor(labels), 1 + torch.searchsorted(edges, v, right=True)


DRAWS = Exercise(
    id="03.draws",
    title="the dice of a training step",
    prompt=r"""Turn uniform numbers into what a training step needs. A label becomes `null`, which means "no label",
wherever the picture's own `u` lies below `p`; elsewhere it stays. A level `t` is drawn from 1, 2, ..., T, each
equally likely, by cutting the range of `v` into T equal pieces.

`y` is [B] int64; `u` and `v` are [B], uniform from 0 up to but not including 1; `p` is a share, `null`
and `T` are ints. In this lesson `null` is 10, because
0 to 9 are taken.""",
    minutes=6,
    difficulty=1,
    starter='''\
def draws(y, u, v, p, null, T):
    """y [B] int64, u and v [B] uniform in [0,1) -> (labels [B] int64, t [B] int64 in 1..T)"""
    raise NotImplementedError
''',
    solution='''\
def draws(y, u, v, p, null, T):
    """y [B] int64, u and v [B] uniform in [0,1) -> (labels [B] int64, t [B] int64 in 1..T)"""
    labels = torch.where(u < p, null, y)
    t = 1 + (v * T).long()
    return labels, t
''',
    hints=(
        "How often is a uniform number below 0.1?",
        "`torch.where(condition, this, that)` chooses element by element and changes nothing in place.",
        "`(v * T).long()` cuts off the decimals, so it runs from 0 to T - 1. Level 0 is the clean picture.",
    ),
    wrong={
        "from_zero": (
            """\
def draws(y, u, v, p, null, T):
    return torch.where(u < p, null, y), (v * T).long()
""",
            "Your levels run from 0 to T - 1. Level 0 is the clean picture, where there is no noise to predict, and "
            "the level that sampling starts from, T, is never trained.",
        ),
        "rounded": (
            """\
def draws(y, u, v, p, null, T):
    return torch.where(u < p, null, y), (1 + v * (T - 1)).round().long()
""",
            "Rounding gives the first and the last level half a share. Cut off the decimals of `v * T` and add 1.",
        ),
        "kept": (
            """\
def draws(y, u, v, p, null, T):
    return torch.where(u > p, null, y), 1 + (v * T).long()
""",
            "The labels are the wrong way round: you keep a share p and drop the rest.",
        ),
        "digit_zero": (
            """\
def draws(y, u, v, p, null, T):
    return y * (u >= p), 1 + (v * T).long()
""",
            'You drop to label 0, but 0 is a digit: the network would learn that "no label" means zero. Use `null`.',
        ),
        "one_coin": (
            """\
def draws(y, u, v, p, null, T):
    return torch.where(u[0] < p, null, y), 1 + (v * T).long()
""",
            "One draw decides for the whole batch. Every picture has its own `u`.",
        ),
        "in_place": (
            """\
def draws(y, u, v, p, null, T):
    y[u < p] = null
    return y, 1 + (v * T).long()
""",
            "You write into `y`, which belongs to the data set: after some epochs no label would be left. Return a new "
            "tensor.",
        ),
    },
    probes=lambda rng: [_draw_probe(rng, 23, 0.25, 10, 7), _draw_probe(rng, 41, 0.625, 11, 5)],
    oracle=_draws,
)

EMA_STEP = Exercise(
    id="03.ema_step",
    title="average the weights",
    prompt=r"""Write equation (6) for a list of tensors. The decay warms up, so that the random start is soon
forgotten: use the smaller of `decay` and $(1 + n) / (10 + n)$, where `n` counts the updates and is 1 at the first.
Return a new list.""",
    minutes=6,
    difficulty=2,
    starter='''\
def ema_step(average, weights, decay, n):
    """average and weights: lists of tensors, n = 1, 2, ... -> the new average, a list of tensors"""
    raise NotImplementedError
''',
    solution='''\
def ema_step(average, weights, decay, n):
    """average and weights: lists of tensors, n = 1, 2, ... -> the new average, a list of tensors"""
    d = min(decay, (1 + n) / (10 + n))
    return [d * a + (1 - d) * w for a, w in zip(average, weights)]
''',
    hints=(
        "With a decay of 0.99, which of the two lists should hardly move?",
        "`[... for a, w in zip(average, weights)]` goes through both lists side by side.",
        "At n = 1 the factor is 2/11: the first average is mostly the new weights, because the old ones are random.",
    ),
    wrong={
        "swapped": (
            """\
def ema_step(average, weights, decay, n):
    d = min(decay, (1 + n) / (10 + n))
    return [(1 - d) * a + d * w for a, w in zip(average, weights)]
""",
            "Swapped: with a decay near 1 your average is nearly the newest weights, so it averages nothing.",
        ),
        "no_warm_up": (
            """\
def ema_step(average, weights, decay, n):
    return [decay * a + (1 - decay) * w for a, w in zip(average, weights)]
""",
            "Without the warm-up the average remembers its random start for a long time. Use "
            "`min(decay, (1 + n) / (10 + n))`.",
        ),
        "larger": (
            """\
def ema_step(average, weights, decay, n):
    d = max(decay, (1 + n) / (10 + n))
    return [d * a + (1 - d) * w for a, w in zip(average, weights)]
""",
            "You take the larger of the two decays. The warm-up is there to make it *smaller* at first.",
        ),
        "in_place": (
            """\
def ema_step(average, weights, decay, n):
    d = min(decay, (1 + n) / (10 + n))
    return [a.mul_(d).add_(w, alpha=1 - d) for a, w in zip(average, weights)]
""",
            "The values are right, but you write into the tensors that you were given. Return new ones here.",
        ),
    },
    probes=lambda rng: [
        (
            [torch.randn(3, 2, generator=rng), torch.randn(5, generator=rng)],
            [torch.randn(3, 2, generator=rng), torch.randn(5, generator=rng)],
            decay,
            n,
        )
        for decay, n in [(0.97, 1), (0.9, 5), (0.8, 4000)]
    ],
    oracle=lambda average, weights, decay, n: [
        torch.from_numpy(a.numpy() + (1 - sorted([decay, (1 + n) / (10 + n)])[0]) * (w.numpy() - a.numpy()))
        for a, w in zip(average, weights, strict=True)
    ],
)
