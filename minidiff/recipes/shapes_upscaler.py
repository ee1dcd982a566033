"""The super-resolution decoder of the caption world: pictures of 16x16 to 64x64. It never sees a caption.

    python -m minidiff.recipes.shapes_upscaler

A diffusion model of large pictures, with the small one as its condition; noise is added to the small ones in training,
so that it can follow a model that draws small pictures less than perfectly. Three trainings, one after the other:
in the first, clean small pictures are as rare as any other level; in the others, half of them are clean; and in the
last, errors of coarse pictures are weighed as well, for where an edge lies is what they tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from minidiff import data, pretrained
from minidiff.data.shapes import ShapeBatches, captioned
from minidiff.diffusion import Schedule, clipped, consistent, ddim, denoiser, final, generators, given, randn
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import DiffusionLoss
from minidiff.recipes.command import command
from minidiff.recipes.provenance import is_main, provenance, ship
from minidiff.recipes.shapes_autoencoder import attributes_kept, fidelity
from minidiff.training import Fitted, fit

NAME, SEED, SIZE, FACTOR, BATCH, IMAGES = "shapes-upscaler", 0, 64, 4, 16, 200_000
CONFIG = UNetConfig(channels=3, low=3, width=64, mults=(1, 2), blocks=1, head_dim=16, patch=4)
SCHEDULE, PREDICT = Schedule.linear(1000), "v"
TOP = 100  # the highest level of noise on the small pictures in training
LR, EMA_DECAY, STEPS = 3e-3, 0.998, 10
CLEAN, CLEAN_LR = 0.5, 1.5e-3
CLEAN_IMAGES = ((100_000, 0.0), (320_000, 8.0))  # of each training after the first: seen, `DiffusionLoss.coarse`
TEST_SEED, NOISE_SEED = 41, 2_000_000


def loss(factor: int = FACTOR, top: int = TOP, clean: float = 0.0, coarse: float = 0.0) -> DiffusionLoss:
    """Of a model of "x" that sees what is left of it at a lower resolution.

    Args:
        factor, top, clean: as for `minidiff.data.degrade`.
        coarse: as for `DiffusionLoss`.
    """
    small = data.degrade(factor, SCHEDULE.q_sample, top, clean)
    return DiffusionLoss(SCHEDULE, predict=PREDICT, prepare=data.compose(data.only("x"), small), coarse=coarse)


def upscale(
    model: nn.Module, low: Tensor, factor: int = FACTOR, *, level: int = 0, steps: int = STEPS, seed: int = 0,
    batch: int = 50, faithful: bool = False,
) -> Tensor:  # fmt: skip
    """Draws one large picture for each small one with DDIM.

    Args:
        model: a U-Net with `low`, trained with `loss`.
        low: [N,C,h,w] in [-1,1].
        factor: heights and widths of the result over those of `low`.
        level: of the noise that is added to `low` first, 0 to the training's `top`.
        steps: DDIM steps.
        seed: picture i has seed `seed + i`, whatever the batch.
        batch: pictures at once.
        faithful: take `low` at its word: at every step the squares of x0 get its pixels as their means, as `consistent`
            does. Only for small pictures that can be trusted, at level 0.

    Returns:
        [N,C,h factor,w factor] in [-1,1], on the CPU.

    Raises:
        ValueError: `faithful` at another level than 0.
    """
    if faithful and level:
        raise ValueError(f"level must be 0 where faithful is asked for; got {level}")
    device = next(model.parameters()).device
    denoise, out = denoiser(model.eval(), SCHEDULE, PREDICT), []
    for i in range(0, len(low), batch):
        small = low[i : i + batch].to(device)
        draws = generators(range(seed + i, seed + i + len(small)))
        noise = randn((small.shape[1], *(n * factor for n in small.shape[2:])), draws).to(device)
        extra = randn(tuple(small.shape[1:]), draws).to(device)
        t = torch.full((len(small),), level, device=device)
        cond = {"low": SCHEDULE.q_sample(small, t, extra), "low_t": t}
        sure = clipped(given(denoise, cond), SCHEDULE)
        sure = consistent(sure, SCHEDULE, small) if faithful else sure
        out.append(final(ddim(sure, SCHEDULE, noise, steps)).clamp(-1, 1).cpu())
    return torch.cat(out)


def evaluate(model: nn.Module, split: str = "unseen", n: int = 2000) -> dict[str, float]:
    """PSNR and attributes of a split's pictures, drawn again from their true small versions."""
    known = captioned(n, split, size=SIZE, seed=TEST_SEED)
    found = upscale(model, data.downsample(known.x, FACTOR), seed=NOISE_SEED, faithful=True)
    return {"n": n, "steps": STEPS, **fidelity(known.x, found), **attributes_kept(known.scenes, known.x, found)}


