"""Latents from a list: each place takes the nearest of K vectors (van den Oord et al., 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Quantised(NamedTuple):
    """Latents after their visit to the list."""

    z: Tensor  # [B,D,h,w], vectors of the list; the gradient passes through as if nothing had happened
    codes: Tensor  # [B,h,w] int64, which ones
    codebook: Tensor  # [B], squared distance that pulls the list to the latents, a mean over places and channels
    commitment: Tensor  # [B], the same number, pulling the latents to the list


class VectorQuantiser(nn.Module):
    """A list of K vectors, and the nearest of them for each place of a map.

    Args:
        codes: K. dim: D, channels of the map.
    """

    def __init__(self, codes: int, dim: int):
        super().__init__()
        for name, value in (("codes", codes), ("dim", dim)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
        self.table = nn.Embedding(codes, dim)
        nn.init.uniform_(self.table.weight, -1 / codes, 1 / codes)

    def forward(self, z: Tensor) -> Quantised:
        """z [B,D,h,w] -> the nearest vectors (equations 1 to 3).

        A loss adds `codebook + beta * commitment`, beta about 0.25.

        Raises:
            ValueError: the number of channels is another.
        """
        if z.ndim != 4 or z.shape[1] != self.table.embedding_dim:
            raise ValueError(f"z must be [B,{self.table.embedding_dim},h,w]; got {list(z.shape)}")
        places = z.permute(0, 2, 3, 1)  # [B,h,w,D]
        codes = torch.cdist(places.flatten(0, 2), self.table.weight).argmin(1).view(places.shape[:3])
        found = self.table(codes).permute(0, 3, 1, 2)  # [B,D,h,w]
        codebook = (found - z.detach()).square().flatten(1).mean(1)
        commitment = (found.detach() - z).square().flatten(1).mean(1)
        return Quantised(z + (found - z).detach(), codes, codebook, commitment)

    def look_up(self, codes: Tensor) -> Tensor:
        """codes [B,h,w] -> [B,D,h,w]."""
        return self.table(codes).permute(0, 3, 1, 2)


def perplexity(codes: Tensor, size: int) -> float:
    """How many of the list's vectors are in use, were they used equally often: exp of the entropy of their shares.

    Args:
        codes: any shape, int64.
        size: K.

    >>> perplexity(torch.tensor([0, 1, 0, 1]), 8)
    2.0
    """
    share = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    return round(torch.special.entr(share).sum().exp().item(), 9)
