"""What contrastive learning is compared with: from a picture, predict the words of its caption.

Radford et al. (2021), section 2.3 and figure 2: a bag of words, and a language model that writes the caption.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .clip import IMAGE_TOWERS, ImageConfig, image_config
from .image_encoders import ViTConfig
from .text_encoders import TextTransformer, TextTransformerConfig


@dataclass(frozen=True)
class WordPredictorConfig:
    """What a `WordPredictor` is built from.

    Attributes:
        image: config of the image tower. outputs: words, or classes, each with a logit.

    Raises:
        ValueError: a field is out of range.
    """

    image: ImageConfig = ViTConfig()
    outputs: int = 72

    def __post_init__(self):
        object.__setattr__(self, "image", image_config(self.image))
        if not isinstance(self.outputs, int) or self.outputs < 1:
            raise ValueError(f"outputs must be an integer of at least 1; got {self.outputs!r}")


class WordPredictor(nn.Module):
    """An image tower and one logit for each word, whatever its place in the caption; a classifier, with other labels.

    Args:
        config: sizes.
    """

    def __init__(self, config: WordPredictorConfig):
        super().__init__()
        self.config = config
        self.image = IMAGE_TOWERS[type(config.image)](config.image)
        self.head = nn.Linear(config.image.width, config.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x [B,C,H,W] -> logits [B,outputs]."""
        return self.head(self.image(x))


@dataclass(frozen=True)
class CaptionerConfig:
    """What a `Captioner` is built from.

    Attributes:
        image: config of the image tower. text: config of the Transformer that writes.

    Raises:
        ValueError: a field is out of range.
    """

    image: ImageConfig = ViTConfig()
    text: TextTransformerConfig = TextTransformerConfig()

    def __post_init__(self):
        object.__setattr__(self, "image", image_config(self.image))
        if isinstance(self.text, dict):
            object.__setattr__(self, "text", TextTransformerConfig(**self.text))


class Captioner(nn.Module):
    """A causal Transformer that predicts each next token of a caption and is told of the picture at every token.

    Args:
        config: sizes.
    """

    def __init__(self, config: CaptionerConfig):
        super().__init__()
        self.config = config
        self.image = IMAGE_TOWERS[type(config.image)](config.image)
        self.tell = nn.Linear(config.image.width, config.text.width)
        self.text = TextTransformer(config.text)
        self.head = nn.Linear(config.text.width, config.text.vocabulary)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """x [B,C,H,W], tokens [B,L] int64 -> logits of the tokens that follow, [B,L,vocabulary]."""
        return self.write(self.tell(self.image(x)), tokens)

    def write(self, told: Tensor, tokens: Tensor) -> Tensor:
        """told [B,width], what the pictures say, tokens [B,L] -> logits [B,L,vocabulary]."""
        return self.head(self.text.tokens(tokens, told))


def log_likelihood(logits: Tensor, tokens: Tensor, end: int) -> Tensor:
    """How probable a `Captioner` finds captions.

    Args:
        logits: [B,L,V], of `Captioner.forward`.
        tokens: [B,L] int64, from the begin to the end-of-text token, padded.
        end: the end-of-text token.

    Returns:
        [B], the sum over the tokens after the first, the end-of-text token among them, in nats.

    >>> tokens = torch.tensor([[1, 5, 2, 0]])
    >>> round(log_likelihood(torch.zeros(1, 4, 8), tokens, end=2).item(), 4)  # two tokens, each one of eight
    -4.1589
    """
    following = tokens[:, 1:]  # [B,L-1]
    each = logits[:, :-1].log_softmax(-1).gather(-1, following[..., None])[..., 0]  # [B,L-1]
    ends = (following == end).int()
    ended = torch.cumsum(ends, dim=1) - ends > 0  # after the first end-of-text
    return each.masked_fill(ended, 0).sum(1)
