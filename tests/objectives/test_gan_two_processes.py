"""Two gloo processes play the game that one process plays on the joint batch: nothing in the loop knows of GANs."""

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minidiff.training import checkpoint as ckpt

SCRIPT = Path(__file__).with_name("gan_ranks.py")
pytestmark = [pytest.mark.two_process, pytest.mark.timeout(300)]


def test_two_ranks_equal_one_process(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in ("0", "1"):
        env = {
            **os.environ, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        ranks.append(subprocess.Popen([sys.executable, SCRIPT, tmp_path], env=env, stderr=subprocess.PIPE, text=True))
    try:
        errors = [process.communicate(timeout=280)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], "\n".join(errors)
    alone = runpy.run_path(str(SCRIPT))["train"]()
    for rank in (0, 1):
        found = ckpt.load(tmp_path / f"game.{rank}")[0]
        assert set(found) == set(alone) and any("_u" in name for name in alone)
        for name, value in found.items():
            tolerance = 1e-5 if name.startswith("history") else 1e-10  # logs are float32 on their way to the history
            torch.testing.assert_close(value, alone[name], rtol=0, atol=tolerance, msg=name)
