"""A training job for the tests that kill it, and a server that forks one job for each line it reads.

One process imports torch; every job is a fork of it, so that a test may kill many at the cost of one import.
"""

import json
import os
import signal
import sys
import time
import traceback

import torch
from torch import nn

from minidiff.diffusion import Schedule
from minidiff.objectives import DiffusionLoss
from minidiff.training import checkpoint, fit

STEPS, SAVE_EVERY = 36, 3


class Net(nn.Module):
    """Small, but with dropout (random draws), batch norm (buffers) and a level."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Dropout(0.2), nn.SiLU(), nn.Conv2d(6, 1, 3, padding=1)
        )

    def forward(self, x_t, t):
        return self.body(x_t) * (1 + t.view(-1, 1, 1, 1) / 50)


class Loader:
    def from_step(self, step):
        while True:
            rng = torch.Generator().manual_seed(step)
            yield {"x": torch.rand(6, 1, 5, 7, generator=rng) * 2 - 1}
            step += 1


def kill_soon(seconds):
    """SIGKILL for this process after `seconds`, whatever it is doing then."""
    victim = os.getpid()
    if os.fork() == 0:
        time.sleep(seconds)
        os.kill(victim, signal.SIGKILL)
        os._exit(0)


def die_in_write(number):
    """SIGKILL in the middle of the given write: half of the file is there."""
    fsync, writes = os.fsync, []

    def half(fd):
        writes.append(fd)
        if len(writes) == number:
            os.ftruncate(fd, os.fstat(fd).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(fd)

    checkpoint.os.fsync = half


def work(path, kill_at=None, delay=0.0, write=None):
    """Trains to the end, or until it is killed."""

    def hook(done):
        if done == kill_at:
            kill_soon(delay)

    if write is not None:
        die_in_write(write)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    fit(
        Net(), DiffusionLoss(Schedule.linear(20, 0.01, 0.3)), Loader(), STEPS, lr=0.01, warmup=5, ema_decay=0.9,
        checkpoint=path, save_every=SAVE_EVERY, resume=True, hooks=[hook], progress=False,
    )  # fmt: skip
    if kill_at is not None:
        time.sleep(60)  # the shot may come late, but it comes


def serve():
    import accelerate  # noqa: F401  (imported once, here, with what optimizers import at their first step)
    import torch._dynamo  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                work(**json.loads(line))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
