"""Speech encoder (SED of section 2.2): convolutions, bidirectional GRU, self-attention over time.

An utterance's embedding does not depend on the batch that it is padded into.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2igan.options import integer, integers, switch
from s2igan.sen.recurrent import BidirectionalGRU

# B batch, T frames (padded to the longest of the batch), M mel bands, C channels, H hidden units,
# D embedding = 2 H, L layers of a frozen encoder


@dataclass(frozen=True)
class SpeechEncoderConfig:
    """Sizes of the speech encoder; the defaults are the published code's, the paper gives the structure."""

    bands: int = 40  # of a frame: mel bands, or the features of one layer; the file that is heard says how many
    layers: int = 1  # of a frozen speech encoder, side by side in a frame
    conv_channels: tuple[int, ...] = integers(1, default=(64, 128))
    kernel: int = integer(1, default=6)
    stride: int = integer(1, default=2)
    gru_layers: int = integer(1, default=2)
    gru_hidden: int = integer(1, help="half of the embedding's size", default=512)
    attention_hidden: int = integer(1, default=128)
    mask_padding: bool = switch("off: attention sees padding, as published", default=True)

    @property
    def min_frames(self) -> int:
        """Frames that an utterance needs for one frame to come out of the last convolution."""
        frames = 1
        for _ in self.conv_channels:
            frames = (frames - 1) * self.stride + self.kernel
        return frames


