"""Pictures of 64x64 by way of latents against the same U-Net in pixels: seconds for 64 of them, on two threads.

    python -m benchmarks.latents

25 DDIM steps with guidance (two forwards a step) both ways; the same widths, no folding of pixels, attention at 16x16
and below. The U-Nets are untrained: their speed does not depend on what
they know. Writes results/latent_speed.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch

from minidiff import pretrained
from minidiff.diffusion import Schedule, classifier_free, clipped, ddim, denoiser, final, generators, randn
from minidiff.models.unet import UNet, UNetConfig

ROUNDS, PICTURES, BATCH, STEPS, SCALE, THREADS = 1, 64, 32, 25, 2.0, 2
WIDTHS = {"width": 64, "mults": (1, 2, 2), "blocks": 1, "head_dim": 32, "classes": 10}


def painter(channels: int, side: int, clip: bool) -> Callable[[int], torch.Tensor]:
    """A function that draws so many tensors [channels,side,side] with DDIM and guidance."""
    torch.manual_seed(0)
    model = UNet(UNetConfig(channels=channels, **WIDTHS)).eval().to(memory_format=torch.channels_last)
    schedule = Schedule.linear(1000)

    def paint(n: int) -> torch.Tensor:
        out = []
        for i in range(0, n, BATCH):
            y = torch.arange(i, min(n, i + BATCH)) % 10
            guided = classifier_free(denoiser(model, schedule), {"y": y}, {"y": torch.tensor(10)}, SCALE)
            noise = randn((channels, side, side), generators(y.tolist()))
            out.append(final(ddim(clipped(guided, schedule) if clip else guided, schedule, noise, STEPS)))
        return torch.cat(out)

    return paint


def timed(act: Callable) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def measure(rounds: int = ROUNDS, n: int = PICTURES) -> dict[str, float]:
    """Medians of the seconds for n pictures: in pixels, of the latents, of their decoding; and what follows."""
    autoencoder = pretrained.load("shapes-autoencoder").model.to(memory_format=torch.channels_last)
    pixels, latents = painter(3, 64, True), painter(4, 8, False)

    @torch.no_grad()
    def decode() -> None:
        for part in torch.randn(n, 4, 8, 8, generator=torch.Generator().manual_seed(0)).split(BATCH):
            autoencoder.pictures(part)

    for act in (lambda: latents(2), decode):  # pays for memory
        act()
    taken: dict[str, list[float]] = {"pixels": [], "latents": [], "decoding": []}
    for _ in range(rounds):
        for name, act in (("pixels", lambda: pixels(n)), ("latents", lambda: latents(n)), ("decoding", decode)):
            taken[name].append(timed(act))
    found = {f"{name}, seconds": statistics.median(values) for name, values in taken.items()}
    route = found["latents, seconds"] + found["decoding, seconds"]
    return found | {
        "times as fast": found["pixels, seconds"] / route,
        "share of decoding": found["decoding, seconds"] / route,
    }


def main() -> None:
    from minidiff.recipes.results import record

    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.environ["MINIDIFF_RECORD"] = "1"
    torch.set_num_threads(THREADS)
    found = measure()
    print(found)
    note = f"{PICTURES} pictures of 64x64, {STEPS} DDIM steps with guidance, two threads, median of {ROUNDS}"
    record("latent_speed", found, source="benchmarks.latents", seed=0, note=note)


if __name__ == "__main__":
    main()
