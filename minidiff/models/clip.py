"""CLIP: an image tower and a text tower that meet on a sphere (Radford et al., 2021)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.hub import open_clip_model
from .image_encoders import EfficientNet, EfficientNetConfig, ResNet, ResNetConfig, ViT, ViTConfig
from .text_encoders import CBOW, CBOWConfig, TextTransformer, TextTransformerConfig

ImageConfig = ViTConfig | ResNetConfig | EfficientNetConfig
TextConfig = CBOWConfig | TextTransformerConfig
IMAGE_TOWERS = {ViTConfig: ViT, ResNetConfig: ResNet, EfficientNetConfig: EfficientNet}
TEXT_TOWERS = {CBOWConfig: CBOW, TextTransformerConfig: TextTransformer}
LARGEST = math.log(100)  # of logit_scale


@dataclass(frozen=True)
class CLIPConfig:
    """What a `CLIP` is built from.

    Attributes:
        image: config of the image tower. text: config of the text tower. JSON's dicts are taken as well.
        dim: D, of an embedding.
        image_bias: whether the image projection adds a bias, as behind OpenAI's attention pooling.

    Raises:
        ValueError: a field is out of range, or a tower's config is unknown.
    """

    image: ImageConfig = ViTConfig()
    text: TextConfig = TextTransformerConfig()
    dim: int = 128
    image_bias: bool = False

    def __post_init__(self):
        object.__setattr__(self, "image", image_config(self.image))
        object.__setattr__(self, "text", _config("text", self.text, TEXT_TOWERS))
        if not isinstance(self.dim, int) or self.dim < 1:
            raise ValueError(f"dim must be an integer of at least 1; got {self.dim!r}")


def image_config(given: ImageConfig | dict) -> ImageConfig:
    """The config of an image tower, from itself or from the dict that JSON made of it.

    Raises:
        ValueError: it is none of a known tower.
    """
    return _config("image", given, IMAGE_TOWERS)


def _config(name: str, given, towers: dict):
    """A tower's config, from itself or from the dict that `asdict` made of it: its fields tell which it is."""
    if type(given) in towers:
        return given
    for kind in towers:
        if isinstance(given, dict) and given.keys() == asdict(kind()).keys():
            return kind(**given)
    raise ValueError(f"{name} must be one of {', '.join(kind.__name__ for kind in towers)}; got {given!r}")


class CLIP(nn.Module):
    """Two towers, a linear projection behind each, and a temperature that is learned.

    `logit_scale` is the logarithm of the inverse temperature. It begins at ln(1 / 0.07); `clamp_logit_scale` keeps it
    in [0, ln 100] after each step (section 2.5).

    Args:
        config: sizes.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        self.image = IMAGE_TOWERS[type(config.image)](config.image)
        self.text = TEXT_TOWERS[type(config.text)](config.text)
        self.image_proj = nn.Linear(config.image.width, config.dim, bias=config.image_bias)
        self.text_proj = nn.Linear(config.text.width, config.dim, bias=False)
        for layer in (self.image_proj, self.text_proj):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of length 1, and the factor of their inner products.

        Args:
            images: [B,3,H,W] in [-1,1], or normalised as the weights expect.
            tokens: [B,L] int64.

        Returns:
            (images [B,D], texts [B,D], scale []): logits are `scale * images @ texts.T`.
        """
        return self.encode_image(images), self.encode_text(tokens), self.logit_scale.exp()

    def encode_image(self, images: Tensor) -> Tensor:
        """images [B,3,H,W] -> unit embeddings [B,D]."""
        return F.normalize(self.image_proj(self.image(images)), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """tokens [B,L] int64 -> unit embeddings [B,D]."""
        return F.normalize(self.text_proj(self.text(tokens)), dim=-1)

    def encode_patches(self, images: Tensor) -> Tensor:
        """images [B,3,H,W] -> unit embeddings of the places, [B,N,D], row by row."""
        return F.normalize(self.image_proj(self.image.patches(images)), dim=-1)

    @classmethod
    def from_open_clip(cls, model_or_name: nn.Module | str, pretrained: str | None = None) -> CLIP:
        """This course's CLIP with the weights of one of open_clip's, equal in what it computes.

        Args:
            model_or_name: an `open_clip.CLIP` with a plain vision Transformer or a ModifiedResNet and a plain text
                Transformer; or the name of an architecture, as in `"ViT-B-32"`.
            pretrained: with a name, the tag of its published weights, as in `"openai"`. The activation is that of the
                tag. They are looked for in the hub's cache and else downloaded.

        Returns:
            A model in eval mode. Its pictures are to be normalised as the weights expect, its texts tokenized by
            `BytePairTokenizer`.

        Raises:
            ValueError: the model has parts that this class has not (they are named), or there is no such pair.
            WeightsUnavailable: the weights cannot be had; without a network within two seconds.
        """
        from .open_clip import convert

        if isinstance(model_or_name, str) != (pretrained is not None):
            raise ValueError(
                "pretrained must be given with a name and left out with a model; "
                f"got {pretrained!r} with {type(model_or_name).__name__}"
            )
        model = open_clip_model(model_or_name, pretrained) if pretrained is not None else model_or_name
        config, weights = convert(model)
        made = cls(config)
        if lacking := made.state_dict().keys() - weights.keys():
            raise ValueError(f"model lacks weights that CLIP has: {sorted(lacking)[:5]} ({len(lacking)} in all)")
        made.load_state_dict(weights)
        return made.eval()


def clamp_logit_scale(model: CLIP) -> None:
    """Keeps the temperature's inverse between 1 and 100; for `Turn.after`.

    >>> model = CLIP(CLIPConfig())
    >>> model.logit_scale.data.fill_(9.0)
    tensor(9.)
    >>> clamp_logit_scale(model)
    >>> round(model.logit_scale.exp().item(), 3)
    100.0
    """
    with torch.no_grad():
        model.logit_scale.clamp_(0, LARGEST)


def parameter_groups(model: CLIP, weight_decay: float) -> list[dict]:
    """Groups for an optimizer: no decay for gains, biases and the temperature (Radford et al., 2021, section 2.5)."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
