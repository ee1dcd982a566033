"""Every registered exercise: starter, solution, wrong answers and mutants (the toy is one of them)."""

import contextlib
import dataclasses
import signal
from pathlib import Path

import pytest
import torch
from mutants import mutants
from toy import TOY

import minidiff.course
from minidiff.course import cells
from minidiff.course.compare import mapped
from minidiff.course.engine import expected, judge
from minidiff.course.exercise import exercises

FOLDER = Path(minidiff.course.__file__).parent
LESSONS = sorted(path.name[1:3] for path in FOLDER.glob("l[0-9][0-9]_exercises.py"))
ALL = [TOY, *(e for lesson in LESSONS for e in exercises(lesson))]
WRONG = [pytest.param(e, key, id=f"{e.id}-{key}") for e in ALL for key in e.wrong]
MUTANTS = [(e, label, source) for e in ALL for label, source in mutants(e.solution).items()]
every = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.id)


@contextlib.contextmanager
def limit(seconds: int):
    """A mutant that never ends counts as raised."""

    def late(*_):
        raise TimeoutError

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def zeros(value):
    """The same structure with every number set to 0."""
    if isinstance(value, (bool, int, float)):
        return 0
    if isinstance(value, str):
        return ""
    return mapped(_numbers(value), torch.zeros_like, lambda m: m)


def _numbers(value):
    if isinstance(value, dict):
        return {k: zeros(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [zeros(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return torch.as_tensor(value)


@every
def test_starter_is_not_attempted(exercise):
    assert judge(exercise, exercise.build(exercise.starter, "starter")).status == "not attempted"


@every
@pytest.mark.parametrize("seed", range(4))
def test_solution_passes(exercise, seed):
    result = judge(exercise, exercise.build(exercise.solution, "solution"), seed=seed)
    assert result.passed, result


@every
@pytest.mark.cuda
def test_solution_passes_on_cuda(exercise):
    result = judge(exercise, exercise.build(exercise.solution, "solution"), device="cuda")
    assert result.passed, result


@every
def test_nothing_is_wrong(exercise):
    assert judge(exercise, None).status == "wrong"
    if exercise.probes is None:
        return
    answer = exercise.build(exercise.solution, "solution")
    assert judge(dataclasses.replace(exercise, call=lambda *_: None), answer).status == "wrong"


@every
def test_zeros_are_wrong(exercise):
    truth = [zeros(t) for t in expected(exercise)]
    if exercise.probes is None:
        assert judge(exercise, truth[0]).status == "wrong"
        return
    left = iter(truth)
    replaced = dataclasses.replace(exercise, call=lambda *_: next(left), wrong={})
    assert judge(replaced, exercise.build(exercise.solution, "solution")).status == "wrong"


@every
def test_the_input_unchanged_is_wrong(exercise):
    def first(*arguments):
        return next((a for a in arguments[1:] if isinstance(a, torch.Tensor)), arguments[-1])

    if exercise.probes is not None:
        replaced = dataclasses.replace(exercise, call=first, wrong={})
        assert judge(replaced, exercise.build(exercise.solution, "solution")).status == "wrong"


@every
def test_has_enough_to_teach(exercise):
    assert len(exercise.wrong) >= 3
    assert len({diagnosis for _, diagnosis in exercise.wrong.values()}) == len(exercise.wrong)
    assert exercise.hints
    assert all(source.strip() for source, _ in exercise.wrong.values())


@pytest.mark.parametrize("exercise, key", WRONG)
@pytest.mark.parametrize("seed", range(2))
def test_wrong_answer_gets_its_own_diagnosis(exercise, key, seed):
    source, diagnosis = exercise.wrong[key]
    result = judge(exercise, exercise.build(source, key), seed=seed)
    assert result.status in ("wrong", "raised"), "this wrong answer passes"
    assert result.misconception == key, f"taken for {result.misconception}"
    assert diagnosis in result.message


@every
def test_mutants_are_noticed(exercise):
    found = mutants(exercise.solution)
    unknown = set(exercise.equivalent) - set(found)
    assert not unknown, f"`equivalent` lists what is no mutant: {unknown}; mutants are {sorted(found)}"
    assert all(reason.strip() for reason in exercise.equivalent.values())
    killed, survived = 0, []
    bare = dataclasses.replace(exercise, wrong={})  # whether it passes does not depend on the diagnoses
    for label, source in found.items():
        with limit(10):
            try:
                passed = judge(bare, exercise.build(source, label)).passed
            except Exception:
                passed = False
        killed += not passed
        survived += [label] if passed and label not in exercise.equivalent else []
    assert not survived, f"these pass: sharpen the probes, or list them in `equivalent` with a reason: {survived}"
    assert killed >= (1 if exercise.probes is None else 5), f"only {killed} mutants of {len(found)} are noticed"


@every
def test_cells_fit_the_page(exercise):
    for cell in cells.cells(exercise):
        assert cell.kind == "markdown" or len(cell.source.splitlines()) <= 25
        assert "</summary>\n\n" in cell.source or "<summary>" not in cell.source
    compile(cells.starter_cell(exercise), "starter", "exec")
