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

    def frames(self, samples: int) -> int:
        """How many frames this many samples make; 0 when they are fewer than a window."""
        if samples < self.window_length:
            return 0
        return 1 + (samples - self.window_length) // self.shift_length

    def samples(self, frames: int) -> int:
        """The fewest samples that make so many frames, one or more."""
        return self.window_length + (frames - 1) * self.shift_length

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray) -> np.ndarray:
        if len(samples) < self.window_length:
            raise InputError(
                f"{len(samples)} samples are shorter than a window of {self.window_length}; record a longer utterance"
            )
        waveform = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        log_mel = (self._mel(waveform) + FLOOR).log()  # (M, F)
        if self.normalise:
            variance, mean = torch.var_mean(log_mel, dim=1, correction=0, keepdim=True)
            deviation = variance.sqrt()
            log_mel = (log_mel - mean) / deviation.clamp_min(CONSTANT_BAND)
            log_mel = log_mel.where(deviation > CONSTANT_BAND, 0.0)
        return log_mel.T.contiguous().numpy()  # (F, M)
