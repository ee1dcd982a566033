"""Whole systems: text -> text encoder -> generation model -> decoder -> picture, from parts that were trained apart."""

from .sheet import sheet
from .stable_diffusion import Options, StableDiffusion
from .systems import SYSTEMS, load

__all__ = ["Options", "SYSTEMS", "StableDiffusion", "load", "sheet"]
