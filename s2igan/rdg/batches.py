"""What one training step of RDG sees, drawn from nothing but (seed, step)."""

# B batch, K further captions, S load size, V views, F features, A speech embedding size, T frames, M mel bands

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from s2igan.checkpoint import step_generator
from s2igan.errors import InputError
from s2igan.sen.model import pad
from s2igan.sen.text_encoder import TextReader
from s2igan.store import FixedReader, RaggedReader
from s2igan.vision.transforms import random_crop_flip, to_float

IN_MEMORY_BYTES = 1 << 30
POSITIVES = ("same_class", "augmented_view")
NEGATIVES = ("different_class", "redrawn_once")


@dataclass(frozen=True)
class Batch:
    """Images (B, 3, 4S, 4S) in [-1, 1], their speech, another's, and frozen features of the relation's images.

    Speech is embeddings (B, A); where the encoder is trained, it is log-mels (B, T, M) with their lengths in frames.
    """

    images: Tensor
    speech: Tensor  # (B, A), or (B, T, M)
    mismatched: Tensor  # (B, A), or (B, T, M): speech of another class
    ground_truth: Tensor  # (B, F), I^GT
    same_class: Tensor  # (B, F), I^RI
    other_class: Tensor  # (B, F), I^MI
    groups: Tensor  # (B,), class numbers of the images, or an image's own where it has no class
    frames: Tensor | None = None  # (B,), of `speech`
    mismatched_frames: Tensor | None = None  # (B,)
    labels: Tensor | None = None  # (B,), classes of SEN's classifier, -1 for none
    more_speech: Tensor | None = None  # (K, A), further captions, which the matching loss tells the own ones from
    more_groups: Tensor | None = None  # (K,), of the images that they describe
    shifts: Tensor | None = None  # (2, B, 2) in [-1, 1]: how far augmentation moves real and generated images


class TrainingSet:
    """The training split: images, their captions' speech embeddings, their frozen features.

    `rows` are the images' rows in `images` and `features` (which share the catalog's order), `classes`
    their class numbers (-1: none, the image is of a kind of its own), `caption_rows[i]` the rows of image
    i's captions in `speech`: embeddings (N, A), or what a trained encoder takes. `labels` are the images' classes
    as SEN's classifier numbers them. An image that is alone in its class has another view of itself as its same-class
    partner. Without `relation`, nobody looks at the partners and any will do. `matching_captions` is K, which
    only embeddings have. Raises InputError where the relation needs a different class and there is none.
    """

    def __init__(
        self,
        images: FixedReader,
        features: np.ndarray,
        speech: np.ndarray | RaggedReader | TextReader,
        rows: np.ndarray,
        classes: np.ndarray,
        caption_rows: list[np.ndarray],
        *,
        crop_size: int,
        positive: str,
        negative: str,
        relation: bool = True,
        labels: np.ndarray | None = None,
        matching_captions: int = 0,
    ):
        self.rows, self.classes, self.caption_rows = rows, classes, caption_rows
        self.crop_size, self.positive, self.negative = crop_size, positive, negative
        self.relation = relation
        self.labels = np.full(len(rows), -1) if labels is None else labels
        self.features, self.speech = features, speech
        self.matching_captions = matching_captions
        size = int(np.prod(images.shape)) * len(rows)
        self._images = images.values(rows) if size <= IN_MEMORY_BYTES else None
        self._reader = images
        self.groups = np.where(classes < 0, classes.max() + 1 + np.arange(len(rows)), classes)
        self.all_captions = np.concatenate(caption_rows)
        self.caption_groups = np.repeat(self.groups, [len(captions) for captions in caption_rows])
        order = np.argsort(self.groups, kind="stable")
        names, starts = np.unique(self.groups[order], return_index=True)
        self.members = dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True))
        if relation and negative == "different_class" and len(self.members) < 2:
            raise InputError(
                f"{images.path}: all training images are of one class, so there is no different class; "
                "set rdg.relation_weight=0"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The batch of one step: an epoch is a permutation of the images, cut into batches of `size`."""
        per_epoch = len(self) // size
        order = torch.randperm(len(self), generator=step_generator(seed, step // per_epoch, "order"))
        start = (step % per_epoch) * size
        chosen = order[start : start + size].numpy()
        generator = step_generator(seed, step, "batch")
        rng = np.random.default_rng(generator.initial_seed())

        pictures = self._images[chosen] if self._images is not None else self._reader.values(self.rows[chosen])
        images = to_float(random_crop_flip(torch.from_numpy(pictures), self.crop_size, generator))
        captions = np.array([rng.choice(self.caption_rows[i]) for i in chosen])
        same = np.array([self._same_class(i, rng) for i in chosen])
        other = np.array([self._other_class(i, rng) for i in chosen])
        mismatched = np.array([rng.choice(self.caption_rows[self._of_another_class(i, rng)]) for i in chosen])
        more = rng.integers(len(self.all_captions), size=self.matching_captions)
        views = rng.integers(self.features.shape[1], size=(3, len(chosen)))
        # The same image as a partner comes in another view.
        views[1] = np.where(same == chosen, (views[0] + 1) % self.features.shape[1], views[1])

        speech, frames = self._speech(captions)
        mismatched, mismatched_frames = self._speech(mismatched)

        def frozen(which: np.ndarray, view: np.ndarray) -> Tensor:
            return torch.from_numpy(self.features[self.rows[which], view])

        return Batch(
            images=images,
            speech=speech,
            mismatched=mismatched,
            ground_truth=frozen(chosen, views[0]),
            same_class=frozen(same, views[1]),
            other_class=frozen(other, views[2]),
            groups=torch.from_numpy(self.groups[chosen]),
            frames=frames,
            mismatched_frames=mismatched_frames,
            labels=torch.from_numpy(self.labels[chosen]),
            more_speech=self._speech(self.all_captions[more])[0] if len(more) else None,
            more_groups=torch.from_numpy(self.caption_groups[more]) if len(more) else None,
            shifts=torch.rand(2, len(chosen), 2, generator=step_generator(seed, step, "shifts")) * 2 - 1,
        )

    def _speech(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        if isinstance(self.speech, np.ndarray):
            return torch.from_numpy(self.speech[rows]), None
        return pad(self.speech.values(rows))

    def _same_class(self, i: int, rng: np.random.Generator) -> int:
        members = self.members[self.groups[i]]
        if not self.relation or self.positive == "augmented_view" or len(members) < 2:
            return i
        return int(rng.choice(members[members != i]))

    def _other_class(self, i: int, rng: np.random.Generator) -> int:
        if self.negative == "redrawn_once":
            # The published code draws again once and takes what comes, of the same class or not.
            drawn = int(rng.integers(len(self)))
            return drawn if self.groups[drawn] != self.groups[i] else int(rng.integers(len(self)))
        return self._of_another_class(i, rng)

    def _of_another_class(self, i: int, rng: np.random.Generator) -> int:
        """An image of another class than image i's; where there is only one class, another picture."""
        while True:
            drawn = int(rng.integers(len(self)))
            if self.groups[drawn] != self.groups[i] if len(self.members) > 1 else drawn != i:
                return drawn
