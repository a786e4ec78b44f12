"""One's own data: images and what is said of them, listed in `manifest.csv`."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from s2igan.datasets import splits
from s2igan.datasets.catalog import SPLITS, Caption, Catalog, Image
from s2igan.datasets.listing import absence, inside, shown, stem, unique_names, without_ending
from s2igan.datasets.splits import Limits
from s2igan.errors import InputError

TABLE = "manifest.csv"
COLUMNS = ("image", "recording", "text", "class", "split", "speaker", "language")
_README = "data/raw/manifest/README.md"


@dataclass(frozen=True)
class Row:
    """One description, from the line of the table on which it starts; what a column lacks is empty."""

    line: int
    image: str
    recording: str = ""
    text: str = ""
    class_name: str = ""
    split: str = ""
    speaker: str = ""
    language: str = ""


def load(raw: Path, limits: Limits) -> Catalog:
    """The catalog of the list `manifest.csv` in `raw`; each limit of 0 means all there are.

    An image's key is `<class>/<file stem>`, or `-/<file stem>` where no row has a class; where two images of a
    class share a stem, whatever the case, their keys are their paths with _ for /. `class_name` is the class as
    it stands in the key.

    With a column `split`, it holds. Without one, the images of each class are divided into about 70 % train,
    10 % val and 20 % test (`splits.divide`), so that classes are seen in training and images are not; if
    `test_classes` is not 0, so many classes are for the test, and `val_classes` of the others for val (0: 10 %).
    Speakers play no part: give a column `split` to keep them apart.

    With the column, `test_classes` limits the test's classes where each class is in one split. `val_classes`
    without `test_classes`, and both without classes, do nothing.
    Raises InputError with file, line and hint for whatever is wrong with the list or its files.
    """
    table = raw / TABLE
    rows = _checked(raw, table, read_rows(table))
    of_image: dict[str, list[Row]] = {}
    for row in rows:
        of_image.setdefault(row.image, []).append(row)
    class_of = {image: described[0].class_name for image, described in of_image.items()}
    split_of = {image: described[0].split for image, described in of_image.items()}
    if rows[0].split:
        splits.require_all(table, split_of.values(), "in column split; give each of train, val and test an image")
    elif len(of_image) < splits.MIN_IMAGES:
        raise InputError(f"{table}: {len(of_image)} images; list {splits.MIN_IMAGES} or more, one for each split")
    chosen = _choose(table, class_of, split_of, limits)
    if not rows[0].split and not all(chosen.values()):
        if len(chosen) < splits.MIN_IMAGES:
            raise InputError(f"{table}: {len(chosen)} images within the limits; {splits.LIMIT_HINT}")
        kept = {image: len(of_image[image][: limits.captions_per_image or None]) for image in chosen}
        chosen = splits.divide(kept, class_of, limits.seed)
    splits.require_splits(table, chosen.values())
    return _catalog(of_image, chosen, class_of, limits.captions_per_image)


# ---------------------------------------------------------------- the table


def read_rows(table: Path) -> list[Row]:
    """The rows of a manifest, each complete in itself; files and other rows are not looked at.

    Raises InputError with line and hint if the table is missing, not UTF-8, not separated by commas, lacks a
    column or has an unknown one, is without rows, or holds a row that is empty, too short or too long.
    """
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
        fields = {"class_name" if name == "class" else name: value for name, value in zip(columns, values, strict=True)}
        fields.pop("", None)
        rows.append(_complete(where, Row(line, **fields)))
    if not rows:
        raise InputError(f"{table}: no rows under the header; write one for each description")
    return rows


def _records(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line that it starts on."""
    if not table.is_file():
        raise InputError(f"{table}: {absence(table)}; write the list of your data there ({_README} shows how)")
    content = table.read_bytes()
    try:
        text = content.decode("utf-8")
        if "\0" in text:  # what UTF-16 without its mark looks like
            raise UnicodeDecodeError("utf-8", content, content.index(0), content.index(0) + 1, "zero byte")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{table}: line {line}: not UTF-8 at byte {error.start + 1}; save it as UTF-8 CSV (in Excel: CSV UTF-8)"
        ) from None
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
    if row.language and not re.fullmatch("[a-z]{2,3}", row.language):
        raise InputError(f"{where}: language {shown(row.language)}; write its ISO 639 code, such as en")
    return row


def _checked(raw: Path, table: Path, rows: list[Row]) -> list[Row]:
    """The rows with paths in their shortest form, if they agree with each other and their files are there."""
    for field, name in (("class_name", "class"), ("split", "split")):
        given = [row for row in rows if getattr(row, field)]
        if given and len(given) < len(rows):
            lacking = next(row for row in rows if not getattr(row, field))
            raise InputError(
                f"{table}: line {lacking.line}: no {name}, but line {given[0].line} has one; "
                f"fill in the column {name} on every row, or on none"
            )
    files = _Files(raw, table)
    spelled: dict[str, Row] = {}
    first: dict[str, Row] = {}
    checked = []
    for row in rows:
        where = f"{table}: line {row.line}"
        same = spelled.setdefault(row.class_name.casefold(), row)
        if same.class_name != row.class_name:
            raise InputError(
                f"{where}: class {shown(row.class_name)} is {shown(same.class_name)} on line {same.line}; "
                "write it one way"
            )
        row = replace(row, image=files.image(row), recording=row.recording and files.recording(row))
        before = first.setdefault(row.image, row)
        for field, name in (("class_name", "class"), ("split", "split")):
            now, then = getattr(row, field), getattr(before, field)
            if now != then:
                raise InputError(
                    f"{where}: image {shown(row.image)} has {name} {shown(now)}, but {shown(then)} on "
                    f"line {before.line}; give it one {name}"
                )
        checked.append(row)
    return checked


