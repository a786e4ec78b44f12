"""What one training step of RDG sees, drawn from nothing but (seed, step)."""

# B batch, S load size, V views, F features, A speech embedding size

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from s2igan.checkpoint import step_generator
from s2igan.errors import InputError
from s2igan.store import FixedReader
from s2igan.vision.transforms import random_crop_flip, to_float

IN_MEMORY_BYTES = 1 << 30
POSITIVES = ("same_class", "augmented_view")
NEGATIVES = ("different_class", "redrawn_once")


@dataclass(frozen=True)
class Batch:
    """Pictures (B, 3, 4S, 4S) in [-1, 1], their speech, another's, and frozen features of the relation's images."""

    images: Tensor
    speech: Tensor  # (B, A)
    mismatched: Tensor  # (B, A), speech that does not describe the pictures
    ground_truth: Tensor  # (B, F), I^GT
    same_class: Tensor  # (B, F), I^RI
    other_class: Tensor  # (B, F), I^MI


class TrainingSet:
    """The training split: pictures, their captions' speech embeddings, their frozen features.

    `rows` are the pictures' rows in `images` and `features` (which share the catalog's order), `classes`
    their class numbers (-1: no class, then a picture is of a kind of its own, and another view of it is its same-class
    partner), `caption_rows[i]` the rows of picture i's captions in
    `speech` (N, A). Without `relation`, nobody looks at the partners and any will do. Raises InputError
    where a picture has no partner that the relation needs.
    """

    def __init__(
        self,
        images: FixedReader,
        features: np.ndarray,
        speech: np.ndarray,
        rows: np.ndarray,
        classes: np.ndarray,
        caption_rows: list[np.ndarray],
        *,
        crop_size: int,
        positive: str,
        negative: str,
        relation: bool = True,
        mismatched_candidates: int = 1,
    ):
        self.rows, self.classes, self.caption_rows = rows, classes, caption_rows
        self.mismatched_candidates = mismatched_candidates
        self.crop_size, self.positive, self.negative = crop_size, positive, negative
        self.relation = relation
        self.features, self.speech = features, speech
        size = int(np.prod(images.shape)) * len(rows)
        self._images = images.values(rows) if size <= IN_MEMORY_BYTES else None
        self._reader = images
        self.kinds = np.where(classes < 0, classes.max() + 1 + np.arange(len(rows)), classes)
        self.members = {c: np.flatnonzero(self.kinds == c) for c in np.unique(self.kinds)}
        lonely = [rows[m[0]] for m in self.members.values() if len(m) < 2 and classes[m[0]] >= 0]
        if relation and positive == "same_class" and lonely:
            raise InputError(
                f"{images.keys[lonely[0]]}: the only training image of its class, so it has no same-class "
                "partner; add one, set rdg.relation_positive=augmented_view or rdg.relation_weight=0"
            )
        if relation and negative == "different_class" and len(self.members) < 2:
            raise InputError(
                f"{images.path}: all training images are of one class, so there is no different class; "
                "set rdg.relation_weight=0"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The batch of one step: an epoch is a permutation of the pictures, cut into batches of `size`."""
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
        views = rng.integers(self.features.shape[1], size=(3, len(chosen)))
        # The same picture as a partner comes in another view.
        views[1] = np.where(same == chosen, (views[0] + 1) % self.features.shape[1], views[1])

        def frozen(which: np.ndarray, view: np.ndarray) -> Tensor:
            return torch.from_numpy(self.features[self.rows[which], view])

        return Batch(
            images=images,
            speech=torch.from_numpy(self.speech[captions]),
            mismatched=torch.from_numpy(self._mismatched(chosen, captions, rng)),
            ground_truth=frozen(chosen, views[0]),
            same_class=frozen(same, views[1]),
            other_class=frozen(other, views[2]),
        )

    def _mismatched(self, chosen: np.ndarray, captions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(B, A): for each picture, of `mismatched_candidates` captions of other classes the most alike to its own.

        Where there are no other classes, captions of other pictures.
        """
        unfit = self.kinds if len(self.members) > 1 else np.arange(len(self))
        candidates = rng.integers(len(self), size=(len(chosen), self.mismatched_candidates))
        while (own := unfit[candidates] == unfit[chosen, None]).any():
            candidates[own] = rng.integers(len(self), size=own.sum())
        others = np.array([[rng.choice(self.caption_rows[i]) for i in row] for row in candidates])  # (B, K)
        alike = np.einsum("ba,bka->bk", self.speech[captions], self.speech[others])
        return self.speech[others[np.arange(len(chosen)), alike.argmax(axis=1)]]

    def _same_class(self, i: int, rng: np.random.Generator) -> int:
        members = self.members[self.kinds[i]]
        if not self.relation or self.positive == "augmented_view" or len(members) < 2:
            return i
        return int(rng.choice(members[members != i]))

    def _other_class(self, i: int, rng: np.random.Generator) -> int:
        drawn = int(rng.integers(len(self)))
        if not self.relation:
            return drawn
        if self.negative == "redrawn_once":
            # The published code draws again once and takes what comes, of the same class or not.
            return drawn if self.kinds[drawn] != self.kinds[i] else int(rng.integers(len(self)))
        while self.kinds[drawn] == self.kinds[i] if len(self.members) > 1 else drawn == i:
            drawn = int(rng.integers(len(self)))
        return drawn
