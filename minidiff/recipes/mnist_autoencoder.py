"""The autoencoder of handwritten digits: pictures of 32x32 to latents of 8x8x2 and back. It never sees a label.

    python -m minidiff.recipes.mnist_autoencoder
"""

from __future__ import annotations

from pathlib import Path

import torch

from minidiff import data, pretrained
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig, measure_scale
from minidiff.objectives import AutoencoderLoss
from minidiff.recipes.command import command
from minidiff.recipes.mnist_ddpm import share_right
from minidiff.recipes.provenance import is_main, provenance, ship
from minidiff.recipes.shapes_autoencoder import fidelity, fit_autoencoder, rate, reconstructed

NAME, SEED, BATCH, IMAGES = "mnist-autoencoder", 0, 32, 120_000
CONFIG = AutoencoderConfig(channels=1, latent=2, width=32, mults=(1, 2), patch=2)
KL = 1e-2


def evaluate(model: Autoencoder, n: int = 10_000) -> dict[str, float]:
    """PSNR of `n` test digits after the bottleneck, and how many the bundled classifier still reads right."""
    known = data.load("mnist", "test")
    x, y = known["x"][:n], known["y"][:n]
    found, judge = reconstructed(model, x), pretrained.load("mnist-classifier").model
    return {
        "n": len(x), **fidelity(x, found), "read_before": share_right(judge, x, y),
        "read_after": share_right(judge, found, y), "nats_a_picture": rate(model, x),
    }  # fmt: skip


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False, n: int = 10_000
) -> pretrained.Pretrained | None:
    """Trains, measures the scale, writes weights and card to `out`; None from all processes but the first.

    Args:
        out: folder of the checkpoint.
        images: seen in training.
        work: folder of what an interrupted run goes on from, with `resume`.
        n: pictures of the measurement.
    """
    torch.manual_seed(SEED)
    steps, digits = images // BATCH, data.load("mnist", "train")
    ema, history = fit_autoencoder(
        Autoencoder(CONFIG), data.Batches({"x": digits["x"]}, BATCH, seed=SEED), steps, AutoencoderLoss(kl=KL),
        warmup=min(200, steps // 2), seed=SEED, checkpoint=work / f"{NAME}.ckpt", resume=resume, label=NAME,
    )  # fmt: skip
    if not is_main():
        return None
    model = ema.model.cpu().eval()
    card = {
        "recipe": "minidiff.recipes.mnist_autoencoder",
        "data": "MNIST, 60,000 training digits, padded to 32x32; no labels",
        "seed": SEED,
        "batch": BATCH,
        "images_seen": steps * BATCH,
        "training_seconds": round(history.seconds),
        "kl": KL,
        "scale": measure_scale(model, digits["x"][:2000]),
        **provenance(),
    }
    return ship(NAME, model, card, out, lambda shipped: evaluate(shipped, n))


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
