import numpy as np
import pytest

from s2igan.errors import InputError
from s2igan.speech.log_mel import LogMel

# T samples, F frames, M mel bands, K frequencies of the Fourier transform


def noise(samples: int = 22050, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(22050 * seconds)) / 22050
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def slaney_mel(hertz: float) -> float:
    """Slaney's mel scale: 15 mel at 1 kHz, linear below, 27 steps a factor of 6.4 above."""
    if hertz < 1000:
        return 3 * hertz / 200
    return 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def slaney_hertz(mel: float) -> float:
    if mel < 15:
        return 200 * mel / 3
    return 1000 * 6.4 ** ((mel - 15) / 27)


def filter_bank(bands: int, length: int, low: float, high: float) -> np.ndarray:
    """Triangles of unit area over frequency, (K, M), one filter and frequency after the other."""
    mels = np.linspace(slaney_mel(low), slaney_mel(high), bands + 2)
    edges = [slaney_hertz(mel) for mel in mels]
    filters = np.zeros((length // 2 + 1, bands))
    for band, (left, middle, right) in enumerate(zip(edges[:-2], edges[1:-1], edges[2:], strict=True)):
        for k in range(length // 2 + 1):
            hertz = k * 22050 / length
            height = min((hertz - left) / (middle - left), (right - hertz) / (right - middle))
            filters[k, band] = max(0.0, height) * 2 / (right - left)
    return filters


def independent_log_mel(samples: np.ndarray, window: str, low=0.0, high=11025.0) -> np.ndarray:
    length, shift = 552, 220
    cosine = np.cos(2 * np.pi * np.arange(length) / length)  # periodic
    weights = {"hamming": 0.54 - 0.46 * cosine, "hann": 0.5 - 0.5 * cosine}[window]
    frames = []
    start = 0
    while start + length <= len(samples):
        frames.append(samples[start : start + length].astype(np.float64) * weights)
        start += shift
    power = np.abs(np.fft.rfft(np.array(frames))) ** 2  # (F, K)
    return np.log(power @ filter_bank(40, length, low, high) + 1e-6)


@pytest.mark.parametrize("window", ["hamming", "hann"])
@pytest.mark.parametrize("samples", [noise(), tone(440) + noise() / 10, noise(9999, seed=1)])
def test_equals_an_independent_computation(samples, window):
    expected = independent_log_mel(samples, window)
    log_mel = LogMel(window=window, normalise=False)(samples)
    assert log_mel.dtype == np.float32
    np.testing.assert_allclose(log_mel, expected, atol=2e-4)

    normalised = (expected - expected.mean(0)) / expected.std(0)
    np.testing.assert_allclose(LogMel(window=window)(samples), normalised, atol=1e-3)


def test_silence_is_the_floor():
    silence = np.zeros(5000, np.float32)
    np.testing.assert_allclose(LogMel(normalise=False)(silence), np.log(1e-6), rtol=1e-6)
    np.testing.assert_array_equal(LogMel()(silence), 0)


def test_normalised_bands_have_mean_0_and_variance_1_and_forget_the_volume():
    log_mel = LogMel()(noise())
    np.testing.assert_allclose(log_mel.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(log_mel.var(0), 1, atol=1e-3)
    np.testing.assert_allclose(LogMel()(noise() * 3), log_mel, atol=5e-3)
    frames, (mean, deviation) = LogMel().with_levels(noise())
    np.testing.assert_array_equal(frames, log_mel)
    np.testing.assert_allclose(frames * deviation + mean, LogMel(normalise=False)(noise()), atol=1e-4)


def test_frames():
    log_mel = LogMel()
    assert (log_mel.window_length, log_mel.shift_length) == (552, 220)
    for samples, frames in [(552, 1), (771, 1), (772, 2), (22050, 98)]:
        assert log_mel(noise(samples)).shape == (frames, 40)
    assert LogMel(16000).window_length == 400 and LogMel(16000).shift_length == 160


def test_bad_utterances():
    with pytest.raises(InputError, match="551 samples are shorter than a window of 552"):
        LogMel()(noise(551))


def test_bad_options():
    with pytest.raises(InputError, match="contain no frequency"):
        LogMel(bands=200)
