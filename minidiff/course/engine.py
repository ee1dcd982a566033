"""Judge a learner's answer: not attempted, passed, wrong (and why) or raised (and where)."""

from __future__ import annotations

import contextlib
import html
import io
import os
import random
import re
import sysconfig
import traceback
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from minidiff.course.compare import Leaves, difference, in_float64, leaves, on_device, tensors
from minidiff.course.display import inline
from minidiff.course.exercise import Exercise

Status = Literal["not attempted", "passed", "wrong", "raised"]
_LOOK = {"not attempted": ("&#9675;", "#767676"), "passed": ("&#10003;", "#009E73")}
_FAILED = ("&#10007;", "#D55E00")
_LIBRARY = tuple(  # code that the learner did not write
    str(Path(p)) + os.sep
    for p in (Path(__file__).resolve().parents[1], *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
)


@dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
        name: name of the exercise.
        status: one of the four outcomes.
        message: what to tell the learner; `code` in backquotes.
        line: where it raised, as in ``line 3: `return x``` , else empty.
        misconception: key of the registered wrong answer that behaves like the learner's, if any.
    """

    name: str
    status: Status
    message: str
    line: str = ""
    misconception: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.status == "passed"

    def __repr__(self) -> str:
        return "\n".join(filter(None, [f"{self.name}: {self.status}. {self.message}", self.line]))

    def _repr_html_(self) -> str:
        sign, colour = _LOOK.get(self.status, _FAILED)
        where = f"<br><code>{html.escape(self.line)}</code>" if self.line else ""
        return (
            f'<div class="minidiff-check" data-status="{self.status}" role="status" '
            f'style="border-left:4px solid {colour};padding:0.4em 0.8em">{sign} '
            f"<code>{self.name}</code>: <strong>{self.status}</strong>. {inline(self.message)}{where}</div>"
        )


@dataclass(frozen=True)
class _Run:
    """Everything that one answer did on the probes."""

    outputs: list[Leaves]
    error: BaseException | None = None
    changed: int | None = None  # index of the probe whose arguments were changed in place
    raw: object = None  # what the first probe returned


@contextlib.contextmanager
def preserved() -> Iterator[None]:
    """Leave the random states, the gradient mode and the default dtype as they were."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)


def judge(exercise: Exercise, answer: object, *, device: str = "cpu", seed: int = 0) -> Result:
    """Judge an answer; never raises because of it, and changes no global state.

    Args:
        exercise: what was asked.
        answer: the learner's function, class or value.
        device: where the probes' tensors are put.
        seed: another seed draws other probes.

    Returns:
        The outcome, with a message for the learner. An interrupt from the keyboard goes through.
    """
    with preserved(), torch.enable_grad():
        return _judge(exercise, answer, device, seed)


def expected(exercise: Exercise, seed: int = 0) -> list[object]:
    """What the oracle returns for each probe (for a plain value: a list of that one value)."""
    if exercise.probes is None:
        return [exercise.oracle()]
    truth = []
    for i, arguments in enumerate(exercise.probes(_rng(exercise, seed))):
        _seed(i)
        truth.append(exercise.oracle(*in_float64(tuple(arguments))))
    return truth


def _judge(exercise: Exercise, answer: object, device: str, seed: int) -> Result:
    name = exercise.name
    if exercise.probes is not None and answer is not Ellipsis and not callable(answer):
        kind = type(answer).__name__
        return Result(name, "wrong", f"`{name}` is of type `{kind}`; it must be a function or a class.")
    run = _run(exercise, answer, device, seed)
    if answer is Ellipsis or run.raw is Ellipsis or isinstance(run.error, NotImplementedError):
        return Result(name, "not attempted", "Write it in the cell above, run that cell, then this one.")
    message = _mismatch(exercise, run, seed)
    failed = () if message else _failed_properties(exercise, answer, seed)
    if not message and not failed and run.changed is None:
        return Result(name, "passed", "It agrees with an independent calculation on inputs that it had not seen.")
    known = _misconception(exercise, run, failed, device, seed)
    message = exercise.wrong[known][1] if known else message or (failed and exercise.properties[failed[0]][0])
    message = message or "The values are right, but an argument is changed in place: whoever called you still needs it."
    if run.error is None:
        return Result(name, "wrong", message, misconception=known)
    said = f"`{type(run.error).__name__}`: {_first_line(run.error)}"
    return Result(name, "raised", f"{said}. {message}" if known else said, _line(run.error), known)


def _seed(number: int) -> None:
    # torch.manual_seed keeps a formatted stack of every call that comes before CUDA is in use, which is slow.
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(number)
    np.random.seed(number)
    random.seed(number)


def _rng(exercise: Exercise, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(zlib.crc32(exercise.id.encode()) + seed)


def _run(exercise: Exercise, answer: object, device: str, seed: int) -> _Run:
    if exercise.probes is None:
        return _Run([leaves(answer)], raw=answer)
    outputs, raw, changed = [], None, None
    call = exercise.call or (lambda thing, *arguments: thing(*arguments))
    for i, arguments in enumerate(exercise.probes(_rng(exercise, seed))):
        private, before = on_device(tuple(arguments), device), tensors(tuple(arguments))
        _seed(i)
        try:
            output = call(answer, *private)
            raw = output if i == 0 else raw
            outputs.append(leaves(output))
        except (Exception, SystemExit) as error:
            return _Run(outputs, error, changed, raw)
        if not exercise.in_place and changed is None and difference(tensors(private), before, 0.0):
            changed = i
    return _Run(outputs, None, changed, raw)


def _mismatch(exercise: Exercise, run: _Run, seed: int) -> str:
    """The first difference from the truth, or an empty string."""
    if run.error is not None:
        return "It raises an error."
    probes = exercise.probes(_rng(exercise, seed)) if exercise.probes else [()]
    for arguments, got, want in zip(probes, run.outputs, expected(exercise, seed), strict=True):
        message = difference(got, leaves(want), exercise.tolerance)
        if message:
            return _unchanged(arguments, got) or message
    return ""


def _unchanged(arguments: tuple, got: Leaves) -> str:
    for number, argument in enumerate(arguments, 1):
        if isinstance(argument, torch.Tensor) and not difference(got, leaves(argument), 0.0):
            return f"Your output is argument number {number}, unchanged."
    return ""


def _failed_properties(exercise: Exercise, answer: object, seed: int) -> tuple[int, ...]:
    failed = []
    for i, (_, holds) in enumerate(exercise.properties):
        try:
            good = bool(holds(answer, _rng(exercise, seed)))
        except (Exception, SystemExit):
            good = False
        failed += [] if good else [i]
    return tuple(failed)


def _misconception(exercise: Exercise, run: _Run, failed: tuple[int, ...], device: str, seed: int) -> str | None:
    """Key of the registered wrong answer that does the same as the learner's on every probe."""
    with contextlib.redirect_stdout(io.StringIO()):
        for key, (source, _) in exercise.wrong.items():
            answer = exercise.build(source, f"wrong answer {key}")
            other = _run(exercise, answer, device, seed)
            if _same(exercise, run, other) and (not failed or failed == _failed_properties(exercise, answer, seed)):
                return key
    return None


def _same(exercise: Exercise, one: _Run, two: _Run) -> bool:
    if len(one.outputs) != len(two.outputs) or one.changed != two.changed or type(one.error) is not type(two.error):
        return False
    if one.error is not None and _first_line(one.error) != _first_line(two.error):
        return False
    return not any(difference(a, b, exercise.tolerance) for a, b in zip(one.outputs, two.outputs, strict=True))


def _first_line(error: BaseException) -> str:
    # Addresses of objects differ from run to run; stored outputs must not.
    return re.sub(r" at 0x[0-9a-f]+", "", (str(error).strip().splitlines() or [""])[0]).rstrip(".")


def _line(error: BaseException) -> str:
    """The deepest line of the traceback that the learner wrote."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_LIBRARY)]
    if not frames:
        return ""
    return f"line {frames[-1].lineno}: {frames[-1].line}"
