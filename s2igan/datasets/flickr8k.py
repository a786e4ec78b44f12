"""Flickr8k with the Flickr 8k Audio Caption Corpus: photographs, each described aloud five times by people.

Sources: Harwath and Glass, Deep Multimodal Semantic Embeddings for Speech and Images, ASRU 2015 (recordings);
Hodosh, Young and Hockenmaier, Framing Image Description as a Ranking Task, JAIR 2013 (images and splits).
"""

from __future__ import annotations

from pathlib import Path

from s2igan.datasets.catalog import Caption, Catalog, Image
from s2igan.datasets.listing import key_name, lines, require_file, shown, stem
from s2igan.datasets.splits import Limits, limit_images, require_splits
from s2igan.errors import InputError

PICTURE_FOLDERS = (
    "Flicker8k_Dataset",  # the archive's own spelling
    "Flickr8k_Dataset",
    "Images",
    "Flickr8k_Dataset/Flicker8k_Dataset",
    "Images/Flicker8k_Dataset",
)
SPLIT_FOLDERS = (".", "Flickr8k_text")
SPLIT_FILES = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
AUDIO = "flickr_audio"
ABSENT = "2258277193_586949ec62.jpg"  # captioned (as .jpg.1), but not among the images that were published

_README = "see data/raw/flickr8k/README.md"
_AUDIO_AGAIN = f"unpack flickr_audio.tar.gz again ({_README})"
_TEXT_AGAIN = f"unpack Flickr8k_text.zip again ({_README})"
_PICTURES_AGAIN = f"unpack Flickr8k_Dataset.zip again ({_README})"


def load(raw: Path, limits: Limits) -> Catalog:
    """The catalog of the images in the published split and their recordings; texts are not used.

    There are no classes: an image's key is `-/<file stem>`, a caption's number is that of `wav2capt.txt`. Where
    neither is 0, `classes * images_per_class` limits the images, each split in proportion; `test_classes` and
    `val_classes` do nothing. Left out are images that no split file lists (91 of 8091), with their recordings,
    and the image `ABSENT`, which was never published.
    Raises InputError with file, line and hint for a missing file, a malformed line, and an image that is in two
    splits or has no recording.
    """
    split_of = _read_splits(raw)
    folder = _picture_folder(raw)
    recordings, speakers = _read_recordings(raw / AUDIO / "wav2capt.txt"), _read_speakers(raw / AUDIO / "wav2spk.txt")
    if silent := [name for name in split_of if name not in recordings]:
        raise InputError(
            f"{raw / AUDIO / 'wav2capt.txt'}: no recording of {silent[0]} ({len(silent)} such images); {_AUDIO_AGAIN}"
        )
    chosen = limit_images(split_of, limits.classes * limits.images_per_class, limits.seed)
    require_splits(raw, chosen.values())
    images, captions = [], []
    for key, name in sorted((f"-/{key_name(stem(name))}", name) for name in chosen):
        image = Image(key, f"{folder}/{name}", "", chosen[name])
        require_file(raw, image.path, _PICTURES_AGAIN)
        images.append(image)
        for number, wav in list(recordings[name].items())[: limits.captions_per_image or None]:
            if wav not in speakers:
                raise InputError(f"{raw / AUDIO / 'wav2spk.txt'}: no speaker of {wav}; {_AUDIO_AGAIN}")
            recording = f"{AUDIO}/wavs/{wav}"
            require_file(raw, recording, _AUDIO_AGAIN)
            captions.append(Caption(f"{key}/{number:02d}", key, "", recording, "en", speakers[wav]))
    return Catalog(tuple(images), tuple(captions))


def _read_splits(raw: Path) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for split, name in SPLIT_FILES.items():
        path = next((raw / folder / name for folder in SPLIT_FOLDERS if (raw / folder / name).is_file()), raw / name)
        found = 0
        for line, (image,) in lines(path, r"(\S+)", "one file name", _TEXT_AGAIN):
            _require_name(path, line, image)
            if image in split_of:
                raise InputError(f"{path}: line {line}: {image} is in split {split_of[image]} already; {_TEXT_AGAIN}")
            if image != ABSENT:
                split_of[image] = split
                found += 1
        if not found:
            raise InputError(f"{path}: lists no image; {_TEXT_AGAIN}")
    return split_of


def _picture_folder(raw: Path) -> str:
    for folder in PICTURE_FOLDERS:
        if next((raw / folder).glob("*.jpg"), None):
            return folder
    raise InputError(
        f"{raw}: no images, looked for {', '.join(f'{folder}/*.jpg' for folder in PICTURE_FOLDERS)}; "
        f"unpack Flickr8k_Dataset.zip there ({_README})"
    )


def _read_recordings(path: Path) -> dict[str, dict[int, str]]:
    """The recordings of each image by their number, in the file's order."""
    recordings: dict[str, dict[int, str]] = {}
    seen: set[str] = set()
    for line, (wav, image, number) in lines(path, r"(\S+) +(\S+) +#(\d{1,4})", "recording image #n", _AUDIO_AGAIN):
        _require_name(path, line, wav)
        of_image = recordings.setdefault(image, {})
        if wav in seen or int(number) in of_image:
            again = wav if wav in seen else f"#{number} of {image}"
            raise InputError(f"{path}: line {line}: {again} a second time; {_AUDIO_AGAIN}")
        of_image[int(number)] = wav
        seen.add(wav)
    return recordings


def _read_speakers(path: Path) -> dict[str, str]:
    return {wav: speaker for _, (wav, speaker) in lines(path, r"(\S+) +(\S+)", "recording speaker", _AUDIO_AGAIN)}


def _require_name(path: Path, line: int, name: str) -> None:
    if "/" in name or "\\" in name or name in (".", ".."):
        raise InputError(f"{path}: line {line}: {shown(name)} is not a bare file name; write it without folders")
