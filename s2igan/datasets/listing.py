"""Lines of the tables that data sets come with."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from s2igan.errors import InputError
from s2igan.manifest import shown


def lines(path: Path, pattern: str, form: str, hint: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number of each line, from 1, and what the groups of `pattern` (ASCII) match in it.

    The file is UTF-8, with or without a byte-order mark. Blank lines are left out. Raises InputError with path and
    `hint` for a missing file, and for a line that is not of the `form`.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; {hint}")
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").split("\n"), start=1):
        line = line.strip()
        if not line:
            continue
        match = re.fullmatch(pattern, line, re.ASCII)
        if not match:
            raise InputError(f"{path}: line {number} is {shown(line)!r}; expected {form!r}: {hint}")
        yield number, match.groups()


def first_folder(raw: Path, folders: Sequence[str], what: str, hint: str, holds: str = "*") -> str:
    """The first of `folders` in `raw` with something that matches `holds`; InputError, ending in `hint`, if none."""
    for folder in folders:
        if next((raw / folder).glob(holds), None):
            return folder
    raise InputError(f"{raw}: no {what}, looked for {', '.join(folders)}; {hint}")
