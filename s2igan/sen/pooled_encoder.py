"""Speech encoder for what a frozen one hears: statistics over time and two layers.

It learns more from few recordings than a recurrent network does: each frame of the frozen encoder has heard the whole
utterance already. Mean and deviation over time are those of x-vectors (Snyder et al. 2018).
"""

# B batch, T frames, M features of a frame, of all layers, H hidden units

import torch
from torch import Tensor, nn

from s2igan.sen.speech_encoder import Embedding, Encoder, mean_over_time, valid_frames

HIDDEN, SIZE = 2048, 1024  # units, and the embedding's size, at width 1


class PooledEncoder(Encoder):
    """Mean, deviation and maximum of each feature over time -> a point in the space that speech shares with images.

    Batch norm of the statistics, then two layers, with `dropout` before each. There are no frames to attend to.
    """

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
    frames = frames.float()
    mean = mean_over_time(frames, lengths)
    variance = mean_over_time((frames - mean[:, None]).square(), lengths)
    most = frames.masked_fill(~valid_frames(lengths, frames.shape[1])[..., None], float("-inf")).amax(dim=1)
    return torch.cat([mean, variance.sqrt(), most], dim=1)
