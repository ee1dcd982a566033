"""Data as batches: dicts of tensors, `"x"` the pictures in [-1,1], every other key a condition."""

from .batches import Batch, Batches, Dataset, StreamBatches
from .clutter import cluttered
from .degrade import degrade, downsample, encode
from .download import DataUnavailable
from .folder import Folder, folder
from .sets import NAMES, load, load_or_digits
from .tokens import BytePairTokenizer, WordTokenizer
from .transforms import Transform, compose, drop_condition, from_uint8, only, to_uint8, to_unit
from .workers import InWorkers

__all__ = [
    "NAMES", "Batch", "Batches", "BytePairTokenizer", "DataUnavailable", "Dataset", "Folder", "InWorkers",
    "StreamBatches", "Transform", "WordTokenizer", "cluttered", "compose", "degrade", "downsample", "drop_condition",
    "encode", "folder", "from_uint8", "load", "load_or_digits", "only", "to_uint8", "to_unit",
]  # fmt: skip
