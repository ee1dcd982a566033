"""`Lesson`, profiles and the generated cells."""

import ast
import copy
import pickle
import random
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from toy import SOLUTION, TOY

from minidiff.course import Lesson, cells
from minidiff.course.exercise import IMPORTS, exercises
from minidiff.course.profile import PROFILES, TABLE, profile, profile_name

ROOT = Path(cells.__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture
def lesson(monkeypatch):
    monkeypatch.setenv("MINIDIFF_PROFILE", "smoke")
    toy = Lesson("98")
    monkeypatch.setattr(toy, "_exercises", {"blend": TOY})
    monkeypatch.setattr(toy, "device", "cpu")
    return toy


def test_check_shows_the_outcome(lesson, capsys):
    lesson.check("blend")
    lesson.check("blend", TOY.build(TOY.wrong["swapped"][0], "wrong"))
    lesson.check("blend", TOY.build(SOLUTION, "solution"))
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("blend: not attempted.")
    assert said[1] == f"blend: wrong. {TOY.wrong['swapped'][1]}"
    assert said[2].startswith("blend: passed.")


def test_use_gives_the_learners_answer_only_if_it_passes(lesson, capsys):
    def blend(x0, power, eps):
        print("noisy")
        return TOY.build(SOLUTION, "solution")(x0, power, eps)

    assert lesson.use("blend", blend) is blend
    x, power = torch.tensor([[3.0]]), torch.tensor([1 / 9])
    for bad in (..., None, lambda *_: 0):
        assert lesson.use("blend", bad)(x, power, torch.zeros(1, 1)).item() == pytest.approx(1.0)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "From here on the notebook uses your blend.",
        "Yours is not attempted, so from here on the notebook uses the course's blend.",
        *["Yours is wrong, so from here on the notebook uses the course's blend."] * 2,
    ]


def test_summary_counts(lesson, capsys):
    lesson.summary()
    lesson.judge("blend", TOY.build(SOLUTION, "solution"))
    lesson.summary()
    said = capsys.readouterr().out
    assert "0 of 1 exercises passed" in said and "1 of 1 exercises passed" in said


def test_hints_and_solution_are_shown_folded(lesson, capsys):
    lesson.hints("blend")
    lesson.solution("blend")
    said = capsys.readouterr().out
    assert said.count("<details>") == len(TOY.hints) + 1
    assert TOY.hints[1] in said and TOY.solution.strip() in said


def test_reference_is_the_solution(lesson):
    x = torch.tensor([[4.0, -8.0]])
    assert torch.equal(lesson.reference("blend")(x, torch.tensor([0.25]), 0 * x), x / 2)


