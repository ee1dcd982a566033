"""Our CLIP against open_clip's, same configuration and weights, on two threads; and the loss at large N.

    python -m benchmarks.clip

Interleaved pairs, the median of their ratios; above 1 ours is faster. Memory of a loss is the growth of the peak
resident memory in a process of its own. Writes results/clip_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

PAIRS, N, D, LARGE, CHUNK = 9, 4096, 512, 32_768, 512
CONFIGS = {
    "ViT": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 64, "layers": 6, "width": 256, "head_width": 64, "patch_size": 8},
        "text_cfg": {"context_length": 24, "vocab_size": 72, "width": 192, "heads": 4, "layers": 4},
    },
    "ResNet": {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 32},
        "text_cfg": {"context_length": 24, "vocab_size": 72, "width": 192, "heads": 4, "layers": 4},
    },
}
BATCH = 32


def towers(name: str):
    """open_clip's model of a configuration, ours with its weights, and a batch for both."""
    import open_clip

    from minidiff.models.clip import CLIP

    torch.manual_seed(0)
    theirs = open_clip.CLIP(**CONFIGS[name])
    images, tokens = torch.randn(BATCH, 3, 64, 64), torch.randint(3, 71, (BATCH, 24))
    tokens[:, -1] = 71  # open_clip reads at the largest token, ours at the end-of-text token of its config
    return theirs, CLIP.from_open_clip(theirs), images, tokens


def step(model, loss: Callable, images, tokens) -> Callable[[], None]:
    """A training step of a model as a function without arguments."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def once() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(*model.train()(images, tokens)[:3]).backward()
        optimizer.step()

    return once


def seconds(function: Callable[[], None]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def ratio(ours: Callable[[], None], theirs: Callable[[], None], pairs: int) -> float:
    """Their seconds over ours, the median of interleaved pairs; which of the two goes first alternates."""
    for function in (ours, theirs, ours, theirs):
        function()
    found = []
    for i in range(pairs):
        order = (ours, theirs) if i % 2 else (theirs, ours)
        spent = {function: seconds(function) for function in order}
        found.append(spent[theirs] / spent[ours])
    return statistics.median(found)


def models(pairs: int) -> dict[str, float]:
    """Throughput of ours over open_clip's for each configuration: training step and inference."""
    import open_clip

    from minidiff.objectives import contrastive

    found = {}
    for name in CONFIGS:
        theirs, ours, images, tokens = towers(name)
        loss = open_clip.ClipLoss()
        found[f"{name} training"] = ratio(
            step(ours, contrastive, images, tokens), step(theirs, loss, images, tokens), pairs
        )

        @torch.no_grad()
        def infer(model, images=images, tokens=tokens) -> None:
            model.encode_image(images)
            model.encode_text(tokens)

        theirs.eval(), ours.eval()
        found[f"{name} inference"] = ratio(lambda o=ours: infer(o), lambda t=theirs: infer(t), pairs)
    return found


def unit(n: int, seed: int) -> torch.Tensor:
    """n unit vectors of D numbers that ask for a gradient."""
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, D, generator=rng), dim=1).requires_grad_()


def losses(pairs: int) -> float:
    """Their seconds over ours for the loss at N x D, forward and backward."""
    import open_clip

    from minidiff.objectives import contrastive

    images, texts, scale = unit(N, 0), unit(N, 1), torch.tensor(14.3, requires_grad=True)
    reference = open_clip.ClipLoss()
    return ratio(
        lambda: contrastive(images, texts, scale).backward(), lambda: reference(images, texts, scale).backward(), pairs
    )


def memory(field: str) -> float:
    """This process's resident memory in GB, as Linux counts it: now ("VmRSS"), or the most so far ("VmHWM")."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e9


def alone(which: str) -> dict[str, float]:
    """Seconds and growth of the peak resident memory, in GB, of one loss in this process."""
    import open_clip

    from minidiff.objectives import contrastive

    contrastive(unit(64, 0), unit(64, 1), torch.tensor(1.0), 16).backward()  # pays for what is loaded at first use
    open_clip.ClipLoss()(unit(64, 0), unit(64, 1), torch.tensor(1.0)).backward()
    n = LARGE if which == "large" else N
    images, texts, scale = unit(n, 0), unit(n, 1), torch.tensor(14.3, requires_grad=True)
    before = memory("VmRSS")
    began = time.perf_counter()
    if which == "theirs":
        open_clip.ClipLoss()(images, texts, scale).backward()
    else:
        contrastive(images, texts, scale, CHUNK if which == "large" else None).backward()
    spent = time.perf_counter() - began
    return {"seconds": spent, "gb": memory("VmHWM") - before}


def in_a_process(which: str) -> dict[str, float]:
    """`alone` in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.clip", "--alone", which], capture_output=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", choices=("ours", "theirs", "large"), help="one loss, memory and seconds, as JSON")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    args = parser.parse_args()
    torch.set_num_threads(2)
    if args.alone:
        print(json.dumps(alone(args.alone)))
        return
    from minidiff.recipes.results import record

    os.environ["MINIDIFF_RECORD"] = "1"
    value = {**models(args.pairs), "loss 4,096 x 512": losses(args.pairs)}
    ours, theirs, large = (in_a_process(which) for which in ("ours", "theirs", "large"))
    value |= {
        "loss memory GB, ours": ours["gb"], "loss memory GB, open_clip": theirs["gb"],
        "loss 32,768 x 512 GB": large["gb"], "loss 32,768 x 512 seconds": large["seconds"],
    }  # fmt: skip
    print(json.dumps(value, indent=1))
    fast = all(v >= 0.97 for k, v in value.items() if k.endswith(("training", "inference")))
    record(
        "clip_speed", value, source="benchmarks.clip", seed=0,
        holds=fast and value["loss 4,096 x 512"] >= 1 and ours["gb"] <= theirs["gb"] and large["gb"] < 2
        and large["seconds"] <= 120,
        note=f"throughput of ours over open_clip's, median of {args.pairs} interleaved pairs, two threads; bars: "
        "models >= 0.97, loss no slower and with no more memory, 32,768 rows in chunks below 2 GB and 120 s",
    )  # fmt: skip


if __name__ == "__main__":
    main()
