"""Metrics: pure functions from features [N,D] to numbers. An extractor is any callable from pictures to features."""

from .features import Extractor, MeanCov, Moments, features, moments
from .frechet import frechet_distance
from .neighbours import DensityCoverage, PrecisionRecall, density_coverage, precision_recall

__all__ = [
    "DensityCoverage", "Extractor", "MeanCov", "Moments", "PrecisionRecall", "density_coverage", "features",
    "frechet_distance", "moments", "precision_recall",
]  # fmt: skip
