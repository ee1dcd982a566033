"""Two short comparisons on digits: terms of an autoencoder's loss, and factors of enlarging.

    python -m minidiff.recipes.decoder_terms

Each row is one training on one thread, with the same images, and is kept under build/recipes. Writes the results whose
names begin with 06_terms and 06_factors.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import Tensor

from minidiff import data, pretrained
from minidiff.metrics import features, frechet_distance, moments
from minidiff.models.autoencoder import Autoencoder
from minidiff.models.patch_critic import PatchCritic, PatchCriticConfig
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import AutoencoderLoss, PatchCriticLoss, RegressionLoss
from minidiff.recipes import shapes_upscaler
from minidiff.recipes.mnist_autoencoder import CONFIG, KL
from minidiff.recipes.mnist_ddpm import share_right
from minidiff.recipes.results import kept, record, slug
from minidiff.recipes.shapes_autoencoder import EMA_DECAY, LR, fidelity, maps, reconstructed
from minidiff.training import EMA, Turn, fit, run, warmup_cosine

SEED, BATCH, IMAGES, N, GREY = 0, 64, 32_000, 2000, 0.8
TERMS = ("absolute errors", "with features", "with a critic")
FACTORS = (2, 4)
WORK = Path("build/recipes/decoder_terms")


def autoencoder(term: str, images: int) -> Autoencoder:
    """An autoencoder of digits, trained with one of `TERMS`: a distance in features, or a second turn for a critic."""
    torch.manual_seed(SEED)
    steps, model = max(2, images // BATCH), Autoencoder(CONFIG).to(memory_format=torch.channels_last)
    critic = PatchCritic(PatchCriticConfig(channels=1)) if term == "with a critic" else None
    seen = maps(pretrained.load("mnist-classifier").model) if term == "with features" else None
    ema, loss = EMA(model, EMA_DECAY), AutoencoderLoss(kl=KL, features=seen, critic=critic)

    def turn(player, loss, rate: float, average: EMA | None = None) -> Turn:
        optimizer = torch.optim.AdamW(player.parameters(), lr=rate, betas=(0.9, 0.99))
        warmup = min(100, steps // 2)
        return Turn(player, loss, optimizer, lr=lambda step: warmup_cosine(step, steps, warmup), ema=average)

    turns = [turn(model, loss, LR, ema)] + ([turn(critic, PatchCriticLoss(model), LR / 2)] if critic else [])
    loader = data.Batches({"x": data.load("mnist", "train")["x"]}, BATCH, seed=SEED)
    run(turns, loader, steps, seed=SEED, precision="no", progress=False)
    return ema.model


def enlarged(factor: int, loss: str, images: int, x: Tensor) -> Tensor:
    """Digits x [N,1,32,32] made small and large again by a network that is trained first.

    Args:
        factor: 2 or 4.
        loss: "regression" or "diffusion".
        images: seen in training.
        x: test digits.
    """
    torch.manual_seed(SEED)
    model = UNet(UNetConfig(channels=1, low=1, width=32, mults=(1, 2), blocks=1, head_dim=16, patch=2))
    prepare = data.degrade(factor, shapes_upscaler.SCHEDULE.q_sample, shapes_upscaler.TOP)
    chosen = RegressionLoss(prepare) if loss == "regression" else shapes_upscaler.loss(factor)
    loader, steps = data.Batches({"x": data.load("mnist", "train")["x"]}, BATCH, seed=SEED), max(2, images // BATCH)
    model = fit(
        model.to(memory_format=torch.channels_last), chosen, loader, steps, lr=3e-3, warmup=min(50, steps // 2),
        ema_decay=0.99, seed=SEED, progress=False,
    ).ema.model  # fmt: skip
    low = data.downsample(x, factor)
    if loss == "diffusion":
        return shapes_upscaler.upscale(model, low, factor)
    t = torch.zeros(len(x), dtype=torch.long)
    with torch.no_grad():
        return model(torch.zeros_like(x), t, low=low, low_t=t).clamp(-1, 1)


def measure(x: Tensor, y: Tensor, found: Tensor, others: Tensor) -> dict[str, float]:
    """PSNR, share read right, Frechet distance from other true digits, share of pixels neither black nor white."""
    judge = pretrained.load("mnist-classifier").model
    real, drawn = (moments(features(judge.features, part)) for part in (others, found))
    return {
        "psnr": fidelity(x, found)["psnr"], "read_right": share_right(judge, found, y),
        "frechet_distance": frechet_distance(*real, *drawn),
        "grey_pixels": (found.abs() < GREY).double().mean().item(),
    }  # fmt: skip


def rows(images: int = IMAGES, n: int = N, work: Path = WORK) -> dict[str, dict[str, dict[str, float]]]:
    """{"terms": row -> figures, "factors": row -> figures}, trained and measured or read back from `work`."""
    test = data.load("mnist", "test")
    x, y, others = test["x"][:n], test["y"][:n], test["x"][-n:]
    jobs = {"terms": {t: lambda t=t: reconstructed(autoencoder(t, images), x) for t in TERMS}, "factors": {}}
    for factor in FACTORS:
        for loss in ("regression", "diffusion"):
            jobs["factors"][f"{loss} x {factor}"] = lambda k=factor, loss=loss: enlarged(k, loss, images, x)
    found = {
        kind: {
            name: kept(work / f"{slug(name)}_{images}_{n}.json", lambda make=make: measure(x, y, make(), others))
            for name, make in some.items()
        }
        for kind, some in jobs.items()
    }
    for some in found.values():
        some["true digits"] = {k: v for k, v in measure(x, y, x, others).items() if k != "psnr"}
    return found


def report(found: dict[str, dict[str, dict[str, float]]], images: int = IMAGES, n: int = N) -> None:
    """Writes one result for each figure, with a number for each row."""
    note = f"{images:,} digits for each training, one seed; {n:,} test digits; distance from other test digits in the "
    note += f"bundled classifier's features; grey: between -{GREY} and {GREY}"
    for kind, some in found.items():
        for figure in next(iter(some.values())):
            record(
                f"06_{kind}_{figure}", {name: row[figure] for name, row in some.items() if figure in row}, seed=SEED,
                source="recipe decoder_terms", images=images, note=note,
            )  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    os.environ["MINIDIFF_RECORD"] = "1"
    report(rows())


if __name__ == "__main__":
    main()
