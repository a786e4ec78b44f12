"""The catalog: one table of images, one of captions, the same for every data set."""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from s2igan.errors import InputError
from s2igan.files import write_csv, write_text

SPLITS = ("train", "val", "test")
UNKNOWN_LANGUAGE = "und"  # ISO 639-2: undetermined
DISJOINT = ("classes", "images", "speakers", "languages")


@dataclass(frozen=True)
class Image:
    """One image: `key` is `<class>/<image>`; `class_name` is empty where the data set has no classes.

    `path` is relative to the catalog's raw folder, `box` ("x y w h") the part of the file to cut out, in its
    pixels; it may be empty.
    """

    key: str
    path: str
    class_name: str
    split: str
    box: str = ""


@dataclass(frozen=True)
class Caption:
    """One description: `key` is `<class>/<image>/<nn>`; it has a text, or a recording, or both.

    `recording` is relative to the catalog's raw folder and heard in place of the text; `language` is an ISO 639
    code, `speaker` any name.
    """

    key: str
    image: str
    text: str
    recording: str = ""
    language: str = ""
    speaker: str = ""


@dataclass(frozen=True)
class Catalog:
    """Images and captions in a fixed order, checked.

    `dataset` names what they are of, `raw` the folder of its files. `disjoint` says what the splits do not
    share: classes (as in the paper, so that the test is of classes never seen), or images, and with them
    perhaps the speakers or languages of the test. A recording is in one split, whatever it describes.
    """

    images: tuple[Image, ...]
    captions: tuple[Caption, ...]
    dataset: str = ""
    raw: str = ""
    disjoint: str = "classes"

    def split(self, name: str) -> list[Caption]:
        """The captions whose image is in split `name`."""
        wanted = {image.key for image in self.images_in(name)}
        return [caption for caption in self.captions if caption.image in wanted]

    def images_in(self, *splits: str) -> list[Image]:
        """The images of these splits."""
        return [image for image in self.images if image.split in splits]

    def training_captions(self) -> list[Caption]:
        """The captions that training hears: SEN is selected by those of val, or learns from them, and RDG does."""
        return self.split("train") + self.split("val")

    def first_of(self, name: str, per_image: int = 1) -> list[Caption]:
        """The first `per_image` captions of each image in split `name`."""
        taken: Counter[str] = Counter()
        chosen = []
        for caption in self.split(name):
            taken[caption.image] += 1
            if taken[caption.image] <= per_image:
                chosen.append(caption)
        return chosen

    def image_of(self) -> dict[str, Image]:
        """Each image under its key."""
        return {image.key: image for image in self.images}

    def class_ids(self) -> dict[str, int]:
        """A number for each class, in alphabetical order: training classes first, as L_d counts only those.

        -1 for "", no class.
        """
        trained = {image.class_name for image in self.images_in("train")}
        names = {image.class_name for image in self.images} - {""}
        ordered = sorted(names, key=lambda n: (n not in trained, n))
        return {"": -1} | {name: i for i, name in enumerate(ordered)}

    def group_of(self) -> dict[str, str]:
        """What each image, by its key, counts as in retrieval: its class; an image without one is one of its own."""
        return {image.key: image.class_name or image.key for image in self.images}


def count_classes(images: Iterable[Image]) -> int:
    """How many classes the images are of; no class is none."""
    return len({image.class_name for image in images} - {""})


def check(catalog: Catalog, where: str = "catalog") -> Catalog:
    """The same catalog, or InputError: keys unique, splits disjoint, and enough in each."""
    count = Counter([*(image.key for image in catalog.images), *(caption.key for caption in catalog.captions)])
    if repeated := [key for key, found in count.items() if found > 1]:
        raise InputError(f"{where}: key {repeated[0]} occurs twice; keys must be unique")
    splits: dict[str, str] = {}
    for image in catalog.images:
        alone = image.class_name if catalog.disjoint == "classes" and image.class_name else image.key
        if splits.setdefault(alone, image.split) != image.split:
            raise InputError(
                f"{where}: class {image.class_name} is in {splits[image.class_name]} and {image.split}; "
                "splits must be disjoint by class"
            )
    for class_name, found in Counter(image.class_name for image in catalog.images).items():
        if found < 2 and class_name and catalog.disjoint == "classes":
            raise InputError(
                f"{where}: class {class_name} has one image; the relation supervisor and the retrieval "
                "protocol need two: add an image or remove the class"
            )
    image_of = catalog.image_of()
    heard_in: dict[str, str] = {}
    for caption in catalog.captions:
        split = image_of[caption.image].split
        if caption.recording and heard_in.setdefault(caption.recording, split) != split:
            raise InputError(
                f"{where}: recording {caption.recording} is in {heard_in[caption.recording]} and, by {caption.key}, in "
                f"{split}; give what it describes one split, or hold out images (catalog.disjoint=images)"
            )
    if catalog.disjoint in ("speakers", "languages"):
        name = catalog.disjoint.removesuffix("s")
        heard = {getattr(caption, name): caption.key for caption in catalog.training_captions()}
        for caption in catalog.split("test"):
            if (value := getattr(caption, name)) and value in heard:
                raise InputError(
                    f"{where}: {name} {value} is in the test, by {caption.key}, and in training, by {heard[value]}; "
                    f"change the column split, or remove it so that {catalog.disjoint} are held out by themselves"
                )
    for split in SPLITS:
        if split not in splits.values():
            raise InputError(f"{where}: nothing in split {split}; assign a class or an image to it")
    if len(catalog.images_in("test")) < 2:
        raise InputError(f"{where}: one image in split test; the scores need two: assign another one to it")
    return catalog


def write_catalog(folder: str | Path, catalog: Catalog) -> None:
    """Writes `images.csv`, `captions.csv` and, about both, `catalog.json`."""
    about = {"dataset": catalog.dataset, "raw": catalog.raw, "disjoint": catalog.disjoint}
    write_text(Path(folder) / "catalog.json", json.dumps(about, indent=2) + "\n")
    for name, record, rows in (("images", Image, catalog.images), ("captions", Caption, catalog.captions)):
        write_csv(Path(folder) / f"{name}.csv", [field.name for field in fields(record)], map(astuple, rows))


def read_catalog(folder: str | Path) -> Catalog:
    """What `write_catalog` wrote; InputError for a file that is missing or damaged."""
    folder = Path(folder)
    images, captions = _read(folder / "images.csv", Image), _read(folder / "captions.csv", Caption)
    try:
        return Catalog(images, captions, **json.loads((folder / "catalog.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise InputError(f"{folder}/catalog.json: missing or damaged; run `dvc repro` to make it anew") from error


def _read(path: Path, record: type) -> tuple:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return tuple(record(**row) for row in csv.DictReader(file))
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; run `dvc repro` to make it") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: damaged ({error}); run `dvc repro` to make it anew") from error
