"""The metrics beside the libraries that people use: `make bench`. Writes results/metrics_speed.json.

Every ratio comes from one run, as a median over interleaved repeats, and is given with the difference of the two
results; memory is measured in fresh processes. build/metrics_cost.png shows cost against N and D. Nothing here is
asserted in tests.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.speed import high_water_mark
from minidiff.metrics import (
    MeanCov,
    density_coverage,
    frechet_distance,
    frechet_from_features,
    moments,
    precision_recall,
)
from minidiff.recipes.provenance import provenance

ROOT = Path(__file__).parent.parent
K = 3
FRECHET, NEIGHBOURS = (5000, 2048), (10000, 512)  # N of each set, D
CURVE_D, CURVE_N = (128, 256, 512, 1024, 2048), (625, 1250, 2500, 5000, 10000)
Players = dict[str, Callable[[], tuple[float, ...]]]


def made_features(n: int, d: int, seed: int) -> Tensor:
    """[n,d] float32 like a network's last layer: none below 0, their variances spread over some powers of ten."""
    rng = torch.Generator().manual_seed(seed)
    rank = max(1, d // 4)
    axes = torch.randn(rank, d, generator=torch.Generator().manual_seed(0)) / rank**0.5
    sizes = torch.logspace(0, -1.5 + 0.1 * seed, rank)
    hidden = torch.randn(n, rank, generator=rng) * sizes * 4
    return (hidden @ axes + 0.3 * torch.randn(n, d, generator=rng) + 0.05 * seed).relu()


# --- who is compared ---------------------------------------------------------------------------------------------


def by_scipy(a: MeanCov, b: MeanCov) -> float:
    """The usual way: the matrix square root of the product, its real part."""
    from scipy.linalg import sqrtm

    root = sqrtm((a.cov @ b.cov).numpy()).real
    return float((a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace()) - 2 * root.trace().item()


def by_torchmetrics(a: MeanCov, b: MeanCov) -> float:
    """torchmetrics' `FrechetInceptionDistance` after its moments: eigenvalues of the product."""
    from torchmetrics.image.fid import _compute_fid

    return _compute_fid(*a, *b).item()


def prdc_all(real: Tensor, fake: Tensor) -> tuple[float, ...]:
    """prdc's four numbers."""
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(real.double().numpy(), fake.double().numpy(), K)
    return tuple(float(found[name]) for name in ("precision", "recall", "density", "coverage"))


def prdc_two(real: Tensor, fake: Tensor) -> tuple[float, ...]:
    """Precision and recall alone, from prdc's functions."""
    from prdc import prdc

    real, fake = real.double().numpy(), fake.double().numpy()
    real_radii, fake_radii = (prdc.compute_nearest_neighbour_distances(x, K) for x in (real, fake))
    d = prdc.compute_pairwise_distance(real, fake)
    inside = (d < real_radii[:, None]).any(axis=0), (d < fake_radii[None]).any(axis=1)
    return float(inside[0].mean()), float(inside[1].mean())


def ours_two(real: Tensor, fake: Tensor) -> tuple[float, ...]:
    return tuple(precision_recall(real, fake, K))


def ours_all(real: Tensor, fake: Tensor) -> tuple[float, ...]:
    return (*precision_recall(real, fake, K), *density_coverage(real, fake, K))


# --- measuring ---------------------------------------------------------------------------------------------------


def timed(player: Callable[[], tuple[float, ...]]) -> tuple[float, tuple[float, ...]]:
    """Seconds and result."""
    began = time.perf_counter()
    found = player()
    return time.perf_counter() - began, found


def interleaved(players: Players, pairs: list[tuple[str, str]], repeats: int) -> dict:
    """Median seconds of each player, in turns, and for (ours, theirs) how much faster and how far apart they are."""
    times, results = {name: [] for name in players}, {}
    for turn in range(repeats + 1):
        for name, player in players.items():
            seconds, results[name] = timed(player)
            if turn:  # the first round warms up
                times[name].append(seconds)
    faster, apart = {}, {}
    for ours, theirs in pairs:
        ratios = [b / a for a, b in zip(times[ours], times[theirs], strict=True)]
        faster[f"{ours} | {theirs}"] = statistics.median(ratios)
        apart[f"{ours} | {theirs}"] = max(abs(a / b - 1) for a, b in zip(results[ours], results[theirs], strict=True))
    seconds = {name: statistics.median(values) for name, values in times.items()}
    return {"seconds": seconds, "times_faster": faster, "relative_difference": apart}


def frechet(repeats: int, scale: int) -> dict:
    """The distance from moments, and from features that are fewer than their dimensions."""
    n, d = (size // scale for size in FRECHET)
    x, y = made_features(n, d, 1), made_features(n, d, 2)
    a, b, few = moments(x), moments(y), d // 4
    fewer = moments(x[:few]), moments(y[:few])
    players = {
        "ours": lambda: (frechet_distance(*a, *b),),
        "torchmetrics": lambda: (by_torchmetrics(a, b),),
        "scipy sqrtm": lambda: (by_scipy(a, b),),
        "ours, few features": lambda: (frechet_from_features(x[:few], y[:few]),),
        "torchmetrics, few features": lambda: (by_torchmetrics(*fewer),),
    }
    pairs = [("ours", "torchmetrics"), ("ours", "scipy sqrtm"), ("ours, few features", "torchmetrics, few features")]
    return {"N": n, "D": d, "few": few, "repeats": repeats, **interleaved(players, pairs, repeats)}


def neighbours(repeats: int, scale: int) -> dict:
    """Precision and recall, alone and with density and coverage."""
    n, d = (size // scale for size in NEIGHBOURS)
    x, y = made_features(n, d, 1), made_features(n, d, 2)
    work = {"ours, two": ours_two, "prdc, two": prdc_two, "ours, four": ours_all, "prdc, four": prdc_all}
    players = {name: lambda function=function: function(x, y) for name, function in work.items()}
    pairs = [("ours, two", "prdc, two"), ("ours, four", "prdc, four")]
    return {"N": n, "D": d, "k": K, "repeats": repeats, **interleaved(players, pairs, repeats)}


def memory_of(name: str, scale: int) -> None:
    """Prints by how many MiB a call raises the resident set (run in a fresh process)."""
    import psutil

    n, d = (size // scale for size in NEIGHBOURS)
    x, y = made_features(n, d, 1), made_features(n, d, 2)
    work = {"ours": ours_two, "prdc": prdc_two}[name]
    work(x[:50], y[:50])  # what is loaded once is not counted
    before = psutil.Process().memory_info().rss / 2**20
    work(x, y)
    print(json.dumps(high_water_mark() - before))


def memory(scale: int) -> dict:
    """Peak resident set of precision and recall above what stood before, MiB."""
    result = {}
    for name in ("ours", "prdc"):
        command = [sys.executable, "-m", "benchmarks.metrics", "--memory-of", name, "--scale", str(scale)]
        result[name] = round(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return result


def curves(scale: int) -> dict:
    """Seconds against D (Frechet distance) and against N (precision and recall), one run a point."""
    result = {"frechet": {"D": []}, "neighbours": {"N": [], "D": NEIGHBOURS[1] // scale}}
    for d in (d // scale for d in CURVE_D):
        a, b = (moments(made_features(FRECHET[0] // scale, d, seed)) for seed in (1, 2))
        result["frechet"]["D"].append(d)
        for name, way in (("ours", frechet_distance), ("torchmetrics", by_torchmetrics), ("scipy sqrtm", by_scipy)):
            seconds, _ = timed(lambda way=way, a=a, b=b: way(*a, *b) if way is frechet_distance else way(a, b))
            result["frechet"].setdefault(name, []).append(seconds)
    for n in (n // scale for n in CURVE_N):
        x, y = (made_features(n, NEIGHBOURS[1] // scale, seed) for seed in (1, 2))
        result["neighbours"]["N"].append(n)
        for name, way in (("ours", ours_two), ("prdc", prdc_two)):
            result["neighbours"].setdefault(name, []).append(timed(lambda way=way, x=x, y=y: way(x, y))[0])
    return result


def plot(found: dict, path: Path) -> None:
    """The curves as a picture."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from minidiff.course.plots import style

    style()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    titles = {"frechet": ("Frechet distance from moments", "D"), "neighbours": ("Precision and recall", "N")}
    for axis, (part, (title, size)) in zip(axes, titles.items(), strict=True):
        rows = found[part]
        for name in (name for name in rows if name not in ("N", "D")):
            axis.loglog(rows[size], rows[name], "o-", label=name)
        unit = "dimensions D" if size == "D" else f"features in each set N (D = {rows['D']})"
        axis.set(title=title, xlabel=unit, ylabel="seconds")
        axis.set_xticks(rows[size], [str(v) for v in rows[size]])
        axis.minorticks_off()
        axis.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=int, default=1, help="divide N and D by this; above 1 nothing goes to results/")
    parser.add_argument("--memory-of", choices=("ours", "prdc"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        return memory_of(args.memory_of, args.scale)
    parts = {
        "frechet": lambda: frechet(args.repeats, args.scale),
        "neighbours": lambda: neighbours(args.repeats, args.scale),
        "more_resident_memory_mib": lambda: memory(args.scale),
        "cost": lambda: curves(args.scale),
    }
    result = {}
    for name, part in parts.items():
        print(f"{name} ...", flush=True)
        result[name] = part()
        print(json.dumps(result[name], indent=1), flush=True)
    plot(result["cost"], ROOT / "build" / "metrics_cost.png")
    result |= provenance()
    result["versions"] |= {name: version(name) for name in ("numpy", "scipy", "torchmetrics", "prdc")}
    out = ROOT / ("results" if args.scale == 1 else "build") / "metrics_speed.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out.relative_to(ROOT)} and build/metrics_cost.png")


if __name__ == "__main__":
    main()
