"""Oxford-102 (Nilsback and Zisserman 2008): 102 kinds of flowers, with Reed et al.'s captions, as unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from s2igan.datasets import reed
from s2igan.datasets.catalog import Catalog
from s2igan.datasets.splits import Limits
from s2igan.errors import InputError

DATA_SET = reed.DataSet(
    name="oxford102",
    table="imagelabels.mat",
    image_archive="102flowers.tgz",
    caption_archive="cvpr2016_flowers.tar.gz",
    caption_folders=("text_c10", "cvpr2016_flowers/text_c10", "flowers_icml/text_c10", "flowers/text_c10"),
    classes=102,
    split_hash="6b6ae8da4b5aa81950be4fcf0915c077fb95cb5cd8f87dbef90352f21e6d37e3",
)
_LABELS_MEND = f"download it again (see {DATA_SET.readme})"


def load(raw: Path, limits: Limits) -> Catalog:
    """The catalog of the folder `raw`, which holds jpg/, imagelabels.mat and text_c10/ as the archives unpack.

    The classes are those that imagelabels.mat names, split as published (`reed.official_split`). There is no
    box. The limits are those of `reed.choose`; images of a class are drawn by `splits.limit`, captions are the
    first of the file; 0 is no limit. Raises InputError for missing or damaged files, and for labels that do
    not fit the images.
    """
    labels = _labels(raw / "imagelabels.mat")
    _check_images(raw, len(labels))
    official = reed.official_split(DATA_SET)
    return reed.catalog(
        raw,
        DATA_SET,
        [
            reed.Picture(_class_name(label), _image_name(number), f"jpg/{_image_name(number)}.jpg")
            for number, label in enumerate(labels, start=1)
        ],
        {_class_name(label): official[label] for label in set(labels)},
        limits,
    )


def _class_name(number: int) -> str:
    return f"class_{number:05d}"


def _image_name(number: int) -> str:
    return f"image_{number:05d}"


def _labels(path: Path) -> list[int]:
    """Each image's class number, 1 to 102, in the images' order."""
    if not path.is_file():
        raise InputError(f"{path}: missing; put it there: see {DATA_SET.readme}")
    try:
        labels = loadmat(path)["labels"]
    except KeyError as error:
        raise InputError(f"{path}: no variable labels; {_LABELS_MEND}") from error
    except Exception as error:  # loadmat raises whatever the damage leads to
        raise InputError(f"{path}: damaged, or not a MATLAB file ({error}); {_LABELS_MEND}") from error
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "uif" or labels.size != max(labels.shape):
        raise InputError(f"{path}: labels are no row of numbers; {_LABELS_MEND}")
    if not labels.size:
        raise InputError(f"{path}: labels are empty; {_LABELS_MEND}")
    labels = labels.ravel()
    wrong = np.flatnonzero(~np.isin(labels, np.arange(1, DATA_SET.classes + 1)))
    if len(wrong):
        raise InputError(
            f"{path}: image {wrong[0] + 1} has the label {labels[wrong[0]]}; "
            f"expected 1 to {DATA_SET.classes}: {_LABELS_MEND}"
        )
    return [int(label) for label in labels]


def _check_images(raw: Path, count: int) -> None:
    """jpg/ holds image_00001.jpg to the last that has a label, and no other image."""
    folder = raw / "jpg"
    hint = f"unpack {DATA_SET.image_archive} again (see {DATA_SET.readme})"
    if not folder.is_dir():
        raise InputError(f"{folder}: missing; {hint}")
    found = {path.name for path in folder.glob("*.jpg") if not path.name.startswith(".")}
    wanted = {f"{_image_name(number)}.jpg" for number in range(1, count + 1)}
    for name in sorted(found ^ wanted)[:1]:
        told = "missing" if name in wanted else "without a label"
        raise InputError(f"{folder / name}: {told}; {len(found)} images and {count} labels in imagelabels.mat; {hint}")
