"""What lesson 04 draws: networks as they are, labels as colours, what an output hears, and the grid of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from minidiff.course import plots
from minidiff.models.fcn import PixelNet, Symmetric
from minidiff.recipes import results

GROUND = "#F2F2F2"
_COLOURS = ("blue", "orange", "green", "vermilion", "purple", "sky", "yellow", "black")
_MORE = ("#7F7F7F", "#8B4513")  # the digits' classes are ten


def coloured(labels: Tensor) -> Tensor:
    """Labels as pictures: 0 is nearly white, every class has a colour.

    Args:
        labels: [N,H,W] int64, 0..10.

    Returns:
        [N,3,H,W] in [-1,1].
    """
    codes = [GROUND, *(plots.PALETTE[name] for name in _COLOURS), *_MORE]
    table = torch.tensor([[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in codes]) / 127.5 - 1  # [11,3]
    return table[labels.cpu()].permute(0, 3, 1, 2)


def rows(named: Mapping[str, Tensor], scale: float = 1.6) -> None:
    """Draw rows of pictures, the name of each row at its left.

    Args:
        named: name -> [N,C,H,W] in [-1,1], the same N and H everywhere.
        scale: screen pixels for each pixel of a picture.
    """
    import matplotlib.pyplot as plt

    sheets = [plots.montage(x, ncol=len(x)) for x in named.values()]
    height, width = sheets[0].shape[:2]
    size = ((width * scale + 130) / plots.DPI, (height * scale + 4) * len(sheets) / plots.DPI)
    _, axes = plt.subplots(len(sheets), 1, figsize=size, squeeze=False)
    for ax, name, sheet in zip(axes[:, 0], named, sheets, strict=True):
        ax.imshow(sheet.numpy(), interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)


def architecture(model: PixelNet, size: int = 32) -> None:
    """Draw a `PixelNet` as it computes: a box for each map, arrows in the order of the forward pass, a line a skip.

    Args:
        model: any of the six.
        size: height and width of the picture that is sent through.
    """
    import matplotlib.pyplot as plt

    maps, skips = _maps(model, size)
    depth = {height: i for i, height in enumerate(sorted({h for _, _, h in maps}, reverse=True))}
    _, axes = plt.subplots(figsize=(11, 3.6))
    for i, (name, channels, height) in enumerate(maps):
        y = -depth[height]
        axes.text(i, y, f"{channels} x\n{height} x {height}", ha="center", va="center", fontsize=8, zorder=3,
                  bbox={"boxstyle": "round,pad=0.35", "facecolor": "#E8EEF4", "edgecolor": plots.DATA})  # fmt: skip
        axes.text(i, y - 0.38, name, ha="center", va="top", fontsize=7.5)
    for start, end, kind in _arrows(maps, skips):
        a, b = -depth[maps[start][2]], -depth[maps[end][2]]
        look = {"color": "#555555"} if kind == "way" else {"color": plots.MODEL, "linewidth": 1.6}
        axes.annotate("", (end - 0.36, b), (start + 0.36, a), arrowprops={"arrowstyle": "->", **look}, zorder=1)
    axes.set(xlim=(-0.6, len(maps) - 0.4), ylim=(-len(depth) + 0.1, 0.5))
    axes.set_axis_off()
    c = model.config
    count = sum(p.numel() for p in model.parameters())
    axes.set_title(f"skips: {c.skip}; decoder: {c.decoder}; {count:,} parameters", fontsize=10)


@torch.no_grad()
def _maps(model: PixelNet, size: int) -> tuple[list[tuple[str, int, int]], dict[int, list[int]]]:
    """(name, channels, height) of each map in order; and for each map of the encoder, the maps it goes to by a skip."""
    decoder, n = model.decoder, len(model.encoder)
    named: list[tuple[str, nn.Module]] = [("block", m) for m in model.encoder]
    if isinstance(decoder, Symmetric):
        named += [("up-convolution", m) for m in decoder.grow] + [("block", m) for m in decoder.block]
        named += [("1x1", decoder.head)]
    else:
        named += [("score", m) for m in decoder.score] + [("double", m) for m in decoder.grow]
        named += [("deconvolution", decoder.last)]
    seen: list[tuple[str, int, int]] = [("picture", model.config.inputs, size)]
    place: dict[int, int] = {}

    def note(name):
        def hook(module, inputs, output):
            place[id(module)] = len(seen)
            seen.append((name, output.shape[1], output.shape[2]))

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in named]
    here = next(model.parameters()).device
    t = torch.ones(1, dtype=torch.long, device=here) if model.config.levels else None
    model(torch.zeros(1, model.config.inputs, size, size, device=here), t)
    for hook in hooks:
        hook.remove()
    skips: dict[int, list[int]] = {}
    if isinstance(decoder, Symmetric):
        if model.config.skip != "none":
            skips = {1 + i: [place[id(m)]] for i, m in enumerate(decoder.block)}
    else:
        finest = n - len(decoder.score)
        skips = {1 + finest + i: [place[id(m)]] for i, m in enumerate(decoder.score)}
    return seen, skips


def _arrows(maps: Sequence[tuple], skips: Mapping[int, list[int]]) -> list[tuple[int, int, str]]:
    """(from, to, kind) for the chain of the forward pass and for the skips."""
    scores = [i for i, (name, *_) in enumerate(maps) if name == "score"]
    chain = [(i, i + 1, "way") for i in range(len(maps) - 1) if i + 1 not in scores or i not in scores]
    chain = [(a, b, kind) for a, b, kind in chain if b not in scores]
    ends = [(a, b, "way" if b == max(scores, default=-1) else "skip") for a, targets in skips.items() for b in targets]
    adds = []
    if len(scores) > 1:  # scores of finer maps are added after each doubling
        doubles = [i for i, (name, *_) in enumerate(maps) if name == "double"]
        adds = [(s, d, "skip") for s, d in zip(reversed(scores[:-1]), doubles, strict=True)]
    return chain + ends + adds


@torch.enable_grad()
def heard(model: nn.Module, layer: nn.Module, size: int = 33, tries: int = 20) -> Tensor:
    """How strongly each input pixel moves the middle of a layer's output: mean absolute gradient over random inputs.

    Args:
        model: takes a picture [B,C,H,W].
        layer: a part of it whose output is a map.
        size: height and width of the input.
        tries: random inputs.

    Returns:
        [size,size] float32.
    """
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    c = next(m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(tries, c, size, size, device=next(model.parameters()).device).requires_grad_()
    model(x)
    hook.remove()
    out = kept[-1]
    gradient = torch.autograd.grad(out[:, :, out.shape[2] // 2, out.shape[3] // 2].sum(), x)[0]
    return gradient.abs().mean((0, 1)).cpu()


def fields(maps: Mapping[str, tuple[Tensor, int]]) -> None:
    """Draw maps from `heard`, each with the square that the formula allows.

    Args:
        maps: title -> (map [H,W], side of the square).
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    _, axes = plt.subplots(1, len(maps), figsize=(2.4 * len(maps), 2.6))
    for ax, (title, (heat, side)) in zip(axes, maps.items(), strict=True):
        ax.imshow((heat / heat.max()).sqrt(), cmap="cividis", vmin=0, vmax=1)
        inside = (heat > 0).nonzero()
        top, left = inside.min(0).values.tolist()
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=plots.MODEL, linewidth=1.6))
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=9)


