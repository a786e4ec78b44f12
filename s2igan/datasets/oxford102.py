"""Oxford-102 (Nilsback and Zisserman 2008): 102 kinds of flowers, with Reed et al.'s captions, as unpacked."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from s2igan.datasets.listing import first_folder
from s2igan.datasets.reed import captioned, official_split
from s2igan.errors import InputError
from s2igan.manifest import Row
from s2igan.splits import Limits

CAPTIONS = ("text_c10", "cvpr2016_flowers/text_c10", "flowers_icml/text_c10", "flowers/text_c10")
_README = "(see data/raw/oxford102/README.md)"


def rows(raw: Path, limits: Limits) -> Iterator[Row]:
    """image_00001.jpg and so on, of the classes of imagelabels.mat, split as published, with their captions.

    Raises InputError for missing or damaged files.
    """
    if not (raw / "jpg").is_dir():
        raise InputError(f"{raw / 'jpg'}: missing; unpack 102flowers.tgz there {_README}")
    texts = raw / first_folder(raw, CAPTIONS, "captions", f"unpack cvpr2016_flowers.tar.gz there {_README}")
    split = official_split("oxford102")
    for number, label in enumerate(_labels(raw / "imagelabels.mat", len(split)), start=1):
        row = Row(f"jpg/image_{number:05d}.jpg", class_name=f"class_{label:05d}", split=split[label])
        yield from captioned(texts, row, f"unpack cvpr2016_flowers.tar.gz again {_README}")


def _labels(path: Path, classes: int) -> list[int]:
    """Each image's class number, in the images' order."""
    if not path.is_file():
        raise InputError(f"{path}: missing; put it there {_README}")
    try:
        labels = np.asarray(loadmat(path)["labels"], float).ravel()
    except Exception as error:  # loadmat raises whatever the damage leads to
        why = "no variable labels" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: damaged, or not the file of labels ({why}); download it again {_README}") from error
    wrong = np.flatnonzero(~np.isin(labels, np.arange(1, classes + 1)))
    if len(wrong) or not len(labels):
        found = f"image {wrong[0] + 1} has the label {labels[wrong[0]]:g}" if len(wrong) else "no label"
        raise InputError(f"{path}: {found}; expected 1 to {classes}: download it again {_README}")
    return labels.astype(int).tolist()
