"""Recordings of every kind: what is refused, in which words, and what the rest becomes."""

import io

import numpy as np
import pytest
import soundfile
from phones import record

from s2igan.errors import InputError
from s2igan.speech import recordings
from s2igan.speech.audio import clipped_share
from s2igan.speech.recordings import RecordingLimits, judged, transcode

RATE = 22050


def tone(seconds=1.0, rate=RATE, frequency=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype("f4")


def saved(folder, name, samples, rate=RATE, **options):
    soundfile.write(folder / name, samples, rate, **options)
    return folder / name


def fault(path, **limits):
    ((found, rate),) = judged([path], RecordingLimits(**{"min_sample_rate": 16000} | limits), workers=1)
    assert bool(found) != bool(rate)
    return found


@pytest.mark.parametrize(
    ("name", "rate", "channels"), [("a.wav", 44100, 2), ("a.flac", 16000, 1), ("a.ogg", 16000, 2), ("a.mp3", 44100, 1)]
)
def test_any_format_rate_and_number_of_channels_becomes_one(tmp_path, name, rate, channels):
    samples = tone(0.5, rate)
    path = saved(tmp_path, name, np.stack([samples] * channels, axis=1), rate)
    assert fault(path) == ""
    ((key, flac, seconds),) = transcode([("a/0/00", path)], RATE, workers=1)
    decoded, found = soundfile.read(io.BytesIO(flac))
    assert (key, found, decoded.ndim) == ("a/0/00", RATE, 1)
    assert seconds == len(decoded) / RATE == pytest.approx(0.5, abs=0.06)  # MP3 pads
    spectrum = np.abs(np.fft.rfft(decoded * np.hanning(len(decoded))))
    assert np.fft.rfftfreq(len(decoded), 1 / RATE)[spectrum.argmax()] == pytest.approx(440, abs=3)


@pytest.mark.parametrize(("samples", "rate", "found", "fix"), [
    (tone(rate=8000), 8000, "8000 Hz", "record it again, or lower catalog.min_sample_rate"),
    (np.zeros(0, "f4"), RATE, "no samples", "record it again"),
    (np.zeros(RATE, "f4"), RATE, "silent", "check the microphone"),
    (tone(seconds=0.1), RATE, "0.10 s", "record it again or lower catalog.min_seconds"),
    (np.full(RATE, 0.25, "f4"), RATE, "silent", "check the microphone"),
    (np.clip(tone(level=3.0), -1, 1), RATE, "clipped", "at a lower level"),
    (0.3 * np.clip(tone(level=3.0), -1, 1), RATE, "clipped", "at a lower level"),
])  # fmt: skip
def test_a_bad_recording_is_told_in_one_line(tmp_path, samples, rate, found, fix):
    path = saved(tmp_path, "bad.wav", samples, rate)
    line = fault(path)
    assert line.startswith(f"{path}: ") and found in line and fix in line and "\n" not in line


def test_a_file_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(recordings, "read_recording", refuse)  # root may read everything
    path = saved(tmp_path, "locked.wav", tone())
    assert fault(path) == f"{path}: Permission denied; check the file and its permissions"


def test_the_rate_of_a_good_recording_is_told(tmp_path):
    path = saved(tmp_path, "telephone.wav", tone(rate=8000), 8000)
    record(tmp_path / "phone.m4a", "aac", tone(rate=44100), 44100)
    found = judged([path, tmp_path / "phone.m4a"], RecordingLimits(), workers=1)
    assert list(found) == [("", 8000), ("", 44100)]


def test_the_limits_are_the_callers(tmp_path):
    low = saved(tmp_path, "low.wav", tone(rate=8000), 8000)
    loud = saved(tmp_path, "loud.wav", np.clip(tone(level=3.0), -1, 1))
    assert fault(low, min_sample_rate=8000) == "" and fault(loud, max_clipped=1.0) == ""


def test_transcoding_stops_at_what_is_no_sound(tmp_path):
    path = tmp_path / "speech.wav"
    path.write_text("words")
    with pytest.raises(InputError, match="not readable as audio"):
        list(transcode([("a/0/00", path)], RATE, workers=1))


def test_the_clipped_share_of_a_known_wave():
    # A sine of peak 2 clipped at 1 stands at the limit where |sin| > 1/2: two thirds of the time.
    assert clipped_share(np.clip(tone(level=2.0), -1, 1)) == pytest.approx(2 / 3, abs=0.01)
    assert clipped_share(tone(level=0.9, frequency=441.3)) < 0.001
    # A half wave never swings below zero, and is not clipped there.
    assert clipped_share(np.maximum(tone(level=0.9, frequency=441.3), 0)) < 0.001
    spike = tone(level=0.1)
    spike[1000] = 1.0
    assert clipped_share(spike) == 0
