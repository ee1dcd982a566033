"""An exponential moving average of a model's parameters."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class EMA:
    """A copy of a model whose parameters are averaged over training; buffers are copied, not averaged.

    The decay warms up, min(decay, (1 + n) / (10 + n)) after n updates, so that the random start is soon forgotten.

    Attributes:
        model: the averaged copy, in eval mode, without gradients.
        decay: the final decay.
        updates: n.

    Raises:
        ValueError: `decay` lies outside [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1); got {decay}")
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards `model`'s present parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
