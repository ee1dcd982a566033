"""The caption world: scenes of coloured shapes, drawn, described, and read back exactly."""

from .batches import Captioned, ShapeBatches, captioned, draw, gallery, partly
from .grammar import caption, captions, parse, phrasings, tokenizer, vocabulary
from .layout import STYLES, Layout, place, scatter
from .reader import VERSION as READER_VERSION
from .reader import Reading, agreement, read, redraw
from .render import masks, render, signed_distance
from .splits import HELD_OUT, SPLITS, sample, scene, scenes, split_of
from .world import ATTRIBUTES, BACKGROUNDS, COLOURS, PLACES, RELATIONS, SHAPES, SIZES, Scene, Thing, attributes

__all__ = [
    "ATTRIBUTES", "BACKGROUNDS", "COLOURS", "Captioned", "HELD_OUT", "Layout", "PLACES", "READER_VERSION", "RELATIONS",
    "Reading", "SHAPES", "SIZES", "SPLITS", "STYLES", "Scene", "ShapeBatches", "Thing", "agreement", "attributes",
    "caption", "captioned", "captions", "draw", "gallery", "masks", "parse", "partly", "phrasings", "place", "read",
    "redraw", "render", "sample", "scatter", "scene", "scenes", "signed_distance", "split_of", "tokenizer",
    "vocabulary",
]  # fmt: skip
