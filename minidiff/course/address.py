"""Changes the repository's address everywhere: `python -m minidiff.course.address https://github.com/OWNER/NAME`.

The address is one setting, `Repository` under `[project.urls]` of pyproject.toml. Badges, set-up cells, book, README
and citation repeat it, so this command rewrites them together. Without an address it says which is in use, and where.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import tomllib
from pathlib import Path

# Where an address may stand. pyproject.toml is no pattern: it is rewritten last, so that a second run finishes what an
# interruption has left.
PLACES = (
    "*.md", "*.cff", "*.yml", "*.yaml", ".*.yaml", ".github/**/*.yml", ".github/**/*.md", "book/*.yml", "book/*.md",
    "contributing/*.md", "notebooks/*.ipynb",
)  # fmt: skip
HOST = "https://github.com/"


def parse(address: str) -> str:
    """`OWNER/NAME` of a repository's address.

    Args:
        address: as in `"https://github.com/OWNER/NAME"`; a last slash and `.git` are dropped.

    Raises:
        ValueError: if it is no address of a repository on GitHub; Colab opens notebooks from there alone.

    >>> parse("https://github.com/ann/text-to-image.git")
    'ann/text-to-image'
    """
    found = re.fullmatch(r"https://github\.com/([A-Za-z0-9]+(?:-[A-Za-z0-9]+)*)/([\w.-]+?)(?:\.git)?/?", address, re.A)
    if not found or set(found[2]) == {"."} or len(found[1]) > 39 or len(found[2]) > 100:
        raise ValueError(
            f"address is {address!r}; it must look like {HOST}OWNER/NAME, with nothing after it: "
            "Colab opens notebooks from GitHub alone"
        )
    return f"{found[1]}/{found[2]}"


def current(root: Path) -> str:
    """`OWNER/NAME` that pyproject.toml names.

    Raises:
        ValueError: if `root` is not the course's repository, or its address is bad.
    """
    pyproject = root / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text("utf-8")).get("project", {}) if pyproject.is_file() else {}
    if project.get("name") != "minidiff":
        raise ValueError(f"root is {root}; it must be the course's repository, with its pyproject.toml")
    return parse(project.get("urls", {}).get("Repository", ""))


def pattern(place: str) -> re.Pattern[str]:
    """Finds `OWNER/NAME` in every form of address: web page, git over ssh, Colab's, and files served raw.

    >>> pattern("ann/course").sub("bob/x", "github.com/ann/course.git, colab/github/ann/course/blob, ann/course")
    'github.com/bob/x.git, colab/github/bob/x/blob, ann/course'
    >>> pattern("ann/course").sub("bob/x", "https://github.com/ann/course. https://github.com/ann/courses")
    'https://github.com/bob/x. https://github.com/ann/courses'
    """
    before = (r"github\.com[/:]", r"\bgithub/", r"githubusercontent\.com/")
    return re.compile("|".join(rf"(?<={b}){re.escape(place)}(?![\w-]|\.(?!git\b)\w)" for b in before))


def uses(root: Path, place: str) -> dict[Path, int]:
    """File -> how often it names the repository; pyproject.toml comes last."""
    paths = {path for places in PLACES for path in root.glob(places) if path.is_file()}
    counts = {path: len(pattern(place).findall(_read(path))) for path in [*sorted(paths), root / "pyproject.toml"]}
    return {path: count for path, count in counts.items() if count}


def change(root: Path, address: str) -> dict[Path, int]:
    """Rewrite the address everywhere, or nowhere.

    Args:
        root: the repository.
        address: the new one, as in `"https://github.com/OWNER/NAME"`.

    Returns:
        File -> how often the address stood there; empty if it is the one in use.

    Raises:
        ValueError: if the address is bad or `root` is not the course's repository; nothing is changed.
        OSError: if a file cannot be written; those not yet renamed stay as they were, and a second run goes on.
    """
    new, old = parse(address), current(root)
    if new == old:
        return {}
    found, written = uses(root, old), []
    try:
        for path in found:  # all are on the disk before the first takes its place
            written.append((_beside(path, pattern(old).sub(new, _read(path))), path))
        for temporary, path in written:
            os.replace(temporary, path)
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
    return found


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")  # line ends stay as they are


def _beside(path: Path, text: str) -> Path:
    """A file with this text, and the mode of `path`, in the same folder."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            file.write(text.encode("utf-8"))
            file.flush()
            os.chmod(file.name, path.stat().st_mode & 0o777)
        except BaseException:
            os.unlink(file.name)
            raise
    return Path(file.name)


def main(argv: list[str] | None = None) -> int:
    """Change the address, or show it; 0, or 2 with a reason if the address is bad."""
    parser = argparse.ArgumentParser(prog="python -m minidiff.course.address", description=__doc__.splitlines()[0])
    parser.add_argument("address", nargs="?", help=f"the new address, {HOST}OWNER/NAME; left out: show the one in use")
    args, root = parser.parse_args(argv), Path.cwd()
    try:
        found = uses(root, current(root)) if args.address is None else change(root, args.address)
        print(HOST + current(root))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for path, count in found.items():
        print(f"  {count} in {path.relative_to(root).as_posix()}")
    if args.address is not None:
        print(f"{len(found)} files changed." if found else "It was so already; nothing changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
