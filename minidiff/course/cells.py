"""Cells of the notebooks that are generated from the registry, so that they cannot drift from it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from minidiff.course.display import fold
from minidiff.course.exercise import IMPORTS, Exercise

_STARS = {1: "fill in", 2: "write", 3: "think"}


class Cell(NamedTuple):
    """Kind (`markdown` or `code`) and source of a notebook's cell."""

    kind: str
    source: str


def markdown(exercise: Exercise) -> str:
    """The cell that asks: title, minutes, difficulty, prompt."""
    head = f"### Exercise: {exercise.title}"
    effort = f"*{exercise.minutes} minutes, difficulty {exercise.difficulty} of 3 ({_STARS[exercise.difficulty]})*"
    return f"{head}\n\n{effort}\n\n{exercise.prompt.strip()}"


def starter_cell(exercise: Exercise) -> str:
    """The code cell that the learner completes."""
    return exercise.starter.strip()


def check_cell(exercise: Exercise) -> str:
    """The code cell that judges the learner's answer."""
    return f'lesson.check("{exercise.name}", {exercise.name})'


def folds(exercise: Exercise) -> str:
    """The cell below the check: every hint and the solution, each folded."""
    blocks = [fold(f"Hint {i}", hint) for i, hint in enumerate(exercise.hints, 1)]
    blocks.append(fold("Solution", f"```python\n{exercise.solution.strip()}\n```"))
    return "\n\n".join(blocks)


def use_cell(exercise: Exercise) -> str:
    """The code cell from which on the notebook has a working answer."""
    return f'{exercise.name} = lesson.use("{exercise.name}", {exercise.name})'


def cells(exercise: Exercise) -> list[Cell]:
    """All five cells of an exercise, in the order of the notebook."""
    return [
        Cell("markdown", markdown(exercise)),
        Cell("code", starter_cell(exercise)),
        Cell("code", check_cell(exercise)),
        Cell("markdown", folds(exercise)),
        Cell("code", use_cell(exercise)),
    ]


def repository() -> str:
    """Address of the repository: `[project.urls]` of pyproject.toml, its one place.

    Raises:
        LookupError: if neither the checkout nor the installed package names it.
    """
    pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if pyproject.is_file():
        import tomllib

        address = tomllib.loads(pyproject.read_text("utf-8"))["project"].get("urls", {}).get("Repository")
        if address:
            return address.rstrip("/")
    for entry in metadata.metadata("minidiff").get_all("Project-URL") or []:
        label, _, address = entry.partition(", ")
        if label == "Repository":
            return address.rstrip("/")
    raise LookupError("pyproject.toml has no Repository under [project.urls]")


def badge(notebook: str) -> str:
    """Markdown of the "Open in Colab" badge; its picture is remote, so tag its cell `remove-cell` for the book.

    Args:
        notebook: file name without ending, as in `"02_forward_diffusion"`.
    """
    place = repository().removeprefix("https://github.com/")
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return (
        f"[![Open in Colab]({picture})]"
        f"(https://colab.research.google.com/github/{place}/blob/main/notebooks/{notebook}.ipynb)"
    )


def setup_cell(lesson: str) -> str:
    """The set-up cell of a notebook: on Colab it installs minidiff and leaves every other package as it is.

    What is there is pinned while pip runs, so it adds what is missing or fails. A folder `minidiff` beside the
    notebook, as a clone leaves it, has no origin and does not count as installed.

    Args:
        lesson: number of the lesson, as in `"02"`.
    """
    install = f"""\
#@title Set-up: run me first {{ display-mode: "form" }}
import importlib.util
import os
import subprocess
import sys

colab = "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ
if colab and getattr(importlib.util.find_spec("minidiff"), "origin", None) is None:  # no package of that name
    source = os.environ.get("MINIDIFF_SOURCE", "git+{repository()}@main")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    with open("keep.txt", "w") as keep:  # what is there stays as it is, torch first of all
        subprocess.run([*pip, "list", "--format=freeze"], stdout=keep, check=True)
    subprocess.run([*pip, "install", "--quiet", "--constraint", "keep.txt", source], check=True)
"""
    return f'{install}\n{IMPORTS}\nfrom minidiff.course import Lesson\n\nlesson = Lesson("{lesson}")\nlesson.setup()'
