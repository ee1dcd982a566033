"""The book's generated pages, and the check that it needs no other host.

    python book/pages.py write build/book        before the build
    python book/pages.py check book/_build/html  after it
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import api  # beside this file
import progress

ROOT = Path(__file__).resolve().parents[1]
# Tags that make a browser fetch what their attribute names, without being asked.
FETCHING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
            "embed": "src", "object": "data"}  # fmt: skip
FETCHED_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest"}


def last_run() -> str:
    """A table of the runs that the stored outputs come from, as Markdown."""
    head = "| lesson | minutes | profile | CPU cores | date | versions |\n|---|---|---|---|---|---|\n"
    rows = []
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        run = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("minidiff", {})
        versions = ", ".join(f"{name} {number}" for name, number in run.get("versions", {}).items())
        cells = [run.get(key, "not recorded") for key in ("minutes", "profile", "cores", "date")]
        link = f"[{path.stem}](../notebooks/{path.name})"
        rows.append("| " + " | ".join(map(str, [link, *cells, versions or "not recorded"])) + " |\n")
    return head + "".join(rows)


def write(folder: Path) -> None:
    """Write the API pages, and into `folder` what other pages include: claims, boards, last run, gallery."""
    from minidiff.course import gallery, leaderboard
    from minidiff.course.claims import table

    (folder / "static").mkdir(parents=True, exist_ok=True)
    lessons = progress.lessons(ROOT / "notebooks")
    (folder / "progress.md").write_text(progress.markdown(lessons), encoding="utf-8")
    (folder / "static" / "course-data.js").write_text(progress.script(lessons), encoding="utf-8")
    shutil.rmtree(ROOT / "book" / "api", ignore_errors=True)  # a page of a part that is gone must not stay
    (ROOT / "book" / "api").mkdir()
    for part in api.PARTS:
        (ROOT / f"{api.docname(part)}.md").write_text(api.page(part), encoding="utf-8")
    (folder / "claims.md").write_text(table(ROOT / "results", "../notebooks"), encoding="utf-8")
    (folder / "leaderboard.md").write_text(leaderboard.table(ROOT / "results"), encoding="utf-8")
    (folder / "last-run.md").write_text(last_run(), encoding="utf-8")
    (folder / "caption-world-marks.md").write_text(gallery.marks(ROOT / "results"), encoding="utf-8")
    gallery.write(folder)


class Fetches(HTMLParser):
    """Collects the addresses on other hosts that a page fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag; `<a href>` is followed by readers only, so it may point anywhere."""
        values = dict(attrs)
        address = values.get(FETCHING.get(tag, ""))
        if tag == "link" and FETCHED_RELATIONS & set((values.get("rel") or "").split()):
            address = values.get("href")
        if address and re.match(r"(https?:)?//", address):
            self.foreign.append(f"<{tag}> {address}")


def foreign(html: Path) -> dict[str, list[str]]:
    """Page or style sheet -> what it fetches from other hosts; empty where the book stands alone."""
    found = {}
    for page in html.rglob("*.html"):
        parser = Fetches()
        parser.feed(page.read_text(encoding="utf-8"))
        found[page.relative_to(html).as_posix()] = parser.foreign
    for sheet in html.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8", errors="replace")
        addresses = re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)", text)
        found[sheet.relative_to(html).as_posix()] = addresses
    return {name: sorted(set(addresses)) for name, addresses in found.items() if addresses}


def check(html: Path) -> int:
    """Print what the book fetches from other hosts; 1 if there is anything, or no book."""
    if not (html / "book" / "intro.html").is_file():
        print(f"{html}: no book was built here")
        return 1
    found = foreign(html)
    for name, addresses in sorted(found.items()):
        print(f"{name} fetches from another host: {', '.join(addresses)}")
    return 1 if found else 0


if __name__ == "__main__":
    command, where = sys.argv[1], Path(sys.argv[2])
    sys.exit({"write": write, "check": check}[command](where))
