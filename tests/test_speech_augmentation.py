"""Augmentation of what SEN hears: by the formulas, and by log-mels of the waveforms that it stands for."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from dag import composed

from s2igan.options import fill
from s2igan.sen.augmentation import (
    OFF,
    SNR_SPAN,
    Augmentation,
    Augmenter,
    add_noise,
    change_speed,
    reverberate,
    warp_frequencies,
)
from s2igan.speech.log_mel import FLOOR, LogMel, band_of_frequency, frequency_of_band

RATE = 22050


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    return (0.2 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def power(samples: np.ndarray) -> np.ndarray:
    return np.exp(LogMel(normalise=False)(samples)) - np.float32(FLOOR)


def captions(levels=(), **attributes) -> SimpleNamespace:
    """What the stage logmel writes of captions with these levels."""
    settings = {"sample_rate": RATE, "shift_ms": 10.0, "normalise": True}
    return SimpleNamespace(attributes={"log_mel": settings} | attributes, column=lambda name: list(levels))


@pytest.mark.parametrize(("factor", "expected"), [
    (1.0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    (1.8, [0, 2, 4, 6, 8]),
    (9 / 17, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8]),
])  # fmt: skip
def test_speed_takes_frames_at_even_steps(factor, expected):
    frames = np.arange(9, dtype=np.float32)[:, None] * [1, 10]
    np.testing.assert_allclose(change_speed(frames, factor), np.array(expected)[:, None] * [1, 10], atol=1e-6)


def test_speech_stays_long_enough_for_the_convolutions():
    frames = np.arange(9, dtype=np.float32)[:, None]
    assert [len(change_speed(frames, 3.0, least)) for least in (1, 3, 5, 20)] == [3, 3, 5, 9]
    assert change_speed(frames[:1], 2.0).tolist() == [[0]]


def test_noise_is_so_much_under_the_speech_in_total_power_and_repeats():
    speech, noise = np.array([[4.0, 0], [2, 2], [0, 4]]), np.array([[1.0, 0], [1, 0]])
    np.testing.assert_allclose(add_noise(speech, noise, 0.0), speech + [[4, 0]] * 3)
    np.testing.assert_allclose(add_noise(speech, noise, 10.0), speech + [[0.4, 0]] * 3)
    np.testing.assert_allclose(add_noise(speech, 0 * noise, 0.0), speech)


def test_a_room_falls_by_60_db_in_its_time():
    click = np.zeros((8, 2), np.float32)
    click[1] = [1, 5]
    found = reverberate(click, frames=6)
    np.testing.assert_allclose(found[:, 0], [0, *(10.0 ** -np.arange(7))], rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], 5 * found[:, 0], rtol=1e-5)
    np.testing.assert_allclose(reverberate(click, 6, share=0.5)[:4, 0], [0, 1, 0.05, 0.005], rtol=1e-5)
    np.testing.assert_array_equal(reverberate(click, 0), click)


def test_bands_are_where_a_tone_lights_them():
    for band in (3, 20, 35):
        hertz = frequency_of_band(np.array(band), 40, RATE)
        assert (LogMel(normalise=False)(tone(hertz)).argmax(axis=1) == band).all()
        assert band_of_frequency(hertz, 40, RATE) == pytest.approx(band)


@pytest.mark.parametrize("hertz", [300, 700, 1500, 2500])
@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
def test_a_tone_through_another_vocal_tract_is_that_tone_times_the_factor(hertz, factor):
    warped = warp_frequencies(power(tone(hertz)), factor, RATE)
    place = (warped * np.arange(40)).sum(axis=1) / warped.sum(axis=1)  # the bands' centre of gravity
    there = power(tone(factor * hertz))
    expected = (there * np.arange(40)).sum(axis=1) / there.sum(axis=1)
    np.testing.assert_allclose(place, expected, atol=0.5)
    if factor == 1:
        np.testing.assert_allclose(warped, power(tone(hertz)), rtol=1e-3, atol=1e-6)


def test_another_caption_behind_is_the_log_mel_of_both_waveforms_together():
    """Tones that share no band, where they are heard: nothing is left of the phases. Normalised too."""
    loudness = np.linspace(1, 3, RATE // 2, dtype=np.float32)
    speech, other = tone(500) * loudness, tone(4000) * loudness
    found = []
    for normalise in (False, True):
        heard, levels = zip(*(LogMel(normalise=normalise).with_levels(x) for x in (speech, other)), strict=True)
        about = captions(levels, log_mel={"sample_rate": RATE, "shift_ms": 10.0, "normalise": normalise})
        augment = Augmenter(replace(OFF, noise=1.0, noise_snr_db=6.0 - SNR_SPAN / 2), about, 1)
        rng = SimpleNamespace(random=lambda: 0.5, integers=lambda low, high=None: 1 if high else 0)
        found.append(augment(list(heard), np.array([0, 1]), rng)[0])
    plain, standard = found
    ratio = power(speech).sum() / power(other).sum() / 10**0.6
    both = LogMel(normalise=False)(speech + np.sqrt(ratio) * other)
    loud = both.mean(axis=0) > both.max() - 4
    assert loud[:20].any() and loud[20:].any() and loud.sum() < 12
    np.testing.assert_allclose(plain[:, loud], both[:, loud], atol=0.05)
    np.testing.assert_allclose(standard, (plain - plain.mean(axis=0)) / plain.std(axis=0), atol=0.01)


def test_masks_have_the_mean_and_leave_the_rest():
    x = np.random.default_rng(0).normal(size=(40, 20)).astype(np.float16)
    augment = Augmenter(replace(OFF, time_masks=1, time_mask=0.5, band_masks=1, band_mask=0.5), captions(), 1)
    mean = x.astype(np.float32).mean(axis=0)
    widths = []
    for seed in range(200):
        (found,) = augment([x], np.array([0]), np.random.default_rng(seed))
        at_mean = np.isclose(found, mean, atol=1e-6)
        times, bands = at_mean.all(axis=1), at_mean.all(axis=0)
        np.testing.assert_array_equal(found[~times][:, ~bands], x.astype(np.float32)[~times][:, ~bands])
        assert all(np.abs(np.diff(np.flatnonzero(part))).max(initial=1) == 1 for part in (times, bands))  # one stretch
        widths.append((times.sum(), bands.sum()))
    assert np.min(widths, axis=0).tolist() == [0, 0] and np.max(widths, axis=0).tolist() == [20, 10]
    assert np.mean(widths, axis=0) == pytest.approx([10, 5], abs=1)


def test_a_range_of_frozen_features_is_the_same_in_all_layers():
    x = np.random.default_rng(0).normal(size=(30, 3 * 8)).astype(np.float16)
    features = captions(speech_features={"layers": [2, 4, 6]})
    augment = Augmenter(replace(OFF, band_masks=2, band_mask=0.5, speed=0.1), features, 5)
    for seed in range(20):
        (found,) = augment([x], np.array([0]), np.random.default_rng(seed))
        masked = (np.ptp(found, axis=0) == 0).reshape(3, 8)
        assert (masked == masked[0]).all() and 27 <= len(found) <= 33


def test_draws_depend_on_the_generator_alone():
    heard, levels = zip(
        *(LogMel().with_levels(tone(400 * k) * np.linspace(1, k, 11025)) for k in (1, 2, 3)), strict=True
    )
    every = Augmentation(2, 0.2, 2, 0.2, 0.1, 0.1, 0.5, 0.0, 0.5)
    augment = Augmenter(every, captions(levels), 5)
    first, again, other = (augment(list(heard), np.arange(3), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(a.shape == b.shape and np.allclose(a, b) for a, b in zip(first, other, strict=True))
    assert all(np.isfinite(x).all() and x.dtype == np.float32 for x in first)


@pytest.mark.parametrize("scale", ["paper", "demo", "table", "smoke", "large", "gpu"])
def test_it_is_off_at_every_scale(scale):
    sen = composed(f"scale={scale}")["sen"]
    assert not fill(Augmentation, sen) and fill(Augmentation, sen) == OFF and sen["patience"] == 0
