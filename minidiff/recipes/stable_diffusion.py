"""The generation model of Stable Diffusion in small: latents of captioned scenes, text by cross-attention.

    python -m minidiff.recipes.stable_diffusion

The text encoder (`mini-clip`) and the decoder (`shapes-autoencoder`) were trained before and stay as they are. Two
trainings, one after the other. What the first leaves wrong is not what is drawn, but how exactly; so the second sees
more of the middle levels, at which edges find their places, and more scenes of two objects.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from minidiff import data, pretrained
from minidiff.data.shapes import Scene, ShapeBatches, agreement, captions, read, sample, tokenizer
from minidiff.diffusion import Schedule
from minidiff.models.autoencoder import Autoencoder
from minidiff.models.clip import CLIP
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import DiffusionLoss, logit_normal
from minidiff.pipelines import StableDiffusion
from minidiff.pipelines.stable_diffusion import Options
from minidiff.recipes import mini_clip, shapes_autoencoder
from minidiff.recipes.command import command
from minidiff.recipes.provenance import is_main, provenance, ship
from minidiff.recipes.results import kept
from minidiff.training import Fitted, fit
from minidiff.training.checkpoint import write_atomic

NAME, SEED, SIZE, BATCH, IMAGES, POOL = "shapes-latent-unet", 0, 64, 32, 900_000, 120_000
CONFIG = UNetConfig(channels=4, width=64, mults=(1, 2), blocks=1, attention=(0, 1), head_dim=16, text=128)
PARTIAL, DROP, LR, EMA_DECAY = 0.3, 0.1, 1.5e-3, 0.999
SECOND_IMAGES, SECOND_LR, SECOND_POOLS = 800_000, 1e-3, {1: 40_000, 2: 120_000}  # pictures of one and of two objects
LEVELS = {"mean": -1.0, "std": 1.0, "share": 0.5}  # of the second training: `logit_normal`
OPTIONS = Options()
TEST_SEED, NOISE_SEED = 61, 5_000_000


@torch.no_grad()
def pool(
    autoencoder: Autoencoder, n: int, seed: int = SEED, chunk: int = 250, objects: int | None = None
) -> data.Batch:
    """n captioned training pictures as scaled latents: {"x": [n,Z,h,w], "tokens": [n,L], "mask": [n,L]}.

    Args:
        autoencoder: frozen.
        n: a multiple of `chunk`, or less than it.
        seed: of scenes, pictures and captions.
        chunk: pictures encoded at once.
        objects: 1 or 2; None is either.
    """
    chunk = min(n, chunk)
    loader = iter(ShapeBatches(SIZE, chunk, objects=objects, partial=PARTIAL, seed=seed).from_step(0))
    parts = []
    for _ in range(n // chunk):
        batch = next(loader)
        z = autoencoder.latents(batch["x"].to(autoencoder.scale.device))
        parts.append({"x": z, "tokens": batch["tokens"].to(z.device), "mask": batch["mask"].to(z.device)})
    return _joined(parts)


def pools(autoencoder: Autoencoder, sizes: dict[int, int], seed: int = SEED + 1) -> data.Batch:
    """Pools of one and of two objects as one, sizes by the number of objects."""
    return _joined([pool(autoencoder, n, seed + objects, objects=objects) for objects, n in sizes.items() if n])


def _joined(parts: list[data.Batch]) -> data.Batch:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def loss(clip: CLIP, levels: Callable | None = None) -> DiffusionLoss:
    """Of a U-Net with `text`: captions are left out now and then, and the frozen text tower reads the rest.

    Args:
        clip: whose tower that is.
        levels: as for `DiffusionLoss`.
    """
    prepare = data.compose(data.drop_condition(_empty(), DROP), _reader(clip))
    return DiffusionLoss(Schedule.linear(OPTIONS.T), OPTIONS.predict, prepare, levels=levels)


def _empty() -> data.Batch:
    return {name: value[0] for name, value in tokenizer()([""]).items()}


def _reader(clip: CLIP):
    @torch.no_grad()
    def read_captions(batch: data.Batch) -> data.Batch:
        text = clip.to(batch["x"].device).text.tokens(batch["tokens"])
        return {"x": batch["x"], "text": text, "mask": batch["mask"]}

    return read_captions


def evaluate(pipe: StableDiffusion, split: str = "unseen", n: int = 1000) -> dict[str, float]:
    """Shares of what captions state that the reader finds in the pictures, of one and of two objects.

    One picture a caption. The seeds of scenes, captions and noise are fixed.

    Args:
        pipe: the system.
        split: "unseen", "validation", or "held_out", whose scenes have pairs of colour and shape that no training saw.
        n: captions of each kind.
    """
    found = {}
    for objects in (1, 2):
        scenes = wanted(n, split, objects)
        right = agreement(scenes, read(paint(pipe)(scenes)))
        found |= {f"{name}_{objects}": value for name, value in shares(right).items()}
    return found


def shares(right: dict[str, Tensor]) -> dict[str, float]:
    """Of what `agreement` gives, the share that is right of each attribute that is stated at all."""
    return {name: part.double().mean().item() for name, part in right.items() if len(part)}


def wanted(n: int, split: str, objects: int) -> list[Scene]:
    """The scenes that an evaluation asks for."""
    return sample(n, split, objects=objects, seed=TEST_SEED + objects)


def paint(pipe: StableDiffusion, batch: int = 50, **options) -> Callable[[list[Scene]], Tensor]:
    """A function from scenes to pictures of their captions, by a system.

    Args:
        pipe: the system. batch: pictures at once.
        options: steps and scale, as for the system.
    """

    def painted(scenes: list[Scene]) -> Tensor:
        said, parts = captions(scenes, seed=TEST_SEED), []
        for i in range(0, len(said), batch):
            some = said[i : i + batch]
            parts.append(pipe(some, seeds=range(NOISE_SEED + i, NOISE_SEED + i + len(some)), **options).cpu())
        return torch.cat(parts)

    return painted


def assemble(unet: nn.Module) -> StableDiffusion:
    """The system of the bundled text encoder and decoder, and a U-Net."""
    clip, autoencoder = (pretrained.load(name).model for name in (mini_clip.NAME, shapes_autoencoder.NAME))
    return StableDiffusion(tokenizer(), clip, unet, autoencoder, OPTIONS)


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False, n: int = 1000,
    pictures: int = POOL,
) -> pretrained.Pretrained | None:  # fmt: skip
    """Trains twice, measures, writes weights and card to `out`; None from all processes but the first.

    Args:
        out: folder of the checkpoint.
        images: seen in the first training; the second sees the same share of its own budget.
        work: folder of what an interrupted run goes on from, with `resume`.
        resume: whether to.
        n: captions of each measurement.
        pictures: different ones among the images of the first training; the second has the same share of its own.
    """
    clip, autoencoder = (pretrained.load(name).model for name in (mini_clip.NAME, shapes_autoencoder.NAME))
    ema, history = fit_unet(clip, pool(autoencoder, pictures), images, work / f"{NAME}.ckpt", resume, label=NAME)
    card = {
        "recipe": "minidiff.recipes.stable_diffusion",
        "data": f"caption world, {pictures:,} training scenes of one and two objects as latents of "
        f"{shapes_autoencoder.NAME}; {PARTIAL:.0%} of the captions leave something out",
        "diffusion": {"schedule": "linear", "T": OPTIONS.T, "predict": OPTIONS.predict, "dropped": DROP},
        "seed": SEED,
        "batch": BATCH,
        "images_seen": images // BATCH * BATCH,
        "training_seconds": round(history.seconds),
        "lr": LR,
    }
    sizes = {objects: k * pictures // POOL for objects, k in SECOND_POOLS.items()}
    return finish(ema.model, card, out, SECOND_IMAGES * images // IMAGES, work, resume, n, sizes)


def finish(
    model: nn.Module, card: dict, out: Path, images: int, work: Path, resume: bool, n: int = 1000,
    sizes: dict[int, int] = SECOND_POOLS,
) -> pretrained.Pretrained | None:  # fmt: skip
    """The second training; measures, writes weights and card to `out`; None from all processes but the first.

    Args:
        model: of the first training.
        card: what is known about it; what it could do is measured if it says nothing of that.
        out: folder of the checkpoint.
        images: seen by the second training.
        work, resume: as for `train`.
        n: captions of each measurement.
        sizes: different pictures of one and of two objects.
    """
    def measure(unet: nn.Module) -> dict[str, dict[str, float]]:
        return {split: evaluate(assemble(unet), split, k) for split, k in (("unseen", n), ("held_out", n // 5))}

    if is_main() and "first_metrics" not in card:
        path = work / f"{NAME}-first.json"
        if not resume:
            path.unlink(missing_ok=True)
        card = {**card, "first_metrics": kept(path, lambda: measure(model.eval()))}
    clip, autoencoder = (pretrained.load(name).model for name in (mini_clip.NAME, shapes_autoencoder.NAME))
    ema, history = fit_unet(
        clip, pools(autoencoder, sizes), images, work / f"{NAME}-second.ckpt", resume, f"{NAME}, second", model.train(),
        SECOND_LR, logit_normal(**LEVELS),
    )  # fmt: skip
    if not is_main():
        return None
    second = {
        "pictures": {str(k): v for k, v in sizes.items()}, "levels": LEVELS, "seed": SEED + 1,
        "images_seen": images // BATCH * BATCH, "training_seconds": round(history.seconds), "lr": SECOND_LR,
    }  # fmt: skip
    made = ship(NAME, ema.model, {**card, "second": second, **provenance()}, out, measure)
    bundle(assemble(made.model), out)
    return made


def fit_unet(
    clip: CLIP, latents: data.Batch, images: int, checkpoint: Path, resume: bool = False, label: str = "",
    model: nn.Module | None = None, lr: float = LR, levels: Callable | None = None,
) -> Fitted:  # fmt: skip
    """Trains a U-Net of latents on captions that a frozen text tower reads, with this recipe's settings.

    Args:
        clip: of which the text tower is used.
        latents: of `pool`.
        images: seen.
        checkpoint: what an interrupted training goes on from, with `resume`.
        resume: whether to.
        label: of the progress bar.
        model: trained before, with another seed than this training has; None is a new one.
        lr: rate of learning.
        levels: as for `DiffusionLoss`.

    Returns:
        As `minidiff.training.fit`.
    """
    seed = SEED if model is None else SEED + 1
    torch.manual_seed(seed)
    model = UNet(CONFIG) if model is None else model.requires_grad_(True)
    model, steps = model.to(memory_format=torch.channels_last), max(2, images // BATCH)
    loader = data.Batches(latents, BATCH, seed=seed, check=False)
    return fit(
        model, loss(clip, levels), loader, steps, lr=lr, warmup=min(500, max(1, steps // 4)), ema_decay=EMA_DECAY,
        seed=seed, checkpoint=checkpoint, resume=resume, label=label,
    )  # fmt: skip


def bundle(pipe: StableDiffusion, out: Path) -> None:
    """Makes `out` a folder that the whole system can be loaded from; the other parts are copied where they are not.

    Args:
        pipe: the system.
        out: where the U-Net was saved.
    """
    parts = {"clip": mini_clip.NAME, "unet": NAME, "autoencoder": shapes_autoencoder.NAME}
    for name in set(parts.values()) - set(pretrained.names(out)):
        for suffix in (".safetensors", ".json"):
            write_atomic(out / f"{name}{suffix}", (pretrained.CHECKPOINTS / f"{name}{suffix}").read_bytes())
    pipe.describe(out, parts)


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
