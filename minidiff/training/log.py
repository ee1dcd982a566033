"""What a run's losses said: kept on the device, read rarely, written into checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

import torch
from torch import Tensor

from . import checkpoint as ckpt

READ_EVERY = 50  # steps between two reads of the device: losses, and the non-finite flag


class TrainingDiverged(RuntimeError):
    """A loss became infinite or NaN."""


class History(dict):
    """What the losses logged: name -> one float for each step (NaN where the turn did not move).

    Attributes:
        seconds: of wall-clock time that the run's steps took, those before a resume included.
    """

    seconds: float = 0.0


class Log:
    """Collects what the losses say on the device, and reads it there rarely."""

    def __init__(self, turns: list, path, accelerator, steps: int, save_every: int, seed: int):
        self.turns, self.path, self.accelerator = turns, path, accelerator
        self.steps, self.save_every, self.seed = steps, save_every, seed
        self.history, self.pending, self.good = History(), [], None
        self.began = time.monotonic()
        self.bad = torch.zeros(len(turns), dtype=torch.long, device=accelerator.device)  # first non-finite step, or 0

    def note(self, i: int, step: int, loss: Tensor, logs: dict[str, Tensor]) -> None:
        for earlier, others in reversed(self.pending):
            if earlier != step:
                break
            if both := logs.keys() & others.keys():
                raise ValueError(f"each turn must log names of its own; turn {i} logs {sorted(both)} again")
        self.bad[i].masked_fill_(self.bad[i].eq(0) & ~loss.isfinite(), step + 1)
        self.pending.append((step, logs))

    def finish(self, done: int) -> None:
        """Ends a step: reads the device and writes the checkpoint where they are due."""
        save = self.path is not None and (done % self.save_every == 0 or done == self.steps)
        if done % READ_EVERY == 0 or save or done == self.steps:
            self.read(done)
            self.history.seconds = time.monotonic() - self.began
        if save:
            self.save(done)

    def read(self, done: int) -> None:
        """Brings the pending values to the host; the one point where a step waits for the device."""
        firsts = self.accelerator.gather(self.bad).view(-1, len(self.turns)).tolist()  # [processes, turns]
        if bad := [(step, i) for row in firsts for i, step in enumerate(row) if step]:
            self._diverged(*min(bad))
        # A dict, not a set: every process must reduce the names in the same order.
        for name in dict.fromkeys(name for _, logs in self.pending for name in logs):
            steps = [step for step, logs in self.pending if name in logs]
            values = torch.stack([logs[name].float() for _, logs in self.pending if name in logs])
            values = self.accelerator.reduce(values, "mean").tolist()
            column = self.history.setdefault(name, [])
            column.extend([math.nan] * (done - len(column)))
            for step, value in zip(steps, values, strict=True):
                column[step] = value
        self.pending = []

    def last(self) -> str:
        """The mean of the last values read, for the progress line."""
        means = {k: _mean(v[-READ_EVERY:]) for k, v in self.history.items()}
        return ", ".join(f"{k} {v:.4f}" for k, v in means.items())

    def _diverged(self, step: int, i: int) -> None:
        turn = self.turns[i]
        factor = 1.0 if turn.lr is None else turn.lr(step - 1)  # of that step; the optimizer is up to 50 steps on
        rates = [group["initial_lr"] * factor for group in turn.optimizer.param_groups]
        good = f"the last good checkpoint is {self.path}, step {self.good}" if self.good else "there is no checkpoint"
        raise TrainingDiverged(
            f"the loss of turn {i} ({type(turn.loss).__name__}) was not finite at step {step}, "
            f"learning rate {', '.join(f'{r:g}' for r in rates)}; {good}"
        )

    def save(self, done: int) -> None:
        if self.accelerator.is_main_process:
            history = {k: torch.tensor(v, dtype=torch.float64) for k, v in self.history.items()}
            tensors, parts = ckpt.pack(self.turns, history)
            scaler = self.accelerator.scaler
            meta = {
                "step": done, "seed": self.seed, "seconds": self.history.seconds, "turns": parts,
                "scaler": scaler.state_dict() if scaler else None,
            }  # fmt: skip
            ckpt.save(self.path, tensors, meta)
        self.accelerator.wait_for_everyone()
        self.good = done

    def restore(self) -> int:
        tensors, meta = ckpt.load(self.path)
        if not isinstance(meta, dict) or not {"step", "seed", "turns", "scaler"} <= set(meta):
            raise ckpt.CheckpointError(f"{self.path} is damaged or not a checkpoint: its metadata is incomplete")
        if meta["seed"] != self.seed:
            seeds = f"seed {meta['seed']}; this run has seed {self.seed}"
            raise ckpt.CheckpointError(f"{self.path} was trained with {seeds}")
        history = ckpt.unpack(self.path, self.turns, tensors, meta["turns"])
        self.history.update({k: v.tolist() for k, v in history.items()})
        self.history.seconds = meta.get("seconds", 0.0)  # files of before 2026-11-28 do not tell
        self.began = time.monotonic() - self.history.seconds
        if meta["scaler"] and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(meta["scaler"])
        self.good = meta["step"]
        return self.good


def _mean(values: Iterable[float]) -> float:
    values = [v for v in values if not math.isnan(v)]
    return sum(values) / len(values) if values else math.nan
