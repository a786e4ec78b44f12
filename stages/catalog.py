"""catalog: any data set as one table of images, one of captions, and the pictures at load size."""

import click

from s2igan.command import progress, stage
from s2igan.datasets import sources
from s2igan.datasets.catalog import check, write_catalog
from s2igan.store import FixedWriter


@click.command()
@click.option("--dataset", type=click.Choice(sources.NAMES), required=True)
@click.option("--classes", type=click.IntRange(3), required=True, help="classes in all")
@click.option("--test_classes", type=click.IntRange(1), required=True, help="of them for the test")
@click.option("--val_classes", type=click.IntRange(1), required=True, help="of them for model selection")
@click.option("--images_per_class", type=click.IntRange(2), required=True)
@click.option("--captions_per_image", type=click.IntRange(1), required=True)
@click.option("--load_size", type=click.IntRange(8), required=True, help="pixels of the stored pictures")
@click.option("--seed", type=int, required=True)
@stage
def main(dataset, load_size, **options):
    """Writes data/catalog/{images,captions}.csv and data/images.h5."""
    source = sources.load(dataset, **options)
    catalog = check(source.catalog, dataset)
    with FixedWriter("data/images.h5", "images", (3, load_size, load_size), "uint8") as out:
        pictures = source.pictures(load_size)
        for image, picture in progress(zip(catalog.images, pictures, strict=True), "images", len(catalog.images)):
            out.append([image.key], picture[None])
    write_catalog("data/catalog", catalog)
    for split in ("train", "val", "test"):
        images = [image for image in catalog.images if image.split == split]
        classes = len({image.class_name for image in images})
        click.echo(f"{split}: {classes} classes, {len(images)} images, {len(catalog.split(split))} captions")


if __name__ == "__main__":
    main()
