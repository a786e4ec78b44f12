"""Speech as more people, microphones and rooms would have it: what SEN hears is changed anew in each step of training.

Training reads frames, not waveforms, so all is done to frames in memory. Other speech in the background and a room add
to power, which log-mels are the logarithm of: exact but for the phases of sounds that meet in one frame. Features of a
frozen encoder know no power and no pitch: noise, rooms and other voices must be in the waveform that the encoder hears,
once and for all. Masks and speed alone are for them too, and speed is near to what the encoder would make of it.
"""

# t frames, M mel bands, L layers of a frozen encoder, C features of a layer

from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import lfilter

from s2igan.options import integer, number
from s2igan.speech.log_mel import FLOOR, band_of_frequency, frequency_of_band, standardise
from s2igan.store import RaggedReader

FORMANTS = 4800.0  # Hz, up to which a vocal tract's length moves the spectrum (Jaitly and Hinton 2013)
SNR_SPAN = 20.0  # dB from the lowest signal-to-noise ratio to the highest


@dataclass(frozen=True)
class Augmentation:
    """What is done to each caption of a batch, by numbers drawn evenly up to these; the defaults do nothing."""

    time_masks: int = integer(0, help="stretches of a caption without what was said", default=0)
    time_mask: float = number(0, 1, help="the longest, as a share of the caption", default=0.1)
    band_masks: int = integer(0, help="ranges of mel bands, or of features, without it", default=0)
    band_mask: float = number(0, 1, help="the widest, as a share of the bands", default=0.2)
    speed: float = number(0, 0.5, help="0.1: from a tenth slower to a tenth faster", default=0.0)
    vtlp: float = number(0, 0.5, help="0.1: frequencies times 0.9 to 1.1, as of other vocal tracts", default=0.0)
    noise: float = number(0, 1, help="share of captions with another one behind them", default=0.0)
    noise_snr_db: float = number(-40, 100, help="the least; at most 20 more", default=5.0)
    reverberation: float = number(0, 10, help="longest time, in seconds, until a room is 60 dB quieter", default=0.0)

    @property
    def of_power(self) -> bool:
        """Whether it does what log-mels alone can have done to them."""
        return bool(self.vtlp or self.noise or self.reverberation)

    def __bool__(self) -> bool:
        return bool(self.time_masks or self.band_masks or self.speed or self.of_power)


OFF = Augmentation()


