"""Losses: `loss(model, batch) -> (scalar, logs)`, each training one model."""

from .diffusion import DiffusionLoss, bound_term, discretized_gaussian_nll, gaussian_kl
from .supervised import AttributesLoss, ClassifierLoss, NoisyClassifierLoss

__all__ = [
    "AttributesLoss", "ClassifierLoss", "DiffusionLoss", "NoisyClassifierLoss", "bound_term",
    "discretized_gaussian_nll", "gaussian_kl",
]  # fmt: skip
