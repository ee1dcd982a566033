"""All systems by name, or from the folder that one was saved in."""

from __future__ import annotations

from pathlib import Path

from .stable_diffusion import StableDiffusion

SYSTEMS = {"stable-diffusion": StableDiffusion}


def load(where: str | Path) -> StableDiffusion:
    """Loads a system by its bundled name, or from the folder that it was saved in.

    Args:
        where: one of `SYSTEMS`, or a folder.

    Raises:
        ValueError: it is neither, or a part cannot be loaded.
    """
    if where in SYSTEMS:
        return SYSTEMS[where].from_pretrained(where)
    for name, system in SYSTEMS.items():
        if (Path(where) / f"{name}.json").is_file():
            return system.from_pretrained(where)
    raise ValueError(f"system must be one of {', '.join(SYSTEMS)}, or a folder that one was saved in; got {where}")
