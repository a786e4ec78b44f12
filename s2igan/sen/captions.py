"""What the encoder takes of every caption, and the embedding by which its image is drawn."""

# N captions, A speech embedding size

from collections.abc import Sequence

import numpy as np
import torch

from s2igan.catalog import read_catalog
from s2igan.sen.model import SEN, embed_speech, load_sen, reads
from s2igan.sen.text_encoder import TextReader
from s2igan.store import FixedReader, RaggedReader

HEARD_BY = "models/rdg/sen"  # the SEN that the generator was trained to listen to
BLOCK = 2048


def open_captions(config: dict) -> RaggedReader | TextReader:
    """What the encoder of SEN's `config` takes of every caption, for `with`: log-mels, or text as one-hot rows.

    Raises InputError where the file is missing, or a caption has no text that can be read.
    """
    if reads(config):
        return TextReader((caption.key, caption.text) for caption in read_catalog("data/catalog").captions)
    return RaggedReader("data/logmel.h5", "logmel")


def load_generator_sen() -> tuple[SEN, dict, bool]:
    """The SEN that the generator listens to, its configuration, and whether RDG trained it."""
    sen, config = load_sen(HEARD_BY)
    return sen, config, config.get("speech_encoder") == "trained"


def caption_embeddings(keys: Sequence[str], device: torch.device) -> np.ndarray:
    """Speech embeddings (N, A) of captions, by the SEN that the generator listens to.

    From data/embeddings.h5 where that is the SEN of train_sen; where RDG trained it, computed anew. Raises
    InputError for a key that is not there.
    """
    sen, config, trained = load_generator_sen()
    if not trained:
        with FixedReader("data/embeddings.h5", "embeddings") as file:
            return file.values([file.index(key) for key in keys])
    sen.to(device)
    with open_captions(config) as captions:
        rows = [captions.index(key) for key in keys]
        blocks = [embed_speech(sen, captions.values(rows[i : i + BLOCK])) for i in range(0, len(rows), BLOCK)]
    return np.concatenate(blocks or [np.empty((0, sen.speech.embedding_dim), np.float32)])
