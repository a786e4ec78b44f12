"""Stored speech to log-mels, over all cores."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np

from s2igan.errors import InputError
from s2igan.parallel import ordered_map
from s2igan.speech.audio import decode
from s2igan.speech.log_mel import LogMel

CHUNK = 64  # utterances that a process takes at a time
log_mel_of = lru_cache(maxsize=1)(LogMel)  # built once a process


def log_mels(
    utterances: Iterable[tuple[str, np.ndarray]], settings: Mapping[str, Any], workers: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(key, encoded speech as uint8) -> (key, log-mel float32 (frames, bands), its levels (2, bands)), in order.

    `settings` are LogMel's arguments; speech at another sample rate is refused.
    Raises InputError with the key of an utterance that cannot be decoded or is too short.
    """
    yield from ordered_map(partial(_extract, settings=dict(settings)), utterances, workers, CHUNK)


def samples_of(key: str, encoded: np.ndarray, sample_rate: int) -> np.ndarray:
    """Samples (T,) of encoded speech. Raises InputError with the key at another rate, or what cannot be decoded."""
    samples, rate = decode(encoded.tobytes(), key)
    if rate != sample_rate:
        raise InputError(f"{key}: {rate} Hz; expected {sample_rate} Hz: make data/speech.h5 anew")
    return samples


def _extract(utterance: tuple[str, np.ndarray], settings: dict) -> tuple[str, np.ndarray, np.ndarray]:
    key, encoded = utterance
    log_mel = log_mel_of(**settings)
    samples = samples_of(key, encoded, log_mel.sample_rate)
    try:
        return key, *log_mel.with_levels(samples)
    except InputError as error:
        raise InputError(f"{key}: {error}") from error
