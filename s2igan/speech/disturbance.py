"""Speech made harder to understand: noise of a known level, another speaking rate."""

# T samples, F frames, M features of a frame, K frequencies of the Fourier transform

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.fft import next_fast_len
from scipy.ndimage import uniform_filter1d
from torchaudio.functional import phase_vocoder

from s2igan.errors import InputError
from s2igan.parallel import ordered_map
from s2igan.speech.audio import is_silent
from s2igan.speech.encoders import open_front_end
from s2igan.speech.extraction import samples_of

NOISES = ("white", "speech")
SNR_RANGE = (-40.0, 100.0)  # dB
RATE_RANGE = (0.25, 4.0)

SPECTRUM_BANDS = 64  # resolution of the speech-shaped noise: 172 Hz at 22,050 Hz, wider than a voice's harmonics
# Of the phase vocoder. 23 ms at 22,050 Hz, no longer than the log-mel's window: a longer one blurs what that resolves.
WINDOW = 512
SHIFT = WINDOW // 4


@dataclass(frozen=True)
class Disturbance:
    """What is done to an utterance: its speaking rate changed, then noise added; None adds none.

    Calling it disturbs samples (T,), float32. Raises InputError as `change_rate` and `add_noise` do.
    """

    name: str
    snr_db: float | None = None
    noise: str = "white"
    rate: float = 1.0

    def __call__(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        samples = change_rate(samples, self.rate)
        return samples if self.snr_db is None else add_noise(samples, self.snr_db, rng, self.noise)


CLEAN = Disturbance("clean")


def add_noise(samples: np.ndarray, snr_db: float, rng: np.random.Generator, kind: str = "white") -> np.ndarray:
    """The samples with stationary noise of exactly `snr_db` over the whole utterance, pauses included.

    SNR = 10 log10(P_speech / P_noise), each P the mean square about the mean over all T samples. The noise
    has mean 0; one state of `rng` gives the same noise at every SNR, louder or softer. Nothing is clipped.

    - "white": normal, independent samples.
    - "speech": speech-shaped, the utterance's own long-term average spectrum with random phases, so that no
      frequency is masked much more than another. The spectrum is the square root of the power |X|^2 of the
      utterance's Fourier transform, averaged over a 64th of the frequency range about each frequency.

    samples: (T,) float -> (T,) float32. Raises InputError for silence.
    """
    samples = _audible(samples)
    speech = samples - samples.mean()
    noise = rng.standard_normal(len(speech)) if kind == "white" else _speech_shaped(speech, rng)
    noise -= noise.mean()
    power = np.mean(speech**2) / 10 ** (snr_db / 10)
    return (samples + noise * np.sqrt(power / np.mean(noise**2))).astype(np.float32)


def change_rate(samples: np.ndarray, factor: float) -> np.ndarray:
    """The samples spoken `factor` times as fast at the same pitch: T samples become round(T / factor), at least 1.

    Time-scale modification by the phase vocoder (Flanagan and Golden 1966; torchaudio's), Hann windows of
    512 samples each 128. What was at t seconds is at t / factor, to half a window; sounds shorter than a
    window blur. A factor of 1 changes nothing.

    samples: (T,) float -> float32. Raises InputError for silence.
    """
    speech = _audible(samples)
    if factor == 1:
        return speech.astype(np.float32)
    length = max(1, round(len(speech) / factor))
    window = torch.hann_window(WINDOW, dtype=torch.float64)
    # Zeros behind, since the vocoder has no frame to go on to from the last one.
    padded = torch.from_numpy(np.pad(speech, (0, 2 * WINDOW)))
    frames = torch.stft(padded, WINDOW, SHIFT, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, np.pi * SHIFT, WINDOW // 2 + 1, dtype=torch.float64)[:, None]  # (K, 1) a shift
    stretched = phase_vocoder(frames, factor, advance)
    return torch.istft(stretched, WINDOW, SHIFT, window=window, length=length).float().numpy()


def disturbed_frames(
    utterances: Iterable[tuple[str, np.ndarray, Sequence[Disturbance]]],
    config: Mapping[str, Any],
    shortest: int,
    seed: int,
    workers: int,
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """(key, encoded speech as uint8, disturbances) -> (key, what SEN takes (F, M) by disturbance), in order.

    Frames are float16, as the stages store them. Noise depends on `seed` and the key alone, and is the same at each
    SNR. `config` is SEN's, with the settings of what it hears. An utterance that cannot take each of its disturbances,
    or is left with fewer than `shortest` frames by one, comes with none at all.
    Raises InputError with the key of an utterance that cannot be decoded, or of another sample rate.
    """
    disturb = partial(_disturb, config=dict(config), shortest=shortest, seed=seed)
    # A frozen speech encoder is large, and has the device: it hears in this process.
    yield from ordered_map(disturb, utterances, 1 if "speech_features" in config else workers, 16)


def _disturb(
    utterance: tuple[str, np.ndarray, Sequence[Disturbance]], config: dict, shortest: int, seed: int
) -> tuple[str, dict[str, np.ndarray]]:
    key, encoded, disturbances = utterance
    extract = open_front_end(config)
    samples = samples_of(key, encoded, extract.sample_rate)
    frames = {}
    for disturbance in disturbances:
        try:
            found = extract(disturbance(samples, _rng(key, seed)))
        except InputError:
            return key, {}
        if len(found) < shortest:
            return key, {}
        frames[disturbance.name] = found.astype(np.float16)
    return key, frames


def _rng(key: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/disturbance/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _audible(samples: np.ndarray) -> np.ndarray:
    """The samples as float64; InputError where there is nothing to hear."""
    samples = samples.astype(np.float64)
    if not len(samples) or is_silent(samples):
        raise InputError("silent; record the utterance again or leave it out")
    return samples


def _speech_shaped(speech: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = next_fast_len(len(speech), real=True)
    spectrum = np.abs(np.fft.rfft(speech, length)) ** 2  # (K,)
    width = max(1, round(len(spectrum) / SPECTRUM_BANDS))
    magnitude = np.sqrt(np.maximum(uniform_filter1d(spectrum, width, mode="nearest"), 0))
    phase = rng.uniform(0, 2 * np.pi, len(spectrum))
    return np.fft.irfft(magnitude * np.exp(1j * phase), length)[: len(speech)]
