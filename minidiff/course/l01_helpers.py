"""What lesson 01 draws: slopes of losses, points on the plane, a discriminator's field, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from minidiff.course import plots
from minidiff.recipes.gan_toy import over_seeds
from minidiff.recipes.results import find as recorded

__all__ = ["curves", "field", "listed", "points", "recorded", "smooth", "spread", "table"]

REACH = 2.8  # of the plane that is shown, to either side


def points(panels: Mapping[str, Tensor], centres: Tensor) -> None:
    """Draw generated points, a panel for each set, with the modes as rings.

    Args:
        panels: title -> [N,2].
        centres: [K,2].
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, len(panels), figsize=(2.5 * len(panels), 2.7), squeeze=False)
    for ax, (title, x) in zip(axes[0], panels.items(), strict=True):
        ax.scatter(*centres.T, s=90, facecolors="none", edgecolors=plots.REAL, linewidths=1.2)
        ax.scatter(*x[:800].T, s=3, color=plots.GENERATED, alpha=0.5, linewidths=0)
        _plane(ax, title)


def field(critic: nn.Module, x: Tensor, centres: Tensor, title: str):
    """A figure: what the discriminator thinks of every place, where its gradient points, and the generated points.

    Args:
        critic: points [B,2] -> logits [B].
        x: generated points, [N,2].
        centres: [K,2].
        title: above the figure.

    Returns:
        A matplotlib figure, for a player.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    ax = figure.subplots()
    line = torch.linspace(-REACH, REACH, 60)
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).view(-1, 2)
    with torch.no_grad():
        sure = critic(places).sigmoid().view(60, 60)
    ax.imshow(sure, extent=(-REACH, REACH, -REACH, REACH), origin="lower", cmap="cividis", vmin=0, vmax=1, alpha=0.55)
    coarse = torch.linspace(-REACH, REACH, 17)
    at = torch.stack(torch.meshgrid(coarse, coarse, indexing="xy"), dim=-1).view(-1, 2).requires_grad_()
    (slope,) = torch.autograd.grad(critic(at).sum(), at)
    length = slope.norm(dim=1, keepdim=True).clamp_min(1e-6)
    slope = slope / length * length.clamp(max=4).sqrt()  # long arrows shortened, so that faint ones show
    ax.quiver(*at.detach().T, *slope.T, color="#333333", scale=34, width=0.003)
    ax.scatter(*centres.T, s=110, facecolors="none", edgecolors=plots.REAL, linewidths=1.4)
    ax.scatter(*x[:500].T, s=4, color=plots.GENERATED, linewidths=0)
    _plane(ax, title)
    return figure


def _plane(ax, title: str) -> None:
    ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=[], yticks=[], aspect="equal")
    ax.set_title(title, fontsize=9)


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """Mean over the last `window` values, as far as there are any."""
    v = np.asarray(values, dtype=float)
    window = max(1, min(window, len(v)))
    return np.convolve(v, np.ones(window) / window, mode="valid")


def curves(panels: Mapping[str, Mapping[str, Sequence[float]]], window: int = 25) -> None:
    """Draw both players' losses, a panel for each run.

    Args:
        panels: title -> history of a run.
        window: steps that are averaged.
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 2.6), sharey=True, squeeze=False)
    for ax, (title, history) in zip(axes[0], panels.items(), strict=True):
        ax.plot(smooth(history["critic"], window), color=plots.PALETTE["purple"], label="discriminator's loss")
        ax.plot(smooth(history["generator"], window), color=plots.GENERATED, label="generator's loss")
        ax.axhline(2 * np.log(2), color=plots.TRUTH, lw=0.8, ls="--", label="2 log 2")
        ax.axhline(np.log(2), color=plots.TRUTH, lw=0.8, ls=":", label="log 2")
        ax.set(xlabel="step", title=title)
    axes[0, 0].set_ylabel("loss (nats)")
    axes[0, 0].legend(fontsize=7.5)


def table(rows: Mapping[str, Mapping[str, float | str]], digits: int = 3) -> None:
    """Print rows of numbers, or of words, under their names."""
    names = list(next(iter(rows.values())))
    cells = {row: [_cell(values[name], digits) for name in names] for row, values in rows.items()}
    widths = [max(10, len(name) + 2, *(len(some[i]) + 2 for some in cells.values())) for i, name in enumerate(names)]
    first = max(map(len, rows)) + 1
    for row, some in {"": names, **cells}.items():
        print(f"{row:{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(some, widths, strict=True)))


def _cell(value: float | str, digits: int) -> str:
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def spread(value: Mapping[str, float], name: str, digits: int = 2) -> str:
    """A setting's mean over seeds, and the lowest and the highest of them.

    Args:
        value: of a recorded result of the eight Gaussians.
        name: of the setting.
        digits: after the point.

    >>> spread({"R1": 7.5, "R1, seed 0": 8.0, "R1, seed 1": 7.0}, "R1", digits=1)
    '7.5 (7.0 to 8.0)'
    """
    each = over_seeds(value, name)
    return f"{value[name]:.{digits}f} ({min(each):.{digits}f} to {max(each):.{digits}f})"


def listed(changed: Mapping[str, object]) -> str:
    """Settings by name, and by value where that is a number.

    >>> listed({"gp": 1.0, "spectral": True}), listed({})
    ('gp 1, spectral', '-')
    """
    plain = {name: isinstance(v, int | float) and not isinstance(v, bool) for name, v in changed.items()}
    return ", ".join(f"{name} {v:g}" if plain[name] else name for name, v in changed.items()) or "-"
