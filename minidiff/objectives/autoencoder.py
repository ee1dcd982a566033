"""The loss of a KL autoencoder: say the picture again, and keep the latents near N(0, I) (Kingma & Welling, 2014)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.posterior import DiagonalGaussian
from .gan import frozen, hinge_critic, non_saturating

Batch = dict[str, Tensor]


@dataclass
class AutoencoderLoss:
    """Reconstruction, divergence and perceptual distance of `model(x, eps)`, each summed over a sample's numbers.

    Sums, not means: a mean over pixels would change the weight of the divergence with the picture's size.

    Attributes:
        kl: weight of the divergence; 1 is a variational autoencoder, the published ones use about 1e-6.
        power: 1 for absolute errors, 2 for squared ones.
        coarse: weight of the same errors of both pictures at half their height and width, each square of four pixels
            one. Where an edge lies exactly is what the mean of its pixels says; single pixels may err the other way.
        off: the decoder hears latents that are off by noise of up to this deviation, in the units of
            `Autoencoder.latents`, as those of a generation model are (Zheng et al., 2025). Each sample has
            a deviation of its own, off u^2 for a uniform u: half of them lie below a quarter of `off`.
        features: pictures -> feature maps, frozen, for a perceptual distance; None leaves it out.
        perceptual: weight of that distance.
        critic: pictures -> logits [B,...], held unwrapped, for an adversarial term: a reconstruction should look real.
            It is trained by a turn of its own, with `PatchCriticLoss`; None leaves it out.
        adversarial: weight of that term.
        prepare: batch -> batch, applied first.

    Raises:
        ValueError: `power` is another number, or a weight is negative.
    """

    kl: float = 1e-6
    power: int = 1
    coarse: float = 0.0
    off: float = 0.0
    features: Callable[[Tensor], Sequence[Tensor]] | None = None
    perceptual: float = 1.0
    critic: nn.Module | None = None
    adversarial: float = 0.1
    prepare: Callable[[Batch], Batch] = dict

    def __post_init__(self):
        if self.power not in (1, 2):
            raise ValueError(f"power must be 1 or 2; got {self.power!r}")
        for name in ("kl", "coarse", "off", "perceptual", "adversarial"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0; got {getattr(self, name)!r}")

    def terms(self, model: nn.Module, x: Tensor, eps: Tensor, off: Tensor | None = None) -> dict[str, Tensor]:
        """Named terms of each sample, not reduced.

        Args:
            model: (x, eps) -> (reconstruction, mean, log-variance), as `Autoencoder`.
            x: [B,C,H,W].
            eps: noise like the latents.
            off: what is added to the latents that are decoded; a third argument of the model.

        Returns:
            {"loss", "reconstruction", "kl"} and, where they are asked for, "coarse", "perceptual" and "adversarial":
            [B] each.
        """
        found, mean, log_var = (part.float() for part in (model(x, eps) if off is None else model(x, eps, off)))
        out = {
            "reconstruction": self._errors(found, x),
            "kl": DiagonalGaussian(mean, log_var).kl(),
        }
        self._add_looks(out, found, x)
        return {"loss": sum(getattr(self, name, 1.0) * value for name, value in out.items()), **out}

    def _errors(self, found: Tensor, x: Tensor) -> Tensor:
        return (found - x).abs().pow(self.power).flatten(1).sum(1)

    def _add_looks(self, out: dict[str, Tensor], found: Tensor, x: Tensor) -> None:
        if self.coarse:
            out["coarse"] = 4 * self._errors(F.avg_pool2d(found, 2), F.avg_pool2d(x, 2))
        if self.features is not None:
            pairs = zip(self.features(found), self.features(x), strict=True)
            out["perceptual"] = sum(perceptual_distance(a, b) for a, b in pairs) * x[0].numel()
        if self.critic is not None:
            with frozen(self.critic):
                logits = self.critic(found).float()
            out["adversarial"] = non_saturating(logits).flatten(1).mean(1) * x[0].numel()

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
        """Draws eps; returns the mean over the batch, divided by the numbers of a picture, and the terms' means."""
        x = self.prepare(batch)["x"]
        eps = _noise(model, x)
        off = self.off * torch.rand(len(x), 1, 1, 1, device=x.device) ** 2 * torch.randn_like(eps) if self.off else None
        terms = {name: value.mean() / x[0].numel() for name, value in self.terms(model, x, eps, off).items()}
        return terms["loss"], {name: value.detach() for name, value in terms.items()}


def _noise(model: nn.Module, x: Tensor) -> Tensor:
    config = model.module.config if hasattr(model, "module") else model.config
    return torch.randn(len(x), config.latent, *(n // config.factor for n in x.shape[2:]), device=x.device)


@dataclass
class PatchCriticLoss:
    """What a critic of patches minimises: tell pictures from their reconstructions (Esser et al., 2021).

    Reconstructions of noisy latents, as the autoencoder's own loss makes them: both players see the same kind.

    Attributes:
        autoencoder: (x, eps) -> (reconstruction, ...), as `Autoencoder`; held unwrapped.
        prepare: batch -> batch, applied first.
    """

    autoencoder: nn.Module
    prepare: Callable[[Batch], Batch] = dict

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
        """Returns the mean hinge loss, a scalar, and the detached means "critic", "real" and "fake"."""
        x = self.prepare(batch)["x"]
        with torch.no_grad(), frozen(self.autoencoder):
            found = self.autoencoder(x, _noise(self.autoencoder, x))[0]
        real, fake = model(torch.cat([x, found.to(x.dtype)])).float().chunk(2)
        loss = hinge_critic(real, fake).mean()
        return loss, {"critic": loss.detach(), "real": real.detach().mean(), "fake": fake.detach().mean()}


@dataclass
class VQLoss:
    """Reconstruction and the two pulls between latents and list of a vector-quantised autoencoder.

    van den Oord et al. (2017), equation 3; all three are means here.

    Attributes:
        beta: weight of the commitment.
        power: 1 for absolute errors, 2 for squared ones.
        prepare: batch -> batch, applied first.

    Raises:
        ValueError: `power` is another number, or `beta` is negative.
    """

    beta: float = 0.25
    power: int = 1
    prepare: Callable[[Batch], Batch] = dict

    def __post_init__(self):
        if self.power not in (1, 2):
            raise ValueError(f"power must be 1 or 2; got {self.power!r}")
        if self.beta < 0:
            raise ValueError(f"beta must be at least 0; got {self.beta!r}")

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
        """Returns the mean loss, a scalar, and the detached means of its terms."""
        x = self.prepare(batch)["x"]
        out, found = model(x)
        terms = {
            "reconstruction": (out.float() - x).abs().pow(self.power).mean(),
            "codebook": found.codebook.float().mean(),
            "commitment": found.commitment.float().mean(),
        }
        loss = terms["reconstruction"] + terms["codebook"] + self.beta * terms["commitment"]
        return loss, {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}


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
