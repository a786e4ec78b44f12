"""Speech by Piper (https://github.com/OHF-Voice/piper1-gpl): VITS networks of many languages, each a file.

A VITS draws its pitch, its rhythm and its waveform at random. Piper's networks draw inside ONNX Runtime, whose
generator goes on from one utterance to the next, so they speak here without noise: flatter, and as a function of text
and voice.
"""

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s2igan.errors import InputError
from s2igan.speech.audio import resample
from s2igan.speech.engine import Voices, speech_or_error

if TYPE_CHECKING:
    from piper import PiperVoice

KEPT = 8  # voices in memory at a time, some 60 MB each
HINT = "python -m piper.download_voices --data-dir FOLDER en_US-lessac-medium, and name FOLDER as tts.model"


class Piper(Voices):
    """Piper: float32 mono speech at 22,050 Hz, the same samples in any process and any order.

    `model` is a folder of voices, each <name>.onnx with its <name>.onnx.json. A voice is such a name, or, of a network
    with several speakers, name/speaker. InputError where piper-tts is not installed or the folder has no voice.
    """

    name = "piper"
    sample_rate = 22050
    parallel = True

    def __init__(self, model: str):
        self._folder = Path(model)
        self._languages = {}
        self._speakers: dict[str, tuple[str, int | None]] = {}
        for path in sorted(self._folder.glob("*.onnx")) if model else ():
            language, speakers = _settings(path)
            for speaker, number in speakers.items():
                voice = f"{path.stem}/{speaker}" if speaker else path.stem
                self._speakers[voice] = path.stem, number
                self._languages[voice] = language
        if not self._speakers:
            raise InputError(f"engine piper: {model!r} is no folder with voices (*.onnx); fetch some: {HINT}")
        try:
            import onnxruntime  # noqa: F401
            import piper  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"engine piper: cannot be imported ({error}); install it: python -m pip install piper-tts"
            ) from error

    def speak(self, text: str, voice: str) -> np.ndarray:
        """Speech of `text`, float32 in [-1, 1], shape (T,). InputError as `require_sayable`, and for silence."""
        from piper import SynthesisConfig

        self.require_sayable(text, voice)
        name, speaker = self._speakers[voice]
        network = _load(self._folder / f"{name}.onnx")
        settings = SynthesisConfig(speaker_id=speaker, noise_scale=0.0, noise_w_scale=0.0)
        said = [chunk.audio_float_array for chunk in network.synthesize(text.replace("[[", " "), settings)]
        samples = np.concatenate([np.zeros(0, np.float32), *said])
        return speech_or_error(resample(samples, network.config.sample_rate, self.sample_rate), text, voice)


def _settings(path: Path) -> tuple[str, dict[str, int | None]]:
    """Language (BCP 47) and the speakers' numbers of a voice. InputError where its .json does not say them."""
    try:
        about = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        code = about.get("language", {}).get("code") or about["espeak"]["voice"]
        speakers = about["speaker_id_map"] if about["num_speakers"] > 1 else {"": None}
        return code.replace("_", "-").lower(), speakers
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}.json: missing, or not of a Piper voice ({error}); fetch the voice again") from error


@functools.lru_cache(maxsize=KEPT)
def _load(path: Path) -> "PiperVoice":
    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers take the cores
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return PiperVoice(session, PiperConfig.from_dict(json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))))
    except Exception as error:  # whatever a damaged file brings about in a foreign library
        told = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: not to be loaded as a Piper voice ({told}); fetch it again") from error
