"""Flite and Piper behind the interface of all engines: a program and networks that stand for them, and the real."""

import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_speech import write_flite

from s2igan.errors import InputError
from s2igan.speech.audio import decode
from s2igan.speech.engine import create_engine, options_for
from s2igan.speech.synthesis import synthesize, voices_by_language

TEXT = "a red bird"


def pitch(samples: np.ndarray, rate: int) -> float:
    return np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)


@pytest.fixture
def flite(tmp_path):
    return create_engine("flite", **options_for("flite", 200, write_flite(tmp_path), ""))


def test_flite_says_each_text_in_the_voice_at_one_rate(flite):
    assert flite.voices() == ["kal", "rms", "slt"]  # awb_time says the time alone
    for voice, hertz in (("kal", 100), ("rms", 150), ("slt", 200)):
        samples = flite.speak(TEXT, voice)
        assert samples.shape == (16000,) and samples.dtype == np.float32
        assert pitch(samples, flite.sample_rate) == hertz
    assert len(flite.speak("- a\n red", "slt")) == 7 * 1600  # one line, also where it begins as an option does
    with pytest.raises(InputError, match="'silence' is silence in voice slt; give it words"):
        flite.speak("silence", "slt")
    with pytest.raises(InputError, match=r"flite: exit status 1 \(Segmentation fault\); give flite's path"):
        flite.speak("crash", "slt")


def test_flite_speaks_english_alone(flite):
    assert [flite.voice_in("slt", language) for language in ("en", "en-gb", "EN-us", "eu")] == ["slt"] * 3 + [""]
    assert voices_by_language(["en-gb"], ["rms"], ["slt"], flite) == {"en-gb": (["rms"], ["slt"])}
    with pytest.raises(InputError, match="language eu: flite has no voice of it"):
        voices_by_language(["eu"], ["rms"], ["slt"], flite)
    with pytest.raises(InputError, match="voice 'awb': flite has no such voice; choose from kal, rms, slt"):
        voices_by_language(["en"], ["rms"], ["awb"], flite)
    with pytest.raises(InputError, match="has no letter or digit that flite can say"):
        flite.require_sayable("это", "slt")


def test_speech_of_another_rate_is_brought_to_the_one_that_is_asked_for(tmp_path):
    for engine, options, voice in (
        ("flite", {"model": write_flite(tmp_path)}, "slt"),
        ("espeak", {"rate": 200}, "en-us"),
    ):
        (own,), (other,) = (synthesize([("k", TEXT, voice)], engine, options, 1, rate) for rate in (0, 11025))
        (samples, rate), (low, low_rate) = decode(own[1]), decode(other[1])
        assert (rate, low_rate) == (create_engine(engine, **options).sample_rate, 11025)
        assert own[2] == pytest.approx(other[2], abs=1e-3)
        np.testing.assert_allclose(samples.std(), low.std(), rtol=0.2)


@pytest.mark.parametrize(("engine", "options", "told"), [
    ("flite", {"model": "no-flite"}, "engine flite: no program no-flite; install it .apt-get install flite., or give"),
    ("flite", {"model": "/bin/false"}, "/bin/false: exit status 1"),
    ("piper", {"model": "nowhere"}, "engine piper: 'nowhere' is no folder with voices .*; fetch some: python -m piper"),
    ("piper", {"model": ""}, "engine piper: '' is no folder with voices"),
    ("mixed", {"model": " "}, "engine mixed: ' ' names no engines; give them as tts.model, such as: espeak flite"),
    ("mixed", {"model": "mixed espeak"}, "engine mixed: 'mixed espeak' names no engines"),
    ("mixed", {"model": "espeak flite=no-flite"}, "engine flite: no program no-flite; install it"),
    ("mixed", {"model": "espeak festival"}, "engine 'festival': unknown; choose from espeak, coqui, flite, "),
])  # fmt: skip
def test_what_is_missing_is_told_in_one_line(engine, options, told):
    with pytest.raises(InputError, match=told) as error:
        create_engine(engine, **options)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not shutil.which("flite"), reason="Flite is not installed")
def test_the_real_flite_says_the_same_twice_and_each_voice_its_own():
    flite = create_engine("flite", model="")
    said = [flite.speak(TEXT, voice) for voice in flite.voices()]
    assert all(0.4 < len(samples) / 16000 < 3 for samples in said)
    assert len({samples.tobytes() for samples in said}) == len(said) > 2
    np.testing.assert_array_equal(flite.speak(TEXT, flite.voices()[0]), said[0])


