"""Speech encoder for what a frozen one hears: statistics over time and two layers.

Few recordings teach these more than a recurrent network: the frozen encoder has heard the whole utterance already.
Statistics of layers side by side are what probes of such encoders take (Snyder et al. 2018, x-vectors: mean and
deviation).
"""

# B batch, T frames, M features of a frame, of all layers, H hidden units

import torch
from torch import Tensor, nn

from s2igan.sen.speech_encoder import Embedding, Encoder, valid_frames

HIDDEN, SIZE = 2048, 1024  # units, and the embedding's size, at width 1


class PooledEncoder(Encoder):
    """Mean, deviation and maximum of each feature over time -> a point in the space that speech shares with images.

    The statistics are normalised by their batches', as those of training were. With `dropout` each of the two layers
    sees only some of what there is while it learns. There are no frames to attend to.
    """

    min_frames = 1

    def __init__(self, features: int, width: float = 1.0, dropout: float = 0.0, output_dim: int = 0):
        super().__init__()
        hidden, size = max(1, round(width * HIDDEN)), max(1, round(width * SIZE))
        self.norm = nn.BatchNorm1d(3 * features, affine=False)
        first = nn.Dropout(dropout), nn.Linear(3 * features, hidden), nn.ReLU()
        self.layers = nn.Sequential(*first, nn.Dropout(dropout), nn.Linear(hidden, size))
        self.widths = (features, features)
        self.embedding = Embedding(size, output_dim)
        self.embedding_dim = self.embedding.size

    def convolve(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, M), lengths (B,) -> the same."""
        return x, lengths.to(x.device)

    def recur(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, M) -> the same."""
        return x

    def summarise(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Frames (B, T, M), lengths (B,) -> (B, D)."""
        return self.embedding(self.layers(self.norm(statistics(frames, lengths))))


def statistics(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean, deviation and maximum over the first lengths (B,) of the frames (B, T, M), float32 (B, 3 M)."""
    frames, valid = frames.float(), valid_frames(lengths, frames.shape[1])[..., None]
    mean = frames.masked_fill(~valid, 0).sum(dim=1) / lengths[:, None]
    variance = (frames - mean[:, None]).square().masked_fill(~valid, 0).sum(dim=1) / lengths[:, None]
    most = frames.masked_fill(~valid, float("-inf")).amax(dim=1)
    return torch.cat([mean, variance.sqrt(), most], dim=1)
