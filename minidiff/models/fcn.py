"""Networks that answer at every pixel: from a classifier's last layers to FCN heads, and on to the U-Net.

One network, two choices: how the fine feature maps reach the decoder (`skip`), and what the decoder is (`decoder`).
("sum", "deconvolution") is the FCN of Long et al. (2015), ("concatenate", "symmetric") the U-Net of Ronneberger et al.
(2015). The rest of the grid tells which of the two differences matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import at_least, group_norm, timestep_embedding

Skip = Literal["none", "sum", "concatenate"]
Decoder = Literal["deconvolution", "symmetric"]


@dataclass(frozen=True)
class PixelConfig:
    """What a `PixelNet` is built from.

    Attributes:
        inputs: channels of the picture.
        outputs: channels of the answer: classes, or colours.
        width: channels at full resolution.
        mults: channels of each resolution, as multiples of `width`; each next one has half the height and width.
        skip: what is done with the encoder's maps: nothing, added, or stacked as channels.
        decoder: "deconvolution": maps of scores are fused, then one transposed convolution ends it.
            "symmetric": each resolution of the encoder is mirrored by a block of convolutions.
        scores: channels of the score maps that "deconvolution" fuses; in the paper, as many as classes.
        levels: whether the network hears a noise level t.

    Raises:
        ValueError: a field is out of range.
    """

    inputs: int = 3
    outputs: int = 2
    width: int = 16
    mults: tuple[int, ...] = (1, 2, 4, 4)
    skip: Skip = "concatenate"
    decoder: Decoder = "symmetric"
    scores: int = 16
    levels: bool = False

    def __post_init__(self):
        object.__setattr__(self, "mults", tuple(self.mults))  # JSON gives lists
        at_least(self, inputs=1, outputs=1, width=1, scores=1)
        if len(self.mults) < 2 or min(self.mults) < 1:
            raise ValueError(f"mults must be two or more integers of at least 1; got {self.mults}")
        for name, known in (("skip", get_args(Skip)), ("decoder", get_args(Decoder))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")

    @property
    def multiple(self) -> int:
        """Height and width of a picture must be multiples of this."""
        return 2 ** (len(self.mults) - 1)


class PixelNet(nn.Module):
    """`model(x)` -> [B, outputs, H, W]; with `levels`, `model(x_t, t)`, a noise predictor.

    Args:
        config: sizes.
    """

    def __init__(self, config: PixelConfig):
        super().__init__()
        self.config = c = config
        widths, emb = [c.width * m for m in c.mults], 4 * c.width if c.levels else 0
        if c.levels:
            self.time = nn.Sequential(nn.Linear(2 * c.width, emb), nn.SiLU(), nn.Linear(emb, emb), nn.SiLU())
        ins = [c.inputs, *widths[:-1]]
        self.encoder = nn.ModuleList(Block(a, b, emb) for a, b in zip(ins, widths, strict=True))
        self.decoder = Symmetric(c, widths, emb) if c.decoder == "symmetric" else Deconvolution(c, widths)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Answers at every pixel of x, [B, inputs, H, W].

        Args:
            x: picture, or noised picture; height and width multiples of `config.multiple`.
            t: [B] int64 levels, where the network was built for them.

        Returns:
            [B, outputs, H, W].

        Raises:
            ValueError: a shape does not fit, or `t` is missing or unexpected.
        """
        c, shape = self.config, list(x.shape)
        if x.ndim != 4 or shape[1] != c.inputs or shape[2] % c.multiple or shape[3] % c.multiple:
            raise ValueError(f"x must be [B,{c.inputs},H,W] with H and W multiples of {c.multiple}; got {shape}")
        if c.levels != (t is not None):
            raise ValueError(
                f"t must be {'given: [B] levels' if c.levels else 'left out'} (config.levels is {c.levels})"
            )
        emb = None if t is None else self.time(timestep_embedding(t, 2 * c.width).to(x.dtype))
        maps, h = [], x  # maps[i]: [B, widths[i], H / 2^i, W / 2^i]
        for i, block in enumerate(self.encoder):
            h = block(F.max_pool2d(h, 2) if i else h, emb)
            maps.append(h)
        return self.decoder(maps, emb)


