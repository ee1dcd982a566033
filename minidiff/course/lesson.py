"""`Lesson`: the one thing of this package that every notebook talks to."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import sys

import numpy as np
import torch

from minidiff.course import cells
from minidiff.course.display import Folded, Shown, inline, show
from minidiff.course.engine import Result, judge
from minidiff.course.exercise import Exercise, exercises
from minidiff.course.profile import profile
from minidiff.recipes.results import record

DATA = {"00": "shapes", "09": "shapes"}  # lesson -> what it is about; the others are about real digits


class Lesson:
    """One lesson in a notebook.

    Args:
        number: two digits, as in `"02"`.
        data: name of the data set that the lesson would like; `digits` stands in where it cannot be had. None is the
            lesson's own: `mnist`, or for lesson 00 `shapes`, which is drawn where it is needed.

    Attributes:
        number: as given.
        profile: sizes of this lesson, as in `lesson.profile.steps`; `lesson.profile.name` is the profile.
        device: `cuda` where there is one, else `cpu`.
        dataset: name of the data set in use, known once `setup` has run.
        record: `minidiff.recipes.results.record` with this lesson as the source.

    Raises:
        ValueError: if the number is not two digits, or `MINIDIFF_PROFILE` is unknown.
    """

    def __init__(self, number: str, data: str | None = None) -> None:
        if not (isinstance(number, str) and len(number) == 2 and number.isdigit()):
            raise ValueError(f"number is {number!r}; it must be two digits in quotes, as in '02'")
        self.number = number
        self.profile = profile(number)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dataset = data or DATA.get(number, "mnist")
        self._exercises = {e.name: e for e in exercises(number)}
        self._found: dict[str, str] = {}  # exercise -> its last status
        self.record = functools.partial(record, source=f"lesson {number}")
        self._batches: dict[str, dict] = {}

    def setup(self, seed: int = 0) -> None:
        """Seed everything, set the plot style and print device, profile and data set in one line.

        On Colab without a GPU a second line says how to get one.
        """
        from minidiff.course import plots

        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        plots.style()
        wanted, where = self.dataset, f"Lesson {self.number} | device {self.device} | profile {self.profile.name}"
        if wanted == "shapes":
            print(f"{where} | data: the caption world, drawn where it is needed")
        else:
            images = self.data("train")["x"]
            print(f"{where} | data {self.dataset}, {len(images):,} pictures of {images.shape[-2]} x {images.shape[-1]}")
        if self.dataset != wanted:
            print(f"{wanted} cannot be had here: the lesson goes on with {self.dataset}, and every cell still runs.")
        if self.device == "cpu" and ("google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ):
            print("Colab lends a GPU: choose Runtime > Change runtime type > T4 GPU, then run this cell again.")

    def data(self, split: str = "train") -> dict:
        """The data set as one batch on the lesson's device, `"x"` [N,C,H,W] in [-1,1] and `"y"` [N].

        Args:
            split: `train` or `test`.

        Raises:
            ValueError: if the split is another, or the lesson is about the caption world.
        """
        if split not in ("train", "test"):
            raise ValueError(f"split is {split!r}; it must be 'train' or 'test'")
        if self.dataset == "shapes":
            raise ValueError("the caption world is no set to be loaded; draw from it with minidiff.data.shapes")
        if split not in self._batches:
            from minidiff.data import load_or_digits

            self.dataset, batch = load_or_digits(self.dataset, split, device=self.device)
            self._batches[split] = batch
        return self._batches[split]

    def exercise(self, name: str) -> Exercise:
        """The registered exercise.

        Raises:
            KeyError: if the lesson has none of that name.
        """
        if name not in self._exercises:
            raise KeyError(f"lesson {self.number} has no exercise {name!r}; it has: {', '.join(self._exercises)}")
        return self._exercises[name]

    def judge(self, name: str, answer: object) -> Result:
        """Judge an answer and return the result without showing it."""
        result = judge(self.exercise(name), answer, device=self.device)
        self._found[name] = result.status
        return result

    def check(self, name: str, answer: object = ...) -> None:
        """Show whether an answer is not attempted, passed, wrong (with a diagnosis) or raised (with the line)."""
        show(self.judge(name, answer))

    def use(self, name: str, answer: object = ...) -> object:
        """The learner's answer if it passes, else the reference, with a visible notice which of the two it is."""
        with contextlib.redirect_stdout(io.StringIO()):
            result = self.judge(name, answer)
        if result.passed:
            show(_notice(f"From here on the notebook uses your `{name}`."))
            return answer
        show(_notice(f"Yours is {result.status}, so from here on the notebook uses the course's `{name}`."))
        return self.reference(name)

    def reference(self, name: str) -> object:
        """The course's own answer."""
        return self.exercise(name).build(self.exercise(name).solution, "solution")

    def summary(self) -> None:
        """Show every exercise of the lesson with its minutes and what the last check found."""
        rows = [(e.name, e.minutes, self._found.get(e.name, "not attempted")) for e in self._exercises.values()]
        done = f"{sum(status == 'passed' for *_, status in rows)} of {len(rows)} exercises passed"
        lines = [f"  {name}: {status} ({minutes} min)" for name, minutes, status in rows]
        table = "".join(f"<tr><td><code>{n}</code></td><td>{m} min</td><td>{status}</td></tr>" for n, m, status in rows)
        show(Shown(f"<p><strong>{done}</strong></p><table>{table}</table>", "\n".join([done, *lines])))

    def hints(self, name: str) -> None:
        """Show the hints, folded."""
        show(Folded("\n\n".join(cells.fold(f"Hint {i}", h) for i, h in enumerate(self.exercise(name).hints, 1))))

    def solution(self, name: str) -> None:
        """Show the solution, folded."""
        show(Folded(cells.fold("Solution", f"```python\n{self.exercise(name).solution.strip()}\n```")))


def _notice(text: str) -> Shown:
    return Shown(f'<div class="minidiff-notice" role="note">{inline(text)}</div>', text.replace("`", ""))
