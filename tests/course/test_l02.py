"""Lesson 02's riddle: each broken process shows the symptom that its number in `causes` stands for."""

import json
from pathlib import Path

import pytest
import torch

from minidiff.course.l02_broken import BROKEN, CAUSES
from minidiff.course.l02_end import KL_TO_NORMAL
from minidiff.data import DataUnavailable, load
from minidiff.diffusion import Schedule

X0 = torch.linspace(-1, 1, 2 * 3 * 5).view(2, 1, 3, 5)
EPS = torch.randn(X0.shape, generator=torch.Generator().manual_seed(0))
SCHEDULE = Schedule.linear()
CAUSE = {number: BROKEN[letter] for letter, number in CAUSES.oracle().items()}


def healthy(t: int) -> torch.Tensor:
    return SCHEDULE.q_sample(X0, torch.full((len(X0),), t), EPS)


def test_every_cause_has_its_letter():
    assert sorted(CAUSE) == [1, 2, 3, 4, 5] and list(BROKEN) == sorted(BROKEN)


@pytest.mark.parametrize("cause", range(1, 6))
def test_broken_process_differs_from_the_healthy_one(cause):
    assert all(CAUSE[cause](X0, t, EPS).dtype == torch.float32 for t in (1, 500))
    assert not torch.allclose(CAUSE[cause](X0, 250, EPS), healthy(250), atol=1e-3)


def test_wrong_range():
    assert CAUSE[1](X0, 1, EPS).max() > 200
    assert CAUSE[1](X0, 1000, torch.zeros_like(EPS)).max() > 1  # the digit outlives the schedule


def test_variance_as_deviation():
    noise = CAUSE[2](torch.zeros_like(X0), 250, EPS) / EPS
    torch.testing.assert_close(noise, torch.full_like(noise, 1 - SCHEDULE.alpha_bar[250].item()))


def test_scaled_index():
    assert torch.equal(CAUSE[3](X0, 999, EPS), X0)
    torch.testing.assert_close(CAUSE[3](X0, 1000, EPS), healthy(1000))


def test_stretched():
    assert CAUSE[4](X0, 500, EPS).isfinite().all()
    assert CAUSE[4](X0, 1000, EPS).isnan().all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        Schedule.from_betas(100 * torch.linspace(1e-4, 0.02, 10))


def test_bfloat16_table():
    assert torch.equal(CAUSE[5](X0, 9, EPS), X0)
    assert not torch.equal(CAUSE[5](X0, 20, EPS), X0)


def test_recorded_gap_of_x_T_comes_out_again():
    row = json.loads((Path(__file__).parents[2] / "results" / "02_x_T_gap.json").read_text("utf-8"))
    try:
        pictures = load("mnist", "train", download=False)["x"]
    except DataUnavailable:
        pytest.skip("MNIST is not here")
    kl_to_normal = KL_TO_NORMAL.build(KL_TO_NORMAL.solution, "solution")
    schedule, rng = Schedule.linear(100), torch.Generator().manual_seed(row["provenance"]["seed"][0])
    x0 = pictures[torch.randperm(len(pictures), generator=rng)[:2000]]
    x_T = schedule.q_sample(x0, torch.full((2000,), 100), torch.randn(x0.shape, generator=rng))
    assert kl_to_normal(x_T.mean(0), x_T.var(0)).mean().item() == pytest.approx(row["value"]["T=100"], rel=0.01)
