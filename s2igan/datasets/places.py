"""Places Audio Captions in English: photographs of scenes from Places205, described freely aloud by people.

Sources: Harwath, Torralba and Glass, Unsupervised Learning of Spoken Language with Visual Context, NIPS 2016;
Harwath et al., Jointly Discovering Visual Objects and Spoken Words from Raw Sensory Input, ECCV 2018 (400k);
Zhou et al., Learning Deep Features for Scene Recognition using Places Database, NIPS 2014 (images).
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from s2igan.datasets.listing import first_folder
from s2igan.errors import InputError
from s2igan.manifest import Row, inside, shown
from s2igan.selection import unique_names, without_ending
from s2igan.splits import Limits, draw

AUDIO = "PlacesAudio_400k_distro"
LIST_FOLDERS = (f"{AUDIO}/metadata", "placesaudio_2020_splits")
NEWER = {"train": "train_2020.json", "val": "dev_seen_2020.json", "test": "test_seen_2020.json"}
OLDER = (
    {"train": "train.json", "val": "val_seen.json", "test": "test_seen.json"},
    {"train": "train.json", "val": "val.json", "test": "test.json"},
)
IMAGE_FOLDERS = (
    "images",
    "data/vision/torralba/deeplearning/images256",  # as imagesPlaces205_resize.tar.gz unpacks
)

_README = "see data/raw/places/README.md"
_AUDIO_AGAIN = f"unpack the archive that it came from again ({_README})"


def rows(raw: Path, limits: Limits) -> Iterator[Row]:
    """The recordings of the images that the lists name; the recogniser's texts are not used, nor scenes as classes.

    Lists are looked for in `LIST_FOLDERS`: the newer ones (`NEWER`), all three of which must be there, else the
    older ones (`OLDER`), where a test list may be missing: half of the val images, drawn by `splits.draw`, are
    then the test. Lists of speakers unseen in training are not used. The lists' base paths are those of the
    authors' machine and are ignored: `wav` is looked for in `AUDIO`, `image` in one of `IMAGE_FOLDERS`.

    An image's key is `-/<its path with _ for />`, without the file's ending. An image that several lists name
    belongs to test before val, and to val before train; its recordings of the other lists are left out, so that no
    image is trained on and scored.
    Raises InputError with file, entry and hint for a missing or damaged list, a path that leaves its folder, and a
    recording named twice.
    """
    lists = _find_lists(raw)
    entries = {split: list(_read_list(path)) for split, path in lists.items()}
    split_of = {image: split for split in entries for image, _, _ in entries[split]}  # later splits win
    if "test" not in entries:
        split_of |= _divide_val(lists["val"], split_of, limits.seed)
    names = unique_names(split_of, [without_ending, str])
    folder = first_folder(raw, IMAGE_FOLDERS, "images", f"unpack imagesPlaces205_resize.tar.gz there ({_README})")
    number_of: Counter[str] = Counter()
    for split, found in entries.items():
        for image, wav, speaker in found:
            if split == split_of[image] or (split == "val" and "test" not in entries):
                key = f"-/{names[image]}/{number_of[image]:02d}"
                number_of[image] += 1
                yield Row(
                    f"{folder}/{image}",
                    recording=f"{AUDIO}/{wav}",
                    speaker=speaker.strip(),
                    language="en",
                    split=split_of[image],
                    key=key,
                )


def _find_lists(raw: Path) -> dict[str, Path]:
    """The list of each split, in the order train, val, test; without test where there is none."""
    folders = [raw / folder for folder in LIST_FOLDERS]
    for folder in folders:
        if (folder / NEWER["train"]).is_file():
            paths = {split: folder / name for split, name in NEWER.items()}
            for path in paths.values():
                if not path.is_file():
                    raise InputError(f"{path}: missing, though {NEWER['train']} is there; {_AUDIO_AGAIN}")
            return paths
    for folder in folders:
        for names in OLDER:
            paths = {split: folder / name for split, name in names.items()}
            if paths["train"].is_file() and paths["val"].is_file():
                return {split: path for split, path in paths.items() if split != "test" or path.is_file()}
    raise InputError(
        f"{raw}: no lists, looked for {NEWER['train']}, or train.json with val.json or val_seen.json, in "
        f"{' and '.join(LIST_FOLDERS)}; unpack PlacesAudio_400k_distro.tar.gz there ({_README})"
    )


def _read_list(path: Path) -> Iterator[tuple[str, str, str]]:
    """Image, recording and speaker of each entry, the paths in their shortest form."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:  # neither UTF-8 nor JSON
        raise InputError(f"{path}: not JSON ({error}); {_AUDIO_AGAIN}") from None
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list) or not data:
        raise InputError(f"{path}: no entries under data; {_AUDIO_AGAIN}")
    seen: set[str] = set()
    for number, entry in enumerate(data):
        where = f"{path}: entry {number}"
        if not isinstance(entry, dict):
            raise InputError(f"{where} is {shown(repr(entry))}; expected image, wav and speaker: {_AUDIO_AGAIN}")
        for field in ("image", "wav", "speaker"):
            if not isinstance(value := entry.get(field), str) or not value.strip():
                raise InputError(f"{where}: {field} is {shown(repr(value))}; expected a text: {_AUDIO_AGAIN}")
        wav = inside(entry["wav"], f"{where}: wav")
        if wav in seen:
            raise InputError(f"{where}: wav {shown(wav)} a second time; remove one of the entries")
        seen.add(wav)
        yield inside(entry["image"], f"{where}: image"), wav, entry["speaker"]


def _divide_val(path: Path, split_of: dict[str, str], seed: int) -> dict[str, str]:
    held_out = [image for image, split in split_of.items() if split == "val"]
    if len(held_out) < 2:
        raise InputError(f"{path}: one image, to be divided into val and test; {_AUDIO_AGAIN}")
    return dict.fromkeys(draw(held_out, len(held_out) // 2, seed, "test"), "test")
