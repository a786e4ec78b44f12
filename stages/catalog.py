"""catalog: what is taken of a manifest as one table of images, one of captions, and the images at load size."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from s2igan.catalog import DISJOINT, Catalog, check, write_catalog
from s2igan.command import Number, progress, stage
from s2igan.errors import InputError
from s2igan.files import write_csv
from s2igan.images import FITS, read_images
from s2igan.machine import workers
from s2igan.manifest import read_manifest, require_files
from s2igan.options import options
from s2igan.selection import select
from s2igan.speech.recordings import faults
from s2igan.splits import Limits
from s2igan.store import ImageWriter

MANIFEST = "data/manifest.csv"


@click.command()
@click.option("--dataset", required=True, help="its name")
@click.option("--raw", required=True, help="folder of the data set's files")
@click.option("--disjoint", type=click.Choice(DISJOINT), required=True, help="what splits do not share")
@click.option("--load_size", type=click.IntRange(8), required=True, help="pixels of the stored images' shorter side")
@click.option("--fit", type=click.Choice(FITS), required=True, help="squares are cut from images, or images padded")
@click.option("--unusable", type=click.Choice(["stop", "leave_out"]), required=True, help="files that cannot be read")
@click.option("--min_sample_rate", type=click.IntRange(0), required=True, help="Hz of a recording")
@click.option("--max_clipped", type=Number(0, 1), required=True, help="share of a recording's samples")
@click.option("--min_seconds", type=Number(0), required=True, help="seconds of a recording")
@options(Limits)
@stage
def main(dataset, raw, disjoint, load_size, fit, unusable, min_sample_rate, max_clipped, min_seconds, **limits):
    """Reads data/manifest.csv and the files that it names.

    Writes data/catalog/{images,captions,left_out}.csv, data/catalog/catalog.json and data/images.h5.
    """
    if not Path(MANIFEST).exists():
        raise InputError(f"{MANIFEST}: missing; run `dvc repro prepare` to make it")
    rows = read_manifest(MANIFEST)
    catalog, rows = select(rows, Limits(**limits), f"{MANIFEST} ({dataset}, {raw})", disjoint)
    require_files(rows, Path(raw), MANIFEST)
    catalog = check(replace(catalog, dataset=dataset, raw=raw, disjoint=disjoint), dataset)
    left_out = dict(unusable_recordings(catalog, min_sample_rate, max_clipped, min_seconds))
    raise_unless_allowed(left_out, unusable)
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
    write_catalog("data/catalog", catalog)
    write_csv("data/catalog/left_out.csv", ("key", "reason"), left_out.items())
    if left_out:
        click.echo(f"{len(left_out)} files left out: data/catalog/left_out.csv")
    for split in ("train", "val", "test"):
        images = [image for image in catalog.images if image.split == split]
        classes = len({image.class_name for image in images if image.class_name})
        click.echo(f"{split}: {classes} classes, {len(images)} images, {len(catalog.split(split))} captions")


def without_a_single_class(catalog: Catalog) -> Catalog:
    """The catalog without classes, where all images are of one: a class tells images apart, or it says nothing.

    Kept, it would leave no pair that the matching loss (eq. 2) may push apart, and SEN would learn nothing.
    """
    names = {image.class_name for image in catalog.images}
    if len(names) > 1 or "" in names:
        return catalog
    click.echo(f"all images are of the class {names.pop()}: taken as images without classes")
    return replace(catalog, images=tuple(replace(image, class_name="") for image in catalog.images))


def unusable_recordings(catalog: Catalog, *limits: float) -> Iterator[tuple[str, str]]:
    """The key of each caption whose recording cannot be used, and why."""
    recorded = [caption for caption in catalog.captions if caption.recording]
    if not recorded:
        return
    files = (Path(catalog.raw) / caption.recording for caption in recorded)
    found = faults(files, *limits, workers())
    for caption, fault in zip(recorded, progress(found, "recordings", len(recorded)), strict=True):
        if fault:
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
