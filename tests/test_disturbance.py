import numpy as np
import pytest

from s2igan.errors import InputError
from s2igan.speech.audio import encode_flac
from s2igan.speech.disturbance import CLEAN, Disturbance, add_noise, change_rate, disturbed_frames
from s2igan.speech.log_mel import LogMel

RATE = 22050
SETTINGS = {"sample_rate": RATE, "bands": 40, "window_ms": 25.0, "shift_ms": 10.0, "window": "hamming"}
CONFIG = {"log_mel": SETTINGS}


def tone(frequency: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(RATE * seconds)) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def coloured(seed: int = 0, samples: int = 30000) -> np.ndarray:
    """Noise of which nearly all lies below 2 kHz, with a pause in the middle."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    spectrum[np.fft.rfftfreq(samples, 1 / RATE) > 2000] *= 0.01
    signal = 0.05 * np.fft.irfft(spectrum, samples)
    signal[samples // 3 : samples // 2] = 0
    return signal.astype(np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def power_db(signal: np.ndarray) -> float:
    signal = signal.astype(np.float64)
    return 10 * np.log10(np.mean((signal - signal.mean()) ** 2))


def frequency(samples: np.ndarray) -> float:
    """Of the strongest component, in Hz, to a fraction of a bin (parabola through three)."""
    spectrum = np.log(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) + 1e-12)
    peak = int(spectrum.argmax())
    left, middle, right = spectrum[peak - 1 : peak + 2]
    return (peak + 0.5 * (left - right) / (left - 2 * middle + right)) * RATE / len(samples)


def band_share(signal: np.ndarray, low: float, high: float) -> float:
    """Share of the power between two frequencies in Hz."""
    power = np.abs(np.fft.rfft(signal)) ** 2
    hertz = np.fft.rfftfreq(len(signal), 1 / RATE)
    return power[(hertz >= low) & (hertz < high)].sum() / power.sum()


@pytest.mark.parametrize("kind", ["white", "speech"])
@pytest.mark.parametrize("snr_db", [20.0, -10.0])
def test_measured_snr_is_the_one_asked_for(kind, snr_db):
    speech = coloured() + np.float32(0.2)  # an offset is heard by nobody, so it is no signal
    noise = add_noise(speech, snr_db, rng(), kind).astype(np.float64) - speech
    assert power_db(speech) - power_db(noise) == pytest.approx(snr_db, abs=0.01)
    assert noise.mean() == pytest.approx(0, abs=1e-6)


def test_same_noise_at_every_snr_other_noise_from_another_generator():
    speech = coloured()
    loud, soft = (add_noise(speech, snr, rng(), "speech") - speech for snr in (0, 20))
    np.testing.assert_allclose(loud, 10 * soft, atol=1e-5)
    other = add_noise(speech, 0, rng(1), "speech") - speech
    assert abs(np.corrcoef(loud, other)[0, 1]) < 0.1
    assert abs(np.corrcoef(loud, speech)[0, 1]) < 0.1
    np.testing.assert_array_equal(add_noise(speech, 0, rng(), "speech"), add_noise(speech, 0, rng(), "speech"))


def test_white_noise_is_flat_and_speech_noise_has_the_spectrum_of_the_speech():
    speech = coloured()
    white, shaped = (add_noise(speech, 0, rng(), kind) - speech for kind in ("white", "speech"))
    for low, high in ((0, 500), (500, 1000), (1000, 1500), (4000, 6000)):
        assert band_share(white, low, high) == pytest.approx((high - low) / 11025, rel=0.1)
        assert band_share(shaped, low, high) == pytest.approx(band_share(speech, low, high), rel=0.15, abs=1e-3)


def test_speech_noise_fills_the_pauses():
    speech = coloured()
    noise = (add_noise(speech, 0, rng(), "speech") - speech).reshape(30, 1000)
    assert 10 * np.log10(noise.var(axis=1).max() / noise.var(axis=1).min()) < 6


@pytest.mark.parametrize(("factor", "hertz"), [(0.5, 220.0), (0.8, 1000.0), (1.25, 220.0), (2.0, 1000.0)])
def test_rate_changes_length_and_not_pitch(factor, hertz):
    changed = change_rate(tone(hertz), factor)
    assert changed.dtype == np.float32 and len(changed) == round(RATE / factor)
    assert frequency(changed) == pytest.approx(hertz, abs=0.5)
    middle = slice(len(changed) // 4, -len(changed) // 4)
    assert changed[middle].std() == pytest.approx(tone(hertz).std(), rel=0.15)  # the vocoder loses 1.2 dB at most


@pytest.mark.parametrize(("factor", "start"), [(0.8, 15000), (1.25, 4000)])
def test_what_was_at_t_is_at_t_over_factor(factor, start):
    burst = np.zeros(RATE, np.float32)
    burst[start : start + 4000] = tone(800)[:4000]
    heard = np.convolve(change_rate(burst, factor) ** 2, np.full(100, 1 / 100), "same")
    loud = np.flatnonzero(heard > 0.3**2 / 2 / 4)  # half of the tone's level
    edges = np.array([start, start + 4000]) / factor
    np.testing.assert_allclose([loud[0], loud[-1]], edges, atol=256)  # half of the vocoder's window


def test_factor_1_returns_the_same_samples():
    speech = coloured()
    np.testing.assert_array_equal(change_rate(speech, 1.0), speech)
    np.testing.assert_array_equal(CLEAN(speech, rng()), speech)


@pytest.mark.parametrize(("factor", "samples"), [(0.25, 2), (4.0, 2), (4.0, 500), (0.25, 12345)])
def test_extreme_rates_and_short_utterances(factor, samples):
    changed = change_rate(coloured(samples=12345)[:samples], factor)
    assert len(changed) == max(1, round(samples / factor)) and np.isfinite(changed).all()


@pytest.mark.parametrize("level", [0.0, 0.3])  # an offset is silence too
def test_silence_is_refused(level):
    silence = np.full(5000, level, np.float32)
    for disturb in (lambda: add_noise(silence, 10, rng()), lambda: change_rate(silence, 1.25)):
        with pytest.raises(InputError, match="silent"):
            disturb()
    with pytest.raises(InputError, match="silent"):
        add_noise(np.zeros(0, np.float32), 10, rng())


def encoded(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    return np.frombuffer(encode_flac(samples, rate), dtype=np.uint8)


def test_log_mels_of_each_disturbance():
    wanted = [CLEAN, Disturbance("snr5", snr_db=5.0), Disturbance("snr15", snr_db=15.0), Disturbance("fast", rate=1.25)]
    both = [("a", encoded(coloured(0)), wanted), ("b", encoded(coloured(0)), wanted[:2])]
    found = dict(disturbed_frames(both, CONFIG, 1, seed=3, workers=1))
    assert list(found["a"]) == ["clean", "snr5", "snr15", "fast"] and list(found["b"]) == ["clean", "snr5"]
    clean = LogMel(**SETTINGS)(np.round(coloured(0).astype(np.float64) * 32768).astype(np.float32) / 32768)
    np.testing.assert_array_equal(found["a"]["clean"], clean.astype(np.float16))
    # 24,000 of 30,000 samples in frames of 552 samples each 220.
    assert len(found["a"]["fast"]) == 1 + (24000 - 552) // 220
    gap = {name: np.abs(found["a"][name] - clean).mean() for name in ("snr5", "snr15")}
    assert gap["snr5"] > gap["snr15"] > 0.05
    # Noise is that of the key and the seed, whatever else is disturbed.
    assert np.abs(found["a"]["snr5"] - found["b"]["snr5"]).mean() > 0.05
    ((_, alone),) = disturbed_frames([("b", encoded(coloured(0)), wanted[1:2])], CONFIG, 1, seed=3, workers=1)
    np.testing.assert_array_equal(alone["snr5"], found["b"]["snr5"])
    ((_, other),) = disturbed_frames([("b", encoded(coloured(0)), wanted[1:2])], CONFIG, 1, seed=4, workers=1)
    assert np.abs(other["snr5"] - alone["snr5"]).mean() > 0.05


def test_an_utterance_that_cannot_take_a_disturbance_comes_without_any():
    wanted = [CLEAN, Disturbance("rate2", rate=2.0)]
    said = (np.zeros(5000, np.float32), coloured(samples=3000), coloured(samples=1000), coloured(samples=5000))
    spoken = [(f"a/{i}", encoded(samples, RATE), wanted) for i, samples in enumerate(said)]
    # Silence; 5 frames; 500 samples, fewer than a window; 2500 samples, which are 9 frames.
    found = dict(disturbed_frames(spoken, CONFIG, 9, 0, 1))
    assert {key: list(log_mels) for key, log_mels in found.items()} == {
        "a/0": [], "a/1": [], "a/2": [], "a/3": ["clean", "rate2"]
    }  # fmt: skip


def test_errors_name_the_utterance():
    fast = [Disturbance("rate2", rate=2.0)]
    with pytest.raises(InputError, match="a/1: 16000 Hz; expected 22050 Hz"):
        list(disturbed_frames([("a/1", encoded(coloured(), 16000), fast)], CONFIG, 1, 0, 1))
    with pytest.raises(InputError, match="a/1: not readable as audio"):
        list(disturbed_frames([("a/1", np.arange(99, dtype=np.uint8), fast)], CONFIG, 1, 0, 1))
