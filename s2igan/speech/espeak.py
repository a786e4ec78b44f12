"""Speech by eSpeak NG, from the library and voices inside the `espeakng_loader` wheel.

eSpeak NG carries state from one utterance to the next (the place in its pitch-flutter table,
breath noise, filter memories), some of it in variables that no call of its interface resets:
left alone, the same sentence differs by what was said before it. Two of its voices also draw noise
from the C library's `rand`. `Espeak.speak` therefore loads the library afresh for every
utterance and seeds both generators, which makes speech a function of text, voice and rate.
"""

import _ctypes
import ctypes
import functools
import os
import re
import tempfile
import threading
import unicodedata
from itertools import pairwise, takewhile
from pathlib import Path

import espeakng_loader
import numpy as np

from s2igan.errors import InputError

SHORTEST_SPEECH = 0.1  # seconds
FAINTEST_SPEECH = 328  # peak, 1 % of full scale
MEMORY = "/dev/shm"  # of Linux, a folder without a disk

# Constants of eSpeak NG's speak_lib.h.
_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000  # report a failed start instead of ending the process
_CHARACTERS_UTF8 = 1
_RATE = 1
_POSITION_CHARACTER = 1
_WORD, _CLAUSE_END = 1, 5  # of its events

_SEED = 1
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]+")  # eSpeak reads some of them as commands


class _Event(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int) for name in ("type", "identifier", "position", "length", "milliseconds", "sample")),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))

# What eSpeak calls a language that has no voice of just its name.
_MAIN_VOICE = {"en": "en-us", "fr": "fr-fr", "nn": "nb", "no": "nb", "zh": "cmn"}
# The languages whose voices read a script, as Unicode names its letters, that the others spell ("Chinese letter").
_READERS = {
    "CJK": ("cmn", "yue"),
    **dict.fromkeys(("HIRAGANA", "KATAKANA"), ("ja",)),
    "CYRILLIC": tuple("ba be bg bs cv hr ka kk ky lfn ltg lv mk nog ru sr tt uk uz".split()),
    "ARABIC": ("ar", "fa", "sd", "ug", "ur"),
    "ETHIOPIC": ("am", "ti"),
    **{"HEBREW": ("he",), "MYANMAR": ("my",), "ORIYA": ("or",), "TELUGU": ("te",), "THAI": ("th",)},
    **dict.fromkeys(("KHMER", "LAO", "TIBETAN"), ()),
}

# One utterance at a time: all engines of a process share the library's variables.
_library_lock = threading.Lock()


