"""catalog: what is taken of a manifest as one table of images, one of captions, and the images at load size."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from s2igan.catalog import DISJOINT, SPLITS, UNKNOWN_LANGUAGE, Catalog, check, count_classes, write_catalog
from s2igan.command import Stage, progress
from s2igan.errors import InputError
from s2igan.files import write_csv
from s2igan.images import FITS, read_images
from s2igan.machine import workers
from s2igan.manifest import by_reason, missing_files, read_manifest
from s2igan.options import fill, options
from s2igan.parameters import data_faults, parameters, stop_at
from s2igan.selection import select
from s2igan.speech.recordings import LOW_RATE, RecordingLimits, judged
from s2igan.splits import Limits
from s2igan.store import ImageWriter

MANIFEST = "data/manifest.csv"


@click.command(cls=Stage)
@click.option("--dataset", required=True, help="its name")
@click.option("--raw", required=True, help="folder of the data set's files")
@click.option("--disjoint", type=click.Choice(DISJOINT), required=True, help="what splits do not share")
@click.option("--load_size", type=click.IntRange(8), required=True, help="pixels of the stored images' shorter side")
@click.option("--fit", type=click.Choice(FITS), required=True, help="squares are cut from images, or images padded")
@click.option("--unusable", type=click.Choice(["stop", "leave_out"]), required=True, help="files that cannot be read")
@options(RecordingLimits, Limits)
def main(dataset, raw, disjoint, load_size, fit, unusable, **limits):
    """Reads data/manifest.csv and the files that it names.

    Writes data/catalog/{images,captions,left_out}.csv, data/catalog/catalog.json and data/images.h5.
    """
    if not Path(MANIFEST).exists():
        raise InputError(f"{MANIFEST}: missing; run `dvc repro prepare` to make it")
    listed = read_manifest(MANIFEST)
    table, hold_out = f"{MANIFEST} ({dataset}, {raw})", limits["hold_out"]
    catalog, rows = select(listed, fill(Limits, limits), table, disjoint, Path(raw))
    stop_at(missing_files(rows, Path(raw), MANIFEST))
    catalog = check(replace(catalog, dataset=dataset, raw=raw), dataset)
    if hold_out == "class" or catalog.disjoint in ("speakers", "languages"):
        taken = {row.image for row in rows}
        others = sum(row.image in taken for row in listed) - len(rows)
        of = f"of the test's images by others than its {catalog.disjoint}, and the reverse"
        if hold_out == "class":
            of = "by a recording that another split hears"
        click.echo(f"{others} descriptions not used: {of}")
    left_out = dict(unusable_recordings(catalog, fill(RecordingLimits, limits)))
    raise_unless_allowed(left_out, unusable)
    listed_captions = catalog.captions
    heard = {caption.image for caption in catalog.captions if caption.key not in left_out}
    with ImageWriter("data/images.h5", attributes={"load_size": load_size}) as out:
        read = read_images(Path(raw), catalog.images, load_size, fit, workers())
        images = progress(read, "images", len(catalog.images))
        for image, pixels in zip(catalog.images, images, strict=True):
            if isinstance(pixels, InputError):
                left_out[image.key] = str(pixels)
                raise_unless_allowed({image.key: str(pixels)}, unusable)
            elif image.key in heard:
                out.append(image.key, pixels)
        usable = check(drop(catalog, left_out), f"{dataset}, without what cannot be used")
        catalog = without_a_single_class(usable)
        stop_at(data_faults(catalog, parameters()))
    write_catalog("data/catalog", catalog)
    language = {caption.key: caption.language for caption in listed_captions}
    table = [(key, language.get(key, ""), reason) for key, reason in left_out.items()]
    write_csv("data/catalog/left_out.csv", ("key", "language", "reason"), table)
    if left_out:
        click.echo(f"{len(left_out)} left out: data/catalog/left_out.csv")
        kinds = {key: f"recordings in {code or UNKNOWN_LANGUAGE}" for key, code in language.items()}
        for line in by_reason(raw, ((kinds.get(key, "images"), reason) for key, reason in left_out.items())):
            click.echo(f"  {line}")
    for split in SPLITS:
        images, captions = catalog.images_in(split), catalog.split(split)
        click.echo(f"{split}: {count_classes(images)} classes, {len(images)} images, {len(captions)} captions")


def without_a_single_class(catalog: Catalog) -> Catalog:
    """The catalog without classes, where all images are of one: a class tells images apart, or it says nothing.

    Kept, it would leave no pair that the matching loss (eq. 2) may push apart, and SEN would learn nothing.
    """
    names = {image.class_name for image in catalog.images}
    if len(names) > 1 or "" in names:
        return catalog
    click.echo(f"all images are of the class {names.pop()}: taken as images without classes")
    return replace(catalog, images=tuple(replace(image, class_name="") for image in catalog.images))


def unusable_recordings(catalog: Catalog, limits: RecordingLimits) -> Iterator[tuple[str, str]]:
    """The key of each caption whose recording cannot be used, and why; says which have a low sample rate."""
    recorded = [caption for caption in catalog.captions if caption.recording]
    files = dict.fromkeys(caption.recording for caption in recorded)
    found = judged((Path(catalog.raw) / file for file in files), limits, workers())
    judgement = dict(zip(files, progress(found, "recordings", len(files)) if files else (), strict=True))
    low = Counter(c.language or UNKNOWN_LANGUAGE for c in recorded if 0 < judgement[c.recording][1] < LOW_RATE)
    if low:
        told = ", ".join(f"{count} in {language}" for language, count in low.items())
        click.echo(f"warning: recordings of less than {LOW_RATE} Hz, in which consonants are lost: {told}", err=True)
    for caption in recorded:
        if fault := judgement[caption.recording][0]:
            yield caption.key, fault


def raise_unless_allowed(left_out: dict[str, str], unusable: str) -> None:
    """Raises the first of `left_out`, unless they may be left out."""
    if left_out and unusable == "stop":
        more = f" ({len(left_out) - 1} more such)" if len(left_out) > 1 else ""
        raise InputError(f"{next(iter(left_out.values()))}; or set catalog.unusable=leave_out{more}")


def drop(catalog: Catalog, left_out: dict[str, str]) -> Catalog:
    """The catalog without these captions and images, what belonged to them, and images that nothing describes."""
    captions = [c for c in catalog.captions if c.key not in left_out and c.image not in left_out]
    described = {caption.image for caption in captions}
    images = [image for image in catalog.images if image.key in described]
    return replace(catalog, images=tuple(images), captions=tuple(captions))


if __name__ == "__main__":
    main()
