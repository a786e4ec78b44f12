"""A data set's own files to its catalog, by the road of the stages `prepare` and `catalog`."""

import tempfile
from pathlib import Path

from s2igan.catalog import Catalog
from s2igan.datasets.converters import find_converter
from s2igan.errors import InputError
from s2igan.manifest import missing_files, read_manifest, write_manifest
from s2igan.selection import select
from s2igan.splits import Limits


def load(name: str, raw: Path, limits: Limits, disjoint: str = "") -> Catalog:
    """The catalog of data set `name`, whose files are in `raw`."""
    disjoint = disjoint or ("classes" if name in ("aviary", "cub", "oxford102") else "images")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "manifest.csv")
        write_manifest(table, find_converter(name).rows(Path(raw), limits))
        catalog, rows = select(read_manifest(table), limits, f"{Path(raw) / 'manifest.csv'}", disjoint)
        if name != "aviary":
            for fault in missing_files(rows, Path(raw), table):
                raise InputError(fault)
    return catalog
