"""The parts that U-Nets are made of."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def timestep_embedding(t: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """Sines and cosines of the noise level at `dim / 2` frequencies (Vaswani et al., 2017, section 3.5).

    Args:
        t: [B] levels as integers, not scaled to [0, 1]: over 1..1000 the waves tell the levels apart, over [0, 1] most
            of them barely move.
        dim: even width of the result.
        max_period: the longest wave is 2 pi times this many levels.

    Returns:
        [B, dim] float32, cosines first.

    Raises:
        ValueError: `dim` is odd.

    >>> timestep_embedding(torch.tensor([0]), 4)
    tensor([[1., 1., 0., 0.]])
    """
    if dim % 2:
        raise ValueError(f"dim must be even; got {dim}")
    freqs = torch.exp(torch.arange(dim // 2, device=t.device) * (-math.log(max_period) / (dim // 2)))
    angle = t[:, None].float() * freqs  # [B, dim/2]
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def at_least(config, **least: int) -> None:
    """Checks fields of a config.

    Args:
        config: whose fields they are.
        least: field -> the smallest value that it may have.

    Raises:
        ValueError: a field is no integer, or smaller.
    """
    for name, low in least.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ValueError(f"{name} must be an integer of at least {low}; got {value!r}")


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with at most 32 groups of at least 4 channels that divide `channels`."""
    groups = next(g for g in range(min(32, max(1, channels // 4)), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


def zero(module: nn.Module) -> nn.Module:
    """Sets every parameter to 0: a residual branch that ends in it starts as the identity."""
    for p in module.parameters():
        nn.init.zeros_(p)
    return module


class ResBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), the second norm scaled and shifted by the time embedding.

    Ho et al. (2020), appendix B, with the scale-shift of Nichol & Dhariwal (2021), section 6.1.
    """

    def __init__(self, c_in: int, c_out: int, c_emb: int, dropout: float = 0.0):
        super().__init__()
        self.norm1, self.conv1 = group_norm(c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.emb = nn.Linear(c_emb, 2 * c_out)
        self.norm2, self.conv2 = group_norm(c_out), zero(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x: [B, c_in, H, W], emb: [B, c_emb], already through a SiLU -> [B, c_out, H, W]."""
        h = self.conv1(F.silu(self.norm1(x)))  # [B, c_out, H, W]
        scale, shift = self.emb(emb)[:, :, None, None].chunk(2, dim=1)  # each [B, c_out, 1, 1]
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))


class Attention(nn.Module):
    """Multi-head attention of every position to all positions, or, with `c_context`, to a sequence of tokens."""

    def __init__(self, channels: int, head_dim: int, c_context: int | None = None):
        super().__init__()
        if channels % head_dim:
            raise ValueError(f"head_dim must divide the {channels} channels; got {head_dim}")
        self.heads = channels // head_dim
        self.norm = group_norm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_kv = nn.Linear(c_context or channels, 2 * channels, bias=False)
        self.proj = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x: [B, C, H, W], context: [B, L, c_context], mask: [B, L] bool, True where a token counts -> [B, C, H, W]."""
        B, C, H, W = x.shape
        seq = self.norm(x).flatten(2).transpose(1, 2)  # [B, HW, C]
        q = self._split(self.to_q(seq))  # [B, heads, HW, head_dim]
        k, v = (self._split(part) for part in self.to_kv(seq if context is None else context).chunk(2, dim=-1))
        mask = None if mask is None else mask[:, None, None, :]  # [B, 1, 1, L]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # [B, heads, HW, head_dim]
        out = self.proj(out.transpose(1, 2).reshape(B, H * W, C))
        return x + out.transpose(1, 2).reshape(B, C, H, W)

    def _split(self, seq: Tensor) -> Tensor:
        return seq.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Downsample(nn.Conv2d):
    """Halves height and width with a strided convolution."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, stride=2, padding=1)


class Upsample(nn.Module):
    """Changes the number of channels with a 1x1 convolution, then doubles height and width by nearest neighbour.

    The two commute, and before the doubling the convolution sees a quarter of the positions. There is no 3x3
    convolution to smooth the squares: the residual block that follows begins with one.
    """

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, c_in, H, W] -> [B, c_out, 2H, 2W]."""
        return F.interpolate(self.conv(x), scale_factor=2.0, mode="nearest")
