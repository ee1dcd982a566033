"""The command that changes the repository's address, on copies of this tree."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minidiff.course import address

ROOT = Path(address.__file__).resolve().parents[2]
PLACE = "/".join(["ann-lee", "pictures.from-text"])  # in two parts: this file is among those that are searched
NEW = f"https://github.com/{PLACE}"


@pytest.fixture(scope="module")
def files():
    """Every tracked file, and those about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture
def tree(files, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def content(root):
    paths = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def run(tree, *arguments):
    """Run a command with the copy's own package."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, *arguments], cwd=tree, env=env, capture_output=True, text=True)


def test_no_old_address_is_left_and_all_stays_in_step(tree):
    notebooks = sorted(path.relative_to(tree).as_posix() for path in tree.glob("notebooks/*.ipynb"))
    run(tree, "-m", "minidiff.course.refresh", *notebooks)
    old, before = address.current(tree), content(tree)
    done = run(tree, "-m", "minidiff.course.address", NEW)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(NEW) and "files changed" in done.stdout
    own = content(tree)
    assert set(own) == set(before)
    place = re.compile(rb"(?:github\.com[/:]|github/|githubusercontent\.com/)" + re.escape(old).encode(), re.I)
    assert not [name for name, text in own.items() if place.search(text)]
    # Every other byte is what it was.
    undone = {name: text.replace(PLACE.encode(), old.encode()) for name, text in own.items()}
    assert undone == before
    changed = {name for name in own if own[name] != before[name]}
    assert {"pyproject.toml", "README.md", "CITATION.cff", "book/_config.yml"} <= changed
    assert {name for name in own if name.endswith(".ipynb")} <= changed
    tests = ["tests/test_project.py", "tests/course/test_lesson.py", "-k", "one_address or setup_cell"]
    done = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout
    done = run(tree, "-m", "minidiff.course.refresh", *notebooks)
    assert [line.split(": ") for line in done.stdout.splitlines()] == [[name, "as it must be"] for name in notebooks]
    # A second time there is nothing to do, and the way back leads to where it began.
    assert address.change(tree, f"{NEW}.git/") == {}
    address.change(tree, f"https://github.com/{old}")
    assert content(tree) == before


@pytest.mark.parametrize(
    "bad",
    [
        "ann/course", "http://github.com/ann/course", "https://gitlab.com/ann/course", "https://github.com/ann",
        "https://github.com/ann/course/tree/main", "https://github.com/ann/course?tab=readme",
        "https://github.com/a b/c", "https://github.com/ann/..", "https://github.com/-ann/c", "https://github.com/ann/c\n",
        "https://github.com//c", 'https://github.com/ann/"c"', "https://github.com/ann/caf\u00e9", "",
    ],
)  # fmt: skip
def test_a_bad_address_changes_nothing(tmp_path, monkeypatch, capsys, bad):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    before = content(tmp_path)
    with pytest.raises(ValueError, match="it must look like https://github.com/OWNER/NAME"):
        address.change(tmp_path, bad)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        address.main([bad])
    assert "address is " in capsys.readouterr().err
    assert content(tmp_path) == before


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be the course's repository"):
        address.change(tmp_path, NEW)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    with pytest.raises(ValueError, match="must be the course's repository"):
        address.current(tmp_path)


@pytest.fixture
def small(tmp_path):
    """Three files that name the repository, one of them with line ends of its own."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    web = f"https://github.com/{address.current(ROOT)}"
    (tmp_path / "README.md").write_bytes(f"{web}\r\n{web}.git {web}-extras\r\n".encode())
    (tmp_path / "CITATION.cff").write_text(f"repository-code: {web}\n")
    return tmp_path


def test_a_disk_that_is_full_changes_nothing(small, monkeypatch):
    before, beside, made = content(small), address._beside, []

    def full(path, text):
        if made:
            raise OSError("no space left")
        made.append(path)
        return beside(path, text)

    monkeypatch.setattr(address, "_beside", full)
    with pytest.raises(OSError, match="no space"):
        address.change(small, NEW)
    assert content(small) == before


def test_a_second_run_finishes_what_was_interrupted(small, monkeypatch):
    replace, done = os.replace, []

    def once(*paths):
        if done:
            raise KeyboardInterrupt
        done.append(replace(*paths))

    monkeypatch.setattr(address.os, "replace", once)
    with pytest.raises(KeyboardInterrupt):
        address.change(small, NEW)
    assert len(content(small)) == 3  # no temporary file is left
    monkeypatch.undo()
    assert address.change(small, NEW)
    assert address.current(small) == address.parse(NEW)
    old = address.current(ROOT).encode()
    lines = (small / "README.md").read_bytes()
    assert lines == f"{NEW}\r\n{NEW}.git https://github.com/".encode() + old + b"-extras\r\n"


def test_without_an_address_it_says_where_it_stands(small, monkeypatch, capsys):
    monkeypatch.chdir(small)
    before = content(small)
    assert address.main([]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"https://github.com/{address.current(ROOT)}" and "  2 in README.md" in said
    assert content(small) == before
