"""Whole systems: text -> text encoder -> generation model -> decoder -> picture, from parts that were trained apart."""

from .stable_diffusion import StableDiffusion

__all__ = ["StableDiffusion"]
