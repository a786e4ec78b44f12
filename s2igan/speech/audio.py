"""Sound in and out of bytes and files: FLAC for the store, WAV for people, any recording in."""

import errno
import io
import math
import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from s2igan.errors import InputError
from s2igan.files import write_bytes

SILENT_PEAK = 1e-4  # of full scale, -80 dB
MAX_SECONDS = 300  # of a description; an hour takes gigabytes
SAMPLE_RATES = (1_000, 768_000)  # Hz; another is a damaged header
WHOLE = 0.99  # share of what a header promises that must be there
CANCELLED = 0.1  # deviation of the channels' mean, as a share of the loudest channel's: below, they cancel out
UNKNOWN_LENGTH = 0x7FFFF000  # bytes, or more, that a WAV promises which was written to a pipe
PRIMING = 4096  # samples that an encoder may put before the sound, and a header count with it
# What phones and browsers record, told by a file's first bytes. FFmpeg guesses none: others of its formats are lists of
# files, or of addresses, that it would open.
CONTAINERS = (
    (re.compile(rb"....ftyp", re.DOTALL), "mov"),  # m4a, 3gp, mp4
    (re.compile(rb"\x1aE\xdf\xa3"), "matroska"),  # WebM
    (re.compile(rb"#!AMR"), "amr"),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), "aac"),
)


def encode_flac(samples: np.ndarray, sample_rate: int) -> bytes:
    """16-bit FLAC of mono samples, shape (T,), lossless for int16; equal samples, equal bytes.

    Floating-point samples are taken to be in [-1, 1] and clipped to it.
    """
    return _encode(samples, sample_rate, "FLAC")


def write_wav(path: Path | str, samples: np.ndarray, sample_rate: int) -> None:
    """A 16-bit mono WAV file of samples, shape (T,), int16 or floating point in [-1, 1]; whole or not at all."""
    write_bytes(path, _encode(samples, sample_rate, "WAV"))


def decode(source: bytes | Path | str, name: str = "audio", max_seconds: int = MAX_SECONDS) -> tuple[np.ndarray, int]:
    """Samples as float32 in [-1, 1], shape (T,), and their rate in Hz; channels are averaged.

    Of channels whose mean vanishes, as where one is the other inverted, the loudest is taken.
    `source` is the content of an audio file, called `name` in messages, or the path of one: WAV, FLAC, Ogg, MP3 and
    what else libsndfile reads, or one of CONTAINERS, which FFmpeg reads.
    InputError when the file is missing, is no such audio, ends before what its header promises, is longer than
    `max_seconds`, or has a rate that no sound card has.
    """
    if not isinstance(source, bytes):
        name = str(source)
    with io.BytesIO(source) if isinstance(source, bytes) else _open(source) as file:
        if not file.seek(0, os.SEEK_END):
            raise InputError(f"{name}: empty file; record it again")
        file.seek(0)
        start = file.read(8)
        file.seek(0)
        container = next((kind for pattern, kind in CONTAINERS if pattern.match(start)), None)
        try:
            samples, rate, cut_off = _by_ffmpeg(file, container, max_seconds) if container else _read(file, max_seconds)
        except (_UnreadableError, soundfile.LibsndfileError) as error:
            why = getattr(error, "error_string", str(error)).rstrip(". ")
            raise InputError(f"{name}: not readable as audio ({why}); convert it to WAV or FLAC") from None
    if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
        raise InputError(f"{name}: a sample rate of {rate} Hz; save it again at 16000 to 48000 Hz")
    if len(samples) > max_seconds * rate:
        raise InputError(f"{name}: longer than {max_seconds} s; cut out the description")
    if cut_off:
        raise InputError(f"{name}: cut off, its header promises more; copy or download it again")
    return mix_down(samples), rate


class _UnreadableError(Exception):
    """What FFmpeg says of a file that it cannot read."""


def _read(file: BinaryIO, max_seconds: int) -> tuple[np.ndarray, int, bool]:
    """Samples (T, channels), a little more than `max_seconds` at most, their rate, and whether more was promised."""
    with soundfile.SoundFile(file) as sound:
        samples = sound.read(max_seconds * sound.samplerate + 1, dtype="float32", always_2d=True)
        too_long = len(samples) > max_seconds * sound.samplerate
        return samples, sound.samplerate, not too_long and _is_cut_off(file, sound, len(samples))


