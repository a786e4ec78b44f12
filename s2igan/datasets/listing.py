"""What the tables of a data set name: lines, files and the keys that come of them, handled alike everywhere."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from s2igan.errors import InputError


def lines(path: Path, pattern: str, form: str, hint: str, comment: str = "") -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number of each line, from 1, and what the groups of `pattern` (ASCII) match in it.

    The file is UTF-8, with or without a byte-order mark. Blank lines are left out, and those that start with
    `comment` where there is one. Raises InputError with path and `hint` for a missing file, and for a line that is
    not of the `form`.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; {hint}")
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").split("\n"), start=1):
        line = line.strip()
        if not line or (comment and line.startswith(comment)):
            continue
        match = re.fullmatch(pattern, line, re.ASCII)
        if not match:
            raise InputError(f"{path}: line {number} is {shown(line)!r}; expected {form!r}: {hint}")
        yield number, match.groups()


def key_name(text: str) -> str:
    """`text` as part of a key: ASCII without spaces, commas, quotes and slashes, _ in their place."""
    return re.sub(r"[^!-~]|[/\\,\"'`]", "_", text)


def unique_names(paths: Iterable[str], forms: Sequence[Callable[[str], str]]) -> dict[str, str]:
    """A key name for each path, by the first of `forms` that gives it to no other path, whatever the case.

    The last resort is the path's own hash. The order of the paths does not matter.
    """
    forms = [*forms, hashed]
    level = dict.fromkeys(paths, 0)
    while True:
        names = {path: key_name(forms[i](path)) for path, i in level.items()}
        count = Counter(name.casefold() for name in names.values())
        shared = [path for path, name in names.items() if count[name.casefold()] > 1 and level[path] + 1 < len(forms)]
        if not shared:
            return names
        for path in shared:
            level[path] += 1


def stem(path: str) -> str:
    """The file's name without its ending."""
    return PurePosixPath(path).stem


def without_ending(path: str) -> str:
    """The whole path without the file's ending."""
    return str(PurePosixPath(path).with_suffix(""))


def hashed(path: str) -> str:
    """The whole path and eight hexadecimal digits of its SHA-256."""
    return f"{path}_{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def inside(path: str, where: str) -> str:
    """A path that a table names, in its shortest form; `where` starts the message.

    Raises InputError for an absolute path, one with a step .. and one with a backslash.
    """
    if path.startswith("/") or PureWindowsPath(path).drive:
        raise InputError(f"{where} {shown(path)}: an absolute path; write it from the data set's folder")
    if "\\" in path:
        raise InputError(f"{where} {shown(path)}: has a backslash; write / between folder and file")
    if ".." in PurePosixPath(path).parts:
        raise InputError(f"{where} {shown(path)}: leaves its folder by ..; write it from the data set's folder")
    if not PurePosixPath(path).name or re.search("[\0\ud800-\udfff]", path):
        raise InputError(f"{where} {ascii(shown(path))}: not a file's name; correct it")
    return str(PurePosixPath(path))


def shown(value: str) -> str:
    """A value found in a table, short enough for a message."""
    return value if len(value) <= 80 else value[:79] + "…"


def require_file(raw: Path, path: str, hint: str) -> None:
    """Raises InputError, with what to do, if there is no file `path` in `raw`."""
    if not os.path.isfile(raw / path):
        raise InputError(f"{raw / path}: {absence(raw / path)}; {hint}")


def absence(path: Path) -> str:
    """Why there is no file: for a message."""
    return "a folder, not a file" if os.path.isdir(path) else "missing"