class Augmenter:
    """Utterances of `captions`, log-mels or frozen features, as `augmentation` changes them.

    They keep `min_frames` or more, where they had them. In order: speed, vocal tract, another caption of the same
    batch behind them, room, masks. Log-mels that were normalised are normalised again before the masks, which have the
    mean over the utterance (SpecAugment, Park et al. 2019, whose time warping `speed` stands for).
    """

    def __init__(self, augmentation: Augmentation, captions: RaggedReader, min_frames: int):
        self._augmentation, self._min_frames = augmentation, min_frames
        self._layers = len(captions.attributes.get("speech_features", {}).get("layers", [0]))
        if augmentation.of_power:
            self._levels = captions.column("levels")  # (2, M) each
            self._log_mel = captions.attributes["log_mel"]

    def __call__(self, utterances: list[np.ndarray], rows: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """A batch, (t, M) each in `rows` of the captions -> float32 (t', M) each."""
        found, changes = [], self._augmentation
        for i, utterance in enumerate(utterances):
            x = utterance.astype(np.float32)
            if changes.speed:
                x = change_speed(x, _about_1(changes.speed, rng), self._min_frames)
            if changes.of_power:
                other = (i + rng.integers(1, max(2, len(rows)))) % len(rows)
                noise = self._power(utterances[other].astype(np.float32), rows[other])
                x = self._heard_elsewhere(self._power(x, rows[i]), noise, rng)
            layers = x.reshape(len(x), self._layers, -1).copy()  # (t, L, C)
            fill = layers.mean(axis=0)
            for start, stop in _stretches(len(layers), changes.time_masks, changes.time_mask, rng):
                layers[start:stop] = fill
            for start, stop in _stretches(layers.shape[2], changes.band_masks, changes.band_mask, rng):
                layers[:, :, start:stop] = fill[:, start:stop]
            found.append(layers.reshape(len(x), -1))
        return found

    def _power(self, log_mel: np.ndarray, row: int) -> np.ndarray:
        mean, deviation = self._levels[row]
        return np.maximum(np.exp(log_mel * deviation + mean) - FLOOR, 0)

    def _heard_elsewhere(self, power: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mel power (t, M) of an utterance and of another one -> log-mels as they are stored."""
        changes, settings = self._augmentation, self._log_mel
        if changes.vtlp:
            power = warp_frequencies(power, _about_1(changes.vtlp, rng), settings["sample_rate"])
        if rng.random() < changes.noise:
            start = rng.integers(len(noise))
            power = add_noise(power, np.roll(noise, -start, axis=0), changes.noise_snr_db + SNR_SPAN * rng.random())
        if changes.reverberation:
            seconds = changes.reverberation * rng.random()
            power = reverberate(power, 1000 * seconds / settings["shift_ms"], rng.random())
        log_mel = np.log(power + FLOOR)
        return standardise(torch.from_numpy(log_mel.T))[0].T.numpy() if settings["normalise"] else log_mel


def change_speed(frames: np.ndarray, factor: float, least: int = 1) -> np.ndarray:
    """Frames (t, M) of speech `factor` times as fast: max(least, round(t / factor)), at even steps between them.

    Never more than t where t is less than `least`. Linear interpolation, the first and the last frame stay.
    """
    count = max(round(len(frames) / factor), min(len(frames), least), 1)
    return _between(frames, np.linspace(0, len(frames) - 1, count))


def warp_frequencies(power: np.ndarray, factor: float, sample_rate: int) -> np.ndarray:
    """Mel power (t, M) of a vocal tract 1 / `factor` as long: what was at f Hz is at `factor` f.

    Above FORMANTS, or 0.6 of half the sample rate if that is less, straight on to half the rate, which stays: vocal
    tract length perturbation (Jaitly and Hinton 2013). The power of a band is read between the centres of bands.
    """
    half, bands = sample_rate / 2, power.shape[1]
    knee = min(FORMANTS, 0.6 * half) * min(factor, 1)  # of what comes out
    centres = frequency_of_band(np.arange(bands), bands, sample_rate)
    steep = (half - knee / factor) / (half - knee)
    sources = np.where(centres <= knee, centres / factor, half - steep * (half - centres))
    places = band_of_frequency(sources, bands, sample_rate).clip(0, bands - 1)
    return _between(power.T, places).T


def add_noise(power: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Mel power (t, M) with that of a noise, repeated or cut to t frames, `snr_db` under it in total power."""
    noise = np.resize(noise, power.shape)
    gain = power.sum() / max(noise.sum(), np.float32(1e-30)) / 10 ** (snr_db / 10)
    return power + np.float32(gain) * noise


def reverberate(power: np.ndarray, frames: float, share: float = 1.0) -> np.ndarray:
    """Mel power (t, M) with a room's echoes: each band folded with a power that falls by 60 dB in so many `frames`.

    y_n = x_n + share sum_k d^k x_{n-k}, k = 1, 2, ..., d = 10^(-6 / frames): the decay of a diffuse field (Polack
    1988), alike at all frequencies. Echoes begin as loud as the sound itself, or at `share` of that.
    """
    decay = 10 ** (-6 / frames) if frames > 0 else 0.0
    whole = lfilter([1.0], [1.0, -decay], power, axis=0)
    return (power + share * (whole - power)).astype(np.float32)


def _about_1(spread: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(1 - spread, 1 + spread))


def _between(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows (n, ...) at places (m,) in 0 to n - 1, by linear interpolation -> (m, ...)."""
    below = np.minimum(places.astype(np.int64), max(0, len(values) - 2))
    weight = (places - below).astype(values.dtype)[:, None]
    return (1 - weight) * values[below] + weight * values[np.minimum(below + 1, len(values) - 1)]


def _stretches(size: int, count: int, share: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """`count` ranges within `size`, each of 0 to `share` of it."""
    widths = [int(rng.integers(int(share * size) + 1)) for _ in range(count)]
    starts = [int(rng.integers(size - width + 1)) for width in widths]
    return [(start, start + width) for start, width in zip(starts, widths, strict=True)]
