"""The manifest: one table of images and what is said of them, the only way by which a data set comes in."""

import contextlib
import csv
import functools
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from s2igan.catalog import SPLITS
from s2igan.errors import InputError
from s2igan.files import write_csv

COLUMNS = ("image", "box", "recording", "text", "class", "speaker", "language", "split", "key")
# What all rows of an image, or of a recording, say alike, and what to do where they do not.
AGREE = (
    ("image", ("class", "split", "box", "key"), "give it one"),
    ("recording", ("split", "speaker", "language"), "it may describe several images, of one"),
)
_README = "data/raw/manifest/README.md"
# Zero width: nothing is seen of them. In a text, joiners shape the letters of some scripts.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_UNSEEN_IN_TEXT = re.compile("[\u00ad\u200b\u200e\u200f\u2060\ufeff]")


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


def stop(fault: str) -> None:
    """What is done about a fault in a list, unless somebody collects them: raises it as InputError."""
    raise InputError(fault)


def read_manifest(table: str | Path, raw: Path | None = None, tell: Callable[[str], None] = stop) -> list[Row]:
    """The rows of a manifest, paths in their shortest form, if each is complete and all agree with each other.

    Values are read as they look: in Unicode's composed form (NFC), whatever the kind of a space, without characters
    of no width. With the folder `raw`, a path that is not there is taken as the file there that looks the same;
    whether it is there at all is not asked (`missing_files`). Each fault of a row is given to `tell`, with line and
    hint, and the row is left out where `tell` returns. Raises InputError if the table is missing, not UTF-8, not CSV,
    not separated by commas, lacks a column or has an unknown one, or is without rows.
    """
    table = Path(table)
    records = _records(table)
    line, header = next(records, (1, []))
    columns = [as_seen(name).lower() for name in header]
    _check_columns(table, line, columns)
    rows = []
    for line, record in records:
        try:
            rows.append(_row(f"{table}: line {line}", line, columns, record, raw))
        except InputError as error:
            tell(str(error))
    if not rows:
        raise InputError(f"{table}: no rows under the header; write one for each description")
    for fault in _disagreements(table, rows):
        tell(fault)
    return rows


def as_seen(value: str, unseen: re.Pattern = _UNSEEN) -> str:
    """A value as it looks: composed (NFC), every space a plain one, none around it, nothing of no width."""
    plain = "".join(" " if unicodedata.category(c) == "Zs" else c for c in unseen.sub("", value))
    return unicodedata.normalize("NFC", plain).strip()


