"""Mixed precision on a GPU: a CLIP's training step in float32 and in bfloat16, in turn, time and memory.

    python -m minidiff.recipes.mixed_precision

Needs CUDA. Writes results/05_mixed_precision.json.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

import torch

from minidiff.models.clip import CLIP, CLIPConfig, parameter_groups
from minidiff.models.image_encoders import ViTConfig
from minidiff.models.text_encoders import TextTransformerConfig
from minidiff.objectives import CLIPLoss
from minidiff.recipes.results import record

CONFIG = CLIPConfig(
    image=ViTConfig(size=64, patch=4, width=384, layers=8, heads=6),
    text=TextTransformerConfig(width=384, layers=6, heads=6),
    dim=256,
)
BATCH, PAIRS, STEPS = 256, 9, 5


def step_seconds(model: CLIP, optimizer: torch.optim.Optimizer, batch: dict, bf16: bool) -> tuple[float, int]:
    """Seconds of a training step, the mean of `STEPS`, and the most bytes held during them."""
    loss = CLIPLoss()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            out, _ = loss(model, batch)
        out.backward()
        optimizer.step()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / STEPS, torch.cuda.max_memory_allocated()


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("mixed_precision needs a CUDA device; there is none here")
    os.environ["MINIDIFF_RECORD"] = "1"
    torch.manual_seed(0)
    model = CLIP(CONFIG).cuda()
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), lr=1e-4, fused=True)
    tokens = torch.randint(3, 72, (BATCH, 24))
    tokens[:, -1] = 2  # the end-of-text token
    batch = {"x": torch.rand(BATCH, 3, 64, 64, device="cuda") * 2 - 1, "tokens": tokens.cuda()}
    for bf16 in (False, True):  # the first steps pay for loading kernels
        step_seconds(model, optimizer, batch, bf16)
    found = {bf16: [] for bf16 in (False, True)}
    for _ in range(PAIRS):
        for bf16, rows in found.items():
            rows.append(step_seconds(model, optimizer, batch, bf16))
    seconds = {bf16: statistics.median(s for s, _ in rows) for bf16, rows in found.items()}
    memory = {bf16: max(m for _, m in rows) for bf16, rows in found.items()}
    value = {
        "float32 milliseconds a step": 1e3 * seconds[False], "bfloat16 milliseconds a step": 1e3 * seconds[True],
        "float32 GB": memory[False] / 1e9, "bfloat16 GB": memory[True] / 1e9,
        "times as fast": seconds[False] / seconds[True], "share of the memory": memory[True] / memory[False],
    }  # fmt: skip
    print(value)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    record(
        "05_mixed_precision", value, source="recipe mixed_precision", seed=0, claim=9,
        holds=value["times as fast"] > 1 and value["share of the memory"] < 1,
        note=f"a CLIP of {parameters:.1f} million parameters, pictures of 64x64, batch {BATCH}; median of {PAIRS} "
        "interleaved pairs; torch's default matrix products, so float32 is not TF32",
    )  # fmt: skip


if __name__ == "__main__":
    main()
