"""What the paper's data sets, CUB and Oxford-102, share: Reed et al.'s captions and class splits, and the limits.

Source: Reed et al., Learning Deep Representations of Fine-grained Visual Descriptions, CVPR 2016.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from s2igan.datasets import splits
from s2igan.datasets.catalog import Caption, Catalog, Image
from s2igan.datasets.listing import lines
from s2igan.datasets.splits import Limits
from s2igan.errors import InputError

CAPTIONS = 10  # an image
_SPLIT_FILES = Path(__file__).parent / "split_files"
_BACK = "bring it back with `git checkout`, or install the package again"


@dataclass(frozen=True)
class DataSet:
    """What messages and paths need: the table that lists the images, and where archives unpack to."""

    name: str
    table: str
    image_archive: str
    caption_archive: str
    caption_folders: tuple[str, ...]
    classes: int
    split_hash: str  # SHA-256 of split_files/<name>.txt

    @property
    def readme(self) -> str:
        return f"data/raw/{self.name}/README.md"


@dataclass(frozen=True)
class Picture:
    """An image that the data set's tables list: `name` is its file's name without the ending."""

    class_name: str
    name: str
    path: str
    box: str = ""

    @property
    def key(self) -> str:
        return f"{self.class_name}/{self.name}"


def official_split(data_set: DataSet, folder: Path = _SPLIT_FILES) -> dict[int, str]:
    """The published split: train or test for each class number, from `<folder>/<name>.txt`.

    Raises InputError if the file was altered, puts a class in both splits or leaves one out.
    """
    path = folder / f"{data_set.name}.txt"
    if not path.is_file():
        raise InputError(f"{path}: missing; {_BACK}")
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != data_set.split_hash:
        raise InputError(f"{path}: altered (SHA-256 {found[:12]}…, expected {data_set.split_hash[:12]}…); {_BACK}")
    return read_split(path, data_set.classes)


def read_split(path: Path, classes: int) -> dict[int, str]:
    """Train or test for each class number 1 to `classes`, from lines such as "14 test"; # starts a comment.

    Raises InputError for a malformed line, and for a class that stands in it twice or not at all.
    """
    split: dict[int, str] = {}
    for line, (number, name) in lines(path, r"(\d{1,9}) (train|test)", "<class number> train|test", _BACK, "#"):
        if split.setdefault(int(number), name) != name:
            raise InputError(f"{path}: line {line}: class {number} is in train and test; put it in one split")
    wanted = set(range(1, classes + 1))
    for number in sorted(wanted ^ split.keys()):
        told = f"no class {number}" if number in wanted else f"class {number} is none of the data set's"
        raise InputError(f"{path}: {told}; list each of 1 to {classes}")
    return split


def choose(split: Mapping[str, str], limits: Limits) -> dict[str, str]:
    """Train, val or test for each class that the limits leave, in the order of the names.

    `split` says train or test for every class. A limit of 0, or beyond what there is, means all; without
    `test_classes`, fewer `classes` keep the proportion of test classes (one at least). `val_classes` are taken
    out of train; 0 takes none. Which ones is drawn by `splits.draw`.
    Raises InputError if no training class is left.
    """
    test = [name for name in split if split[name] == "test"]
    train = [name for name in split if split[name] == "train"]
    most = min(limits.classes or len(split), len(split))
    share = max(1, round(most * len(test) / len(split))) if split else 0
    test_count = min(limits.test_classes or share, len(test))
    train_count = min(most - test_count, len(train)) if limits.classes else len(train)
    if train_count <= limits.val_classes:
        raise InputError(
            f"catalog.classes={limits.classes}: {most} of the data set's classes, with {test_count} for test and "
            f"{limits.val_classes} for val, leave none for training; raise classes or lower test_classes or val_classes"
        )
    trained = splits.draw(train, train_count, limits.seed, "training classes")
    held_out = splits.draw(trained, limits.val_classes, limits.seed, "validation classes")
    chosen = {name: "val" if name in held_out else "train" for name in trained}
    chosen |= dict.fromkeys(splits.draw(test, test_count, limits.seed, "test classes"), "test")
    return dict(sorted(chosen.items()))


def catalog(
    raw: Path, data_set: DataSet, pictures: Iterable[Picture], split: Mapping[str, str], limits: Limits
) -> Catalog:
    """The catalog of the `pictures` that the limits leave, with their captions.

    `split` says train or test for each class. That no caption file is without its image is checked in every
    class that is chosen, and that the image is there and has its captions for each image that is chosen.
    Raises InputError.
    """
    of_class: dict[str, dict[str, Picture]] = {name: {} for name in split}
    for picture in pictures:
        of_class[picture.class_name][picture.name] = picture
    texts = _captions_folder(raw, data_set)
    _check_caption_folders(texts, of_class, data_set)
    chosen = choose(split, limits)
    kept: list[Picture] = []
    for class_name in chosen:
        known = of_class[class_name]
        _check_caption_files(texts / class_name, known, data_set)
        kept += [
            known[name] for name in splits.limit(known, limits.images_per_class, limits.seed, f"images of {class_name}")
        ]
    images, captions = [], []
    for picture in sorted(kept, key=lambda picture: picture.key):
        if not (raw / picture.path).is_file():
            raise InputError(
                f"{raw / picture.path}: missing, though {data_set.table} names it; "
                f"unpack {data_set.image_archive} again (see {data_set.readme})"
            )
        images.append(Image(picture.key, picture.path, picture.class_name, chosen[picture.class_name], picture.box))
        said = read_captions(texts / f"{picture.key}.txt", data_set, limits.captions_per_image)
        captions += [
            Caption(f"{picture.key}/{number:02d}", picture.key, text, language="en") for number, text in enumerate(said)
        ]
    return Catalog(tuple(images), tuple(captions))


def read_captions(path: Path, data_set: DataSet, most: int = 0) -> list[str]:
    """The ten captions of an image, one a line, in the file's order; where `most` is not 0, the first so many.

    Empty lines are dropped. Whatever is not UTF-8, the replacement character U+FFFD and control characters
    become spaces, and spaces run together into one: the published files hold some U+FFFD, which stand for
    characters that were lost before, so decoding odd bytes as Latin-1 would bring nothing back.
    Raises InputError if the file is missing, holds another number of captions than ten, or if one of those
    returned has neither letter nor digit.
    """
    hint = f"unpack {data_set.caption_archive} again (see {data_set.readme})"
    if not path.is_file():
        raise InputError(f"{path}: missing, so the image {path.stem} has no captions; {hint}")
    lines = [_clean(line) for line in path.read_bytes().decode("utf-8", errors="replace").split("\n")]
    captions = [line for line in lines if line]
    if len(captions) != CAPTIONS:
        raise InputError(f"{path}: {len(captions)} captions; expected {CAPTIONS}, one a line: {hint}")
    for line in captions[: most or None]:
        if not any(character.isalnum() for character in line):
            raise InputError(f"{path}: line {lines.index(line) + 1} is {line[:60]!r}, without a word; {hint}")
    return captions[: most or None]


def _clean(line: str) -> str:
    return " ".join("".join(c if c.isprintable() and c != "\ufffd" else " " for c in line).split())


def _captions_folder(raw: Path, data_set: DataSet) -> Path:
    for folder in data_set.caption_folders:
        if (raw / folder).is_dir():
            return raw / folder
    raise InputError(
        f"{raw}: no captions, looked for {', '.join(data_set.caption_folders)}; "
        f"unpack {data_set.caption_archive} there (see {data_set.readme})"
    )


def _check_caption_folders(texts: Path, classes: Iterable[str], data_set: DataSet) -> None:
    """Files of other kinds stand beside the folders in the archives (`<class>.t7`), so only folders count."""
    found = {entry.name for entry in texts.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    if unknown := sorted(found - set(classes)):
        raise InputError(
            f"{texts / unknown[0]}: captions of a class that {data_set.table} does not have; "
            f"remove the folder, or put the data set there anew (see {data_set.readme})"
        )


def _check_caption_files(folder: Path, names: Iterable[str], data_set: DataSet) -> None:
    found = {path.stem for path in folder.glob("*.txt") if not path.name.startswith(".")}
    if unknown := sorted(found - set(names)):
        raise InputError(
            f"{folder / unknown[0]}.txt: captions of an image that {data_set.table} does not have in this class; "
            f"remove the file, or put the data set there anew (see {data_set.readme})"
        )
