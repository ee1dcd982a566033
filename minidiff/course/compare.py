"""Compare what a learner's code returned with what is true, and say in words how they differ."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

Leaves = dict[str, object]  # path in the output, as in "[0]" or "['mse']" -> float64 tensor or other object


def mapped(value: object, change: Callable[[Tensor], Tensor], module: Callable[[nn.Module], nn.Module]) -> object:
    """A copy of nested containers with `change` applied to tensors and `module` to networks."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, nn.Module):
        return module(copy.deepcopy(value))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(v, change, module) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(v, change, module) for v in value)
    if isinstance(value, dict):
        return {k: mapped(v, change, module) for k, v in value.items()}
    return value


def on_device(arguments: tuple, device: str) -> tuple:
    """A private copy of the arguments on `device`."""
    return mapped(arguments, lambda x: x.detach().to(device, copy=True), lambda m: m.to(device))


def in_float64(arguments: tuple) -> tuple:
    """A private copy of the arguments on the CPU, floating tensors and networks in float64."""

    def change(x: Tensor) -> Tensor:
        x = x.detach().to("cpu", copy=True)
        return x.double() if x.is_floating_point() else x

    return mapped(arguments, change, lambda m: m.to("cpu").double())


def leaves(value: object, path: str = "") -> Leaves:
    """Flatten an output into float64 tensors on the CPU, keyed by their place in it.

    >>> leaves((1.5, {"a": torch.zeros(2)}))["[0]"]
    tensor(1.5000, dtype=torch.float64)
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return {path: value.clone() if value.is_complex() else value.double()}
    if isinstance(value, (bool, int, float, np.number, np.ndarray)):
        array = np.asarray(value)
        return {path: torch.as_tensor(array.astype("float64")) if array.dtype.kind in "biuf" else value}
    if isinstance(value, Mapping):
        items = [(f"{path}[{k!r}]", v) for k, v in value.items()]
    elif isinstance(value, (list, tuple, Iterator)):
        items = [(f"{path}[{i}]", v) for i, v in enumerate(value)]
    else:
        return {path: value}
    found: Leaves = {path + "()": len(items)}
    for key, item in items:
        found |= leaves(item, key)
    return found


def tensors(arguments: object) -> Leaves:
    """The tensors among a call's arguments, keyed by their place; iterators are left alone."""
    found: Leaves = {}
    mapped(arguments, lambda x: found.setdefault(f"[{len(found)}]", x.detach().cpu().double().clone()), lambda m: m)
    return found


def difference(got: Leaves, want: Leaves, tolerance: float) -> str | None:
    """How `got` differs from `want`, or None if they agree.

    Args:
        got: what the learner's code returned.
        want: what is true.
        tolerance: allowed difference, relative to the largest finite value of each expected tensor.

    Returns:
        A sentence about the first place that differs.
    """
    if got.keys() != want.keys():
        return _structure(got, want)
    for path, expected in want.items():
        where = f" at `{path}`" if path else ""
        message = _leaf(got[path], expected, tolerance)
        if message:
            return message.replace("Your output", f"Your output{where}", 1)
    return None


def _structure(got: Leaves, want: Leaves) -> str:
    kinds = [_kind(next(iter(x.items()))) for x in (got, want)]
    if kinds[0] == kinds[1]:
        missing = [p for p in want if p not in got]
        if missing:
            return f"Your output has no entry `{missing[0].removesuffix('()')}`."
        return f"Your output has an entry `{next(p for p in got if p not in want)}` that should not be there."
    return f"Your output is {kinds[0]}; it must be {kinds[1]}."


def _kind(item: tuple[str, object]) -> str:
    path, value = item
    if path == "()":
        return f"a collection of {value}"
    if value is None:
        return "`None` (is a `return` missing?)"
    if isinstance(value, Tensor):
        return "a number" if value.ndim == 0 else f"a tensor of shape {list(value.shape)}"
    return f"of type `{type(value).__name__}`"


def _leaf(got: object, want: object, tolerance: float) -> str | None:
    if not isinstance(want, Tensor):
        same = type(got) is type(want) and got == want
        return None if same else f"Your output is {_shown(got)}; it must be {_shown(want)}."
    if not isinstance(got, Tensor):
        return f"Your output is {_kind(('', got))}; it must be {_kind(('', want))}."
    if got.is_complex():
        return "Your output is complex; it must be real."
    if got.shape != want.shape:
        return f"Your output has shape {list(got.shape)}; it must be {list(want.shape)}."
    finite = want.isfinite()
    if not torch.equal(got.isfinite(), finite):
        return "Your output holds NaN or infinity." if finite.all() else "Your output is finite where it must not be."
    if not torch.allclose(got[~finite], want[~finite], equal_nan=True):
        return "Your output has another kind of infinity or NaN."
    gap = (got - want)[finite].abs()
    scale = want[finite].abs().max().item() if gap.numel() else 0.0
    if not gap.numel() or gap.max() <= tolerance * scale + 1e-12:
        return None
    return _numbers(got[finite], want[finite], tolerance * scale)


def _numbers(got: Tensor, want: Tensor, allowed: float) -> str:
    """Words for the commonest ways in which numbers of the right shape are wrong."""
    gap = (got - want).abs()
    if (got == 0).all():
        return "Your output is zero everywhere."
    factor = ((got * want).sum() / want.square().sum()).item() if want.any() else 0.0
    if want.numel() > 1 and factor and (got - factor * want).abs().max() <= allowed * max(1.0, abs(factor)):
        return f"Your output is {factor:.3g} times what it must be, everywhere."
    shift = (got - want).mean()
    if want.numel() > 1 and (got - want - shift).abs().max() <= allowed:
        return f"Your output is shifted by {shift.item():.3g} everywhere."
    off = int((gap > allowed).sum())
    share = "Your output is wrong" if off == gap.numel() else f"Your output is wrong in {off} of {gap.numel()} numbers"
    largest, reach = gap.max().item(), want.abs().max().item()
    return f"{share}: the largest difference is {largest:.2g}, where values reach {reach:.2g}."


def _shown(value: object) -> str:
    if isinstance(value, Tensor):
        return _kind(("", value))
    return f"`{value!r}`" if value is None or isinstance(value, (str, int)) else f"`{type(value).__name__}`"
