"""open_clip's weights under this course's names."""

from __future__ import annotations

import re

from torch import Tensor, nn

from .clip import CLIPConfig
from .image_encoders import ResNetConfig, ViTConfig
from .text_encoders import TextTransformerConfig
from .transformer import Activation

# open_clip's name or its beginning -> ours
BLOCK = {
    "ln_1": "norm1", "ln_2": "norm2", "attn.in_proj_weight": "qkv.weight", "attn.in_proj_bias": "qkv.bias",
    "attn.out_proj": "proj", "mlp.c_fc": "up", "mlp.c_proj": "down",
}  # fmt: skip
TEXT = {"token_embedding": "text.embed", "positional_embedding": "text.position", "ln_final": "text.norm_out"}
VIT = {
    "visual.conv1": "image.embed", "visual.class_embedding": "image.cls", "visual.ln_pre": "image.norm_in",
    "visual.positional_embedding": "image.position", "visual.ln_post": "image.norm_out",
}  # fmt: skip
POOL = {
    "attnpool.q_proj": "pool.query", "attnpool.k_proj": "pool.key", "attnpool.v_proj": "pool.value",
    "attnpool.positional_embedding": "pool.position",
}  # fmt: skip
PROJECTIONS = {"text_projection": "text_proj.weight", "visual.proj": "image_proj.weight"}  # used as x @ W there
WHOLE = {
    "logit_scale": "logit_scale", "visual.attnpool.c_proj.weight": "image_proj.weight",
    "visual.attnpool.c_proj.bias": "image_proj.bias",
}  # fmt: skip


def convert(model: nn.Module) -> tuple[CLIPConfig, dict[str, Tensor]]:
    """The config and the weights of an `open_clip.CLIP`, on the CPU in float32.

    Raises:
        ValueError: a weight has no place in this course's classes, or a text is not read at its end.
    """
    if getattr(model, "text_pool_type", "argmax") != "argmax" or getattr(model.visual, "pool_type", "tok") != "tok":
        raise ValueError("model must read a text at its end and a picture at its class token; this one does otherwise")
    source = {k: v.detach().cpu() for k, v in model.state_dict().items() if not k.endswith("attn_mask")}
    source = {k: v.float() if v.is_floating_point() else v for k, v in source.items()}
    resnet = "visual.attnpool.c_proj.weight" in source
    stages = [len(getattr(model.visual, f"layer{i}")) for i in (1, 2, 3, 4)] if resnet else []
    renamed = {name: _renamed(name, stages) for name in source}
    if unknown := [name for name, ours in renamed.items() if ours is None]:
        raise ValueError(f"model has weights that CLIP has no place for: {unknown[:5]} ({len(unknown)} in all)")
    weights = {renamed[k]: v.T.contiguous() if k in PROJECTIONS else v for k, v in source.items()}
    image = _resnet_config(model.visual, stages) if resnet else _vit_config(model.visual)
    return CLIPConfig(image, _text_config(model), source["text_projection"].shape[1], image_bias=resnet), weights


def _renamed(name: str, stages: list[int]) -> str | None:
    """Our name of a weight, or None; `stages` holds a ResNet's blocks a stage, for a Transformer nothing."""
    if found := (WHOLE | PROJECTIONS).get(name):
        return found
    if block := re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)", name):
        part = _by_prefix(block[3], BLOCK)
        return part and f"{'image' if block[1] else 'text'}.transformer.blocks.{block[2]}.{part}"
    if not stages or not name.startswith("visual."):
        return _by_prefix(name, TEXT | VIT)
    name = name.removeprefix("visual.")
    if stem := re.fullmatch(r"(conv|bn)([123])\.(\w+)", name):  # convolution, norm, ReLU, three times
        return f"image.stem.{3 * (int(stem[2]) - 1) + (stem[1] == 'bn')}.{stem[3]}"
    if layer := re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", name):
        part = re.sub(r"^bn", "norm", layer[3]).replace("downsample.0", "past.1").replace("downsample.1", "past.2")
        return f"image.stages.{sum(stages[: int(layer[1]) - 1]) + int(layer[2])}.{part}"
    part = _by_prefix(name, POOL)
    return part and f"image.{part}"


def _by_prefix(name: str, table: dict[str, str]) -> str | None:
    return next((new + name[len(old) :] for old, new in table.items() if name.startswith(old)), None)


def _side(size: int | tuple[int, int]) -> int:
    return size if isinstance(size, int) else size[0]


def _activation(transformer: nn.Module) -> Activation:
    """Which one the instance has: configs and weights disagree about it."""
    return "quick_gelu" if type(transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU" else "gelu"


def _vit_config(visual: nn.Module) -> ViTConfig:
    blocks = visual.transformer.resblocks
    width, channels = visual.conv1.weight.shape[:2]
    return ViTConfig(
        _side(visual.image_size), _side(visual.patch_size), channels, width, len(blocks), blocks[0].attn.num_heads,
        _activation(visual.transformer),
    )  # fmt: skip


def _resnet_config(visual: nn.Module, stages: list[int]) -> ResNetConfig:
    base, channels = visual.conv3.out_channels, visual.conv1.in_channels
    return ResNetConfig(_side(visual.image_size), channels, base, tuple(stages), visual.attnpool.num_heads, stem=4)


def _text_config(model: nn.Module) -> TextTransformerConfig:
    blocks = model.transformer.resblocks
    vocabulary, width = model.token_embedding.weight.shape
    # open_clip reads where the number is largest: the end-of-text token is the last of the vocabulary.
    return TextTransformerConfig(
        vocabulary, vocabulary - 1, len(model.positional_embedding), width, len(blocks), blocks[0].attn.num_heads,
        _activation(model.transformer),
    )  # fmt: skip
