"""Words or a recording to an image, for people: what the command line and the keyword test call."""

# T samples, F frames, M mel bands, P places, A speech embedding size, S base size

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from s2igan.errors import InputError
from s2igan.rdg.model import load_generator
from s2igan.rdg.sampling import BATCH, generate, image_seed
from s2igan.sen.model import embed_speech, is_text_encoder, load_sen
from s2igan.sen.text_encoder import one_hot
from s2igan.speech.audio import MAX_SECONDS, decode, load_recording
from s2igan.speech.encoders import open_front_end
from s2igan.speech.log_mel import LogMel
from s2igan.speech.recordings import RECORDINGS
from s2igan.speech.synthesis import synthesize

SENTENCE = "your sentence"  # what a typed sentence is called in errors


@dataclass(frozen=True)
class Heard:
    """One utterance: what it is called, its samples (T,) and log-mel (F, M) (None of a text read), and as it is drawn.

    `speech` is the embedding (A,), for a generator with attention followed by places (1 + P, A).
    """

    name: str
    samples: np.ndarray | None
    log_mel: np.ndarray | None
    speech: np.ndarray

    @property
    def embedding(self) -> np.ndarray:
        """Its point in the space that it shares with images, (A,)."""
        return self.speech if self.speech.ndim == 1 else self.speech[0]


class Pipeline:
    """The trained models in a row: text -> speech -> log-mel -> embedding -> image.

    `models` is the folder with `rdg`, and `rdg_sen`, the SEN that it listens to. A system that reads has no speech
    and no log-mel: text -> embedding -> image. Raises InputError where one is missing or damaged.
    """

    def __init__(self, models: str | Path = "models", device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.generator, self.drawing = load_generator(Path(models) / "rdg")  # and its model.json's configuration
        self.sen, self.config = load_sen(Path(models) / "rdg_sen")
        self.sen.to(self.device)
        size = 4 * self.drawing["network"]["base_size"]
        self.shape = (3, size, size)  # of an image of the last scale
        self.sizes = [size // 2**i for i in reversed(range(self.drawing["network"]["scales"]))]  # pixels of each scale
        self.reads_text = is_text_encoder(self.config)
        self.front_end, self.log_mel = None, None  # what SEN takes of speech, and what people are shown of it
        if not self.reads_text:
            self.front_end = open_front_end(self.config, self.device)
            self.log_mel = LogMel(**self.config.get("log_mel", {"sample_rate": self.front_end.sample_rate}))

    @property
    def hears(self) -> tuple[int, ...]:
        """The shape of an utterance as it is drawn, (A,) or (1 + P, A)."""
        places = (1 + self.sen.places,) if self.sen.places else ()
        return (*places, self.sen.speech.embedding_dim)

    @property
    def sample_rate(self) -> int:
        """Of the speech that the models were trained on, in Hz."""
        return self.front_end.sample_rate

    @property
    def voices(self) -> list[str]:
        """The engine's voices that training has not heard; none for models of recordings, or of text."""
        speech = self.config["speech"]
        return [] if speech.get("engine") == RECORDINGS else speech.get("test_voices", [])

    @property
    def voice(self) -> str:
        """Who says a sentence unless told otherwise: the first of `voices`, "" where there is none."""
        return next(iter(self.voices), "")

    def say(self, spoken: Sequence[tuple[str, str, str]], workers: int = 1) -> list[np.ndarray]:
        """(key, text, voice) of each sentence -> samples (T,), by the engine that spoke the data set.

        Without a voice, `voice` says it.
        """
        if self.reads_text:
            raise InputError("these models read text and have no voice; give them the sentence alone")
        speech = self.config["speech"]
        if speech["engine"] == RECORDINGS:
            raise InputError("these models learned from recordings and have no voice of their own; use --wav FILE")
        spoken = [(key, text, voice or self.voice) for key, text, voice in spoken]
        utterances = synthesize(spoken, speech["engine"], speech["options"], workers)
        return [decode(flac, key)[0] for key, flac, _ in utterances]

    def require_hearing(self, what: str | Path) -> None:
        """Raises InputError where these models read text: they cannot take the sound `what`."""
        if self.reads_text:
            raise InputError(f"{what}: these models read text and hear nothing; give them the sentence alone")

    def listen(self, recording: str | Path, max_seconds: int = MAX_SECONDS) -> np.ndarray:
        """A recording in any format that `audio.decode` reads -> samples (T,) at `sample_rate`."""
        self.require_hearing(recording)
        return load_recording(recording, self.sample_rate, max_seconds)

    def hear(self, text: str | None = "", recording: str | Path | None = None, voice: str | None = "") -> Heard:
        """A recording, or a sentence that is said by `voice`, or read by a system that reads."""
        text = text or ""
        if recording:
            return self.heard(self.listen(recording), str(recording))
        if self.reads_text and not voice:
            return Heard(text, None, None, self.embed_sentences([(SENTENCE, text, "")])[0])
        return replace(self.heard(self.say([(SENTENCE, text, voice or "")])[0], SENTENCE), name=text)

    def heard(self, samples: np.ndarray, name: str) -> Heard:
        """Samples (T,) at `sample_rate`, called `name` in errors, as these models hear them."""
        (speech,) = self.embed([samples], [name], places=True)
        return Heard(name, samples, self.log_mel(samples), speech)

    def embed(self, speech: Sequence[np.ndarray], names: Sequence[str], places: bool = False) -> np.ndarray:
        """Samples (T,) of each utterance, called by `names` in errors -> speech embeddings (N, A).

        With `places`, as `draw` takes them.
        """
        frames = [self._frames_of(*utterance) for utterance in zip(speech, names, strict=True)]
        return embed_speech(self.sen, frames, BATCH, places=places)

    def _frames_of(self, samples: np.ndarray, name: str) -> np.ndarray:
        shortest = self.front_end.samples(self.sen.speech.min_frames)
        if len(samples) < shortest:
            # Rounded so that what there is never looks like what is needed.
            found = math.floor(100 * len(samples) / self.sample_rate) / 100
            needed = math.ceil(100 * shortest / self.sample_rate) / 100
            raise InputError(f"{name}: {found:.2f} s of speech; at least {needed:.2f} s are needed: record more")
        return self.front_end(samples)

    def embed_sentences(self, spoken: Sequence[tuple[str, str, str]], workers: int = 1) -> np.ndarray:
        """(key, text, voice) of each sentence, said and heard, or read -> what `draw` takes."""
        if self.reads_text:
            return embed_speech(self.sen, [one_hot(text, key) for key, text, _ in spoken], places=True)
        if not spoken:
            return embed_speech(self.sen, [], places=True)
        return self.embed(self.say(spoken, workers), [key for key, *_ in spoken], places=True)

    def draw(self, speech: np.ndarray, seeds: Sequence[int]) -> list[np.ndarray]:
        """Embeddings (N, A), or with places (N, 1 + P, A), -> uint8 images at each scale, (N, 3, S, S) and so on.

        `Heard.speech` of each. Raises InputError for embeddings alone where the generator attends to places.
        """
        if speech.shape[1:] != self.hears:
            raise InputError(
                f"speech of shape {speech.shape[1:]}: these models draw {self.hears}; give what `hear` has as `speech`"
            )
        batches = list(generate(self.generator, speech, seeds, BATCH, self.device))
        return [np.concatenate(scale) for scale in zip(*batches, strict=True)]

    def seeds(self, keys: Sequence[str], seed: int) -> list[int]:
        """A seed for each image, as the generate stage draws them."""
        return [image_seed(key, seed) for key in keys]
