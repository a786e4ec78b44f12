"""CUB-200-2011 (Wah et al. 2011): 200 species of birds, with Reed et al.'s captions, in the official layout."""

from __future__ import annotations

from pathlib import Path

from s2igan.datasets import reed
from s2igan.datasets.catalog import Catalog
from s2igan.datasets.listing import lines
from s2igan.datasets.pictures import square_box
from s2igan.datasets.splits import Limits
from s2igan.errors import InputError

BOX_SCALE = 0.75  # half a side of the square that is cut out, in sides of the bounding box

_FOLDER = "CUB_200_2011"
DATA_SET = reed.DataSet(
    name="cub",
    table=f"{_FOLDER}/images.txt",
    image_archive="CUB_200_2011.tgz",
    caption_archive="cvpr2016_cub.tar.gz",
    caption_folders=("text_c10", "cvpr2016_cub/text_c10", "CUB_icml/text_c10", "birds/text_c10"),
    classes=200,
    split_hash="e4290cb80a93f151a566bdffb61bbd5aa46995b6bd8e993d33ac5b8c2a1d07da",
)
_MEND = f"unpack {DATA_SET.image_archive} again (see {DATA_SET.readme})"
_NUMBER = r"(-?\d{1,9}(?:\.\d*)?)"


def load(raw: Path, limits: Limits) -> Catalog:
    """The catalog of the folder `raw`, which holds CUB_200_2011/ and text_c10/ as the archives unpack.

    The classes are those of classes.txt, split as published (`reed.official_split`). An image's box is the
    square of half-side 0.75 · max(w, h) about the centre of its bounding box. The limits are those of
    `reed.choose`; images of a class are drawn by `splits.limit`, captions are the first of the file; 0 is no
    limit. Raises InputError for a missing file, a malformed line and tables that contradict each other.
    """
    if not (raw / _FOLDER).is_dir():
        raise InputError(f"{raw / _FOLDER}: missing; unpack {DATA_SET.image_archive} there: see {DATA_SET.readme}")
    names = _classes(raw / _FOLDER)
    split = _split(raw / _FOLDER / "classes.txt", names)
    return reed.catalog(
        raw,
        DATA_SET,
        _pictures(raw / _FOLDER, names),
        split,
        limits,
    )


def _classes(folder: Path) -> dict[int, str]:
    """The class names under their ids, which are the numbers that the names begin with."""
    path = folder / "classes.txt"
    names: dict[int, str] = {}
    rows = lines(path, r"(\d{1,9}) ((\d{3})\.[\w.-]+)", "<class id> <class name>", _MEND, "#")
    for line, (number, name, prefix) in rows:
        if int(number) != int(prefix):
            raise InputError(f"{path}: line {line}: class {number} is named {name}; {_MEND}")
        if int(number) in names:
            raise InputError(f"{path}: line {line}: class {number} is listed twice; {_MEND}")
        names[int(number)] = name
    if not names:
        raise InputError(f"{path}: lists no class; {_MEND}")
    return names


def _split(path: Path, names: dict[int, str]) -> dict[str, str]:
    official = reed.official_split(DATA_SET)
    for number, name in names.items():
        if number not in official:
            raise InputError(f"{path}: class {name} is not in the published split; {_MEND}")
    return {name: official[number] for number, name in names.items()}


def _pictures(folder: Path, names: dict[int, str]) -> list[reed.Picture]:
    """The images of images.txt, once it agrees with the other three tables."""
    path = folder / "images.txt"
    labels = _column(folder / "image_class_labels.txt", r"(\d{1,9}) (\d{1,9})", "<image id> <class id>")
    boxes = _column(
        folder / "bounding_boxes.txt", rf"(\d{{1,9}}) {' '.join([_NUMBER] * 4)}", "<image id> <x> <y> <w> <h>"
    )
    rows = lines(path, r"(\d{1,9}) ([\w.-]+)/([\w.-]+)\.jpg", "<image id> <class name>/<image>.jpg", _MEND, "#")
    pictures: dict[str, reed.Picture] = {}
    images: set[int] = set()
    for line, (number, class_name, name) in rows:
        image, file = int(number), f"{class_name}/{name}"
        if image in images or file in pictures:
            raise InputError(f"{path}: line {line}: image {image} ({file}.jpg) is listed twice; {_MEND}")
        _check_class(f"{path}: line {line}: image {image} ({file}.jpg)", class_name, labels.get(image), names)
        box = _box(folder / "bounding_boxes.txt", image, boxes.get(image))
        images.add(image)
        pictures[file] = reed.Picture(class_name, name, f"{_FOLDER}/images/{file}.jpg", box)
    for table, rest in (("image_class_labels.txt", labels), ("bounding_boxes.txt", boxes)):
        if unknown := sorted(rest.keys() - images):
            raise InputError(f"{folder / table}: image {unknown[0]} is not in images.txt; {_MEND}")
    if empty := sorted(set(names.values()) - {picture.class_name for picture in pictures.values()}):
        raise InputError(f"{path}: no image of class {empty[0]}, which classes.txt lists; {_MEND}")
    return list(pictures.values())


def _check_class(where: str, class_name: str, label: tuple[str, ...] | None, names: dict[int, str]) -> None:
    """The folder that an image is in must be its class in the other two tables."""
    if class_name not in names.values():
        raise InputError(f"{where}: no such class in classes.txt; {_MEND}")
    if label is None:
        raise InputError(f"{where}: no class in image_class_labels.txt; {_MEND}")
    if names.get(int(label[0])) != class_name:
        raise InputError(f"{where}: image_class_labels.txt says class {label[0]}; {_MEND}")


def _box(path: Path, image: int, values: tuple[str, ...] | None) -> str:
    if values is None:
        raise InputError(f"{path}: no box of image {image}; {_MEND}")
    x, y, w, h = map(float, values)
    if min(w, h) <= 0:
        raise InputError(f"{path}: the box of image {image} is {w:g} wide and {h:g} high; {_MEND}")
    return square_box(x, y, w, h, BOX_SCALE)


def _column(path: Path, pattern: str, form: str) -> dict[int, tuple[str, ...]]:
    """The rest of each line under its image id."""
    rows: dict[int, tuple[str, ...]] = {}
    for line, (image, *rest) in lines(path, pattern, form, _MEND, "#"):
        if int(image) in rows:
            raise InputError(f"{path}: line {line}: image {image} is listed twice; {_MEND}")
        rows[int(image)] = tuple(rest)
    return rows
