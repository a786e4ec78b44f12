"""Image encoder (IED of section 2.2): one linear layer on the features of a frozen network."""

import torch.nn.functional as F
from torch import Tensor, nn


class ImageProjection(nn.Module):
    """Features of a frozen ImageNet encoder -> a unit vector in the space shared with speech."""

    def __init__(self, feature_dim: int, embedding_dim: int):
        super().__init__()
        self.linear = nn.Linear(feature_dim, embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        """(B, feature_dim) -> (B, embedding_dim), each row of length 1."""
        return F.normalize(self.linear(features), dim=1)
