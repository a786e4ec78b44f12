"""Miniature copies of public data sets, in the layout in which their archives unpack, and ways to spoil them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.io import savemat

COLOURS = {
    "red": (200, 30, 30),
    "yellow": (230, 200, 40),
    "blue": (40, 70, 200),
    "black": (25, 25, 25),
    "white": (240, 240, 240),
    "brown": (120, 75, 40),
    "orange": (240, 130, 20),
    "purple": (130, 50, 160),
}
# CUB's first classes; numbers 1, 4 and 6 are test classes.
BIRDS = "Black_footed_Albatross Laysan_Albatross Sooty_Albatross Groove_billed_Ani Crested_Auklet Least_Auklet".split()
# Some of Oxford-102's, of which 1 to 20 are test classes.
FLOWERS = [1, 2, 3, 21, 22, 23]
_BACKGROUND = (150, 190, 160)
_SENTENCES = (  # of flowers, too
    "this bird has a {body} body and {wing} wings.",
    "a {size} {body} bird with {wing} wings",
    "the bird is {body} with a {wing} wing and a short beak.",
    "this is a {size} bird with a {body} belly and {wing} wings",
    "a bird with a {body} breast and {wing} wingbars",
    "its wings are {wing} and its body is {body}",
    "this {size} bird is {body} all over, except for its {wing} wings",
    "a {body} bird that has {wing} feathers on its wings.",
    "the {size} bird has {wing} wings, a {body} head and a {body} belly",
    "bird with {wing} wings and a {body} body, which looks {size}",
)


def write_cub(folder: Path, captions: str = "text_c10") -> None:
    """CUB_200_2011/ with its tables and three JPEG images a class, and Reed et al.'s captions in the folder `captions`.

    As in the original, images of a class are not listed in the order of their names, sizes vary, and a few (here
    the last) are grey.
    """
    root = Path(folder) / "CUB_200_2011"
    classes = [f"{label:03d}.{bird}" for label, bird in enumerate(BIRDS, start=1)]
    rows, labels, boxes, parts = [], [], [], []
    for label, name in enumerate(classes, start=1):
        for index in (1, 3, 2):
            image = len(rows) + 1
            file = f"{name.split('.')[1].title()}_{index:04d}_{796110 + image}"
            width, height = (60, 45) if index % 2 else (45, 60)
            x, y, w, h = 5 + index % 4, 8, 24 + 2 * (index % 3), 15 + label % 5
            if height > width:
                w, h = h, w
            _draw(root / "images" / name / f"{file}.jpg", label, (width, height), (x, y, w, h))
            _write_captions(Path(folder) / captions / name / f"{file}.txt", label, index)
            rows.append(f"{image} {name}/{file}.jpg")
            labels.append(f"{image} {label}")
            boxes.append(f"{image} {x:.1f} {y:.1f} {w:.1f} {h:.1f}")
            parts.append(f"{image} {index % 2}")
        (Path(folder) / captions / f"{name}.t7").write_bytes(b"T7")
    last = root / "images" / rows[-1].split()[1]
    Image.open(last).convert("L").save(last)
    for table, lines in {
        "images.txt": rows,
        "image_class_labels.txt": labels,
        "bounding_boxes.txt": boxes,
        "train_test_split.txt": parts,
        "classes.txt": [f"{label} {name}" for label, name in enumerate(classes, start=1)],
    }.items():
        (root / table).write_text("".join(f"{line}\n" for line in lines))


def write_oxford102(folder: Path, captions: str = "text_c10") -> None:
    """jpg/ and imagelabels.mat, and Reed et al.'s captions in the folder `captions`.

    The classes come in turns, three images each.
    """
    labels = 3 * FLOWERS
    for number, label in enumerate(labels, start=1):
        name, round_ = f"image_{number:05d}", (number - 1) // len(FLOWERS)
        size = (60, 45) if round_ % 2 == 0 else (45, 60)
        _draw(Path(folder) / "jpg" / f"{name}.jpg", label, size, (12 + round_ % 4, 8, 26, 26))
        _write_captions(Path(folder) / captions / f"class_{label:05d}" / f"{name}.txt", label, round_)
    for label in FLOWERS:
        (Path(folder) / captions / f"class_{label:05d}.t7").write_bytes(b"T7")
    savemat(Path(folder) / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})


def remove(*names: str) -> Callable[[Path], None]:
    """A way to spoil a copy: these files or folders are gone."""

    def spoil(raw: Path) -> None:
        for name in names:
            path = raw / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def edit(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    """A way to spoil a copy: the first `old` in a file is `new`."""

    def spoil(raw: Path) -> None:
        content = (raw / name).read_bytes()
        assert old in content
        (raw / name).write_bytes(content.replace(old, new, 1))

    return spoil


def add(name: str, text: bytes) -> Callable[[Path], None]:
    """A way to spoil a copy: a file ends with `text`, or is new."""

    def spoil(raw: Path) -> None:
        (raw / name).parent.mkdir(exist_ok=True)
        with open(raw / name, "ab") as file:
            file.write(text)

    return spoil


def _colours(label: int) -> tuple[str, str]:
    """Two colours, a pair of their own for each of 56 labels in a row."""
    names = list(COLOURS)
    body = label % len(names)
    return names[body], names[(body + 1 + label // len(names) % (len(names) - 1)) % len(names)]


def _write_captions(path: Path, label: int, index: int) -> None:
    """Ten lines, and beside them the encoded captions that the archives hold too."""
    body, wing = _colours(label)
    size = ("small", "large", "tiny", "plump")[index % 4]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(sentence.format(body=body, wing=wing, size=size) + "\n" for sentence in _SENTENCES))
    path.with_suffix(".h5").write_bytes(b"\x89HDF")


def _draw(path: Path, label: int, size: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    """A body in the class's first colour that fills `box`, with a patch in the second."""
    body, wing = (COLOURS[name] for name in _colours(label))
    x, y, w, h = box
    picture = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((x, y, x + w - 1, y + h - 1), fill=body)
    draw.ellipse((x + w // 3, y + h // 3, x + 2 * w // 3, y + 2 * h // 3), fill=wing)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=90)
