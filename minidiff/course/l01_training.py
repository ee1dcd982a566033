"""Exercise of lesson 01: one step of both players."""

import torch
from torch import Tensor, nn

from minidiff.course.exercise import Exercise

_PLAYERS = """\
def critic_loss(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake):
    return F.softplus(-fake).mean()
"""
_RATE, _STEPS = 0.3, 2


def _two_steps(answer, v: Tensor, w: Tensor, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of a linear generator and critic after two steps of the answer."""
    generator, critic = nn.Linear(*v.shape[::-1], bias=False), nn.Linear(len(w), 1, bias=False)
    with torch.no_grad():
        generator.to(v).weight.copy_(v)
        critic.to(v).weight.copy_(w[None])
    judge = _Flat(critic)
    optimizers = [torch.optim.SGD(m.parameters(), _RATE) for m in (generator, critic)]
    for i in range(_STEPS):
        answer(generator, judge, *optimizers, x[i], z[i])
    return generator.weight.detach(), critic.weight.detach()


class _Flat(nn.Module):
    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)[:, 0]


def _true_steps(v: Tensor, w: Tensor, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The same by hand: gradients of softplus are sigmoids."""
    for i in range(_STEPS):
        fake = z[i] @ v.T
        down = (-torch.sigmoid(-x[i] @ w))[:, None] * x[i] + torch.sigmoid(fake @ w)[:, None] * fake
        w = w - _RATE * down.mean(0)
        slope = -torch.sigmoid(-fake @ w)  # of softplus(-logit), with the critic that has just moved
        v = v - _RATE * torch.einsum("b,d,bz->dz", slope, w, z[i]) / len(fake)
    return v, w[None]


_STEP = "def train_step(generator, critic, g_optimizer, c_optimizer, x, z):\n"

TRAIN_STEP = Exercise(
    id="01.train_step",
    title="one step of the game",
    prompt="""\
Both players move once, the discriminator first; the generator then faces the one that has *just moved*. Use your
`critic_loss` and `generator_loss`, and the same noise `z` for both moves.

Mind whose gradients are whose. The discriminator's loss depends on the generator too, and the other way round.""",
    minutes=12,
    difficulty=3,
    starter='''\
def train_step(generator, critic, g_optimizer, c_optimizer, x, z):
    """One move of each player. generator(z) -> pictures, critic(pictures) -> logits [B]. Returns nothing."""
    raise NotImplementedError
''',
    solution='''\
def train_step(generator, critic, g_optimizer, c_optimizer, x, z):
    """The discriminator moves, then the generator against it."""
    c_optimizer.zero_grad()
    critic_loss(critic(x), critic(generator(z).detach())).backward()
    c_optimizer.step()

    g_optimizer.zero_grad()
    generator_loss(critic(generator(z))).backward()
    g_optimizer.step()
''',
    hints=(
        "Each move has three lines: clear the gradients, `loss.backward()`, `optimizer.step()`.",
        "`generator(z).detach()` hands the pictures over without the way back to the generator.",
        "The generator's `backward()` also leaves gradients in the discriminator. Who clears them, and when?",
    ),
    wrong={
        "stale_generator": (
            _STEP + "    c_optimizer.zero_grad()\n"
            "    critic_loss(critic(x), critic(generator(z))).backward()\n"
            "    c_optimizer.step()\n"
            "    generator_loss(critic(generator(z))).backward()\n"
            "    g_optimizer.step()\n"
            "    g_optimizer.zero_grad()\n",
            "The discriminator's backward reached the generator, and those gradients are still there when it "
            "moves: it is "
            "pushed to be caught. Detach the pictures, and clear before each backward.",
        ),
        "critic_never_cleared": (
            _STEP + "    critic_loss(critic(x), critic(generator(z).detach())).backward()\n"
            "    c_optimizer.step()\n"
            "    g_optimizer.zero_grad()\n"
            "    generator_loss(critic(generator(z))).backward()\n"
            "    g_optimizer.step()\n",
            "The discriminator's gradients are never cleared: its next move adds what the generator's backward "
            "left in it, "
            "which asks it to be fooled.",
        ),
        "at_once": (
            _STEP + "    c_optimizer.zero_grad()\n"
            "    g_optimizer.zero_grad()\n"
            "    generator_loss(critic(generator(z))).backward()\n"
            "    g_grads = [p.grad.clone() for p in generator.parameters()]\n"
            "    c_optimizer.zero_grad()\n"
            "    critic_loss(critic(x), critic(generator(z).detach())).backward()\n"
            "    c_optimizer.step()\n"
            "    for p, g in zip(generator.parameters(), g_grads):\n        p.grad = g\n"
            "    g_optimizer.step()\n",
            "Both move at once: the generator's gradient is that of the old discriminator. That is a game, "
            "too, but asked "
            "for are moves in turn.",
        ),
        "one_loss_for_both": (
            _STEP + "    c_optimizer.zero_grad()\n"
            "    g_optimizer.zero_grad()\n"
            "    critic_loss(critic(x), critic(generator(z))).backward()\n"
            "    c_optimizer.step()\n"
            "    g_optimizer.step()\n",
            "Both players go down the discriminator's loss, so the generator helps it. It has a loss of its own.",
        ),
        "generator_first": (
            _STEP + "    g_optimizer.zero_grad()\n"
            "    generator_loss(critic(generator(z))).backward()\n"
            "    g_optimizer.step()\n"
            "    c_optimizer.zero_grad()\n"
            "    critic_loss(critic(x), critic(generator(z).detach())).backward()\n"
            "    c_optimizer.step()\n",
            "The generator moves first. Asked for is the discriminator's move first.",
        ),
        "no_detour": (
            _STEP + "    c_optimizer.zero_grad()\n"
            "    critic_loss(critic(x), critic(generator(z).detach())).backward()\n"
            "    c_optimizer.step()\n"
            "    g_optimizer.zero_grad()\n"
            "    loss = generator_loss(critic(generator(z).detach()))\n"
            "    if loss.requires_grad:\n        loss.backward()\n"
            "    g_optimizer.step()\n",
            "You detach the pictures in the generator's move as well, so it never hears what the discriminator "
            "thinks of "
            "them and never moves.",
        ),
    },
    probes=lambda rng: [
        tuple(torch.randn(*s, generator=rng) for s in ((3, 4), (3,), (2, 7, 3), (2, 7, 4))),
        tuple(torch.randn(*s, generator=rng) for s in ((2, 5), (2,), (2, 6, 2), (2, 6, 5))),
    ],
    call=_two_steps,
    oracle=_true_steps,
    context=_PLAYERS,
    in_place=True,
)
