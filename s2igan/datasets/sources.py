"""Every data set under one name, brought to the same catalog. A new one is an entry here and an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from s2igan.datasets import aviary, cub, flickr8k, manifest, oxford102, places, stamps
from s2igan.datasets.catalog import Catalog
from s2igan.datasets.pictures import pictures as read_pictures
from s2igan.datasets.splits import Limits
from s2igan.errors import InputError
from s2igan.machine import workers


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
        source = Source(aviary.load(limits), lambda size: aviary.pictures(limits, size, workers()))
    else:
        if not Path(raw).is_dir():
            raise InputError(f"{raw}: no such folder; data/raw/{name}/README.md says what goes where")
        adapter, disjoint = _ADAPTERS[name]
        catalog = replace(adapter(Path(raw), limits), disjoint=disjoint)
        source = Source(catalog, lambda size: read_pictures(Path(raw), catalog.images, size, workers()))
    return replace(source, catalog=replace(source.catalog, dataset=name, raw=raw))


# Each data set of files: its adapter, and what its splits do not share.
_ADAPTERS: dict[str, tuple[Callable[[Path, Limits], Catalog], str]] = {
    "cub": (cub.load, "classes"),
    "oxford102": (oxford102.load, "classes"),
    "flickr8k": (flickr8k.load, "images"),
    "places": (places.load, "images"),
    "stamps": (stamps.load, "images"),
    "manifest": (manifest.load, "images"),
}
NAMES = ("aviary", *_ADAPTERS)
