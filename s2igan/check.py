"""A list of one's own data, looked at as a whole: all of its faults at once, and what it has of everything."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image

from s2igan import catalog, selection
from s2igan.catalog import SPLITS, UNKNOWN_LANGUAGE, Catalog, Image, count_classes
from s2igan.datasets.manifest import read_list
from s2igan.errors import InputError
from s2igan.images import read_images
from s2igan.manifest import by_reason
from s2igan.options import fill
from s2igan.parameters import data_faults, parameter_faults, parameters, text_faults
from s2igan.speech.recordings import LOW_RATE, RecordingLimits, judged
from s2igan.splits import Limits

WHOLE = {"disjoint": "images"}  # as conf/dataset/manifest.yaml: no limits
FEW = 3  # images that a word needs to be in training and in the test
MUCH = 0.25  # share of an image whose loss is worth a word


def check_list(path: Path, workers: int) -> dict[str, Any]:
    """What is wrong with the list `path`, or `manifest.csv` in the folder `path`, and counts of what it names.

    `faults` are lines of the list and of params.yaml, which always stop a run; `unusable` are lines of files that
    cannot be used, which stop it or are left out. Limits are those of params.yaml where it is of such a list.
    Raises InputError where the list cannot be read at all.
    """
    table = path / "manifest.csv" if path.is_dir() else path
    raw, params, faults = table.parent, parameters(), []
    of_list = params.get("catalog", {}).get("dataset") == "manifest"
    settings = params["catalog"] if of_list else WHOLE
    fit = settings.get("fit", "crop")
    try:
        rows = read_list(table, faults.append)
    except InputError as error:  # no row is left
        raise InputError("; ".join([*faults[:3], str(error)])) from None
    faults += parameter_faults(params)
    faults += text_faults(rows, params, table)

    recordings = {row.recording: row.language for row in rows if (raw / row.recording).is_file()}
    limits, unusable, rates = fill(RecordingLimits, settings), [], {"": 1}
    found = judged((raw / name for name in recordings), limits, workers)
    for (recording, language), (fault, rate) in zip(recordings.items(), found, strict=True):
        rates[recording] = rate
        if fault:
            unusable.append((f"recordings in {language or UNKNOWN_LANGUAGE}", fault))
    images = {row.image: Image("", row.image, "", "", row.box) for row in rows if (raw / row.image).is_file()}
    readable: dict[str, None] = {}
    for name, pixels in zip(images, read_images(raw, list(images.values()), 8, fit, workers), strict=True):
        if isinstance(pixels, InputError):
            unusable.append(("images", str(pixels)))
        else:
            readable[name] = None
    table_of = pd.DataFrame(rows)
    table_of["usable"] = [row.image in readable and bool(rates.get(row.recording)) for row in rows]
    usable = [row for row, good in zip(rows, table_of.usable, strict=True) if good]
    recorded = table_of[table_of.recording != ""]
    report: dict[str, Any] = {
        "list": str(table),
        "faults": faults,
        "unusable": [fault for _, fault in unusable],
        "left_out": by_reason(raw, unusable),
        "languages": {name or UNKNOWN_LANGUAGE: _counts(of) for name, of in table_of.groupby("language", sort=False)},
        "speakers": recorded.speaker[recorded.speaker != ""].value_counts().to_dict(),
        "classes": table_of.drop_duplicates("image").class_name.value_counts().to_dict(),
        "images": table_of.image.nunique(),
        "cropped": _cropped([raw / name for name in readable if fit == "crop" and not images[name].box]),
        "sample_rates": dict(sorted(Counter(rate for name, rate in rates.items() if name and rate).items())),
        "recordings_of_several_images": int((recorded.groupby("recording").image.nunique() > 1).sum()),
    }
    try:
        if not usable:
            raise InputError(f"{table}: no row is left that can be used")
        taken, _ = selection.select(usable, fill(Limits, settings), str(table), settings["disjoint"], raw)
        taken = catalog.check(taken, str(table))
        report |= {"splits": _splits(taken), "words": _words(taken)}
        faults += data_faults(taken, params)
    except InputError as error:
        faults.append(str(error))
    return report


def _counts(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "descriptions": len(rows),
        "recorded": int((rows.recording != "").sum()),
        "speakers": rows.speaker[rows.speaker != ""].nunique(),
        "images": rows.image.nunique(),
        "left_out": int((~rows.usable).sum()),
    }


def _cropped(paths: list[Path]) -> dict[str, int]:
    """How many images are not square, and how many lose more than `MUCH` of themselves to the square in the middle."""
    lost = []
    for path in paths:
        with PIL.Image.open(path) as image:
            lost.append(1 - min(image.size) / max(image.size))
    return {"not_square": sum(map(bool, lost)), "lose_much": sum(share > MUCH for share in lost)}


def _splits(taken: Catalog) -> dict[str, dict[str, int]]:
    heard = {caption.speaker for caption in taken.training_captions()}
    counts = {}
    for split in SPLITS:
        images, captions = taken.images_in(split), taken.split(split)
        speakers = {caption.speaker for caption in captions} - {""}
        counts[split] = {
            "images": len(images),
            "descriptions": len(captions),
            "classes": count_classes(images),
            "speakers": len(speakers),
        }
    return counts | {"test": counts["test"] | {"speakers_unheard_in_training": len(speakers - heard)}}


def _words(taken: Catalog) -> dict[str, dict[str, Any]]:
    """Of each language: its words, how many name fewer than `FEW` images, and the test's that training never hears.

    Words are those of texts; a recording without a text has none that can be counted.
    """
    found = {}
    trained = {caption.key for caption in taken.training_captions()}
    for language in sorted({caption.language for caption in taken.captions if caption.text}):
        images: dict[str, set[str]] = {}
        heard, tested = set(), set()
        for caption in (caption for caption in taken.captions if caption.language == language):
            for word in re.findall(r"\w+", caption.text.casefold()):
                images.setdefault(word, set()).add(caption.image)
                (heard if caption.key in trained else tested).add(word)
        found[language or UNKNOWN_LANGUAGE] = {
            "words": len(images),
            "of_fewer_than_three_images": sum(len(of_word) < FEW for of_word in images.values()),
            "in_the_test": len(tested),
            "never_heard_in_training": sorted(tested - heard),
        }
    return found


def as_lines(report: dict[str, Any]) -> Iterator[str]:
    """The report for people; programs read the dictionary."""
    languages, classes, speakers = report["languages"], report["classes"], report["speakers"]
    rows = sum(of["descriptions"] for of in languages.values())
    yield f"{report['list']}: {rows} descriptions of {report['images']} images"
    yield from pd.DataFrame(languages).T.to_string().splitlines()
    yield f"speakers: {_most(speakers)}" if speakers else "speakers: none named, so none can be held out"
    yield f"classes, by images: {_most(classes)}" if "" not in classes else "classes: none; each image is its own"
    rates = report["sample_rates"]
    if rates:
        low = sum(count for rate, count in rates.items() if rate < LOW_RATE)
        yield f"recordings: {sum(rates.values())} usable, {low} of them of less than {LOW_RATE} Hz"
    if report["recordings_of_several_images"]:
        yield f"recordings that describe several images: {report['recordings_of_several_images']}; each is in one split"
    cropped = report["cropped"]
    yield (f"images: {cropped['not_square']} are not square and cut; {cropped['lose_much']} lose more than a quarter")
    for split, of in report.get("splits", {}).items():
        yield f"{split}: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in of.items())
    for language, of in report.get("words", {}).items():
        unheard = of["never_heard_in_training"]
        yield (
            f"words in {language}: {of['words']}, {of['of_fewer_than_three_images']} of fewer than three images; "
            f"{len(unheard)} of {of['in_the_test']} in the test are never heard in training"
            + (f": {', '.join(unheard[:5])}{', …' if len(unheard) > 5 else ''}" if unheard else "")
        )
    for line in report["left_out"]:
        yield f"cannot be used: {line}"
    yield from (f"fault: {fault}" for fault in report["faults"])
    yield f"{len(report['faults'])} faults, which stop a run; {len(report['unusable'])} files that cannot be used"


def _most(counts: dict[str, int], most: int = 8) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:most])
    return f"{len(counts)} ({shown}{', …' if len(counts) > most else ''})"
