"""Every data set under one name, brought to the same catalog. A new one is an entry here and an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from s2igan.datasets import aviary
from s2igan.datasets.birds import COLOURS, PARTS, random_bird, random_pose, render
from s2igan.datasets.catalog import Caption, Catalog, Image
from s2igan.errors import InputError
from s2igan.machine import workers
from s2igan.parallel import ordered_map


@dataclass(frozen=True)
class Source:
    """A catalog and its pictures: `pictures(size)` yields uint8 (3, size, size) in catalog order."""

    catalog: Catalog
    pictures: Callable[[int], Iterator[np.ndarray]]


def load(name: str, **options) -> Source:
    """The data set `name`, with the options of its adapter; InputError for an unknown name."""
    if name not in _ADAPTERS:
        raise InputError(f"catalog.dataset={name}: unknown; choose one of {', '.join(NAMES)}")
    return _ADAPTERS[name](**options)


def _aviary(
    classes: int, test_classes: int, val_classes: int, images_per_class: int, captions_per_image: int, seed: int
) -> Source:
    table = aviary.species_table(classes, test_classes, val_classes, seed)
    images, captions, drawn = [], [], []
    for species in table:
        for index in range(images_per_class):
            key = f"{species.name}/{index:02d}"
            images.append(Image(key, "", species.name, species.split))
            drawn.append((species, index))
            texts = aviary.captions(species, index, captions_per_image, seed)
            captions += [Caption(f"{key}/{n:02d}", key, text, language="en") for n, text in enumerate(texts)]

    def pictures(size: int) -> Iterator[np.ndarray]:
        yield from ordered_map(partial(_draw, size=size, seed=seed), drawn, workers())

    return Source(Catalog(tuple(images), tuple(captions)), pictures)


def _draw(drawn: tuple[aviary.Species, int], size: int, seed: int) -> np.ndarray:
    species, index = drawn
    return aviary.render_image(species, index, size, seed).transpose(2, 0, 1)


def render_birds(count: int, size: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Birds whose part colours are drawn independently: uint8 (3, size, size) and colour numbers (parts,)."""
    yield from ordered_map(partial(_draw_any, size=size, seed=seed), range(count), workers())


def _draw_any(index: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, index])
    bird = random_bird(rng)
    colours = np.array([list(COLOURS).index(bird.colour(part)) for part in PARTS])
    return render(bird, random_pose(rng), size).transpose(2, 0, 1), colours


_ADAPTERS: dict[str, Callable[..., Source]] = {"aviary": _aviary}
NAMES = tuple(_ADAPTERS)
