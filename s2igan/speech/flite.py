"""Speech by Flite (Black and Lenzo 2001), a program of its own: English voices built from people's recordings."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from s2igan.errors import InputError
from s2igan.speech.audio import decode, resample
from s2igan.speech.engine import Voices, speech_or_error

SECONDS = 60.0  # in which it says a caption many times over
NOT_FOR_SENTENCES = "awb_time"  # a voice that can tell the time, and nothing else


class Flite(Voices):
    """Flite: float32 mono speech at 16,000 Hz, the same bytes in any process and any order.

    `model` is the program's name or path; its voices are those compiled into it (Debian: awb, kal, kal16, rms, slt).
    InputError where there is no such program.
    """

    name = "flite"
    sample_rate = 16000
    parallel = True
    ascii_only = True

    def __init__(self, model: str = "flite"):
        self._program = shutil.which(model or "flite")
        if not self._program:
            raise InputError(
                f"engine flite: no program {model or 'flite'}; install it (apt-get install flite), or give its path as "
                "tts.model"
            )
        listed = self._run("-lv").partition(":")[2].split()
        self._languages = {voice: "en-us" for voice in listed if voice != NOT_FOR_SENTENCES}

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Speech of `text`, float32 in [-1, 1], shape (T,). InputError as `require_sayable`, and for silence."""
        self.require_sayable(text, voice)
        with tempfile.TemporaryDirectory(prefix="flite-") as folder:
            path = Path(folder) / "said.wav"
            self._run("-voice", voice, "-t", " ".join(text.split()), "-o", str(path))
            samples, rate = decode(path)
        return speech_or_error(resample(samples, rate, self.sample_rate), text, voice)

    def _run(self, *words: str) -> str:
        try:
            done = subprocess.run([self._program, *words], capture_output=True, text=True, timeout=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{self._program}: does not run ({error}); give flite's path as tts.model") from error
        if done.returncode:
            told = " ".join(done.stderr.split())[-160:]
            raise InputError(f"{self._program}: exit status {done.returncode} ({told}); give flite's path as tts.model")
        return done.stdout
