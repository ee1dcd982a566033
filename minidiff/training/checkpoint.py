"""Training checkpoints: one safetensors file, complete or absent, that no reader has to unpickle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from torch import Tensor

FORMAT = "minidiff-checkpoint-1"


class CheckpointError(ValueError):
    """A checkpoint cannot be used: damaged, of another program, or of another model."""


def write_atomic(path: str | os.PathLike, data: bytes) -> None:
    """Writes `path` whole or not at all: a temporary name beside it, flushed to disk, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temp, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def save(path: str | os.PathLike, tensors: dict[str, Tensor], meta: dict) -> None:
    """Writes tensors and JSON-able metadata as one file, atomically."""
    from safetensors.torch import save as to_bytes

    tensors = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
    first = {v.untyped_storage().data_ptr(): k for k, v in reversed(tensors.items())}
    for k, v in tensors.items():
        if first[v.untyped_storage().data_ptr()] != k:  # tied weights; safetensors refuses shared memory
            tensors[k] = v.clone()
    write_atomic(path, to_bytes(tensors, metadata={"format": FORMAT, "meta": json.dumps(meta)}))


def load(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Reads what `save` wrote: (tensors on the CPU, metadata).

    Raises:
        FileNotFoundError: nothing is there.
        CheckpointError: the file is truncated, damaged, or not a minidiff checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a minidiff training checkpoint (format {header.get('format')!r})")
            return {k: file.get_tensor(k) for k in file.keys()}, json.loads(header["meta"])  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, KeyError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {error}") from error


def pack(turns, history: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[dict]]:
    """Everything that the next step depends on: tensors by name, and each turn's JSON part."""
    tensors, parts = {f"history.{k}": v for k, v in history.items()}, []
    for i, turn in enumerate(turns):
        tensors |= {f"{i}.model.{k}": v for k, v in turn.model.state_dict().items()}
        optimizer = turn.optimizer.state_dict()
        scalars = {}
        for p, state in optimizer["state"].items():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"{i}.optimizer.{p}.{key}"] = value
                else:
                    scalars.setdefault(str(p), {})[key] = value
        part = {"groups": optimizer["param_groups"], "scalars": scalars}
        if turn.ema is not None:
            tensors |= {f"{i}.ema.{k}": v for k, v in turn.ema.model.state_dict().items()}
            part["ema_updates"] = turn.ema.updates
        parts.append(part)
    return tensors, parts


def unpack(path, turns, tensors: dict[str, Tensor], parts: list[dict]) -> dict[str, Tensor]:
    """Puts `pack`'s result back into the turns, all of it or (on an error) none; returns the history.

    Raises:
        CheckpointError: the checkpoint is of other models; the first difference is named.
    """
    if len(parts) != len(turns):
        raise CheckpointError(f"{path} holds {len(parts)} turns; this run has {len(turns)}")
    loads = []
    for i, (turn, part) in enumerate(zip(turns, parts, strict=True)):
        if (turn.ema is None) != ("ema_updates" not in part):
            raise CheckpointError(f"{path} was written {'without' if turn.ema else 'with'} an EMA; this run differs")
        loads.append((turn.model, _matching(path, turn.model, tensors, f"{i}.model.")))
        if turn.ema is not None:
            loads.append((turn.ema.model, _matching(path, turn.ema.model, tensors, f"{i}.ema.")))
        if _groups(part["groups"]) != _groups(turn.optimizer.state_dict()["param_groups"]):
            raise CheckpointError(f"{path} was written with another optimizer than turn {i} has, or other groups")
    for module, state in loads:
        module.load_state_dict(state)
    for i, (turn, part) in enumerate(zip(turns, parts, strict=True)):
        _load_optimizer(turn.optimizer, _take(tensors, f"{i}.optimizer."), part)
        if turn.ema is not None:
            turn.ema.updates = part["ema_updates"]
    return _take(tensors, "history.")


def _take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _matching(path, module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    found, wanted = _take(tensors, prefix), module.state_dict()
    for name in sorted(set(found) ^ set(wanted)):
        side = "lacks" if name in wanted else "has, and this model has not,"
        raise CheckpointError(f"{path} is of another model: it {side} {name}")
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            shapes = f"{list(found[name].shape)}, this model {list(value.shape)}"
            raise CheckpointError(f"{path} is of another model: its {name} is {shapes}")
    return found


def _groups(groups: list[dict]) -> list[tuple[list[int], set[str]]]:
    """What tells one optimizer's parameter groups from another's: their parameters and the names of their options."""
    return [(group["params"], set(group)) for group in groups]


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], part: dict) -> None:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict] = {int(p): dict(values) for p, values in part["scalars"].items()}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        like = params[int(index)]
        if value.shape == like.shape:  # keep the parameter's memory format, as the optimizer itself does
            value = torch.empty_like(like, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": part["groups"]})
