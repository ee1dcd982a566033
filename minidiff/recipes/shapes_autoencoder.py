"""The autoencoder of the caption world: pictures of 64x64 to latents of 8x8x4 and back. It never sees a caption.

    python -m minidiff.recipes.shapes_autoencoder

Four trainings, one after the other: the whole; then the decoder alone, with the encoder frozen and errors of coarse
pictures weighed as well; then the decoder again, twice, which hears latents that are a little off, as those of a
generation model will be. All but the first change no latent, so what was trained on latents stays valid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from minidiff import pretrained
from minidiff.data.shapes import ShapeBatches, agreement, captioned, read
from minidiff.metrics import edges, psnr
from minidiff.models.autoencoder import Autoencoder, AutoencoderConfig, measure_scale
from minidiff.models.classifier import Classifier
from minidiff.objectives import AutoencoderLoss
from minidiff.recipes.command import command
from minidiff.recipes.provenance import is_main, provenance, ship
from minidiff.training import Fitted, fit

NAME, SEED, SIZE, BATCH, IMAGES = "shapes-autoencoder", 0, 64, 16, 320_000
CONFIG = AutoencoderConfig(channels=3, latent=4, width=64, mults=(1, 2), patch=4)
LR, KL, EMA_DECAY = 2e-3, 1e-3, 0.998
DECODER_LR, COARSE = 1e-3, 3.0
DECODER = ((320_000, 0.0), (240_000, 0.4), (160_000, 0.25))  # images seen, `AutoencoderLoss.off`
OFF_BY = (0.0, 0.1, 0.2, 0.3)  # deviations at which the decoder is tried
TEST_SEED = 31


def maps(classifier: Classifier) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """What a classifier sees of pictures after its first two stages: for the loss's perceptual distance.

    Args:
        classifier: frozen, any of ours.
    """

    def features(x: Tensor) -> tuple[Tensor, Tensor]:
        first = classifier.stem(x)
        return first, classifier.stages[0](first)

    return features


def fit_autoencoder(model: nn.Module, loader, steps: int, loss: Callable | None = None, **options) -> Fitted:
    """Trains an autoencoder with AdamW, warm-up and cosine decay.

    Args:
        model: trained in place.
        loader: of batches with "x".
        steps: of training.
        loss: by default absolute errors with this recipe's weight of the divergence.
        options: as for `minidiff.training.fit`.
    """
    model.to(memory_format=torch.channels_last)
    return fit(model, loss or AutoencoderLoss(kl=KL), loader, steps, ema_decay=EMA_DECAY, **{"lr": LR, **options})


@torch.no_grad()
def reconstructed(model: Autoencoder, x: Tensor, batch: int = 100) -> Tensor:
    """x [N,C,H,W] through the bottleneck and back, from the mean latents, clamped to [-1,1]; on the CPU."""
    device = model.scale.device
    return torch.cat([model(part.to(device))[0].clamp(-1, 1).cpu() for part in x.split(batch)])


@torch.no_grad()
def rate(model: Autoencoder, x: Tensor, batch: int = 100) -> float:
    """Mean divergence of the latents from N(0, I), in nats a picture: an upper bound of what they tell about it."""
    device = model.scale.device
    return torch.cat([model.encode(part.to(device)).kl() for part in x.split(batch)]).mean().item()


def fidelity(x: Tensor, found: Tensor) -> dict[str, float]:
    """PSNR of reconstructions: of the whole set's mean square, a mean over pictures, and on edges alone.

    Args:
        x, found: [N,C,H,W] in [-1,1].
    """
    each, border = psnr(x, found), psnr(x, found, where=edges(x))
    return {
        "psnr": (-10 * (10 ** (-each / 10)).mean().log10()).item(),
        "psnr_mean_over_pictures": each.mean().item(),
        "psnr_on_edges": (-10 * (10 ** (-border[~border.isnan()] / 10)).mean().log10()).item(),
    }


def attributes_kept(scenes, x: Tensor, found: Tensor) -> dict[str, float]:
    """Share of pictures of which the reader confirms all: true ones, found ones, and the ratio of both."""
    before, after = (agreement(scenes, read(part))["all"].double().mean().item() for part in (x, found))
    return {"attributes_before": before, "attributes_after": after, "attributes_kept": after / before}


def evaluate(model: Autoencoder, split: str = "unseen", n: int = 2000) -> dict[str, float]:
    """PSNR and attributes of a split's reconstructions, and the rate of its latents."""
    known = captioned(n, split, size=SIZE, seed=TEST_SEED)
    found = reconstructed(model, known.x)
    return {
        "n": n, **fidelity(known.x, found), **attributes_kept(known.scenes, known.x, found),
        "nats_a_picture": rate(model, known.x),
    }  # fmt: skip


