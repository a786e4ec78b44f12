import errno
import io
import os
import struct
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest
import soundfile
from phones import record

from s2igan.errors import InputError
from s2igan.speech.audio import decode, encode_flac, load_recording, write_wav


def tone(frequency: float, sample_rate: int, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(sample_rate * seconds)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def peak_frequency(samples: np.ndarray, sample_rate: int) -> float:
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return power.argmax() * sample_rate / len(samples)


def test_flac_is_lossless_and_repeats():
    samples = np.random.default_rng(0).integers(-32768, 32768, 10_000).astype(np.int16)
    samples[:2] = -32768, 32767
    payload = encode_flac(samples, 22050)
    decoded, sample_rate = decode(payload)
    assert sample_rate == 22050 and decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded * 32768, samples)
    assert encode_flac(samples, 22050) == payload
    assert encode_flac(decoded, 22050) == payload  # float and int16 mean the same


def test_flac_clips_and_refuses_what_is_no_mono_sound():
    decoded, _ = decode(encode_flac(np.array([-2.0, 0.0, 0.25, 2.0]), 22050))
    np.testing.assert_array_equal(decoded, np.array([-32768, 0, 8192, 32767]) / 32768)
    with pytest.raises(ValueError, match="mono"):
        encode_flac(np.zeros((4, 2)), 22050)
    with pytest.raises(ValueError, match="finite"):
        encode_flac(np.array([np.nan]), 22050)


def test_write_wav_reads_back(tmp_path):
    samples = (tone(440, 16000) * 32767).astype(np.int16)
    write_wav(tmp_path / "a.wav", samples, 16000)
    decoded, sample_rate = decode(tmp_path / "a.wav")
    assert sample_rate == 16000
    np.testing.assert_array_equal(decoded * 32768, samples)


def test_a_wav_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    write_wav(tmp_path / "a.wav", np.zeros(100, np.int16), 16000)
    before = (tmp_path / "a.wav").read_bytes()

    def full(path, content):
        with open(path, "wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/a.wav'"):
        write_wav(tmp_path / "a.wav", np.ones(100, np.int16), 16000)
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == before


@pytest.mark.parametrize("recorded_rate", [8000, 16000, 22050, 44100, 48000])
def test_any_rate_keeps_pitch_loudness_and_duration(tmp_path, recorded_rate):
    soundfile.write(tmp_path / "a.wav", tone(440, recorded_rate), recorded_rate)
    samples = load_recording(tmp_path / "a.wav", 22050)
    assert samples.dtype == np.float32 and samples.shape == (22050,)
    assert peak_frequency(samples, 22050) == pytest.approx(440, abs=1)
    assert np.abs(samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)


def test_stereo_is_averaged(tmp_path):
    stereo = np.stack([tone(440, 22050), np.zeros(22050, np.float32)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 22050, subtype="FLOAT")
    np.testing.assert_allclose(load_recording(tmp_path / "a.wav", 22050), tone(440, 22050) / 2, atol=1e-6)


def test_channels_that_cancel_out_are_heard_by_the_louder():
    """Speech and its inverse, as a balanced microphone gives them to a stereo input; their mean is silence."""
    said = tone(440, 22050)
    for channels in ([said, -said], [0.5 * said, -0.45 * said], [-0.2 * said, 0.2 * said, 0 * said]):
        decoded, _ = decode(encoded(np.stack(channels, axis=1), subtype="FLOAT"))
        np.testing.assert_array_equal(decoded, channels[0])


def encoded(samples: np.ndarray, sample_rate: int = 22050, file_format: str = "WAV", **options) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=file_format, **options)
    return file.getvalue()


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, int(22050 * seconds)).astype(np.float32)


@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.95])
def test_a_recording_that_was_cut_off_is_told(file_format, kept):
    whole = encoded(noise(4), file_format=file_format)
    assert len(decode(whole)[0]) == 88200
    told = "flac decoder lost sync" if file_format == "FLAC" else "cut off, its header promises more; copy or download"
    with pytest.raises(InputError, match=f"^bird: .*{told}"):
        decode(whole[: int(kept * len(whole))], "bird")


PHONES = [
    ("phone.m4a", "aac", 44100),
    ("browser.mp4", "aac", 48000),
    ("browser.webm", "libopus", 48000),
    ("old.3gp", "aac", 44100),
    ("older.3gp", "libopencore_amrnb", 8000),
    ("older.amr", "libopencore_amrnb", 8000),
    ("phone.aac", "aac", 44100),
]


@pytest.mark.parametrize(("name", "codec", "rate"), PHONES)
def test_what_phones_and_browsers_record_is_heard(tmp_path, name, codec, rate):
    record(tmp_path / name, codec, tone(440, rate, 4), rate)
    samples, found = decode(tmp_path / name)
    assert (found, samples.dtype, samples.ndim) == (rate, np.float32, 1)
    assert len(samples) / rate == pytest.approx(4, abs=0.06)  # AAC pads
    middle = samples[rate : 3 * rate]
    assert peak_frequency(middle, rate) == pytest.approx(440, abs=1)
    assert np.sqrt(2) * middle.std() == pytest.approx(0.5, rel=0.15)  # AMR is quieter
    assert len(load_recording(tmp_path / name, 22050)) == pytest.approx(4 * 22050, abs=0.06 * 22050)
    with pytest.raises(InputError, match=f"{name}: longer than 3 s; cut out the description"):
        decode(tmp_path / name, max_seconds=3)


@pytest.mark.parametrize(("name", "codec", "rate"), PHONES)
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.95])
def test_a_phone_s_recording_that_was_cut_off_is_told(tmp_path, name, codec, rate, kept):
    record(tmp_path / name, codec, tone(440, rate, 4), rate)
    content = (tmp_path / name).read_bytes()
    with pytest.raises(InputError, match=r"^bird: (cut off, |not readable as audio \([\w /]+\); convert)"):
        decode(content[: int(kept * len(content))], "bird")


