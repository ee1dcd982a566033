"""The bundled checkpoints by name: float16 weights as safetensors, and a JSON card that says how they were made."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from .models.autoencoder import Autoencoder, AutoencoderConfig
from .models.classifier import Classifier, ClassifierConfig
from .models.clip import CLIP, CLIPConfig
from .models.gan import Generator, GeneratorConfig
from .models.unet import UNet, UNetConfig
from .models.vq_autoencoder import VQAutoencoder, VQAutoencoderConfig
from .training.checkpoint import write_atomic

CHECKPOINTS = Path(__file__).parent / "checkpoints"
CLASSES = {
    "UNet": (UNet, UNetConfig),
    "Classifier": (Classifier, ClassifierConfig),
    "Generator": (Generator, GeneratorConfig),
    "CLIP": (CLIP, CLIPConfig),
    "Autoencoder": (Autoencoder, AutoencoderConfig),
    "VQAutoencoder": (VQAutoencoder, VQAutoencoderConfig),
}


class Pretrained(NamedTuple):
    """A trained model and what is known about it."""

    model: nn.Module  # float32, in eval mode, without gradients
    card: dict  # recipe, seed, versions, hardware, images seen, metrics


def names(folder: Path = CHECKPOINTS) -> list[str]:
    """The checkpoints that can be loaded, sorted."""
    return sorted(path.stem for path in folder.glob("*.safetensors") if path.with_suffix(".json").exists())


def load(name: str, *, device: str | torch.device = "cpu", folder: Path = CHECKPOINTS) -> Pretrained:
    """Loads a bundled checkpoint.

    Args:
        name: one of `names()`.
        device: where the model goes.
        folder: where the checkpoints lie.

    Raises:
        ValueError: there is none of that name, or its weights do not fit its card.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if name not in names(folder):
        raise ValueError(f"name must be one of {names(folder)}; got {name!r}")
    try:
        card = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        model_class, config_class = CLASSES[card["model"]["class"]]
        model = model_class(config_class(**card["model"]["config"]))
        weights = load_file(folder / f"{name}.safetensors")
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"the weights of {name} do not fit its card, or either is damaged: {error!r}") from error
    return Pretrained(model.to(device).eval().requires_grad_(False), card)


def save(name: str, model: nn.Module, card: dict, *, folder: Path = CHECKPOINTS) -> Pretrained:
    """Writes a model as float16 with its card, each file whole or not at all, and loads it back.

    Args:
        name: file name without suffix.
        model: an instance of one of `CLASSES`.
        card: what to say about it; the model's class and config are added.

    Raises:
        ValueError: a weight is not finite in float16.
    """
    from safetensors.torch import save as to_bytes

    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    weights = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    for key, value in weights.items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"{key} is not finite in float16")
    card = {"name": name, "model": {"class": type(model).__name__, "config": asdict(model.config)}, **card}
    write_atomic(folder / f"{name}.safetensors", to_bytes(weights))
    write_atomic(folder / f"{name}.json", (json.dumps(card, indent=1) + "\n").encode())
    return load(name, folder=folder)
