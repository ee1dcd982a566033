"""The digit classifier that judges lesson 03: trained apart on real digits, frozen before anything is tuned.

    python -m minidiff.recipes.mnist_classifier
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from minidiff import data, pretrained
from minidiff.models.classifier import Classifier, ClassifierConfig
from minidiff.objectives import ClassifierLoss
from minidiff.recipes.command import command
from minidiff.recipes.provenance import is_main, provenance
from minidiff.training import fit

NAME, SEED, BATCH, IMAGES, VALIDATION = "mnist-classifier", 0, 128, 400_000, 5_000


def jitter(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Turns by up to 12 degrees, scales by up to 12 %, shifts by up to 2 of 32 pixels; new draws for each picture."""
    x = batch["x"]
    u = 2 * torch.rand(4, len(x), device=x.device) - 1  # [4, B] in [-1, 1]
    angle, zoom, shift = 0.21 * u[0], 1 + 0.12 * u[1], 0.125 * u[2:]
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    affine = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], dim=1).view(-1, 2, 3)  # [B, 2, 3]
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)
    ink = F.grid_sample(x + 1, grid, align_corners=False)  # outside the picture is paper, 0 ink
    return {**batch, "x": ink - 1}


@torch.no_grad()
def accuracy(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """Share of a set that the classifier gets right."""
    hits = [(model(x).argmax(1) == y).sum() for x, y in zip(batch["x"].split(500), batch["y"].split(500), strict=True)]
    return float(sum(hits)) / len(batch["y"])


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False
) -> pretrained.Pretrained | None:
    """Trains, measures on the test digits, writes weights and card to `out`; None from all processes but the first."""
    whole = data.load("mnist", "train")
    fitting = {k: v[:-VALIDATION] for k, v in whole.items()}
    validation = {k: v[-VALIDATION:] for k, v in whole.items()}
    torch.manual_seed(SEED)
    model = Classifier(ClassifierConfig())
    ema, history = fit(
        model, ClassifierLoss(prepare=jitter), data.Batches(fitting, BATCH, seed=SEED), images // BATCH,
        lr=3e-3, weight_decay=0.01, ema_decay=0.995, seed=SEED, checkpoint=work / f"{NAME}.ckpt", resume=resume,
        label=NAME,
    )  # fmt: skip
    if not is_main():
        return None
    frozen = ema.model.cpu()
    card = {
        "recipe": "minidiff.recipes.mnist_classifier",
        "data": f"MNIST, first {len(fitting['y']):,} training digits, padded to 32x32",
        "seed": SEED,
        "batch": BATCH,
        "images_seen": images // BATCH * BATCH,
        "training_seconds": round(history.seconds),
        **provenance(),
        "metrics": {
            "validation_accuracy": accuracy(frozen, validation),
            "test_accuracy": accuracy(frozen, data.load("mnist", "test")),
        },
    }
    return pretrained.save(NAME, frozen, card, folder=out)


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
