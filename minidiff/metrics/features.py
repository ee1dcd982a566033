"""Features of pictures, and their first two moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

LARGEST = 1e150  # the square of a larger feature would overflow float64
Extractor = Callable[[Tensor], Tensor]  # [B,C,H,W] in [-1,1] -> [B,D]


@torch.no_grad()
def features(extractor: Extractor, images: Tensor | Iterable[Tensor], batch_size: int = 256) -> Tensor:
    """Runs an extractor over pictures, a batch at a time.

    Args:
        extractor: any callable [B,C,H,W] -> [B,D]; of a model in eval mode.
        images: [N,C,H,W] in [-1,1] on the extractor's device, or an iterable of such batches.
        batch_size: pictures at once, where `images` is one tensor.

    Returns:
        [N,D], where the extractor left them.

    Raises:
        ValueError: the pictures are not floats in [-1,1], there are none, or the extractor returns another shape or is
            (a method of) a model in training mode.
    """
    owner = getattr(extractor, "__self__", extractor)
    if isinstance(owner, torch.nn.Module) and owner.training:
        raise ValueError(f"extractor must be in eval mode; call eval() on the {type(owner).__name__} first")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if isinstance(images, Tensor) and images.ndim != 4:
        raise ValueError(f"images must be [N,C,H,W]; got {list(images.shape)}")
    parts = []
    for batch in images.split(batch_size) if isinstance(images, Tensor) else images:
        if len(batch) == 0:
            continue
        _check_images(batch)
        found = extractor(batch)
        if found.ndim != 2 or len(found) != len(batch):
            raise ValueError(f"extractor must return [{len(batch)},D]; got {list(found.shape)}")
        parts.append(found)
    if not parts:
        raise ValueError("images must hold at least one picture; got none")
    return torch.cat(parts)


class MeanCov(NamedTuple):
    """Mean and covariance of features."""

    mean: Tensor  # [D] float64
    cov: Tensor  # [D,D] float64


class Moments:
    """Mean and covariance of features that come in parts, in float64.

    The parts may have any sizes and come in any order, in one process or in several (`merge`, `all_reduce`): the result
    is the same up to rounding, because sums of squares are kept about the running mean (Chan, Golub & LeVeque, 1983).

    Raises:
        ValueError: a part is not [n,D], changes D, or is not finite.

    >>> m = Moments().update(torch.tensor([[0.0], [2.0]])).update(torch.tensor([[4.0]]))
    >>> m.n, m.result().mean.tolist(), m.result().cov.tolist()
    (3, [2.0], [[4.0]])
    """

    def __init__(self):
        self.n, self.mean, self.scatter = 0, None, None

    def update(self, features: Tensor) -> Moments:
        """Takes in a part, [n,D]; returns itself."""
        x = as_features("features", features)
        mean = x.mean(dim=0)
        centred = x - mean
        return self._add(len(x), mean, centred.mT @ centred)

    def merge(self, other: Moments) -> Moments:
        """Takes in what another one has collected; returns itself."""
        return self if other.n == 0 else self._add(other.n, other.mean, other.scatter)

    def all_reduce(self) -> Moments:
        """Takes in what the other processes have collected, in all of them alike; returns itself.

        Every process of `torch.distributed`'s default group must call it, also one that has seen no feature. Without
        such a group it does nothing.

        Raises:
            ValueError: in every process, where two of them have features of different dimensions.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return self
        device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else "cpu"
        own = 0 if self.n == 0 else len(self.mean)
        sizes = torch.tensor([own, -own if own else -torch.iinfo(torch.int64).max], device=device)
        dist.all_reduce(sizes, dist.ReduceOp.MAX)
        most, fewest = sizes[0].item(), -sizes[1].item()
        if most == 0:
            return self
        if most != fewest:
            raise ValueError(f"features must have one dimension in all processes; got {fewest} and {most}")
        total = torch.tensor(self.n, device=device)
        dist.all_reduce(total)
        n = total.item()  # a Python integer, as an integer tensor would divide in float32
        here = torch.zeros(most, dtype=torch.float64, device=device) if self.n == 0 else self.mean.to(device)
        mean = here * (self.n / n)
        dist.all_reduce(mean)
        shift = here - mean
        scatter = torch.outer(shift, shift) * self.n
        if self.n:
            scatter += self.scatter.to(device)
        dist.all_reduce(scatter)
        self.n, self.mean, self.scatter = n, mean, scatter
        return self

    def result(self) -> MeanCov:
        """(mean [D], cov [D,D]), the covariance divided by n - 1.

        Raises:
            ValueError: fewer than two features came in.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 features; got {self.n}")
        return MeanCov(self.mean, (self.scatter + self.scatter.mT) / (2 * (self.n - 1)))

    def _add(self, n: int, mean: Tensor, scatter: Tensor) -> Moments:
        if self.n == 0:
            self.n, self.mean, self.scatter = n, mean, scatter
            return self
        if mean.shape != self.mean.shape:
            raise ValueError(f"features must have {len(self.mean)} dimensions, like those before; got {len(mean)}")
        total, shift = self.n + n, mean.to(self.mean.device) - self.mean
        self.scatter = self.scatter + scatter.to(self.mean.device) + torch.outer(shift, shift) * (self.n * n / total)
        self.mean = self.mean + shift * (n / total)
        self.n = total
        return self


def moments(features: Tensor, chunk: int = 4096) -> MeanCov:
    """Mean [D] and covariance [D,D] (divided by N - 1) of features [N,D], in float64.

    Args:
        features: [N,D] with N of at least 2.
        chunk: rows that are turned into float64 at once.

    Raises:
        ValueError: `features` is not [N,D], not finite, or has fewer than 2 rows.

    >>> moments(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).cov.tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    if features.ndim != 2:
        raise ValueError(f"features must be [N,D]; got {list(features.shape)}")
    total = Moments()
    for part in features.split(chunk):
        if len(part):
            total.update(part)
    return total.result()


