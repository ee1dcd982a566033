"""The engine on the toy exercise: outcomes, diagnoses, and what it leaves behind."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from toy import SOLUTION, TOY, oracle

from minidiff.course.compare import difference, leaves, on_device
from minidiff.course.display import inline
from minidiff.course.engine import judge
from minidiff.course.exercise import Exercise, exercises
from minidiff.diffusion import Step

solution = TOY.build(SOLUTION, "solution")


def answer(**changes) -> Exercise:
    return dataclasses.replace(TOY, **changes)


def test_raised_shows_the_learners_line():
    def blend(x0, power, eps):
        total = x0 + eps
        return torch.cat([total, power])  # the line that raises

    result = judge(TOY, blend)
    assert result.status == "raised"
    assert "torch.cat([total, power])  # the line that raises" in result.line
    assert result.line.startswith(f"line {blend.__code__.co_firstlineno + 2}:")
    assert "RuntimeError" in result.message and result.misconception is None


def test_raised_shows_the_line_of_a_registered_source():
    result = judge(TOY, TOY.build(TOY.wrong["no_view"][0], "learner"))
    assert result.line == "line 2: return power.sqrt() * x0 + (1 - power).sqrt() * eps"
    assert result.message.endswith(TOY.wrong["no_view"][1])


@pytest.mark.parametrize("error", [ValueError, SystemExit, RecursionError, StopIteration, AssertionError])
def test_never_raises(error):
    def blend(*_):
        raise error("no")

    assert judge(TOY, blend).status == "raised"
    assert judge(TOY, lambda: None).status == "raised"
    assert judge(TOY, lambda *_: object()).status == "wrong"
    assert judge(TOY, 3.0).status == "wrong"


def test_an_interrupt_goes_through():
    def blend(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(TOY, blend)


def test_ellipsis_is_not_attempted():
    assert judge(TOY, ...).status == "not attempted"
    assert judge(TOY, lambda *_: ...).status == "not attempted"


@pytest.mark.parametrize("grad", [True, False])
def test_state_is_left_as_it_was(grad):
    def blend(x0, power, eps):
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
        assert torch.is_grad_enabled()  # whatever the notebook's mode
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return torch.randn(3)

    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    want = draw()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    with torch.set_grad_enabled(grad):
        for candidate in (blend, solution):
            judge(TOY, candidate)
            assert torch.is_grad_enabled() is grad
            assert torch.get_default_dtype() is torch.float32
    assert draw() == want


def test_arguments_changed_in_place():
    def blend(x0, power, eps):
        return x0.mul_(power.view(-1, 1).sqrt()).add_((1 - power).view(-1, 1).sqrt() * eps)

    result = judge(TOY, blend)
    assert result.status == "wrong" and "in place" in result.message
    assert judge(answer(in_place=True), blend).passed

    def wipe(x0, power, eps):
        return [v.zero_() for v in (x0, power, eps)][0]

    assert judge(TOY, wipe).status == "wrong"  # zeros are not compared with zeroed arguments
    assert judge(TOY, solution).passed


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda out: 3 * out, "3 times"),
        (lambda out: out + 0.25, "shifted by 0.25"),
        (lambda out: -out, "-1 times"),
        (lambda out: out * 0, "zero everywhere"),
        (lambda out: out / 0, "NaN or infinity"),
        (lambda out: out.T, "shape [5, 3]; it must be [3, 5]"),
        (lambda out: out[0], "shape [5]; it must be [3, 5]"),
        (lambda out: None, "`None`"),
        (lambda out: (out, out), "a collection of 2"),
        (lambda out: "text", "type `str`"),
        (lambda out: out + 0j, "complex"),
        (lambda out: out.index_fill(1, torch.tensor([1]), 0.0), "in 3 of 15 numbers"),
    ],
)
def test_words_for_what_is_wrong(change, words):
    result = judge(TOY, lambda *arguments: change(solution(*arguments)))
    assert result.status == "wrong"
    assert words in result.message


def test_argument_returned_unchanged():
    assert "argument number 3, unchanged" in judge(TOY, lambda x0, power, eps: eps).message


def test_tolerance():
    assert judge(TOY, lambda *a: solution(*a) + 1e-6).passed
    assert not judge(TOY, lambda *a: solution(*a) + 1e-2).passed
    assert judge(TOY, lambda *a: solution(*(v.double() for v in a)).numpy()).passed


def test_property_has_its_own_message():
    def keeps_dtype(blend, rng):
        x = torch.randn(2, 3, generator=rng)
        return blend(x, torch.tensor([0.5, 0.25]), x).dtype == x.dtype

    exercise = answer(properties=(("The dtype must stay float32.", keeps_dtype),))
    assert judge(exercise, solution).passed
    result = judge(exercise, lambda *a: solution(*a).double())
    assert result.status == "wrong" and result.message == "The dtype must stay float32."
    double = SOLUTION.replace("* eps\n", "* eps.double()\n")
    named = dataclasses.replace(exercise, wrong={"double": (double, "You mix float64 in.")})
    assert judge(named, lambda *a: solution(*a).double()).misconception == "double"
    broken = answer(properties=(("Never holds.", lambda *_: 1 / 0),))
    assert judge(broken, solution).message == "Never holds."


def test_plain_value():
    exercise = Exercise(
        id="99.levels",
        title="a number",
        prompt="How many?",
        minutes=1,
        difficulty=1,
        starter="levels = ...",
        solution="levels = {'steps': 1000, 'share': 0.25}",
        hints=(),
        wrong={"percent": ("levels = {'steps': 1000, 'share': 25}", "A share, not per cent.")},
        oracle=lambda: {"steps": 1000, "share": 1 / 4},
    )
    assert judge(exercise, exercise.build(exercise.starter, "starter")).status == "not attempted"
    assert judge(exercise, {"steps": 1000, "share": 0.25}).passed
    assert judge(exercise, {"steps": 1000, "share": 25.0}).misconception == "percent"
    assert "no entry `['share']`" in judge(exercise, {"steps": 1000, "shar": 1}).message
    assert "at `['steps']` is wrong" in judge(exercise, {"steps": 999, "share": 0.25}).message
    assert judge(exercise, None).status == "wrong"


def test_class_through_call():
    source = "class scaled:\n    def __init__(self, k):\n        self.k = k\n\n"
    source += "    def __call__(self, x):\n        return {} * x\n"
    exercise = Exercise(
        id="99.scaled",
        title="a class",
        prompt="Write it.",
        minutes=1,
        difficulty=1,
        starter="class scaled:\n    def __init__(self, k):\n        raise NotImplementedError\n",
        solution=source.format("self.k"),
        hints=(),
        wrong={"square": (source.format("self.k**2"), "Once, not twice.")},
        probes=lambda rng: [(3.0, torch.randn(4, generator=rng))],
        oracle=lambda k, x: k * x,
        call=lambda scaled, k, x: scaled(k)(x),
    )
    assert judge(exercise, exercise.build(exercise.starter, "starter")).status == "not attempted"
    assert judge(exercise, exercise.build(exercise.solution, "solution")).passed
    assert judge(exercise, exercise.build(exercise.wrong["square"][0], "wrong")).misconception == "square"


def test_context_is_there_for_every_source():
    short = "def blend(x0, power, eps):\n    return mix(x0, eps, power.view(-1, 1))\n"
    mix = "def mix(a, b, p):\n    return p.sqrt() * a + (1 - p).sqrt() * b\n"
    exercise = answer(context=mix, solution=short)
    assert judge(exercise, exercise.build(short, "solution")).passed
    with pytest.raises(NameError, match="mix"):
        TOY.build(short, "solution")(*TOY.probes(torch.Generator())[0])


def test_arguments_move_to_the_device_whatever_holds_them():
    x, net = torch.zeros(3, requires_grad=True), torch.nn.Linear(2, 1)
    moved = on_device((x, [x], {"a": (x, 2)}, net, Step(1, x, x), len), "meta")
    assert [v.device.type for v in (moved[0], moved[1][0], moved[2]["a"][0], moved[3].weight, moved[4].x)] == [
        "meta"
    ] * 5
    assert moved[2]["a"][1] == 2 and isinstance(moved[4], Step) and moved[5] is len
    assert x.device.type == net.weight.device.type == "cpu"


def test_oracle_sees_float64_on_the_cpu():
    seen = []

    def watched(*arguments):
        seen.extend(a.dtype for a in arguments)
        return oracle(*arguments)

    assert judge(answer(oracle=watched), solution).passed
    assert set(seen) == {torch.float64}


def test_networks_and_generators_as_arguments():
    net = torch.nn.Linear(3, 2)
    weight = net.weight.detach().clone()

    def steps(net, x):
        yield net(x)
        net.weight.data.zero_()
        yield net(x)

    exercise = answer(
        probes=lambda rng: [(net, torch.randn(5, 3, generator=rng))],
        oracle=lambda net, x: [net(x), net.bias.expand(5, 2)],
        wrong={},
    )
    assert judge(exercise, steps).passed
    assert torch.equal(net.weight, weight)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"id": "2.blend"}, "'02.q_sample'"),
        ({"difficulty": 4}, "1, 2 or 3"),
        ({"minutes": 0}, "at least 1"),
        (
            {
                "prompt": r"""\
            Write it."""
            },
            "backslash",
        ),
        ({"starter": "x = 1"}, "starter does not define 'blend'"),
    ],
)
def test_bad_exercises_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        answer(**changes)
    with pytest.raises(NameError, match="does not define 'blend'"):
        TOY.build("y = 1", "typo")


def test_a_lesson_without_exercises():
    assert exercises("98") == ()


def test_result_is_html_and_text():
    result = judge(TOY, lambda x0, power, eps: x0[power < 1][99])
    assert repr(result).startswith("blend: raised.")
    assert "power < 1" in repr(result) and "power &lt; 1" in result._repr_html_()
    assert " at 0x" not in judge(TOY, lambda x0, power, eps: {}[object()]).message  # addresses differ from run to run
    assert inline("*a* `*b*` 2*3*4") == "<em>a</em> <code>*b*</code> 2*3*4"


def test_difference_of_infinities():
    infinite = leaves(torch.tensor([1.0, torch.inf]))
    assert difference(infinite, infinite, 1e-4) is None
    assert "finite where" in difference(leaves(torch.tensor([1.0, 2.0])), infinite, 1e-4)
    assert difference(leaves(torch.tensor([1.0, -torch.inf])), infinite, 1e-4)
