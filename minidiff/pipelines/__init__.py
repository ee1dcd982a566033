"""Whole systems: text -> text encoder -> generation model -> decoder -> picture, from parts that were trained apart."""

from .stable_diffusion import Options, StableDiffusion

__all__ = ["Options", "StableDiffusion"]
