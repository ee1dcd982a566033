"""Metrics: pure functions from features [N,D] to numbers. An extractor is any callable from pictures to features."""

from .clip_score import ClipScore, clip_score
from .features import Extractor, MeanCov, Moments, features, moments
from .frechet import frechet_bias, frechet_distance, frechet_from_features
from .inception_score import InceptionScore, inception_score
from .intervals import Interval, bootstrap, half_samples, share, wilson
from .kernels import KernelDistance, cmmd, kernel_distance, mmd2
from .neighbours import DensityCoverage, PrecisionRecall, density_coverage, precision_recall
from .psnr import edges, psnr
from .report import METRICS, Report, Result, difference
from .segmentation import boundary_f_score, confusion, iou, mean_iou
from .zero_shot import Recalls, class_embeddings, few_shot, linear_probe, nearest_class, retrieval, similarity

__all__ = [
    "METRICS", "ClipScore", "DensityCoverage", "Extractor", "InceptionScore", "Interval", "KernelDistance", "MeanCov",
    "Moments", "PrecisionRecall", "Recalls", "Report", "Result", "bootstrap", "boundary_f_score", "class_embeddings",
    "clip_score", "cmmd", "confusion", "density_coverage", "difference", "edges", "features", "few_shot",
    "frechet_bias", "frechet_distance", "frechet_from_features", "half_samples", "inception_score", "iou",
    "kernel_distance", "linear_probe", "mean_iou", "mmd2", "moments", "nearest_class", "precision_recall", "psnr",
    "retrieval", "share", "similarity", "wilson",
]  # fmt: skip
