"""Two gloo processes on the CPU train as one process trains on the joint batch."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from minidiff.training import checkpoint as ckpt
from minidiff.training.loop import step_seed

SCRIPT = Path(__file__).with_name("ranks.py")
pytestmark = [pytest.mark.two_process, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, two_ranks):
    """Where both ranks have left their results."""
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks(SCRIPT, folder, timeout=280)
    return folder


@pytest.fixture(scope="module")
def alone():
    """The same, trained by this process."""
    return runpy.run_path(str(SCRIPT))["train"]()


def load(folder, name):
    return [ckpt.load(folder / f"{name}.{rank}")[0] for rank in (0, 1)]


def test_two_ranks_equal_one_process(folder, alone):
    for tensors in load(folder, "whole"):
        assert set(tensors) == set(alone) and any(k.startswith("0.ema") for k in alone)
        for name, value in tensors.items():
            # Logs of one process are float32 on their way to the history.
            tolerance = 1e-5 if name.startswith("history") else 1e-10
            torch.testing.assert_close(value, alone[name], rtol=0, atol=tolerance, msg=name)


def test_both_ranks_hold_the_same_bits(folder):
    one, two = load(folder, "whole")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_two_ranks_resume_bit_identically(folder):
    for whole, resumed in zip(load(folder, "whole"), load(folder, "resumed"), strict=True):
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_each_rank_draws_for_itself(folder):
    for tensors in load(folder, "draws"):
        for step, mean in enumerate(tensors["history.draw"].tolist()):
            draws = []
            for rank in (0, 1):
                torch.manual_seed(step_seed(0, rank, step))
                draws.append(torch.rand(()).item())
            assert abs(draws[0] - draws[1]) > 1e-3 and mean == pytest.approx(sum(draws) / 2, abs=1e-6)


def test_a_bad_loss_on_one_rank_stops_both(folder):
    one, two = (json.loads((folder / f"diverged.{rank}").read_text()) for rank in (0, 1))
    assert one == two and "was not finite at step 3, learning rate 0.001;" in one
    assert one.endswith(f"the last good checkpoint is {folder / 'bad.ckpt'}, step 2")
    assert ckpt.load(folder / "bad.ckpt")[1]["step"] == 2
