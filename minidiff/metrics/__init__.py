"""Metrics: pure functions from features to numbers."""

from .features import features
from .frechet import Moments, frechet_distance, moments
from .precision_recall import PrecisionRecall, precision_recall

__all__ = ["Moments", "PrecisionRecall", "features", "frechet_distance", "moments", "precision_recall"]
