"""Generators and discriminators: for 32x32 pictures, and for points, where a player is a few linear layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .layers import at_least, group_norm

SIDE = 32


@dataclass(frozen=True)
class GeneratorConfig:
    """What a `Generator` is built from.

    Attributes:
        channels: of the pictures.
        z: numbers of noise a picture is made of.
        width: channels at 16x16; twice as many at 8x8, four times at 4x4, half as many at 32x32.
        classes: number of labels, or 0 for none.

    Raises:
        ValueError: a field is out of range.
    """

    channels: int = 1
    z: int = 64
    width: int = 32
    classes: int = 0

    def __post_init__(self):
        at_least(self, channels=1, z=1, width=8, classes=0)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """What a `Discriminator` is built from.

    Attributes:
        channels: of the pictures.
        width: channels at 16x16; twice as many at 8x8, four times at 4x4.
        classes: number of labels, or 0 for none.
        spectral: divide each weight matrix by its largest singular value (Miyato et al., 2018).

    Raises:
        ValueError: a field is out of range.
    """

    channels: int = 1
    width: int = 32
    classes: int = 0
    spectral: bool = False

    def __post_init__(self):
        at_least(self, channels=1, width=8, classes=0)


@dataclass(frozen=True)
class PointConfig:
    """What the two players of a game about points are built from.

    Attributes:
        dim: coordinates of a point.
        z: numbers of noise a generated point is made of.
        width: of each hidden layer.
        depth: number of hidden layers.
        spectral: as in `DiscriminatorConfig`; the generator does not look at it.

    Raises:
        ValueError: a field is out of range.
    """

    dim: int = 2
    z: int = 8
    width: int = 64
    depth: int = 2
    spectral: bool = False

    def __post_init__(self):
        at_least(self, dim=1, z=1, width=1, depth=1)


class Generator(nn.Module):
    """Noise to pictures: a linear map to 4x4, then three times twice the side, a convolution, norm and ReLU.

    Upsampling repeats pixels before a 3x3 convolution, since a strided transposed convolution leaves checkerboards
    (Odena et al., 2016). Group norm, so that a picture does not depend on the batch it is made in.

    Args:
        config: sizes.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config, w = config, config.width
        if config.classes:
            self.label = nn.Embedding(config.classes, config.z)
        self.stem = nn.Linear(config.z * (2 if config.classes else 1), 4 * w * 4 * 4)
        self.up = nn.ModuleList(_Up(4 * w // 2**i, 2 * w // 2**i) for i in range(3))
        self.head = nn.Conv2d(w // 2, config.channels, 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Makes one picture for each row of noise.

        Args:
            z: [B,Z], standard normal.
            y: [B] int64 labels, where the generator was built for them.

        Returns:
            [B,C,32,32] in [-1,1].

        Raises:
            ValueError: a shape does not fit, or `y` is missing or unexpected.
        """
        if z.ndim != 2 or z.shape[1] != self.config.z:
            raise ValueError(f"z must be [B,{self.config.z}]; got {list(z.shape)}")
        _check_label(self.config.classes, y)
        h = z if y is None else torch.cat([z, self.label(y)], dim=1)
        h = F.relu(self.stem(h)).unflatten(1, (-1, 4, 4))  # [B, 4 width, 4, 4]
        for layer in self.up:
            h = layer(h)
        return self.head(h).tanh()  # [B,C,32,32]


class _Up(nn.Module):
    """Doubles height and width by repetition, convolves, normalises."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(c_in, c_out, 3, padding=1), group_norm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))))


class Discriminator(nn.Module):
    """Pictures to one logit each, above 0 for "real": three strided convolutions, no norm, and a linear layer.

    A norm over the batch would let a picture's logit depend on its neighbours, and a gradient penalty is about one
    picture at a time. With labels the logit gains the inner product of the features and the label's embedding
    (Miyato & Koyama, 2018).

    Args:
        config: sizes.
    """

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        self.config, w = config, config.width
        norm = spectral_norm if config.spectral else nn.Identity()
        widths = (config.channels, w, 2 * w, 4 * w)
        self.down = nn.ModuleList(norm(nn.Conv2d(widths[i], widths[i + 1], 4, 2, 1)) for i in range(3))
        self.head = norm(nn.Linear(4 * w * 4 * 4, 1))
        if config.classes:
            self.label = norm(nn.Embedding(config.classes, 4 * w * 4 * 4))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """One logit a picture.

        Args:
            x: [B,C,32,32] in [-1,1].
            y: [B] int64 labels, where the discriminator was built for them.

        Returns:
            [B]; the probability of "real" is its sigmoid.

        Raises:
            ValueError: a shape does not fit, or `y` is missing or unexpected.
        """
        if x.ndim != 4 or x.shape[1:] != (self.config.channels, SIDE, SIDE):
            raise ValueError(f"x must be [B,{self.config.channels},{SIDE},{SIDE}]; got {list(x.shape)}")
        _check_label(self.config.classes, y)
        h = x
        for conv in self.down:
            h = F.leaky_relu(conv(h), 0.2)  # at last [B, 4 width, 4, 4]
        h = h.flatten(1)
        logits = self.head(h)[:, 0]  # [B]
        return logits if y is None else logits + (self.label(y) * h).sum(1)


class PointGenerator(nn.Module):
    """Noise to points, `depth` hidden layers.

    Args:
        config: sizes.
    """

    def __init__(self, config: PointConfig):
        super().__init__()
        self.config = config
        self.layers = _layers(config.z, config.dim, config, nn.Identity())

    def forward(self, z: Tensor) -> Tensor:
        """z [B,Z] -> points [B,dim]."""
        return self.layers(z)


class PointDiscriminator(nn.Module):
    """Points to one logit each.

    Args:
        config: sizes.
    """

    def __init__(self, config: PointConfig):
        super().__init__()
        self.config = config
        self.layers = _layers(config.dim, 1, config, spectral_norm if config.spectral else nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """x [B,dim] -> logits [B]."""
        return self.layers(x)[:, 0]


def _layers(inputs: int, outputs: int, c: PointConfig, norm) -> nn.Sequential:
    widths = [inputs, *[c.width] * c.depth]
    hidden = [
        layer
        for a, b in zip(widths[:-1], widths[1:], strict=True)
        for layer in (norm(nn.Linear(a, b)), nn.LeakyReLU(0.2))
    ]
    return nn.Sequential(*hidden, norm(nn.Linear(c.width, outputs)))


def _check_label(classes: int, y: Tensor | None) -> None:
    if bool(classes) != (y is not None):
        raise ValueError(
            f"y must be {'given: [B] labels' if classes else 'left out'} (the config has classes={classes})"
        )
