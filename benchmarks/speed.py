"""Speed and memory beside the libraries that people use: `make bench`. Writes results/speed.json.

Every ratio comes from one run, as a median over interleaved repeats; nothing here is asserted in tests.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.networks import BATCH, SHAPE, build, parameters
from minidiff.diffusion import Prediction, Schedule, ddim, denoiser, final
from minidiff.recipes.provenance import provenance

PEERS = ("diffusers", "denoising-diffusion-pytorch")
SIZED = ("ours, lesson 03",)  # folds squares of 2 x 2 pixels
OUT = Path(__file__).parent.parent / "results" / "speed.json"


def train_step(model, optimizer, x) -> float:
    """Seconds of one training step: loss, backward, clipping, AdamW."""
    began = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    model(x).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return time.perf_counter() - began


def training(repeats: int) -> dict:
    """Median seconds a step of each network, and what ours gain."""
    players = {name: build(name) for name in (*PEERS, "ours, no patch")}
    for peer in PEERS:
        for name in SIZED:
            players[f"{name} | {peer}"] = build(name, parameters(players[peer]))
    optimizers = {k: torch.optim.AdamW(m.parameters(), lr=1e-4, fused=True) for k, m in players.items()}
    x = torch.randn(BATCH, *SHAPE).clamp(-1, 1)
    times = {k: [] for k in players}
    for turn in range(repeats + 1):
        for name, model in players.items():
            seconds = train_step(model.train(), optimizers[name], x)
            if turn:  # the first round warms up
                times[name].append(seconds)
    rows = {k: {"parameters": parameters(m), "seconds": statistics.median(times[k])} for k, m in players.items()}
    ratios = {}
    for peer in PEERS:
        for name in SIZED:
            pairs = zip(times[peer], times[f"{name} | {peer}"], strict=True)
            ratios[f"{name} | {peer}"] = statistics.median(a / b for a, b in pairs)
    pairs = zip(times["diffusers"], times["ours, no patch"], strict=True)
    ratios["ours, no patch | diffusers"] = statistics.median(a / b for a, b in pairs)
    return {"batch": BATCH, "shape": SHAPE, "repeats": repeats, "networks": rows, "times_faster": ratios}


def peak_memory(name: str, target: int) -> None:
    """Prints the peak resident set of three training steps, in MiB (run in a fresh process)."""
    model = build(name, target)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    for _ in range(3):
        train_step(model.train(), optimizer, torch.randn(BATCH, *SHAPE).clamp(-1, 1))
    print(json.dumps(high_water_mark()))


def high_water_mark() -> float:
    """Largest resident set of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count the parent's memory too: Linux keeps it across fork and exec
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def memory() -> dict:
    """Peak resident set of each network's training, MiB, each in a process of its own."""
    sizes = {peer: parameters(build(peer)) for peer in PEERS}
    jobs = [(peer, 0) for peer in PEERS] + [("ours, no patch", 0)]
    jobs += [(name, sizes[peer]) for name in SIZED for peer in PEERS]
    result = {}
    for name, target in jobs:
        command = [sys.executable, "-m", "benchmarks.speed", "--memory-of", name, "--target", str(target)]
        key = name if not target else f"{name} | {next(p for p in PEERS if sizes[p] == target)}"
        result[key] = round(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return result


def sampler_overhead(repeats: int, batch: int = 16, steps: int = 50) -> dict:
    """Time of 50 DDIM steps with a model that costs nothing, over the time with lesson 03's network."""
    from minidiff.models.unet import UNet
    from minidiff.recipes.mnist_ddpm import CONFIG

    schedule, x, y = Schedule.linear(1000), torch.randn(batch, 1, 32, 32), torch.arange(batch) % 10
    real = denoiser(UNet(CONFIG).eval().to(memory_format=torch.channels_last), schedule)
    ratios, seconds = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        final(ddim(lambda x_t, t: Prediction(x_t, x_t), schedule, x, steps))
        middle = time.perf_counter()
        final(ddim(lambda x_t, t: real(x_t, t, y=y), schedule, x, steps))
        seconds.append(time.perf_counter() - middle)
        ratios.append((middle - began) / seconds[-1])
    share = statistics.median(ratios)
    return {"batch": batch, "steps": steps, "share": share, "seconds_real": statistics.median(seconds)}


def import_time(repeats: int) -> dict:
    """`import minidiff` over `import torch`, in fresh interpreters."""

    def seconds(module: str) -> float:
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    pairs = [(seconds("minidiff"), seconds("torch")) for _ in range(repeats)]
    ratio, alone = statistics.median(a / b for a, b in pairs), statistics.median(b for _, b in pairs)
    return {"ratio": ratio, "seconds_torch": alone}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--target", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        return peak_memory(args.memory_of, args.target)
    result = {}
    parts = {"import": import_time, "sampler_overhead": sampler_overhead, "training_step": training}
    for name, part in parts.items():
        print(f"{name} ...", flush=True)
        result[name] = part(args.repeats)
        print(json.dumps(result[name], indent=1), flush=True)
    print("memory ...", flush=True)
    result["peak_resident_set_mib"] = memory()
    print(json.dumps(result["peak_resident_set_mib"], indent=1))
    OUT.write_text(json.dumps({**result, **provenance()}, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT.name}")


if __name__ == "__main__":
    main()
