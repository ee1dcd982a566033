"""The classifier of the caption world, whose features distances are measured in: every attribute of a scene at once.

    python -m minidiff.recipes.shapes_classifier
"""

from __future__ import annotations

from pathlib import Path

import torch

from minidiff import pretrained
from minidiff.data.shapes import ATTRIBUTES, ShapeBatches, attributes, captioned
from minidiff.models.classifier import Classifier, ClassifierConfig
from minidiff.objectives import AttributesLoss
from minidiff.recipes.command import command
from minidiff.recipes.provenance import is_main, provenance
from minidiff.training import fit

NAME, SEED, SIZE, BATCH, IMAGES = "shapes-classifier", 0, 32, 128, 640_000
CONFIG = ClassifierConfig(channels=3, classes=len(ATTRIBUTES), grid=4, dropout=0.0)


def soften(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Adds noise of a standard deviation between 0 and 0.1, another for each picture: samples are never quite clean."""
    sigma = 0.1 * torch.rand(len(batch["x"]), 1, 1, 1, device=batch["x"].device)
    return {**batch, "x": batch["x"] + sigma * torch.randn_like(batch["x"])}


@torch.no_grad()
def unit_variance(model: Classifier, x: torch.Tensor) -> Classifier:
    """Divides the features by one number, so that their variance over `x` is 1 on average, and changes no logit.

    A trained classifier's features may be of any size, since its head makes up for it; distances between them, and
    kernels of them most of all, would be too.
    """
    found = torch.cat([model.features(part) for part in x.split(500)])
    scale = found.var(dim=0).mean().sqrt()
    model.project.weight /= scale  # the ReLU behind it lets positive factors through
    model.project.bias /= scale
    model.head.weight *= scale
    return model


@torch.no_grad()
def accuracy(model: torch.nn.Module, split: str, objects: int, n: int = 2000, style: str = "plain") -> float:
    """Share of pictures of which every attribute is right, those that are not there included."""
    found = captioned(n, split, size=SIZE, objects=objects, seed=SEED + 7, style=style)
    said = torch.cat([model(x) for x in found.x.split(500)]) > 0
    return (said == (attributes(found.scenes) > 0.5)).all(dim=1).double().mean().item()


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False
) -> pretrained.Pretrained | None:
    """Trains, measures, writes weights and card to `out`; None from all processes but the first."""
    torch.manual_seed(SEED)
    ema, history = fit(
        Classifier(CONFIG), AttributesLoss(prepare=soften), ShapeBatches(SIZE, BATCH, seed=SEED), images // BATCH,
        lr=3e-3, weight_decay=0.01, ema_decay=0.998, seed=SEED, checkpoint=work / f"{NAME}.ckpt", resume=resume,
        label=NAME,
    )  # fmt: skip
    if not is_main():
        return None
    card = {
        "recipe": "minidiff.recipes.shapes_classifier",
        "data": f"caption world, training scenes of one and two objects, plain style, {SIZE}x{SIZE}",
        "seed": SEED,
        "batch": BATCH,
        "images_seen": images // BATCH * BATCH,
        "training_seconds": round(history.seconds),
        **provenance(),
    }
    model = unit_variance(ema.model.cpu().eval(), captioned(2000, "validation", size=SIZE, seed=SEED + 5).x)
    shipped = pretrained.save(NAME, model, card, folder=out).model  # measured as shipped, in float16
    metrics = {
        f"{split}_accuracy_{objects}": accuracy(shipped, split, objects)
        for split in ("validation", "unseen", "held_out")
        for objects in (1, 2)
    }
    return pretrained.save(NAME, shipped, {**card, "metrics": metrics}, folder=out)


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
