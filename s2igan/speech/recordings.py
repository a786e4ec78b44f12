"""Recordings by people: judged before anything depends on them, then brought to the one form of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from s2igan.errors import InputError
from s2igan.parallel import ordered_map
from s2igan.speech.audio import encode_flac, load_recording

RECORDINGS = "recordings"  # the engine of speech that no engine made
SAMPLE_RATE = 22050  # Hz, where no engine brings one
CHUNK = 16  # recordings that a worker takes at a time


def faults(
    recordings: Iterable[Path], min_sample_rate: int, max_clipped: float, min_seconds: float, workers: int
) -> Iterator[str]:
    """What is wrong with each recording, in one line that names it and what to do; "" where nothing is.

    `min_sample_rate` in Hz, `max_clipped` a share of the samples, `min_seconds` in seconds; see `load_recording`.
    """
    limits = {"min_sample_rate": min_sample_rate, "max_clipped": max_clipped, "min_seconds": min_seconds}
    yield from ordered_map(partial(_fault, limits=limits), recordings, workers, CHUNK)


def _fault(path: Path, limits: dict) -> str:
    try:
        load_recording(path, 0, **limits)
    except InputError as error:
        return str(error)
    return ""


def transcode(
    recordings: Iterable[tuple[str, Path]], sample_rate: int, workers: int
) -> Iterator[tuple[str, bytes, float]]:
    """(key, file) -> (key, 16-bit FLAC at `sample_rate` Hz, seconds), in order.

    Raises InputError for a recording that is no sound.
    """
    yield from ordered_map(partial(_transcode, sample_rate=sample_rate), recordings, workers, CHUNK)


def _transcode(recording: tuple[str, Path], sample_rate: int) -> tuple[str, bytes, float]:
    key, path = recording
    samples = load_recording(path, sample_rate)
    return key, encode_flac(samples, sample_rate), len(samples) / sample_rate