def refine(
    model: nn.Module, images: int, coarse: float, work: Path = Path("build/recipes"), resume: bool = False
) -> Fitted:
    """Trains on, with half of the small pictures clean.

    Args:
        model: trained before; changed in place.
        images: seen.
        coarse: as for `DiffusionLoss`.
        work: folder of what an interrupted run goes on from, with `resume`.
        resume: whether to.
    """
    model.train().requires_grad_(True)
    seed, label = SEED + 1 + bool(coarse), f"{NAME}-clean" + (f"-{coarse:g}" if coarse else "")
    return _fitted(model, images, loss(clean=CLEAN, coarse=coarse), CLEAN_LR, seed, work / f"{label}.ckpt", resume)


def _fitted(model, images: int, objective, lr: float, seed: int, checkpoint: Path, resume: bool) -> Fitted:
    steps = images // BATCH
    return fit(
        model.to(memory_format=torch.channels_last), objective, ShapeBatches(SIZE, BATCH, seed=seed), steps, lr=lr,
        warmup=min(200, steps // 2), ema_decay=EMA_DECAY, seed=seed, checkpoint=checkpoint, resume=resume,
        label=checkpoint.stem,
    )  # fmt: skip


def finish(
    model: nn.Module, card: dict, out: Path, clean: Sequence[tuple[int, float]], work: Path, resume: bool,
    n: int = 2000,
) -> pretrained.Pretrained | None:  # fmt: skip
    """Trains on, measures, writes weights and card to `out`; None from all processes but the first.

    Args:
        model: of the trainings that `card` tells of.
        card: what is known about them.
        out: folder of the checkpoint.
        clean: images seen, and `coarse`, of each training to come.
        work, resume: as for `refine`.
        n: pictures of the measurement.
    """
    told = list(card.get("clean", ()))
    for images, coarse in clean:
        before = evaluate(model, n=n) if is_main() else {}
        ema, history = refine(model, images, coarse, work, resume)
        model = ema.model
        told.append({
            "share": CLEAN, "images_seen": images // BATCH * BATCH, "coarse": coarse, "lr": CLEAN_LR,
            "training_seconds": round(history.seconds), "metrics_before": before,
        })  # fmt: skip
    if not is_main():
        return None
    return ship(NAME, model, {**card, "clean": told, **provenance()}, out, lambda shipped: evaluate(shipped, n=n))


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False, n: int = 2000
) -> pretrained.Pretrained | None:
    """Trains three times, measures, writes weights and card to `out`; None from all processes but the first.

    Args:
        out: folder of the checkpoint.
        images: seen in the first training; the others see the same share of their own budgets.
        work: folder of what an interrupted run goes on from, with `resume`.
        resume: whether to.
        n: pictures of the measurement.
    """
    torch.manual_seed(SEED)
    steps = images // BATCH
    ema, history = _fitted(UNet(CONFIG), images, loss(), LR, SEED, work / f"{NAME}.ckpt", resume)
    card = {
        "recipe": "minidiff.recipes.shapes_upscaler",
        "data": f"caption world, training scenes of one and two objects, plain style, {SIZE}x{SIZE}; no captions",
        "diffusion": {"schedule": "linear", "T": SCHEDULE.T, "predict": PREDICT, "low_t": [0, TOP]},
        "seed": SEED,
        "batch": BATCH,
        "images_seen": steps * BATCH,
        "training_seconds": round(history.seconds),
        "lr": LR,
    }
    return finish(ema.model, card, out, [(k * images // IMAGES, coarse) for k, coarse in CLEAN_IMAGES], work, resume, n)


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
