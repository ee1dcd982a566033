"""The page "Your progress" and what its script must know, from the exercises' registry and the notebooks' quizzes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """An exercise or a question: its name in what the browser keeps, its title, and its minutes (0: a question)."""

    id: str
    title: str
    minutes: int


@dataclass(frozen=True)
class LessonEntries:
    """What a reader can tick or answer in one lesson; `page` is its address in the book."""

    number: str
    title: str
    page: str
    exercises: list[Entry]
    questions: list[Entry]


def lessons(notebooks: Path) -> list[LessonEntries]:
    """All lessons in their order.

    Args:
        notebooks: folder of the notebooks.

    Raises:
        ValueError: if two questions of the course have the same name.
    """
    from minidiff.course.exercise import exercises
    from minidiff.course.quiz import asked

    found = []
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        title = next(match[1] for match in (re.search(r"^# +(.+)$", text, re.M) for text in texts) if match)
        work = [Entry(e.id, e.title.replace("`", ""), e.minutes) for e in exercises(path.name[:2])]
        questions = [Entry(*pair, 0) for text in texts for pair in asked(text)]
        found.append(LessonEntries(path.name[:2], title, f"notebooks/{path.stem}.html", work, questions))
    names = [question.id for lesson in found for question in lesson.questions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two questions have the same name: {', '.join(twice)}; let their first seven words differ")
    return found


def script(found: list[LessonEntries]) -> str:
    """The lessons as a script, which a page can read from disk too, where it may fetch nothing."""
    return f"window.minidiffCourse = {json.dumps({'lessons': [asdict(lesson) for lesson in found]}, indent=1)};\n"


def _anchor(heading: str) -> str:
    """Address of a heading within its page, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def markdown(found: list[LessonEntries]) -> str:
    """A heading, a place for the bars and two lists for each lesson; the script fills in the rest."""
    blocks = []
    for lesson in found:
        address = f"../{lesson.page.removesuffix('.html')}.ipynb"
        blocks.append(f"## {lesson.title}\n\n<div data-lesson=\"{lesson.number}\"></div>")
        rows = [
            f'- <span data-exercise="{e.id}"></span>'
            f"[{e.title}]({address}#{_anchor(f'Exercise: {e.title}')}) · {e.minutes} min"
            for e in lesson.exercises
        ]
        blocks += ["**Exercises**\n\n" + "\n".join(rows)] if rows else []
        rows = [f'- {q.title} <span data-asked="{q.id}"></span>' for q in lesson.questions]
        blocks += [f"**[Quiz]({address}#quiz)**\n\n" + "\n".join(rows)] if rows else []
    return "\n\n".join(blocks) + "\n"