@pytest.fixture
def piper(tmp_path, monkeypatch):
    """Two networks, one of two speakers, which hum a tone: of 110 Hz, or of 220 and 330 Hz by speaker."""

    class Voice:
        def __init__(self, session, config):
            self.session, self.config = session, SimpleNamespace(sample_rate=config["audio"]["sample_rate"])

        def synthesize(self, text, settings):
            assert (settings.noise_scale, settings.noise_w_scale) == (0, 0) and "[[" not in text
            hertz = 110 if settings.speaker_id is None else 220 + 110 * settings.speaker_id
            for sentence in text.split(". "):
                time = np.arange(len(sentence) * self.config.sample_rate // 10) / self.config.sample_rate
                yield SimpleNamespace(audio_float_array=np.float32(np.sin(2 * np.pi * hertz * time)) / 2)

    def session(path, options, providers):
        assert options.intra_op_num_threads == 1
        if path.endswith("broken.onnx"):
            raise RuntimeError("Protobuf parsing\nfailed")
        return path

    settings = {"SynthesisConfig": SimpleNamespace, "PiperVoice": Voice}
    monkeypatch.setitem(sys.modules, "piper", SimpleNamespace(**settings))
    monkeypatch.setitem(sys.modules, "piper.config", SimpleNamespace(PiperConfig=SimpleNamespace(from_dict=dict)))
    onnx = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=session)
    monkeypatch.setitem(sys.modules, "onnxruntime", onnx)
    speakers = {"ann": 0, "bob": 1}
    for name, rate, about in (
        ("de_DE-one-low", 16000, {"num_speakers": 1, "language": {"code": "de_DE"}}),
        ("en_GB-two-medium", 22050, {"num_speakers": 2, "speaker_id_map": speakers, "espeak": {"voice": "en-gb"}}),
    ):
        (tmp_path / f"{name}.onnx").touch()
        (tmp_path / f"{name}.onnx.json").write_text(json.dumps({"audio": {"sample_rate": rate}, **about}))
    return create_engine("piper", **options_for("piper", 200, str(tmp_path), ""))


def test_piper_says_each_text_in_the_voice_at_one_rate(piper):
    voices = ["de_DE-one-low", "en_GB-two-medium/ann", "en_GB-two-medium/bob"]
    assert piper.voices() == voices
    for voice, hertz in zip(voices, (110, 220, 330), strict=True):
        samples = piper.speak("ein roter. vogel", voice)  # two sentences
        assert samples.dtype == np.float32 and len(samples) == pytest.approx(1.4 * 22050, abs=9)
        assert pitch(samples, piper.sample_rate) == pytest.approx(hertz, abs=1)
    assert len(piper.speak("[[a", voices[1])) == pytest.approx(0.2 * 22050, abs=2)  # no phonemes of the text's own
    with pytest.raises(
        InputError, match="voice 'joe': piper has no such voice; choose from de_DE-one-low, en_GB-two-medium/ann"
    ):
        piper.require_sayable(TEXT, "joe")


def test_piper_speaks_the_languages_of_its_folder(piper):
    ann, german = "en_GB-two-medium/ann", "de_DE-one-low"
    assert [piper.voice_in(ann, language) for language in ("en", "en-us", "de-at", "eu")] == [ann, ann, german, ""]


def test_a_damaged_voice_is_named(piper, tmp_path):
    (tmp_path / "broken.onnx").touch()
    for settings in (None, "[]", '{"language": {"code": "de_DE"}}', '{"language": "de_DE", "num_speakers": 1}'):
        if settings:
            (tmp_path / "broken.onnx.json").write_text(settings)
        with pytest.raises(
            InputError, match=r"broken.onnx.json: missing, or not of a Piper voice .*; fetch the voice again"
        ):
            create_engine("piper", model=str(tmp_path))
    shutil.copy(tmp_path / "de_DE-one-low.onnx.json", tmp_path / "broken.onnx.json")
    with pytest.raises(InputError, match=r"broken.onnx: not to be loaded as a Piper voice \(Protobuf parsing failed\)"):
        create_engine("piper", model=str(tmp_path)).speak(TEXT, "broken")


