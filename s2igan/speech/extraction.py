"""Stored speech to log-mels, over all cores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from s2igan.errors import InputError
from s2igan.parallel import ordered_map
from s2igan.speech.audio import decode
from s2igan.speech.log_mel import LogMel

_log_mel: LogMel  # of a worker process


def log_mels(
    utterances: Iterable[tuple[str, np.ndarray]], settings: Mapping[str, Any], workers: int
) -> Iterator[tuple[str, np.ndarray]]:
    """(key, encoded speech as uint8) -> (key, log-mel float32 (frames, bands)), in order.

    `settings` are LogMel's arguments; speech at another sample rate is refused.
    Raises InputError with the key of an utterance that cannot be decoded or is too short.
    """
    yield from ordered_map(_log_mel_of, utterances, workers, 64, _start_worker, (dict(settings),))


def _start_worker(settings: dict) -> None:
    global _log_mel
    torch.set_num_threads(1)
    _log_mel = LogMel(**settings)


def _log_mel_of(utterance: tuple[str, np.ndarray]) -> tuple[str, np.ndarray]:
    key, encoded = utterance
    samples, rate = decode(encoded.tobytes(), key)
    if rate != _log_mel.sample_rate:
        raise InputError(f"{key}: {rate} Hz; expected {_log_mel.sample_rate} Hz: make data/speech.h5 anew")
    try:
        return key, _log_mel(samples)
    except InputError as error:
        raise InputError(f"{key}: {error}") from error
