"""Transformer blocks as CLIP has them: norm first, attention, norm, two layers with four times the width between."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import at_least

Activation = Literal["gelu", "quick_gelu"]


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), an approximation of GELU that OpenAI's CLIP was trained with (Hendrycks & Gimpel, 2016).

    >>> round(quick_gelu(torch.tensor(1.0)).item(), 4)
    0.8458
    """
    return x * torch.sigmoid(1.702 * x)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (Radford et al., 2019, section 2.3)."""

    def __init__(self, width: int, heads: int, activation: Activation):
        super().__init__()
        self.heads, self.activation = heads, quick_gelu if activation == "quick_gelu" else F.gelu
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """x [B,L,width] -> [B,L,width]; `causal`: a token hears itself and those before it."""
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [3,B,heads,L,dim]
        out = F.scaled_dot_product_attention(*qkv, is_causal=causal)
        x = x + self.proj(out.transpose(1, 2).flatten(2))
        return x + self.down(self.activation(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Blocks in a row, begun as GPT-2's: what a block adds is smaller the more of them there are.

    Args:
        width: of a token.
        layers: number of blocks.
        heads: of each block's attention.
        activation: between the two layers of each block.
    """

    def __init__(self, width: int, layers: int, heads: int, activation: Activation):
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, activation) for _ in range(layers))
        for block in self.blocks:  # Radford et al. (2021), section 2.5, in the released code
            nn.init.normal_(block.qkv.weight, std=width**-0.5)
            nn.init.normal_(block.up.weight, std=(2 * width) ** -0.5)
            for last in (block.proj, block.down):
                nn.init.normal_(last.weight, std=width**-0.5 * (2 * layers) ** -0.5)
            for layer in (block.qkv, block.proj, block.up, block.down):
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """x [B,L,width] -> [B,L,width]."""
        for block in self.blocks:
            x = block(x, causal)
        return x


def check_sizes(config, **least: int) -> None:
    """Raises ValueError where a field of a config is no integer of at least so much, or heads do not divide width."""
    at_least(config, **least)
    if "heads" in least and config.width % config.heads:
        raise ValueError(f"heads must divide width; got {config.heads} and {config.width}")
    activation = getattr(config, "activation", "gelu")
    if activation not in get_args(Activation):
        raise ValueError(f"activation must be one of {', '.join(get_args(Activation))}; got {activation!r}")
