"""The caption world: scenes of coloured shapes, drawn, described, and read back exactly."""

from .batches import Captioned, ShapeBatches, captioned, draw, gallery
from .grammar import caption, captions, parse, phrasings, tokenizer, vocabulary
from .layout import STYLES, Layout, place, scatter
from .reader import VERSION as READER_VERSION
from .reader import Reading, agreement, read, redraw
from .render import masks, render, signed_distance
from .world import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    PLACES,
    RELATIONS,
    SHAPES,
    SIZES,
    SPLITS,
    Scene,
    Thing,
    sample,
    scene,
    scenes,
    split_of,
)

__all__ = [
    "BACKGROUNDS", "COLOURS", "Captioned", "HELD_OUT", "Layout", "PLACES", "READER_VERSION", "RELATIONS", "Reading",
    "SHAPES", "SIZES", "SPLITS", "STYLES", "Scene", "ShapeBatches", "Thing", "agreement", "caption", "captioned",
    "captions", "draw", "gallery", "masks", "parse", "phrasings", "place", "read", "redraw", "render", "sample",
    "scatter", "scene", "scenes", "signed_distance", "split_of", "tokenizer", "vocabulary",
]  # fmt: skip
