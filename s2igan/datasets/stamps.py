"""Tux Paint's stamps: small images named aloud in eleven languages, from the package tuxpaint-stamps-default.

What is said here of speakers holds for its version 2022.06.04; data/raw/stamps/README.md says how it was found out.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from s2igan.datasets import splits
from s2igan.datasets.archive import unpack
from s2igan.datasets.catalog import Caption, Catalog, Image
from s2igan.datasets.listing import key_name, unique_names
from s2igan.datasets.pictures import square_box
from s2igan.datasets.splits import Limits
from s2igan.errors import InputError

PACKAGE = "tuxpaint-stamps-default"
FOLDER = "usr/share/tuxpaint/stamps"  # in the package

# Lithuanian names only letters, and Malayalam six flowers, in more than one voice.
LANGUAGES = ("be", "bg", "ca", "da", "el", "en", "es", "fr", "nl", "ro", "ru")
# Speakers of no training or validation caption: a Slavic and a Romance language whose kin stay in training, and
# the second voice of French, the first of which stays.
HELD_OUT = frozenset({"be", "ca", "ca-2", "fr-2"})
# Animals that came from Childsplay, told by an English or Dutch recording, have a voice of their own in these
# languages; the images listed are where the rule fails.
SERIES = ("en", "nl")
SECOND_VOICE = {
    "ca": frozenset(
        f"animals/{name}"
        for name in ("amphibians/frog", "birds/hen", "mammals/cats/lion", "mammals/giraffe", "marsupials/kangaroo")
    ),
    "fr": frozenset({"animals/mammals/aquatic/sea_lion"}),
}

CLASS_SIZE = 8  # sentences that a folder needs to be a class
STYLES = ("cartoon", "toys")  # folders that say how a thing is drawn, not what it is
SIGNS = ("symbols/alphabets", "symbols/math")  # left out

_README = "data/raw/stamps/README.md"
_FETCH = f"run `s2igan fetch stamps` (see {_README})"


@dataclass(frozen=True)
class Stamp:
    """An image: `name` is its path in the package's folder without the ending, `languages` who speaks of it.

    `sentence` is what they say, in English; equal sentences were recorded once and the recording copied.
    """

    name: str
    sentence: str
    languages: tuple[str, ...]

    @property
    def picture(self) -> str:
        return f"{FOLDER}/{self.name}.png"

    def recording(self, language: str) -> str:
        return f"{FOLDER}/{_recording(self.name, language)}"

    def speaker(self, language: str) -> str:
        """The language, with -2 for the second voice of it."""
        in_series = any(other in self.languages for other in SERIES)
        second = language in SECOND_VOICE and in_series != (self.name in SECOND_VOICE[language])
        return f"{language}-2" if second else language

    def seen(self) -> list[str]:
        """The languages whose speakers may be heard in training."""
        return [language for language in self.languages if self.speaker(language) not in HELD_OUT]


def load(raw: Path, limits: Limits) -> Catalog:
    """The catalog of the folder `raw`, in which the package is unpacked; texts are not used.

    A class is a folder (`class_folders`); its images are divided into train, val and test (`splits.divide`),
    those with the same sentence together. Speakers in HELD_OUT are heard in test only, where the other speakers
    are too. An image's box is the square of its longer side. Left out are images that no speaker of the
    training names, and SIGNS: a letter stands there up to four times, under one recording.

    Limits of 0 mean all; classes, images and captions are drawn by `splits`, captions of a test image from
    unseen and seen speakers alike. A caption's number does not depend on the limits. `test_classes` and
    `val_classes` do nothing: the test holds out images. Raises InputError where files are missing.
    """
    stamps = find(raw)
    class_of = class_folders(stamps)
    if not class_of:
        raise InputError(f"{raw / FOLDER}: no folder with {CLASS_SIZE} images and their recordings; {_FETCH}")
    kept: list[Stamp] = []
    for folder in splits.limit(class_of.values(), limits.classes, limits.seed, "classes"):
        members = {stamp.name: stamp for stamp in stamps if class_of.get(stamp.name) == folder}
        kept += [
            members[name] for name in splits.limit(members, limits.images_per_class, limits.seed, f"images of {folder}")
        ]
    split_of = _divide(kept, class_of, limits.seed)
    splits.require_splits(raw / FOLDER, split_of.values())
    keys = _keys(kept, class_of)
    images, captions = [], []
    for stamp in sorted(kept, key=lambda stamp: keys[stamp.name]):
        key, split = keys[stamp.name], split_of[stamp.name]
        images.append(Image(key, stamp.picture, key.split("/")[0], split, _box(raw / stamp.picture)))
        spoken = _chosen(stamp, key, split, limits.captions_per_image, limits.seed)
        captions += [
            Caption(f"{key}/{number:02d}", key, "", stamp.recording(language), language, stamp.speaker(language))
            for number, language in enumerate(stamp.languages)
            if language in spoken
        ]
    return Catalog(tuple(images), tuple(captions))


def find(raw: Path) -> list[Stamp]:
    """The images of use in `raw`, sorted by name; InputError if the package is not there."""
    top = raw / FOLDER
    if not top.is_dir():
        raise InputError(f"{top}: missing; {_FETCH}")
    names = sorted(path.relative_to(top).with_suffix("").as_posix() for path in top.rglob("*.png"))
    stamps = []
    for name in names:
        if name.startswith(tuple(f"{folder}/" for folder in SIGNS)):
            continue
        languages = tuple(language for language in LANGUAGES if (top / _recording(name, language)).is_file())
        stamp = Stamp(name, _sentence(top / f"{name}.txt") or name, languages)
        if stamp.seen():
            stamps.append(stamp)
    return stamps


def class_folders(stamps: Iterable[Stamp]) -> dict[str, str]:
    """The class of each stamp that has one, by its name: a folder of the first or second level.

    A folder of the second level, such as animals/birds, is a class if its images have CLASS_SIZE different
    sentences; the other images of a folder of the first level are a class under the same condition. STYLES are
    no level.
    """
    second = {stamp: "/".join(_levels(stamp.name)[:2]) for stamp in stamps}
    first = {stamp: folder.split("/")[0] for stamp, folder in second.items() if folder not in _large(second)}
    chosen = second | first
    large = _large(chosen)
    return {stamp.name: folder for stamp, folder in chosen.items() if folder in large}


def fetch(folder: Path) -> Path:
    """Unpacks the Debian package into `folder`, and returns the folder of the images in it.

    The package is the .deb that lies in `folder`, else downloaded by `apt-get`, which needs no root.
    Raises InputError if there is no apt-get or it fails, and for a damaged package (`archive.unpack`).
    """
    folder = Path(folder)
    found = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if len(found) > 1:
        raise InputError(f"{folder}: {', '.join(path.name for path in found)}; keep one of them")
    with tempfile.TemporaryDirectory() as temporary:
        unpack(found[0] if found else _download(Path(temporary), folder), folder)
    if not (folder / FOLDER).is_dir():
        raise InputError(f"{folder}: the package has no {FOLDER}; see {_README}")
    return folder / FOLDER


def _download(temporary: Path, folder: Path) -> Path:
    hint = (
        f"download {PACKAGE}_*.deb from https://packages.debian.org/{PACKAGE} into {folder} "
        "and run `s2igan fetch stamps` again"
    )
    try:
        result = subprocess.run(["apt-get", "download", PACKAGE], cwd=temporary, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise InputError(f"apt-get: {error.strerror}; {hint}") from None
    found = sorted(temporary.glob(f"{PACKAGE}_*.deb"))
    if result.returncode or not found:
        told = [line for line in result.stderr.splitlines() if line.startswith("E:")] or ["no package came"]
        raise InputError(f"apt-get download {PACKAGE}: {told[0]}; run `apt-get update` as root first, or {hint}")
    return found[0]


def _recording(name: str, language: str) -> str:
    return f"{name}_desc.ogg" if language == "en" else f"{name}_desc_{language}.ogg"


def _sentence(path: Path) -> str:
    """The first line, which is in English; "" where there is no such file."""
    if not path.is_file():
        return ""
    return path.read_text(encoding="utf-8-sig", errors="replace").partition("\n")[0].strip().casefold()


def _levels(name: str) -> list[str]:
    return [folder for folder in name.split("/")[:-1] if folder not in STYLES]


def _large(folder_of: dict[Stamp, str]) -> set[str]:
    sentences: dict[str, set[str]] = {}
    for stamp, folder in folder_of.items():
        sentences.setdefault(folder, set()).add(stamp.sentence)
    return {folder for folder, found in sentences.items() if folder and len(found) >= CLASS_SIZE}


def _divide(stamps: Sequence[Stamp], class_of: dict[str, str], seed: int) -> dict[str, str]:
    """The split of each stamp. A sentence counts for the class in which it comes first, and is in one split."""
    home: dict[str, str] = {}
    count: dict[str, int] = {}
    for stamp in sorted(stamps, key=lambda stamp: stamp.name):
        home.setdefault(stamp.sentence, class_of[stamp.name])
        count[stamp.sentence] = count.get(stamp.sentence, 0) + len(stamp.seen())
    split_of = splits.divide(count, home, seed) if count else {}
    return {stamp.name: split_of[stamp.sentence] for stamp in stamps}


def _keys(stamps: Iterable[Stamp], class_of: dict[str, str]) -> dict[str, str]:
    """`<class>/<image>` for each name: animals_birds/crow for animals/birds/crow, its folders joined by _."""
    keys = {}
    for folder in {class_of[stamp.name] for stamp in stamps}:
        names = [stamp.name for stamp in stamps if class_of[stamp.name] == folder]
        short = unique_names(names, [lambda name, folder=folder: name.removeprefix(f"{folder}/")])
        keys |= {name: f"{key_name(folder)}/{short[name]}" for name in names}
    return keys


def _chosen(stamp: Stamp, key: str, split: str, most: int, seed: int) -> set[str]:
    """The languages in which an image of `split` is spoken of: all or, where `most` is not 0, so many of them."""
    seen = set(stamp.seen())
    unseen = set(stamp.languages) - seen if split == "test" else set()
    if not most:
        return seen | unseen
    from_unseen = splits.draw(unseen, max((most + 1) // 2, most - len(seen)), seed, f"unseen speakers of {key}")
    return from_unseen | splits.draw(seen, most - len(from_unseen), seed, f"seen speakers of {key}")


def _box(path: Path) -> str:
    """The square of the longer side about the middle; "" for what is no image, which its reader tells."""
    try:
        with PIL.Image.open(path) as picture:
            return square_box(0, 0, *picture.size, scale=0.5)
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        return ""
