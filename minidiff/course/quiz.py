"""Questions without a kernel: each option folds open to its verdict, and in the book it becomes a button.

A question is a `<div class="minidiff-quiz">` with one `<details>` for each option. That form needs no script, so it
reads well on GitHub, in Colab and in JupyterLab, which strip scripts from Markdown; `book/_static/course.js` makes
buttons of the same folds, and keeps which question was answered right at the first try.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

from minidiff.course.display import Shown, fold, inline


@dataclass(frozen=True)
class Question:
    """One question with lettered options, one of them right.

    Attributes:
        question: in a sentence or two; `code` and *emphasis* are known.
        options: what one may answer.
        why: for each option, why it is right or wrong.
        correct: index of the right option.

    Raises:
        ValueError: if there are fewer than two options, `why` is of another length, or `correct` is no option.

    >>> q = Question("Is 1 + 1 = 2?", ("no", "yes"), ("Count again.", "Indeed."), correct=1)
    >>> q.review("A")
    You said A (no). The answer is B (yes). Indeed.
    """

    question: str
    options: Sequence[str]
    why: Sequence[str]
    correct: int

    def __post_init__(self) -> None:
        n = len(self.options)
        if n < 2 or len(self.why) != n:
            raise ValueError(f"options has {n} entries and why {len(self.why)}; both must have the same, at least 2")
        if not 0 <= self.correct < n:
            raise ValueError(f"correct is {self.correct}; it must be an index of the {n} options")

    def ask(self) -> Shown:
        """The question and its options without any verdict: a prediction, reviewed at the lesson's end."""
        rows = "".join(f"<li>{inline(option)}</li>" for option in self.options)
        text = [f"  {letter}. {option}" for letter, option in self._lettered()]
        return Shown(
            f'<p><strong>{inline(self.question)}</strong></p><ol type="A">{rows}</ol>',
            "\n".join([self.question, *text]),
        )

    def quiz(self) -> Shown:
        """The question with options that fold open to their verdict and reason."""
        blocks = [
            f"<details><summary>{letter}. {inline(option)}</summary>"
            f"<p><strong>{self._verdict(i)}</strong> {inline(self.why[i])}</p></details>"
            for i, (letter, option) in enumerate(self._lettered())
        ]
        html = f'<div class="minidiff-quiz"><p><strong>{inline(self.question)}</strong></p>{"".join(blocks)}</div>'
        answer = f"Answer: {string.ascii_uppercase[self.correct]}. {self.why[self.correct]}"
        return Shown(html, f"{self.ask().text}\n{answer}")

    def markdown(self, lesson: str) -> str:
        """The quiz as Markdown for a text cell: it then needs no output at all.

        Args:
            lesson: number of the lesson, as in `"02"`; with the question's first words it makes the name under which
                the reader's browser keeps the answer.
        """
        blocks = [
            fold(f"{letter}. {inline(option)}", f"**{self._verdict(i)}** {self.why[i]}")
            for i, (letter, option) in enumerate(self._lettered())
        ]
        head = f'<div class="minidiff-quiz" data-question="{key(lesson, self.question)}">'
        return "\n\n".join([head, f"**{self.question}**", *blocks, "</div>"])

    def review(self, answer: str) -> Shown:
        """Compare a prediction made at the start with what the lesson found.

        Args:
            answer: the letter that was chosen, in either case; anything else counts as no prediction.
        """
        letters = dict(self._lettered())
        said = answer.strip().upper() if isinstance(answer, str) else ""
        right = string.ascii_uppercase[self.correct]
        truth = f"The answer is {right} ({letters[right]}). {self.why[self.correct]}"
        if said not in letters:
            text = f"You made no prediction. {truth}"
        elif said == right:
            text = f"You said {said} ({letters[said]}), and so it is. {self.why[self.correct]}"
        else:
            text = f"You said {said} ({letters[said]}). {truth}"
        return Shown(f'<div class="minidiff-review">{inline(text)}</div>', text)

    def _lettered(self) -> list[tuple[str, str]]:
        return list(zip(string.ascii_uppercase, self.options, strict=False))

    def _verdict(self, i: int) -> str:
        return "Right." if i == self.correct else "No."


def key(lesson: str, question: str) -> str:
    """Name of a question: its lesson and its first words, so that it survives a change of order.

    >>> key("02", "Why does `x_T` look like noise, and not like rain?")
    '02.why-does-x-t-look-like-noise'
    """
    words = re.findall("[a-z0-9]+", question.lower())
    return f"{lesson}.{'-'.join(words[:7])}"


def asked(markdown: str) -> list[tuple[str, str]]:
    """Every question of a text cell in quiz form, as (name, question).

    >>> asked(Question("Is 1 + 1 = 2?", ("no", "yes"), ("Count again.", "Indeed."), correct=1).markdown("02"))
    [('02.is-1-1-2', 'Is 1 + 1 = 2?')]
    """
    return re.findall(r'^<div class="minidiff-quiz" data-question="([^"]+)">\n\n\*\*(.+)\*\*$', markdown, re.M)


def quiz(question: str, options: Sequence[str], correct: int, why: Sequence[str]) -> Shown:
    """A question whose options fold open to their verdict; see `Question`.

    Raises:
        ValueError: as `Question` does.
    """
    return Question(question, options, why, correct).quiz()
