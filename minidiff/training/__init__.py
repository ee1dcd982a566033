"""Training: turns, the loop that runs them, the EMA, and checkpoints."""

from .checkpoint import CheckpointError
from .ema import EMA
from .log import History, TrainingDiverged
from .loop import Fitted, Turn, fit, run, warmup_cosine

__all__ = [
    "CheckpointError", "EMA", "Fitted", "History", "TrainingDiverged", "Turn", "fit", "run", "warmup_cosine",
]  # fmt: skip
