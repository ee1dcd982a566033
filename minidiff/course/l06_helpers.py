"""What lesson 06 draws and trains beside the text: enlargers, damage, and the curves of the divergence's weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minidiff import data
from minidiff.course import plots
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import RegressionLoss
from minidiff.recipes import shapes_upscaler
from minidiff.training import fit

ENLARGER = UNetConfig(channels=1, low=1, width=32, mults=(1, 2), blocks=1, head_dim=16, patch=2)
FACTOR, BATCH = 4, 64


def enlarger(x: Tensor, steps: int, *, loss: str = "diffusion", top: int = shapes_upscaler.TOP, seed: int = 0):
    """Trains a network that enlarges digits four times, as a diffusion model or as a regression.

    Args:
        x: [N,1,32,32].
        steps: of training.
        loss: "diffusion" or "regression".
        top: highest level of noise on the small pictures in training; 0 leaves them clean.
        seed: of everything.
    """
    torch.manual_seed(seed)
    model = UNet(ENLARGER).to(memory_format=torch.channels_last)
    prepare = data.degrade(FACTOR, shapes_upscaler.SCHEDULE.q_sample, top)
    chosen = {"diffusion": shapes_upscaler.loss(FACTOR, top), "regression": RegressionLoss(prepare)}[loss]
    ema, _ = fit(
        model, chosen, data.Batches({"x": x}, BATCH, seed=seed), steps, lr=3e-3, warmup=min(50, steps), ema_decay=0.99,
        seed=seed, label=loss,
    )  # fmt: skip
    return ema.model


@torch.no_grad()
def regressed(model: nn.Module, low: Tensor) -> Tensor:
    """What a regression says of small pictures [N,C,h,w]: [N,C,4 h,4 w], in [-1,1]."""
    n, c, h, w = low.shape
    t = torch.zeros(n, dtype=torch.long, device=low.device)
    return model(low.new_zeros(n, c, FACTOR * h, FACTOR * w), t, low=low, low_t=t).clamp(-1, 1)


def damaged(low: Tensor, seed: int = 0, sigma: float = 0.15) -> Tensor:
    """Small pictures as a model that is not perfect might draw them: a little blurred, a little noisy.

    Args:
        low: [N,C,h,w]. seed: of the noise. sigma: its standard deviation.
    """
    blurred = 0.6 * low + 0.4 * F.avg_pool2d(F.pad(low, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noise = torch.randn(low.shape, generator=torch.Generator().manual_seed(seed)).to(low.device)
    return (blurred + sigma * noise).clamp(-1, 1)


def trade(found: Mapping[str, Mapping[str, float]]) -> None:
    """Draw the weight of the divergence against distortion, against noise on latents, and against drawn digits.

    Args:
        found: figure -> weight -> value, as `recorded("06_kl_", ...)` gives it.
    """
    import matplotlib.pyplot as plt

    weights = list(found["psnr"])
    at = range(len(weights))
    _, axes = plt.subplots(1, 3, figsize=(9.2, 2.9))
    rate, distortion = found["nats_a_picture"], found["psnr"]
    axes[0].plot([rate[w] for w in weights], [distortion[w] for w in weights], "o-", color=plots.MODEL)
    for w in weights:
        axes[0].annotate(w, (rate[w], distortion[w]), xytext=(4, -11), textcoords="offset points", fontsize=9)
    axes[0].set(xscale="log", xlabel="rate, nats a picture", ylabel="PSNR, dB", title="what the latents keep")
    axes[0].set_xticks([rate[w] for w in weights], [f"{rate[w]:.0f}" for w in weights])
    axes[0].minorticks_off()
    axes[1].plot(at, [found["psnr_under_noise"][w] for w in weights], "o-", color=plots.NOISE)
    axes[1].set(ylabel="PSNR, dB", title="noise 0.3 on the latents")
    for key, label, colour in (("drawn_digits", "drawn", plots.GENERATED), ("reconstructions", "decoded", plots.REAL)):
        values = found[f"frechet_distance_of_{key}"]
        axes[2].plot(at, [values[w] for w in weights], "o-", color=colour, label=label)
    axes[2].set(ylabel="Frechet distance", title="digits drawn in latents", yscale="log")
    axes[2].legend()
    for ax in axes[1:]:
        ax.set_xticks(at, weights)
        ax.set_xlabel("weight of the divergence")