@torch.no_grad()
def kept_when_off(model: Autoencoder, n: int = 500) -> dict[str, float]:
    """Share of pictures with all attributes left after latents that are off by noise, for each deviation in `OFF_BY`.

    Args:
        model: any.
        n: validation pictures.
    """
    known, rng = captioned(n, "validation", size=SIZE, seed=TEST_SEED), torch.Generator().manual_seed(TEST_SEED)
    z = torch.cat([model.latents(part.to(model.scale.device)) for part in known.x.split(100)])
    off, found = torch.randn(z.shape, generator=rng).to(z.device), {}
    for deviation in OFF_BY:
        x = torch.cat([model.pictures(part).cpu() for part in (z + deviation * off).split(100)])
        found[f"{deviation:g}"] = agreement(known.scenes, read(x.clamp(-1, 1)))["all"].double().mean().item()
    return found


def refine(
    model: Autoencoder, images: int, off: float, number: int, work: Path = Path("build/recipes"), resume: bool = False
) -> Fitted:
    """Trains the decoder alone. Latents and `scale` stay as they are.

    Args:
        model: trained before; changed in place.
        images: seen.
        off: how far off its latents may be, see `AutoencoderLoss`.
        number: of this training of the decoder, from 1; each has a seed of its own.
        work: folder of what an interrupted run goes on from, with `resume`.
        resume: whether to.
    """
    model.train().requires_grad_(True)
    for part in (model.encoder, model.quant):
        part.requires_grad_(False)
    steps, label, seed = images // BATCH, f"{NAME}-decoder-{number}", SEED + number
    return fit_autoencoder(
        model, ShapeBatches(SIZE, BATCH, seed=seed), steps, AutoencoderLoss(kl=KL, coarse=COARSE, off=off),
        lr=DECODER_LR, warmup=min(200, steps // 2), seed=seed, checkpoint=work / f"{label}.ckpt", resume=resume,
        label=label,
    )  # fmt: skip


def finish(
    model: Autoencoder, card: dict, out: Path, decoder: Sequence[tuple[int, float]], work: Path, resume: bool,
    n: int = 2000,
) -> pretrained.Pretrained | None:  # fmt: skip
    """Trains the decoder on, measures, writes weights and card to `out`; None from all processes but the first.

    Args:
        model: its scale measured.
        card: what is known about its training up to now.
        out: folder of the checkpoint.
        decoder: images seen, and how far off the latents may be, of each training of the decoder.
        work, resume: as for `refine`.
        n: pictures of the measurement.
    """
    told = list(card.get("decoder", ()))
    for images, off in decoder:
        before = evaluate(model, n=n) if is_main() else {}
        ema, history = refine(model, images, off, len(told) + 1, work, resume)
        model = ema.model.eval()
        told.append({
            "images_seen": images // BATCH * BATCH, "off": off, "lr": DECODER_LR, "coarse": COARSE,
            "training_seconds": round(history.seconds), "kept_when_off": kept_when_off(model, min(n, 500)),
            "metrics_before": before,
        })  # fmt: skip
    if not is_main():
        return None
    card = {**card, "decoder": told, **provenance()}
    return ship(NAME, model, card, out, lambda shipped: evaluate(shipped, n=n))


def train(
    out: Path, images: int = IMAGES, work: Path = Path("build/recipes"), resume: bool = False, n: int = 2000
) -> pretrained.Pretrained | None:
    """Trains four times, measures the scale, writes weights and card to `out`; None from all processes but the first.

    Args:
        out: folder of the checkpoint.
        images: seen in the first training; the others see the same share of their own budgets.
        work: folder of what an interrupted run goes on from, with `resume`.
        resume: whether to.
        n: pictures of the measurement.
    """
    torch.manual_seed(SEED)
    steps = images // BATCH
    ema, history = fit_autoencoder(
        Autoencoder(CONFIG), ShapeBatches(SIZE, BATCH, seed=SEED), steps, warmup=min(200, steps // 2), seed=SEED,
        checkpoint=work / f"{NAME}.ckpt", resume=resume, label=NAME,
    )  # fmt: skip
    model = ema.model.cpu().eval()
    card = {
        "recipe": "minidiff.recipes.shapes_autoencoder",
        "data": f"caption world, training scenes of one and two objects, plain style, {SIZE}x{SIZE}; no captions",
        "seed": SEED,
        "batch": BATCH,
        "images_seen": steps * BATCH,
        "training_seconds": round(history.seconds),
        "lr": LR,
        "kl": KL,
        "scale": measure_scale(model, captioned(2000, "train", size=SIZE, seed=SEED + 5).x),
    }
    return finish(model, card, out, [(k * images // IMAGES, off) for k, off in DECODER], work, resume, n)


if __name__ == "__main__":
    command(train, __doc__, IMAGES)
