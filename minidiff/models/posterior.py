"""What an encoder says of a picture's latents: a normal distribution for each number (Kingma & Welling, 2014)."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

LOWEST, HIGHEST = -30.0, 20.0  # of a log-variance, as in the published code


class DiagonalGaussian(NamedTuple):
    """A normal distribution with its own mean and variance for each number.

    Attributes:
        mean: [B,...]. log_var: [B,...], the logarithm of the variance, within [-30, 20].
    """

    mean: Tensor
    log_var: Tensor

    @classmethod
    def of(cls, parameters: Tensor) -> DiagonalGaussian:
        """From an encoder's output [B,2Z,...]: the first half are means, the second log-variances.

        Raises:
            ValueError: the number of channels is odd.
        """
        if parameters.ndim < 2 or parameters.shape[1] % 2:
            raise ValueError(f"parameters must be [B,2Z,...]; got {list(parameters.shape)}")
        mean, log_var = parameters.chunk(2, dim=1)
        return cls(mean, log_var.clamp(LOWEST, HIGHEST))

    def sample(self, eps: Tensor) -> Tensor:
        """mean + sigma eps, for eps from N(0, I) like the mean."""
        return self.mean + (0.5 * self.log_var).exp() * eps

    def kl(self) -> Tensor:
        """Kullback-Leibler divergence from N(0, I), summed over each sample's numbers: [B], in nats.

        Kingma & Welling (2014), appendix B.

        >>> import torch
        >>> DiagonalGaussian(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)).kl()
        tensor([0.5000])
        """
        each = 0.5 * (self.mean.square() + self.log_var.exp() - 1 - self.log_var)
        return each.flatten(1).sum(1)

    def nll(self, z: Tensor) -> Tensor:
        """Negative log-likelihood of z, summed over each sample's numbers: [B], in nats."""
        each = 0.5 * (math.log(2 * math.pi) + self.log_var + (z - self.mean).square() / self.log_var.exp())
        return each.flatten(1).sum(1)
