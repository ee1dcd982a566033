"""Two gloo processes play the game that one process plays on the joint batch: nothing in the loop knows of GANs."""

import runpy
from pathlib import Path

import pytest
import torch

from minidiff.training import checkpoint as ckpt

SCRIPT = Path(__file__).with_name("gan_ranks.py")
pytestmark = [pytest.mark.two_process, pytest.mark.timeout(300)]


def test_two_ranks_equal_one_process(tmp_path, two_ranks):
    two_ranks(SCRIPT, tmp_path, timeout=280)
    alone = runpy.run_path(str(SCRIPT))["train"]()
    for rank in (0, 1):
        found = ckpt.load(tmp_path / f"game.{rank}")[0]
        assert set(found) == set(alone) and any("_u" in name for name in alone)
        for name, value in found.items():
            tolerance = 1e-5 if name.startswith("history") else 1e-10  # logs are float32 on their way to the history
            torch.testing.assert_close(value, alone[name], rtol=0, atol=tolerance, msg=name)
