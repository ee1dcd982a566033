"""A small classifier of 32x32 pictures: it judges samples, and its features are what distances are measured in."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import at_least, group_norm

FEATURES = 128


@dataclass(frozen=True)
class ClassifierConfig:
    """What a `Classifier` is built from.

    Attributes:
        channels: of the pictures.
        classes: number of labels.
        width: channels after the first convolution; the later ones have 2 and 4 times as many.
        grid: the picture is averaged over grid x grid cells: 1 forgets where things are, more remembers.
        dropout: share of the features that is dropped in training.

    Raises:
        ValueError: a field is out of range.
    """

    channels: int = 1
    classes: int = 10
    width: int = 32
    dropout: float = 0.1
    grid: int = 1

    def __post_init__(self):
        at_least(self, channels=1, classes=2, width=4, grid=1)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0,1); got {self.dropout!r}")


class Classifier(nn.Module):
    """Three strided convolutions with a residual convolution after the last two, averaged over the picture or cells.

    Group norm, so that a picture's logits do not depend on the batch it is in, and an averaged model needs no
    statistics of its own.

    Args:
        config: sizes.
    """

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = config
        w = config.width
        self.stem = nn.Sequential(nn.Conv2d(config.channels, w, 5, stride=2, padding=2), group_norm(w), nn.ReLU())
        self.stages = nn.Sequential(_Stage(w, 2 * w), _Stage(2 * w, 4 * w))
        self.project = nn.Linear(4 * w * config.grid**2, FEATURES)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(FEATURES, config.classes)

    def features(self, x: Tensor) -> Tensor:
        """The input of the last layer.

        Args:
            x: [B,C,H,W] in [-1,1], H and W at least 8.

        Returns:
            [B,128], not negative.

        Raises:
            ValueError: `x` has another shape.
        """
        if x.ndim != 4 or x.shape[1] != self.config.channels or min(x.shape[2:]) < 8:
            raise ValueError(
                f"x must be [B,{self.config.channels},H,W] with H and W of at least 8; got {list(x.shape)}"
            )
        h = self.stages(self.stem(x))  # [B, 4 width, H/8, W/8]
        return F.relu(self.project(F.adaptive_avg_pool2d(h, self.config.grid).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """x [B,C,H,W] -> logits [B,classes]."""
        return self.head(self.dropout(self.features(x)))


class _Stage(nn.Module):
    """Halves height and width, then adds what a second convolution says."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.down, self.norm1 = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1), group_norm(c_out)
        self.conv, self.norm2 = nn.Conv2d(c_out, c_out, 3, padding=1), group_norm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(self.down(x)))
        return F.relu(h + self.norm2(self.conv(h)))