class Block(nn.Module):
    """Two 3x3 convolutions, each with norm and ReLU; the second norm is scaled and shifted by the embedding."""

    def __init__(self, c_in: int, c_out: int, c_emb: int = 0):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(c_in, c_out, 3, padding=1), group_norm(c_out)
        self.conv2, self.norm2 = nn.Conv2d(c_out, c_out, 3, padding=1), group_norm(c_out)
        self.emb = nn.Linear(c_emb, 2 * c_out) if c_emb else None

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """x [B,c_in,H,W], emb [B,c_emb] or None -> [B,c_out,H,W]."""
        h = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.emb is not None:
            scale, shift = self.emb(emb)[:, :, None, None].chunk(2, dim=1)  # [B,c_out,1,1] each
            h = torch.addcmul(shift, h, 1 + scale)
        return F.relu(h)


class Deconvolution(nn.Module):
    """FCN's decoder: every map becomes scores by a 1x1 convolution; coarse ones are doubled and fused with finer ones.

    It ends at half resolution, from where one transposed convolution goes to the pixels. Without skips that one
    convolution makes the whole way from the coarsest map.
    """

    def __init__(self, c: PixelConfig, widths: list[int]):
        super().__init__()
        self.skip, k = c.skip, c.scores
        finest = len(widths) - 1 if c.skip == "none" else 1  # the map that the last transposed convolution starts from
        self.score = nn.ModuleList(nn.Conv2d(w, k, 1) for w in widths[finest:])
        self.grow = nn.ModuleList(deconvolution(k, k, 2) for _ in widths[finest + 1 :])
        self.merge = (
            nn.ModuleList(nn.Conv2d(2 * k, k, 1) for _ in widths[finest + 1 :]) if c.skip == "concatenate" else None
        )
        self.last = deconvolution(k, c.outputs, 2**finest)

    def forward(self, maps: list[Tensor], emb: Tensor | None) -> Tensor:
        scores = [layer(h) for layer, h in zip(self.score, maps[-len(self.score) :], strict=True)]  # fine to coarse
        h = scores.pop()
        for i in reversed(range(len(scores))):
            h = self.grow[i](h)
            h = h + scores[i] if self.merge is None else self.merge[i](torch.cat([h, scores[i]], dim=1))
        return self.last(h)


class Symmetric(nn.Module):
    """U-Net's decoder: at each resolution the map is doubled, meets the encoder's, and goes through a block."""

    def __init__(self, c: PixelConfig, widths: list[int], emb: int):
        super().__init__()
        self.skip, times = c.skip, 2 if c.skip == "concatenate" else 1
        pairs = list(zip(widths[1:], widths[:-1], strict=True))  # (coarse, fine)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for coarse, fine in pairs)
        self.block = nn.ModuleList(Block(times * fine, fine, emb) for _, fine in pairs)
        self.head = nn.Conv2d(widths[0], c.outputs, 1)

    def forward(self, maps: list[Tensor], emb: Tensor | None) -> Tensor:
        h = maps[-1]
        for i in reversed(range(len(self.block))):
            h = self.grow[i](h)
            if self.skip == "sum":
                h = h + maps[i]
            elif self.skip == "concatenate":
                h = torch.cat([h, maps[i]], dim=1)
            h = self.block[i](h, emb)
        return self.head(h)


