"""What one training step of RDG sees, drawn from nothing but (seed, step)."""

# B batch, K further captions, S base size, V views, F features, A speech embedding size, P places, T frames,
# M mel bands

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s2igan.data_parallel import own_rows
from s2igan.errors import InputError
from s2igan.options import choice, integer, switch
from s2igan.sen.embedding import HeardCaptions
from s2igan.sen.model import pad
from s2igan.store import ImageReader, RaggedReader
from s2igan.training import pass_order, step_generator
from s2igan.vision.facing import turned
from s2igan.vision.transforms import random_crop_flip, to_float

IN_MEMORY_BYTES = 1 << 30
NEGATIVES = ("different_class", "redrawn_once")
COMPARED = ("groups", "labels", "more_speech", "more_groups", "words")  # of a batch: what losses over all of it take


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Images (B, 3, 4S, 4S) in [-1, 1], their speech, and frozen features of the relation's images.

    Speech is embeddings (B, A), for attention with their places (B, 1 + P, A); where the encoder is trained, it is
    log-mels (B, T, M) with their lengths in frames.
    """

    images: Tensor
    speech: Tensor  # (B, A) or (B, 1 + P, A), or (B, T, M)
    ground_truth: Tensor  # (B, F), I^GT
    same_class: Tensor  # (B, F), I^RI
    other_class: Tensor  # (B, F), I^MI
    groups: Tensor  # (B,), class numbers of the images, or an image's own where it has no class
    shifts: Tensor  # (B, 2, 2) in [-1, 1]: how far augmentation moves real and generated images
    mismatched: Tensor | None = None  # (B, 3, 4S, 4S), the images I^MI, where D sees them with this speech
    frames: Tensor | None = None  # (B,), of `speech`
    labels: Tensor | None = None  # (B,), classes of SEN's classifier, -1 for none
    more_speech: Tensor | None = None  # (K, A), further captions, which the matching loss tells the own ones from
    more_groups: Tensor | None = None  # (K,), of the images that they describe
    words: Tensor | None = None  # (B, L), of the captions, numbers of `number_words`

    def share(self) -> Batch:
        """What this process of many takes of it: its own images, and whole what tells all images apart."""
        own = {name: own_rows(value) for name, value in vars(self).items() if value is not None}
        return replace(self, **own | {name: getattr(self, name) for name in COMPARED})


@dataclass(frozen=True)
class BatchConfig:
    """What a batch holds, and how the partners of the relation supervisor are chosen."""

    crop_size: int
    relation: bool  # without a supervisor nobody looks at the partners and any will do
    batch_size: int = integer(2)
    relation_negative: str = choice(NEGATIVES)
    mismatched: bool = switch("D also sees those negatives, real images, with this speech")
    matching_captions: int = integer(0, help="to tell the batch's own from")
    one_way: bool = False  # all images are turned to face one way; else each is mirrored at random


@dataclass(frozen=True)
class ImageTable:
    """The training images, n of them: their rows in the files, and what is known of each."""

    rows: np.ndarray  # (n,), in the files of images and of features, which share the catalog's order
    classes: np.ndarray  # (n,), class numbers; -1: none, the image is of a kind of its own
    caption_rows: list[np.ndarray]  # of image i, in the file of embeddings or log-mels
    labels: np.ndarray | None = None  # (n,), the classes as SEN's classifier numbers them; -1: none


class TrainingSet:
    """The training split: images, their captions' speech embeddings, their frozen features.

    `speech` are embeddings (N, A), captions that are heard with their places, or what a trained encoder takes; only
    the first two have `matching_captions`. `words` (N, L) are the captions' in the order of `speech`, where a decoder
    reads them. An image that is alone in its class has another view of itself as its same-class partner.

    Raises InputError for batches of more images than there are, and where the relation needs a different class and
    there is none.
    """

    def __init__(
        self,
        images: ImageReader,
        features: np.ndarray,
        speech: np.ndarray | HeardCaptions | RaggedReader,
        table: ImageTable,
        config: BatchConfig,
        words: np.ndarray | None = None,
    ):
        rows, classes = table.rows, table.classes
        if config.batch_size > len(rows):
            raise InputError(f"rdg.batch_size={config.batch_size}: only {len(rows)} training images; make it smaller")
        self.config = config
        self.rows, self.caption_rows = rows, table.caption_rows
        self.labels = np.full(len(rows), -1) if table.labels is None else table.labels
        self.features, self.speech, self.words = features, speech, words
        self.embeddings: Any = speech.embeddings if isinstance(speech, HeardCaptions) else speech
        self._images = images.values(rows) if images.lengths[rows].sum() <= IN_MEMORY_BYTES else None
        self._reader = images
        self._turned = turned(self._images or (images.values([row])[0] for row in rows)) if config.one_way else None
        self.groups = np.where(classes < 0, classes.max() + 1 + np.arange(len(rows)), classes)
        self.all_captions = np.concatenate(self.caption_rows)
        self.caption_groups = np.repeat(self.groups, [len(captions) for captions in self.caption_rows])
        order = np.argsort(self.groups, kind="stable")
        names, starts = np.unique(self.groups[order], return_index=True)
        self.members = dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True))
        if config.relation and config.relation_negative == "different_class" and len(self.members) < 2:
            raise InputError(
                f"{images.path}: all training images are of one class, so there is no different class; "
                "set rdg.relation_weight=0"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def chosen(self, seed: int, step: int) -> np.ndarray:
        """Which images (B,) a step sees: a pass is a permutation of all, cut into batches."""
        size = self.config.batch_size
        per_pass = len(self) // size
        order = pass_order(len(self), seed, step // per_pass, "order")
        start = (step % per_pass) * size
        return order[start : start + size].numpy()

    def keys(self, seed: int, step: int) -> list[str]:
        """The keys of the images that a step sees."""
        return [self._reader.keys[row] for row in self.rows[self.chosen(seed, step)]]

    def batch(self, seed: int, step: int) -> Batch:
        """What a step sees."""
        chosen = self.chosen(seed, step)
        generator = step_generator(seed, step, "batch")
        rng = np.random.default_rng(generator.initial_seed())

        images = self._crops(chosen, generator)
        captions = np.array([rng.choice(self.caption_rows[i]) for i in chosen])
        same = np.array([self._same_class(i, rng) for i in chosen])
        other = np.array([self._other_class(i, rng) for i in chosen])
        more = rng.integers(len(self.all_captions), size=self.config.matching_captions)
        views = rng.integers(self.features.shape[1], size=(3, len(chosen)))
        # The same image as a partner comes in another view.
        views[1] = np.where(same == chosen, (views[0] + 1) % self.features.shape[1], views[1])

        speech, frames = self._speech(captions)
        shifts = torch.rand(2, len(chosen), 2, generator=step_generator(seed, step, "shifts"))

        def frozen(which: np.ndarray, view: np.ndarray) -> Tensor:
            return torch.from_numpy(self.features[self.rows[which], view])

        return Batch(
            images=images,
            speech=speech,
            mismatched=self._crops(other, step_generator(seed, step, "mismatched")) if self.config.mismatched else None,
            ground_truth=frozen(chosen, views[0]),
            same_class=frozen(same, views[1]),
            other_class=frozen(other, views[2]),
            groups=torch.from_numpy(self.groups[chosen]),
            frames=frames,
            labels=torch.from_numpy(self.labels[chosen]),
            more_speech=torch.from_numpy(self.embeddings[self.all_captions[more]]) if len(more) else None,
            more_groups=torch.from_numpy(self.caption_groups[more]) if len(more) else None,
            words=None if self.words is None else torch.from_numpy(self.words[captions]),
            shifts=shifts.transpose(0, 1) * 2 - 1,
        )

    def _crops(self, which: np.ndarray, generator: torch.Generator) -> Tensor:
        images = [self._images[i] for i in which] if self._images else self._reader.values(self.rows[which])
        sides = None if self._turned is None else self._turned[which]
        return to_float(random_crop_flip(images, self.config.crop_size, generator, sides))

    def _speech(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        heard = self.speech[rows] if isinstance(self.speech, np.ndarray) else self.speech.values(rows)
        return pad(heard) if isinstance(heard, list) else (torch.from_numpy(heard), None)

    def _same_class(self, i: int, rng: np.random.Generator) -> int:
        members = self.members[self.groups[i]]
        if not self.config.relation or len(members) < 2:
            return i
        return int(rng.choice(members[members != i]))

    def _other_class(self, i: int, rng: np.random.Generator) -> int:
        """An image of another class than image i's; where there is only one class, another image."""
        if self.config.relation_negative == "redrawn_once":
            # The published code draws again once and takes what comes, of the same class or not.
            drawn = int(rng.integers(len(self)))
            return drawn if self.groups[drawn] != self.groups[i] else int(rng.integers(len(self)))
        while True:
            drawn = int(rng.integers(len(self)))
            if self.groups[drawn] != self.groups[i] if len(self.members) > 1 else drawn != i:
                return drawn
