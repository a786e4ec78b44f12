"""Log-mel spectrograms, what the speech encoder hears."""

import warnings
from typing import Literal

import numpy as np
import torch
from torchaudio.transforms import MelSpectrogram

from s2igan.errors import InputError

FLOOR = 1e-6  # of mel power, whose logarithm is taken
CONSTANT_BAND = 1e-3  # standard deviation of log-mels under which a band counts as constant

# T samples, F frames, M mel bands
_WINDOWS = {"hamming": torch.hamming_window, "hann": torch.hann_window}


class LogMel:
    """Mono samples at `sample_rate`, float in [-1, 1], (T,) -> float32 log-mels, (F, M).

    - Window: `window_ms`, rounded up to an even number W of samples (552 for 25 ms at
      22,050 Hz), periodic Hamming or Hann. The Fourier transform has the same length, so no zeros
      are padded.
    - Shift: `shift_ms`, rounded down to H samples (220 for 10 ms at 22,050 Hz).
    - Frames lie within the samples, with no padding at either end: F = 1 + (T - W) // H.
    - Power spectrum |X|^2 of the windowed frame, not scaled.
    - `bands` triangular filters on Slaney's mel scale (linear below 1 kHz, logarithmic above),
      up to half the sample rate, each of unit area in Hz (Slaney's normalisation): the filter bank
      that librosa has by default.
    - Natural logarithm of (mel power + FLOOR).
    - `normalise`: each band of each utterance to mean 0 and variance 1 over its frames
      (population variance); a band that does not vary becomes 0.

    The paper (section 2.2) has 40 bands, 25 ms Hamming windows and a shift of 10 ms; floor and
    normalisation are those of its published code, which has Hann windows.
    InputError when a filter would contain no frequency of the transform, or when an utterance is
    shorter than a window.
    """

    def __init__(
        self,
        sample_rate: int = 22050,
        bands: int = 40,
        window_ms: float = 25.0,
        shift_ms: float = 10.0,
        window: Literal["hamming", "hann"] = "hamming",
        normalise: bool = True,
    ):
        self.window_length = 2 * int(np.ceil(sample_rate * window_ms / 2000))
        self.shift_length = int(sample_rate * shift_ms / 1000)
        self.sample_rate = sample_rate
        self.bands = bands
        self.normalise = normalise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of empty filters, refused below
            self._mel = MelSpectrogram(
                sample_rate,
                n_fft=self.window_length,
                hop_length=self.shift_length,
                n_mels=bands,
                window_fn=_WINDOWS[window],
                power=2.0,
                center=False,
                mel_scale="slaney",
                norm="slaney",
            )
        if not (self._mel.mel_scale.fb.amax(dim=0) > 0).all():
            raise InputError(
                f"bands {bands}: some contain no frequency of windows of {window_ms} ms; "
                "take fewer bands or longer windows"
            )

    def samples(self, frames: int) -> int:
        """The fewest samples that make so many frames, one or more."""
        return self.window_length + (frames - 1) * self.shift_length

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        return self.with_levels(samples)[0]

    @torch.inference_mode()
    def with_levels(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The log-mels, and the mean and the deviation of each band before it was normalised, (2, M); 0 and 1 if not.

        Log-mels times the deviation, plus the mean, are those that were not normalised.
        """
        if len(samples) < self.window_length:
            raise InputError(
                f"{len(samples)} samples are shorter than a window of {self.window_length}; record a longer utterance"
            )
        waveform = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        log_mel = (self._mel(waveform) + FLOOR).log()  # (M, F)
        levels = torch.tensor([[0.0], [1.0]]).repeat(1, self.bands)
        if self.normalise:
            log_mel, levels = standardise(log_mel)
        return log_mel.T.contiguous().numpy(), levels.numpy()  # (F, M)


def standardise(log_mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bands (M, F) to mean 0 and variance 1 over their frames, or to 0 where they do not vary.

    Returns them, and the means and deviations that they had, (2, M).
    """
    variance, mean = torch.var_mean(log_mel, dim=1, correction=0, keepdim=True)
    deviation = variance.sqrt()
    log_mel = (log_mel - mean) / deviation.clamp_min(CONSTANT_BAND)
    return log_mel.where(deviation > CONSTANT_BAND, 0.0), torch.cat([mean, deviation], dim=1).T


def frequency_of_band(band: np.ndarray, bands: int, sample_rate: int) -> np.ndarray:
    """The centre in Hz of filters, by their numbers from 0, whole or not."""
    mel = (np.asarray(band) + 1) * _mel(np.array(sample_rate / 2)) / (bands + 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def band_of_frequency(hertz: np.ndarray, bands: int, sample_rate: int) -> np.ndarray:
    """The number, from 0 and seldom whole, of the filter whose centre is at so many Hz."""
    return _mel(hertz) * (bands + 1) / _mel(np.array(sample_rate / 2)) - 1


def _mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's mel scale."""
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))
