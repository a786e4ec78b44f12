"""train_classifier: the classifier of the Inception score, on real images of the test classes."""

import click
import numpy as np

from s2igan.catalog import read_catalog
from s2igan.command import Stage
from s2igan.machine import device
from s2igan.metrics.classifier import (
    NETWORKS,
    Recipe,
    Rows,
    classifier_hash,
    predict,
    save_classifier,
    save_no_classifier,
    train_classifier,
)
from s2igan.options import fill, options
from s2igan.store import ImageReader
from s2igan.tables import write_json
from s2igan.training import Checkpoints, code_of
from s2igan.vision.encoders import load_encoder

INPUTS = ("data/catalog/images.csv", "data/images.h5")
HELD_OUT = 4  # each fourth image of a class tells how good the classifier is


@click.command(cls=Stage)
@click.option("--weights", required=True, help="file of Inception-v3's ImageNet weights; empty for the usual place")
@click.option("--network", type=click.Choice(list(NETWORKS)), required=True)
@options(Recipe)
def main(**values):
    """Reads the catalog and data/images.h5; writes models/classifier and metrics/classifier.json."""
    recipe = fill(Recipe, values)
    pretrained = load_encoder("inception_v3", values["weights"]) if recipe.network == "inception_v3" else None
    start_weights = pretrained.weights_hash if pretrained else ""
    values["weights"] = start_weights
    checkpoints = Checkpoints("train_classifier", values, INPUTS, code_of("train_classifier"))
    catalog = read_catalog("data/catalog")
    names = sorted({image.class_name for image in catalog.images_in("test")} - {""})
    if not names:
        reason = "the data set has no classes that a classifier could learn"
        save_no_classifier("models/classifier", "classifier", reason)
        write_json("metrics/classifier.json", {"classes": 0, "protocol": [reason]})
        return
    # Where the splits hold out images and not classes, their other images teach the classes too.
    tested = [(row, image) for row, image in enumerate(catalog.images) if image.class_name in names]
    labels = np.array([[names.index(image.class_name)] for _, image in tested])
    rows = np.array([row for row, _ in tested])
    held_out = held_out_rows(labels[:, 0])
    with ImageReader("data/images.h5") as images:
        model, curves = train_classifier(
            Rows(images, rows[~held_out]),
            labels[~held_out],
            (len(names),),
            recipe,
            start=pretrained.network.state_dict() if pretrained else None,
            device=device(),
            checkpoints=checkpoints,
        )
        (answers,) = predict(model, Rows(images, rows[held_out]))
    save_classifier("models/classifier", "classifier", model, {"classes": names, "parameters": values})
    write_json(
        "metrics/classifier.json",
        {
            "accuracy": float((answers.argmax(1) == labels[held_out, 0]).mean()) if held_out.any() else None,
            "training_accuracy": curves[-1]["accuracy"],
            "chance": 1 / len(names),
            "classes": len(names),
            "training_images": int((~held_out).sum()),
            "held_out_images": int(held_out.sum()),
            "network": recipe.network,
            "start_weights": start_weights,
            "classifier_weights": classifier_hash("models/classifier"),
        },
    )
    checkpoints.clear()


def held_out_rows(labels: np.ndarray) -> np.ndarray:
    """Each fourth image of a class, as bool (N,), from class numbers (N,); of a class of three or fewer, none."""
    rank = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = np.arange(len(members))
    return rank % HELD_OUT == HELD_OUT - 1


if __name__ == "__main__":
    main()