def deconvolution(c_in: int, c_out: int, stride: int) -> nn.ConvTranspose2d:
    """A transposed convolution that makes a map `stride` times as large and begins as bilinear interpolation.

    Output channel i begins as the mean of the input channels of the same place modulo `c_out` (Long et al., 2015,
    section 3.3, where the two numbers are equal). The kernel's side, twice the stride, is a multiple of it: every pixel
    hears equally many inputs, so no checkerboard is built in (Odena et al., 2016).

    Args:
        c_in: channels of the input. c_out: of the output.
        stride: factor, even or 1.

    Raises:
        ValueError: the stride is odd and above 1: half a pixel would be lost on one side.
    """
    if stride == 1:
        return nn.ConvTranspose2d(c_in, c_out, 1)
    if stride % 2:
        raise ValueError(f"stride must be even or 1; got {stride}")
    layer = nn.ConvTranspose2d(c_in, c_out, 2 * stride, stride, padding=stride // 2)
    if c_in >= c_out:
        weight = torch.zeros(c_in, c_out, 2 * stride, 2 * stride)
        i = torch.arange(c_in)
        share = 1 / ((c_in - 1 - i % c_out) // c_out + 1)  # [c_in]: one over how many inputs share an output
        weight[i, i % c_out] = share[:, None, None] * bilinear_kernel(stride)
        layer.weight.data.copy_(weight)
    nn.init.zeros_(layer.bias)
    return layer


def bilinear_kernel(stride: int) -> Tensor:
    """The kernel, [2 stride, 2 stride], with which a transposed convolution interpolates bilinearly.

    >>> bilinear_kernel(2)[0]
    tensor([0.0625, 0.1875, 0.1875, 0.0625])
    """
    at = torch.arange(2 * stride) + 0.5 - stride  # distance to the input pixel, in output pixels
    line = 1 - at.abs() / stride
    return line[:, None] * line


def convolution_of(linear: nn.Linear, channels: int, side: int) -> nn.Conv2d:
    """The convolution that computes what a fully connected layer computes on a flattened [channels, side, side] map.

    On a larger map it slides: one answer for each place (Long et al., 2015, section 3.1).

    Args:
        linear: takes channels * side * side numbers.
        channels: of the map. side: its height and width.

    Raises:
        ValueError: the numbers do not fit.
    """
    if linear.in_features != channels * side * side:
        raise ValueError(f"linear takes {linear.in_features} numbers; channels * side^2 is {channels * side * side}")
    conv = nn.Conv2d(channels, linear.out_features, side, bias=linear.bias is not None)
    with torch.no_grad():
        conv.weight.copy_(linear.weight.unflatten(1, (channels, side, side)))
        if linear.bias is not None:
            conv.bias.copy_(linear.bias)
    return conv


def receptive_field(layers: list[tuple[int, int]]) -> int:
    """Side of the square of input pixels that one output pixel of a chain of layers can hear.

    Args:
        layers: (kernel, stride) of each convolution or pooling, from the input on.

    >>> receptive_field([(3, 1), (3, 1), (2, 2), (3, 1)])
    10
    """
    field, jump = 1, 1  # jump: input pixels between two neighbours of the current map
    for kernel, stride in layers:
        field, jump = field + (kernel - 1) * jump, jump * stride
    return field


def parameters(config: PixelConfig) -> int:
    """Number of parameters of a `PixelNet`."""
    with torch.device("meta"):
        return sum(p.numel() for p in PixelNet(config).parameters())


def matched(config: PixelConfig, count: int, within: float = 0.05) -> PixelConfig:
    """The same network with the width at which it has about `count` parameters.

    Args:
        config: all but the width.
        count: parameters wanted.
        within: largest relative difference.

    Raises:
        ValueError: no width comes that near.
    """
    low, high = 4, 128  # more width, more parameters
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(replace(config, width=middle)) <= count else (low, middle)
    found = min((replace(config, width=w) for w in (low, high)), key=lambda c: abs(parameters(c) - count))
    if abs(parameters(found) - count) > within * count:
        raise ValueError(f"no width from 4 to 128 gives {count} parameters within {within:.0%}; nearest: {found}")
    return found
