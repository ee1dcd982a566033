"""One task, three ways: large pictures in pixels, through a small picture, through latents.

    python -m minidiff.recipes.three_ways

The task: a picture of 64x64 of a scene with one object, given its attributes. The three generation models have the same
widths and train for the same seconds of processor time on one thread; the two decoders are the bundled ones, trained
before and without attributes. The pixel model folds 4 x 4 pixels into one position: without that it would see a few
thousand pictures only. How much noise the upscaler gets on the small pictures that were drawn is chosen on validation
scenes. Rows are kept under build/recipes. Writes the results whose names begin with 06_ways, and 06_cascade.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from minidiff import data, pretrained
from minidiff.data.shapes import ATTRIBUTES, ShapeBatches, agreement, attributes, captioned, read
from minidiff.data.shapes import draw as draw_scenes
from minidiff.diffusion import Schedule, clipped, ddim, denoiser, final, generators, given, randn
from minidiff.metrics import features, frechet_distance, moments
from minidiff.models.unet import UNet, UNetConfig
from minidiff.objectives import DiffusionLoss
from minidiff.recipes import shapes_autoencoder, shapes_upscaler
from minidiff.recipes.results import kept, record, slug
from minidiff.training import fit

SEED, SECONDS, SIZE, BATCH, N, STEPS = 0, 420.0, 64, 32, 1000, 25
LR, EMA_DECAY, TRIAL = 2e-3, 0.998, 25
LEVELS = (0, 10, 25, 50, 100)  # of the noise on the small pictures that the upscaler is given
SCHEDULE, PREDICT = Schedule.linear(1000), "v"
WORK = Path("build/recipes/ways")
TEST_SEED, NOISE_SEED = 51, 4_000_000


@dataclass(frozen=True)
class Way:
    """What a generation model makes, and how a picture comes of it.

    Attributes:
        channels, side: of what it makes. patch: of its U-Net.
        encode: pictures [B,3,64,64] -> what it makes.
        decode: back, on the CPU; the second argument is one of `levels`.
        clip: whether what it makes lies in [-1,1].
        levels: of noise that may be put on it before it is decoded.
    """

    channels: int
    side: int
    patch: int
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor, int], Tensor]
    clip: bool
    levels: tuple[int, ...] = (0,)

    def config(self) -> UNetConfig:
        """Of its U-Net: the same widths for all."""
        return UNetConfig(
            channels=self.channels, width=64, mults=(1, 2), blocks=1, head_dim=16, attention=(1,), patch=self.patch,
            image_emb=len(ATTRIBUTES),
        )  # fmt: skip


def ways() -> dict[str, Way]:
    """The three, with the bundled decoders, each loaded when it is first used."""

    @functools.cache
    def bundled(name: str) -> nn.Module:
        return pretrained.load(name).model.to(memory_format=torch.channels_last)

    def enlarge(x: Tensor, level: int) -> Tensor:
        return shapes_upscaler.upscale(bundled(shapes_upscaler.NAME), x, level=level, seed=NOISE_SEED)

    @torch.no_grad()
    def decode(z: Tensor, level: int) -> Tensor:
        return torch.cat([bundled(shapes_autoencoder.NAME).pictures(part).clamp(-1, 1) for part in z.split(50)])

    return {
        "pixels": Way(3, SIZE, 4, lambda x: x, lambda x, level: x, True),
        "small picture": Way(3, SIZE // 4, 1, lambda x: data.downsample(x, 4), enlarge, True, LEVELS),
        "latents": Way(4, SIZE // 8, 1, lambda x: bundled(shapes_autoencoder.NAME).latents(x), decode, False),
    }


def train(way: Way, steps: int, seed: int = SEED) -> tuple[nn.Module, float]:
    """A generation model and its seconds of processor time."""
    torch.manual_seed(seed)
    model = UNet(way.config()).to(memory_format=torch.channels_last)
    prepare = data.compose(
        data.only("x", "y"), data.encode(x=way.encode), lambda b: {"x": b["x"], "image_emb": b["y"].float()}
    )
    loader, loss = ShapeBatches(SIZE, BATCH, objects=1, seed=seed), DiffusionLoss(SCHEDULE, PREDICT, prepare)
    began = time.process_time()
    ema, _ = fit(
        model, loss, loader, steps, lr=LR, warmup=min(100, max(1, steps // 4)), ema_decay=EMA_DECAY, seed=seed,
        progress=False,
    )  # fmt: skip
    return ema.model, time.process_time() - began


def draw(model: nn.Module, way: Way, known: Tensor, batch: int = 50) -> Tensor:
    """What a generation model makes of attributes [N,51], not yet decoded: [N,channels,side,side]."""
    denoise, made = denoiser(model.eval(), SCHEDULE, PREDICT), []
    for i in range(0, len(known), batch):
        cond = known[i : i + batch]
        noise = randn((way.channels, way.side, way.side), generators(range(NOISE_SEED + i, NOISE_SEED + i + len(cond))))
        guided = given(denoise, {"image_emb": cond})
        made.append(final(ddim(clipped(guided, SCHEDULE) if way.clip else guided, SCHEDULE, noise, STEPS)))
    return torch.cat(made)


def row(name: str, way: Way, seconds: float = SECONDS, n: int = N, work: Path = WORK) -> dict[str, float]:
    """One way trained and measured, or read back from `work` if that was done before with the same decoders."""
    return kept(work / f"{slug(name)}_{seconds:g}_{n}_{_decoders():08x}.json", lambda: _row(way, seconds, n))


def _decoders() -> int:
    """A number that is another one where a bundled decoder is another one."""
    found = 0
    for name in (shapes_upscaler.NAME, shapes_autoencoder.NAME):
        found = zlib.crc32((pretrained.CHECKPOINTS / f"{name}.safetensors").read_bytes(), found)
    return found


def _row(way: Way, seconds: float, n: int) -> dict[str, float]:
    short, long = (train(way, steps)[1] for steps in (TRIAL, 5 * TRIAL))
    cost = (long - short) / (4 * TRIAL)  # of a warm step: what a run costs once is in both
    steps = max(2, int(seconds / cost))
    model, spent = train(way, steps)
    swept = cascade(model, way, max(2, n // 4)) if len(way.levels) > 1 else {}  # else there is nothing to choose
    found = measure(model, way, min(swept, key=swept.get, default=way.levels[0]), n)
    return found | {f"cascade_{level}": value for level, value in swept.items()} | {
        "training_seconds": spent, "steps": steps, "seconds_a_step": spent / steps,
        "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip


def cascade(model: nn.Module, way: Way, n: int) -> dict[int, float]:
    """Frechet distance of n pictures of validation scenes for each level of noise on what is decoded."""
    known = captioned(n, "validation", size=SIZE, objects=1, seed=TEST_SEED)
    made = draw(model, way, attributes(known.scenes).float())
    return {level: distance(known.x, way.decode(made, level)) for level in way.levels}


def measure(model: nn.Module, way: Way, level: int = 0, n: int = N) -> dict[str, float]:
    """Attributes right, Frechet distance and seconds a picture, over unseen scenes."""
    known, began = captioned(n, "unseen", size=SIZE, objects=1, seed=TEST_SEED), time.process_time()
    made, between = draw(model, way, attributes(known.scenes).float()), time.process_time()
    x = way.decode(made, level)
    seconds, decoding = (between - began) / n, (time.process_time() - between) / n
    right = {k: v.double().mean().item() for k, v in agreement(known.scenes, read(x)).items() if len(v)}
    return {**right, "frechet_distance": distance(known.x, x), "seconds_a_picture": seconds + decoding,
            "decoding_seconds_a_picture": decoding}  # fmt: skip


def floor(way: Way, n: int = N) -> dict[str, float]:
    """What a perfect generation model would reach this way: real pictures through encoder and decoder."""
    known = captioned(n, "unseen", size=SIZE, objects=1, seed=TEST_SEED)
    others = draw_scenes(known.scenes, SIZE, seed=TEST_SEED + 1000)  # the same scenes, placed anew
    with torch.no_grad():
        x = way.decode(torch.cat([way.encode(part) for part in others.split(50)]), 0)
    right = agreement(known.scenes, read(x))["all"].double().mean().item()
    return {"all": right, "frechet_distance": distance(known.x, x)}


def distance(real: Tensor, x: Tensor) -> float:
    """Frechet distance of two sets of pictures of 64x64 in the features of the bundled classifier of scenes."""
    judge = pretrained.load("shapes-classifier").model
    sides = (moments(features(judge.features, torch.nn.functional.avg_pool2d(part, 2))) for part in (real, x))
    first, second = sides
    return frechet_distance(*first, *second)


def report(rows: dict[str, dict[str, float]], floors: dict[str, dict[str, float]]) -> None:
    """Writes one result for each figure, with a number for each way."""
    decoders = f"{_trained(shapes_upscaler.NAME)} and {_trained(shapes_autoencoder.NAME)} s"
    about = (
        f"about {SECONDS:g} s of processor time on one thread for each generation model (a trial chose the steps), "
        f"batches of {BATCH}; the decoders were trained before, for {decoders}; "
        f"{N:,} unseen scenes of one object, {STEPS} DDIM steps, no guidance; "
        "distance in the bundled classifier's features of pictures averaged to 32x32"
    )
    swept = {k.split("_")[1]: v for k, v in rows["small picture"].items() if k.startswith("cascade_")}
    record(
        "06_cascade", swept, source="recipe three_ways", seed=SEED,
        note=f"Frechet distance of enlarged pictures by the level of noise on the small ones that were drawn; {N // 4} "
        "validation scenes",
    )  # fmt: skip
    for figure in rows["pixels"]:
        value = {name: found[figure] for name, found in rows.items()}
        value |= {f"{name}, perfect model": found[figure] for name, found in floors.items() if figure in found}
        record(f"06_ways_{figure}", value, seed=SEED, source="recipe three_ways", note=about)


def _trained(name: str) -> int:
    card = pretrained.load(name).card
    return sum(part["training_seconds"] for part in (card, *card.get("decoder", ()), *card.get("clean", ())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("pixels", "small picture", "latents"), help="one row; writes no result")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = {name: row(name, way) for name, way in ways().items() if args.only in (None, name)}
    if not args.only:
        os.environ["MINIDIFF_RECORD"] = "1"
        report(rows, {name: floor(way) for name, way in ways().items()})


if __name__ == "__main__":
    main()
