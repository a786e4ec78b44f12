"""The one interface between the pipeline and a text-to-speech engine, and the engines by name.

A further engine joins with a class that has the members of `Engine` and an entry in `ENGINES`; no stage changes.
"""

import inspect
import pkgutil
from typing import Any, Protocol

import numpy as np

from s2igan.errors import InputError


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


# Engines bring heavy dependencies, so that one is imported when it is asked for.
ENGINES = {"espeak": "s2igan.speech.espeak:Espeak", "coqui": "s2igan.speech.coqui:Coqui"}


def options_for(name: str, rate: int, model: str, vocoder: str) -> dict[str, Any]:
    """Of the options that stages have for any engine, those that this one takes."""
    taken = inspect.signature(pkgutil.resolve_name(ENGINES[name])).parameters
    options = {"rate": rate, "model": model, "vocoder": vocoder}
    return {option: value for option, value in options.items() if option in taken}


def create_engine(name: str, **options: Any) -> Engine:
    """The engine of this name, built with its own options. InputError for an unknown engine."""
    if name not in ENGINES:
        raise InputError(f"engine {name!r}: unknown; choose from {', '.join(ENGINES)}")
    return pkgutil.resolve_name(ENGINES[name])(**options)