class _Files:
    """Looks at the files that rows name, and knows one again that another row has named otherwise."""

    def __init__(self, raw: Path, table: Path):
        self.raw, self.table = raw, table
        self.root = Path(os.path.realpath(raw))
        self.images: dict[tuple[int, int], tuple[str, int]] = {}
        self.recordings: dict[tuple[int, int], tuple[str, int]] = {}

    def image(self, row: Row) -> str:
        """The image's path; one file has one path."""
        where, path, file = self._look("image", row.image, row.line)
        known, line = self.images.setdefault(file, (path, row.line))
        if known != path:
            raise InputError(
                f"{where}: is the same file as {shown(known)} on line {line}; write one path, or remove a row"
            )
        return path

    def recording(self, row: Row) -> str:
        """The recording's path, which no other row has."""
        where, path, file = self._look("recording", row.recording, row.line)
        known, line = self.recordings.setdefault(file, (path, row.line))
        if line != row.line:
            also = "" if known == path else f" as {shown(known)}"
            raise InputError(f"{where}: is on line {line} already{also}; a recording describes once: remove a row")
        return path

    def _look(self, what: str, path: str, line: int) -> tuple[str, str, tuple[int, int]]:
        where = f"{self.table}: line {line}: {what}"
        path = inside(path, where)
        where, file = f"{where} {shown(path)}", self.raw / path
        if not os.path.isfile(file):
            raise InputError(f"{where}: {absence(file)}; correct the path, or copy the file into {self.raw}")
        if not Path(os.path.realpath(file)).is_relative_to(self.root):
            raise InputError(f"{where}: a link that leaves {self.raw}; copy the file itself there")
        status = os.stat(file)
        return where, path, (status.st_dev, status.st_ino)


# ---------------------------------------------------------------- splits and limits


def _choose(table: Path, class_of: Mapping[str, str], split_of: Mapping[str, str], limits: Limits) -> dict[str, str]:
    """The images within the limits and their splits, which stay empty where images are still to be divided."""
    if not any(class_of.values()):
        return _limit(split_of, limits.classes * limits.images_per_class, limits.seed, "images")
    members = splits.members(class_of)
    splits_of = {name: {split_of[image] for image in images} for name, images in members.items()}
    chosen: dict[str, str] = {}
    for name, split in _limit_classes(table, splits_of, limits).items():
        within = {image: split or split_of[image] for image in members[name]}
        chosen |= _limit(within, limits.images_per_class, limits.seed, f"images of {name}")
    return chosen


def _limit(split_of: Mapping[str, str], most: int, seed: int, purpose: str) -> dict[str, str]:
    if all(split_of.values()):
        return splits.limit_images(split_of, most, seed, purpose)
    return dict.fromkeys(splits.limit(split_of, most, seed, purpose), "")


def _limit_classes(table: Path, splits_of: Mapping[str, set[str]], limits: Limits) -> dict[str, str]:
    """The classes within the limits, each with its split, which is empty where it is for the images to say."""
    undivided = all(found == {""} for found in splits_of.values())
    if undivided and limits.test_classes:
        names = set(splits.limit(splits_of, limits.classes, limits.seed, "classes"))
        test = splits.draw(names, limits.test_classes, limits.seed, "test classes")
        val_count = limits.val_classes or max(1, (len(names) + 5) // 10)
        val = splits.draw(names - test, val_count, limits.seed, "validation classes")
        if not names - test - val or not val:
            raise InputError(
                f"{table}: {len(names)} classes with {len(test)} for test and {limits.val_classes or 'one'} for val "
                "leave none for training; lower both limits, or set catalog.test_classes to 0 to divide by image"
            )
        return {name: "test" if name in test else "val" if name in val else "train" for name in sorted(names)}
    if undivided or any(len(found) > 1 for found in splits_of.values()):
        return dict.fromkeys(splits.limit(splits_of, limits.classes, limits.seed, "classes"), "")
    parts = {split: [name for name, found in splits_of.items() if found == {split}] for split in SPLITS}
    sizes = {split: len(names) for split, names in parts.items()}
    count = splits.shares(sizes, limits.classes)
    count["test"] = min(limits.test_classes, sizes["test"]) or count["test"]
    if 0 < limits.classes < sum(sizes.values()):
        count["train"] = min(sizes["train"], limits.classes - count["val"] - count["test"])
        if count["train"] < 1:
            raise InputError(
                f"{table}: catalog.classes={limits.classes} with {count['test']} for test and {count['val']} for val "
                "leave none for training; raise catalog.classes or lower the others"
            )
    drawn = {split: splits.draw(parts[split], count[split], limits.seed, "classes") for split in SPLITS}
    return {name: split for split in SPLITS for name in sorted(drawn[split])}


def _catalog(
    of_image: Mapping[str, list[Row]], split_of: Mapping[str, str], class_of: Mapping[str, str], most: int
) -> Catalog:
    """Keys depend on the whole list, not on what the limits leave of it."""
    class_names = unique_names(set(class_of.values()) - {""}, [str])
    keys = {}
    for name, paths in splits.members(class_of).items():
        for path, image in unique_names(paths, [stem, without_ending, str]).items():
            keys[path] = f"{class_names.get(name, '-')}/{image}"
    images, captions = [], []
    for path in sorted(split_of, key=keys.__getitem__):
        images.append(Image(keys[path], path, class_names.get(class_of[path], ""), split_of[path]))
        captions += [
            Caption(f"{keys[path]}/{n:02d}", keys[path], row.text, row.recording, row.language, row.speaker)
            for n, row in enumerate(of_image[path][: most or None])
        ]
    return Catalog(tuple(images), tuple(captions))