def _by_ffmpeg(file: BinaryIO, container: str, max_seconds: int) -> tuple[np.ndarray, int, bool]:
    """The same of the first sound in one of CONTAINERS."""
    try:
        import av
    except ImportError:
        raise _UnreadableError("what phones record needs PyAV, python -m pip install av") from None
    blocks, count, rate = [], 0, 0
    try:
        with av.open(file, "r", format=container) as opened:
            if not opened.streams.audio:
                raise _UnreadableError("no sound in it")
            stream, as_float = opened.streams.audio[0], av.AudioResampler(format="flt")
            for frame in (frame for coded in opened.decode(stream) for frame in as_float.resample(coded)):
                # In one plane: of eight or more, PyAV 18 reads what is no plane, and the process ends.
                blocks.append(frame.to_ndarray().reshape(-1, frame.layout.nb_channels))
                count, rate = count + frame.samples, frame.sample_rate
                if count > max_seconds * rate:
                    break
            promised = float(stream.duration * stream.time_base) if stream.duration else (opened.duration or 0) / 1e6
    except (av.FFmpegError, ValueError) as error:
        raise _UnreadableError(getattr(error, "strerror", None) or str(error)) from None
    if not blocks:
        raise _UnreadableError("no sound in it")
    return np.concatenate(blocks), rate, count <= max_seconds * rate and count < WHOLE * promised * rate - PRIMING


def mix_down(samples: np.ndarray) -> np.ndarray:
    """Samples (T, channels), float32 -> (T,): the channels' mean, or the loudest one where that vanishes."""
    mono = samples.mean(axis=1, dtype=np.float32)
    if samples.shape[1] > 1 and len(samples):
        with np.errstate(invalid="ignore"):  # of samples that are infinite
            loudness = samples.std(axis=0)
            if mono.std() < CANCELLED * loudness.max():
                return samples[:, loudness.argmax()]
    return mono


def is_silent(samples: np.ndarray) -> bool:
    """Whether samples (T,) say nothing, about their mean, since a constant offset is not heard either."""
    return bool(np.abs(samples - samples.mean()).max() < SILENT_PEAK)


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples (T,) at `rate` Hz -> float32 at `wanted` Hz, int16 divided by 32768; as they are where both are equal."""
    if rate == wanted:
        return samples
    if samples.dtype == np.int16:
        samples = samples / np.float32(32768)
    # SciPy, and only here: torch takes seconds and half a gigabyte in each process that reads recordings.
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return resample_poly(samples, wanted // common, rate // common).astype(np.float32)


def _open(path: Path | str) -> BinaryIO:
    """The file, or what came through the pipe: libsndfile goes back and forth."""
    try:
        file = open(path, "rb")
    except OSError as error:
        found = {errno.ENOENT: "missing", errno.EISDIR: "a folder"}.get(error.errno, error.strerror)
        raise InputError(f"{path}: {found}; give the path of a recording") from None
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def _is_cut_off(file: BinaryIO, sound: soundfile.SoundFile, samples: int) -> bool:
    """Whether clearly less than `file` promises came out of it, `samples` a channel."""
    if sound.format == "OGG":  # in pages, each with a header that says how long it is
        file.seek(-min(file.seek(0, os.SEEK_END), 1 << 17), os.SEEK_END)  # a page has 64 KiB at most
        tail = file.read()
        page = tail[tail.rfind(b"OggS") :]
        return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
    if samples < WHOLE * sound.frames:
        file.seek(0)  # of an MP3 without this tag, libsndfile guesses how long it is
        return sound.format != "MP3" or bool(re.search(rb"(Xing|Info)\0\0\0[\x01-\x0f]", file.read()))
    # Of a WAV or AIFF, libsndfile takes what there is and notes the difference in its log.
    sizes = re.search(r"(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", sound.extra_info)
    return bool(sizes) and int(sizes[2]) < WHOLE * int(sizes[1]) and int(sizes[1]) < UNKNOWN_LENGTH


def load_recording(path: Path | str, sample_rate: int, max_seconds: int = MAX_SECONDS) -> np.ndarray:
    """A recording as float32 mono at `sample_rate` Hz, shape (T,), whatever it came in; see `read_recording`."""
    samples, rate = read_recording(path, max_seconds=max_seconds)
    return resample(samples, rate, sample_rate)


def read_recording(
    path: Path | str,
    min_sample_rate: int = 0,
    max_clipped: float = 1.0,
    min_seconds: float = 0.0,
    max_seconds: int = MAX_SECONDS,
) -> tuple[np.ndarray, int]:
    """A recording as float32 mono, shape (T,), and the rate in Hz that it was recorded at.

    InputError when it is missing, no audio, of zero length, not finite, or silent; when it is shorter than
    `min_seconds` seconds or longer than `max_seconds`; when it was recorded at less than `min_sample_rate` Hz; and when
    more than the share `max_clipped` of its samples stands at the loudest level that occurs in it (`clipped_share`).
    """
    samples, recorded_rate = decode(path, max_seconds=max_seconds)
    if len(samples) == 0:
        raise InputError(f"{path}: no samples; record it again")
    if not np.isfinite(samples).all():
        raise InputError(f"{path}: samples that are NaN or infinite; export it again as 16-bit WAV")
    if is_silent(samples):
        raise InputError(f"{path}: silent; check the microphone and record it again")
    if len(samples) < min_seconds * recorded_rate:
        seconds = math.floor(100 * len(samples) / recorded_rate) / 100  # never rounded up to what is needed
        raise InputError(
            f"{path}: {seconds:.2f} s; speech needs {min_seconds:g} s or more: record it again or "
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
    return samples, recorded_rate


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
