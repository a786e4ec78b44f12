"""Tux Paint's stamps: small images named aloud in eleven languages, from the package tuxpaint-stamps-default.

What is said here of speakers holds for its version 2022.06.04; data/raw/stamps/README.md says how it was found out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from s2igan import splits
from s2igan.errors import InputError
from s2igan.manifest import Row
from s2igan.selection import key_name, unique_names
from s2igan.splits import Limits

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

    def speaker(self, language: str) -> str:
        """The language, with -2 for the second voice of it."""
        in_series = any(other in self.languages for other in SERIES)
        second = language in SECOND_VOICE and in_series != (self.name in SECOND_VOICE[language])
        return f"{language}-2" if second else language

    def seen(self) -> list[str]:
        """The languages whose speakers may be heard in training."""
        return [language for language in self.languages if self.speaker(language) not in HELD_OUT]


def rows(raw: Path, limits: Limits) -> Iterator[Row]:
    """The recordings of the folder `raw`, in which the package is unpacked; texts are not used.

    A class is a folder (`class_folders`); its images are divided into train, val and test (`splits.divide`),
    those with the same sentence together. Speakers in HELD_OUT are heard in test only, where the other speakers
    are too, unless `limits` hold out something else. An image's box is the square of its longer side. Left out are
    images that no speaker of the training names, and SIGNS: a letter stands there up to four times, under one
    recording.

    Of an image's rows the first ones are of unseen and seen speakers in turn, in an order drawn by the seed, so that a
    limit of captions keeps both kinds. A caption's number is that of its language. Raises InputError where files
    are missing.
    """
    stamps = find(raw)
    class_of = class_folders(stamps)
    if not class_of:
        raise InputError(f"{raw / FOLDER}: no folder with {CLASS_SIZE} images and their recordings; {_FETCH}")
    stamps = [stamp for stamp in stamps if stamp.name in class_of]
    split_of, keys = _divide(stamps, class_of, limits.seed), _keys(class_of)
    for stamp in stamps:
        key, split = keys[stamp.name], split_of[stamp.name]
        for language in _in_turn(stamp, key, split, limits):
            yield Row(
                f"{FOLDER}/{stamp.name}.png",
                recording=f"{FOLDER}/{_recording(stamp.name, language)}",
                class_name=class_of[stamp.name],
                speaker=stamp.speaker(language),
                language=language,
                split=split,
                key=f"{key}/{stamp.languages.index(language):02d}",
            )


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
    for stamp in stamps:
        home.setdefault(stamp.sentence, class_of[stamp.name])
        count[stamp.sentence] = count.get(stamp.sentence, 0) + len(stamp.seen())
    split_of = splits.divide(count, home, seed)
    return {stamp.name: split_of[stamp.sentence] for stamp in stamps}


def _keys(class_of: dict[str, str]) -> dict[str, str]:
    """`<class>/<image>` for each name: animals_birds/crow for animals/birds/crow, its folders joined by _."""
    keys = {}
    for folder, names in splits.members(class_of).items():
        short = unique_names(names, [lambda name, folder=folder: name.removeprefix(f"{folder}/")])
        keys |= {name: f"{key_name(folder)}/{short[name]}" for name in names}
    return keys


def _in_turn(stamp: Stamp, key: str, split: str, limits: Limits) -> list[str]:
    """The languages in which an image of `split` is spoken of, one of an unseen speaker and one of a seen in turn."""
    seen = stamp.seen()
    apart = split != "test" and limits.hold_out == splits.AS_LISTED
    unseen = [] if apart else [language for language in stamp.languages if language not in seen]
    return splits.in_turn(unseen, seen, limits.seed, f"speakers of {key}")
