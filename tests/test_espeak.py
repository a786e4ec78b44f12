import os
import subprocess
import sys
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml

from s2igan.errors import InputError
from s2igan.speech.audio import decode
from s2igan.speech.espeak import Espeak
from s2igan.speech.synthesis import assign_voice, synthesize, voices_by_language

CONFIGURED = yaml.safe_load((Path(__file__).parent.parent / "conf/tts/espeak.yaml").read_text())["tts"]
TRAINING_VOICES, TEST_VOICES = CONFIGURED["train_voices"], CONFIGURED["test_voices"]
# Those that differ clearly from each other; the other training voices are variety.
DISTINCT_VOICES = TRAINING_VOICES[:10] + TEST_VOICES

TEXT = "this bird has a bright red crown and a short black bill"
OTHER = "a small yellow bird with grey wings"


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


def hashed(samples: np.ndarray) -> str:
    return sha256(samples.tobytes()).hexdigest()


# The last two draw from the C library's random numbers; whisper and klatt are mostly noise.
@pytest.mark.parametrize("voice", ["en-us", "en-us+f3", "en-gb+klatt4", "en-us+whisper", "en-us+Reed", "en-us+caleb"])
def test_same_bytes_whatever_was_said_before(espeak, voice):
    first = espeak.speak(TEXT, voice)
    for other_voice in ("en-us+m4", "en-us+klatt2", "de+whisper", "en-us+robosoft6"):
        espeak.speak(OTHER, other_voice)
        np.testing.assert_array_equal(espeak.speak(TEXT, voice), first)


