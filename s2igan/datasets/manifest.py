"""The user's own data: images and what is said of them, listed in `manifest.csv`; see data/raw/manifest/README.md."""

from __future__ import annotations

import os
from pathlib import Path

from s2igan.errors import InputError
from s2igan.manifest import Row, read_manifest, require_files, shown
from s2igan.splits import Limits


def rows(raw: Path, limits: Limits) -> list[Row]:
    """The rows of `manifest.csv` in `raw`, once every file that it names is there, within `raw`, under one name."""
    table = raw / "manifest.csv"
    found = read_manifest(table)
    require_files(found, raw, table)
    root = Path(os.path.realpath(raw))
    named: dict[tuple[str, int, int], tuple[str, int]] = {}
    checked: set[str] = set()
    for row in found:
        for column, path in (("image", row.image), ("recording", row.recording)):
            if not path or path in checked:
                continue
            checked.add(path)
            where, status = f"{table}: line {row.line}: {column} {shown(path)}", os.stat(raw / path)
            if not Path(os.path.realpath(raw / path)).is_relative_to(root):
                raise InputError(f"{where}: a link that leaves {raw}; copy the file itself there")
            other, line = named.setdefault((column, status.st_dev, status.st_ino), (path, row.line))
            if other != path:
                raise InputError(
                    f"{where}: is the same file as {shown(other)} on line {line}; write one path, or remove a row"
                )
    return found
