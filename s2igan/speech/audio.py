"""Sound in and out of bytes and files: FLAC for the store, WAV for people, any recording in."""

import io
import math
from pathlib import Path

import numpy as np
import soundfile

from s2igan.errors import InputError
from s2igan.files import write_bytes

SILENT_PEAK = 1e-4  # of full scale, -80 dB


def encode_flac(samples: np.ndarray, sample_rate: int) -> bytes:
    """16-bit FLAC of mono samples, shape (T,), lossless for int16; equal samples, equal bytes.

    Floating-point samples are taken to be in [-1, 1] and clipped to it.
    """
    return _encode(samples, sample_rate, "FLAC")


def write_wav(path: Path | str, samples: np.ndarray, sample_rate: int) -> None:
    """A 16-bit mono WAV file of samples, shape (T,), int16 or floating point in [-1, 1]; whole or not at all."""
    write_bytes(path, _encode(samples, sample_rate, "WAV"))


def decode(source: bytes | Path | str, name: str = "audio") -> tuple[np.ndarray, int]:
    """Samples as float32 in [-1, 1], shape (T,), and their rate in Hz; channels are averaged.

    `source` is the content of an audio file, called `name` in messages, or the path of one.
    InputError when the file is missing or is no audio that libsndfile reads (WAV, FLAC, Ogg, MP3).
    """
    if not isinstance(source, bytes):
        name = str(source)
        if not Path(source).is_file():
            found = "a folder" if Path(source).is_dir() else "missing"
            raise InputError(f"{name}: {found}; give the path of a recording")
        source = Path(source).read_bytes()
    if not source:
        raise InputError(f"{name}: empty file; record it again")
    try:
        samples, sample_rate = soundfile.read(io.BytesIO(source), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{name}: not readable as audio ({error.error_string.rstrip('. ')}); convert it to WAV or FLAC"
        ) from None
    return samples.mean(axis=1, dtype=np.float32), sample_rate  # (T, channels) -> (T,)


def load_recording(
    path: Path | str,
    sample_rate: int,
    min_sample_rate: int = 0,
    max_clipped: float = 1.0,
    min_seconds: float = 0.0,
) -> np.ndarray:
    """A recording as float32 mono at `sample_rate` Hz (0: its own), shape (T,), whatever it came in.

    InputError when it is missing, no audio, of zero length, not finite, or silent; when it is shorter than
    `min_seconds` seconds; when it was recorded at less than `min_sample_rate` Hz; and when more than the share
    `max_clipped` of its samples stands at the loudest level that occurs in it (`clipped_share`).
    """
    samples, recorded_rate = decode(path)
    if len(samples) == 0:
        raise InputError(f"{path}: no samples; record it again")
    if not np.isfinite(samples).all():
        raise InputError(f"{path}: samples that are NaN or infinite; export it again as 16-bit WAV")
    # About the mean, since a constant offset is not heard either.
    if np.abs(samples - samples.mean()).max() < SILENT_PEAK:
        raise InputError(f"{path}: silent; check the microphone and record it again")
    if len(samples) < min_seconds * recorded_rate:
        raise InputError(
            f"{path}: {len(samples) / recorded_rate:.2f} s; speech needs {min_seconds:g} s or more: record it again or "
            "lower catalog.min_seconds"
        )
    if recorded_rate < min_sample_rate:
        raise InputError(
            f"{path}: {recorded_rate} Hz; speech needs {min_sample_rate} Hz or more: record it again, or lower "
            "catalog.min_sample_rate"
        )
    if (clipped := clipped_share(samples)) > max_clipped:
        raise InputError(
            f"{path}: clipped, {clipped:.1%} of its samples stand at the limit; record it again at a lower level, "
            "or raise catalog.max_clipped"
        )
    if not sample_rate or recorded_rate == sample_rate:
        return samples
    # SciPy, and only here: torch takes seconds and half a gigabyte in each process that reads recordings.
    from scipy.signal import resample_poly

    common = math.gcd(sample_rate, recorded_rate)
    return resample_poly(samples, sample_rate // common, recorded_rate // common).astype(np.float32)


def clipped_share(samples: np.ndarray) -> float:
    """The share of samples (T,) that stand, three or more in a row, within 0.1 % of the loudest of either sign.

    One loud sample is a peak, a plateau of them is a limit that was hit: at full scale, or lower where the
    level was turned down afterwards.
    """
    flat = 0
    for signed in (samples, -samples):
        if signed.max() <= 0:
            continue  # it never swings to this side
        at_limit = np.concatenate([[False], signed >= 0.999 * signed.max(), [False]])
        edges = np.flatnonzero(at_limit[1:] != at_limit[:-1])
        runs = edges[1::2] - edges[::2]
        flat += int(runs[runs >= 3].sum())
    return flat / len(samples)


def _encode(samples: np.ndarray, sample_rate: int, file_format: str) -> bytes:
    if samples.ndim != 1:
        raise ValueError(f"mono samples (T,) wanted, found shape {samples.shape}")
    if samples.dtype != np.int16:
        if not np.isfinite(samples).all():
            raise ValueError("samples must be finite")
        scaled = np.round(samples.astype(np.float64) * 32768)  # the inverse of decode
        samples = np.clip(scaled, -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, subtype="PCM_16", format=file_format)
    return file.getvalue()
