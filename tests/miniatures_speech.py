"""Miniature copies of the data sets of recorded speech, in their original layouts, with real images and sounds."""

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

MODES = {".jpg": ("RGB", "L", "RGB", "CMYK"), ".png": ("RGB", "RGBA", "P", "L", "1")}
SCENES = ("a/abbey", "a/apartment_building/outdoor", "k/kitchen", "b/badlands")


def write_picture(path: Path, number: int) -> None:
    """An image of its own colours, size and mode: a disc on a ground that darkens downwards."""
    rng = np.random.default_rng(number)
    width, height = (int(side) for side in rng.integers(40, 97, size=2))
    y, x = np.mgrid[:height, :width]
    ground, disc = rng.integers(0, 256, size=(2, 3))
    pixels = ground * (1 - 0.5 * y / height)[..., None]
    centre, radius = rng.uniform(0.3, 0.7, size=2) * (width, height), 0.3 * min(width, height)
    pixels[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2] = disc
    modes = MODES[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).convert(modes[number // 2 % len(modes)]).save(path)


def write_sound(path: Path, image: int, take: int, rate: int = 16000, channels: int = 1) -> None:
    """0.8 to 1.5 s of three tones that are the image's own, with noise that is the take's."""
    tones = np.random.default_rng(image).uniform(150, 3000, size=3)
    rng = np.random.default_rng([image, take])
    seconds = rng.uniform(0.8, 1.5)
    t = np.arange(int(seconds * rate)) / rate
    part = np.minimum((3 * t / seconds).astype(int), 2)
    samples = 0.4 * np.sin(2 * np.pi * tones[part] * t) + 0.03 * rng.standard_normal(len(t))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.repeat(samples[:, None], channels, axis=1), rate)


def copy(folder: Path, target: Path) -> Path:
    """A copy whose lists may be edited; images and sounds are links to the same files, and may be removed."""

    def put(source: str, place: str) -> None:
        (shutil.copyfile if source.endswith((".txt", ".json", ".csv")) else os.link)(source, place)

    return shutil.copytree(folder, target, copy_function=put)


def _splits(images: int) -> list[str]:
    """A fifth for val and for test each, at least two where that leaves three or more for training."""
    held_out = max(images // 5, 2 if images >= 7 else 1)
    return ["train"] * (images - 2 * held_out) + ["val"] * held_out + ["test"] * held_out


def _digits(number: int, count: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:count]


def write_flickr8k(folder: Path) -> list[str]:
    """Flickr8k with five recordings an image, by three speakers; the file names of train, val and test.

    The split files lie in Flickr8k_text. One image more is in no split and has no recording.
    """
    images = 9
    names = [f"{1000268201 + 7919 * i}_{_digits(i, 10)}.jpg" for i in range(images + 1)]
    wav2capt, wav2spk = [], []
    for i, name in enumerate(names):
        write_picture(folder / "Flicker8k_Dataset" / name, i)
        for n in range(5 if i < images else 0):
            wav = f"{name.removesuffix('.jpg')}_{n}.wav"
            write_sound(folder / "flickr_audio" / "wavs" / wav, i, n)
            wav2capt.append(f"{wav} {name} #{n}\n")
            wav2spk.append(f"{wav} {(i + n) % 3 + 1}\n")
    (folder / "flickr_audio" / "wav2capt.txt").write_text("".join(wav2capt))
    (folder / "flickr_audio" / "wav2spk.txt").write_text("".join(wav2spk))
    split = _splits(images)
    (folder / "Flickr8k_text").mkdir()
    for ours, theirs in (("train", "train"), ("val", "dev"), ("test", "test")):
        listed = [f"{name}\n" for name, part in zip(names, split, strict=False) if part == ours]
        (folder / "Flickr8k_text" / f"Flickr_8k.{theirs}Images.txt").write_text("".join(listed))
    return names[:images]


def write_places(folder: Path, newer: bool = True) -> list[str]:
    """Places Audio with two recordings an image; the images' paths, as the lists name them.

    `newer`: the lists of 2020, with those of unseen speakers, else train.json and val.json, where val.json has the
    images of val and test.
    """
    paths = [f"{SCENES[i % len(SCENES)]}/gsun_{_digits(i, 32)}.jpg" for i in range(9)]
    data: dict[str, list[dict]] = {"train": [], "val": [], "test": []}
    for i, (path, split) in enumerate(zip(paths, _splits(9), strict=True)):
        write_picture(folder / "images" / path, i)
        for n in range(2):
            speaker, number = f"A{_digits(100 + (i + n) % 3, 13).upper()}", 2 * i + n
            wav = f"wavs/{number % 2}/utterance_{number}.wav"
            write_sound(folder / "PlacesAudio_400k_distro" / wav, i, n)
            data[split].append(
                {
                    "uttid": f"{speaker}-GSUN_{_digits(i, 32).upper()}",
                    "speaker": speaker,
                    "asr_text": "what a recogniser heard",
                    "wav": wav,
                    "image": path,
                }
            )
    if newer:
        lists = {"train_2020": data["train"], "dev_seen_2020": data["val"], "test_seen_2020": data["test"]}
        lists |= {"dev_unseen_2020": data["val"][:1], "test_unseen_2020": data["test"][:1]}
        target = folder / "placesaudio_2020_splits"
    else:
        lists = {"train": data["train"], "val": data["val"] + data["test"]}
        target = folder / "PlacesAudio_400k_distro" / "metadata"
    target.mkdir(parents=True)
    for name, entries in lists.items():
        bases = {"image_base_path": "/data/authors/images256/", "audio_base_path": "/data/authors/placesaudio/"}
        (target / f"{name}.json").write_text(json.dumps(bases | {"data": entries}))
    return paths


def write_manifest(
    folder: Path, classes: int = 3, images: int = 4, descriptions: int = 3, split: bool = False, texts: bool = True
) -> list[dict[str, str]]:
    """One's own data: `images` in each of `classes` (0: none), by three speakers; the rows of manifest.csv.

    Recordings differ in format, rate and channels. With `texts`, of three descriptions one has a text as well and
    one has nothing else. `split`: with that column, images of each class in every split.
    """
    formats = ((".wav", 16000, 1), (".flac", 22050, 2), (".ogg", 44100, 1), (".wav", 32000, 2), (".flac", 48000, 1))
    names = [f"class {c}" for c in range(classes)] or [""]
    rows = []
    for c, name in enumerate(names):
        for i in range(images):
            number = c * images + i
            image = Path("pictures", name, f"{number:03d}{('.jpg', '.png')[number % 2]}")
            write_picture(folder / image, number)
            for n in range(descriptions):
                row = {"image": image.as_posix(), "recording": "", "text": ""}
                if not texts or n % 3 < 2:
                    ending, rate, channels = formats[(number + n) % len(formats)]
                    recording = Path("sounds", f"{number:03d}-{n}{ending}")
                    write_sound(folder / recording, number, n, rate, channels)
                    row["recording"] = recording.as_posix()
                if texts and n % 3:
                    row["text"] = f"image {number}, description {n}"
                row |= {"class": name} if classes else {}
                row |= {"split": _splits(images)[i]} if split else {}
                rows.append(row | {"speaker": f"speaker {(number + n) % 3}", "language": "en"})
    write_rows(folder, rows)
    return rows


def write_rows(folder: Path, rows: list[dict[str, str]]) -> None:
    """manifest.csv of these rows."""
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
