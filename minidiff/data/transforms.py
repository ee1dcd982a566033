"""Functions on batches, and the two ways between pictures as numbers and pictures as bytes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .batches import Batch

Transform = Callable[[Batch], Batch]


def compose(*fns: Transform) -> Transform:
    """One transform that applies all of them, the first one first.

    >>> compose(lambda b: {"x": b["x"] + 1}, lambda b: {"x": 2 * b["x"]})({"x": torch.tensor([1.0])})
    {'x': tensor([4.])}
    """

    def apply(batch: Batch) -> Batch:
        for fn in fns:
            batch = fn(batch)
        return batch

    return apply


def drop_condition(null: Batch, p: float) -> Transform:
    """A transform that replaces the conditions of a random share of the items by the null condition.

    All conditions in `null` are replaced together: one draw for each item (Ho & Salimans, 2022, algorithm 1). For
    conditions that are to be dropped apart, compose two of these.

    Args:
        null: the null condition's tensors, without the batch dimension, by the names of the batch's keys; for labels
            `{"y": torch.tensor(classes)}`.
        p: probability in [0,1].

    Raises:
        ValueError: `p` is no probability, `null` is empty, or (when applied) a key, shape or dtype does not fit.

    >>> drop = drop_condition({"y": torch.tensor(10)}, p=1.0)
    >>> drop({"x": torch.zeros(2, 1), "y": torch.tensor([3, 4])})["y"]
    tensor([10, 10])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability in [0,1]; got {p}")
    if not null:
        raise ValueError("null must name at least one condition; got none")
    here: dict[tuple[str, torch.device], Tensor] = {}  # copied to each device once, not at each step

    def apply(batch: Batch) -> Batch:
        dropped = torch.rand(len(batch["x"]), device=batch["x"].device) < p  # [B]
        replaced = {}
        for name, value in null.items():
            if name not in batch:
                raise ValueError(f'null has "{name}", which the batch has not; its keys are {sorted(batch)}')
            given = batch[name]
            if value.shape != given.shape[1:] or value.dtype != given.dtype:
                raise ValueError(
                    f'null["{name}"] must be {given.dtype} of shape {list(given.shape[1:])}; '
                    f"got {value.dtype} of shape {list(value.shape)}"
                )
            key = (name, given.device)
            if key not in here:
                here[key] = value.to(given.device)
            replaced[name] = torch.where(dropped.view(-1, *[1] * value.ndim), here[key], given)
        return {**batch, **replaced}

    return apply


def only(*names: str) -> Transform:
    """A transform that keeps these tensors and drops all others: what a model is not to see as a condition.

    Args:
        names: keys of the batch.

    Raises:
        ValueError: there is no name, or (when applied) the batch lacks one.

    >>> only("x")({"x": torch.zeros(1), "y": torch.zeros(1)})
    {'x': tensor([0.])}
    """
    if not names:
        raise ValueError("names must hold at least one key; got none")

    def apply(batch: Batch) -> Batch:
        if missing := set(names) - batch.keys():
            raise ValueError(f"the batch must have the keys {sorted(missing)}; it has {sorted(batch)}")
        return {name: batch[name] for name in names}

    return apply


def to_uint8(x: Tensor) -> Tensor:
    """[-1,1] -> 0..255 as uint8: clamped, then rounded. The only place that makes pictures out of numbers.

    Raises:
        ValueError: `x` is not floating point, or holds NaN (which would become black, unseen).

    >>> to_uint8(torch.tensor([-1.5, -1.0, 0.0, 1.0]))
    tensor([  0,   0, 128, 255], dtype=torch.uint8)
    """
    _check_float(x)
    if bool(x.isnan().any()):
        raise ValueError(f"x must hold numbers; {int(x.isnan().sum())} of its {x.numel()} values are NaN")
    return to_unit(x.float()).mul(255).round().to(torch.uint8)


def to_unit(x: Tensor) -> Tensor:
    """[-1,1] -> [0,1], clamped: the range that plots and other libraries' metrics want.

    Raises:
        ValueError: `x` is not floating point.

    >>> to_unit(torch.tensor([-1.0, 0.0, 3.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    _check_float(x)
    return x.add(1).div(2).clamp(0, 1)


def from_uint8(x: Tensor) -> Tensor:
    """0..255 as uint8 -> float32 in [-1,1]; `to_uint8` turns it back exactly.

    Raises:
        ValueError: `x` is not uint8.

    >>> from_uint8(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """
    if x.dtype != torch.uint8:
        raise ValueError(f"x must be uint8; got {x.dtype}")
    return x.float().div_(127.5).sub_(1)


def _check_float(x: Tensor) -> None:
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point in [-1,1]; got {x.dtype}")
