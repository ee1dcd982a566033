"""The solution of an exercise, built as its notebook builds it."""

from __future__ import annotations

from collections.abc import Callable

from minidiff.course import Lesson


def answers(lesson: str) -> Callable[[str], Callable]:
    """Name of an exercise of that lesson -> its solution's function."""

    def answer(name: str) -> Callable:
        exercise = Lesson(lesson).exercise(name)
        return exercise.build(exercise.solution, "solution")

    return answer
