"""What CUB and Oxford-102 share: Reed et al.'s captions and class splits.

Source: Reed et al., Learning Deep Representations of Fine-grained Visual Descriptions, CVPR 2016.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from s2igan.errors import InputError
from s2igan.manifest import Row

CAPTIONS = 10  # an image
_SPLIT_FILES = Path(__file__).parent / "split_files"


def official_split(name: str) -> dict[int, str]:
    """The published split of a data set: train or test for each class number."""
    return pd.read_csv(_SPLIT_FILES / f"{name}.txt", sep=" ", comment="#", header=None, index_col=0)[1].to_dict()


def captioned(folder: Path, image: Row, hint: str) -> Iterator[Row]:
    """The row of each of the ten captions of `image`, whose class and file name lead to `<folder>/<class>/<image>.txt`.

    Empty lines are dropped. Whatever is not UTF-8, the replacement character U+FFFD and control characters
    become spaces, and spaces run together into one: the published files hold some U+FFFD, which stand for
    characters that were lost before, so decoding odd bytes as Latin-1 would bring nothing back.
    Raises InputError, ending in `hint`, for a missing file, another number of captions, and one without a word.
    """
    key = f"{image.class_name}/{Path(image.image).stem}"
    path = folder / f"{key}.txt"
    if not path.is_file():
        raise InputError(f"{path}: missing, so the image {Path(image.image).stem} has no captions; {hint}")
    texts = [text for line in path.read_bytes().decode(errors="replace").split("\n") if (text := _clean(line))]
    if len(texts) != CAPTIONS:
        raise InputError(f"{path}: {len(texts)} captions; expected {CAPTIONS}, one a line: {hint}")
    for number, text in enumerate(texts):
        if not any(character.isalnum() for character in text):
            raise InputError(f"{path}: line {number + 1} is {text[:60]!r}, without a word; {hint}")
        yield replace(image, text=text, language="en", key=f"{key}/{number:02d}")


def _clean(line: str) -> str:
    return " ".join("".join(c if c.isprintable() and c != "\ufffd" else " " for c in line).split())
