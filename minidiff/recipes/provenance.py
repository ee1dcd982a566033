"""Where a number comes from: what ran, on what, with which versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

import minidiff
from minidiff import pretrained


def provenance() -> dict:
    """Commit, versions and hardware of this run, ready for JSON."""
    return {
        "commit": commit(),
        "versions": {
            "minidiff": minidiff.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
        },
        "hardware": hardware(),
    }


def ship(
    name: str, model: nn.Module, card: dict, out: Path, measure: Callable[[nn.Module], dict]
) -> pretrained.Pretrained:
    """Writes weights and card, measures what was written, and adds the metrics to the card.

    Args:
        name: of the checkpoint.
        model: trained.
        card: all that is to be said but the metrics.
        out: folder of the checkpoint.
        measure: the model as shipped, in float16 and back -> metrics.
    """
    shipped = pretrained.save(name, model.cpu(), card, folder=out).model
    return pretrained.save(name, shipped, {**card, "metrics": measure(shipped)}, folder=out)


def is_main() -> bool:
    """Whether this is the process that writes files, of those that `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def commit() -> str | None:
    """The checkout's commit, with "+" after it where files differ from it; None outside a checkout."""
    root = Path(minidiff.__file__).parent.parent
    if not (root / ".git").exists():  # an installed copy may lie inside somebody else's repository
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def hardware() -> str:
    """The GPU's name, or the number of CPU threads and the processor's name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads of {os.cpu_count()}, {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