class Espeak:
    """eSpeak NG: 16-bit mono speech at 22,050 Hz, the same bytes in any process and any order.

    A voice is a language code, alone or with a variant: "en-us", "en-gb+f3". `rate` is in words a minute.
    """

    name = "espeak"
    sample_rate = 22050
    parallel = True

    def __init__(self, rate: int = 175):
        self.rate = rate
        self._library_path = espeakng_loader.get_library_path()
        self._data = _voice_data()
        self._libc = ctypes.CDLL(None)

    def voices(self) -> list[str]:
        """Every language alone, and every language with every variant, sorted."""
        variants = ["", *("+" + variant for variant in self._data.variants)]
        languages = self._data.languages
        return sorted(language + variant for language in languages for variant in variants)

    def voice_in(self, voice: str, language: str) -> str:
        """The voice itself where it speaks `language`; else that language with the voice's variant, "" without one.

        Of pt-br, pt is spoken where there is no voice of Brazil; of en, every region.
        """
        own, plus, variant = voice.partition("+")
        parts = language.split("-")
        for count in range(len(parts), 0, -1):
            wanted = "-".join(parts[:count])
            main = _MAIN_VOICE.get(wanted, wanted)
            if main in self._data.languages:
                return voice if own == main or own.startswith(f"{wanted}-") else f"{main}{plus}{variant}"
        return ""

    def require_sayable(self, text: str, voice: str) -> None:
        """Raises InputError when the voice is unknown, and when it cannot say the text: no letter or digit, or
        letters that it spells by their names, of a script that its language is not written in.
        """
        language, plus, variant = voice.partition("+")
        # eSpeak speaks in a default voice when it does not know the one asked for.
        if language not in self._data.languages or (plus and variant not in self._data.variants):
            raise InputError(
                f"voice {voice!r}: eSpeak NG has no such voice; take a language, alone or with a "
                "variant, such as en-us or en-gb+f3"
            )
        if not any(character.isalnum() for character in text):
            raise InputError(f"{text!r} has no letter or digit to say; give it words")
        for script in [] if text.isascii() else sorted({_script(c) for c in text if c.isalpha()} & _READERS.keys()):
            if language.split("-")[0] not in (readers := _READERS[script]):
                raise InputError(
                    f"{text!r} has {script} letters, which voice {voice} cannot read; voices that can: "
                    f"{', '.join(readers) or 'none'}; change the text's script or its language, or give a recording"
                )

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Speech of `text`, int16, shape (T,), with eSpeak's own short pause at the end.

        InputError as `require_sayable`, and for speech shorter than 0.1 s or with a peak below 1 % of full scale.
        """
        self.require_sayable(text, voice)
        samples, _ = self._synthesize(_CONTROL_CHARACTERS.sub(" ", text), voice)
        seconds = len(samples) / self.sample_rate
        if seconds < SHORTEST_SPEECH or np.abs(samples.astype(np.int32)).max() < FAINTEST_SPEECH:
            raise InputError(f"{text!r} is silence in voice {voice}; give it words")
        return samples

    def word_times(self, text: str, voice: str) -> list[tuple[int, float, float]]:
        """Of each word as spoken, where it begins in `text`, and from when to when it is heard, in seconds.

        Text without control characters. InputError as `require_sayable`.
        """
        self.require_sayable(text, voice)
        _, events = self._synthesize(text, voice)
        return [
            (position - 1, start / self.sample_rate, stop / self.sample_rate)
            for (kind, position, start), (_, _, stop) in pairwise(events)
            if kind == _WORD
        ]

    def _synthesize(self, text: str, voice: str) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
        """Samples (T,), and in order of time each word's beginning and clause's end: kind, place in text, sample."""
        pieces: list[bytes] = []
        heard: list[tuple[int, int, int]] = []

        @_SynthCallback
        def collect(wave, count, events):
            if wave and count > 0:
                pieces.append(ctypes.string_at(wave, 2 * count))
            for event in takewhile(lambda event: event.type, events or ()):
                if event.type in (_WORD, _CLAUSE_END):
                    heard.append((event.type, event.position, event.sample))
            return 0

        with _library_lock:
            self._data.link(voice.partition("+")[0])
            library = ctypes.CDLL(self._library_path)
            try:
                rate = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(self._data.folder), _DO_NOT_EXIT)
                if rate != self.sample_rate:
                    raise RuntimeError(f"eSpeak NG did not start (espeak_Initialize: {rate})")
                library.espeak_SetSynthCallback(collect)
                library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
                self._libc.srand(_SEED)
                # Before the voice: a variant would otherwise undo its language's own speed.
                library.espeak_SetParameter(_RATE, self.rate, 0)
                status = library.espeak_SetVoiceByName(voice.encode())
                spoken = text.encode("utf-8", errors="replace")
                status = status or library.espeak_Synth(
                    spoken,
                    ctypes.c_size_t(len(spoken) + 1),
                    0,
                    _POSITION_CHARACTER,
                    0,
                    _CHARACTERS_UTF8,
                    None,
                    None,
                )
                library.espeak_Terminate()
                if status != 0:
                    raise RuntimeError(f"eSpeak NG failed with status {status} on {text!r}")
            finally:
                handle = library._handle
                del library
                _ctypes.dlclose(handle)
            self._require_unloaded()
        return np.frombuffer(b"".join(pieces), dtype="<i2"), heard

    def _require_unloaded(self) -> None:
        """The promise of equal bytes hangs on the library really going away: check that it does."""
        try:
            ctypes.CDLL(self._library_path, mode=os.RTLD_NOLOAD)
        except OSError:
            return
        raise RuntimeError(
            f"{self._library_path} stays loaded (another package of this process uses it), so "
            "speech would depend on what was said before; synthesize in a process of its own"
        )


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0]


class _VoiceData:
    """eSpeak's data in a folder of links, where a language's file is named by its code.

    eSpeak looks first for a file of the voice's name in lower case. Its own folder has none
    ("lang/gmw/en-US"), so that it reads the header of each of some 250 voice files instead,
    which takes longer than speaking a caption.
    """

    def __init__(self):
        data = Path(espeakng_loader.get_data_path())
        # In memory where there is such a folder: on ext4 the removal of a long link waits for the disk.
        memory = MEMORY if os.access(MEMORY, os.W_OK) else None
        self._temporary = tempfile.TemporaryDirectory(prefix="espeak-", dir=memory)
        self.folder = Path(self._temporary.name)
        for path in data.iterdir():
            if path.name != "lang":
                (self.folder / path.name).symlink_to(path)
        (self.folder / "lang").mkdir()
        self._linked: set[str] = set()
        self.variants = {path.name for path in (data / "voices" / "!v").iterdir()}
        self.languages: dict[str, Path] = {}
        for path in sorted(path for path in (data / "lang").rglob("*") if path.is_file()):
            fields = re.findall(r"^(language|dictionary)\s+(\S+)", path.read_text("utf-8"), re.M)
            header = dict(reversed(fields))  # of several languages, the first is the file's own
            code = header["language"].lower()
            dictionary = header.get("dictionary", code.split("-")[0])
            # A few languages came into the wheel without their pronunciation.
            if (data / f"{dictionary}_dict").is_file():
                self.languages.setdefault(code, path)

    def link(self, language: str) -> None:
        """Make a language's file known to eSpeak, once."""
        if language not in self._linked:
            (self.folder / "lang" / language).symlink_to(self.languages[language])
            self._linked.add(language)


_voice_data = functools.cache(_VoiceData)  # one a process
