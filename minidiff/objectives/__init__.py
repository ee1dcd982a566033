"""Losses: `loss(model, batch) -> (scalar, logs)`, each training one model."""

from .autoencoder import AutoencoderLoss, PatchCriticLoss, VQLoss
from .captions import CaptionLoss, WordsLoss, bag_of_words
from .clip import CLIPLoss, SigmoidLoss, contrastive, sigmoid_contrastive
from .diffusion import DiffusionLoss, bound_term, discretized_gaussian_nll, gaussian_kl, logit_normal
from .gan import HINGE, NON_SATURATING, SATURATING, WASSERSTEIN, CriticLoss, Game, GeneratorLoss, gradient_penalty, r1
from .supervised import AttributesLoss, ClassifierLoss, NoisyClassifierLoss, RegressionLoss

__all__ = [
    "HINGE", "NON_SATURATING", "SATURATING", "WASSERSTEIN", "AttributesLoss", "AutoencoderLoss", "CLIPLoss",
    "CaptionLoss", "ClassifierLoss", "CriticLoss", "DiffusionLoss", "Game", "GeneratorLoss", "NoisyClassifierLoss",
    "PatchCriticLoss", "RegressionLoss", "SigmoidLoss", "VQLoss", "WordsLoss", "bag_of_words", "bound_term",
    "contrastive", "discretized_gaussian_nll", "gaussian_kl", "gradient_penalty", "logit_normal", "r1",
    "sigmoid_contrastive",
]  # fmt: skip
