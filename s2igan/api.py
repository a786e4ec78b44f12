"""The trained models for Python programs: arrays in, arrays out. `s2igan.load` makes one."""

# T samples, A speech embedding size, H = W pixels of an image

from pathlib import Path

import numpy as np

from s2igan import machine
from s2igan.errors import InputError
from s2igan.pipeline import Heard, Pipeline
from s2igan.speech.audio import is_silent, mix_down, resample


class Models:
    """A speech encoder, the generator that listens to it, and the voice that its data set was read in.

    Speech is given as samples and their rate, as `soundfile.read` returns them: (T,) or (T, channels), floats in
    [-1, 1] or integers, at any rate. A sentence in their place is said by the first test voice and heard, or read
    by models that read (`reads_text`) and hear nothing.
    """

    def __init__(self, folder: str | Path = "models", device: str | None = None):
        self.pipeline = Pipeline(folder, device or machine.device())

    @property
    def reads_text(self) -> bool:
        """Whether these models take sentences alone."""
        return self.pipeline.reads_text

    @property
    def voices(self) -> list[str]:
        """Voices that `say` has, none of them heard in training; empty for models of recordings."""
        return self.pipeline.voices

    def say(self, text: str, voice: str | None = None) -> tuple[np.ndarray, int]:
        """`text` read aloud, by the first of `voices` unless told otherwise: float32 samples (T,), and their rate.

        Raises InputError for a voice that is not there, and for models that have none.
        """
        return self.pipeline.say([(text, text, voice or "")])[0], self.pipeline.sample_rate

    def embed(self, speech: np.ndarray | str, rate: int | None = None) -> np.ndarray:
        """Speech, or a sentence -> its point in the space that it shares with images, float32 (A,) of length 1.

        Raises InputError for speech that is too short, silent or not finite.
        """
        return self._hear(speech, rate).embedding

    def draw(self, speech: np.ndarray | str, rate: int | None = None, seed: int = 0) -> np.ndarray:
        """Speech, or a sentence -> an image of what it describes, uint8 (H, W, 3): what `s2igan speak` draws.

        Another `seed`, another image of the same. Raises InputError as `embed` does.
        """
        heard = self._hear(speech, rate)
        largest = self.pipeline.draw(heard.speech[None], self.pipeline.seeds(["0"], seed))[-1]  # (1, 3, H, W)
        return np.ascontiguousarray(largest[0].transpose(1, 2, 0))

    def _hear(self, speech: np.ndarray | str, rate: int | None) -> Heard:
        if isinstance(speech, str):
            return self.pipeline.hear(speech)
        self.pipeline.require_hearing("speech")
        return self.pipeline.heard(_mono(np.asarray(speech), rate, self.pipeline.sample_rate), "speech")


def _mono(samples: np.ndarray, rate: int | None, wanted: int) -> np.ndarray:
    """(T,) or (T, channels) at `rate` Hz -> float32 (T,) in [-1, 1] at `wanted` Hz."""
    if samples.ndim not in (1, 2) or not samples.size or samples.dtype.kind not in "iuf":
        raise InputError(f"speech: {samples.dtype} of shape {samples.shape}; give samples (T,) or (T, channels)")
    if not rate or rate < 0:
        raise InputError(f"speech: a rate of {rate} Hz; give the sample rate beside the samples")
    if samples.dtype.kind in "iu":
        limits = np.iinfo(samples.dtype)
        middle = (limits.max + limits.min + 1) // 2
        samples = (samples.astype(np.float32) - middle) / (limits.max + 1 - middle)
    mono = mix_down(samples.reshape(len(samples), -1).astype(np.float32))
    if not np.isfinite(mono).all() or is_silent(mono):
        raise InputError("speech: silent, or not finite; check the microphone and record it again")
    return resample(mono, rate, wanted)
