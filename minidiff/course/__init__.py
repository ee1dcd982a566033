"""What only the notebooks need: lessons, exercises, profiles, plots, players and quizzes."""

from minidiff.course.exercise import Exercise
from minidiff.course.lesson import Lesson

__all__ = ["Exercise", "Lesson"]
