"""Captions to speech, over all cores, in order and without holding a data set in memory."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from s2igan.errors import InputError
from s2igan.parallel import ordered_map
from s2igan.speech.audio import encode_flac, resample
from s2igan.speech.engine import Engine, create_engine

CHUNK = 64  # captions that a worker takes at a time

Caption = tuple[str, str, str]  # key, text, voice
Utterance = tuple[str, bytes, float]  # key, FLAC, seconds


def assign_voice(key: str, voices: Sequence[str]) -> str:
    """The voice of a key: always the same, whatever other keys there are; evenly spread.

    InputError when there are no voices.
    """
    if not voices:
        raise InputError("voices: none given; name one at least")
    digest = hashlib.sha256(key.encode()).digest()
    return voices[int.from_bytes(digest[:8], "big") % len(voices)]


def voices_in(language: str, voices: Sequence[str], engine: Engine) -> list[str]:
    """Those of `voices` that speak `language` ("": all); where none does, the nearest voices that do.

    InputError, with the voices that there are, where the engine has none.
    """
    if not language:
        return list(voices)
    nearest = [engine.voice_in(voice, language) for voice in voices]
    own = [voice for voice, near in zip(voices, nearest, strict=True) if near == voice]
    if not any(nearest):
        known = ", ".join(sorted({voice.partition("+")[0] for voice in engine.voices()}))
        raise InputError(f"language {language}: {engine.name} has no voice of it; record it, or say one of {known}")
    return own or list(dict.fromkeys(filter(None, nearest)))


def require_voices(voices: Iterable[str], engine: Engine) -> None:
    """Raises InputError for the first of `voices` that the engine has not."""
    known = set(engine.voices())
    if unknown := [voice for voice in voices if voice not in known]:
        engine.require_sayable("a", unknown[0])


def voices_by_language(
    languages: Iterable[str], train_voices: Sequence[str], test_voices: Sequence[str], engine: Engine
) -> dict[str, tuple[list[str], list[str]]]:
    """The voices of training and of the test for each language, none in both unless the engine has but one.

    InputError for a voice that is unknown or asked for twice, and for a language without a voice for each.
    """
    known = set(engine.voices())
    require_voices((*train_voices, *test_voices), engine)
    one = len(known) == 1
    if (shared := set(train_voices) & set(test_voices)) and not one:
        raise InputError(f"tts.test_voices: {sorted(shared)[0]} is a training voice too; take it out")
    found = {}
    for language in sorted(set(languages)):
        train, test = (voices_in(language, voices, engine) for voices in (train_voices, test_voices))
        found[language] = train, test if one else [voice for voice in test if voice not in train]
        if not found[language][1]:
            raise InputError(f"tts.test_voices: none for {language} beside {', '.join(train)} of training; name one")
    return found


def unsayable(captions: Iterable[Caption], engine: Engine) -> Iterator[tuple[str, str]]:
    """The key of each (key, text, voice) whose text the voice cannot say, and why."""
    for key, text, voice in captions:
        try:
            engine.require_sayable(text, voice)
        except InputError as error:
            yield key, str(error)


def synthesize(
    captions: Iterable[Caption],
    engine_name: str,
    engine_options: Mapping[str, Any],
    workers: int,
    sample_rate: int = 0,
) -> Iterator[Utterance]:
    """Speak (key, text, voice) triples: (key, 16-bit FLAC, seconds), in the order of the captions.

    At `sample_rate` Hz, or where it is 0 at the engine's.
    The bytes do not depend on `workers`, the number of processes; 1 speaks in this one, and so does an engine
    that is not `parallel`. Captions are read as they are needed, a few chunks ahead.
    InputError with the key of the first caption that cannot be said.
    """
    # Here, so that an unknown engine or option is told before any process starts.
    engine = create_engine(engine_name, **engine_options)
    rate = sample_rate or engine.sample_rate
    speak = partial(_speak, engine_name=engine_name, engine_options=dict(engine_options), sample_rate=rate)
    yield from ordered_map(speak, captions, workers if engine.parallel else 1, CHUNK)


_engine = lru_cache(maxsize=1)(create_engine)  # built once a process


def _speak(caption: Caption, engine_name: str, engine_options: dict[str, Any], sample_rate: int) -> Utterance:
    engine = _engine(engine_name, **engine_options)
    key, text, voice = caption
    try:
        samples = engine.speak(text, voice)
    except InputError as error:
        raise InputError(f"caption {key}: {error}") from None
    samples = resample(samples, engine.sample_rate, sample_rate)
    return key, encode_flac(samples, sample_rate), len(samples) / sample_rate
