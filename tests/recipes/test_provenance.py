"""The commit and the hardware that a number came from."""

import re
import subprocess

import pytest

import minidiff
from minidiff.recipes import provenance


def git(folder, *args):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", folder, *identity, *args], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with a package in it, which `minidiff` pretends to be."""
    package = tmp_path / "minidiff"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "minidiff")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "v1")  # a tag's name is no commit
    monkeypatch.setattr(minidiff, "__file__", str(package / "__init__.py"))
    return tmp_path


def test_the_commit_of_a_clean_checkout(checkout):
    head = git(checkout, "rev-parse", "HEAD").strip()
    assert provenance.commit() == head[:12] and re.fullmatch("[0-9a-f]{12}", head[:12])


def test_changed_files_are_marked(checkout):
    (checkout / "minidiff" / "__init__.py").write_text("changed = True\n")
    assert provenance.commit() == git(checkout, "rev-parse", "HEAD").strip()[:12] + "+"


def test_the_commit_of_another_repository_is_not_ours(checkout, monkeypatch):
    """An installed copy may lie in an environment inside somebody's own repository."""
    inside = checkout / ".venv" / "lib" / "minidiff"
    inside.mkdir(parents=True)
    monkeypatch.setattr(minidiff, "__file__", str(inside / "__init__.py"))
    assert provenance.commit() is None


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() is None


def test_the_processor_is_named_without_cuda(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert re.match(r"\d+ CPU threads of \d+, \S", provenance.hardware())
