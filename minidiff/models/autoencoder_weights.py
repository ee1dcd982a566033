"""diffusers' KL autoencoders under this course's names."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from .autoencoder import AutoencoderConfig

BLOCK = {"conv_shortcut": "past"}
ATTENTION = {
    "group_norm": "norm", "to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj",
    "query": "query", "key": "key", "value": "value", "proj_attn": "proj",  # before diffusers 0.15
}  # fmt: skip


def convert(model: nn.Module) -> tuple[AutoencoderConfig, dict[str, Tensor]]:
    """The config and the weights of a diffusers `AutoencoderKL`, on the CPU in float32.

    Raises:
        ValueError: a weight has no place in this course's class, or a choice is another than ours.
    """
    c = model.config
    known = {
        "down_block_types": {"DownEncoderBlock2D"}, "up_block_types": {"UpDecoderBlock2D"},
        "act_fn": {"silu"},
    }  # fmt: skip
    for name, allowed in known.items():
        given = getattr(c, name)
        if wrong := set([given] if isinstance(given, str) else given) - allowed:
            raise ValueError(f"{name} of the model must be {', '.join(allowed)}; got {', '.join(wrong)}")
    widths = list(c.block_out_channels)
    if any(w % widths[0] for w in widths):
        raise ValueError(f"block_out_channels of the model must be multiples of the first; got {widths}")
    attention = getattr(c, "mid_block_add_attention", True)
    config = AutoencoderConfig(
        channels=c.in_channels, latent=c.latent_channels, width=widths[0], mults=tuple(w // widths[0] for w in widths),
        blocks=c.layers_per_block, groups=c.norm_num_groups, attention=attention,
    )  # fmt: skip
    weights = {_renamed(k, attention): v.detach().cpu().float() for k, v in model.state_dict().items()}
    return config, weights | {"scale": torch.tensor(float(c.scaling_factor))}


def _renamed(name: str, attention: bool) -> str:
    """Our name of a weight; one that has none keeps its own and is found out."""
    name = re.sub(r"^(post_)?quant_conv", lambda m: f"{m[1] or ''}quant", name).replace("conv_norm_out", "norm_out")
    name = re.sub(r"(down|up)_blocks\.(\d+)\.resnets\.(\d+)", r"stages.\2.\3", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", r"down.\1", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", r"up.\1", name)
    last = 2 if attention else 1
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.{last if m[1] == '1' else 0}", name)
    if found := re.search(r"mid_block\.attentions\.0\.(.+)\.(weight|bias)$", name):
        name = name[: found.start()] + f"mid.1.{ATTENTION.get(found[1], found[1])}.{found[2]}"
    return name.replace("conv_shortcut", BLOCK["conv_shortcut"])
