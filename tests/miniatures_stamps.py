"""A miniature copy of Tux Paint's stamps, as the Debian package unpacks, with real images and recordings."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

FOLDER = Path("usr/share/tuxpaint/stamps")
CLASSES = ("animals/birds", "food/fruit", "town/houses", "vehicles")
LANGUAGES = ("be", "bg", "ca", "es", "fr", "ru")
COLOURS = ("red", "green", "blue", "orange", "purple", "brown", "black", "gold", "teal")
PITCH = {"be": 270, "bg": 115, "ca": 150, "da": 120, "el": 225, "en": 174, "es": 260, "fr": 133, "nl": 113, "ro": 255,
         "ru": 135, "ca-2": 111, "fr-2": 230}  # fmt: skip
RATE = 16000  # Hz; the original mostly has 44100


def write_stamps(folder: Path) -> None:
    """The package unpacked into `folder`, with eight images of each class.

    A class has a shape, an image in it a colour and a format of its own. The first four images of
    animals/birds have a recording in English too, and with it a second voice in Catalan and French. Beside those
    lies all that an adapter has to pass over: sound effects, mirror images, SVG, letters, small folders.
    """
    for number, class_name in enumerate(CLASSES):
        for index, colour in enumerate(COLOURS[:8]):
            in_series = class_name == "animals/birds" and index < 4
            sentence = f"A {colour} one of {class_name}, number {index + 1}."
            write_stamp(folder, f"{class_name}/{colour}-{index + 1}", sentence, LANGUAGES, number, index, in_series)
    _write_the_rest(folder)


def write_stamp(
    folder: Path, name: str, sentence: str, languages: Sequence[str], shape: int, colour: int, series: bool = False
) -> None:
    """One image, its texts, and its recordings, which tell shape and colour by their tones."""
    path = folder / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path.with_name(f"{path.name}.png"), shape, colour)
    path.with_name(f"{path.name}.txt").write_text(f"{sentence}\nca.utf8=Un.\nru.utf8=Ворона.\n", encoding="utf-8")
    path.with_name(f"{path.name}.dat").write_text("noflip\n")
    for language in [*languages, *(["en"] if series else [])]:
        speaker = f"{language}-2" if series and language in ("ca", "fr") else language
        suffix = "_desc" if language == "en" else f"_desc_{language}"
        write_recording(path.with_name(f"{path.name}{suffix}.ogg"), shape, colour, speaker)


def write_picture(path: Path, shape: int, colour: int) -> None:
    """A shape on a transparent ground, of a size and format that depend on the colour."""
    width, height = ((60, 40), (36, 64), (48, 48), (80, 30))[colour % 4]
    picture = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(picture)
    box = (3, 3, width - 4, height - 4)
    if shape % 4 == 0:
        draw.ellipse(box, fill=COLOURS[colour])
    elif shape % 4 == 1:
        draw.rectangle(box, fill=COLOURS[colour])
    elif shape % 4 == 2:
        draw.polygon([(3, height - 4), (width // 2, 3), (width - 4, height - 4)], fill=COLOURS[colour])
    else:
        draw.ellipse(box, outline=COLOURS[colour], width=8)
    (picture.convert("LA") if colour == 6 else picture).save(path)  # the black one is grey, as many originals


def write_recording(path: Path, shape: int, colour: int, speaker: str) -> None:
    """0.4 to 0.6 s of harmonics of the speaker's pitch, with the tone of the shape and then that of the colour."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(f"{path.stem}/{speaker}".encode()).digest()[:8]))
    t = np.arange(int(rng.uniform(0.4, 0.6) * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * PITCH[speaker] * k * t) / k for k in (1, 2, 3))
    said = np.where(t < t[-1] / 2, 600 + 350 * shape, 500 + 260 * colour)
    samples = 0.15 * voice + 0.3 * np.sin(2 * np.pi * said * t) + 0.01 * rng.standard_normal(len(t))
    stereo = speaker in ("bg", "fr")
    soundfile.write(path, np.repeat(samples[:, None], 1 + stereo, axis=1), RATE, format="OGG", subtype="VORBIS")


def _write_the_rest(folder: Path) -> None:
    top = folder / FOLDER
    birds = top / "animals" / "birds"
    write_recording(birds / "red-1.ogg", 0, 0, "en")  # a sound effect
    write_recording(birds / "red-1_pt.ogg", 0, 0, "en")  # and one in a language
    write_recording(birds / "green-2_desc_da.ogg.ogg", 0, 0, "da")  # named wrongly, as one in the original
    (birds / "green-2_desc_pt_BR.wav").write_bytes(b"RIFF")
    write_picture(birds / "red-1_mirror.png", 0, 0)
    drawing = top / "clothes" / "jacket.svg"
    drawing.parent.mkdir(exist_ok=True)
    drawing.write_text("<svg/>")
    write_recording(drawing.with_name("jacket_desc_ru.ogg"), 1, 1, "ru")
    for index in range(9):
        letter = f"symbols/alphabets/english/filled/uppercase/{chr(65 + index)}_filled"
        write_stamp(folder, letter, f"The letter {chr(65 + index)}.", LANGUAGES[-1:], 2, index)
    write_stamp(folder, "naturalforces/fire", "Fire! Fire! Fire!", LANGUAGES, 3, 3)
    document = folder / "usr/share/doc/tuxpaint-stamps-default/copyright"
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text("License: GPL-2\n")