def missing_files(rows: Iterable[Row], raw: Path, table: str | Path) -> Iterator[str]:
    """A line for each file that `rows` name and that is not below the folder `raw`, with table, line and hint."""
    seen: set[str] = set()
    for row in rows:
        for column in ("image", "recording"):
            path = getattr(row, column)
            if path and path not in seen and not os.path.isfile(raw / path):
                yield (
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


def _row(where: str, line: int, columns: list[str], record: list[str], raw: Path | None) -> Row:
    if not any(value.strip() for value in record):
        raise InputError(f"{where}: empty row; remove it")
    if len(record) != len(columns):
        raise InputError(
            f"{where}: {len(record)} fields, but the header has {len(columns)}; "
            'put "quotes" around a text that has commas'
        )
    values = {}
    for name, value in zip(columns, record, strict=True):
        if name in ("image", "recording"):
            values[name] = value.strip()
        elif name:
            values[name.replace("class", "class_name")] = as_seen(value, _UNSEEN_IN_TEXT if name == "text" else _UNSEEN)
        elif value.strip():
            raise InputError(f"{where}: a value in a column without a name; name the column or empty it")
    row = Row(line=line, **values)
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
    if row.language and not re.fullmatch(r"[A-Za-z]{2,3}([-_@][A-Za-z0-9]+)*", row.language):
        raise InputError(f"{where}: language {shown(row.language)}; write its ISO 639 code, such as en or pt-BR")
    return replace(
        row,
        image=inside(row.image, f"{where}: image", raw),
        recording=row.recording and inside(row.recording, f"{where}: recording", raw),
        language=re.sub("[_@]", "-", row.language).lower(),
    )


def _is_box(box: str) -> bool:
    values = box.split()
    number = r"-?\d{1,9}(\.\d*)?"
    return len(values) == 4 and all(re.fullmatch(number, value) for value in values) and min(map(float, values[2:])) > 0


def _disagreements(table: Path, rows: list[Row]) -> Iterator[str]:
    """A line for each row that does not say what all say, or what another of its image, class or speaker does."""
    for field, name in (("class_name", "class"), ("split", "split"), ("key", "key")):
        given = [row for row in rows if getattr(row, field)]
        if given and len(given) < len(rows):
            lacking = next(row for row in rows if not getattr(row, field))
            yield (
                f"{table}: line {lacking.line}: no {name}, but line {given[0].line} has one; "
                f"fill in the column {name} on every row, or on none"
            )
    spelled: dict[tuple[str, str], Row] = {}
    first: dict[tuple[str, str], Row] = {}
    described: dict[tuple[str, str], int] = {}
    for row in rows:
        where = f"{table}: line {row.line}"
        for field, name in (("class_name", "class"), ("speaker", "speaker")):
            value = getattr(row, field)
            same = spelled.setdefault((field, unicodedata.normalize("NFKC", value).casefold()), row)
            if (other := getattr(same, field)) != value:
                yield f"{where}: {name} {shown(value)} is {shown(other)} on line {same.line}; write it one way"
        line = described.setdefault((row.image, row.recording), row.line)
        if row.recording and line != row.line:
            yield f"{where}: recording {shown(row.recording)} describes this image on line {line} already; remove a row"
        for column, names, hint in AGREE:
            if not (path := getattr(row, column)):
                continue
            before = first.setdefault((column, path), row)
            for name in names:
                now, then = _said_of_all(row, name), _said_of_all(before, name)
                if now != then:
                    yield (
                        f"{where}: {column} {shown(path)} has {name} {shown(now)}, but {shown(then)} on "
                        f"line {before.line}; {hint} {name}"
                    )


def _said_of_all(row: Row, name: str) -> str:
    """What a column says of all rows of an image; of its key all but the number."""
    return row.key.rpartition("/")[0] if name == "key" else getattr(row, "class_name" if name == "class" else name)


# ---------------------------------------------------------------- paths


def inside(path: str, where: str, raw: Path | None = None) -> str:
    """A path that a table names, in its shortest form; `where` starts the message.

    With the folder `raw`, a path that is not there is the one there that looks the same, if there is one.
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
    if raw is not None and not os.path.lexists(raw / path):
        folder = raw
        for part in PurePosixPath(path).parts:
            folder /= _names_in(folder).get(as_seen(part), part)
        path = str(folder.relative_to(raw))
    return str(PurePosixPath(path))


@functools.lru_cache(maxsize=64)
def _names_in(folder: Path) -> dict[str, str]:
    """The names in a folder by how they look; macOS, for one, writes é in two characters."""
    with contextlib.suppress(OSError):
        return {as_seen(name): name for name in os.listdir(folder)}
    return {}


def shown(value: str, most: int = 80) -> str:
    """A value found in a table, short enough for a message."""
    return value if len(value) <= most else value[: most - 1] + "…"


def absence(path: Path) -> str:
    """Why there is no file: for a message."""
    return "a folder, not a file" if os.path.isdir(path) else "missing"


def by_reason(raw: str | Path, faults: Iterable[tuple[str, str]]) -> list[str]:
    """Faults of files in `raw`, (of what, line) each, as one line a reason: how many of what, and why.

    Numbers in a line do not make a reason; the first such file is named.
    """
    counts: dict[str, Counter[str]] = {}
    first: dict[str, str] = {}
    for kind, fault in faults:
        file, _, told = fault.removeprefix(f"{raw}/").partition(": ")
        told = told.partition(": ")[0]
        reason = re.sub(r"[\d.]+", "#", told)
        counts.setdefault(reason, Counter())[kind] += 1
        first.setdefault(reason, f"{told} ({file})")
    return [
        f"{', '.join(f'{count} {kind}' for kind, count in counts[reason].most_common())}: {first[reason]}"
        for reason in sorted(counts, key=lambda reason: -counts[reason].total())
    ]
