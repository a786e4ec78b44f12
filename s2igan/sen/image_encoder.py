"""Image encoder (IED of section 2.2): one linear layer on the features of a frozen network, or those alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ImageProjection(nn.Module):
    """Features of a frozen ImageNet encoder -> a unit vector in the space shared with speech.

    `dropout` is of the features, in training: a few drawings of each class could else be told apart by any feature,
    and one that was never seen would not be found.
    """

    def __init__(self, feature_dim: int, embedding_dim: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(feature_dim, embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        """(..., feature_dim) -> (..., embedding_dim), each row of length 1: of whole images, or of their regions."""
        return F.normalize(self.linear(self.dropout(features)), dim=-1)


class CentredFeatures(nn.Module):
    """The frozen features as they are but for their mean over the training images, which is taken off.

    For encoders that learn towards the features themselves. All images share most of such a vector (features
    behind a ReLU are positive); with that share in it all embeddings point one way, a cosine tells little apart,
    and F^ca of eq. 7 gets nearly the same input for every caption.
    """

    def __init__(self, feature_dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(feature_dim))

    def forward(self, features: Tensor) -> Tensor:
        """(..., feature_dim) -> (..., feature_dim)."""
        return features - self.mean
