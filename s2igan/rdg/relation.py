"""The relation supervisor (paper, section 2.3.2): is a pair of images of one kind, of two, or the same image?"""

# B batch, E image embedding size

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import torch
from torch import Tensor, nn


class Relation(IntEnum):
    """The relations of eq. 8 to the ground truth."""

    POSITIVE = 0  # L_1: another real image of the class
    NEGATIVE = 1  # L_2: a real image of another class
    UNDESIRED = 2  # L_3: the ground truth itself


class RelationSupervisor(nn.Module):
    """RS of eq. 8: pairs of image embeddings to relation logits.

    `outputs` is 3; the published code has 4 and uses 3. Batch norm takes its statistics over the pairs of each
    relation apart, as in the published code: every relation comes out with the same mean and spread, so that how far
    two images lie apart, which tells the relations from each other, is lost, and so is what all generated images
    share, which tells them from real ones.
    """

    def __init__(self, embedding_dim: int, hidden: int = 128, outputs: int = 3):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * embedding_dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, outputs),
        )

    def forward(self, ground_truth: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
        """Image embeddings (B, E) of the ground truth, and of the others of each relation -> logits (B, outputs)."""
        return [self.layers(torch.cat([ground_truth, other], dim=1)) for other in others]