def test_same_bytes_in_another_process_and_locale(espeak):
    script = (
        "import sys; from hashlib import sha256; from s2igan.speech.espeak import Espeak;"
        "e = Espeak(); e.speak(sys.argv[2], 'en-us');"
        "print(sha256(e.speak(sys.argv[1], 'en-us+f3').tobytes()).hexdigest())"
    )
    for locale in ("C", "C.UTF-8"):
        output = subprocess.run(
            [sys.executable, "-c", script, TEXT + " élan", OTHER],
            env={**os.environ, "LC_ALL": locale, "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert output.strip() == hashed(espeak.speak(TEXT + " élan", "en-us+f3"))


def test_two_engines_do_not_disturb_each_other(espeak):
    before = espeak.speak(TEXT, "en-us+f3")
    slow = Espeak(rate=120)
    assert len(slow.speak(TEXT, "en-us+f3")) > 1.2 * len(before)
    np.testing.assert_array_equal(espeak.speak(TEXT, "en-us+f3"), before)


def test_speech_is_plausible(espeak):
    samples = espeak.speak(TEXT, "en-us")
    assert samples.dtype == np.int16 and samples.ndim == 1
    assert 2 < len(samples) / espeak.sample_rate < 5  # 12 words at 175 a minute
    assert 5000 < np.abs(samples.astype(int)).max() <= 32768


def fundamental(samples: np.ndarray) -> float:
    """Median pitch in Hz by autocorrelation of the louder half of the frames."""
    frames = np.lib.stride_tricks.sliding_window_view(samples / 32768, 1024)[::512]
    frames = frames[frames.std(1) > np.median(frames.std(1))]
    power = np.abs(np.fft.rfft(frames - frames.mean(1, keepdims=True), 4096)) ** 2
    correlation = np.fft.irfft(power)[:, :450]
    lags = 55 + correlation[:, 55:].argmax(1)
    return 22050 / float(np.median(lags))


def spectrum(samples: np.ndarray) -> np.ndarray:
    """Long-term spectrum in 16 bands of equal ratio, dB about their mean."""
    frames = np.lib.stride_tricks.sliding_window_view(samples / 32768, 1024)[::512]
    power = (np.abs(np.fft.rfft(frames * np.hanning(1024))) ** 2).mean(0)
    edges = np.geomspace(6, 400, 17).astype(int)
    levels = [power[low:high].mean() for low, high in zip(edges[:-1], edges[1:], strict=True)]
    decibels = 10 * np.log10(levels)
    return decibels - decibels.mean()


def test_the_configured_voices_exist_and_test_voices_differ_clearly(espeak):
    assert len(TRAINING_VOICES) >= 8 and not set(TRAINING_VOICES) & set(TEST_VOICES)
    assert len({*TRAINING_VOICES, *TEST_VOICES}) == len(TRAINING_VOICES) + len(TEST_VOICES)
    assert {*TRAINING_VOICES, *TEST_VOICES} <= set(espeak.voices())
    spoken = {voice: espeak.speak(TEXT + ", " + OTHER, voice) for voice in DISTINCT_VOICES}
    heard = {voice: (fundamental(s), spectrum(s)) for voice, s in spoken.items()}
    for one, two in combinations(DISTINCT_VOICES, 2):
        semitones = abs(12 * np.log2(heard[one][0] / heard[two][0]))
        decibels = np.sqrt(np.mean((heard[one][1] - heard[two][1]) ** 2))
        assert semitones > 2 or decibels > 2.5, (one, two, semitones, decibels)


def test_a_voice_is_its_own_and_not_the_default(espeak):
    """eSpeak falls back to another voice in silence; each name must reach its own."""
    voices = ["en-us", "en-gb", "en-gb-scotland", "de", "en-us+f3", "en-gb+f3"]
    assert len({hashed(espeak.speak(TEXT, voice)) for voice in voices}) == len(voices)


@pytest.mark.parametrize("voice", ["", "xx", "en-us+nobody", "+f3", "../en-us"])
def test_unknown_voices_are_refused(espeak, voice):
    with pytest.raises(InputError, match="no such voice"):
        espeak.speak(TEXT, voice)


@pytest.mark.parametrize("text", ["", "***", "🐦 🌺", "\x01"])
def test_texts_without_words_are_refused(espeak, text):
    with pytest.raises(InputError):
        espeak.speak(text, "en-us")


def test_silence_is_refused(espeak, monkeypatch):
    monkeypatch.setattr(espeak, "_synthesize", lambda *_: (np.zeros(22050, np.int16), []))
    with pytest.raises(InputError, match="silence"):
        espeak.speak(TEXT, "en-us")


def test_control_characters_do_not_cut_or_command(espeak):
    plain = espeak.speak("a red bird", "en-us")
    for text in ("a\x00red bird", "a red\x01bird", "a\nred\tbird"):
        np.testing.assert_array_equal(espeak.speak(text, "en-us"), plain)


def test_processes_give_what_one_gives_in_order(espeak):
    colours = ("red", "blue", "green", "grey", "black")
    captions = [(f"c/i/{n:02d}", f"bird {n} is {colours[n % 5]}", DISTINCT_VOICES[n % 14]) for n in range(150)]
    alone = list(synthesize(iter(captions), "espeak", {"rate": 200}, workers=1))
    pooled = list(synthesize(iter(captions), "espeak", {"rate": 200}, workers=2))
    assert pooled == alone
    assert [key for key, _, _ in pooled] == [key for key, _, _ in captions]
    samples, sample_rate = decode(pooled[7][1])
    expected = Espeak(rate=200).speak(*captions[7][1:])
    assert sample_rate == 22050 and pooled[7][2] == len(expected) / 22050
    np.testing.assert_array_equal(samples * 32768, expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unsayable_caption_is_named_after_those_before_it(workers):
    captions = [("c/i/00", "red", "en-us"), ("c/i/01", "***", "en-us"), ("c/i/02", "", "en-us")]
    spoken = synthesize(captions, "espeak", {}, workers)
    assert next(spoken)[0] == "c/i/00"
    with pytest.raises(InputError, match="^caption c/i/01: .*no letter or digit") as caught:
        next(spoken)
    assert "\n" not in str(caught.value)


def test_synthesize_refuses_before_any_process_starts():
    with pytest.raises(InputError, match="festival"):
        next(synthesize([], "festival", {}, workers=2))


TRAIN, TEST = ["en-us+f3", "en-us", "en-gb+f3"], ["en-us+Annie"]


@pytest.mark.parametrize(("language", "train", "test", "spoken"), [
    # English is spoken by every voice that is configured, in its order: the draws of the birds hang on it.
    ("en", TRAIN, TEST, (TRAIN, TEST)),
    ("", ["es", "en-us"], TEST, (["es", "en-us"], TEST)),
    # A language that no configured voice speaks has its own voice, with the variants of each side.
    ("es", TRAIN, TEST, (["es+f3", "es"], ["es+Annie"])),
    ("fr", TRAIN, TEST, (["fr-fr+f3", "fr-fr"], ["fr-fr+Annie"])),
    ("zh-hant-tw", TRAIN, TEST, (["cmn+f3", "cmn"], ["cmn+Annie"])),
    ("sr-latin", TRAIN, TEST, (["sr+f3", "sr"], ["sr+Annie"])),
    ("pt-br", [*TRAIN, "pt"], TEST, (["pt-br+f3", "pt-br"], ["pt-br+Annie"])),
    # One that is configured is spoken by those voices alone, regions among them.
    ("es", [*TRAIN, "es-419", "es+m1"], [*TEST, "es"], (["es-419", "es+m1"], ["es"])),
    ("es", [*TRAIN, "es+Annie", "es"], [*TEST, "es+m1"], (["es+Annie", "es"], ["es+m1"])),
    ("en-gb", TRAIN, TEST, (["en-gb+f3"], ["en-gb+Annie"])),
])  # fmt: skip
def test_a_caption_is_spoken_by_voices_of_its_language(espeak, language, train, test, spoken):
    assert voices_by_language([language], train, test, espeak) == {language: spoken}


@pytest.mark.parametrize(("language", "train", "test", "told"), [
    ("tlh", TRAIN, TEST, "language tlh: espeak has no voice of it; record it, or say one of af, am, an, .*, yue$"),
    ("es", ["en-us"], ["en-gb"], "tts.test_voices: none for es beside es of training; name one"),
    ("en", ["en-us"], ["en-us"], "tts.test_voices: en-us is a training voice too; take it out"),
    ("en", ["en-us"], ["en-us+nobody"], "voice 'en-us.nobody': eSpeak NG has no such voice"),
])  # fmt: skip
def test_a_language_without_a_voice_is_told(espeak, language, train, test, told):
    with pytest.raises(InputError, match=told):
        voices_by_language([language], train, test, espeak)


@pytest.mark.parametrize(("text", "voice", "told"), [
    ("红鸟", "en-us", "'红鸟' has CJK letters, which voice en-us cannot read; voices that can: cmn, yue; change"),
    ("赤い鳥", "ja+f2", "has CJK letters, which voice ja.f2 cannot read"),
    ("a とり", "cmn", "has HIRAGANA letters, which voice cmn cannot read; voices that can: ja"),
    ("красная птица", "en-gb", "has CYRILLIC letters"),
    ("لون", "he", "has ARABIC letters"),
    ("ນົກ", "th", "has LAO letters, which voice th cannot read; voices that can: none; change"),
])  # fmt: skip
def test_a_script_that_a_voice_spells_is_refused(espeak, text, voice, told):
    with pytest.raises(InputError, match=told):
        espeak.speak(text, voice)


@pytest.mark.parametrize(("text", "voice"), [
    ("红鸟", "cmn"), ("とり トリー", "ja"), ("красная", "ru"), ("црвена", "sr"), ("сары құс", "kk"), ("پرنده", "fa"),
    ("naïve café, ½ π² 🐦", "en-us"), ("κόκκινο", "en-us"), ("빨간 새", "en-us"), ("लाल", "de"), ("pták", "ja"),
])  # fmt: skip
def test_what_a_voice_reads_or_hands_to_another_is_not_refused(espeak, text, voice):
    espeak.require_sayable(text, voice)


def test_assigned_voices_are_stable_and_even():
    keys = [f"class/{n}/00" for n in range(5000)]
    ten = TRAINING_VOICES[:10]
    voices = [assign_voice(key, ten) for key in keys]
    counts = [voices.count(voice) for voice in ten]
    assert min(counts) > 400 and max(counts) < 600
    # The first 8 bytes of sha256("abc") as an integer, modulo 10 (FIPS 180-2, appendix B).
    assert assign_voice("abc", ten) == ten[0xBA7816BF8F01CFEA % 10]
    with pytest.raises(InputError, match="none given"):
        assign_voice("abc", [])
