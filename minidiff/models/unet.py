"""The U-Net of diffusion models: down, middle, up, with concatenated skips; conditions are added as embeddings,
attended to as tokens, or stacked as channels. It knows no schedule, no loss and no randomness but dropout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Attention, Downsample, ResBlock, Upsample, group_norm, timestep_embedding, zero


@dataclass(frozen=True)
class UNetConfig:
    """The shape of a U-Net.

    Attributes:
        channels: C of the data.
        width: channels of the first resolution.
        mults: channels of each resolution, as multiples of `width`; each next one has half the height and width.
        blocks: residual blocks a resolution on the way down (one more on the way up).
        attention: resolutions, counted from 0, whose blocks are followed by attention. The middle always has it.
        head_dim: channels of an attention head.
        patch: side of the squares that the stem folds into one position (1: none). A patch of 2 leaves the widest
            feature maps a quarter of the positions, which makes a step several times cheaper (compare Peebles & Xie,
            2023).
        dropout: probability inside residual blocks.
        learned_var: two outputs a channel, the second for the variance (Nichol & Dhariwal, 2021).
        classes: number of classes, or 0; the label `classes` itself means "no class".
        text: width of text tokens for cross-attention, or 0.
        image_emb: width of an image embedding, or 0.
        low: channels of a low-resolution picture, or 0.
    """

    channels: int = 1
    width: int = 64
    mults: tuple[int, ...] = (1, 2)
    blocks: int = 2
    attention: tuple[int, ...] = ()
    head_dim: int = 32
    patch: int = 1
    dropout: float = 0.0
    learned_var: bool = False
    classes: int = 0
    text: int = 0
    image_emb: int = 0
    low: int = 0

    def __post_init__(self):
        object.__setattr__(self, "mults", tuple(self.mults))  # JSON gives lists
        object.__setattr__(self, "attention", tuple(self.attention))
        for name in ("channels", "width", "blocks", "head_dim", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if self.width % 2 or not self.mults:
            raise ValueError(f"width must be even and mults not empty; got {self.width} and {self.mults}")
        if any(not 0 <= i < len(self.mults) for i in self.attention):
            raise ValueError(f"attention must name resolutions 0..{len(self.mults) - 1}; got {self.attention}")

    @property
    def multiple(self) -> int:
        """Height and width of a picture must be multiples of this."""
        return self.patch * 2 ** (len(self.mults) - 1)


class UNet(nn.Module):
    """`model(x_t, t, **conditions)` -> [B, C, H, W], or [B, 2C, H, W] with `learned_var`.

    A learned share of x_t, one number a channel that depends on what the blocks hear, goes straight to the output. Near
    level T the noise is nearly all of x_t, and a sampler multiplies what is left of the error by 1 / sqrt(alpha_bar);
    no narrow stack of normalised maps copies x_t that exactly (the role of c_skip in Karras et al., 2022, eq. 7; here
    it is learned, so that the network need not know the schedule). A small picture `low` with the channels of x_t goes
    through in the same way: most of a large picture is its small one, enlarged. The last norm is scaled and shifted
    too (Peebles & Xie, 2023, section 3.2).
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = c = config
        emb, out = 4 * c.width, c.channels * (2 if c.learned_var else 1)
        self.time = nn.Sequential(nn.Linear(c.width, emb), nn.SiLU(), nn.Linear(emb, emb))
        if c.classes:
            self.label = nn.Embedding(c.classes + 1, emb)
        if c.image_emb:
            self.image = nn.Linear(c.image_emb, emb)
        if c.low:
            self.low_time = nn.Sequential(nn.Linear(c.width, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.stem = nn.Conv2d((c.channels + c.low) * c.patch**2, c.width, 3, padding=1)

        widths = [c.width * m for m in c.mults]
        ch, skips = c.width, [c.width]
        self.down = nn.ModuleList()
        for i, w in enumerate(widths):
            for _ in range(c.blocks):
                self.down.append(Stage(c, ch, w, emb, attend=i in c.attention))
                ch = w
                skips.append(ch)
            if i < len(widths) - 1:
                self.down.append(Downsample(ch))
                skips.append(ch)
        self.middle = nn.ModuleList([Stage(c, ch, ch, emb, attend=True), Stage(c, ch, ch, emb, attend=False)])
        self.up = nn.ModuleList()
        for i, w in reversed(list(enumerate(widths))):
            for j in range(c.blocks + 1):
                up = widths[i - 1] if j == c.blocks and i > 0 else 0
                self.up.append(Stage(c, ch + skips.pop(), w, emb, attend=i in c.attention, upsample=up))
                ch = up or w
        self.norm, self.head = group_norm(ch), zero(nn.Conv2d(ch, out * c.patch**2, 3, padding=1))
        straight = 2 if c.low == c.channels else 1  # x_t, and a small picture of the same kind
        self.last = zero(nn.Linear(emb, 2 * ch + straight * out))  # scale and shift of the norm; what goes through

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        y: Tensor | None = None,
        text: Tensor | None = None,
        mask: Tensor | None = None,
        image_emb: Tensor | None = None,
        low: Tensor | None = None,
        low_t: Tensor | None = None,
    ) -> Tensor:
        """Predicts from x_t, [B, C, H, W], at levels t, [B].

        Args:
            x_t: noised data; height and width multiples of `config.multiple`.
            t: int64 levels.
            y: [B] int64 labels; `config.classes` means none.
            text: [B, L, D] tokens; mask: [B, L] bool, True where a token counts.
            image_emb: [B, D].
            low: [B, C_low, h, w], resized here to H x W; low_t: [B] its own noise level.

        Raises:
            ValueError: a size does not fit, or a condition is missing or unexpected.
        """
        self._check(x_t, {"y": y, "text": text, "mask": mask, "image_emb": image_emb, "low": low, "low_t": low_t})
        emb = self._hear(t, y, image_emb, low_t, x_t.dtype)  # [B, emb]
        seen = [x_t] if low is None else [x_t, F.interpolate(low, x_t.shape[-2:], mode="bilinear")]
        x = torch.cat(seen, dim=1)
        h = self.stem(F.pixel_unshuffle(x, self.config.patch))  # [B, width, H/patch, W/patch]
        skips = [h]
        for layer in self.down:
            h = layer(h) if isinstance(layer, Downsample) else layer(h, emb, text, mask)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, emb, text, mask)
        for layer in self.up:
            h = layer(torch.cat([h, skips.pop()], dim=1), emb, text, mask)
        last, width = self.last(emb)[:, :, None, None], h.shape[1]
        scale, shift, through = last.tensor_split([width, 2 * width], dim=1)  # [B, width or C or more, 1, 1]
        h = torch.addcmul(shift, self.norm(h), 1 + scale)
        out = F.pixel_shuffle(self.head(F.silu(h)), self.config.patch)  # [B, C or 2C, H, W]
        for share, picture in zip(through.split(out.shape[1], dim=1), seen, strict=False):
            out = out + share * picture.repeat(1, out.shape[1] // picture.shape[1], 1, 1)
        return out

    def _hear(self, t, y, image_emb, low_t, dtype: torch.dtype) -> Tensor:
        emb = self.time(timestep_embedding(t, self.config.width).to(dtype))
        if y is not None:
            emb = emb + self.label(y)
        if image_emb is not None:
            emb = emb + self.image(image_emb)
        if low_t is not None:
            emb = emb + self.low_time(timestep_embedding(low_t, self.config.width).to(dtype))
        return F.silu(emb)

    def _check(self, x_t: Tensor, given: dict[str, Tensor | None]) -> None:
        c, shape = self.config, list(x_t.shape)
        if x_t.ndim != 4 or shape[1] != c.channels or shape[2] % c.multiple or shape[3] % c.multiple:
            raise ValueError(f"x_t must be [B, {c.channels}, H, W] with H and W multiples of {c.multiple}; got {shape}")
        optional_mask = c.text and given["mask"] is not None
        expects = {
            "y": c.classes, "text": c.text, "mask": optional_mask, "image_emb": c.image_emb, "low": c.low,
            "low_t": c.low,
        }  # fmt: skip
        for name, value in given.items():
            if bool(expects[name]) != (value is not None):
                fault = "needs" if expects[name] else "was not built for"
                raise ValueError(f"this U-Net {fault} the condition {name} (config: {c})")


class Stage(nn.Module):
    """A residual block, self-attention, cross-attention to text, and upsampling to `upsample` channels (0: none)."""

    def __init__(self, c: UNetConfig, c_in: int, c_out: int, emb: int, *, attend: bool, upsample: int = 0):
        super().__init__()
        self.block = ResBlock(c_in, c_out, emb, c.dropout)
        self.attention = Attention(c_out, c.head_dim) if attend else None
        self.cross = Attention(c_out, c.head_dim, c.text) if attend and c.text else None
        self.upsample = Upsample(c_out, upsample) if upsample else None

    def forward(self, x: Tensor, emb: Tensor, text: Tensor | None, mask: Tensor | None) -> Tensor:
        h = self.block(x, emb)
        h = h if self.attention is None else self.attention(h)
        h = h if self.cross is None else self.cross(h, text, mask)
        return h if self.upsample is None else self.upsample(h)
