"""The loss of a KL autoencoder: say the picture again, and keep the latents near N(0, I) (Kingma & Welling, 2014)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.posterior import DiagonalGaussian

Batch = dict[str, Tensor]


@dataclass
class AutoencoderLoss:
    """Reconstruction, divergence and perceptual distance of `model(x, eps)`, each summed over a sample's numbers.

    Sums, not means: a mean over pixels would change the weight of the divergence with the picture's size.

    Attributes:
        kl: weight of the divergence; 1 is a variational autoencoder, the published ones use about 1e-6.
        power: 1 for absolute errors, 2 for squared ones.
        features: pictures -> feature maps, frozen, for a perceptual distance; None leaves it out.
        perceptual: weight of that distance.
        prepare: batch -> batch, applied first.

    Raises:
        ValueError: `power` is another number, or a weight is negative.
    """

    kl: float = 1e-6
    power: int = 1
    features: Callable[[Tensor], Sequence[Tensor]] | None = None
    perceptual: float = 1.0
    prepare: Callable[[Batch], Batch] = dict

    def __post_init__(self):
        if self.power not in (1, 2):
            raise ValueError(f"power must be 1 or 2; got {self.power!r}")
        for name in ("kl", "perceptual"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0; got {getattr(self, name)!r}")

    def terms(self, model: nn.Module, x: Tensor, eps: Tensor) -> dict[str, Tensor]:
        """Named terms of each sample, not reduced.

        Args:
            model: (x, eps) -> (reconstruction, mean, log-variance), as `Autoencoder`.
            x: [B,C,H,W].
            eps: noise like the latents.

        Returns:
            {"loss", "reconstruction", "kl"} and, with features, "perceptual": [B] each.
        """
        found, mean, log_var = (part.float() for part in model(x, eps))
        out = {
            "reconstruction": (found - x).abs().pow(self.power).flatten(1).sum(1),
            "kl": DiagonalGaussian(mean, log_var).kl(),
        }
        loss = out["reconstruction"] + self.kl * out["kl"]
        if self.features is not None:
            pairs = zip(self.features(found), self.features(x), strict=True)
            out["perceptual"] = sum(perceptual_distance(a, b) for a, b in pairs) * x[0].numel()
            loss = loss + self.perceptual * out["perceptual"]
        return {"loss": loss, **out}

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
        """Draws eps; returns the mean over the batch, divided by the numbers of a picture, and the terms' means."""
        x = self.prepare(batch)["x"]
        config = model.module.config if hasattr(model, "module") else model.config
        eps = torch.randn(len(x), config.latent, *(n // config.factor for n in x.shape[2:]), device=x.device)
        terms = {name: value.mean() / x[0].numel() for name, value in self.terms(model, x, eps).items()}
        return terms["loss"], {name: value.detach() for name, value in terms.items()}


def perceptual_distance(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of features, each place's scaled to length 1, a mean over places (Zhang et al., 2018, eq. 1).

    Without the learned weights of that paper.

    Args:
        a, b: [B,C,H,W].

    Returns:
        [B], from 0 to 4.

    >>> a = torch.tensor([[[[3.0]], [[0.0]]]])
    >>> perceptual_distance(a, -a)
    tensor([4.])
    """
    return (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).flatten(1).mean(1)
