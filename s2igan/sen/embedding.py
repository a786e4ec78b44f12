"""Captions as a speech encoder takes them; captions and images as points of the space that SEN made."""

# N captions or images, P places, D speech embedding size

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from s2igan.catalog import read_catalog
from s2igan.errors import InputError
from s2igan.sen.model import SEN, embed_speech, in_blocks, is_text_encoder, load_sen, speech_file
from s2igan.sen.text_encoder import TextReader
from s2igan.store import FixedReader, RaggedReader

GENERATOR_SEN = "models/rdg_sen"  # the SEN that the generator was trained with
BLOCK = 2048  # captions, or features of images, in memory at a time
HEARD_BYTES = 1 << 30  # of places that stay in memory


def open_captions(config: dict) -> RaggedReader:
    """What the encoder of SEN's `config` takes of every caption, for `with`.

    Log-mels, features of a frozen speech encoder, or text as one-hot rows.

    Raises InputError where the file is missing, or a caption has no text that can be read.
    """
    if is_text_encoder(config):
        return TextReader((caption.key, caption.text) for caption in read_catalog("data/catalog").captions)
    path = Path(speech_file(config))
    return RaggedReader(path, path.stem)


class HeardCaptions:
    """Captions as a generator with attention takes them, heard by a frozen SEN.

    The places of all captions are many times as large as their embeddings, so no file has them: up to HEARD_BYTES
    they are heard once and stay in memory, else whenever they are asked for. `embeddings` (N, D) are those of the file.
    For `with`, in the manner of a `FixedReader`.
    """

    def __init__(self, sen: SEN, config: dict):
        self._sen, self._captions = sen, open_captions(config)
        self._heard: np.ndarray | None = None
        with FixedReader("data/embeddings.h5", "embeddings") as file:
            self._keys, self.embeddings = file.keys, file.values()

    def __enter__(self) -> "HeardCaptions":
        self._captions.__enter__()
        if self._captions.keys != self._keys:
            raise InputError("data/embeddings.h5: of other captions than data/speech.h5; run `dvc repro embed`")
        rows = range(len(self._keys))
        if self.embeddings.nbytes * (1 + self._sen.places) <= HEARD_BYTES:
            blocks = in_blocks(rows, self._captions.width, BLOCK)
            self._heard = np.concatenate([self._hear(block) for block in blocks])
        return self

    def __exit__(self, *error) -> None:
        self._captions.__exit__(*error)

    def index(self, key: str) -> int:
        """The row of `key`; InputError where there is no such caption."""
        return self._captions.index(key)

    def values(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """What is heard of the captions in `rows`, (n, 1 + P, D)."""
        return self._hear(rows) if self._heard is None else self._heard[rows]

    def _hear(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        return embed_speech(self._sen, self._captions.values(rows), places=True)


def caption_embeddings(keys: Sequence[str], device: torch.device, places: bool = False) -> np.ndarray:
    """Speech embeddings (N, D) of captions by the generator's SEN: what every stage after train_rdg hears.

    With `places`, what the generator takes, (N, 1 + P, D) where that SEN has places. Raises InputError for a key that
    is not there.
    """
    sen, config = load_sen(GENERATOR_SEN)
    sen.to(device)
    with open_captions(config) as captions:
        rows = [captions.index(key) for key in keys]
        blocks = in_blocks(rows, captions.width, BLOCK)
        return np.concatenate([embed_speech(sen, captions.values(block), places=places) for block in blocks])


@torch.inference_mode()
def image_embeddings(sen: SEN, keys: Sequence[str], device: torch.device) -> np.ndarray:
    """Embeddings (N, D) of images by their centre views; moves `sen` to `device`.

    Raises InputError for a key that is not there.
    """
    sen.to(device)
    found = [np.empty((0, sen.speech.embedding_dim), np.float32)]
    with FixedReader("data/image_features.h5", "image_features") as features:
        rows = [features.index(key) for key in keys]
        for start in range(0, len(rows), BLOCK):
            seen = torch.from_numpy(features.values(rows[start : start + BLOCK])[:, 0]).to(device)
            found.append(F.normalize(sen.image(seen), dim=1).cpu().numpy())
    return np.concatenate(found)
