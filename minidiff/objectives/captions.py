"""Predictive losses over captions: which words, and which word next (Radford et al., 2021, section 2.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.captioner import log_likelihood

Batch = dict[str, Tensor]


def bag_of_words(tokens: Tensor, vocabulary: int, special: int = 3) -> Tensor:
    """Which words a caption has.

    Args:
        tokens: [B,L] int64.
        vocabulary: number of tokens.
        special: tokens below this one (padding, begin, end) are no words.

    Returns:
        [B,vocabulary] float32, 1 for each word that is there.

    >>> bag_of_words(torch.tensor([[1, 4, 5, 4, 2, 0]]), 6).tolist()
    [[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]]
    """
    bag = torch.zeros(len(tokens), vocabulary, device=tokens.device)
    bag.scatter_(1, tokens, 1.0)
    bag[:, :special] = 0
    return bag


@dataclass
class WordsLoss:
    """Cross-entropy between the words of a caption, equally probable, and `model(x)` (Joulin et al., 2016, eq. 1).

    Attributes:
        prepare: batch -> batch, applied first.
    """

    prepare: Callable[[Batch], Batch] = dict

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
        """Returns the mean over pictures and {"loss"}, scalars."""
        batch = self.prepare(batch)
        logits = model(batch["x"]).float()  # [B,V]
        bag = bag_of_words(batch["tokens"], logits.shape[1])
        loss = F.cross_entropy(logits, bag / bag.sum(1, keepdim=True))
        return loss, {"loss": loss.detach()}


@dataclass
class CaptionLoss:
    """Negative log-likelihood of each caption, token by token, under `model(x, tokens)`.

    Attributes:
        end: the end-of-text token.
        prepare: batch -> batch, applied first.
    """

    end: int = 2
    prepare: Callable[[Batch], Batch] = dict

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
        """Returns the mean over tokens and {"loss"}, scalars."""
        batch = self.prepare(batch)
        tokens = batch["tokens"]
        counts = (tokens == self.end).int().argmax(1).sum()  # tokens that are predicted: all up to the end
        loss = -log_likelihood(model(batch["x"], tokens).float(), tokens, self.end).sum() / counts
        return loss, {"loss": loss.detach()}
