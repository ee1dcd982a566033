"""Killed with SIGKILL at any moment, training resumes and ends where an uninterrupted run ends, to the last bit."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minidiff.training import checkpoint as ckpt

STEPS, SAVE_EVERY = 36, 3
pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="forks"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def job():
    """Runs one job and returns its exit status."""
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("job.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(path, **options):
        print(json.dumps({"path": str(path), **options}), file=server.stdin, flush=True)
        return int(server.stdout.readline())

    with server:
        yield run
        server.stdin.close()


@pytest.fixture(scope="module")
def uninterrupted(job, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run.ckpt"
    assert job(path) == 0
    return ckpt.load(path)


def assert_identical(path, expected):
    """Weights, EMA, buffers, optimizer, history and the rest, bit for bit; only the clock may differ."""
    (tensors, meta), (wanted, wanted_meta) = ckpt.load(path), expected
    assert meta.pop("seconds") > 0 and meta == {k: v for k, v in wanted_meta.items() if k != "seconds"}
    assert meta["step"] == STEPS and set(tensors) == set(wanted)
    kinds = {name.split(".")[0] if name.startswith("history") else name.split(".")[1] for name in tensors}
    assert kinds == {"model", "ema", "optimizer", "history"}
    for name, value in tensors.items():
        assert value.dtype == wanted[name].dtype and torch.equal(value, wanted[name]), name


def test_killed_at_three_random_points(job, uninterrupted, tmp_path):
    path, seed = tmp_path / "run.ckpt", random.SystemRandom().randrange(2**32)
    rng, reached = random.Random(seed), 0
    for _ in range(3):
        at, delay = min(STEPS, rng.randint(reached + 1, reached + 10)), rng.uniform(0, 0.01)
        told = f"seed {seed}: killed {delay:.4f} s after step {at}"
        assert job(path, kill_at=at, delay=delay) == -signal.SIGKILL, told
        reached = ckpt.load(path)[1]["step"] if path.exists() else 0
        assert reached % SAVE_EVERY == 0 and reached >= at - SAVE_EVERY, told
        if reached == STEPS:
            break  # the shot came late, after the end
    assert job(path) == 0
    assert_identical(path, uninterrupted)


@pytest.mark.parametrize("write", [1, 4])
def test_killed_in_the_middle_of_a_write(job, uninterrupted, tmp_path, write):
    path = tmp_path / "run.ckpt"
    assert job(path, write=write) == -signal.SIGKILL
    if write == 1:
        assert not path.exists()
    else:
        assert ckpt.load(path)[1]["step"] == (write - 1) * SAVE_EVERY  # the one before, whole
    assert len(list(tmp_path.glob(".run.ckpt.*.tmp"))) == 1  # the torn one keeps its temporary name
    assert job(path) == 0
    assert_identical(path, uninterrupted)
