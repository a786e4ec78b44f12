"""Several engines as one, so that voices of each are in training, or in the test."""

import numpy as np

from s2igan.errors import InputError
from s2igan.speech.audio import resample
from s2igan.speech.engine import Engine, create_engine, options_for


class Mixed:
    """Several engines: mono speech at the sample rate of the first, the same bytes in any process and any order.

    `model` names the engines, each with a model of its own behind "=" where it needs one: "espeak piper=voices".
    A voice is `<engine>:<voice>`; one that is listed twice says twice as many captions. `rate`: words a minute, of
    those engines that take it. InputError as each of them, and where none is named.
    """

    name = "mixed"

    def __init__(self, model: str, rate: int = 200):
        named = dict(part.partition("=")[::2] for part in model.split())
        if not named or self.name in named:
            raise InputError(f"engine mixed: {model!r} names no engines; give them as tts.model, such as: espeak flite")
        self._engines = {
            name: create_engine(name, **options_for(name, rate, its_model, "")) for name, its_model in named.items()
        }
        self.sample_rate = next(iter(self._engines.values())).sample_rate
        self.parallel = all(engine.parallel for engine in self._engines.values())

    def voices(self) -> list[str]:
        """Every voice, sorted."""
        return sorted(f"{name}:{voice}" for name, engine in self._engines.items() for voice in engine.voices())

    def voice_in(self, voice: str, language: str) -> str:
        """The voice itself where it speaks `language`, else the nearest of its engine, "" where that has none."""
        name, engine, own = self._found(voice)
        near = engine.voice_in(own, language)
        return near and f"{name}:{near}"

    def require_sayable(self, text: str, voice: str) -> None:
        """Raises InputError as the voice's engine does, and where there is no such engine."""
        _, engine, own = self._found(voice)
        engine.require_sayable(text, own)

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Speech of `text`, int16 or float32 in [-1, 1], shape (T,). InputError as the voice's engine."""
        _, engine, own = self._found(voice)
        return resample(engine.speak(text, own), engine.sample_rate, self.sample_rate)

    def _found(self, voice: str) -> tuple[str, Engine, str]:
        name, _, own = voice.partition(":")
        if name not in self._engines:
            known = ", ".join(self._engines)
            raise InputError(f"voice {voice!r}: of no engine in tts.model ({known}); give it as <engine>:<voice>")
        return name, self._engines[name], own
