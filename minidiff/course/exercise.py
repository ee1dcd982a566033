"""One exercise as data: the text that a learner sees is the text that is executed.

The engine (`minidiff.course.engine`), the notebook's cells (`minidiff.course.cells`), the book and
the tests all read the same `Exercise`. The exercises of lesson 02 stand in
`minidiff/course/l02_exercises.py` as a tuple named `EXERCISES`.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

# What every source may use without importing it; the notebook's set-up cell runs the same lines.
IMPORTS = """\
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
"""

Probe = tuple  # the positional arguments of one call
Property = tuple[str, Callable[[object, torch.Generator], bool]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Exercise:
    """One exercise with its answer, its wrong answers and an oracle that knows the truth.

    Attributes:
        id: lesson and name, as in `"02.q_sample"`; every source must define that name.
        title: a few words for the heading.
        prompt: what to write and why, in Markdown.
        minutes: how long it takes a learner.
        difficulty: 1 (fill in), 2 (write) or 3 (think).
        starter: source of the starter cell; its body raises `NotImplementedError` or returns `...`.
        solution: source of the reference answer.
        hints: from a nudge to nearly the answer, in Markdown.
        wrong: name -> (source, diagnosis): misconceptions, distinct on the probes.
        oracle: the truth. For a function: called with each probe's arguments, floating tensors as
            float64 on the CPU. For a plain value: called without arguments.
        probes: `probes(rng)` draws on the CPU with `rng` and returns a list of argument tuples, with
            odd and pairwise different sizes; `None` if the answer is a plain value, not a function.
        call: how to use the answer, `call(answer, *arguments)`, where it is not a plain call: a
            class to be built and then called, a generator to be cut short.
        properties: (message, holds) pairs, `holds(answer, rng) -> bool`, tried once the probes pass.
        tolerance: largest allowed difference, relative to the largest value expected.
        context: source executed before the others and not shown: names that the notebook already has.
        in_place: whether the answer is allowed to change its arguments.
        equivalent: label of a mutant that behaves like the solution -> the reason why.

    Raises:
        ValueError: if the id, the minutes or the difficulty are out of range, a text starts with a
            stray backslash, or starter or solution do not define what the exercise asks for.
    """

    id: str
    title: str
    prompt: str
    minutes: int
    difficulty: int
    starter: str
    solution: str
    hints: tuple[str, ...]
    wrong: Mapping[str, tuple[str, str]]
    oracle: Callable
    probes: Callable[[torch.Generator], list[Probe]] | None = None
    call: Callable | None = None
    properties: tuple[Property, ...] = ()
    tolerance: float = 1e-4
    context: str = ""
    in_place: bool = False
    equivalent: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d\d\.[A-Za-z_]\w*", self.id):
            raise ValueError(f"id is {self.id!r}; it must look like '02.q_sample'")
        if self.difficulty not in (1, 2, 3):
            raise ValueError(f"{self.id}: difficulty is {self.difficulty!r}; it must be 1, 2 or 3")
        if self.minutes < 1:
            raise ValueError(f"{self.id}: minutes is {self.minutes!r}; it must be at least 1")
        texts = [self.prompt, self.starter, self.solution, *(source for source, _ in self.wrong.values())]
        if any(text.startswith("\\") for text in texts):
            raise ValueError(
                f"{self.id}: a text starts with a backslash; a raw string keeps the one before a line's end"
            )
        for label, source in [("starter", self.starter), ("solution", self.solution)]:
            if self.name not in source:
                raise ValueError(f"{self.id}: the {label} does not define {self.name!r}")

    @property
    def lesson(self) -> str:
        """Number of the lesson, as in `"02"`."""
        return self.id.split(".")[0]

    @property
    def name(self) -> str:
        """Name that the learner defines, as in `"q_sample"`."""
        return self.id.split(".")[1]

    def build(self, source: str, label: str) -> object:
        """Execute one of the exercise's sources and return what it defines.

        Args:
            source: the starter, the solution, a wrong answer or a mutant of the solution.
            label: what it is called in a traceback.

        Returns:
            The function, class or value named `self.name`.

        Raises:
            NameError: if the source does not define `self.name`.
        """
        namespace: dict[str, object] = {"__name__": f"minidiff.exercise.{self.id}"}
        exec(IMPORTS, namespace)
        exec(compile(self.context, f"<{self.id}: context>", "exec"), namespace)
        namespace.pop(self.name, None)
        filename = f"<{self.id}: {label}>"
        # Registered, or a traceback could not show the line.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        exec(compile(source, filename, "exec"), namespace)
        if self.name not in namespace:
            raise NameError(f"{filename} does not define {self.name!r}")
        return namespace[self.name]


def exercises(lesson: str) -> tuple[Exercise, ...]:
    """All exercises of one lesson, in the order of the notebook.

    Args:
        lesson: number of the lesson, as in `"02"`.

    Raises:
        ValueError: if the module's `EXERCISES` holds one of another lesson, or a name twice.
    """
    module = f"minidiff.course.l{lesson}_exercises"
    if importlib.util.find_spec(module) is None:
        return ()
    found = tuple(importlib.import_module(module).EXERCISES)
    names = [e.name for e in found]
    if any(e.lesson != lesson for e in found) or len(set(names)) < len(names):
        raise ValueError(f"{module}.EXERCISES must hold lesson {lesson}'s exercises, each once; it holds {names}")
    return found
