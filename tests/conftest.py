"""Fixtures of every test: fixed seeds, few threads, and CUDA only where there is one."""

import os

# Set before torch is imported, and seen by every process that a test starts: the models are small, so that more
# threads only wait for one another, and two are what the course promises to run on.
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("MPLBACKEND", "agg")

import random
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import minidiff


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs CUDA where there is none, and say so."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Each test starts from the same random state, in whatever order the tests run."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> str:
    """The test runs on the CPU, and once more on CUDA where there is one."""
    return request.param


@pytest.fixture(scope="session")
def two_ranks():
    """`two_ranks(script, folder)` runs a script in two gloo processes on the CPU, as a launcher would, to its end."""

    def start(script, folder, timeout: float = 100) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ranks = []
        for rank in ("0", "1"):
            env = {
                **os.environ, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(Path(minidiff.__file__).parents[1]),
                "PYTHONHASHSEED": str(int(rank) + 1),  # as on two machines: sets come in another order
            }  # fmt: skip
            command = [sys.executable, script, folder]
            ranks.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
        try:
            errors = [process.communicate(timeout=timeout)[1] for process in ranks]
        finally:
            for process in ranks:
                process.kill()
        assert [process.returncode for process in ranks] == [0, 0], "\n".join(errors)

    return start
