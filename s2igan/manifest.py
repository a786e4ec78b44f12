"""The manifest: one table of images and what is said of them, the only way by which a data set comes in."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from s2igan.catalog import SPLITS
from s2igan.errors import InputError
from s2igan.files import write_csv

COLUMNS = ("image", "box", "recording", "text", "class", "speaker", "language", "split", "key")
_README = "data/raw/manifest/README.md"


@dataclass(frozen=True)
class Row:
    """One description of one image; an empty field says nothing.

    `image` and `recording` are paths from the data set's folder; `box` is "x y w h", the part of the image to cut
    out, in its pixels. Where there are a recording and a text, the recording is heard. `key` is the description's
    own, `<class>/<image>/<nn>`, where the data set has names of its own for them. `line` is where the row starts
    in the table that it was read from.
    """

    image: str
    box: str = ""
    recording: str = ""
    text: str = ""
    class_name: str = ""
    speaker: str = ""
    language: str = ""
    split: str = ""
    key: str = ""
    line: int = 0


def write_manifest(path: str | Path, rows: Iterable[Row]) -> None:
    """Writes `rows` as a CSV in UTF-8."""
    write_csv(path, COLUMNS, (astuple(row)[: len(COLUMNS)] for row in rows))


def read_manifest(table: str | Path) -> list[Row]:
    """The rows of a manifest, paths in their shortest form, if each is complete and all agree with each other.

    Whether their files are there is not looked at (`require_files`). Raises InputError with line and hint if the
    table is missing, not UTF-8, not separated by commas, lacks a column or has an unknown one, is without rows, or
    holds a row that is empty, too short, too long, or says otherwise than another row of its image.
    """
    table = Path(table)
    records = _records(table)
    line, header = next(records, (1, []))
    columns = [name.strip().lower() for name in header]
    _check_columns(table, line, columns)
    rows = []
    for line, record in records:
        values = [value.strip() for value in record]
        where = f"{table}: line {line}"
        if not any(values):
            raise InputError(f"{where}: empty row; remove it")
        if len(values) != len(columns):
            raise InputError(
                f"{where}: {len(values)} fields, but the header has {len(columns)}; "
                'put "quotes" around a text that has commas'
            )
        if any(value for name, value in zip(columns, values, strict=True) if not name):
            raise InputError(f"{where}: a value in a column without a name; name the column or empty it")
        values = {"class_name" if name == "class" else name: value for name, value in zip(columns, values, strict=True)}
        values.pop("", None)
        rows.append(_complete(where, Row(line=line, **values)))
    if not rows:
        raise InputError(f"{table}: no rows under the header; write one for each description")
    return _agreeing(table, rows)


def require_files(rows: Iterable[Row], raw: Path, table: str | Path) -> None:
    """Raises InputError, naming table and line, if a file that `rows` name is not below the folder `raw`."""
    seen: set[str] = set()
    for row in rows:
        for column in ("image", "recording"):
            path = getattr(row, column)
            if path and path not in seen and not os.path.isfile(raw / path):
                raise InputError(
                    f"{table}: line {row.line}: {column} {shown(path, 300)}: {absence(raw / path)}; "
                    f"correct the path, or put the file into {raw}"
                )
            seen.add(path)


def _records(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it starts on."""
    if not table.is_file():
        raise InputError(f"{table}: {absence(table)}; write the list of your data there ({_README} shows how)")
    content = table.read_bytes()
    try:
        text = content.decode("utf-8")
        start, found = content.find(0), "a zero byte"  # UTF-16 has many
    except UnicodeDecodeError as error:
        start, found = error.start, "not UTF-8"
    if start >= 0:
        line = content.count(b"\n", 0, start) + 1
        raise InputError(
            f"{table}: line {line}: {found} at byte {start + 1}; save it as UTF-8 CSV (in Excel: CSV UTF-8)"
        )
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{table}: line {line}: not CSV ({error}); close each quote, and double one inside a quoted text"
        ) from None


