"""A caption decoder that reads images back (MirrorGAN's STREAM: Qiao et al. 2019, section 3.3)."""

# B batch, N captions, V views, F image features, L words of the longest caption and its end, W numbers of words

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2igan import training as loop
from s2igan.sen.recurrent import run_float32
from s2igan.training import Checkpoints, Schedule, step_generator

EMBEDDING, HIDDEN = 256, 512  # the sizes are not in the paper
BATCH = 64


def number_words(texts: Sequence[str]) -> np.ndarray:
    """Captions -> the numbers of their words (N, L), in alphabetical order from 1; 0 is behind the last."""
    captions = [re.findall(r"\w+", text.lower()) for text in texts]
    numbers = {word: number for number, word in enumerate(sorted(set().union(*captions)), start=1)}
    table = np.zeros((len(captions), 1 + max(map(len, captions), default=0)), np.int64)
    for row, words in zip(table, captions, strict=True):
        row[: len(words)] = [numbers[word] for word in words]
    return table


class CaptionDecoder(nn.Module):
    """Frozen features of an image and the caption's words one by one -> of each the next word; an LSTM.

    `words` is how many numbers there are, the end's 0 among them. It stays in training mode, in which alone cuDNN
    gives an LSTM's gradient; nothing in it differs from evaluation.
    """

    def __init__(self, feature_dim: int, words: int, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.image = nn.Linear(feature_dim, EMBEDDING)
            self.embedding = nn.Embedding(words, EMBEDDING)
            self.recurrent = nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
            self.word = nn.Linear(HIDDEN, words)
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("deviation", torch.ones(feature_dim))

    def standardise(self, features: Tensor) -> None:
        """Takes mean and deviation of real features (N, F): all images share most of such a vector."""
        self.mean.copy_(features.mean(dim=0))
        self.deviation.copy_(features.std(dim=0) + 1e-3)

    def forward(self, features: Tensor, words: Tensor) -> Tensor:
        """(B, F), (B, L) -> logits (B, L, W): p_t tells word t from the image and word t - 1, the first from 0."""
        image = self.image((features - self.mean) / self.deviation)
        inputs = image[:, None] + self.embedding(F.pad(words, (1, 0))[:, :-1])
        return self.word(run_float32(self.recurrent, inputs))

    def loss(self, features: Tensor, words: Tensor) -> Tensor:
        """-log p_t(T_t), the mean over the words of the batch and the ends of its captions; scalar."""
        said = F.pad(words != 0, (1, 0), value=True)[:, :-1]  # the words, and the first 0 behind them
        return F.cross_entropy(self(features, words)[said].float(), words[said])


def pretrain(
    decoder: CaptionDecoder,
    features: np.ndarray,
    images: np.ndarray,
    words: np.ndarray,
    captions: int,
    lr: float,
    seed: int,
    checkpoints: Checkpoints | None = None,
) -> float:
    """Teaches the decoder in place to read real images, from `captions` captions or what makes whole batches.

    features (n, V, F) of images, of which each caption describes one, images (N,) their rows; words (N, L). Adam.
    Returns the loss of the last tenth of the steps. Raises InputError for a loss that is not finite.
    """
    device = next(decoder.parameters()).device
    decoder.standardise(torch.from_numpy(features[np.unique(images), 0]).to(device))
    optimizer = torch.optim.Adam(decoder.parameters(), lr)
    steps = -(-captions // BATCH)

    def step(number: int) -> tuple[list[str], dict[str, Tensor]]:
        rng = np.random.default_rng(step_generator(seed, number, "decoder").initial_seed())
        chosen, views = rng.integers(len(words), size=BATCH), rng.integers(features.shape[1], size=BATCH)
        seen = (torch.from_numpy(values).to(device) for values in (features[images[chosen], views], words[chosen]))
        loss = decoder.loss(*seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return [str(row) for row in chosen], {"loss": loss}

    schedule = Schedule("rdg", seed, steps, row_every=max(1, steps // 10))
    history = loop.train(schedule, step, {"decoder": decoder, "optimizer": optimizer}, checkpoints)
    return history.rows[-1]["loss"]