class Encoder(nn.Module):
    """What every encoder is: a sequence of frames, and their summary, the embedding.

    A subclass has `convolve`, `recur`, and `embedding`, its end. `window` is what places are heard through; without
    one they are means of the recurrent network's frames, which have heard the whole utterance.
    """

    min_frames = 1  # that an utterance needs
    embedding: "Embedding"
    widths: tuple[int, int]  # of the frames of `convolve` and of `recur`

    def __init__(self):
        super().__init__()
        self.window: Window | None = None

    def convolve(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Input (B, T, M) of lengths (B,) -> frames (B, T', C), of which the first lengths (B,) count."""
        raise NotImplementedError

    def recur(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames (B, T', C) of lengths (B,) -> the recurrent network's (B, T', H)."""
        raise NotImplementedError

    def summarise(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """What `recur` returned -> embeddings (B, D): of the mean over time, unless a subclass weighs the frames."""
        return self.embedding(mean_over_time(frames, lengths))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Embed utterances: (B, T, M) padded with anything, lengths (B,), each `min_frames` or more -> (B, D)."""
        frames, lengths = self.convolve(x, lengths)
        return self.summarise(self.recur(frames, lengths), lengths)

    def with_places(self, x: Tensor, lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The embeddings (B, D) and, in order of time, `count` places of each utterance (B, count, D).

        A place is a unit vector of the embeddings' space; where an utterance has fewer frames than `count`, zeros
        follow.
        """
        heard, lengths = self.convolve(x, lengths)
        frames = self.recur(heard, lengths)
        local = frames if self.window is None else self.window(heard, lengths)
        pooled, valid = pool_places(local, lengths, count)
        places = F.normalize(self.embedding.of_places(pooled).float(), dim=2)
        return self.summarise(frames, lengths), places * valid[..., None]


class LayerSum(nn.Module):
    """Layers of a frozen encoder as one: sum_l softmax(w)_l h_l, learnt, equal at first (SUPERB, Yang et al. 2021)."""

    def __init__(self, layers: int):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Frames (B, T, L M), layer after layer -> (B, T, M)."""
        return torch.einsum("btlm,l->btm", x.unflatten(2, (len(self.weights), -1)), self.weights.softmax(dim=0))


class SpeechEncoder(Encoder):
    """Log-mel frames -> a point in the space that speech shares with images.

    Or frames of a frozen speech encoder, of one layer or of several, which `LayerSum` makes one.
    Each convolution is followed by batch norm and no activation; the self-attention has a weight
    per frame and channel, softmax over time of W2 tanh(W1 h) (section 2.2).

    `output_dim` ends it in a linear layer of that size, without it the embedding is a unit vector.

    `mask_padding=False` repeats the published code where padding leaks: padded frames enter the statistics
    of batch norm and take attention weight, so an embedding depends on its batch.
    """

    def __init__(self, config: SpeechEncoderConfig, output_dim: int = 0):
        super().__init__()
        widths = (config.bands, *config.conv_channels)
        self.layer_sum = LayerSum(config.layers) if config.layers > 1 else nn.Identity()
        self.min_frames = config.min_frames
        self.kernel = config.kernel
        self.stride = config.stride
        self.mask_padding = config.mask_padding
        self.convolutions = nn.ModuleList(
            # no bias: the batch norm that follows would subtract it again
            nn.Conv1d(before, after, config.kernel, config.stride, bias=False)
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norms = nn.ModuleList(ValidBatchNorm(width) for width in config.conv_channels)
        self.gru = BidirectionalGRU(widths[-1], config.gru_hidden, config.gru_layers)
        self.attention = SelfAttention(2 * config.gru_hidden, config.attention_hidden)
        self.widths = (widths[-1], 2 * config.gru_hidden)
        self.embedding = Embedding(self.widths[1], output_dim)
        self.embedding_dim = self.embedding.size

    def convolve(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mels (B, T, M), lengths (B,) in frames -> frames of the convolutions (B, T', C), lengths (B,)."""
        lengths = lengths.to(log_mel.device)
        log_mel = self.layer_sum(log_mel)
        if self.mask_padding:
            # What lies in the padding must not matter at all, and 0 x NaN is NaN.
            log_mel = log_mel.masked_fill(~valid_frames(lengths, log_mel.shape[1])[..., None], 0)
        x = log_mel.transpose(1, 2)  # (B, T, M) -> (B, M, T)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            # The convolutions do not pad, so a frame that comes out and is counted in `lengths` has
            # seen real frames only; the others are dropped by the masks below.
            x = convolution(x)
            lengths = (lengths - self.kernel) // self.stride + 1
            valid = valid_frames(lengths, x.shape[2])
            x = norm(x, valid if self.mask_padding else torch.ones_like(valid))
        return x.transpose(1, 2), lengths  # (B, C, T) -> (B, T, C)

    def recur(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T', C) -> frames of the GRU (B, T', D)."""
        return self.gru(x, lengths)

    def summarise(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Frames (B, T', D), lengths (B,) -> (B, D)."""
        valid = valid_frames(lengths, x.shape[1])
        if not self.mask_padding:
            x = x * valid[..., None]  # a packed GRU gives zeros there
            valid = torch.ones_like(valid)
        return self.embedding(self.attention(x, valid))


class Embedding(nn.Module):
    """The end of every encoder: a unit vector; with an `output_dim`, a centred linear layer to that size instead.

    The linear layer is for an image side that is the frozen features as they are, with their size and length.
    """

    def __init__(self, width: int, output_dim: int = 0):
        super().__init__()
        self.size = output_dim or width
        self.linear = None
        if output_dim:  # no bias: centring would take it off again
            self.linear = nn.Sequential(nn.Linear(width, output_dim, bias=False), Centred(output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, size)."""
        return F.normalize(x, dim=1) if self.linear is None else self.linear(x)

    def of_places(self, x: Tensor) -> Tensor:
        """Frames (B, P, width) -> (B, P, size), of any length; centred by the mean that embeddings had lately."""
        return x if self.linear is None else self.linear[0](x).float() - self.linear[1].mean


class Centred(nn.Module):
    """Takes off the mean over the batch; in evaluation, the mean that training's batches had lately.

    A vector that all embeddings share adds the same to every caption's score with an image, so the joint embedding
    loss neither sees nor mends it. It can be many times what tells captions apart, and then F^ca of eq. 7 gets
    nearly the same input for every caption.
    """

    momentum = 0.1  # as batch norm
    whole_batch: Callable[[Tensor], Tensor] = staticmethod(lambda x: x)  # of which a process may have but some rows

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, size) -> (B, size)."""
        x = x.float()
        if not self.training:
            return x - self.mean
        mean = self.whole_batch(x).mean(dim=0)
        self.mean.lerp_(mean.detach(), self.momentum)
        return x - mean


class Window(nn.Module):
    """Frames that have heard no further than a stretch around them: two convolutions over time, for places.

    What a recurrent network makes of a frame holds the whole utterance, so that attention to it says nothing of when
    the words were spoken. Each convolution hears `reach` frames to each side, both together 2 `reach`.
    """

    def __init__(self, width: int, out: int, reach: int):
        super().__init__()
        self.first = nn.Conv1d(width, out, 2 * reach + 1, padding=reach, bias=False)
        self.norm = ValidBatchNorm(out)
        self.second = nn.Conv1d(out, out, 2 * reach + 1, padding=reach)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, C), lengths (B,) -> (B, T, out); an utterance is followed by zeros, whatever lies there."""
        valid = valid_frames(lengths, x.shape[1])
        x = x.masked_fill(~valid[..., None], 0).transpose(1, 2)  # (B, T, C) -> (B, C, T)
        x = F.relu(self.norm(self.first(x), valid))
        return self.second(x).transpose(1, 2)


class ValidBatchNorm(nn.BatchNorm1d):
    """Batch norm whose statistics come from valid frames only; zero elsewhere.

    With ordinary batch norm, training statistics would mix in padding: they would depend on how
    batches are cut, and would differ from those that evaluation uses.
    """

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Normalise (B, C, T) over the frames marked in valid (B, T) -> (B, C, T)."""
        frames = x.transpose(1, 2)  # (B, C, T) -> (B, T, C)
        if bool(valid.all()):
            return super().forward(x)
        normed = torch.zeros_like(frames)
        normed[valid] = super().forward(frames[valid])  # (valid frames, C)
        return normed.transpose(1, 2)


class SelfAttention(nn.Module):
    """Weighted mean over time, a weight per frame and channel: softmax_t(W2 tanh(W1 h))."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.weight = nn.Linear(hidden, width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, D), valid (B, T) -> (B, D); frames that are not valid have no weight."""
        scores = self.weight(torch.tanh(self.hidden(x)))  # (B, T, D)
        scores = scores.masked_fill(~valid[..., None], float("-inf"))
        return (torch.softmax(scores, dim=1) * x).sum(dim=1)


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """Mark the frames that are no padding: lengths (B,) -> bool (B, T)."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def mean_over_time(frames: Tensor, lengths: Tensor) -> Tensor:
    """The mean of the first lengths (B,) of the frames (B, T, C) -> (B, C)."""
    valid = valid_frames(lengths, frames.shape[1])[..., None]
    return frames.masked_fill(~valid, 0).sum(dim=1) / lengths[:, None]


def pool_places(frames: Tensor, lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Means over `count` stretches of each utterance, or over its frames one by one where it has fewer.

    frames (B, T, C), lengths (B,) -> (B, count, C), and which of them there are, bool (B, count); the others are 0.
    Stretch p of n has the frames t with floor(t n / length) = p.
    """
    step = torch.arange(frames.shape[1], device=frames.device)
    stretches = lengths.clamp(max=count)[:, None]  # (B, 1)
    valid = valid_frames(lengths, frames.shape[1])
    number = torch.arange(count, device=frames.device)
    member = ((step * stretches // lengths[:, None])[:, None] == number[:, None]) & valid[:, None]  # (B, count, T)
    share = member / member.sum(dim=2, keepdim=True).clamp(min=1)
    return share.to(frames.dtype) @ frames.masked_fill(~valid[..., None], 0), number < stretches
