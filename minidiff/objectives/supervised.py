"""Losses with labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion import Schedule


@dataclass
class ClassifierLoss:
    """Cross-entropy of `model(x)` with one label for each picture, or for each pixel.

    Attributes:
        prepare: batch -> batch, applied first, for augmentation.
        smoothing: label smoothing in [0, 1).
        labels: the batch's key of the labels, [B] for logits [B,K] or [B,H,W] for logits [B,K,H,W].
    """

    prepare: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    smoothing: float = 0.0
    labels: str = "y"

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the mean loss and {"loss", "accuracy"}, scalars."""
        batch = self.prepare(batch)
        logits, labels = model(batch["x"]), batch[self.labels]
        loss = F.cross_entropy(logits, labels, label_smoothing=self.smoothing)
        accuracy = (logits.argmax(1) == labels).float().mean()
        return loss, {"loss": loss.detach(), "accuracy": accuracy.detach()}


@dataclass
class AttributesLoss:
    """Binary cross-entropy of `model(x)` with labels "y" of which any number may be 1.

    Attributes:
        prepare: batch -> batch, applied first, for augmentation.
    """

    prepare: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the sum over labels, averaged over pictures, and {"loss", "accuracy"}: the share all right."""
        batch = self.prepare(batch)
        logits = model(batch["x"])  # [B, K]
        loss = F.binary_cross_entropy_with_logits(logits, batch["y"], reduction="none").sum(dim=1).mean()
        accuracy = ((logits > 0) == (batch["y"] > 0.5)).all(dim=1).float().mean()
        return loss, {"loss": loss.detach(), "accuracy": accuracy.detach()}


@dataclass
class NoisyClassifierLoss:
    """Cross-entropy of `model(x_t, t)` over levels 0..T, for classifier guidance (Dhariwal & Nichol, 2021)."""

    schedule: Schedule

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Draws t and eps; returns the mean loss and {"loss"}, scalars."""
        x0 = batch["x"]
        t = torch.randint(0, self.schedule.T + 1, (len(x0),), device=x0.device)
        loss = F.cross_entropy(model(self.schedule.q_sample(x0, t, torch.randn_like(x0)), t), batch["y"])
        return loss, {"loss": loss.detach()}


@dataclass
class RegressionLoss:
    """Squared error of a picture said at once: the baseline of a diffusion model with the same network.

    The network is called as a diffusion model is, with zeros instead of a noised picture and level 0. It learns the
    mean of all pictures that fit the conditions, which is blurred wherever they differ.

    Attributes:
        prepare: batch -> batch, applied first; everything in it but "x" goes to the model as a keyword.
    """

    prepare: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the mean loss and {"loss"}, scalars.

        Raises:
            ValueError: the batch has no "x".
        """
        cond = dict(self.prepare(batch))
        if "x" not in cond:
            raise ValueError(f'a batch needs the key "x", the pictures; got {sorted(cond)}')
        x = cond.pop("x")
        said = model(torch.zeros_like(x), torch.zeros(len(x), dtype=torch.long, device=x.device), **cond)
        loss = (said.float() - x).square().mean()
        return loss, {"loss": loss.detach()}
