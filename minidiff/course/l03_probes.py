"""What the exercises of lesson 03 are tried on: a small network and a short schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Network(nn.Module):
    """A small stand-in for a U-Net that uses all of its inputs, so that a wrong one shows."""

    def __init__(self, rng: torch.Generator, channels: int, classes: int):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(channels, channels, generator=rng))
        self.label = nn.Parameter(torch.randn(classes + 1, channels, generator=rng))

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        time = torch.sin(1.3 * t.to(x_t.dtype)).view(-1, 1, 1, 1)
        mixed = torch.einsum("ij,bjhw->bihw", self.mix, torch.tanh(x_t))
        return mixed + time * x_t + self.label[y][:, :, None, None]


def network(rng: torch.Generator, channels: int, classes: int) -> nn.Module:
    """`model(x_t, t, y)` with random weights."""
    return _Network(rng, channels, classes)


def levels(rng: torch.Generator, T: int) -> Tensor:
    """A short table alpha_bar[0..T] with betas large enough for float32."""
    return torch.cat([torch.ones(1), (1 - 0.05 - 0.3 * torch.rand(T, generator=rng)).cumprod(0)])
