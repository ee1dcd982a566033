"""What lesson 03 draws and counts besides its subject: figures, and an interval for a share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from minidiff.course import plots
from minidiff.diffusion import Step
from minidiff.models.unet import UNet

# The rows of the failure museum, kept out of the notebook: there they are a puzzle.
HIDDEN_ORDER = ("all is well", "noise at the last step", "wrong range", "no EMA", "missing clip", "off-by-one t")


def paths(steps: Sequence[Step], start: Tensor, T: int, count: int = 30) -> None:
    """Draw how particles on a line move from level T to level 0, and where they end.

    Args:
        steps: of a sampler, x [B,1].
        start: [B,1], the particles at level T.
        T: number of levels.
        count: paths to draw; the histogram on the right has all.
    """
    import matplotlib.pyplot as plt

    track = torch.stack([start, *(s.x for s in steps)])[..., 0].cpu()  # [levels,B]
    levels = [T, *(s.t for s in steps)]
    figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(7.5, 2.9), width_ratios=(4, 1))
    left.plot(levels, track[:, :count], color=plots.GENERATED, linewidth=0.6)
    left.set(xlabel="level t", ylabel="position x", xlim=(T, 0), title="from noise to data")
    right.hist(track[0], bins=30, orientation="horizontal", density=True, color=plots.NOISE, label="start")
    places, counts = track[-1].round(decimals=1).unique(return_counts=True)
    right.barh(places.tolist(), (counts / counts.sum()).tolist(), height=0.2, color=plots.GENERATED, label="end")
    right.set(xlabel="density; share", title="start and end")
    right.legend(fontsize=8)


def by_level(levels: Sequence[int], curves: Mapping[str, tuple[Tensor, str, str]], lowest: float = 1e-3) -> None:
    """Draw the loss of several models over the noise level.

    Args:
        levels: where the losses were computed.
        curves: name -> (losses [len(levels)], colour, line style).
        lowest: where the logarithmic axis ends.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(7, 3.6))
    for name, (values, colour, line) in curves.items():
        axes.plot(levels, values.clamp_min(lowest / 10), color=colour, linestyle=line, label=name)
    axes.set(xlabel="level t", ylabel="mean squared error of eps", yscale="log", ylim=(lowest, 1.6))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def training(
    losses: Sequence[float],
    lines: Mapping[str, tuple[float, str, str]],
    band: tuple[float, float],
    window: int = 20,
) -> None:
    """Draw a training's loss, smoothed, beside what it is compared with.

    Args:
        losses: one for each step.
        lines: name -> (level of a horizontal line, colour, line style).
        band: between which losses the run should end; shaded over its last tenth.
        window: steps in a running mean.
    """
    import matplotlib.pyplot as plt

    values = torch.tensor(losses)
    window = max(1, min(window, len(values) // 3))
    smooth = values.unfold(0, window, 1).mean(-1)
    _, axes = plt.subplots(figsize=(7, 3.4))
    axes.plot(range(1, len(values) + 1), values, color=plots.MODEL, alpha=0.25, linewidth=0.7)
    axes.plot(range(window, len(values) + 1), smooth, color=plots.MODEL, label=f"this training, mean of {window} steps")
    for name, (value, colour, line) in lines.items():
        axes.axhline(value, color=colour, linestyle=line, linewidth=1.2, label=name)
    axes.fill_between(
        [0.9 * len(values), len(values)], *band, color=plots.TRUTH, alpha=0.12, label="expected at the end"
    )
    axes.set(xlabel="optimizer step", ylabel="loss", yscale="log", xlim=(0, len(values)))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def rows(pictures: Mapping[str, Tensor], titles: Sequence[str] = (), scale: float = 1.5) -> None:
    """Draw one labelled row of pictures for each entry.

    Args:
        pictures: label -> [N,C,H,W] in [-1,1], N the same in all.
        titles: one above each column, or none.
        scale: screen pixels for each pixel of a picture.
    """
    import matplotlib.pyplot as plt

    stack = torch.cat([p.detach().cpu() for p in pictures.values()])
    count, (h, w) = len(next(iter(pictures.values()))), stack.shape[-2:]
    canvas = plots.montage(stack, ncol=count, gap=(4, 1))
    label, head = max(map(len, pictures)) * 6.2 / scale + 6, 16 / scale * bool(titles)  # in pixels of the canvas
    tall, wide = canvas.shape[0] + head, canvas.shape[1] + label
    figure = plt.figure(figsize=(wide * scale / plots.DPI, tall * scale / plots.DPI), layout="none")
    axes = figure.add_axes((label / wide, 0, 1 - label / wide, canvas.shape[0] / tall))
    axes.imshow(canvas.numpy(), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for i, name in enumerate(pictures):
        axes.text(-4, i * (h + 4) + h / 2, name, ha="right", va="center", fontsize=9)
    for i, title in enumerate(titles):
        axes.text(i * (w + 1) + w / 2, -2, title, ha="center", va="bottom", fontsize=8)


def table(results: Mapping[str, Mapping[str, float]]) -> None:
    """Print what was measured, a line for each entry.

    Args:
        results: label -> `n`, `share`, `low`, `high`, `precision`, `recall` and `distance`.
    """
    print(f"{'':22s} {'N':>5s}  share  {'95 % interval':14s}  prec. recall   dist.")
    for name, r in results.items():
        print(
            f"{name:22s} {r['n']:5d}  {r['share']:.3f}  {r['low']:.3f} to {r['high']:.3f}  {r['precision']:.3f}"
            f"  {r['recall']:.3f} {r['distance']:7.2f}"
        )


def sweep(results: Mapping[float, Mapping[str, float]], real: Mapping[str, float]) -> None:
    """Draw share and recall over the guidance scale.

    Args:
        results: scale -> what `table` prints.
        real: the same for real digits.
    """
    import matplotlib.pyplot as plt

    scales, found = list(results), list(results.values())
    _, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    left.fill_between(scales, [r["low"] for r in found], [r["high"] for r in found], color=plots.GENERATED, alpha=0.25)
    left.plot(scales, [r["share"] for r in found], "o-", color=plots.GENERATED)
    left.set(xscale="log", xlabel="guidance scale w", ylabel="share of the asked digit", title="obeys more")
    right.plot(scales, [r["recall"] for r in found], "o-", color=plots.GENERATED, label="generated")
    right.axhline(real["recall"], color=plots.REAL, linestyle="--", label="real against real")
    right.set(xscale="log", xlabel="guidance scale w", ylabel="recall", title="varies less", ylim=(0, 1.05))
    right.legend()
    for axes in (left, right):
        axes.set_xticks(scales, [f"{scale:g}" for scale in scales])
        axes.minorticks_off()


def unet(model: UNet, size: int = 32) -> None:
    """Draw a U-Net as it computes: a box for each feature map, a line for each skip, a dashed one for x_t itself.

    Args:
        model: without conditions but the class.
        size: height and width of the picture that is sent through.
    """
    import matplotlib.pyplot as plt

    maps, skips = _feature_maps(model, size)
    heights = sorted({m[2] for m in maps}, reverse=True)
    _, axes = plt.subplots(figsize=(12, 4.4))
    for i, (name, channels, height) in enumerate(maps):
        y = -heights.index(height)
        axes.text(i, y, f"{channels} x\n{height} x {height}", ha="center", va="center", fontsize=7.5, zorder=3,
                  bbox={"boxstyle": "round,pad=0.35", "facecolor": "#E8EEF4", "edgecolor": plots.DATA})  # fmt: skip
        axes.text(i, y - 0.36, name, ha="center", va="top", fontsize=7.5)
        if i:
            before = -heights.index(maps[i - 1][2])
            axes.annotate(
                "", (i - 0.36, y), (i - 1 + 0.36, before), arrowprops={"arrowstyle": "->", "color": "#555555"}
            )
    for k, (start, end) in enumerate(skips):
        low, up = -heights.index(maps[start][2]) + 0.26, 0.42 + 0.17 * k
        axes.plot([start, start, end, end], [low, up, up, -heights.index(maps[end][2]) + 0.26],
                  color=plots.MODEL, linewidth=1.1, alpha=0.8, zorder=1)  # fmt: skip
    top, last = 0.42 + 0.17 * len(skips), len(maps) - 1
    axes.plot([0, 0, last, last], [0.26, top, top, 0.26], color=plots.NOISE, linewidth=1.1, linestyle="--", zorder=1)
    axes.set(xlim=(-0.6, len(maps) - 0.4), ylim=(-len(heights) + 0.2, top + 0.13))
    axes.set_axis_off()


@torch.no_grad()
def _feature_maps(model: UNet, size: int) -> tuple[list[tuple[str, int, int]], list[tuple[int, int]]]:
    """(name, channels, height) of each map in order, and the (from, to) of each skip."""
    named = [("stem", model.stem)]
    named += [("down" if hasattr(m, "block") else "halve", m) for m in model.down]
    named += [("middle", m) for m in model.middle]
    named += [("up" if m.upsample is None else "up, double", m) for m in model.up]
    named += [("head", model.head)]
    seen: list[tuple[str, int, int]] = [("picture", model.config.channels, size)]

    def note(name):
        return lambda module, inputs, output: seen.append((name, output.shape[1], output.shape[2]))

    hooks = [module.register_forward_hook(note(name)) for name, module in named]
    here = next(model.parameters()).device
    x = torch.zeros(1, model.config.channels, size, size, device=here)
    y = torch.zeros(1, dtype=torch.long, device=here) if model.config.classes else None
    model(x, torch.ones(1, dtype=torch.long, device=here), y)
    for hook in hooks:
        hook.remove()
    seen.append(("noise", model.config.channels, size))
    first, up = 1, 2 + len(model.down) + len(model.middle)  # index of the stem, of the first map on the way up
    sources = range(first, first + 1 + len(model.down))
    return seen, [(s, up + i) for i, s in enumerate(reversed(sources))]
