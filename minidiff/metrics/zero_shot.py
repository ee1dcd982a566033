"""What embeddings of pictures and texts are good for: classes without training, retrieval, probes, and places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def class_embeddings(
    encode: Callable[[list[str]], Tensor], names: Sequence[str], templates: Sequence[str] = ("{}",)
) -> Tensor:
    """One embedding for each class: every template's is normalised, then averaged, then normalised again.

    Radford et al. (2021), section 3.1.4. Averaging embeddings, not probabilities, costs no more than a single template
    once it is done.

    Args:
        encode: n texts -> [n,D].
        names: of K classes.
        templates: texts with `{}` where the name goes.

    Returns:
        [K,D], of length 1.

    Raises:
        ValueError: there are no names or templates, or a template has no `{}`.

    >>> class_embeddings(lambda texts: torch.tensor([[float(len(t)), 0.0] for t in texts]), ["a", "bb"]).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    names, templates = list(names), list(templates)
    if not names or not templates:
        raise ValueError(f"names and templates must not be empty; got {len(names)} and {len(templates)}")
    if wrong := [t for t in templates if "{}" not in t]:
        raise ValueError(f"templates must hold {{}} where the name goes; got {wrong[0]!r}")
    texts = [template.format(name) for name in names for template in templates]
    each = F.normalize(encode(texts), dim=-1).unflatten(0, (len(names), len(templates)))  # [K,T,D]
    return F.normalize(each.mean(1), dim=-1)


def nearest_class(images: Tensor, classes: Tensor) -> Tensor:
    """The class whose embedding is nearest to each picture's.

    Args:
        images: [N,D], of length 1. classes: [K,D], from `class_embeddings`.

    Returns:
        [N] int64.
    """
    return (images @ classes.T).argmax(1)


class Recalls(NamedTuple):
    """Shares in [0,1] of queries whose own partner is among the best k."""

    to_texts: dict[int, float]  # a picture asks for its caption
    to_images: dict[int, float]  # a caption asks for its picture


def retrieval(images: Tensor, texts: Tensor, ks: Sequence[int] = (1, 5, 10)) -> Recalls:
    """Recall at k of N pictures among N captions, both ways. A tie counts against the partner.

    Args:
        images: [N,D], of length 1. texts: [N,D], row i belongs to picture i.
        ks: how many of the best are looked at.

    Raises:
        ValueError: the shapes differ.

    >>> x = torch.eye(3)
    >>> retrieval(x, x.roll(1, 0), ks=(1, 3))
    Recalls(to_texts={1: 0.0, 3: 1.0}, to_images={1: 0.0, 3: 1.0})
    """
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError(f"images and texts must both be [N,D]; got {list(images.shape)} and {list(texts.shape)}")
    scores = images @ texts.T  # [N,N]
    found = []
    for table in (scores, scores.T):
        rank = (table >= table.diagonal()[:, None]).sum(1)  # 1 is best; the partner counts itself
        found.append({k: (rank <= k).double().mean().item() for k in ks})
    return Recalls(*found)


def linear_probe(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    strengths: Sequence[float] = (1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3),
) -> float:
    """Accuracy of a logistic regression on frozen features; its regularisation is chosen on validation pictures.

    Radford et al. (2021), appendix A.3: then trained again on both.

    Args:
        train: features [N,D] and labels [N]. validation, test: likewise.
        strengths: scikit-learn's C, tried in this order.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    (x, y), (xv, yv), (xt, yt) = ((a.cpu().double().numpy(), b.cpu().numpy()) for a, b in (train, validation, test))
    scores = [LogisticRegression(C=c, max_iter=1000).fit(x, y).score(xv, yv) for c in strengths]
    best = strengths[int(np.argmax(scores))]
    both = np.concatenate([x, xv]), np.concatenate([y, yv])
    return float(LogisticRegression(C=best, max_iter=1000).fit(*both).score(xt, yt))


def few_shot(features: Tensor, labels: Tensor, shots: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """So many examples of each class, drawn without replacement: features [K shots, D] and labels.

    Raises:
        ValueError: a class has too few.
    """
    rng = torch.Generator().manual_seed(seed)
    chosen = []
    for k in labels.unique().tolist():
        of_class = (labels == k).nonzero()[:, 0].cpu()
        if len(of_class) < shots:
            raise ValueError(
                f"shots must be at most the examples of each class; got {shots}, class {k} has {len(of_class)}"
            )
        chosen.append(of_class[torch.randperm(len(of_class), generator=rng)[:shots]])
    index = torch.cat(chosen)
    return features[index], labels[index]


def similarity(patches: Tensor, text: Tensor, size: int) -> Tensor:
    """How well each pixel's place fits a text, from the embeddings of patches.

    Args:
        patches: [B,N,D], of length 1, N a square number, row by row.
        text: [D] or [B,D], of length 1.
        size: height and width of the result, by bilinear interpolation.

    Returns:
        [B,size,size], cosines.
    """
    side = round(patches.shape[1] ** 0.5)
    if side * side != patches.shape[1]:
        raise ValueError(f"patches must be [B,N,D] with a square number N; got {list(patches.shape)}")
    text = text.expand(len(patches), -1) if text.ndim == 1 else text
    cosines = torch.einsum("bnd,bd->bn", patches, text).view(-1, 1, side, side)
    return F.interpolate(cosines, (size, size), mode="bilinear", align_corners=False)[:, 0]


def box_of(mask: Tensor) -> Tensor:
    """The smallest boxes around what is marked.

    Args:
        mask: [B,H,W] bool.

    Returns:
        [B,4] int64: top, left, bottom, right, the last two exclusive; zeros where nothing is marked.

    >>> box_of(torch.tensor([[[False, True], [False, True]]])).tolist()
    [[0, 1, 2, 2]]
    """
    found = torch.zeros(len(mask), 4, dtype=torch.long)
    for i, one in enumerate(mask.cpu()):
        rows, columns = one.any(1).nonzero()[:, 0], one.any(0).nonzero()[:, 0]
        if len(rows):
            found[i] = torch.tensor([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
    return found.to(mask.device)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes, pair by pair: [B,4] and [B,4] as from `box_of` -> [B] in [0,1].

    >>> box_iou(torch.tensor([[0, 0, 2, 2]]), torch.tensor([[1, 0, 3, 2]])).tolist()
    [0.3333333432674408]
    """
    top_left, bottom_right = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    both = (bottom_right - top_left).clamp_min(0).prod(1)
    areas = sum((x[:, 2:] - x[:, :2]).prod(1) for x in (a, b))
    return both / (areas - both).clamp_min(1)
