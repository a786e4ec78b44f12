"""The one interface between the pipeline and a text-to-speech engine, and the engines by name.

A further engine joins with a class that has the members of `Engine` and an entry in `ENGINES`; no stage changes.
"""

import inspect
import pkgutil
from typing import Any, Protocol

import numpy as np

from s2igan.errors import InputError
from s2igan.speech.audio import is_silent


class Engine(Protocol):
    """Turns text into speech: the same text and voice give the same samples, in any process."""

    name: str
    sample_rate: int  # Hz
    parallel: bool  # whether processes may each have one; otherwise this process speaks

    def voices(self) -> list[str]:
        """Every voice that `speak` takes, sorted."""
        ...

    def voice_in(self, voice: str, language: str) -> str:
        """The voice itself where it speaks `language` (BCP 47, such as en or pt-br), or where nobody knows what it
        speaks; else the nearest that does, "" where there is none.
        """
        ...

    def require_sayable(self, text: str, voice: str) -> None:
        """Raises InputError, quickly, when the voice is unknown or when the text has nothing that it can say."""
        ...

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Mono speech, int16 or float32 in [-1, 1], shape (T,).

        InputError as `require_sayable`, and when what comes out is no speech.
        """
        ...


class Voices:
    """What engines share whose voices speak one language each: of each voice, its BCP 47 code in lower case."""

    name: str
    ascii_only = False  # what it can say
    _languages: dict[str, str]

    def voices(self) -> list[str]:
        """Every voice, sorted."""
        return sorted(self._languages)

    def voice_in(self, voice: str, language: str) -> str:
        """The voice itself where it speaks `language`, in whatever region; else the first that does, "" without one."""
        for one in (voice, *self.voices()):
            if self._languages[one].split("-")[0] == language.lower().split("-")[0]:
                return one
        return ""

    def require_sayable(self, text: str, voice: str) -> None:
        """Raises InputError when the voice is unknown, and for a text without a letter or digit that it can say."""
        if voice not in self._languages:
            known = ", ".join(self.voices()[:5]) + (", …" if len(self._languages) > 5 else "")
            raise InputError(f"voice {voice!r}: {self.name} has no such voice; choose from {known}")
        if not any(letter.isalnum() and (letter.isascii() or not self.ascii_only) for letter in text):
            raise InputError(f"{text!r} has no letter or digit that {self.name} can say; give it words")


# Engines bring heavy dependencies, so that one is imported when it is asked for.
ENGINES = {
    "espeak": "s2igan.speech.espeak:Espeak",
    "coqui": "s2igan.speech.coqui:Coqui",
    "flite": "s2igan.speech.flite:Flite",
    "piper": "s2igan.speech.piper:Piper",
    "kokoro": "s2igan.speech.kokoro:Kokoro",
    "mixed": "s2igan.speech.mixed:Mixed",
}


def options_for(name: str, rate: int, model: str, vocoder: str) -> dict[str, Any]:
    """Of the options that stages have for any engine, those that this one takes. InputError for an unknown engine."""
    taken = inspect.signature(_class_of(name)).parameters
    options = {"rate": rate, "model": model, "vocoder": vocoder}
    return {option: value for option, value in options.items() if option in taken}


def create_engine(name: str, **options: Any) -> Engine:
    """The engine of this name, built with its own options. InputError for an unknown engine."""
    return _class_of(name)(**options)


def _class_of(name: str) -> type[Engine]:
    if name not in ENGINES:
        raise InputError(f"engine {name!r}: unknown; choose from {', '.join(ENGINES)}")
    return pkgutil.resolve_name(ENGINES[name])


def speech_or_error(samples: np.ndarray, text: str, voice: str) -> np.ndarray:
    """The samples (T,) of what a voice made of a text; InputError where they are no sound."""
    if not len(samples) or not np.isfinite(samples).all() or is_silent(samples):
        raise InputError(f"{text!r} is silence in voice {voice}; give it words, or take another voice")
    return samples
