"""Captions as a speech encoder takes them; captions and images as points of the space that SEN made."""

# N captions or images, D speech embedding size

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from s2igan.catalog import read_catalog
from s2igan.sen.model import SEN, embed_speech, is_text_encoder, load_sen
from s2igan.sen.text_encoder import TextReader
from s2igan.store import FixedReader, RaggedReader

GENERATOR_SEN = "models/rdg_sen"  # the SEN that the generator was trained with
BLOCK = 2048  # captions, or features of images, in memory at a time


def open_captions(config: dict) -> RaggedReader | TextReader:
    """What the encoder of SEN's `config` takes of every caption, for `with`: log-mels, or text as one-hot rows.

    Raises InputError where the file is missing, or a caption has no text that can be read.
    """
    if is_text_encoder(config):
        return TextReader((caption.key, caption.text) for caption in read_catalog("data/catalog").captions)
    return RaggedReader("data/logmel.h5", "logmel")


def caption_embeddings(keys: Sequence[str], device: torch.device) -> np.ndarray:
    """Speech embeddings (N, D) of captions by the generator's SEN: what every stage after train_rdg hears.

    Raises InputError for a key that is not there.
    """
    sen, config = load_sen(GENERATOR_SEN)
    sen.to(device)
    with open_captions(config) as captions:
        rows = [captions.index(key) for key in keys]
        blocks = [embed_speech(sen, captions.values(rows[i : i + BLOCK])) for i in range(0, len(rows), BLOCK)]
    return np.concatenate([np.empty((0, sen.speech.embedding_dim), np.float32), *blocks])


def image_embeddings(sen: SEN, keys: Sequence[str], device: torch.device) -> np.ndarray:
    """Embeddings (N, D) of images by their centre views; moves `sen` to `device`.

    Raises InputError for a key that is not there.
    """
    sen.to(device)
    with FixedReader("data/image_features.h5", "image_features") as features:
        rows = [features.index(key) for key in keys]
        blocks = [project(sen, features.values(rows[i : i + BLOCK])[:, 0]) for i in range(0, len(rows), BLOCK)]
    return np.concatenate([np.empty((0, sen.speech.embedding_dim), np.float32), *blocks])


@torch.inference_mode()
def project(sen: SEN, features: np.ndarray) -> np.ndarray:
    """Frozen image features (N, F) -> embeddings (N, D), of length 1."""
    device = next(sen.parameters()).device
    return F.normalize(sen.image(torch.from_numpy(features).float().to(device)), dim=1).cpu().numpy()
