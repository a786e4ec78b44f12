"""The embedded data set: drawn birds, described by a grammar. It has no raw files; `prepare` draws its images."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import PIL.Image

from s2igan.datasets.drawn.species import Species, captions, render_image, species_table
from s2igan.datasets.svg import encoded
from s2igan.manifest import Row
from s2igan.parallel import ordered_map
from s2igan.splits import Limits

# What a limit of 0 stands for: CUB's numbers of classes, and nearly its number of images.
FULL = Limits(classes=200, test_classes=50, images_per_class=60, captions_per_image=10)


def rows(raw: Path, limits: Limits) -> Iterator[Row]:
    """A row per caption of the birds within `limits`; a class is a species, split by `species_table`.

    Raises InputError where the limits leave too few species to train with.
    """
    limits = _within_full(limits)
    for species, index in _numbered(limits):
        for number, text in enumerate(captions(species, index, limits.captions_per_image, limits.seed)):
            key = f"{species.name}/{index:02d}/{number:02d}"
            yield Row(
                image=_path(species, index),
                text=text,
                class_name=species.name,
                language="en",
                split=species.split,
                key=key,
            )


def drawings(limits: Limits, size: int, workers: int) -> Iterator[tuple[str, bytes]]:
    """The path of each image of `rows`, and a PNG of `size` x `size` pixels."""
    limits = _within_full(limits)
    paths = (_path(species, index) for species, index in _numbered(limits))
    drawn = ordered_map(partial(_png, size=size, seed=limits.seed), _numbered(limits), workers)
    yield from zip(paths, drawn, strict=True)


def _within_full(limits: Limits) -> Limits:
    return Limits(**{name: value or getattr(FULL, name) for name, value in asdict(limits).items()})


def _numbered(limits: Limits) -> Iterator[tuple[Species, int]]:
    for species in species_table(limits.classes, limits.test_classes, limits.val_classes, limits.seed):
        for index in range(limits.images_per_class):
            yield species, index


def _path(species: Species, index: int) -> str:
    return f"{species.name}/{index:02d}.png"


def _png(image: tuple[Species, int], size: int, seed: int) -> bytes:
    return encoded(PIL.Image.fromarray(render_image(*image, size, seed)))
