"""The contrastive loss: of N pictures and N captions, N pairs belong together, N^2 - N do not (Radford et al., 2021).

One process, many processes and chunks are one formula: the cross-entropy of rows against all columns, both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

Batch = dict[str, Tensor]


def contrastive(images: Tensor, texts: Tensor, scale: Tensor, chunk: int | None = None) -> Tensor:
    """Symmetric cross-entropy over N x N logits, `scale * images @ texts.T` (Radford et al., 2021, figure 3).

    Where several processes run, each passes its own rows. All embeddings are gathered with their gradients, and each
    process returns the mean over its own rows: after data-parallel training has averaged the processes' gradients, they
    are those of one process with all rows.

    Args:
        images: [n,D], of length 1. texts: [n,D], the captions of the same pictures.
        scale: [], the factor, exp(logit_scale).
        chunk: rows of logits held at once; None holds all. With it, nothing of N x N is kept for the gradient.

    Returns:
        A scalar, in nats.

    Raises:
        ValueError: the shapes disagree, `chunk` is below 1, or processes hold unequal numbers of rows.

    >>> x = torch.eye(3)
    >>> round(contrastive(x, x, torch.tensor(0.0)).item(), 4)  # all logits equal: log 3
    1.0986
    """
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError(f"images and texts must both be [n,D]; got {list(images.shape)} and {list(texts.shape)}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, or None; got {chunk}")
    with torch.autocast(images.device.type, enabled=False):  # the loss is no place for half precision
        return _symmetric(*map(_at_least_float32, (images, texts, scale)), chunk)


def _symmetric(images: Tensor, texts: Tensor, scale: Tensor, chunk: int | None) -> Tensor:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        if chunk is None:
            logits = scale * images @ texts.T  # [n,n], used for both directions
            target = torch.arange(len(images), device=images.device)
            return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return (_Rows.apply(images, texts, scale, 0, chunk) + _Rows.apply(texts, images, scale, 0, chunk)) / 2
    _check_even(images)
    all_images, all_texts = gather(images), gather(texts)  # [N,D]
    first, rows = dist.get_rank() * len(images), chunk or len(images)
    to_texts = _Rows.apply(images, all_texts, scale, first, rows)
    return (to_texts + _Rows.apply(texts, all_images, scale, first, rows)) / 2


def _check_even(images: Tensor) -> None:
    """Raises ValueError on every process where they hold unequal numbers of rows: a gather would hang or mix rows."""
    mine = torch.tensor([len(images)], device=images.device)
    counts = [torch.zeros_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, mine)
    if len(rows := {int(n) for n in counts}) > 1:
        raise ValueError(
            f"images must have as many rows on every process; got {[int(n) for n in counts]}, "
            f"from {min(rows)} to {max(rows)} (drop the last, smaller batch)"
        )


def gather(x: Tensor) -> Tensor:
    """The rows of all processes, [N,D] from each one's [n,D]; gradients flow back to the process that a row is from."""
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(x))


class _Rows(torch.autograd.Function):
    """Mean cross-entropy of rows against columns, row i belonging to column `first + i`, `chunk` rows at a time.

    The gradient is computed on the way, where a chunk's logits are at hand, and only scaled when it is asked for.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, columns: Tensor, scale: Tensor, first: int, chunk: int) -> Tensor:
        n = len(rows)
        total, slope = (torch.zeros((), dtype=torch.float64, device=rows.device) for _ in range(2))
        of_rows, of_columns = torch.empty_like(rows), torch.zeros_like(columns)
        for i in range(0, n, chunk):
            part = rows[i : i + chunk]
            cosines = part @ columns.T  # [chunk,N]
            at = torch.arange(len(part), device=rows.device)
            target = at + first + i
            logits = cosines * scale
            total += logits.logsumexp(1).double().sum() - logits[at, target].double().sum()
            error = logits.softmax(1)  # gradient of the sum of losses in the logits, once 1 is taken off at the target
            error[at, target] -= 1
            slope += (error * cosines).sum(1).double().sum()
            of_rows[i : i + chunk] = error @ columns
            of_columns.addmm_(error.T, part)
        ctx.save_for_backward(of_rows, of_columns, scale, slope)
        return (total / n).to(rows.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor):
        of_rows, of_columns, scale, slope = ctx.saved_tensors
        factor = grad / len(of_rows)
        return of_rows * (factor * scale), of_columns * (factor * scale), (factor * slope).to(scale.dtype), None, None


def sigmoid_contrastive(images: Tensor, texts: Tensor, scale: Tensor, bias: float | Tensor) -> Tensor:
    """Each of the N x N pairs judged apart: does this caption belong to this picture? (Zhai et al., 2023, eq. 1).

    Args:
        images: [N,D], of length 1. texts: [N,D].
        scale: []. bias: added to every logit; the paper begins at -10, since nearly all pairs are no pairs.

    Returns:
        The sum over all pairs divided by N, a scalar.

    >>> x = torch.eye(2)
    >>> round(sigmoid_contrastive(x, x, torch.tensor(0.0), 0.0).item(), 4)  # two pairs a picture, log 2 each
    1.3863
    """
    with torch.autocast(images.device.type, enabled=False):
        images, texts, scale = map(_at_least_float32, (images, texts, scale))
        signs = 2 * torch.eye(len(images), device=images.device, dtype=images.dtype) - 1  # [N,N]
        return -F.logsigmoid(signs * (scale * images @ texts.T + bias)).sum() / len(images)


@dataclass
class CLIPLoss:
    """The contrastive loss of `model(x, tokens)`.

    Attributes:
        chunk: rows of logits held at once; None holds all.
        prepare: batch -> batch, applied first.
    """

    chunk: int | None = None
    prepare: Callable[[Batch], Batch] = dict

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
        """Returns the loss and {"loss", "scale"}, scalars.

        Raises:
            ValueError: the batch lacks "x" or "tokens".
        """
        images, texts, scale = _embed(model, self.prepare(batch))
        loss = contrastive(images, texts, scale, self.chunk)
        return loss, {"loss": loss.detach(), "scale": scale.detach()}


@dataclass
class SigmoidLoss:
    """The sigmoid loss of `model(x, tokens)`, on one process.

    Attributes:
        bias: of every logit. The paper learns it; here it stays where the paper begins.
        prepare: batch -> batch, applied first.
    """

    bias: float = -10.0
    prepare: Callable[[Batch], Batch] = dict

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
        """Returns the loss and {"loss", "scale"}, scalars.

        Raises:
            ValueError: the batch lacks "x" or "tokens".
        """
        images, texts, scale = _embed(model, self.prepare(batch))
        loss = sigmoid_contrastive(images, texts, scale, self.bias)
        return loss, {"loss": loss.detach(), "scale": scale.detach()}


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _embed(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Both embeddings and the factor."""
    if not {"x", "tokens"} <= batch.keys():
        raise ValueError(f'a batch needs the keys "x" and "tokens"; got {sorted(batch)}')
    return model(batch["x"], batch["tokens"])
