"""Flickr8k with the Flickr 8k Audio Caption Corpus: photographs, each described aloud five times by people.

Sources: Harwath and Glass, Deep Multimodal Semantic Embeddings for Speech and Images, ASRU 2015 (recordings);
Hodosh, Young and Hockenmaier, Framing Image Description as a Ranking Task, JAIR 2013 (images and splits).
"""

from collections.abc import Iterator
from pathlib import Path

from s2igan.datasets.listing import first_folder, lines
from s2igan.errors import InputError
from s2igan.manifest import Row
from s2igan.selection import key_name, stem
from s2igan.splits import Limits

IMAGE_FOLDERS = (
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

_NAME = r"([^\s/\\]+)"  # of a file, without folders
_README = "see data/raw/flickr8k/README.md"
_AUDIO_AGAIN = f"unpack flickr_audio.tar.gz again ({_README})"
_TEXT_AGAIN = f"unpack Flickr8k_text.zip again ({_README})"


def rows(raw: Path, limits: Limits) -> Iterator[Row]:
    """The recordings of the images in the published split; texts are not used, and there are no classes.

    A caption's number is that of `wav2capt.txt`. Left out are images that no split file lists (91 of 8091), with
    their recordings, and the image `ABSENT`, which was never published.
    Raises InputError with file, line and hint for a missing file, a malformed line, and an image that is in two
    splits or has no recording.
    """
    split_of = _read_splits(raw)
    again = f"unpack Flickr8k_Dataset.zip there ({_README})"
    folder = first_folder(raw, IMAGE_FOLDERS, "images", again, "*.jpg")
    table = raw / AUDIO / "wav2spk.txt"
    speakers = {wav: speaker for _, (wav, speaker) in lines(table, r"(\S+) +(\S+)", "recording speaker", _AUDIO_AGAIN)}
    table = raw / AUDIO / "wav2capt.txt"
    silent, heard = set(split_of), set()
    for line, (wav, image, number) in lines(
        table, rf"{_NAME} +(\S+) +#(\d{{1,4}})", "recording image #n", _AUDIO_AGAIN
    ):
        if image not in split_of:
            continue
        if wav in heard:
            raise InputError(f"{table}: line {line}: {wav} a second time; {_AUDIO_AGAIN}")
        heard.add(wav)
        if wav not in speakers:
            raise InputError(f"{raw / AUDIO / 'wav2spk.txt'}: no speaker of {wav}; {_AUDIO_AGAIN}")
        silent.discard(image)
        yield Row(
            f"{folder}/{image}",
            recording=f"{AUDIO}/wavs/{wav}",
            speaker=speakers[wav],
            language="en",
            split=split_of[image],
            key=f"-/{key_name(stem(image))}/{int(number):02d}",
        )
    if silent:
        raise InputError(f"{table}: no recording of {min(silent)} ({len(silent)} such images); {_AUDIO_AGAIN}")


def _read_splits(raw: Path) -> dict[str, str]:
    split_of: dict[str, str] = {}
    for split, name in SPLIT_FILES.items():
        path = next((raw / folder / name for folder in SPLIT_FOLDERS if (raw / folder / name).is_file()), raw / name)
        for line, (image,) in lines(path, _NAME, "one file name", _TEXT_AGAIN):
            if image in split_of:
                raise InputError(f"{path}: line {line}: {image} is in split {split_of[image]} already; {_TEXT_AGAIN}")
            if image != ABSENT:
                split_of[image] = split
        if split not in split_of.values():
            raise InputError(f"{path}: lists no image; {_TEXT_AGAIN}")
    return split_of
