"""train_classifier: the classifier of the Inception score, on real images of the test classes."""

import click
import numpy as np

from s2igan.checkpoint import TrainingCheckpoint
from s2igan.command import progress, stage
from s2igan.datasets.catalog import classes_of, read_catalog
from s2igan.machine import device
from s2igan.metrics.classifier import predict, save_classifier, train_classifier
from s2igan.store import FixedReader
from s2igan.tables import write_json

INPUTS = ("data/catalog/images.csv", "data/images.h5")
HELD_OUT = 4  # each fourth image of a class tells how good the classifier is


@click.command()
@click.option("--channels", type=click.IntRange(1), required=True)
@click.option("--crop_size", type=click.IntRange(8), required=True, help="pixels of a generated picture")
@click.option("--epochs", type=click.IntRange(1), required=True)
@click.option("--batch_size", type=click.IntRange(2), required=True)
@click.option("--lr", type=click.FloatRange(0, 1, min_open=True), required=True)
@click.option("--seed", type=int, required=True)
@stage
def main(**options):
    """Reads the catalog and data/images.h5; writes models/classifier and metrics/classifier.json."""
    checkpoint = TrainingCheckpoint("train_classifier", options, INPUTS)
    catalog = read_catalog("data/catalog")
    tested = [(row, image) for row, image in enumerate(catalog.images) if image.split == "test"]
    names = classes_of([image for _, image in tested])
    labels = np.array([[names.index(image.class_name)] for _, image in tested])
    with FixedReader("data/images.h5", "images") as images:
        pictures = images.values([row for row, _ in tested])
    # Rows are class by class, so that every fourth row leaves each class three quarters of its images.
    held_out = np.arange(len(tested)) % HELD_OUT == HELD_OUT - 1
    model, curves = train_classifier(
        pictures[~held_out],
        labels[~held_out],
        heads=(len(names),),
        device=device(),
        checkpoint=checkpoint,
        progress=progress,
        **options,
    )
    (answers,) = predict(model, pictures[held_out])
    save_classifier("models/classifier", "classifier", model, {"classes": names})
    write_json(
        "metrics/classifier.json",
        {
            "accuracy": float((answers.argmax(1) == labels[held_out, 0]).mean()),
            "training_accuracy": curves[-1]["accuracy"],
            "chance": 1 / len(names),
            "classes": len(names),
            "training_images": int((~held_out).sum()),
            "held_out_images": int(held_out.sum()),
        },
    )
    checkpoint.clear()


if __name__ == "__main__":
    main()
