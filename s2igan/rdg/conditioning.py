"""Conditioning augmentation F^ca: a speech embedding becomes a smooth distribution of conditions."""

# B batch, A speech embedding size, C condition size

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConditioningAugmentation(nn.Module):
    """F^ca of eq. 7: draws a condition from N(mean(A), diag(variance(A))) (StackGAN, section 3.1).

    A linear layer to 4C, a gated linear unit to 2C, then C means and C log-variances.
    `scale` multiplies the embedding first: an L2-normalised embedding of A components has a standard
    deviation of 1/sqrt(A) a component, so `scale = sqrt(A)` gives unit variance; 1 leaves it as it is.
    """

    def __init__(self, embedding_dim: int, condition_dim: int, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        self.linear = nn.Linear(embedding_dim, 4 * condition_dim)

    def forward(self, embedding: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """(B, A), noise (B, C) of N(0, 1) or None for the mean -> condition, mean, log-variance, each (B, C)."""
        gated = F.glu(self.linear(self.scale * embedding))  # (B, 2C)
        mean, log_variance = gated.chunk(2, dim=1)
        if noise is None:
            return mean, mean, log_variance
        return mean + noise * torch.exp(0.5 * log_variance), mean, log_variance