@pytest.fixture
def kokoro(tmp_path, monkeypatch):
    """A network that hums a tone by voice, and says nothing of signs."""

    class Network:
        @staticmethod
        def from_session(session, voices, espeak):
            assert session.endswith("kokoro.onnx") and espeak.lib_path != espeak.data_path
            return Network()

        def create(self, text, voice, lang):
            if text == "一":
                raise ValueError("Nothing to synthesize")
            hertz = {"af_ann": 200, "bm_bob": 100, "ef_eva": 300}[voice]
            assert lang == {"a": "en-us", "b": "en-gb", "e": "es"}[voice[0]]
            return np.float32(1.1 * np.sin(2 * np.pi * hertz * np.arange(24000) / 24000)), 24000

    monkeypatch.setitem(sys.modules, "kokoro_onnx", SimpleNamespace(Kokoro=Network))
    monkeypatch.setitem(sys.modules, "kokoro_onnx.config", SimpleNamespace(EspeakConfig=SimpleNamespace))
    onnx = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=lambda path, options, providers: path)
    monkeypatch.setitem(sys.modules, "onnxruntime", onnx)
    (tmp_path / "kokoro.onnx").touch()
    with open(tmp_path / "voices-v1.0.bin", "wb") as file:
        np.savez(file, **{name: np.zeros((2, 1, 4), np.float32) for name in ("ef_eva", "bm_bob", "af_ann", "jf_kei")})
    return create_engine("kokoro", **options_for("kokoro", 200, str(tmp_path), ""))


def test_kokoro_says_each_text_in_the_voice_and_its_language(kokoro):
    assert kokoro.voices() == ["af_ann", "bm_bob", "ef_eva"]  # no phonemes of Japanese
    for voice, hertz in (("af_ann", 200), ("bm_bob", 100), ("ef_eva", 300)):
        samples = kokoro.speak(TEXT, voice)
        assert pitch(samples, kokoro.sample_rate) == hertz and np.abs(samples).max() == 1
    assert [kokoro.voice_in("bm_bob", language) for language in ("en-us", "es", "ja")] == ["bm_bob", "ef_eva", ""]
    with pytest.raises(InputError, match="'一' cannot be said in voice af_ann .Nothing to synthesize.; give it words"):
        kokoro.speak("一", "af_ann")


def test_a_damaged_file_of_voices_is_named(kokoro, tmp_path):
    (tmp_path / "voices-v1.0.bin").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match=r"voices-v1.0.bin: no file of Kokoro's voices \(.*\); fetch it again"):
        create_engine("kokoro", model=str(tmp_path))
    (tmp_path / "kokoro.onnx").unlink()
    with pytest.raises(InputError, match=r"is no folder with one \*.onnx and one voices\*.bin; get them from"):
        create_engine("kokoro", model=str(tmp_path))


def test_engines_together_say_what_each_says_at_the_rate_of_the_first(tmp_path):
    flite, espeak = f"flite={write_flite(tmp_path)}", create_engine("espeak", rate=160)
    mixed = create_engine("mixed", **options_for("mixed", 160, f"espeak {flite}", ""))
    assert [voice for voice in mixed.voices() if "flite" in voice] == ["flite:kal", "flite:rms", "flite:slt"]
    assert len(mixed.voices()) == 3 + len(espeak.voices()) and mixed.parallel
    own = espeak.speak(TEXT, "en-us+f3")
    np.testing.assert_array_equal(mixed.speak(TEXT, "espeak:en-us+f3"), own)
    said = mixed.speak(TEXT, "flite:slt")
    assert len(said) == mixed.sample_rate == 22050 and pitch(said, 22050) == 200
    low = create_engine("mixed", model=f"{flite} espeak", rate=160)
    said = low.speak(TEXT, "espeak:en-us+f3")
    assert (low.sample_rate, len(said)) == (16000, pytest.approx(len(own) / 22050 * 16000, abs=1))
    np.testing.assert_allclose(said.std(), own.std() / 32768, rtol=0.1)


def test_a_voice_of_engines_together_is_its_engine_s(tmp_path):
    mixed = create_engine("mixed", model=f"espeak flite={write_flite(tmp_path)}")
    near = [mixed.voice_in(voice, "en") for voice in ("flite:slt", "espeak:en-us+f3", "espeak:de")]
    assert near[:2] == ["flite:slt", "espeak:en-us+f3"] and near[2].startswith("espeak:en")
    assert mixed.voice_in("flite:slt", "eu") == ""
    voices = voices_by_language(["en"], ["flite:rms", "flite:rms", "espeak:en-us"], ["flite:slt"], mixed)
    assert voices == {"en": (["flite:rms", "flite:rms", "espeak:en-us"], ["flite:slt"])}
    for voice, told in (
        ("flite:awb", "voice 'awb': flite has no such voice; choose from kal, rms, slt"),
        ("slt", "voice 'slt': of no engine in tts.model .espeak, flite.; give it as <engine>:<voice>"),
    ):
        with pytest.raises(InputError, match=told):
            mixed.speak(TEXT, voice)
