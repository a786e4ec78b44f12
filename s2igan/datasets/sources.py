"""Every data set under one name, brought to the same catalog. A new one is an entry here and an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from s2igan.datasets import aviary, cub, flickr8k, manifest, oxford102, places, stamps
from s2igan.datasets.birds import COLOURS, PARTS, random_bird, random_pose, render
from s2igan.datasets.catalog import Caption, Catalog, Image
from s2igan.datasets.pictures import pictures as read_pictures
from s2igan.datasets.splits import Limits
from s2igan.errors import InputError
from s2igan.machine import workers
from s2igan.parallel import ordered_map


@dataclass(frozen=True)
class Source:
    """A catalog and its pictures.

    `pictures(size)` yields, in catalog order, uint8 (3, size, size), or the InputError of a file that is none.
    """

    catalog: Catalog
    pictures: Callable[[int], Iterator[np.ndarray | InputError]]


def load(name: str, raw: str, limits: Limits) -> Source:
    """The data set `name`, whose files are in folder `raw`; InputError where they are not as they should be."""
    if name not in NAMES:
        raise InputError(f"catalog.dataset={name}: unknown; choose one of {', '.join(NAMES)}")
    if name == "aviary":
        source = _aviary(limits)
    else:
        if not Path(raw).is_dir():
            raise InputError(f"{raw}: no such folder; data/raw/{name}/README.md says what goes where")
        adapter, disjoint = _ADAPTERS[name]
        catalog = replace(adapter(Path(raw), limits), disjoint=disjoint)
        source = Source(catalog, lambda size: read_pictures(Path(raw), catalog.images, size, workers()))
    return replace(source, catalog=replace(source.catalog, dataset=name, raw=raw))


# What a limit of 0 stands for: CUB's numbers of classes, and nearly its number of images.
_FULL = Limits(classes=200, test_classes=50, images_per_class=60, captions_per_image=10)


def _aviary(limits: Limits) -> Source:
    within = {name: value or getattr(_FULL, name) for name, value in asdict(limits).items()}
    full, seed = Limits(**within), limits.seed
    table = aviary.species_table(full.classes, full.test_classes, full.val_classes, seed)
    images, captions, drawn = [], [], []
    for species in table:
        for index in range(full.images_per_class):
            key = f"{species.name}/{index:02d}"
            images.append(Image(key, "", species.name, species.split))
            drawn.append((species, index))
            texts = aviary.captions(species, index, full.captions_per_image, seed)
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


# Each data set of files: its adapter, and what its splits do not share.
_ADAPTERS: dict[str, tuple[Callable[..., Catalog], str]] = {
    "cub": (cub.load, "classes"),
    "oxford102": (oxford102.load, "classes"),
    "flickr8k": (flickr8k.load, "images"),
    "places": (places.load, "images"),
    "stamps": (stamps.load, "images"),
    "manifest": (manifest.load, "images"),
}
NAMES = ("aviary", *_ADAPTERS)
