"""Emoji: drawings of things in up to seven free sets, and their names in 24 languages, to be read aloud.

data/raw/emoji/README.md says where the packages come from and under which licences they are.
"""

import csv
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from s2igan import splits
from s2igan.command import progress
from s2igan.datasets.svg import SIDE, draw, encoded
from s2igan.errors import InputError
from s2igan.files import write_csv
from s2igan.machine import workers
from s2igan.manifest import Row
from s2igan.parallel import ordered_map
from s2igan.splits import Limits

# The split of each set's drawings. Those of one maker stay together.
SPLIT_OF = {
    "noto": "train",
    "noto-v1": "train",
    "fluent-emoji": "train",
    "fluent-emoji-flat": "train",
    "twemoji": "val",
    "openmoji": "test",
    "fxemoji": "test",
}
LEAST = 4  # sets that a concept is drawn in
LANGUAGES = tuple("bg ca cs da de el en es eu fi fr hi hu id it nl pl pt ro ru sv sw tr vi".split())
# Of no training or validation caption: Portuguese, whose kin stay in training, and Basque, which has none.
HELD_OUT = ("eu", "pt")
NAMES = "names.csv"  # by `unpack`: a row for each concept, a column for each language

# Things that one can point at: no faces, people, signs or flags. Of clock faces there are 24.
_CATEGORIES = ("Activities", "Animals & Nature", "Food & Drink", "Objects", "Travel & Places")
_CLOCK_FACES = range(0x1F550, 0x1F568)
_NAMES_PACKAGE = "cldr-annotations-full"
_FETCH = "run `s2igan fetch emoji` (see data/raw/emoji/README.md)"


def unpack(raw: Path) -> None:
    """Draws the emoji of the packages in `raw` and lists their names: images/<concept>/<set>.png, and NAMES.

    A concept is a single character in _CATEGORIES that is named in all LANGUAGES and drawn in LEAST sets or more, by
    the icon of its English name.
    """
    names = _names(raw)
    icons = {name: _icons(raw, name) for name in SPLIT_OF}
    categories = next(_read(raw, "noto", "metadata.json"))["categories"]
    pointed_at = {_letters(icon) for category in _CATEGORIES for icon in categories.get(category, ())}
    concepts = {}
    for character, english in names["en"].items():
        found = [name for name in SPLIT_OF if _letters(english) in icons[name]]
        single = len(character) == 1 and ord(character) not in _CLOCK_FACES
        if single and _letters(english) in pointed_at and len(found) >= LEAST:
            if all(character in of for of in names.values()):
                concepts[re.sub("[^a-z0-9]+", "-", english.lower())] = character, found
    (raw / NAMES).unlink(missing_ok=True)  # without it nothing here is a data set
    shutil.rmtree(raw / "images", ignore_errors=True)
    drawings = [(concept, name) for concept, (_, found) in concepts.items() for name in found]
    bodies = (icons[name][_letters(names["en"][concepts[concept][0]])] for concept, name in drawings)
    drawn = progress(ordered_map(_png, bodies, workers()), "drawings", len(drawings))
    for (concept, name), png in zip(drawings, drawn, strict=True):
        (raw / "images" / concept).mkdir(parents=True, exist_ok=True)
        (raw / "images" / concept / f"{name}.png").write_bytes(png)
    table = ([concept, *(of[character] for of in names.values())] for concept, (character, _) in concepts.items())
    write_csv(raw / NAMES, ["concept", *LANGUAGES], table)


def rows(raw: Path, limits: Limits) -> Iterator[Row]:
    """A row for each drawing and each language; a class is a concept, of which `limits` take so many.

    Drawings are split by their set (SPLIT_OF), so that the style of the test's is unseen. HELD_OUT languages are read
    in the test alone, where the others are too, unless `limits` hold out something else. Of a drawing's rows the first
    ones are of unheard and heard languages in turn, in an order drawn by the seed. InputError where files are missing.
    """
    if not (raw / NAMES).is_file():
        raise InputError(f"{raw / NAMES}: missing; {_FETCH}")
    with open(raw / NAMES, newline="", encoding="utf-8") as file:
        names = {row.pop("concept"): row for row in csv.DictReader(file)}
    apart = HELD_OUT if limits.hold_out == splits.AS_LISTED else ()
    for concept in splits.limit(names, limits.classes, limits.seed, "classes"):
        for name in (name for name in SPLIT_OF if (raw / "images" / concept / f"{name}.png").is_file()):
            unheard = apart if SPLIT_OF[name] == "test" else ()
            heard = [language for language in LANGUAGES if language not in apart]
            for language in splits.in_turn(unheard, heard, limits.seed, f"languages of {concept}/{name}"):
                yield Row(
                    f"images/{concept}/{name}.png",
                    text=names[concept][language],
                    class_name=concept,
                    language=language,
                    split=SPLIT_OF[name],
                    key=f"{concept}/{name}/{LANGUAGES.index(language):02d}",
                )


def _png(icon: tuple[str, tuple[float, float, float, float]]) -> bytes:
    return encoded(draw(*icon, SIDE))


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _icons(raw: Path, name: str) -> dict[str, tuple[str, tuple[float, float, float, float]]]:
    """Each icon of a set, by the letters of its name: SVG elements, and the box that shows them."""
    listed = next(_read(raw, name, "icons.json"))
    found = {}
    for icon, about in listed["icons"].items():
        sized = {"left": 0, "top": 0, "width": 16, "height": 16} | listed | about  # as Iconify has it
        found[_letters(icon)] = about["body"], tuple(sized[side] for side in ("left", "top", "width", "height"))
    for alias, about in listed.get("aliases", {}).items():
        if set(about) == {"parent"} and _letters(about["parent"]) in found:  # not turned
            found.setdefault(_letters(alias), found[_letters(about["parent"])])
    return found


def _names(raw: Path) -> dict[str, dict[str, str]]:
    """Each character's name in each language."""
    found = _read(raw, _NAMES_PACKAGE, *(f"annotations/{language}/annotations.json" for language in LANGUAGES))
    return {
        language: {c: about["tts"][0] for c, about in listed["annotations"]["annotations"].items() if about.get("tts")}
        for language, listed in zip(LANGUAGES, found, strict=True)
    }


def _read(raw: Path, package: str, *members: str) -> Iterator[dict]:
    """JSON files of the package's archive in `raw`."""
    found = sorted(raw.glob(f"{package}-[0-9]*.tgz"))
    if len(found) != 1:
        raise InputError(f"{raw}: {len(found)} archives {package}-*.tgz; keep one, or {_FETCH}")
    with tarfile.open(found[0]) as archive:
        for member in members:
            try:
                yield json.loads(archive.extractfile(f"package/{member}").read())
            except KeyError:
                raise InputError(f"{found[0]}: has no {member}; remove it and {_FETCH}") from None
