"""The training loop: a step is a list of turns, and each turn trains one model with one loss and one optimizer.

One CPU process, one GPU, or many GPUs and machines (`accelerate launch`): the same code. Every random draw of a step
comes from a seed made of (seed, rank, step), so a resumed run needs no stored random state to be bit-identical.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .ema import EMA
from .log import History, Log
from .progress import Progress


@dataclass
class Turn:
    """One player's move.

    Attributes:
        model: what is trained; the loss calls nothing on it but forward.
        loss: `loss(model, batch) -> (scalar, {name: scalar tensor})`.
        optimizer: over the model's parameters.
        every: the turn moves at every `every`-th step.
        after: called with the model after each move (to clamp a temperature, say).
        lr: step (from 0) -> factor on the optimizer's learning rates; None keeps them.
        ema: updated after each move.
    """

    model: nn.Module
    loss: Callable
    optimizer: torch.optim.Optimizer
    every: int = 1
    after: Callable[[nn.Module], None] | None = None
    lr: Callable[[int], float] | None = None
    ema: EMA | None = None


class Fitted(NamedTuple):
    """What `fit` returns."""

    ema: EMA
    history: History


def fit(
    model: nn.Module,
    loss: Callable,
    loader,
    steps: int,
    *,
    lr: float = 1e-3,
    warmup: int = 100,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    ema_decay: float = 0.999,
    clip: float | None = 1.0,
    seed: int = 0,
    precision: str = "auto",
    checkpoint: str | Path | None = None,
    save_every: int = 1000,
    resume: bool = False,
    hooks: Sequence[Callable[[int], None]] = (),
    progress: bool = True,
    label: str = "",
) -> Fitted:
    """Trains one model with AdamW, linear warm-up, cosine decay to 0, and an EMA. Arguments as in `Turn` and `run`.

    Returns:
        (ema, history): `ema.model` is the averaged model in eval mode; `history["loss"]` one float a step.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
    ema = EMA(model, ema_decay)
    turn = Turn(model, loss, optimizer, lr=lambda step: warmup_cosine(step, steps, warmup), ema=ema)
    history = run(
        [turn], loader, steps, seed=seed, clip=clip, precision=precision, checkpoint=checkpoint, save_every=save_every,
        resume=resume, hooks=hooks, progress=progress, label=label,
    )  # fmt: skip
    return Fitted(ema, history)


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Learning-rate factor: up in a line over `warmup` steps, then down along half a cosine to 0 at `steps`.

    >>> [round(warmup_cosine(step, 12, 2), 2) for step in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(1, steps - warmup))


def run(
    turns: Sequence[Turn],
    loader,
    steps: int,
    *,
    seed: int = 0,
    clip: float | None = 1.0,
    precision: str = "auto",
    compile: bool = False,
    checkpoint: str | Path | None = None,
    save_every: int = 1000,
    resume: bool = False,
    hooks: Sequence[Callable[[int], None]] = (),
    progress: bool = True,
    label: str = "",
) -> History:
    """Trains for `steps` steps (counted from the start, also after a resume) and returns the values logged at each.

    Args:
        turns: moved in this order at each step; all see the same batch.
        loader: has `from_step(step) -> Iterator[Batch]`; with several processes also `shard(rank, world)`.
        steps: total number.
        seed: of every random draw in the losses and models.
        clip: largest gradient norm; None leaves gradients alone.
        precision: "no", "bf16", "fp16", or "auto": bf16 (else fp16) on CUDA, float32 on a CPU.
        compile: run the models through `torch.compile`.
        checkpoint: file to write, after every `save_every` steps and at the end.
        resume: go on from `checkpoint` if it is there. Without it, a file that is there is an error, never overwritten.
        hooks: called with the number of steps done, after each step.
        progress: show a progress line (first process only).
        label: its beginning.

    Raises:
        ValueError, FileExistsError: an argument is wrong, or two turns log the same name.
        TrainingDiverged: a loss was not finite (found within 50 steps, and before any checkpoint is written).
        CheckpointError: the checkpoint cannot be used.
    """
    turns = list(turns)
    _check(turns, steps, save_every, checkpoint, resume)
    accelerator = _accelerator(precision)
    players = [(turn, *accelerator.prepare(turn.model, turn.optimizer)) for turn in turns]
    try:
        _settle(turns, accelerator.device, compile)
        log = Log(turns, checkpoint, accelerator, steps, save_every, seed)
        _train(players, loader, accelerator, log, clip, hooks, label if progress else None, resume)
    finally:
        for _, model, _ in players:  # takes mixed precision's wrapper off `forward` again
            accelerator.unwrap_model(model, keep_fp32_wrapper=False, keep_torch_compile=False)
    return log.history


