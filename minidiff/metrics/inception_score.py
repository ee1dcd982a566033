"""Inception Score: whether a classifier is sure of each picture and sees every class."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .features import as_features


class InceptionScore(NamedTuple):
    """Each split's score lies between 1 and the number of classes."""

    mean: float
    std: float  # over the splits, divided by their number


def inception_score(scores: Tensor, *, logits: bool, splits: int = 10, seed: int = 0) -> InceptionScore:
    """exp of the mean KL divergence of p(y|x) from p(y) (Salimans et al., 2016, section 4), over shuffled splits.

    It looks at generated pictures alone: one perfect picture of each class scores best. Fewer pictures in a split score
    lower, so report N and the splits. In the literature the classifier is Inception-v3; name any other.

    Args:
        scores: [N,K], a classifier's answers.
        logits: whether they are logits; otherwise each row holds probabilities.
        splits: parts whose scores are averaged, after a shuffle (pictures often come sorted by class); their sizes
            differ by at most one.
        seed: of the shuffle.

    Raises:
        ValueError: `scores` is not [N,K] or not finite, rows are no probabilities, or there are fewer rows than splits.

    >>> inception_score(torch.eye(4).repeat(5, 1), logits=False, splits=1).mean
    4.0
    """
    scores = as_features("scores", scores)
    if not 1 <= splits <= len(scores):
        raise ValueError(f"splits must be in 1..{len(scores)}, at most the rows of scores; got {splits}")
    if logits:
        p = scores.softmax(dim=1)
    else:
        sums = scores.sum(dim=1, keepdim=True)
        if scores.min() < 0 or (sums - 1).abs().max() > 0.01:  # float16 leaves a few thousandths
            raise ValueError(
                f"scores must be probabilities, at least 0 and summing to 1 in each row; got values from "
                f"{scores.min().item():g} and sums from {sums.min().item():g} to {sums.max().item():g}; "
                "logits=True takes logits"
            )
        p = scores / sums
    p = p[torch.randperm(len(p), generator=torch.Generator().manual_seed(seed)).to(p.device)]
    found = torch.stack([_score(part) for part in p.tensor_split(splits)])
    return InceptionScore(found.mean().item(), found.std(correction=0).item())


def _score(p: Tensor) -> Tensor:
    """exp(H(mean p) - mean H(p)), [] float64."""
    return (torch.special.entr(p.mean(dim=0)).sum() - torch.special.entr(p).sum(dim=1).mean()).exp()
