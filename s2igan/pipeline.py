"""Words or a recording to an image, for people: what the command line and the keyword test call."""

# T samples, A speech embedding size, S base size

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from s2igan.errors import InputError
from s2igan.rdg.model import load_generator
from s2igan.rdg.sampling import generate, image_seed
from s2igan.sen.model import embed_speech, is_text_encoder, load_sen
from s2igan.sen.text_encoder import one_hot
from s2igan.speech.audio import decode, load_recording
from s2igan.speech.log_mel import LogMel
from s2igan.speech.recordings import RECORDINGS
from s2igan.speech.synthesis import synthesize


class Pipeline:
    """The trained models in a row: text -> speech -> log-mel -> embedding -> image.

    `models` is the folder with `rdg`, and `rdg_sen`, the SEN that it listens to. A system that reads has no speech
    and no log-mel: text -> embedding -> image. Raises InputError where one is missing or damaged.
    """

    def __init__(self, models: str | Path = "models", device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.generator, drawing = load_generator(Path(models) / "rdg")
        self.sen, self.config = load_sen(Path(models) / "rdg_sen")
        self.sen.to(self.device)
        size = 4 * drawing["network"]["base_size"]
        self.shape = (3, size, size)  # of an image of the last scale
        self.reads_text = is_text_encoder(self.config)
        self.log_mel = None if self.reads_text else LogMel(**self.config["log_mel"])

    @property
    def sample_rate(self) -> int:
        """Of the speech that the models were trained on, in Hz."""
        return self.config["log_mel"]["sample_rate"]

    @property
    def voices(self) -> list[str]:
        """The test voices of the data set: unseen in training."""
        return self.config["speech"].get("test_voices", [])

    def say(self, spoken: Sequence[tuple[str, str, str]], workers: int = 1) -> list[np.ndarray]:
        """(key, text, voice) of each sentence -> samples (T,), by the engine that spoke the data set."""
        speech = self.config["speech"]
        if speech["engine"] == RECORDINGS:
            raise InputError("these models learned from recordings and have no voice of their own; use --wav FILE")
        utterances = synthesize(spoken, speech["engine"], speech["options"], workers)
        return [decode(flac, key)[0] for key, flac, _ in utterances]

    def listen(self, recording: str | Path) -> np.ndarray:
        """A recording in any format that libsndfile reads -> samples (T,) at `sample_rate`."""
        if self.reads_text:
            raise InputError(f"{recording}: these models read text and hear nothing; give them a sentence")
        return load_recording(recording, self.sample_rate)

    def embed(self, speech: Sequence[np.ndarray], names: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Samples (T,) of each utterance, called by `names` in errors -> speech embeddings (N, A)."""
        log_mels = []
        for samples, name in zip(speech, names, strict=True):
            shortest = self.log_mel.window_length + (self.sen.speech.min_frames - 1) * self.log_mel.shift_length
            if len(samples) < shortest:
                # Rounded so that what there is never looks like what is needed.
                found = math.floor(100 * len(samples) / self.sample_rate) / 100
                needed = math.ceil(100 * shortest / self.sample_rate) / 100
                raise InputError(f"{name}: {found:.2f} s of speech; at least {needed:.2f} s are needed: record more")
            log_mels.append(self.log_mel(samples))
        return embed_speech(self.sen, log_mels, batch_size)

    def embed_sentences(self, spoken: Sequence[tuple[str, str, str]], workers: int = 1) -> np.ndarray:
        """(key, text, voice) of each sentence -> speech embeddings (N, A): said and heard, or read."""
        if self.reads_text:
            return embed_speech(self.sen, [one_hot(text, key) for key, text, _ in spoken])
        if not spoken:
            return np.empty((0, self.sen.speech.embedding_dim), np.float32)
        return self.embed(self.say(spoken, workers), [key for key, *_ in spoken])

    def draw(self, embeddings: np.ndarray, seeds: Sequence[int], batch_size: int = 32) -> list[np.ndarray]:
        """Embeddings (N, A) -> uint8 images at the three scales: (N, 3, S, S), (N, 3, 2S, 2S), (N, 3, 4S, 4S)."""
        batches = list(generate(self.generator, embeddings, seeds, batch_size, self.device))
        return [np.concatenate(scale) for scale in zip(*batches, strict=True)]

    def seeds(self, keys: Sequence[str], seed: int) -> list[int]:
        """A seed for each image, as the generate stage draws them."""
        return [image_seed(key, seed) for key in keys]
