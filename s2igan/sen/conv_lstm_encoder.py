"""Speech encoder of Li et al. 2020, "Direct speech-to-image translation": 2-d convolutions and an LSTM.

An utterance's embedding does not depend on the batch that it is padded into.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from s2igan.sen.recurrent import BidirectionalLSTM
from s2igan.sen.speech_encoder import Embedding, Encoder, ValidBatchNorm, valid_frames

# B batch, T frames (padded to the longest of the batch), M mel bands, C channels, D embedding

CHANNELS = (64, 64, 128, 256, 256, 512, 512, 1024)
HIDDEN = 512  # of the LSTM, a direction
# Where the plane shrinks by 2 is not published. Here: two strides and the two max-pools, so that 40 bands
# become 3 and 16 frames one before the widest layers.
STRIDES = (2, 1, 1, 2, 1, 1, 1, 1)
POOLED_AFTER = (1, 4)


class ConvLSTMEncoder(Encoder):
    """Log-mel frames -> an embedding, by eight 2-d convolutions over bands and time with two max-pools.

    Then the mean over the bands that are left, a one-layer bidirectional LSTM, and the mean over time. Each
    convolution is 3 x 3 with batch norm and ReLU. `width` multiplies all channels and hidden units; 1 is the
    published size, 1024-d. `output_dim` ends it in a linear layer of that size, without it the embedding is a
    unit vector. Any utterance of a frame or more will do.
    """

    def __init__(self, width: float = 1.0, output_dim: int = 0):
        super().__init__()
        channels = [max(1, round(width * count)) for count in CHANNELS]
        hidden = max(1, round(width * HIDDEN))
        self.convolutions = nn.ModuleList(
            # no bias: the batch norm that follows would subtract it again
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
            for before, after, stride in zip([1, *channels], channels, STRIDES, strict=False)
        )
        self.norms = nn.ModuleList(ValidBatchNorm(count) for count in channels)
        self.lstm = BidirectionalLSTM(channels[-1], hidden, 1)
        self.widths = (channels[-1], 2 * hidden)
        self.embedding = Embedding(self.widths[1], output_dim)
        self.embedding_dim = self.embedding.size

    def convolve(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mels (B, T, M), lengths (B,) in frames -> frames of the convolutions (B, T', C), lengths (B,)."""
        lengths = lengths.to(log_mel.device)
        x = log_mel.masked_fill(~valid_frames(lengths, log_mel.shape[1])[..., None], 0)[:, None]  # (B, 1, T, M)
        for layer, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            # The frames behind an utterance are zeros before each convolution, which is what a convolution
            # sees at the end of an utterance alone; the norm puts zeros there again.
            x = convolution(x)
            lengths = _shrunk(lengths, STRIDES[layer])
            valid = valid_frames(lengths, x.shape[2])  # (B, T)
            every_band = valid[..., None].expand(-1, -1, x.shape[3]).flatten(1)  # (B, T·M)
            x = F.relu(norm(x.flatten(2), every_band).view_as(x))
            if layer in POOLED_AFTER:
                # After ReLU a zero behind the end never is a maximum that an utterance alone would not have.
                x = F.max_pool2d(x, 2, ceil_mode=True)
                lengths = _shrunk(lengths, 2)
        return x.mean(dim=3).transpose(1, 2), lengths  # (B, C, T, M) -> (B, T, C)

    def recur(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T', C) -> frames of the LSTM (B, T', 2 H)."""
        return self.lstm(x, lengths)


def _shrunk(lengths: Tensor, by: int) -> Tensor:
    return (lengths + by - 1) // by
