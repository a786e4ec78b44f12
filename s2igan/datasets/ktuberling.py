"""KTuberling's things: parts of drawn scenes, named aloud by people in 23 languages, from the package ktuberling-data.

What is said here of speakers holds for its version 22.12.3; data/raw/ktuberling/README.md says what is known of them.
"""

import gzip
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

from s2igan import splits
from s2igan.command import progress
from s2igan.datasets.svg import Scene, encoded
from s2igan.errors import InputError
from s2igan.files import whole_folder
from s2igan.images import read_image
from s2igan.manifest import Row
from s2igan.selection import key_name
from s2igan.splits import Limits

FOLDER = "usr/share/ktuberling"  # in the package
OBJECTS = "objects"  # drawn by `unpack`

# Not sr@latin, sr@ijekavian and sr@ijekavianlatin, whose recordings are copies of those of sr.
LANGUAGES = tuple("ca da de el en es fi fr ga gl it lt nds nl nn pt ro ru sl sr sv uk wa".split())
# Heard in the test or in validation alone: languages whose kin stay in training, and that name everything but for
# Galician, which names 71 things.
SPLIT_OF = {"gl": "test", "uk": "test", "nn": "val"}

# What is before the word in the name of a sound; where the word then means another thing than elsewhere, it stays.
_SCENE = re.compile("(butterflies|egypt|moon|pizzeria|robot_workshop|tv|tux|xmas)[_-]")
HOMONYMS = ("tux-bow", "xmas_ball")
ALIKE = 12  # of 255, the mean difference of two drawings that are one, turned, mirrored or in another size

_FETCH = "run `s2igan fetch ktuberling` (see data/raw/ktuberling/README.md)"


def unpack(raw: Path) -> None:
    """Draws the objects of all scenes of the package unpacked in `raw`, each to a file of its own in OBJECTS."""
    themes = _themes(raw)
    with whole_folder(raw / OBJECTS) as drawn:
        for theme in progress(themes, "scenes", len(themes)):
            board = theme.with_name(_xml(theme).get("gameboard", ""))
            if not board.is_file():
                raise InputError(f"{board}: missing; {_FETCH}")
            content = board.read_bytes()
            scene = Scene(gzip.decompress(content) if board.suffix == ".svgz" else content)
            (drawn / theme.stem).mkdir()
            for name in _objects(theme):
                try:
                    (drawn / theme.stem / f"{name}.png").write_bytes(encoded(scene.object(name)))
                except InputError as error:
                    raise InputError(f"{board}: {error}") from None


def rows(raw: Path, limits: Limits) -> Iterator[Row]:
    """A row for each object and each language that names it; there are no texts.

    A class is a word, whatever the scene. The objects of each are divided into train, val and test (`splits.divide`),
    drawings that differ in size or direction together; an object is heard in the languages of its split, so that no
    recording is in two, unless `limits` hold out something else. A caption's number is that of its language, and the
    first ones are drawn by the seed. Raises InputError where files are missing.
    """
    themes, anew = _themes(raw), limits.hold_out != splits.AS_LISTED
    if not (raw / OBJECTS).is_dir():
        raise InputError(f"{raw / OBJECTS}: missing; {_FETCH}")
    sounds = {language: _sounds(raw, language) for language in LANGUAGES}
    word_of, said = {}, {}
    for theme in themes:
        for name, sound in _objects(theme).items():
            image = f"{theme.stem}/{name}"
            word_of[image] = sound if sound in HOMONYMS else _SCENE.sub("", sound, count=1)
            said[image] = {language: files[sound] for language, files in sounds.items() if sound in files}
    counts = {image: len(found) for image, found in said.items()}
    split_of = splits.divide(counts, word_of, limits.seed, _drawings(raw, word_of))
    for image, word in word_of.items():
        key = f"{key_name(word)}/{key_name(image)}"
        heard = [language for language in said[image] if anew or SPLIT_OF.get(language, "train") == split_of[image]]
        for language in splits.in_order(heard, limits.seed, f"languages of {key}"):
            yield Row(
                f"{OBJECTS}/{image}.png",
                recording=f"{FOLDER}/sounds/{said[image][language]}",
                class_name=word,
                speaker=language,
                language=language,
                split="" if anew else split_of[image],
                key=f"{key}/{LANGUAGES.index(language):02d}",
            )


def _drawings(raw: Path, word_of: Mapping[str, str]) -> dict[str, str]:
    """For each object the first, by name, of those of its word that are drawn alike."""
    from scipy.cluster.hierarchy import DisjointSet  # here, since it takes half a second

    units, seen = DisjointSet(word_of), {}
    for image in word_of:
        pixels = read_image(raw / OBJECTS / f"{image}.png", size=8, fit="pad").astype(float)
        turned = [np.rot90(pixels, quarters, axes=(1, 2)) for quarters in range(4)]
        seen[image] = pixels, np.stack([*turned, *(view[:, :, ::-1] for view in turned)])
    for images in splits.members(word_of).values():
        for one, other in combinations(images, 2):
            if np.abs(seen[one][0] - seen[other][1]).mean(axis=(1, 2, 3)).min() < ALIKE:
                units.merge(one, other)
    return {image: min(unit) for unit in units.subsets() for image in unit}


def _themes(raw: Path) -> list[Path]:
    if not (found := sorted((raw / FOLDER / "pics").glob("*.theme"))):
        raise InputError(f"{raw / FOLDER}/pics: no scenes; {_FETCH}")
    return found


def _xml(path: Path) -> ET.Element:
    try:
        return ET.parse(path).getroot()
    except (OSError, ET.ParseError) as error:
        raise InputError(f"{path}: missing or damaged ({error}); {_FETCH}") from None


def _objects(theme: Path) -> dict[str, str]:
    """The sound of each object of a scene; a few are listed twice."""
    return {element.get("name"): element.get("sound") for element in _xml(theme).iter("object")}


def _sounds(raw: Path, language: str) -> dict[str, str]:
    """The file of each sound in a language, below the folder sounds."""
    top = raw / FOLDER / "sounds"
    listed = {e.get("name"): e.get("file") for e in _xml(top / f"{language}.soundtheme").iter("sound")}
    return {name: file for name, file in listed.items() if (top / file).is_file()}
