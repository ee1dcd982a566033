"""The class-conditional diffusion model of lesson 03, trained longer than a lesson allows.

    python -m minidiff.recipes.mnist_ddpm            or, with several GPUs,
    accelerate launch -m minidiff.recipes.mnist_ddpm
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from minidiff import data, pretrained
from minidiff.diffusion import (
    Schedule,
    classifier_free,
    clipped,
    ddim,
    denoiser,
    final,
    generators,
    given,
    randn,
)  # fmt: skip
from minidiff.metrics import features, frechet_distance, moments, precision_recall
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import DiffusionLoss
from minidiff.recipes.command import command
from minidiff.recipes.provenance import is_main, provenance, ship
from minidiff.training import fit

NAME, SEED, BATCH, IMAGES = "mnist-ddpm", 0, 128, 1_280_000
CONFIG = UNetConfig(channels=1, width=28, mults=(1, 2, 4), blocks=1, head_dim=16, patch=2, classes=10)
SCHEDULE = Schedule.linear(1000)
LR, DROP = 3e-3, 0.1
STEPS, SCALE, UNGUIDED_STEPS, SEEDS = 25, 2.0, 50, 1_000_000  # fixed before the test run


def sample(
    model: nn.Module, y: Tensor, *, steps: int = STEPS, scale: float = SCALE, seed: int = 0, batch: int = 250
) -> Tensor:
    """Draws one 32x32 digit for each label with DDIM and classifier-free guidance.

    Args:
        model: a U-Net with `classes=10`.
        y: [N] int64 labels.
        steps: DDIM steps.
        scale: guidance; 1 is none.
        seed: picture i has seed `seed + i`, whatever the batch.
        batch: pictures at once.

    Returns:
        [N, 1, 32, 32] in [-1, 1], on the model's device.
    """
    device = next(model.parameters()).device
    denoise = denoiser(model.eval(), SCHEDULE)
    out = []
    for i in range(0, len(y), batch):
        labels = y[i : i + batch].to(device)
        cond, null = {"y": labels}, {"y": torch.tensor(10, device=device)}
        guided = given(denoise, cond) if scale == 1 else classifier_free(denoise, cond, null, scale)
        noise = randn((1, 32, 32), generators(range(seed + i, seed + i + len(labels)))).to(device)
        out.append(final(ddim(clipped(guided, SCHEDULE), SCHEDULE, noise, steps)))
    return torch.cat(out)


@torch.no_grad()
def share_right(classifier: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of pictures that the classifier reads as the label they were asked for."""
    guess = torch.cat([classifier(part).argmax(1) for part in x.split(500)])
    return (guess == y.to(guess.device)).float().mean().item()


def evaluate(model: nn.Module, n: int = 10_000) -> dict:
    """Draws `n` balanced samples guided and unguided, and compares them with `n` real test digits.

    Returns:
        For each set of samples the share of asked classes, and precision, recall and the Frechet distance in the
        bundled classifier's features; "real" holds the same figures for `n` training digits, what a perfect model
        would reach.
    """
    device = next(model.parameters()).device
    classifier = pretrained.load("mnist-classifier", device=device).model
    reference = features(classifier.features, data.load("mnist", "test", device=device)["x"][:n])
    y = torch.arange(n) % 10
    sets = {
        "real": data.load("mnist", "train", device=device)["x"][:n],
        "guided": sample(model, y, seed=SEEDS),
        "unguided": sample(model, y, scale=1, steps=UNGUIDED_STEPS, seed=SEEDS),
    }
    result = {"n": n, "scale": SCALE, "guided_steps": STEPS, "unguided_steps": UNGUIDED_STEPS}
    for name, x in sets.items():
        f = features(classifier.features, x)
        precision, recall = precision_recall(reference, f, k=3)
        distance = frechet_distance(*moments(reference), *moments(f))
        result[name] = {"precision": precision, "recall": recall, "frechet_distance_in_classifier_features": distance}
        if name != "real":
            result[name]["share_of_asked_class"] = share_right(classifier, x, y)
            result[name]["recall_over_real_recall"] = recall / result["real"]["recall"]
    return result


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False, n: int = 10_000
) -> pretrained.Pretrained | None:
    """Trains, measures on `n` samples, and writes weights and card to `out`; None from all processes but the first."""
    torch.manual_seed(SEED)
    model = UNet(CONFIG).to(memory_format=torch.channels_last)
    loader = data.Batches(data.load("mnist", "train"), BATCH, seed=SEED)
    loss = DiffusionLoss(SCHEDULE, prepare=data.drop_condition({"y": torch.tensor(10)}, DROP))
    steps = images // BATCH
    ema, history = fit(
        model, loss, loader, steps, lr=LR, warmup=200, ema_decay=0.9995, seed=SEED, label=NAME,
        checkpoint=work / f"{NAME}.ckpt", resume=resume,
    )  # fmt: skip
    if not is_main():
        return None
    card = {
        "recipe": "minidiff.recipes.mnist_ddpm",
        "data": "MNIST, 60,000 training digits, padded to 32x32",
        "diffusion": {"schedule": "linear", "T": SCHEDULE.T, "predict": "eps", "null_class": 10, "dropped": DROP},
        "seed": SEED,
        "batch": BATCH,
        "images_seen": steps * BATCH,
        "training_seconds": round(history.seconds),
        "training_loss": sum(history["loss"][-500:]) / len(history["loss"][-500:]),
        **provenance(),
    }
    return ship(NAME, ema.model, card, out, lambda shipped: evaluate(shipped, n))


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
