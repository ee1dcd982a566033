"""The strict build of the book: a warning is an error, and so is anything that another host would have to serve.

    python book/build.py

Built from scratch, since a page in the cache would keep its warnings to itself. Nothing is done where the book that
is there came, without a warning, from the same sources: so the browser tests and `make book` build it once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("book", "notebooks", "results", "minidiff", "*.md", "*.toml", "*.txt", "*.cff")
MADE = {"_build", "api", "vendor", "__pycache__", ".ipynb_checkpoints"}  # folders, not sources


def digest(root: Path) -> str:
    """One number for all that the book is made from, names and contents."""
    found = (path for pattern in SOURCES for path in root.glob(pattern))
    files = (file for path in found for file in ([path] if path.is_file() else path.rglob("*")))
    total = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file() and not MADE & set(file.relative_to(root).parts)):
        total.update(f"{file.relative_to(root).as_posix()} {file.stat().st_size}\n".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def steps(root: Path) -> list[list[str]]:
    """The commands of a build, in order; the first that fails ends it."""
    pages, html = [sys.executable, str(root / "book" / "pages.py")], str(root / "book" / "_build" / "html")
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    where = ["--config", "book/_config.yml", "--toc", "book/_toc.yml", "--path-output", "book"]
    return [
        [*pages, "write", str(root / "build" / "book")],
        [*jupyter_book, *where, "-q", "-W", "-n", "--keep-going"],
        [*pages, "check", html],
    ]


def build(root: Path, commands: list[list[str]]) -> int:
    """Build if the sources have changed; 0 if the book is there, built without a warning.

    Args:
        root: the repository's root; the book lands in `book/_build`.
        commands: what to run, as `steps` lists it.
    """
    made, now = root / "book" / "_build", digest(root)
    stamp = made / "sources.sha256"
    if stamp.is_file() and stamp.read_text("utf-8") == now:
        print("The book is up to date: book/_build/html/index.html")
        return 0
    shutil.rmtree(made, ignore_errors=True)
    # The package of this folder, wherever an installed one is.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}
    for command in commands:
        code = subprocess.run(command, cwd=root, env=env).returncode
        if code:
            return code
    stamp.write_text(now, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(build(ROOT, steps(ROOT)))