def test_two_channels_of_a_phone_are_averaged_and_pictures_alone_are_no_sound(tmp_path):
    stereo = np.stack([tone(440, 48000), 0.5 * tone(440, 48000)])
    record(tmp_path / "a.webm", "libopus", stereo, 48000)
    assert np.sqrt(2) * decode(tmp_path / "a.webm")[0].std() == pytest.approx(0.375, rel=0.02)
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", 25)
        stream.width = stream.height = 32
        file.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        file.mux(stream.encode(None))
    with pytest.raises(InputError, match=r"a.mp4: not readable as audio \(no sound in it\); convert it"):
        decode(tmp_path / "a.mp4")


def test_eight_channels_are_averaged_and_are_no_crash(tmp_path):
    """Of which PyAV reads more planes than there are."""
    record(tmp_path / "a.m4a", "aac", np.stack([tone(440, 48000)] * 8), 48000)
    samples, rate = decode(tmp_path / "a.m4a")
    assert rate == 48000 and peak_frequency(samples, rate) == pytest.approx(440, abs=1)
    assert np.sqrt(2) * samples[4096:-4096].std() == pytest.approx(7 / 8 * 0.5, rel=0.02)  # the eighth is for bass


def test_a_list_of_files_to_open_is_no_recording(tmp_path):
    """Which FFmpeg would follow, to any file or address."""
    record(tmp_path / "a.m4a", "aac", tone(440, 44100), 44100)
    (tmp_path / "list.m4a").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/a.m4a\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match=r"list.m4a: not readable as audio \(Format not recognised\)"):
        decode(tmp_path / "list.m4a")


def test_without_pyav_a_phone_s_recording_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    told = (
        r"^bird: not readable as audio \(what phones record needs PyAV, python -m pip install av\); convert it to WAV"
    )
    with pytest.raises(InputError, match=told):
        decode(b"\0\0\0\x1cftypM4A ", "bird")


def with_sizes(size: int) -> bytes:
    """A WAV whose header says `size` bytes of sound."""
    header = bytearray(encoded(noise(1)))
    header[40:44] = struct.pack("<I", size)
    return bytes(header)


def variable_rate_without_its_tag() -> bytes:
    """An MP3 that begins in silence: libsndfile takes it to be longer than it is, by the rate of its first frame."""
    samples = np.concatenate([np.zeros(22050, np.float32), noise(1)])
    content = encoded(samples, file_format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    first = content[:4]
    return content[content.index(first[:2], 4) :]


@pytest.mark.parametrize(("content", "seconds"), [
    (with_sizes(44100 + 2), 1),
    (with_sizes(0x7FFFF000), 1),  # sox, to a pipe
    (with_sizes(0xFFFFFFFF), 1),  # ffmpeg, to a pipe
    (variable_rate_without_its_tag(), 2),
    (encoded(noise(1), file_format="OGG") + b"TAG", 1),
])  # fmt: skip
def test_a_header_that_promises_nothing_or_nearly_what_there_is_is_heard(content, seconds):
    assert len(decode(content)[0]) / 22050 == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2_000_000_000])
def test_a_rate_that_no_sound_card_has_is_refused(rate):
    content = bytearray(encoded(noise(1)))
    content[24:28] = struct.pack("<I", rate)
    with pytest.raises(InputError, match=f"^bird: a sample rate of {rate} Hz; save it again at 16000 to 48000 Hz"):
        decode(bytes(content), "bird")


def test_a_recording_has_a_greatest_length():
    """An hour took 3 GB; no more than this is read of it."""
    assert len(decode(encoded(np.full(300_000, 0.1, np.float32), 1000))[0]) == 300_000
    with pytest.raises(InputError, match="^bird: longer than 300 s; cut out the description"):
        decode(encoded(np.zeros(300_001, np.float32), 1000), "bird")


def test_a_recording_comes_through_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    content = encoded(tone(440, 22050), file_format="OGG")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    samples, _ = decode(tmp_path / "pipe")
    writer.join()
    np.testing.assert_array_equal(samples, decode(content)[0])


def test_a_recording_that_must_not_be_read_is_told_as_such(monkeypatch):
    monkeypatch.setattr("builtins.open", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(InputError, match="^bird.wav: Permission denied; give the path of a recording"):
        decode("bird.wav")


def sound(*samples: np.ndarray, **options):
    """A way to make a file: a WAV of these samples."""
    return lambda path: soundfile.write(path, np.concatenate(samples).astype(np.float32), 22050, **options)


@pytest.mark.parametrize(("make", "found"), [
    (lambda path: None, "missing"),
    (lambda path: path.mkdir(), "a folder"),
    (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    (lambda path: path.touch(), "empty file"),
    (lambda path: path.write_text("this bird is red\n" * 100), "not readable as audio"),
    (lambda path: path.write_bytes(encoded(tone(440, 22050))[:20]), "no samples|not readable as audio"),
    (sound([]), "no samples"),
    (sound(np.zeros(22050)), "silent"),
    (sound(np.full(22050, 0.3)), "silent"),
    (sound(tone(440, 22050), [np.nan], subtype="FLOAT"), "NaN or infinite"),
    (sound(tone(440, 22050), [np.inf], subtype="FLOAT"), "NaN or infinite"),
])  # fmt: skip
def test_bad_recordings_give_one_line_that_names_the_file(tmp_path, make, found):
    path = tmp_path / "recording.wav"
    make(path)
    with pytest.raises(InputError, match=found) as caught:
        load_recording(path, 22050)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
