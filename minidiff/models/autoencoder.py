"""An autoencoder whose latents are a small picture: encoder, diagonal Gaussian, decoder (Rombach et al., 2022).

Its layout is that of the published KL autoencoders, so that `from_diffusers` can load them; ours are smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import at_least
from .posterior import DiagonalGaussian


@dataclass(frozen=True)
class AutoencoderConfig:
    """What an `Autoencoder` is built from.

    Attributes:
        channels: of a picture. latent: channels of the latents.
        width: channels at full resolution.
        mults: channels of each resolution, as multiples of `width`; each next one has half the height and width.
        blocks: residual blocks of each resolution in the encoder; the decoder has one more.
        groups: of the group norms; divides every number of channels.
        attention: whether the middle has attention between its two blocks.
        patch: side of the squares that the encoder's first layer folds into one position and the decoder's last one
            unfolds (1: none, as published). A patch of 2 spares the widest maps, most of the time on a CPU.

    Raises:
        ValueError: a field is out of range.
    """

    channels: int = 3
    latent: int = 4
    width: int = 32
    mults: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    groups: int = 8
    attention: bool = True
    patch: int = 1

    def __post_init__(self):
        object.__setattr__(self, "mults", tuple(self.mults))  # JSON gives lists
        at_least(self, channels=1, latent=1, width=1, blocks=1, groups=1, patch=1)
        if not self.mults or min(self.mults) < 1:
            raise ValueError(f"mults must be one or more integers of at least 1; got {self.mults}")
        if self.width % self.groups:
            raise ValueError(f"groups must divide width; got {self.groups} and {self.width}")

    @property
    def factor(self) -> int:
        """Height and width of a picture over those of its latents."""
        return self.patch * 2 ** (len(self.mults) - 1)


class Autoencoder(nn.Module):
    """Picture -> distribution of latents -> picture.

    Attributes:
        scale: what `latents` multiplies by, so that the latents of the training pictures have variance 1; a buffer,
            saved with the weights. It begins at 1: see `measure_scale`.

    Args:
        config: sizes.
    """

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config, z = config, config.latent
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant, self.post_quant = nn.Conv2d(2 * z, 2 * z, 1), nn.Conv2d(z, z, 1)
        self.register_buffer("scale", torch.tensor(1.0))

    def forward(
        self, x: Tensor, eps: Tensor | None = None, off: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes and decodes.

        Args:
            x: [B,C,H,W].
            eps: noise like the latents, for a sample of them; None takes the mean.
            off: what is added to the latents before they are decoded, in the units of `latents`.

        Returns:
            (reconstruction [B,C,H,W], mean and log-variance of the latents [B,Z,h,w] each).
        """
        posterior = self.encode(x)
        z = posterior.mean if eps is None else posterior.sample(eps)
        z = z if off is None else z + off / self.scale
        return self.decode(z), posterior.mean, posterior.log_var

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """x [B,C,H,W] -> the distribution of its latents, [B,Z,H/factor,W/factor].

        Raises:
            ValueError: the shape does not fit.
        """
        c, f = self.config, self.config.factor
        if x.ndim != 4 or x.shape[1] != c.channels or x.shape[2] % f or x.shape[3] % f:
            raise ValueError(f"x must be [B,{c.channels},H,W] with H and W multiples of {f}; got {list(x.shape)}")
        return DiagonalGaussian.of(self.quant(self.encoder(x)))

    def decode(self, z: Tensor) -> Tensor:
        """z [B,Z,h,w], on the encoder's scale -> pictures [B,C,h factor,w factor]."""
        return self.decoder(self.post_quant(z))

    def latents(self, x: Tensor) -> Tensor:
        """The mean latents of pictures, scaled to unit variance: what a generation model works on."""
        return self.encode(x).mean * self.scale

    def pictures(self, latents: Tensor) -> Tensor:
        """The way back from `latents`."""
        return self.decode(latents / self.scale)

    @classmethod
    def from_diffusers(cls, model: nn.Module) -> Autoencoder:
        """This course's autoencoder with the weights of a diffusers `AutoencoderKL`, equal in what it computes.

        Args:
            model: with plain down- and up-blocks and one attention head in the middle.

        Returns:
            A model in eval mode; its `scale` is the model's `scaling_factor`.

        Raises:
            ValueError: the model has parts that this class has not, or lacks some that it has.
        """
        from .autoencoder_weights import convert

        config, weights = convert(model)
        made = cls(config)
        if wrong := made.state_dict().keys() ^ weights.keys():
            raise ValueError(f"model does not fit an Autoencoder in {sorted(wrong)[:5]} ({len(wrong)} weights in all)")
        made.load_state_dict(weights)
        return made.eval()


