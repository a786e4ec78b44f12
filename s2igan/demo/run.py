"""What the page shows, without the page: a finished run's ears, hand and memory, and its scores."""

# T samples, F frames, M mel bands, A speech embedding size, S image size

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2igan.catalog import Caption, Image, read_catalog
from s2igan.datasets.drawn.grammar import recolour
from s2igan.errors import InputError
from s2igan.find import heard_captions, nearest
from s2igan.machine import device
from s2igan.pipeline import Heard, Pipeline
from s2igan.report.measures import arrow, labels, read_scores, value
from s2igan.sen.embedding import image_embeddings
from s2igan.speech.recordings import RECORDINGS
from s2igan.store import ImageReader, RaggedReader
from s2igan.vision.transforms import centre_crop

MAX_SECONDS = 30
MAX_BYTES = 10 << 20
MAX_CHARACTERS = 300
VARIATIONS = 8
WALK = 8  # images from one caption to the other
NEAREST = 4

# Of the measures that metrics/report.html has, those that the page shows, and what stands beside each.
MEASURES = (
    "speech_to_image_map",
    "image_to_speech_map",
    "map",
    "fid",
    "is_mean",
    "part_colour_accuracy",
    "keyword_changed",
    "keyword_kept",
)
COLUMNS = ("score", "chance", "untrained", "shuffled", "oracle", "real")


class Limit:
    """At most `calls` in `seconds` seconds, of each visitor."""

    def __init__(self, calls: int = 30, seconds: float = 60, clock: Callable[[], float] = time.monotonic):
        self.calls, self.seconds, self.clock = calls, seconds, clock
        self._past: dict[str, deque[float]] = {}

    def admit(self, visitor: str) -> None:
        """Counts a call of `visitor`; InputError, with how long to wait, for one too many."""
        now = self.clock()
        self._past = {name: past for name, past in self._past.items() if now - past[-1] < self.seconds}
        past = self._past.setdefault(visitor, deque(maxlen=self.calls))
        if len(past) == self.calls and (left := past[0] + self.seconds - now) > 0:
            raise InputError(f"{self.calls} drawings in {self.seconds:g} s are enough; wait {left:.0f} s")
        past.append(now)


@dataclass
class Near:
    """A training caption or image, its cosine with the query, its image (3, S, S) and its sound as FLAC, if any."""

    caption: Caption
    cosine: float
    image: np.ndarray
    flac: bytes | None = None


