"""CLIP score: how well pictures match their captions, from CLIP's embeddings of both."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .features import as_pair
from .kernels import unit

WEIGHT = 2.5  # stretches the cosines that occur to about 0..1 (Hessel et al., 2021, section 3)


class ClipScore(NamedTuple):
    """Two scales that the field uses, and the cosines that they come from."""

    score: float  # mean of 2.5 max(cos, 0) (Hessel et al., 2021, eq. 1)
    percent: float  # 100 times the mean cosine, not below 0, as torchmetrics and most papers print it
    cosines: Tensor  # [N] float64, each picture with its caption


def clip_score(images: Tensor, texts: Tensor) -> ClipScore:
    """CLIP score of pictures and captions in pairs.

    The two scales differ by more than a factor where cosines are negative: `score` lifts each pair to 0, `percent` only
    their mean.

    Args:
        images: [N,D], embeddings of the pictures; any length but 0.
        texts: [N,D], embeddings of their captions, row by row.

    Raises:
        ValueError: the two are no features of one shape, or an embedding is zero.

    >>> import torch
    >>> clip_score(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, -1.0]]))
    ClipScore(score=0.75, percent=0.0, cosines=tensor([ 0.6000, -1.0000], dtype=torch.float64))
    """
    if isinstance(images, Tensor) and isinstance(texts, Tensor) and images.shape != texts.shape:
        shapes = f"{list(images.shape)} and {list(texts.shape)}"
        raise ValueError(f"images and texts must have one shape [N,D]; got {shapes}")
    images, texts = as_pair(images, texts, names=("images", "texts"))
    cosines = (unit("images", images) * unit("texts", texts)).sum(dim=1).clamp(-1, 1)
    score = WEIGHT * cosines.clamp_min(0).mean().item()
    return ClipScore(score, max(0.0, 100 * cosines.mean().item()), cosines)