def _train(players, loader, accelerator, log: Log, clip, hooks, label: str | None, resume: bool) -> None:
    rank, world, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    loader = loader.shard(rank, world) if world > 1 else loader
    start = log.restore() if resume and log.path and Path(log.path).exists() else 0
    bar = Progress(log.steps, start, label) if label is not None and accelerator.is_main_process else None
    batches = iter(loader.from_step(start)) if start < log.steps else iter(())
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step in range(start, log.steps):
            torch.manual_seed(step_seed(log.seed, rank, step))
            batch = {k: v.to(device, non_blocking=True) for k, v in next(batches).items()}
            for i, (turn, model, optimizer) in enumerate(players):
                if (step + 1) % turn.every == 0:
                    log.note(i, step, *_move(accelerator, turn, model, optimizer, batch, clip, step))
            log.finish(step + 1)
            for hook in hooks:
                hook(step + 1)
            if bar:
                bar.update(step + 1, log.last())


def step_seed(seed: int, rank: int, step: int) -> int:
    """The seed of one step's random draws, 63 bits that differ for each (seed, rank, step).

    >>> step_seed(0, 0, 1) == step_seed(0, 0, 1) != step_seed(0, 1, 0)
    True
    """
    digest = hashlib.blake2b(f"{seed}/{rank}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _move(accelerator, turn: Turn, model, optimizer, batch, clip, step) -> tuple[Tensor, dict[str, Tensor]]:
    optimizer.zero_grad(set_to_none=True)
    loss, logs = turn.loss(model.train(), batch)
    accelerator.backward(loss)
    if clip is not None:
        accelerator.clip_grad_norm_(model.parameters(), clip)
    if turn.lr is not None:
        for group in turn.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * turn.lr(step)
    optimizer.step()
    if turn.after is not None:
        turn.after(turn.model)
    if turn.ema is not None:
        turn.ema.update(turn.model)
    return loss.detach(), logs


def _accelerator(precision: str):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    cuda = torch.cuda.is_available()
    if precision == "auto":
        precision = ("bf16" if torch.cuda.is_bf16_supported() else "fp16") if cuda else "no"
    if precision not in ("no", "bf16", "fp16"):
        raise ValueError(f'precision must be "auto", "no", "bf16" or "fp16"; got {precision!r}')
    if precision == "fp16" and not cuda:  # accelerate would quietly train in float32
        raise ValueError('precision "fp16" needs CUDA; use "bf16" or "no"')
    AcceleratorState._reset_state()  # a singleton: without this the first run's precision would bind all later ones
    return Accelerator(mixed_precision=precision, cpu=not cuda)  # no MPS: it lacks the tables' float64


def _settle(turns: list[Turn], device: torch.device, compile: bool) -> None:
    for turn in turns:
        if turn.ema is not None:
            turn.ema.model.to(device)
        for group in turn.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        if compile:
            turn.model.compile()  # in place: parameter names stay as they are


def _check(turns, steps, save_every, checkpoint, resume) -> None:
    if not turns:
        raise ValueError("turns must not be empty")
    for name, value in (("steps", steps), ("save_every", save_every), *(("every", t.every) for t in turns)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
    if checkpoint is not None and not resume and Path(checkpoint).exists():
        raise FileExistsError(f"{checkpoint} is there already: pass resume=True to go on from it, or remove it")
