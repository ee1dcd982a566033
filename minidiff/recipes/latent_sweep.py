"""What a latent space is good for: the weight of the divergence from none to much, on handwritten digits.

    python -m minidiff.recipes.latent_sweep

For each weight an autoencoder is trained and, on its latents, a small diffusion model with labels. Measured are the
distortion and the rate of the autoencoder, what noise on the latents does to a picture, and the digits that the
diffusion model draws through the decoder. Each weight's row is kept under build/recipes, so that an interrupted run
goes on where it stopped. Writes the results whose names begin with 06_kl.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import Tensor

from minidiff import data, pretrained
from minidiff.diffusion import Schedule, ddim, denoiser, final, generators, given, randn
from minidiff.metrics import features, frechet_distance, moments, psnr
from minidiff.models.autoencoder import Autoencoder, measure_scale
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import AutoencoderLoss, DiffusionLoss
from minidiff.recipes.mnist_autoencoder import CONFIG
from minidiff.recipes.mnist_ddpm import share_right
from minidiff.recipes.results import kept, record
from minidiff.recipes.shapes_autoencoder import fidelity, fit_autoencoder, rate, reconstructed
from minidiff.training import fit

WEIGHTS = (0.0, 1e-2, 1.0)
SEED, BATCH, IMAGES, PAINTED, N = 0, 32, 24_000, 40_000, 2000
UNET = UNetConfig(channels=CONFIG.latent, width=32, mults=(1, 2), blocks=1, head_dim=16, classes=10)
SCHEDULE, STEPS, NOISE = Schedule.linear(1000), 25, 0.3
WORK = Path("build/recipes/latents")


def latent_model(autoencoder: Autoencoder, images: int, seed: int = SEED) -> torch.nn.Module:
    """A diffusion model with labels of the autoencoder's scaled latents."""
    torch.manual_seed(seed)
    digits = data.load("mnist", "train")
    with torch.no_grad():
        z = torch.cat([autoencoder.latents(part) for part in digits["x"].split(500)])
    steps = max(2, images // BATCH)
    loader = data.Batches({"x": z, "y": digits["y"]}, BATCH, seed=seed, check=False)
    ema, _ = fit(
        UNet(UNET), DiffusionLoss(SCHEDULE, predict="v"), loader, steps, lr=2e-3, warmup=min(100, steps // 2),
        ema_decay=0.995, seed=seed, progress=False,
    )  # fmt: skip
    return ema.model


def paint(model: torch.nn.Module, autoencoder: Autoencoder, y: Tensor, seed: int = 3_000_000) -> Tensor:
    """One digit for each label [N], drawn in latents and decoded: [N,1,32,32], clamped to [-1,1]."""
    denoise, out = denoiser(model.eval(), SCHEDULE, "v"), []
    for i in range(0, len(y), 250):
        labels = y[i : i + 250]
        noise = randn((UNET.channels, 8, 8), generators(range(seed + i, seed + i + len(labels))))
        z = final(ddim(given(denoise, {"y": labels}), SCHEDULE, noise, STEPS))
        with torch.no_grad():
            out.append(autoencoder.pictures(z).clamp(-1, 1))
    return torch.cat(out)


@torch.no_grad()
def robustness(autoencoder: Autoencoder, x: Tensor, sigma: float = NOISE) -> float:
    """PSNR between reconstructions from scaled latents with noise of deviation `sigma` and without."""
    z = autoencoder.latents(x)
    eps = torch.randn(z.shape, generator=torch.Generator().manual_seed(SEED))
    return psnr(autoencoder.pictures(z + sigma * eps), autoencoder.pictures(z)).mean().item()


def row(weight: float, images: int = IMAGES, painted: int = PAINTED, n: int = N, work: Path = WORK) -> dict[str, float]:
    """One weight, trained and measured, or read back from `work` if that was done before."""
    return kept(work / f"kl_{weight:g}_{images}_{painted}_{n}.json", lambda: _row(weight, images, painted, n))


def _row(weight: float, images: int, painted: int, n: int) -> dict[str, float]:
    torch.manual_seed(SEED)
    train, test = data.load("mnist", "train"), data.load("mnist", "test")
    steps = max(2, images // BATCH)
    autoencoder = fit_autoencoder(
        Autoencoder(CONFIG), data.Batches({"x": train["x"]}, BATCH, seed=SEED), steps,
        AutoencoderLoss(kl=weight, power=2), warmup=min(100, steps // 2), seed=SEED, progress=False,
    ).ema.model  # fmt: skip
    scale, x = measure_scale(autoencoder, train["x"][:2000]), test["x"][:n]
    judge, y = pretrained.load("mnist-classifier").model, torch.arange(n) % 10
    drawn = paint(latent_model(autoencoder, painted), autoencoder, y)
    real = moments(features(judge.features, x))
    return {
        **fidelity(x, reconstructed(autoencoder, x)),
        "nats_a_picture": rate(autoencoder, x),
        "scale": scale,
        "psnr_under_noise": robustness(autoencoder, x[:500]),
        "frechet_distance_of_reconstructions": _distance(real, judge, reconstructed(autoencoder, x)),
        "frechet_distance_of_drawn_digits": _distance(real, judge, drawn),
        "drawn_as_asked": share_right(judge, drawn, y),
    }


def _distance(real, judge, x: Tensor) -> float:
    return frechet_distance(*real, *moments(features(judge.features, x)))


def report(rows: dict[float, dict[str, float]]) -> None:
    """Writes one result for each figure, with a number for each weight."""
    about = f"{IMAGES:,} digits for each autoencoder (squared errors), {PAINTED:,} for each latent diffusion model; "
    about += f"one seed; {N:,} test digits or drawn ones; distances in the bundled classifier's features"
    for figure in next(iter(rows.values())):
        record(
            f"06_kl_{figure}", {f"{weight:g}": found[figure] for weight, found in rows.items()}, seed=SEED,
            source="recipe latent_sweep", images=IMAGES, note=about,
        )  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.environ["MINIDIFF_RECORD"] = "1"
    report({weight: row(weight) for weight in WEIGHTS})


if __name__ == "__main__":
    main()