def measured(task: str, figure: str) -> dict[str, tuple[float, float, float]] | None:
    """The grid of `minidiff.recipes.pixels` from `results/`: network -> (mean, low, high), or None where it is not.

    Args:
        task: "scenes", "digits" or "denoising".
        figure: "iou", "boundary_f", "mse" and so on.
    """
    result = results.find(f"04_{task}_{figure}")
    if result is None:
        return None
    value = result["value"]
    cells = [k for k in value if not k.endswith(("-low", "-high"))]
    return {cell: (value[cell], value[f"{cell}-low"], value[f"{cell}-high"]) for cell in cells}


def bars(tables: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> None:
    """Draw the grid: a panel for each figure, the six networks in it with their intervals.

    Args:
        tables: label of the axis -> table from `measured`.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, len(tables), figsize=(3.6 * len(tables), 3), squeeze=False)
    tint = {"deconvolution": plots.PALETTE["sky"], "symmetric": plots.PALETTE["blue"]}
    for ax, (label, table) in zip(axes[0], tables.items(), strict=True):
        skips = list(dict.fromkeys(cell.split("-")[0] for cell in table))
        for shift, decoder in ((-0.17, "deconvolution"), (0.17, "symmetric")):
            mean, low, high = zip(*(table[f"{skip}-{decoder}"] for skip in skips), strict=True)
            at = [i + shift for i in range(len(skips))]
            error = [[m - a for m, a in zip(mean, low, strict=True)], [b - m for m, b in zip(mean, high, strict=True)]]
            ax.errorbar(at, mean, error, fmt="o", capsize=3, color=tint[decoder], label=decoder)
        ax.set_xticks(range(len(skips)), skips)
        ax.set(xlabel="skip", ylabel=label)
    axes[0, 0].legend(title="decoder", fontsize=8)
