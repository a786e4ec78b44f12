import numpy as np
import pytest

from s2igan.errors import InputError
from s2igan.speech.audio import encode_flac
from s2igan.speech.extraction import log_mels
from s2igan.speech.log_mel import LogMel

SETTINGS = {"sample_rate": 22050, "bands": 20, "window": "hann", "normalise": False}


def sound(samples: int, seed: int) -> np.ndarray:
    return (3000 * np.random.default_rng(seed).standard_normal(samples)).clip(-32768, 32767).astype(np.int16)


def encoded(samples: np.ndarray, rate: int = 22050) -> np.ndarray:
    return np.frombuffer(encode_flac(samples, rate), dtype=np.uint8)


SOUNDS = {f"c/{n}": sound(552 + 220 * n, n) for n in range(70)}  # more than a chunk


@pytest.mark.parametrize("workers", [1, 2])
def test_stored_speech_gives_the_log_mels_of_its_samples(workers):
    found = list(log_mels(((key, encoded(samples)) for key, samples in SOUNDS.items()), SETTINGS, workers))
    assert [key for key, _, _ in found] == list(SOUNDS)
    log_mel = LogMel(**SETTINGS)
    for n, (key, frames, levels) in enumerate(found):
        assert frames.shape == (n + 1, 20) and frames.dtype == np.float32
        assert levels.tolist() == [[0] * 20, [1] * 20]  # not normalised
        np.testing.assert_array_equal(frames, log_mel(SOUNDS[key] / np.float32(32768)))


@pytest.mark.parametrize(("payload", "told"), [
    (encoded(SOUNDS["c/5"], 16000), r"16000 Hz; expected 22050 Hz: make data/speech\.h5 anew"),
    (encoded(sound(551, 0)), "551 samples are shorter than a window of 552"),
    (np.frombuffer(b"no FLAC at all", dtype=np.uint8), ""),
])  # fmt: skip
def test_what_cannot_be_heard_is_refused_with_its_key(payload, told):
    found = log_mels([("c/0", encoded(SOUNDS["c/5"])), ("c/1", payload)], SETTINGS, 1)
    assert next(found)[0] == "c/0"
    with pytest.raises(InputError, match=f"^c/1: {told}"):
        next(found)
