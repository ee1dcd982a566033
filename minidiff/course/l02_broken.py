"""Lesson 02's riddle: five broken forward processes and the exercise about them. Solve it before you read on."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.course.exercise import Exercise
from minidiff.diffusion import Schedule

Process = Callable[[Tensor, int, Tensor], Tensor]  # (x0 in [-1,1], t, eps) -> x_t


def _mix(x0: Tensor, power: Tensor, eps: Tensor) -> Tensor:
    return (power.sqrt() * x0 + (1 - power).sqrt() * eps).to(x0.dtype)


def _variance_as_deviation(x0: Tensor, t: int, eps: Tensor) -> Tensor:
    a = Schedule.linear().alpha_bar[t]
    return (a.sqrt() * x0 + (1 - a) * eps).to(x0.dtype)


def _bfloat16_table(x0: Tensor, t: int, eps: Tensor) -> Tensor:
    return _mix(x0, Schedule.linear().alpha_bar.bfloat16()[t], eps)


def _wrong_range(x0: Tensor, t: int, eps: Tensor) -> Tensor:
    return _mix((x0 + 1) * 127.5, Schedule.linear().alpha_bar[t], eps)


def _stretched(x0: Tensor, t: int, eps: Tensor) -> Tensor:
    # By hand: Schedule.from_betas refuses these betas.
    betas = 100 * torch.linspace(1e-4, 0.02, 10, dtype=torch.float64)
    alpha_bar = torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, dim=0)])
    return _mix(x0, alpha_bar[-(-t // 100)], eps)


def _scaled_index(x0: Tensor, t: int, eps: Tensor) -> Tensor:
    schedule = Schedule.linear()
    return _mix(x0, schedule.alpha_bar[int(t / schedule.T) * schedule.T], eps)


BROKEN: dict[str, Process] = {
    "A": _variance_as_deviation,
    "B": _bfloat16_table,
    "C": _wrong_range,
    "D": _stretched,
    "E": _scaled_index,
}

CAUSES = Exercise(
    id="02.causes",
    title="from the symptom to the cause",
    prompt="""\
Give each of the five broken processes A to E the number of its cause:

1. The pictures are in [0, 255] instead of [-1, 1].
2. The variance $1-\\bar\\alpha_t$ is used where its root belongs.
3. The level is scaled to [0, 1], cut down to a whole number, and only then scaled back to an index.
4. The linear schedule is stretched to $T = 10$ by multiplying its betas by 100, so that the last one is 2.0.
5. The table is kept in bfloat16, a number format with 8 significant bits.""",
    minutes=8,
    difficulty=3,
    starter="""\
# A dictionary with a number for each letter: {"A": , "B": , "C": , "D": , "E": }
causes = ...
""",
    solution='causes = {"A": 2, "B": 5, "C": 1, "D": 4, "E": 3}',
    hints=(
        "Only one of the causes can make you take the root of a negative number.",
        "Two rows have no noise at all at level 10. In one it arrives soon after, in the other only at the very end.",
        "With pictures in the right range, the factor of the picture is at most 1.",
        "In the healthy row the squares of the two factors sum to 1 at every level. In which do they fall short, and "
        "nothing else is odd?",
    ),
    wrong={
        "index_for_precision": (
            'causes = {"A": 2, "B": 3, "C": 1, "D": 4, "E": 5}',
            "B and E are swapped. Both begin clean, but B gets its noise after a few levels, as soon as the table can "
            "tell its values apart; E has none until t / T reaches 1.",
        ),
        "precision_for_variance": (
            'causes = {"A": 5, "B": 2, "C": 1, "D": 4, "E": 3}',
            "A and B are swapped. In A noise is too weak on the whole first half; in B only the first few levels are "
            "clean and the rest is nearly right.",
        ),
        "stretched_for_range": (
            'causes = {"A": 2, "B": 5, "C": 4, "D": 1, "E": 3}',
            "C and D are swapped. A wrong range makes large numbers, never NaN; a beta above 1 makes alpha-bar "
            "negative, and its root NaN.",
        ),
        "range_for_index": (
            'causes = {"A": 2, "B": 5, "C": 3, "D": 4, "E": 1}',
            "C and E are swapped. In both the digit stays visible, but look at the numbers: in C the noise is there "
            "and the picture drowns it out, in E there is no noise.",
        ),
    },
    oracle=lambda: {"A": 2, "B": 5, "C": 1, "D": 4, "E": 3},
)
