"""An autoencoder whose latents are words of a list: encoder, vector quantiser, decoder (van den Oord et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from .autoencoder import AutoencoderConfig, Decoder, Encoder
from .layers import at_least
from .quantiser import Quantised, VectorQuantiser


@dataclass(frozen=True)
class VQAutoencoderConfig:
    """What a `VQAutoencoder` is built from.

    Attributes:
        body: of the encoder and the decoder; `body.latent` is the length of the list's vectors.
        codes: how many vectors the list has.

    Raises:
        ValueError: `codes` is no integer of at least 1.
    """

    body: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    codes: int = 256

    def __post_init__(self):
        if isinstance(self.body, dict):  # as JSON gives it
            object.__setattr__(self, "body", AutoencoderConfig(**self.body))
        at_least(self, codes=1)


class VQAutoencoder(nn.Module):
    """Picture -> map of codes -> picture.

    Args:
        config: sizes.
    """

    def __init__(self, config: VQAutoencoderConfig):
        super().__init__()
        self.config, z = config, config.body.latent
        self.encoder, self.decoder = Encoder(config.body), Decoder(config.body)
        self.quant, self.post_quant = nn.Conv2d(2 * z, z, 1), nn.Conv2d(z, z, 1)
        self.quantiser = VectorQuantiser(config.codes, z)

    def forward(self, x: Tensor) -> tuple[Tensor, Quantised]:
        """x [B,C,H,W] -> (reconstruction, what the list made of the latents)."""
        found = self.encode(x)
        return self.decode(found.z), found

    def encode(self, x: Tensor) -> Quantised:
        """x [B,C,H,W] -> vectors [B,Z,H/factor,W/factor] of the list and their numbers."""
        return self.quantiser(self.quant(self.encoder(x)))

    def decode(self, z: Tensor) -> Tensor:
        """z [B,Z,h,w] -> pictures."""
        return self.decoder(self.post_quant(z))

    def pictures(self, codes: Tensor) -> Tensor:
        """codes [B,h,w] -> pictures."""
        return self.decode(self.quantiser.look_up(codes))
