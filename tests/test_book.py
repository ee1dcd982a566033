"""The pages that the book makes of the package and of the lessons, before Sphinx sees them."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from minidiff.course.exercise import exercises
from minidiff.course.quiz import Question, key

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def of_the_book(name):
    """A module of `book/`, which is no package."""
    sys.path.insert(0, str(ROOT / "book"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


api, progress = of_the_book("api"), of_the_book("progress")


def markdown_cells(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


# --- API pages ---------------------------------------------------------------------------------------------------


def test_every_part_of_the_package_has_its_page():
    package = ROOT / "minidiff"
    parts = {p.parent.relative_to(package).as_posix().replace("/", ".") for p in package.glob("*/**/__init__.py")}
    parts |= {p.stem for p in package.glob("*.py") if p.stem != "__init__"}
    assert parts - {"course"} == set(api.PARTS)  # `course` serves the notebooks only
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text("utf-8"))
    listed = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    assert [name for name in listed if name.startswith("book/api/")] == [api.docname(part) for part in api.PARTS]


@pytest.mark.parametrize("part", api.PARTS)
def test_a_page_names_everything_public_once(part):
    page = api.page(part)
    directives = re.findall(r"^\.\. auto(?:function|class):: (\S+)$", page, re.M)
    constants = [f"minidiff.{part}.{name}" for name in re.findall(r"^\| `(\w+)` \|", page, re.M)]
    named = directives + constants
    assert directives and len(set(named)) == len(named)
    package = importlib.import_module(f"minidiff.{part}")
    exported = {f"{package.__name__}.{name}" for name in getattr(package, "__all__", ())}
    assert exported in (set(), set(named))
    for name in directives:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, f"{name} has no docstring"


def test_a_class_shows_the_methods_that_it_documents():
    page = api.page("diffusion")
    [members] = re.findall(r"autoclass:: minidiff.diffusion.Schedule\n   :members: (.+)", page)
    assert {"linear", "cosine", "T", "snr", "q_sample", "posterior"} <= set(members.split(", "))
    assert not [name for name in members.split(", ") if name.startswith("_")]


# --- quizzes and progress ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_quizzes_have_the_form_that_the_script_knows(path):
    for text in markdown_cells(path):
        form = r'^<div class="minidiff-quiz" data-question="([^"]+)">\n\n(.*?)\n\n</div>'
        blocks = re.findall(form, text, re.M | re.S)
        assert text.count("minidiff-quiz") == len(blocks)
        for name, block in blocks:
            asked = re.match(r"\*\*(.+)\*\*\n\n", block)[1]
            assert name == key(path.name[:2], asked)
            letters = re.findall(r"^<summary>([A-Z])\. ", block, re.M)
            assert letters == list("ABCDEFGH"[: len(letters)]) and len(letters) >= 2
            verdicts = re.findall(r"</summary>\n\n\*\*(Right|No)\.\*\* \S", block)
            assert len(verdicts) == len(letters) and verdicts.count("Right") == 1


def test_progress_knows_every_exercise_and_question():
    lessons = progress.lessons(ROOT / "notebooks")
    assert [lesson.number for lesson in lessons] == [path.name[:2] for path in NOTEBOOKS]
    page = progress.markdown(lessons)
    for lesson, path in zip(lessons, NOTEBOOKS):
        assert [e.id for e in lesson.exercises] == [e.id for e in exercises(lesson.number)]
        text = "\n".join(markdown_cells(path))
        assert len(lesson.questions) == text.count("minidiff-quiz")
        headings = re.findall(r"^### Exercise: (.+)$", text, re.M)
        assert [e.title for e in lesson.exercises] == [title.replace("`", "") for title in headings]
        for entry in lesson.exercises + lesson.questions:
            assert page.count(f'="{entry.id}"></span>') == 1
    data = json.loads(progress.script(lessons).removeprefix("window.minidiffCourse = ").rstrip(";\n"))
    assert [one["page"] for one in data["lessons"]] == [f"notebooks/{path.stem}.html" for path in NOTEBOOKS]
    assert sum(len(one["questions"]) for one in data["lessons"]) >= 10


def test_two_questions_of_one_name_are_refused(tmp_path):
    quiz = Question("Is it so?", ("yes", "no"), ("It is.", "It is."), correct=0).markdown("77")
    cells = [{"cell_type": "markdown", "source": [f"# Seven\n\n{quiz}\n\n{quiz}"]}]
    (tmp_path / "77_seven.ipynb").write_text(json.dumps({"cells": cells}))
    with pytest.raises(ValueError, match="same name: 77.is-it-so"):
        progress.lessons(tmp_path)


def test_script_and_style_need_no_other_host():
    for name in ("course.js", "course.css"):
        source = (ROOT / "book" / "_static" / name).read_text("utf-8")
        assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp|eval\(", source.replace("http.server", ""))