@torch.no_grad()
def measure_scale(model: Autoencoder, x: Tensor, batch: int = 250) -> float:
    """Sets `model.scale` to 1 over the standard deviation of the latents of some pictures, and returns it.

    As Rombach et al. (2022) do, with one number for all channels.

    Args:
        model: any.
        x: [N,C,H,W], training pictures, a thousand or so.
        batch: pictures at once.
    """
    found = torch.cat([model.encode(part).mean for part in x.split(batch)])
    model.scale.fill_(1 / found.std())
    return model.scale.item()


class ResBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), without a time: pictures here have no noise level."""

    def __init__(self, c_in: int, c_out: int, groups: int):
        super().__init__()
        self.norm1, self.conv1 = _norm(c_in, groups), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2, self.conv2 = _norm(c_out, groups), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.past = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x [B,c_in,H,W] -> [B,c_out,H,W]."""
        h = self.conv1(F.silu(self.norm1(x)))
        return self.past(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    """Every place hears every other, with one head."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = _norm(channels, groups)
        self.query, self.key, self.value, self.proj = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """x [B,C,H,W] -> the same shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # [B,HW,C]
        q, k, v = (layer(tokens)[:, None] for layer in (self.query, self.key, self.value))  # [B,1,HW,C]
        out = self.proj(F.scaled_dot_product_attention(q, k, v)[:, 0])
        return x + out.transpose(1, 2).view_as(x)


class Encoder(nn.Module):
    """Pictures [B,C,H,W] -> [B,2Z,H/factor,W/factor]."""

    def __init__(self, c: AutoencoderConfig):
        super().__init__()
        widths = [c.width * m for m in c.mults]
        self.patch = c.patch
        self.conv_in = nn.Conv2d(c.channels * c.patch**2, widths[0], 3, padding=1)
        self.stages, self.down = nn.ModuleList(), nn.ModuleList()
        for i, w in enumerate(widths):
            ins = [widths[max(0, i - 1)], *[w] * (c.blocks - 1)]
            self.stages.append(nn.Sequential(*(ResBlock(a, w, c.groups) for a in ins)))
            if i + 1 < len(widths):
                self.down.append(nn.Conv2d(w, w, 3, stride=2))
        self.mid = _middle(widths[-1], c)
        self.norm_out, self.conv_out = _norm(widths[-1], c.groups), nn.Conv2d(widths[-1], 2 * c.latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(F.pixel_unshuffle(x, self.patch))
        for i, stage in enumerate(self.stages):
            h = stage(h)
            if i < len(self.down):
                h = self.down[i](F.pad(h, (0, 1, 0, 1)))  # at the far sides, as published
        return self.conv_out(F.silu(self.norm_out(self.mid(h))))


class Decoder(nn.Module):
    """Latents [B,Z,h,w] -> pictures [B,C,h factor,w factor]; repeats pixels and convolves: none is written twice."""

    def __init__(self, c: AutoencoderConfig):
        super().__init__()
        widths = [c.width * m for m in reversed(c.mults)]
        self.conv_in = nn.Conv2d(c.latent, widths[0], 3, padding=1)
        self.mid = _middle(widths[0], c)
        self.stages, self.up = nn.ModuleList(), nn.ModuleList()
        for i, w in enumerate(widths):
            ins = [widths[max(0, i - 1)], *[w] * c.blocks]
            self.stages.append(nn.Sequential(*(ResBlock(a, w, c.groups) for a in ins)))
            if i + 1 < len(widths):
                self.up.append(nn.Conv2d(w, w, 3, padding=1))
        self.patch, self.norm_out = c.patch, _norm(widths[-1], c.groups)
        self.conv_out = nn.Conv2d(widths[-1], c.channels * c.patch**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for i, stage in enumerate(self.stages):
            h = stage(h)
            if i < len(self.up):
                h = self.up[i](F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), self.patch)


def _middle(width: int, c: AutoencoderConfig) -> nn.Sequential:
    parts = [ResBlock(width, width, c.groups), ResBlock(width, width, c.groups)]
    return nn.Sequential(*(parts[:1] + [Attention(width, c.groups)] + parts[1:] if c.attention else parts))


def _norm(channels: int, groups: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=1e-6)