def test_importing_the_course_loads_nothing_heavy():
    code = (
        "import sys, minidiff.course; print(sorted({'matplotlib', 'IPython', 'torchvision', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_names_are_refused(lesson):
    with pytest.raises(KeyError, match="it has: blend"):
        lesson.check("blnd", ...)
    with pytest.raises(ValueError, match="two digits"):
        Lesson(2)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        lesson.data("validation")


def test_setup_seeds_and_says_what_is_used(monkeypatch, capsys):
    import minidiff.data

    asked = []

    def load_or_digits(name, split, *, device):
        asked.append((name, split, device))
        return "digits", {"x": torch.zeros(7, 1, 5, 3), "y": torch.zeros(7, dtype=torch.long)}

    monkeypatch.setattr(minidiff.data, "load_or_digits", load_or_digits)
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    toy = Lesson("98")
    toy.setup()
    first = torch.rand(1), np.random.rand(), random.random()
    toy.setup()
    assert first == (torch.rand(1), np.random.rand(), random.random())
    assert toy.data("test")["x"].shape == (7, 1, 5, 3)
    assert asked == [("mnist", "train", toy.device), ("digits", "test", toy.device)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Lesson 98 | device {toy.device} | profile laptop | data digits, 7 pictures of 5 x 3"
    assert lines[1].startswith("mnist cannot be had here") and len(lines) == 3


@pytest.mark.parametrize("data", ["mnist", "shapes"])
def test_setup_on_colab_says_how_to_get_a_gpu(monkeypatch, capsys, data):
    monkeypatch.setattr(Lesson, "data", lambda *_: {"x": torch.zeros(7, 1, 5, 3)})
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    for device, hinted in (("cpu", True), ("cuda", False)):
        toy = Lesson("98", data)
        toy.device = device
        toy.setup()
        assert ("Runtime > Change runtime type" in capsys.readouterr().out) == hinted
    monkeypatch.delenv("COLAB_RELEASE_TAG")
    toy.device = "cpu"
    toy.setup()
    assert "Runtime" not in capsys.readouterr().out


def test_profile(monkeypatch):
    monkeypatch.setitem(TABLE, "98", {"steps": (3, 50, 700), "batch": (2, 4, 8)})
    for name in PROFILES:
        monkeypatch.setenv("MINIDIFF_PROFILE", name)
        assert profile_name() == profile("98").name == name
    monkeypatch.setenv("MINIDIFF_PROFILE", "laptop")
    sizes = profile("98")
    assert (sizes.steps, sizes.batch) == (50, 4)
    with pytest.raises(AttributeError, match=r"lesson 98 has no size 'step' .* known: steps, batch"):
        sizes.step  # noqa: B018
    assert pickle.loads(pickle.dumps(sizes)) == copy.deepcopy(sizes) == sizes
    monkeypatch.setenv("MINIDIFF_PROFILE", "fast")
    with pytest.raises(ValueError, match="'fast'; it must be one of smoke, laptop, gpu"):
        profile("03")
    monkeypatch.delenv("MINIDIFF_PROFILE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert profile_name() == "gpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert profile_name() == "laptop"


def test_sizes_grow_with_the_profile():
    for lesson, sizes in TABLE.items():
        for size, row in sizes.items():
            assert len(row) == len(PROFILES) and all(isinstance(v, int) and v > 0 for v in row), (lesson, size)
            assert row[0] <= row[1], f"lesson {lesson}: {size} is larger in smoke than in laptop"


def test_cells_of_an_exercise():
    found = cells.cells(TOY)
    assert [c.kind for c in found] == ["markdown", "code", "code", "markdown", "code"]
    assert found[1].source == TOY.starter.strip()
    assert f"```python\n{TOY.solution.strip()}\n```" in found[3].source
    assert found[3].source.count("<details>") == found[3].source.count("</summary>\n\n") == len(TOY.hints) + 1
    assert "5 minutes" in found[0].source and found[0].source.endswith(TOY.prompt)


def colab(monkeypatch, tmp_path, installed):
    """Run the installing part of a set-up cell on a pretended machine; what it called.

    A package is there, or none, or a mere folder of its name.
    """
    import importlib.util

    called, spec = [], {True: ModuleSpec("minidiff", None, origin="minidiff/__init__.py"), False: None}
    spec["folder"] = ModuleSpec("minidiff", None, is_package=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIDIFF_SOURCE", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec[installed])
    monkeypatch.setattr(subprocess, "run", lambda command, **_: called.append(command))
    exec(cells.setup_cell("02").split("\nimport math")[0], {})
    return called


def test_setup_cell_installs_on_colab_only(monkeypatch, tmp_path):
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    assert colab(monkeypatch, tmp_path, installed=False) == []
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert colab(monkeypatch, tmp_path, installed=True) == []
    assert len(colab(monkeypatch, tmp_path, installed="folder")) == 2
    listed, install = colab(monkeypatch, tmp_path, installed=False)
    assert listed[0] == install[0] == sys.executable
    assert listed[-2:] == ["list", "--format=freeze"]
    assert install[-3:] == ["--constraint", "keep.txt", f"git+{cells.repository()}@main"]


def test_setup_cell_fits_and_imports_what_sources_may_use():
    source = cells.setup_cell("02")
    assert len(source.splitlines()) <= 25
    assert IMPORTS in source and source.endswith('lesson = Lesson("02")\nlesson.setup()')
    ast.parse(source)
    assert re.fullmatch(r"https://github\.com/[\w-]+/[\w.-]+", cells.repository())
    assert cells.badge("02_forward_diffusion").endswith("/blob/main/notebooks/02_forward_diffusion.ipynb)")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_holds_the_generated_cells(path):
    found = [nbformat.v4.nbbase.NotebookNode(c) for c in nbformat.read(path, as_version=4).cells]
    have = [cells.Cell(c.cell_type, c.source.strip()) for c in found]
    lesson = path.name[:2]
    assert cells.Cell("code", cells.setup_cell(lesson)) in have, "the set-up cell is not cells.setup_cell(...)"
    last = -1
    for exercise in exercises(lesson):
        for cell in cells.cells(exercise):
            assert cell in have[last + 1 :], f"{exercise.id}: this cell differs or is out of order:\n{cell.source}"
            last = have.index(cell, last + 1)
