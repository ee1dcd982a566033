"""The diffusion core: forward process, denoisers, guidance, samplers."""

from .denoiser import Denoise, Prediction, clipped, consistent, denoiser, given, split_variance
from .guidance import classifier_free, classifier_guided
from .samplers import Step, ddim, ddpm, final, generators, invert, randn, timesteps
from .schedule import Posterior, Schedule, Target

__all__ = [
    "Denoise", "Posterior", "Prediction", "Schedule", "Step", "Target", "classifier_free", "classifier_guided",
    "clipped", "consistent", "ddim", "ddpm", "denoiser", "final", "generators", "given", "invert", "randn",
    "split_variance", "timesteps",
]  # fmt: skip