def _check_columns(table: Path, line: int, columns: list[str]) -> None:
    where, found = f"{table}: line {line}", shown(", ".join(columns)) or "none"
    if len(columns) == 1:
        for sign, name in ((";", "semicolons"), ("\t", "tabs")):
            if sign in columns[0]:
                raise InputError(f"{where}: columns are separated by {name}; save it with commas")
    if "image" not in columns:
        raise InputError(f"{where}: no column image; columns are {found}: add it, or name it so")
    if not {"recording", "text"} & set(columns):
        raise InputError(f"{where}: no column recording or text; columns are {found}: add one of them")
    for name, count in Counter(filter(None, columns)).items():
        if name not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise InputError(f"{where}: unknown column {shown(name)}; rename it to one of {known}, or remove it")
        if count > 1:
            raise InputError(f"{where}: {count} columns {name}; keep one")


def _complete(where: str, row: Row) -> Row:
    if not row.image:
        raise InputError(f"{where}: no image; write the path of the image")
    if not row.recording and not row.text:
        raise InputError(f"{where}: neither recording nor text; give one of them")
    if row.split and row.split not in SPLITS:
        raise InputError(f"{where}: split {shown(row.split)} is unknown; write train, val or test")
    if row.box and not _is_box(row.box):
        raise InputError(f"{where}: box {shown(row.box)} is not a part of an image; write x y w h, in pixels")
    if row.key and not re.fullmatch(r"[!-+\--.0-~]+/[!-+\--.0-~]+/\d{2,}", row.key):
        raise InputError(f"{where}: key {shown(row.key)}; write <class>/<image>/<nn> in ASCII without spaces")
    if row.language and not re.fullmatch("[a-z]{2,3}", row.language):
        raise InputError(f"{where}: language {shown(row.language)}; write its ISO 639 code, such as en")
    return replace(
        row,
        image=inside(row.image, f"{where}: image"),
        recording=row.recording and inside(row.recording, f"{where}: recording"),
    )


def _is_box(box: str) -> bool:
    values = box.split()
    number = r"-?\d+(\.\d*)?"
    return len(values) == 4 and all(re.fullmatch(number, value) for value in values) and min(map(float, values[2:])) > 0


def _agreeing(table: Path, rows: list[Row]) -> list[Row]:
    """The rows, if what some say all say, and if those of one image agree on it."""
    for field, name in (("class_name", "class"), ("split", "split"), ("key", "key")):
        given = [row for row in rows if getattr(row, field)]
        if given and len(given) < len(rows):
            lacking = next(row for row in rows if not getattr(row, field))
            raise InputError(
                f"{table}: line {lacking.line}: no {name}, but line {given[0].line} has one; "
                f"fill in the column {name} on every row, or on none"
            )
    spelled: dict[str, Row] = {}
    first: dict[str, Row] = {}
    recorded: dict[str, int] = {}
    for row in rows:
        where = f"{table}: line {row.line}"
        same = spelled.setdefault(row.class_name.casefold(), row)
        if same.class_name != row.class_name:
            raise InputError(
                f"{where}: class {shown(row.class_name)} is {shown(same.class_name)} on line {same.line}; "
                "write it one way"
            )
        before = first.setdefault(row.image, row)
        for name in ("class", "split", "box", "key"):
            now, then = _of_image(row, name), _of_image(before, name)
            if now != then:
                raise InputError(
                    f"{where}: image {shown(row.image)} has {name} {shown(now)}, but {shown(then)} on "
                    f"line {before.line}; give it one {name}"
                )
        if row.recording and (line := recorded.setdefault(row.recording, row.line)) != row.line:
            raise InputError(
                f"{where}: recording {shown(row.recording)}: is on line {line} already; a recording describes once: "
                "remove a row"
            )
    return rows


def _of_image(row: Row, name: str) -> str:
    """What all rows of an image have in common; of its key all but the number."""
    return row.key.rpartition("/")[0] if name == "key" else getattr(row, "class_name" if name == "class" else name)


# ---------------------------------------------------------------- paths


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


def shown(value: str, most: int = 80) -> str:
    """A value found in a table, short enough for a message."""
    return value if len(value) <= most else value[: most - 1] + "…"


def absence(path: Path) -> str:
    """Why there is no file: for a message."""
    return "a folder, not a file" if os.path.isdir(path) else "missing"
