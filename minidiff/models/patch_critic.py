"""A discriminator that judges patches: one logit for each place of a coarse map (Isola et al., 2017, section 3.2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .layers import at_least


@dataclass(frozen=True)
class PatchCriticConfig:
    """What a `PatchCritic` is built from.

    Attributes:
        channels: of the pictures.
        width: channels after the first convolution.
        halvings: how often height and width are halved: see `field`.

    Raises:
        ValueError: a field is out of range.
    """

    channels: int = 3
    width: int = 32
    halvings: int = 2

    def __post_init__(self):
        at_least(self, channels=1, width=4, halvings=1)

    @property
    def field(self) -> int:
        """Side of the square of pixels that one logit sees."""
        return 3 * 2**self.halvings - 2 + 2 * 2**self.halvings


class PatchCritic(nn.Module):
    """Strided convolutions of 4 x 4, then one of 3 x 3; above 0 means real.

    It has no norms: they would let every logit hear of the whole picture.

    Args:
        config: sizes.
    """

    def __init__(self, config: PatchCriticConfig):
        super().__init__()
        self.config = config
        widths = [config.channels, *(config.width * 2**i for i in range(config.halvings))]
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x [B,C,H,W] -> logits [B,H/2^halvings,W/2^halvings]."""
        for conv in self.down:
            x = F.leaky_relu(conv(x), 0.2)
        return self.head(x)[:, 0]
