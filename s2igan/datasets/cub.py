"""CUB-200-2011 (Wah et al. 2011): 200 species of birds, with Reed et al.'s captions, as the archives unpack."""

from collections.abc import Iterator
from pathlib import Path

from s2igan.datasets.listing import first_folder, lines
from s2igan.datasets.reed import captioned, official_split
from s2igan.errors import InputError
from s2igan.manifest import Row
from s2igan.splits import Limits

BOX_SCALE = 0.75  # half a side of the square that is cut out, in longer sides of the bounding box
CAPTIONS = ("text_c10", "cvpr2016_cub/text_c10", "CUB_icml/text_c10", "birds/text_c10")

_README = "(see data/raw/cub/README.md)"
_IMAGES_AGAIN = f"unpack CUB_200_2011.tgz again {_README}"
_CAPTIONS_AGAIN = f"unpack cvpr2016_cub.tar.gz again {_README}"
_NUMBER = r"(-?\d{1,9}(?:\.\d*)?)"


def rows(raw: Path, limits: Limits) -> Iterator[Row]:
    """The images of images.txt with their captions, classes split as published.

    An image's box is the square of half-side 0.75 · max(w, h) about the centre of its bounding box (StackGAN,
    Zhang et al. 2017), which may reach over the border. Raises InputError for a missing file and a malformed line.
    """
    folder = raw / "CUB_200_2011"
    if not folder.is_dir():
        raise InputError(f"{folder}: missing; unpack CUB_200_2011.tgz there {_README}")
    texts = raw / first_folder(raw, CAPTIONS, "captions", f"unpack cvpr2016_cub.tar.gz there {_README}")
    split, boxes = official_split("cub"), _boxes(folder / "bounding_boxes.txt")
    path, form = folder / "images.txt", "<image id> <class name>/<image>.jpg"
    listed = lines(path, r"(\d{1,9}) ((\d{3})\.[\w.-]+)/([\w.-]+)\.jpg", form, _IMAGES_AGAIN)
    for line, (image, class_name, number, name) in listed:
        if int(number) not in split or image not in boxes:
            told = "is not in the published split" if int(number) not in split else "has no box in bounding_boxes.txt"
            raise InputError(f"{path}: line {line}: {class_name}/{name}.jpg {told}; {_IMAGES_AGAIN}")
        file = f"CUB_200_2011/images/{class_name}/{name}.jpg"
        row = Row(file, box=boxes[image], class_name=class_name, split=split[int(number)])
        yield from captioned(texts, row, _CAPTIONS_AGAIN)


def _boxes(path: Path) -> dict[str, str]:
    """The square about the bounding box of each image, by the image's id."""
    pattern = rf"(\d{{1,9}}) {' '.join([_NUMBER] * 4)}"
    boxes = {}
    for line, (image, *values) in lines(path, pattern, "<image id> <x> <y> <w> <h>", _IMAGES_AGAIN):
        x, y, w, h = map(float, values)
        if min(w, h) <= 0:
            raise InputError(f"{path}: line {line}: the box is {w:g} wide and {h:g} high; {_IMAGES_AGAIN}")
        half = max(1, int(BOX_SCALE * max(w, h)))  # whole pixels, as in the published code
        boxes[image] = f"{int(x + w / 2) - half} {int(y + h / 2) - half} {2 * half} {2 * half}"
    return boxes
