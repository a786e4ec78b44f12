"""Conditioning augmentation F^ca: a speech embedding becomes a smooth distribution of conditions."""

# B batch, A speech embedding size, C condition size, H hidden channels, S size

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan.rdg.planes import PlaneConv2d, repeat_border


class Whitening(nn.Module):
    """Unit vectors of SEN's space, stretched along the axes in which captions differ little; of length 1 again.

    x (v / v_1)^(-power / 2) along each axis of the captions' covariance, v its variance there and v_1 the largest: with
    `power` 0 they stay as they are, with 1 they differ by as much in all directions. SEN tells species apart by the
    colours that they have; which part has which colour is in the small axes. Not in the paper. Until `fit`, nothing is
    stretched. Source: Su et al. 2021, "Whitening Sentence Representations", where `power` is 1.
    """

    SMALLEST = 1e-3  # of v / v_1: beyond that there is noise

    def __init__(self, embedding_dim: int, power: float):
        super().__init__()
        self.power = power
        self.register_buffer("matrix", torch.eye(embedding_dim))

    def fit(self, embeddings: Tensor) -> None:
        """Takes the axes from captions' embeddings (N, A)."""
        variances, axes = torch.linalg.eigh(embeddings.double().T.cov(correction=0))
        stretch = (variances / variances[-1]).clamp(min=self.SMALLEST) ** (-self.power / 2)
        self.matrix.copy_((axes * stretch) @ axes.T)

    def forward(self, x: Tensor) -> Tensor:
        """(..., A) -> (..., A); zeros, where an utterance has no place, stay zeros."""
        with torch.autocast(x.device.type, enabled=False):
            return F.normalize(x.float() @ self.matrix, dim=-1)


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


class JoinCondition(nn.Module):
    """A 3x3 convolution of features joined with the condition, which is spread over the plane.

    The same as `convolution(cat([plane of condition, features]))`, on large planes in less time: over a constant plane
    the result differs only between corners, edges and inside, so that the condition's share is computed on 3 x 3 and
    stretched. Where the convolution repeats the border in place of zeros, that share is the same everywhere.
    """

    def __init__(self, condition_dim: int, in_channels: int, out_channels: int):
        super().__init__()
        self.convolution = PlaneConv2d(condition_dim + in_channels, out_channels)

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """features (B, H, S, S), S > 2, condition (B, C), or None with a size of 0 -> (B, out, S, S)."""
        if condition is None:
            return self.convolution(features)
        if max(features.shape[-2:]) <= 4:  # nothing to save
            plane = condition[:, None, None].expand(-1, *features.shape[-2:], -1)
            joined = torch.cat([plane, features.permute(0, 2, 3, 1)], dim=3)  # in channels-last order, as features are
            return self.convolution(joined.permute(0, 3, 1, 2))
        sizes = [condition.shape[1], features.shape[1]]
        of_condition, of_features = self.convolution.weight.split(sizes, dim=1)
        if self.convolution.padding_mode == "replicate":
            share = F.linear(condition, of_condition.sum(dim=(2, 3)))[:, :, None, None]
            return F.conv2d(repeat_border(features), of_features) + share
        small = F.conv2d(condition[:, :, None, None].expand(-1, -1, 3, 3), of_condition, padding=1)  # (B, out, 3, 3)
        rows, columns = (_corner_edge_inside(size, features.device) for size in features.shape[-2:])
        spread = small.index_select(2, rows).index_select(3, columns)
        return F.conv2d(features, of_features, padding=1) + spread


def _corner_edge_inside(size: int, device: torch.device) -> Tensor:
    """0, 1, 1, ..., 1, 2."""
    place = torch.arange(size, device=device)
    return place.clamp(max=1) + (place == size - 1)
