"""The exercises of lesson 03: what a diffusion model learns, and how it draws."""

from minidiff.course.l03_denoising import BEST_GUESS, X0_FROM_EPS
from minidiff.course.l03_sampling import ANCESTRAL_STEP, DDIM_STEP, GUIDED_EPS
from minidiff.course.l03_training import DRAWS, EMA_STEP, NOISE_LOSS

EXERCISES = (BEST_GUESS, X0_FROM_EPS, NOISE_LOSS, DRAWS, EMA_STEP, ANCESTRAL_STEP, GUIDED_EPS, DDIM_STEP)
