"""Sets of pictures, feature extractors by name, and the report on two sets: what `minidiff evaluate` prints."""

from .evaluate import CLIP_SCORES, Images, chosen, evaluate, metric_names
from .extractors import ExtractorUnavailable, FeatureExtractor, clip_extractor, fitted
from .extractors import load as load_extractor
from .extractors import names as extractor_names
from .sets import SETS, Pictures, open_set

__all__ = [
    "CLIP_SCORES", "SETS", "ExtractorUnavailable", "FeatureExtractor", "Images", "Pictures", "chosen", "clip_extractor",
    "evaluate",
    "extractor_names", "fitted", "load_extractor", "metric_names", "open_set",
]  # fmt: skip
