"""Lessons in a real JupyterLab: run all, move a slider, answer an exercise wrongly and rightly."""

from pathlib import Path

import chromium
import jupyter
import nbformat
import pytest
import widgets
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import expect

from minidiff.course.exercise import exercises

ROOT = Path(__file__).resolve().parents[2]
LESSONS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))}
# lesson -> an exercise, one of its wrong answers, and how a figure moves there: by a film's slider or a widget's
ANSWERED = {
    "00": ("cover", None, None),
    "01": ("critic_loss", "swapped", "film"),
    "02": ("q_sample", "variance_as_deviation", "widget"),
    "03": ("noise_loss", None, "film"),
    "04": ("mean_iou", "recall", None),
    "05": ("contrastive_loss", "pictures_only", "film"),
    "06": ("kl_to_normal", "mean_over_places", "film"),
    "07": ("precision", "itself_counts", None),
    "09": ("guided_halves", "swapped", "studio"),
}
# The one picture that a lesson asks another host for; the book leaves its cell out.
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
pytestmark = pytest.mark.timeout(240)


def stripped(path):
    """A notebook without outputs and counts: what is seen later comes from this run."""
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A server with copies of the lessons, and a notebook with an error."""
    root = tmp_path_factory.mktemp("lab")
    (root / "work").mkdir()
    for path in LESSONS.values():
        nbformat.write(stripped(path), root / "work" / path.name)
    bad = new_notebook(cells=[new_code_cell("1 + 1"), new_code_cell("print(undefined)"), new_code_cell("2 + 2")])
    bad.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(bad, root / "work" / "bad.ipynb")
    with jupyter.running(root) as (origin, token):
        yield origin, token


@pytest.fixture
def notebook(lab, browser):
    """`notebook(name)` opens a notebook; gives it and the watched page."""
    opened = []

    def notebook(name):
        watched = chromium.Watched(browser, lab[0])
        opened.append((watched, None))
        opened[-1] = watched, jupyter.Notebook(watched, lab[1], name)
        return opened[-1][::-1]

    yield notebook
    for watched, note in opened:
        if note is not None:
            note.shut()
        watched.close()


@pytest.mark.parametrize("lesson", ANSWERED)
def test_lesson_in_jupyterlab(notebook, lesson):
    note, watched = notebook(LESSONS[lesson].name)
    assert note.run_all() == []
    assert sum(cell["kind"] == "code" for cell in note.cells()) > 20

    name, misconception, moving = ANSWERED[lesson]
    found = {
        "film": note.page.locator(".jp-OutputArea .minidiff-player"),
        "widget": note.page.locator(".jp-OutputArea .widget-vbox:not(:has(button))"),
        "studio": note.page.locator(".jp-OutputArea .widget-vbox:has(button)"),
    }
    assert {kind for kind, figures in found.items() if figures.count()} == ({moving} if moving else set())
    if moving:
        {"film": widgets.drive, "widget": widgets.slide, "studio": widgets.press}[moving](found[moving].first)

    [exercise] = [e for e in exercises(lesson) if e.name == name]
    source, diagnosis = exercise.wrong[misconception or next(iter(exercise.wrong))]
    starter, check = note.find(f"{name}(", "NotImplementedError"), note.find(f'lesson.check("{name}"')
    verdict = note.cell(check).locator(".minidiff-check")
    expect(verdict).to_have_attribute("data-status", "not attempted")
    for answer, status in [(source, "wrong"), (exercise.solution, "passed")]:
        note.write(starter, answer.strip())
        note.run(check)
        expect(verdict).to_have_attribute("data-status", status)
        if status == "wrong":
            expect(verdict).to_contain_text(diagnosis.replace("`", "").replace("*", ""))
    assert set(watched.foreign) <= {BADGE}


def test_a_notebook_with_an_error_is_not_taken_for_done(notebook):
    note, _ = notebook("bad.ipynb")
    assert note.run_all() == ["NameError: name 'undefined' is not defined"]
    assert [cell["count"] for cell in note.cells()] == [1, 2, None]
