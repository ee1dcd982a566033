"""What lesson 05 draws: tables of similarities, two clouds, results side by side, and boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from minidiff.course import plots
from minidiff.recipes import results

CLOUDS = {"pictures": plots.DATA, "captions": plots.PALETTE["green"]}


def heat(logits: Tensor, title: str, low: float = -1.0, high: float = 1.0):
    """A figure of a table of similarities, pictures in rows, captions in columns; for a player.

    Args:
        logits: [N,N].
        title: above it.
        low, high: ends of the colour scale.

    Returns:
        A matplotlib figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.5), layout="constrained")
    ax = figure.subplots()
    ax.imshow(logits.detach().cpu(), cmap="cividis", vmin=low, vmax=high)
    ax.set(xticks=[], yticks=[], xlabel="captions", ylabel="pictures")
    ax.set_title(title, fontsize=9)
    return figure


def labelled(pictures: Tensor, captions: Sequence[str], logits: Tensor) -> None:
    """Draw a table of similarities with its pictures at the left and its captions above, numbers in the fields.

    Args:
        pictures: [N,3,H,W] in [-1,1]. captions: N. logits: [N,N].
    """
    import matplotlib.pyplot as plt
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    n = len(captions)
    figure, ax = plt.subplots(figsize=(0.8 * n + 1.5, 0.62 * n + 2.0))
    ax.imshow(logits.detach().cpu(), cmap="cividis", vmin=-1, vmax=1)
    for i in range(n):
        for j in range(n):
            dark = logits[i, j] < 0.3
            ax.text(j, i, f"{logits[i, j]:.2f}", ha="center", va="center", fontsize=8, color="w" if dark else "k")
        image = OffsetImage(plots.montage(pictures[i : i + 1]).numpy(), zoom=1.0)
        ax.add_artist(AnnotationBbox(image, (-0.95, i), frameon=False, annotation_clip=False))
    ax.xaxis.tick_top()
    ax.set_xticks(range(n), [_wrapped(text) for text in captions], rotation=60, ha="left", fontsize=7.5)
    ax.set(yticks=[], xlim=(-0.5, n - 0.5))
    ax.spines[:].set_visible(False)


def _wrapped(text: str, width: int = 26) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def clouds(panels: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Draw both kinds of embeddings on their two principal axes, a panel for each model, some pairs joined.

    Args:
        panels: title -> (pictures [N,D], captions [N,D]).
    """
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, len(panels), figsize=(3.7 * len(panels), 3.2), squeeze=False)
    for ax, (title, pair) in zip(axes[0], panels.items(), strict=True):
        both = torch.cat([x.detach().cpu().double() for x in pair])
        centred = both - both.mean(0)
        basis = torch.linalg.svd(centred, full_matrices=False).Vh[:2]  # [2,D]
        flat = (centred @ basis.T).chunk(2)
        for a, b in zip(flat[0][:25].tolist(), flat[1][:25].tolist()):
            ax.plot(*zip(a, b), color="#BBBBBB", linewidth=0.6, zorder=0)
        for (name, colour), points in zip(CLOUDS.items(), flat):
            ax.scatter(*points.T, s=6, color=colour, label=name, linewidths=0)
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.set_title(title, fontsize=10)
    axes[0, 0].legend(fontsize=8)


def answers(name: str) -> dict[str, tuple[float, float, float]] | None:
    """A table of the sweeps from `results/`: answer -> (mean, low, high), or None where this machine has none."""
    found = results.find(f"05_{name}")
    if found is None:
        return None
    value = found["value"]
    return {k: (v, value[f"{k}-low"], value[f"{k}-high"]) for k, v in value.items() if f"{k}-low" in value}


def panels(named: Mapping[str, Mapping[str, Mapping[str, tuple[float, float, float]]]], label: str) -> None:
    """Draw means with their intervals: a panel for each question, a colour for each figure that was measured.

    Args:
        named: question -> figure -> table from `answers`.
        label: of the vertical axis.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(named), figsize=(2.9 * len(named), 2.9), sharey=True, squeeze=False)
    for ax, (question, tables) in zip(axes[0], named.items(), strict=True):
        for k, (name, table) in enumerate(tables.items()):
            at = [i + 0.16 * (k - (len(tables) - 1) / 2) for i in range(len(table))]
            mean, low, high = zip(*table.values(), strict=True)
            error = [[m - a for m, a in zip(mean, low)], [b - m for m, b in zip(mean, high)]]
            ax.errorbar(at, mean, error, fmt="o", capsize=3, label=name)
        ax.set_xticks(range(len(table)), list(table), fontsize=8, rotation=20)
        ax.set_xlim(-0.5, len(table) - 0.5)
        ax.set_title(question, fontsize=10)
    axes[0, 0].set(ylabel=label, ylim=(-0.03, 1.06))
    if len(tables) > 1:
        axes[0, -1].legend(fontsize=8)


def curves(named: Mapping[str, Mapping[float, float]], label: str) -> None:
    """Draw lines over images seen.

    Args:
        named: name -> images seen -> accuracy.
        label: of the vertical axis.
    """
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6, 3.1))
    for name, line in named.items():
        ax.plot(list(line), list(line.values()), marker="o", markersize=3, label=name)
    ax.set(xlabel="images seen", ylabel=label, ylim=(0, 1.02))
    ax.legend(fontsize=9)


def probe(x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor) -> float:
    """Accuracy on new pictures of a logistic regression on the features of a few: [N,D], [N] and [M,D], [M]."""
    import warnings

    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # with one example a class it asks whether these are classes
        return float(LogisticRegression(C=100.0, max_iter=300).fit(x, y).score(new_x, new_y))


def boxes(
    pictures: Tensor, drawn: Mapping[str, tuple[Tensor, str]], titles: Sequence[str], warm: Tensor | None = None
) -> None:
    """Draw pictures with boxes, and below them how well each place fits.

    Args:
        pictures: [N,3,H,W] in [-1,1].
        drawn: name -> (boxes [N,4]: top, left, bottom, right; colour).
        titles: above each picture.
        warm: [N,H,W] from 0 to 1; None leaves the second row out.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    rows = 1 if warm is None else 2
    _, axes = plt.subplots(rows, len(pictures), figsize=(1.5 * len(pictures), 1.55 * rows + 0.4), squeeze=False)
    for i, ax in enumerate(axes[0]):
        ax.imshow(plots.montage(pictures[i : i + 1]).numpy())
        for name, (found, colour) in drawn.items():
            top, left, bottom, right = found[i].tolist()
            box = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=colour)
            box.set(linewidth=1.8, label=name)
            ax.add_patch(box)
        ax.set_title(titles[i], fontsize=8)
        if warm is not None:
            axes[1, i].imshow(warm[i], cmap="cividis", vmin=0, vmax=1)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    axes[0, 0].legend(fontsize=6.5, loc="lower left", frameon=True)
