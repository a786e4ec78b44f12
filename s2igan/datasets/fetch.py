"""Brings what is publicly addressed of a data set into its raw folder: checked, resumed, safely unpacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from s2igan.datasets import stamps
from s2igan.datasets.archive import fetch, unpack
from s2igan.errors import InputError


@dataclass(frozen=True)
class File:
    """A public file: where it is, what its MD5 sum is, whether it is an archive to unpack."""

    url: str
    md5: str
    archive: bool = True

    @property
    def name(self) -> str:
        return self.url.split("?")[0].rsplit("/", 1)[1]


_FLOWERS = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
FILES: dict[str, tuple[File, ...]] = {
    "cub": (
        File(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
            "97eceeb196236b17998738112f37df78",
        ),
    ),
    "oxford102": (
        File(f"{_FLOWERS}/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
        File(f"{_FLOWERS}/imagelabels.mat", "e0620be6f572b9609742df49c70aed4d", archive=False),
    ),
}
# What stays to be done by hand, since no public address serves it.
REST = {"cub": "Reed et al.'s captions", "oxford102": "Reed et al.'s captions"}


def _public(name: str) -> Callable[[Path], None]:
    def bring(folder: Path) -> None:
        for file in FILES[name]:
            path = fetch(file.url, folder / file.name, md5=file.md5)
            if file.archive:
                unpack(path, folder)

    return bring


_FETCHERS: dict[str, Callable[[Path], object]] = {**{name: _public(name) for name in FILES}, "stamps": stamps.fetch}
NAMES = tuple(_FETCHERS)


def fetch_data_set(name: str, folder: Path) -> str:
    """Brings data set `name` into `folder`; what is left for the user to do, or "".

    Raises InputError for a data set without a public address, and where fetching fails.
    """
    if name not in _FETCHERS:
        raise InputError(f"{name}: nothing to fetch; data/raw/{name}/README.md says where it comes from")
    folder.mkdir(parents=True, exist_ok=True)
    _FETCHERS[name](folder)
    return f"{REST[name]}: {folder}/README.md says where they are" if name in REST else ""
