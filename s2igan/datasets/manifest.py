"""The user's own data: images and what is said of them, listed in `manifest.csv`; see data/raw/manifest/README.md."""

import os
from collections.abc import Callable
from pathlib import Path

from s2igan.manifest import Row, missing_files, read_manifest, shown, stop
from s2igan.splits import Limits


def rows(raw: Path, limits: Limits) -> list[Row]:
    """The rows of the list `raw`, or of `manifest.csv` in it, if each file that it names is beside it, by one name."""
    return read_list(raw / "manifest.csv" if raw.is_dir() else raw, stop)


def read_list(table: Path, tell: Callable[[str], None]) -> list[Row]:
    """The rows of a list of files beside it; what is wrong with a row or its files is given to `tell`."""
    raw = table.parent
    found = read_manifest(table, raw, tell)
    for fault in missing_files(found, raw, table):
        tell(fault)
    root = Path(os.path.realpath(raw))
    named: dict[tuple[str, int, int], tuple[str, int]] = {}
    checked = {""}
    for column, row in ((column, row) for row in found for column in ("image", "recording")):
        path = getattr(row, column)
        if path in checked or not os.path.isfile(raw / path):
            continue
        checked.add(path)
        where, status = f"{table}: line {row.line}: {column} {shown(path)}", os.stat(raw / path)
        if not Path(os.path.realpath(raw / path)).is_relative_to(root):
            tell(f"{where}: a link that leaves {raw}; copy the file itself there")
        other, line = named.setdefault((column, status.st_dev, status.st_ino), (path, row.line))
        if other != path:
            tell(f"{where}: is the same file as {shown(other)} on line {line}; write one path, or remove a row")
    return found
