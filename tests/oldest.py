"""Prints the oldest versions that pyproject.toml allows, as constraints for pip: `python tests/oldest.py > oldest.txt`.

Only what the package itself needs is held down; the tools of the extras come in whatever version goes with it.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def oldest(dependencies):
    """Constraints from requirements that each have one lower bound and nothing else.

    >>> oldest(["torch>=2.6", "numpy >= 2.0.1"])
    ['torch==2.6', 'numpy==2.0.1']
    """
    found = [re.fullmatch(r"([\w.-]+) *>= *([\d.]+)", text) for text in dependencies]
    if None in found:
        raise ValueError(f"{dependencies[found.index(None)]!r} is not NAME>=VERSION")
    return [f"{match[1]}=={match[2]}" for match in found]


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    print("\n".join(oldest(project["dependencies"])))
