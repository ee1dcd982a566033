"""Text towers: a bag of words, and a causal Transformer read at the end-of-text token.

Each has `config.width` features a text, `forward(tokens) -> [B,width]`, and `tokens(tokens) -> [B,L,width]`, the same
for each token, which a generation model may attend to. Tokens are those of `minidiff.data`'s tokenizers: begin, text,
end, padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .transformer import Activation, Transformer, check_sizes


@dataclass(frozen=True)
class CBOWConfig:
    """What a `CBOW` is built from.

    Attributes:
        vocabulary: number of tokens. end: the end-of-text token.
        width: of an embedding.

    Raises:
        ValueError: a field is out of range.
    """

    vocabulary: int = 72
    end: int = 2
    width: int = 128

    def __post_init__(self):
        check_sizes(self, vocabulary=1, end=0, width=1)


class CBOW(nn.Module):
    """The mean of the words' embeddings: which words there are, and not in which order (Mikolov et al., 2013).

    Args:
        config: sizes.
    """

    def __init__(self, config: CBOWConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocabulary, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B,L] int64 -> [B,width]: the mean from the first token to the end-of-text."""
        end = end_of_text(tokens, self.config.end)  # [B]
        counts = (torch.arange(tokens.shape[1], device=tokens.device) <= end[:, None])[..., None]  # [B,L,1]
        return (self.embed(tokens) * counts).sum(1) / (end + 1)[:, None]

    def tokens(self, tokens: Tensor) -> Tensor:
        """tokens [B,L] int64 -> [B,L,width]."""
        return self.embed(tokens)


@dataclass(frozen=True)
class TextTransformerConfig:
    """What a `TextTransformer` is built from.

    Attributes:
        vocabulary: number of tokens. end: the end-of-text token.
        length: tokens of a text, at most.
        width: of a token. layers, heads: of the Transformer.
        activation: "gelu" or "quick_gelu".

    Raises:
        ValueError: a field is out of range.
    """

    vocabulary: int = 72
    end: int = 2
    length: int = 24
    width: int = 128
    layers: int = 4
    heads: int = 4
    activation: Activation = "gelu"

    def __post_init__(self):
        check_sizes(self, vocabulary=1, end=0, length=2, width=1, layers=1, heads=1)


class TextTransformer(nn.Module):
    """A causal Transformer: a token hears those before it, and the end-of-text token hears them all.

    Radford et al. (2021), section 2.4. What stands behind the end is never heard by what is before it, so padding
    needs no mask.

    Args:
        config: sizes.
    """

    def __init__(self, config: TextTransformerConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Parameter(0.01 * torch.randn(config.length, config.width))
        self.transformer = Transformer(config.width, config.layers, config.heads, config.activation)
        self.norm_out = nn.LayerNorm(config.width)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B,L] int64, L at most `length` -> [B,width], read at the end-of-text token."""
        at = end_of_text(tokens, self.config.end)  # [B]
        hidden = self._hidden(tokens)
        return self.norm_out(hidden[torch.arange(len(tokens), device=tokens.device), at])

    def tokens(self, tokens: Tensor, told: Tensor | None = None) -> Tensor:
        """tokens [B,L] int64 -> [B,L,width]; `told` [B,width] is added to every token before the first block."""
        return self.norm_out(self._hidden(tokens, told))

    def _hidden(self, tokens: Tensor, told: Tensor | None = None) -> Tensor:
        if tokens.ndim != 2 or tokens.shape[1] > self.config.length:
            raise ValueError(f"tokens must be [B,L] with L of at most {self.config.length}; got {list(tokens.shape)}")
        x = self.embed(tokens) + self.position[: tokens.shape[1]]  # [B,L,width]
        return self.transformer(x if told is None else x + told[:, None], causal=True)


def end_of_text(tokens: Tensor, end: int) -> Tensor:
    """Where each text ends: the place of its first end-of-text token.

    Args:
        tokens: [B,L] int64.
        end: the end-of-text token.

    Returns:
        [B] int64.

    Raises:
        ValueError: a text has none; on CUDA a device-side assertion, which is reported later.

    >>> end_of_text(torch.tensor([[1, 7, 2, 0], [1, 2, 0, 0]]), end=2)
    tensor([2, 1])
    """
    found = tokens == end  # [B,L]
    if tokens.device.type == "cuda":  # checked on the GPU, for which a Python `if` would have to wait at every forward
        torch._assert_async(found.any(1).all(), f"tokens must hold the end-of-text token {end} in every row")
    elif not bool(found.any(1).all()):
        missing = (~found.any(1)).nonzero()[0].item()
        raise ValueError(f"tokens must hold the end-of-text token {end} in every row; row {missing} has none")
    return found.int().argmax(1)
