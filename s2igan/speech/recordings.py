"""Recordings by people: judged before anything depends on them, then brought to the one form of the store."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from s2igan.errors import InputError
from s2igan.options import integer, number
from s2igan.parallel import ordered_map
from s2igan.speech.audio import encode_flac, load_recording, read_recording

RECORDINGS = "recordings"  # the engine of speech that no engine made
SAMPLE_RATE = 22050  # Hz, where no engine brings one
LOW_RATE = 16000  # Hz; below it consonants are lost, but many corpora are of telephones
CHUNK = 16  # recordings that a worker takes at a time


@dataclass(frozen=True)
class RecordingLimits:
    """What a recording must be to be used; see `read_recording`."""

    min_sample_rate: int = integer(0, help="Hz of a recording", default=8000)
    max_clipped: float = number(0, 1, help="share of a recording's samples", default=0.01)
    min_seconds: float = number(0, help="seconds of a recording", default=0.25)


def judged(recordings: Iterable[Path], limits: RecordingLimits, workers: int) -> Iterator[tuple[str, int]]:
    """What is wrong with each recording, in one line that names it and what to do, and its sample rate in Hz.

    "" where nothing is wrong, and a rate of 0 where something is.
    """
    yield from ordered_map(partial(_judge, limits=asdict(limits)), recordings, workers, CHUNK)


def _judge(path: Path, limits: dict) -> tuple[str, int]:
    try:
        return "", read_recording(path, **limits)[1]
    except InputError as error:
        return str(error), 0
    except OSError as error:
        return f"{path}: {error.strerror}; check the file and its permissions", 0


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
