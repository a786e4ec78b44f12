"""prepare: a data set's own files as one manifest, by its converter; aviary's birds are drawn here."""

from pathlib import Path

import click

from s2igan.command import Stage, progress
from s2igan.datasets.converters import find_converter
from s2igan.errors import InputError
from s2igan.files import whole_folder
from s2igan.machine import workers
from s2igan.manifest import write_manifest
from s2igan.options import options
from s2igan.parameters import parameters, stop_at, text_faults
from s2igan.splits import Limits


@click.command(cls=Stage)
@click.option("--dataset", required=True, help="a module of s2igan/datasets")
@click.option("--raw", required=True, help="folder of the data set's files")
@click.option("--manifest", required=True, help="name of the list in that folder, of dataset=manifest")
@click.option("--load_size", type=click.IntRange(8), required=True, help="pixels of drawn images")
@options(Limits)
def main(dataset, raw, manifest, load_size, **limits):
    """Writes data/manifest.csv and, where images are drawn, the folder data/drawn."""
    converter = find_converter(dataset)
    if not hasattr(converter, "drawings") and not (raw and Path(raw).is_dir()):
        raise InputError(f"catalog.raw={raw}: no such folder; data/raw/{dataset}/README.md says what goes where")
    limits = Limits(**limits)
    if Path(manifest).name != manifest:
        raise InputError(f"prepare.manifest={manifest}: not a file's name; put the list into {raw} and name it alone")
    source = Path(raw, manifest) if dataset == "manifest" else Path(raw)
    rows = list(converter.rows(source, limits))
    stop_at(text_faults(rows, parameters(), source))
    images = len({row.image for row in rows})
    with whole_folder("data/drawn") as folder:
        if hasattr(converter, "drawings"):
            for path, content in progress(converter.drawings(limits, load_size, workers()), "images", images):
                (folder / path).parent.mkdir(exist_ok=True)
                (folder / path).write_bytes(content)
    write_manifest("data/manifest.csv", rows)
    click.echo(f"{dataset}: {len(rows)} descriptions of {images} images: data/manifest.csv")


if __name__ == "__main__":
    main()
