"""Image towers: a vision Transformer, CLIP's ResNet with attention pooling, and torchvision's EfficientNet adapted.

Each has `config.width` features a picture, `forward(x) -> [B,width]`, and `patches(x) -> [B,N,width]`, the same for
each place. A linear projection, which is no part of the tower, brings them to where texts are (`minidiff.models.clip`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .transformer import Activation, Transformer, check_sizes


@dataclass(frozen=True)
class ViTConfig:
    """What a `ViT` is built from.

    Attributes:
        size: height and width of a picture. patch: of a patch; divides `size`.
        channels: of a picture.
        width: of a token. layers, heads: of the Transformer.
        activation: "gelu" or "quick_gelu".

    Raises:
        ValueError: a field is out of range.
    """

    size: int = 32
    patch: int = 4
    channels: int = 3
    width: int = 128
    layers: int = 4
    heads: int = 4
    activation: Activation = "gelu"

    def __post_init__(self):
        check_sizes(self, size=1, patch=1, channels=1, width=1, layers=1, heads=1)
        if self.size % self.patch:
            raise ValueError(f"patch must divide size; got {self.patch} and {self.size}")


class ViT(nn.Module):
    """Patches as tokens, a class token in front of them, positions learned (Dosovitskiy et al., 2021).

    Args:
        config: sizes.
    """

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.config, w = config, config.width
        self.embed = nn.Conv2d(config.channels, w, config.patch, config.patch, bias=False)
        self.cls = nn.Parameter(w**-0.5 * torch.randn(w))
        self.position = nn.Parameter(w**-0.5 * torch.randn((config.size // config.patch) ** 2 + 1, w))
        self.norm_in, self.norm_out = nn.LayerNorm(w), nn.LayerNorm(w)
        self.transformer = Transformer(w, config.layers, config.heads, config.activation)

    def forward(self, x: Tensor) -> Tensor:
        """x [B,C,size,size] -> [B,width], the class token."""
        return self.norm_out(self._tokens(x)[:, 0])

    def patches(self, x: Tensor) -> Tensor:
        """x [B,C,size,size] -> [B,N,width], one for each patch, row by row."""
        return self.norm_out(self._tokens(x)[:, 1:])

    def _tokens(self, x: Tensor) -> Tensor:
        c = self.config
        if x.ndim != 4 or x.shape[1:] != (c.channels, c.size, c.size):
            raise ValueError(f"x must be [B,{c.channels},{c.size},{c.size}]; got {list(x.shape)}")
        tokens = self.embed(x).flatten(2).transpose(1, 2)  # [B,N,width]
        tokens = torch.cat([self.cls.expand(len(x), 1, -1), tokens], dim=1) + self.position  # [B,1+N,width]
        return self.transformer(self.norm_in(tokens))


@dataclass(frozen=True)
class ResNetConfig:
    """What a `ResNet` is built from.

    Attributes:
        size: height and width of a picture; a multiple of `stride`.
        channels: of a picture.
        base: channels of the first stage's inner convolutions; its output has four times as many.
        blocks: residual blocks of each stage; every stage but the first halves the map.
        heads: of the attention that pools.
        stem: how much the first convolutions shrink the picture: 4 in CLIP, 1 or 2 for small pictures.

    Raises:
        ValueError: a field is out of range.
    """

    size: int = 32
    channels: int = 3
    base: int = 16
    blocks: tuple[int, ...] = (1, 1, 1)
    heads: int = 8
    stem: int = 1

    def __post_init__(self):
        object.__setattr__(self, "blocks", tuple(self.blocks))  # JSON gives lists
        check_sizes(self, size=1, channels=1, base=2, heads=1)
        if not self.blocks or min(self.blocks) < 1:
            raise ValueError(f"blocks must be one or more integers of at least 1; got {self.blocks}")
        if self.stem not in (1, 2, 4) or self.size % self.stride:
            raise ValueError(
                f"stem must be 1, 2 or 4 and size a multiple of {self.stride}; got {self.stem} and {self.size}"
            )

    @property
    def stride(self) -> int:
        """How much smaller the last map is than the picture."""
        return self.stem * 2 ** (len(self.blocks) - 1)

    @property
    def width(self) -> int:
        """Features of a picture."""
        return 4 * self.base * 2 ** (len(self.blocks) - 1)


class ResNet(nn.Module):
    """CLIP's ResNet (Radford et al., 2021, section 2.4): three convolutions for a stem, averages in place of strides
    (antialiased), and attention in place of average pooling.

    Args:
        config: sizes.
    """

    def __init__(self, config: ResNetConfig):
        super().__init__()
        self.config, b = config, config.base
        convs = [
            nn.Conv2d(config.channels, b // 2, 3, 2 if config.stem > 1 else 1, padding=1, bias=False),
            nn.Conv2d(b // 2, b // 2, 3, padding=1, bias=False),
            nn.Conv2d(b // 2, b, 3, padding=1, bias=False),
        ]
        layers = [layer for conv in convs for layer in (conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())]
        self.stem = nn.Sequential(*layers, nn.AvgPool2d(2) if config.stem == 4 else nn.Identity())
        stages, c_in = [], b
        for i, n in enumerate(config.blocks):
            for j in range(n):
                stages.append(Bottleneck(c_in, b * 2**i, stride=2 if i and not j else 1))
                c_in = 4 * b * 2**i
        self.stages = nn.Sequential(*stages)
        self.pool = AttentionPool(config.size // config.stride, config.width, config.heads)

    def forward(self, x: Tensor) -> Tensor:
        """x [B,C,size,size] -> [B,width]."""
        return self.pool(self._map(x))

    def patches(self, x: Tensor) -> Tensor:
        """x [B,C,size,size] -> [B,N,width]: what each place would add if it alone were heard (Zhou et al., 2022)."""
        return self.pool.value(self._map(x).flatten(2).transpose(1, 2))

    def _map(self, x: Tensor) -> Tensor:
        c = self.config
        if x.ndim != 4 or x.shape[1:] != (c.channels, c.size, c.size):
            raise ValueError(f"x must be [B,{c.channels},{c.size},{c.size}]; got {list(x.shape)}")
        return self.stages(self.stem(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, average pooling where the map shrinks, 1x1; the way past it is pooled likewise."""

    def __init__(self, c_in: int, c_mid: int, stride: int = 1):
        super().__init__()
        c_out = 4 * c_mid
        self.conv1, self.norm1 = nn.Conv2d(c_in, c_mid, 1, bias=False), nn.BatchNorm2d(c_mid)
        self.conv2, self.norm2 = nn.Conv2d(c_mid, c_mid, 3, padding=1, bias=False), nn.BatchNorm2d(c_mid)
        self.conv3, self.norm3 = nn.Conv2d(c_mid, c_out, 1, bias=False), nn.BatchNorm2d(c_out)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.past = None
        if stride > 1 or c_in != c_out:
            self.past = nn.Sequential(self.pool, nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """x [B,c_in,H,W] -> [B,4 c_mid,H/stride,W/stride]."""
        h = F.relu(self.norm1(self.conv1(x)))
        h = F.relu(self.norm2(self.conv2(h)))
        h = self.norm3(self.conv3(self.pool(h)))
        return F.relu(h + (x if self.past is None else self.past(x)))


class AttentionPool(nn.Module):
    """One query, the mean of the map, attends to all places and itself. The projection behind it is the CLIP's.

    Args:
        side: of the map. width: channels. heads: of the attention.
    """

    def __init__(self, side: int, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide the width {width}; got {heads}")
        self.heads = heads
        self.position = nn.Parameter(width**-0.5 * torch.randn(side * side + 1, width))
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        for layer in (self.query, self.key, self.value):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x [B,width,side,side] -> [B,width]."""
        tokens = x.flatten(2).transpose(1, 2)  # [B,N,width]
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + self.position  # [B,1+N,width]
        q, k, v = (
            layer(part).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B,heads,1 or 1+N,dim]
            for layer, part in ((self.query, tokens[:, :1]), (self.key, tokens), (self.value, tokens))
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1)


@dataclass(frozen=True)
class EfficientNetConfig:
    """What an `EfficientNet` is built from.

    Attributes:
        size: height and width of a picture.
        scale: of all channel counts against EfficientNet-B0's.
        stages: how many of B0's seven stages are kept, from the first; each keeps its depth.
        stem: stride of the first convolution: 2 in the paper, 1 for small pictures.
        width: features of a picture, from a 1x1 convolution.

    Raises:
        ValueError: a field is out of range.
    """

    size: int = 32
    scale: float = 0.5
    stages: int = 5
    stem: int = 1
    width: int = 256

    def __post_init__(self):
        check_sizes(self, size=1, stages=1, stem=1, width=1)
        if self.scale <= 0 or self.stages > 7 or self.stem > 2:
            raise ValueError(
                "scale must be above 0, stages at most 7 and stem 1 or 2; "
                f"got {self.scale}, {self.stages} and {self.stem}"
            )


# EfficientNet-B0 (Tan & Le, 2019, table 1): expansion, kernel, stride, channels in and out, layers
_B0 = ((1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
       (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1))  # fmt: skip


class EfficientNet(nn.Module):
    """torchvision's EfficientNet without its classifier, with a stem for small pictures (Tan & Le, 2019).

    Args:
        config: sizes.
    """

    def __init__(self, config: EfficientNetConfig):
        super().__init__()
        from torchvision.models.efficientnet import EfficientNet as Reference
        from torchvision.models.efficientnet import MBConvConfig

        self.config = config
        rows = [MBConvConfig(*row, width_mult=config.scale) for row in _B0[: config.stages]]
        self.features = Reference(rows, dropout=0.0, stochastic_depth_prob=0.0, last_channel=config.width).features
        self.features[0][0].stride = (config.stem, config.stem)

    def forward(self, x: Tensor) -> Tensor:
        """x [B,3,size,size] -> [B,width], the mean over all places."""
        return self.patches(x).mean(1)

    def patches(self, x: Tensor) -> Tensor:
        """x [B,3,size,size] -> [B,N,width]."""
        if x.ndim != 4 or x.shape[1:] != (3, self.config.size, self.config.size):
            raise ValueError(f"x must be [B,3,{self.config.size},{self.config.size}]; got {list(x.shape)}")
        return self.features(x).flatten(2).transpose(1, 2)
