"""Speech by Kokoro (82 million weights, Apache 2.0), through kokoro-onnx: some fifty voices in one network.

Its phonemes come from eSpeak NG, its sound does not. In its ONNX form (v1.0) no node draws at random.
"""

import functools
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s2igan.errors import InputError
from s2igan.speech.engine import Voices, speech_or_error

if TYPE_CHECKING:
    import kokoro_onnx

# By the first letter of a voice's name, as in af_heart: eSpeak's languages. Japanese (j) and Chinese (z) were learnt
# from phonemes that eSpeak does not make.
LANGUAGES = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
FILES = ("*.onnx", "voices*.bin")


class Kokoro(Voices):
    """Kokoro: float32 mono speech at 24,000 Hz, the same samples in any process and any order.

    `model` is a folder with one network, *.onnx, and one file of voices, voices*.bin. InputError where either is
    missing, or kokoro-onnx is not installed.
    """

    name = "kokoro"
    sample_rate = 24000
    parallel = True

    def __init__(self, model: str):
        found = [sorted(Path(model).glob(pattern)) if model else [] for pattern in FILES]
        if [len(files) for files in found] != [1, 1]:
            raise InputError(
                f"engine kokoro: {model!r} is no folder with one {' and one '.join(FILES)}; get them from "
                "https://github.com/thewh1teagle/kokoro-onnx/releases, and name the folder as tts.model"
            )
        self._files = found[0][0], found[1][0]
        try:
            import kokoro_onnx  # noqa: F401

            names = np.load(self._files[1]).files
        except ImportError as error:
            raise InputError(
                f"engine kokoro: cannot be imported ({error}); install it: python -m pip install kokoro-onnx"
            ) from error
        except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise InputError(f"{self._files[1]}: no file of Kokoro's voices ({error}); fetch it again") from error
        self._languages = {name: LANGUAGES[name[0]] for name in names if name[0] in LANGUAGES}

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Speech of `text`, float32 in [-1, 1], shape (T,). InputError as `require_sayable`, and for silence."""
        self.require_sayable(text, voice)
        try:
            samples, _ = _load(*self._files).create(text, voice, lang=self._languages[voice])
        except ValueError as error:  # of a text that becomes no phoneme
            raise InputError(f"{text!r} cannot be said in voice {voice} ({error}); give it words") from error
        return speech_or_error(samples, text, voice).clip(-1, 1)


@functools.lru_cache(maxsize=1)
def _load(network: Path, voices: Path) -> "kokoro_onnx.Kokoro":
    import espeakng_loader
    import kokoro_onnx
    import onnxruntime
    from kokoro_onnx.config import EspeakConfig

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers take the cores
    # kokoro-onnx keeps eSpeak's library loaded, which the engine of that name loads afresh for each utterance.
    library = shutil.copy(espeakng_loader.get_library_path(), _folder().name)
    try:
        session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        espeak = EspeakConfig(lib_path=str(library), data_path=espeakng_loader.get_data_path())
        return kokoro_onnx.Kokoro.from_session(session, str(voices), espeak)
    except Exception as error:  # whatever a damaged file brings about in a foreign library
        told = " ".join(str(error).split())[:160]
        raise InputError(f"{network}: not to be loaded as Kokoro ({told}); fetch it again") from error


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="kokoro-")