def as_features(name: str, x: Tensor) -> Tensor:
    """[N,D] in float64, on a device that has it.

    Raises:
        ValueError: no floats, another shape, or values that are not finite or too large to be squared.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise ValueError(f"{name} must be a floating-point tensor; got {getattr(x, 'dtype', type(x).__name__)}")
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"{name} must be [N,D] with N and D of at least 1; got {list(x.shape)}")
    x = (x.detach().cpu() if x.device.type == "mps" else x.detach()).double()
    low, high = (v.item() for v in x.aminmax())  # NaN where there is one
    if not (low >= -LARGEST and high <= LARGEST):
        bad = int((~x.isfinite()).any(dim=1).sum())
        if bad:
            raise ValueError(f"{name} must be finite; {bad} of {len(x)} rows hold NaN or infinities")
        raise ValueError(f"{name} must lie within {LARGEST:g} of 0; got values from {low:g} to {high:g}")
    return x


def as_pair(real: Tensor, fake: Tensor, names: tuple[str, str] = ("real", "fake")) -> tuple[Tensor, Tensor]:
    """Two sets of features, [N,D] and [M,D], in float64 on one device; errors call them by `names`.

    Raises:
        ValueError: one is no set of features, or they differ in D.
    """
    real, fake = as_features(names[0], real), as_features(names[1], fake)
    if real.shape[1] != fake.shape[1]:
        dims = f"{real.shape[1]} and {fake.shape[1]}"
        raise ValueError(f"{names[0]} and {names[1]} must have the same dimension; got {dims}")
    return real, fake.to(real.device)


def _check_images(x: Tensor) -> None:
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"images must be [N,C,H,W] floats in [-1,1]; got {x.dtype} {list(x.shape)}")
    low, high = (v.item() for v in x.aminmax())
    if not (low >= -1.001 and high <= 1.001):
        raise ValueError(f"images must lie in [-1,1]; got values from {low:g} to {high:g}")
