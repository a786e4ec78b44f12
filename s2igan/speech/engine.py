"""The one interface between the pipeline and a text-to-speech engine, and the engines by name.

A further engine joins with a class that has the members of `Engine`, one entry in `_ENGINES` and, where it
has options, a line in `options_for`; no stage changes.
"""

import inspect
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from s2igan.errors import InputError


class Engine(Protocol):
    """Turns text into speech: the same text and voice give the same samples, in any process."""

    name: str
    sample_rate: int  # Hz
    # Whether processes may each have one; otherwise this process speaks, with `speak_many` if there is one:
    # (texts, voices) -> what `speak` gives for each.
    parallel: bool

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


def _espeak() -> type[Engine]:
    from s2igan.speech.espeak import Espeak

    return Espeak


def _coqui() -> type[Engine]:
    from s2igan.speech.coqui import Coqui

    return Coqui


# Each entry imports its engine only when asked, since engines bring heavy dependencies.
_ENGINES: dict[str, Callable[[], type[Engine]]] = {"espeak": _espeak, "coqui": _coqui}
ENGINES = tuple(_ENGINES)


def options_for(name: str, rate: int, model: str, vocoder: str) -> dict[str, Any]:
    """Of the options that stages have for any engine, those that `create_engine` takes for this one."""
    return {"model": model, "vocoder": vocoder} if name == "coqui" else {"rate": rate}


def create_engine(name: str, **options: Any) -> Engine:
    """The engine of this name, built with its own options.

    InputError for an unknown engine or an option that the engine does not have.
    """
    if name not in _ENGINES:
        raise InputError(f"engine {name!r}: unknown; choose from {', '.join(ENGINES)}")
    engine = _ENGINES[name]()
    known = list(inspect.signature(engine).parameters)
    for option in options:
        if option not in known:
            raise InputError(f"engine {name}: unknown option {option!r}; its options are {', '.join(known)}")
    return engine(**options)
