"""Miniature copies of the data sets that are drawn in SVG: KTuberling's package unpacked, and emoji's npm packages."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from miniatures_speech import write_picture, write_sound
from PIL import Image

FOLDER = Path("usr/share/ktuberling")
# Scene -> object -> sound. The first two of a scene differ in direction and size alone.
SCENES = {
    "potato": {"ear_1": "ear", "ear_2": "ear", "ear_3": "ear", "tie": "tie"},
    "xmas": {"ball_S": "xmas_ball", "ball_L": "xmas_ball", "ear": "xmas_ear", **dict.fromkeys("abc", "xmas_star")},
    "robots": {"ear7": "robot_workshop_ear", "ear9": "robot_workshop_ear", "bow": "tux-bow"},
}
SPEAKS = {  # how many of the sounds, in alphabetical order, a language has
    **dict.fromkeys("ca fr nn ru uk".split(), 7),
    **dict.fromkeys("da de el en es fi ga gl it lt nds nl pt ro sl sr sv wa".split(), 2),
}
SETS = ("noto", "noto-v1", "fluent-emoji", "fluent-emoji-flat", "twemoji", "openmoji", "fxemoji")
LANGUAGES = "bg ca cs da de el en es eu fi fr hi hu id it nl pl pt ro ru sv sw tr vi".split()


def write_ktuberling(folder: Path, drawn: bool = True) -> None:
    """The package in `folder`, with its objects drawn, or with the scenes that they are to be drawn of."""
    pics, sounds = folder / FOLDER / "pics", folder / FOLDER / "sounds"
    for path in (pics, sounds):
        path.mkdir(parents=True)
    for number, (scene, objects) in enumerate(SCENES.items()):
        listed = "".join(f'<object name="{name}" sound="{sound}"/>' for name, sound in objects.items())
        board = f"{scene}.svg{'z' if number else ''}"
        (pics / f"{scene}.theme").write_text(f'<playground gameboard="{board}">{listed}{listed}</playground>')
        content = scene_of(objects).encode()
        (pics / board).write_bytes(gzip.compress(content) if number else content)
        for place, name in enumerate(objects if drawn else ()):
            write_picture(folder / "objects" / scene / f"{name}.png", 10 * number + max(place, 1))
        first = folder / "objects" / scene / f"{next(iter(objects))}.png"
        if drawn:
            with Image.open(first) as image:
                turned = image.convert("RGBA").transpose(Image.Transpose.TRANSVERSE)
            turned.resize((2 * turned.width, 2 * turned.height)).save(first)
    known = sorted({sound for objects in SCENES.values() for sound in objects.values()})
    for number, (language, count) in enumerate(SPEAKS.items()):
        listed = ""
        for place, sound in enumerate([*known[:count], "tuberling"]):  # which no object has
            listed += f'<sound name="{sound}" file="{language}/a_{sound}.wav"/>'
            write_sound(sounds / language / f"a_{sound}.wav", place, number)
        listed += '<sound name="tie" file="xx/none.ogg"/>' if count < 7 else ""
        (sounds / f"{language}.soundtheme").write_text(f'<language code="{language}">{listed}</language>')


def scene_of(objects: Mapping[str, str]) -> str:
    """A page of 100 x 60 on which the objects are rectangles of 20 x 10, moved 200 to the right by their group.

    The first is filled from a gradient outside of `defs`, blue; the others by their group, red.
    """
    first, *others = objects
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="100" height="60">
        <rect width="100" height="60" fill="green"/>
        <g transform="translate(100)"><linearGradient id="shade"><stop stop-color="blue"/></linearGradient>
        <g id="all" transform="scale(2)" fill="red"><rect id="{first}" width="20" height="10" fill="url(#shade)"/>
        {"".join(f'<g id="{name}"><rect x="5" width="20" height="10"/></g>' for name in others)}
        </g></g></svg>"""


def write_emoji(folder: Path) -> None:
    """What `s2igan fetch emoji` makes: ten concepts in six or seven sets, with a name in each language."""
    folder.mkdir(parents=True, exist_ok=True)
    concepts = [f"thing-{n}" for n in range(10)]
    for number, concept in enumerate(concepts):
        for place, name in enumerate(SETS if number % 2 else SETS[:-1]):
            write_picture(folder / "images" / concept / f"{name}.png", 10 * number + place)
    heads = f"concept,{','.join(LANGUAGES)}\n"
    lines = (f"{concept},{','.join(f'num {n} da' for _ in LANGUAGES)}\n" for n, concept in enumerate(concepts))
    (folder / "names.csv").write_text(heads + "".join(lines))


def write_npm(folder: Path, package: str, files: Mapping[str, object]) -> None:
    """An archive of npm with these JSON files."""
    with tarfile.open(folder / f"{package}-1.2.3.tgz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            data = json.dumps(content).encode()
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_emoji_packages(folder: Path) -> None:
    """A red cat, and signs that are not taken: a face, a clock, a pair of characters, one that three sets have, and
    one without a name in Basque. Twemoji's cat is an alias, noto's one is in a box of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {"🐱": "cat Face", "😀": "grinning face", "🕐": "one o’clock", "🐱🐱": "cats", "🐶": "dog", "🐭": "mouse"}
    for number, package in enumerate(SETS):
        square = {"body": '<rect width="8" height="8" fill="#f00"/>'}
        icons = dict.fromkeys(("cat-face", "grinning-face", "one-oclock", "cats", "mouse"), square)
        icons |= {"dog": square} if number < 3 else {}
        listed = {"icons": icons, "width": 8, "height": 8}
        if package == "noto":
            icons["cat-face"] = square | {"left": -8, "width": 16}
        if package == "twemoji":
            icons["kitty"] = icons.pop("cat-face")
            listed["aliases"] = {"cat-face": {"parent": "kitty"}, "dog": {"parent": "kitty", "hFlip": True}}
        if package == "fxemoji":
            icons["catface"] = icons.pop("cat-face")
        categories = {"Animals & Nature": ["cat-face", "dog", "mouse", "cats"], "Travel & Places": ["one-oclock"]}
        write_npm(folder, package, {"icons.json": listed, "metadata.json": {"categories": categories}})
    told = {
        f"annotations/{language}/annotations.json": {
            "annotations": {
                "annotations": {
                    sign: {"tts": [name if language == "en" else f"{name} ({language})"]}
                    for sign, name in names.items()
                    if (sign, language) != ("🐭", "eu")
                }
                | {"🍎": {"default": ["fruit"]}}  # without a name
            }
        }
        for language in LANGUAGES
    }
    write_npm(folder, "cldr-annotations-full", told)
