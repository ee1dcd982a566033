"""The progress line."""

import sys

import pytest
import torch

from minidiff.training import Turn, run
from minidiff.training.progress import Progress


def test_the_line_says_how_far_how_fast_and_how_long():
    line = Progress(200, label="digits").line(50, 25.0, "loss 0.1234")
    for part in ("digits", "50/200", "00:25<01:15", "2.00 steps/s", "loss 0.1234"):
        assert part in line
    assert "\n" not in line


def test_after_a_resume_speed_counts_the_new_steps_only():
    assert "1.00 steps/s" in Progress(200, start=100).line(110, 10.0, "")


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("minidiff.training.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then_and_at_the_end(capsys, clock):
    bar = Progress(1000)
    for step in range(1, 1001):
        clock[0] = step / 10  # 100 seconds in all
        bar.update(step)
    lines = capsys.readouterr().err.splitlines()
    assert 3 <= len(lines) <= 5 and "1000/1000" in lines[-1] and not any("\r" in line for line in lines)


def test_a_terminal_gets_one_line_rewritten(monkeypatch, capsys, clock):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = Progress(100)
    for step in range(1, 101):
        clock[0] = step / 10
        bar.update(step)
    text = capsys.readouterr().err
    assert 15 <= text.count("\r") <= 25 and text.count("\n") == 1 and text.endswith("\n")


def test_run_shows_it_only_when_asked(capsys):
    class Loader:
        def from_step(self, step):
            while True:
                yield {"x": torch.ones(2, 3)}

    def loss(model, batch):
        value = model(batch["x"]).square().mean()
        return value, {"loss": value.detach()}

    for progress in (True, False):
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        run([Turn(model, loss, optimizer)], Loader(), 3, progress=progress, label="toy")
        captured = capsys.readouterr()
        assert ("toy" in captured.err and "3/3" in captured.err and "loss" in captured.err) == progress
        assert captured.out == ""
