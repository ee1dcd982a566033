"""Puts the generated cells into notebooks: `python -m minidiff.course.refresh notebooks/02_forward_diffusion.ipynb`.

Badge, set-up cell and the five cells of each exercise come from `minidiff.course.cells`. Where they differ they are
rewritten in place, and outputs and counts stay as they are; exercises that a notebook lacks are added; a notebook that
does not exist is begun. No cell is taken out or moved.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from minidiff.course import cells, stored
from minidiff.course.exercise import exercises

SETUP = "#@title Set-up"
OBJECTIVES = "## What you will be able to do\n\n| you will be able to | and show it by writing |\n|---|---|\n| | |"


def begin(name: str):
    """A notebook with a title, its badge, an empty table of objectives and its set-up cell.

    Args:
        name: file name without ending, as in `"04_unet_vs_fcn"`.

    Raises:
        ValueError: if the name does not start with the lesson's number.
    """
    from nbformat import v4

    lesson = _lesson(name)
    made = [
        v4.new_markdown_cell(f"# {lesson} {name[3:].replace('_', ' ').capitalize()}", id=f"l{lesson}-title"),
        v4.new_markdown_cell(cells.badge(name), id=f"l{lesson}-badge", metadata={"tags": ["remove-cell"]}),
        v4.new_markdown_cell(OBJECTIVES, id=f"l{lesson}-objectives"),
        v4.new_code_cell(cells.setup_cell(lesson), id=f"l{lesson}-setup"),
    ]
    nb = v4.new_notebook(cells=made)
    nb.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nb


def refresh(nb, name: str) -> list[str]:
    """Make the generated cells of a notebook what they must be, in place.

    Args:
        nb: the notebook.
        name: its file name without ending.

    Returns:
        What was changed or added, in words; empty if all was as it must be.

    Raises:
        ValueError: if the badge, the set-up cell or one of an exercise's five cells is not where it belongs.
    """
    lesson, said = _lesson(name), []
    fixed = {
        "badge": ("markdown", "colab-badge.svg", cells.badge(name)),
        "set-up cell": ("code", SETUP, cells.setup_cell(lesson)),
    }
    last = 0
    for what, (kind, mark, source) in fixed.items():
        found = [i for i, cell in enumerate(nb.cells) if cell.cell_type == kind and mark in cell.source]
        if len(found) != 1:
            raise ValueError(f"{name} has {len(found)} {kind} cells with {mark!r}; it must have 1, the {what}")
        last = found[0]
        said += _put(nb.cells[last], source, what)
    for exercise in exercises(lesson):
        wanted = cells.cells(exercise)
        here = [i for i, cell in enumerate(nb.cells) if cell.source.strip() == wanted[2].source]
        if here:
            first = here[0] - 2
            _in_place(nb.cells[max(first, 0) : first + 5], exercise, name)
            for cell, want in zip(nb.cells[first:], wanted):
                said += _put(cell, want.source, exercise.id)
        else:
            first = last + 1
            nb.cells[first:first] = [_new(want, f"l{lesson}-{exercise.name}-{i}") for i, want in enumerate(wanted)]
            said.append(f"{exercise.id} added")
        last = first + 4
    return said


def _lesson(name: str) -> str:
    if not re.fullmatch(r"\d\d_\w+", name):
        raise ValueError(f"name is {name!r}; a notebook must be called like 02_forward_diffusion.ipynb")
    return name[:2]


def _put(cell, source: str, what: str) -> list[str]:
    if cell.source.strip() == source:
        return []
    cell.source = source
    return [f"{what} rewritten"]


def _in_place(found: list, exercise, name: str) -> None:
    """Five neighbours: heading, starter, check, folds, use."""
    marks = ["### Exercise: ", exercise.name, "", "<details>", f'lesson.use("{exercise.name}"']
    kinds = [cell.kind for cell in cells.cells(exercise)]
    if [cell.cell_type for cell in found] != kinds or not all(m in c.source for m, c in zip(marks, found)):
        raise ValueError(
            f"{name}: heading and starter of {exercise.id} must stand right above its check, folds and use right below"
        )


def _new(cell: cells.Cell, name: str):
    from nbformat import v4

    make = v4.new_markdown_cell if cell.kind == "markdown" else v4.new_code_cell
    return make(cell.source, id=name[:64].replace("_", "-"))


def main(argv: list[str] | None = None) -> int:
    """Refresh notebooks and say what was changed; 0, or 2 with a reason if one of them cannot be."""
    import nbformat

    parser = argparse.ArgumentParser(prog="python -m minidiff.course.refresh", description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path, help="files; one that does not exist is begun")
    args = parser.parse_args(argv)
    try:
        made = []
        for path in args.notebooks:
            there = path.is_file()
            nb = nbformat.read(path, as_version=4) if there else begin(path.stem)
            made.append((path, nb, ([] if there else ["begun"]) + refresh(nb, path.stem)))
        for path, nb, said in made:
            if said:
                stored.write(nb, path)
            print(f"{path}: {', '.join(said) or 'as it must be'}")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
