"""The rules around the browser tests: the book is built once, and in CI a skip does not look like a pass."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("book_build", ROOT / "book" / "build.py")
book = importlib.util.module_from_spec(spec)
spec.loader.exec_module(book)


@pytest.fixture
def sources(tmp_path):
    for name in ("book/intro.md", "notebooks/02_a.ipynb", "results/a.json", "minidiff/data/sets.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    return tmp_path


def commands(code):
    """A build that writes a page and ends with this code."""
    write = "from pathlib import Path; p = Path('book/_build/html'); p.mkdir(parents=True); (p / 'a').write_text('a')"
    return [[sys.executable, "-c", write], [sys.executable, "-c", f"raise SystemExit({code})"]]


def test_a_book_is_built_once_from_the_same_sources(sources):
    assert book.build(sources, commands(0)) == 0
    assert book.build(sources, commands(7)) == 0, "it was built again"
    (sources / "minidiff" / "data" / "sets.py").write_text("other")
    assert book.build(sources, commands(0)) == 0, "the old pages were still there"
    assert book.build(sources, commands(7)) == 0


def test_a_book_with_a_warning_is_never_taken_for_done(sources):
    assert [book.build(sources, commands(7)) for _ in range(2)] == [7, 7]
    assert book.build(sources, commands(0)) == 0


@pytest.mark.parametrize("name", ["book/intro.md", "notebooks/02_a.ipynb", "results/a.json", "README.md", "book/b.md"])
def test_every_source_counts(sources, name):
    before = book.digest(sources)
    (sources / name).write_text("Text")
    assert book.digest(sources) != before
    (sources / name).write_text("text")
    assert (book.digest(sources) == before) == (name != "book/b.md")


def test_what_a_build_makes_does_not_count(sources):
    before = book.digest(sources)
    for name in ("book/_build/html/a.html", "book/api/a.md", "minidiff/__pycache__/a.pyc", "build/book/claims.md"):
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text("text")
    assert book.digest(sources) == before


@pytest.mark.parametrize("ci", ["true", ""])
def test_without_chromium_the_tests_skip_and_ci_fails(ci):
    env = {**os.environ, "CI": ci, "MINIDIFF_CHROMIUM": "no-such-browser"}
    run = [sys.executable, "-m", "pytest", "-q", "-o", "testpaths=tests/browser", "-p", "no:cacheprovider"]
    done = subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)
    assert "passed" not in done.stdout and "browser tests need Chromium" in done.stdout
    assert done.returncode == (1 if ci else 0), done.stdout
    assert ("0 browser tests ran" in done.stdout) == bool(ci)