class Run:
    """The run in this folder: `models/`, and where `data/` is there, the training captions and images as well.

    Raises InputError where a model is missing or damaged.
    """

    def __init__(self):
        self.pipeline = Pipeline(device=device())
        self.memory = Memory(self.pipeline) if all(Path(file).exists() for file in Memory.FILES) else None
        engine = "" if self.pipeline.reads_text else self.pipeline.config["speech"]["engine"]
        self.speaks = engine != RECORDINGS
        self.drawn_birds = self.speaks and self.memory is not None and self.memory.dataset == "aviary"

    def hear(self, recording: str | Path | None = None, text: str | None = "", voice: str | None = "") -> Heard:
        """A recording, or a sentence said by `voice` (or read, by a system that reads).

        Raises InputError for nothing, too much, or what is no speech.
        """
        pipeline, text = self.pipeline, " ".join((text or "").split())
        if recording:
            return pipeline.heard(listen(Path(recording), pipeline), "your recording")
        if not text:
            raise InputError("nothing to draw yet: record or upload a description, or type one")
        if len(text) > MAX_CHARACTERS:
            raise InputError(f"{len(text)} characters; {MAX_CHARACTERS} are the most: say it shorter")
        if voice and voice not in pipeline.voices:
            raise InputError(f"voice {voice}: choose one of {', '.join(pipeline.voices)}")
        return pipeline.hear(text, voice=voice)

    def draw(self, speech: np.ndarray, noises: Sequence[int], seed: int = 0) -> list[np.ndarray]:
        """`Heard.speech` of N -> images at each scale, each (N, 3, S, S).

        `noises` numbers the noise of each, as `s2igan speak --count` does: number 0 is its first image.
        """
        return self.pipeline.draw(speech, self.pipeline.seeds([str(noise) for noise in noises], int(seed or 0)))

    def variations(self, heard: Heard, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
        """The image at its scales, [(3, S, S), (3, 2S, 2S), (3, 4S, 4S)], and with VARIATIONS other noises."""
        many = 1 + VARIATIONS
        scales = self.draw(np.repeat(heard.speech[None], many, axis=0), range(many), seed)
        return [scale[0] for scale in scales], scales[-1][1:]

    def walk(self, start: Heard, end: Heard, seed: int = 0) -> np.ndarray:
        """Images (WALK, 3, S, S) on the line from one embedding to the other, all with one noise."""
        return self.draw(line(start.speech, end.speech, WALK), [0] * WALK, seed)[-1]

    def change(
        self, text: str, part: str, colour: str, voice: str | None = "", seed: int = 0
    ) -> tuple[Heard, Heard, np.ndarray]:
        """The keyword test: the sentence, the one with this part's colour changed, and an image (3, S, S) of each.

        Same voice, same noise. Raises InputError where the sentence has no colour of this part to change.
        """
        before = self.hear(text=text, voice=voice)
        after = self.hear(text=recolour(text, part, colour), voice=voice)
        return before, after, self.draw(np.stack([before.speech, after.speech]), [0, 0], seed)[-1]


class Memory:
    """Training captions and images as points of the shared space, by the SEN that the generator listens to.

    Raises InputError where a file of `data/` is damaged.
    """

    FILES = ("data/catalog", "data/images.h5", "data/image_features.h5")

    def __init__(self, pipeline: Pipeline):
        catalog = read_catalog("data/catalog")
        self.dataset, self._size = catalog.dataset, pipeline.shape[-1]
        self._captions = catalog.training_captions()
        trained = {caption.image: caption for caption in reversed(self._captions)}  # the first caption of each image
        self._images: list[Image] = [image for image in catalog.images if image.key in trained]
        self._first = [trained[image.key] for image in self._images]
        self._speech = heard_captions([caption.key for caption in self._captions], pipeline.device)
        self._seen = image_embeddings(pipeline.sen, [image.key for image in self._images], pipeline.device)

    def nearest(self, embedding: np.ndarray, count: int = NEAREST) -> tuple[list[Near], list[Near]]:
        """The training captions, with their sound, and the training images nearest to `embedding` (A,)."""
        rows, cosines = nearest(embedding, self._speech, count)
        captions = [self._captions[row] for row in rows]
        seen, image_cosines = nearest(embedding, self._seen, count)
        first = [self._first[row] for row in seen]
        with ImageReader("data/images.h5") as images:
            pixels = images.values([images.index(caption.image) for caption in captions + first])
        pixels = centre_crop(pixels, self._size).numpy()
        flacs = [None] * len(captions)
        if Path("data/speech.h5").exists():
            with RaggedReader("data/speech.h5", "speech") as speech:
                flacs = [speech.value(speech.index(caption.key)).tobytes() for caption in captions]
        heard = [Near(*near) for near in zip(captions, cosines, pixels[: len(captions)], flacs, strict=True)]
        return heard, [Near(*near) for near in zip(first, image_cosines, pixels[len(captions) :], strict=True)]


def listen(path: Path, pipeline: Pipeline) -> np.ndarray:
    """A visitor's recording -> samples (T,) at the models' rate.

    Raises InputError, which calls the file by its name alone, for one that is too long, too large or no speech.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(f"{path.name}: {size >> 20} MB; {MAX_BYTES >> 20} MB are the most: cut out the description")
    try:
        return pipeline.listen(path, MAX_SECONDS)
    except InputError as error:
        raise InputError(str(error).replace(str(path), path.name)) from None


def line(start: np.ndarray, end: np.ndarray, count: int) -> np.ndarray:
    """`count` points (N, A), from `start` (A,) to `end` (A,), brought back to norm 1, as all that a generator hears.

    Of embeddings with places (1 + P, A) each goes its own way; where only one of them has a place, it is that.
    """
    share = np.linspace(0, 1, count, dtype=np.float32).reshape(-1, *[1] * start.ndim)
    points = (1 - share) * start + share * end
    return points / np.linalg.norm(points, axis=-1, keepdims=True).clip(1e-12)


def scores(folder: str | Path = "metrics") -> list[tuple[str, list[float | None]]]:
    """Each score of metrics/*.json that is there, by name: the score, chance, untrained, shuffled, oracle, real.

    None where there is no such number.
    """
    found = read_scores(folder)
    return [
        (f"{label} {arrow(key)}", [value(found, key, column) for column in COLUMNS])
        for measures in labels(found, MEASURES).values()
        for key, label in measures.items()
    ]
