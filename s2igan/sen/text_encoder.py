"""Text in place of speech: the character CNN-RNN of Reed et al. 2016, and captions as its input."""

import unicodedata
from collections.abc import Iterable

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from s2igan.errors import InputError
from s2igan.sen.recurrent import run_float32
from s2igan.sen.speech_encoder import Embedding, Encoder, valid_frames
from s2igan.store import RaggedReader

# B batch, T characters (padded to the longest of the batch), M size of the alphabet, C channels, D embedding

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+=<>()[]{} "
CHANNELS = (384, 512, 256)
HIDDEN = 256
KERNEL = 4
POOLS = ((3, 3), (3, 3), (3, 2))  # size and stride of the max-pool after each convolution


class CharacterEncoder(Encoder):
    """One-hot characters -> an embedding: temporal convolutions with max-pooling, then a recurrent layer.

    Reed, Akata, Schiele, Lee 2016, "Learning deep representations of fine-grained visual descriptions": three
    convolutions of kernel 4 with ReLU, each max-pooled, a recurrent layer (here a GRU), the mean over time. The
    sizes are the published code's, as far as known; `width` multiplies channels and hidden units. `output_dim`
    ends it in a linear layer of that size, without it the embedding is a unit vector. A text is followed by as
    many empty rows as its last character needs to be seen (a frame sees 66 characters, the next begins 18 on);
    in that code all texts are filled to one length.

    `pooled` of the convolutions are pooled, all in that code. Attention to words needs finer frames: with one pooled
    a frame sees 24 characters, the next begins 3 on.
    """

    def __init__(self, width: float = 1.0, output_dim: int = 0, pooled: int = len(POOLS)):
        super().__init__()
        self.pools = (*POOLS[:pooled], *[(1, 1)] * (len(POOLS) - pooled))
        channels = [max(1, round(width * count)) for count in CHANNELS]
        hidden = max(1, round(width * HIDDEN))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, KERNEL)
            for before, after in zip([len(ALPHABET), *channels], channels, strict=False)
        )
        self.recurrent = nn.GRU(channels[-1], hidden, batch_first=True)
        self.widths = (channels[-1], hidden)
        self.embedding = Embedding(hidden, output_dim)
        self.embedding_dim = self.embedding.size

    def convolve(self, characters: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Texts (B, T, M), lengths (B,) in characters -> frames of the convolutions (B, T', C), lengths (B,)."""
        lengths = lengths.to(characters.device)
        characters = characters.masked_fill(~valid_frames(lengths, characters.shape[1])[..., None], 0)
        first, further = self._reach(1), self._reach(2) - self._reach(1)
        lengths = first + (lengths - first + further - 1).clamp(min=0) // further * further
        x = F.pad(characters.transpose(1, 2), (0, int(lengths.max()) - characters.shape[1]))  # (B, M, T)
        for convolution, (size, stride) in zip(self.convolutions, self.pools, strict=True):
            # Neither pads, so a frame that is counted in `lengths` has seen the text alone.
            x = F.max_pool1d(F.relu(convolution(x)), size, stride)
            lengths = (lengths - KERNEL + 1 - size) // stride + 1
        return x.transpose(1, 2), lengths  # (B, C, T) -> (B, T, C)

    def recur(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T', C) -> frames of the GRU, which meets the padding last (B, T', H)."""
        return run_float32(self.recurrent, x)

    def _reach(self, frames: int) -> int:
        """Characters that so many frames of the last pool have seen together."""
        for size, stride in reversed(self.pools):
            frames = (frames - 1) * stride + size + KERNEL - 1
        return frames


def one_hot(text: str, name: str) -> np.ndarray:
    """A caption as rows of one 1 each, uint8 (t, M): small letters without accents, white space as a blank.

    Characters that are not of the alphabet are left out. Raises InputError, calling the caption `name`, if
    none is left.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    indices = [ALPHABET.find(character) for character in " ".join(plain.lower().split())]
    known = [index for index in indices if index >= 0]
    if not any(ALPHABET[index] != " " for index in known):
        found = f"{text!r} has no character that sen.encoder=char_cnn_rnn knows" if text.strip() else "no text"
        raise InputError(f"caption {name}: {found}; give it words in Latin letters, or choose a system that hears")
    return np.eye(len(ALPHABET), dtype=np.uint8)[known]


class TextReader(RaggedReader):
    """The catalog's texts, in no file of their own: `value(row)` is (t, M), one-hot.

    `captions` are (key, text), in the order of the rows. Raises InputError for a caption without text, or
    without any character of the alphabet.
    """

    def __init__(self, captions: Iterable[tuple[str, str]]):
        super().__init__("data/catalog/captions.csv", "texts")
        texts = [(key, one_hot(text, key).argmax(axis=1).astype(np.uint8)) for key, text in captions]
        self.keys = [key for key, _ in texts]
        self._characters = [characters for _, characters in texts]
        self._rows = {key: row for row, key in enumerate(self.keys)}
        self.lengths = np.array([len(characters) for characters in self._characters], np.int64)
        self.attributes: dict = {"speech": {}}  # nothing was said
        self.width = len(ALPHABET)

    def __enter__(self) -> "TextReader":
        return self

    def __exit__(self, *_) -> None:
        pass

    def value(self, row: int) -> np.ndarray:
        """The characters of one row."""
        return np.eye(len(ALPHABET), dtype=np.uint8)[self._characters[row]]
