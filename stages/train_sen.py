"""train_sen: one space for speech and images, from the matching and the distinctive loss (eqs. 1 to 6)."""

from dataclasses import asdict

import click
import numpy as np

from s2igan.catalog import read_catalog
from s2igan.command import Stage
from s2igan.data_parallel import is_first, spread
from s2igan.machine import device, training_precision
from s2igan.options import fill, options
from s2igan.sen.augmentation import Augmentation
from s2igan.sen.embedding import open_captions
from s2igan.sen.model import SENConfig, build_sen, save_sen, speech_file
from s2igan.sen.speech_encoder import SpeechEncoderConfig
from s2igan.sen.training import CURVES, Pairs, Recipe, train
from s2igan.store import FixedReader
from s2igan.tables import write_curves
from s2igan.training import Checkpoints, code_of

INPUTS = (
    "data/catalog/images.csv",
    "data/catalog/captions.csv",
    "data/image_features.h5",
    "data/image_regions.h5",
)


@click.command(cls=Stage)
@options(SpeechEncoderConfig, SENConfig, Recipe, Augmentation)
@click.option("--pretrain/--no-pretrain", required=True, help="off: the network as it is at initialisation")
@click.option("--selection", type=click.Choice(["val", "test"]), required=True, help="picks a pass; test: val teaches")
@click.option("--learn_val/--no-learn_val", required=True, help="train on val too, and keep the last pass")
def main(**values):
    """Reads the catalog, data/logmel.h5 and data/image_{features,regions}.h5; writes models/sen and its curves.

    By `input`, data/speech_features.h5 is heard in place of log-mels; an encoder of text reads the catalog's captions.
    """
    spread("train_sen")
    values["precision"] = training_precision("sen.precision", values["precision"], device())
    inputs = (*INPUTS, speech_file(values))
    selection, learn_val = values["selection"], values["learn_val"]
    if not values["pretrain"]:
        values["captions"] = 0
    recipe = fill(Recipe, values)
    checkpoints = Checkpoints("train_sen", values, inputs, code_of("train_sen"))
    catalog = read_catalog("data/catalog")
    chosen_by = [] if learn_val and selection == "val" else catalog.split(selection)
    with (
        open_captions(values) as log_mels,
        FixedReader("data/image_features.h5", "image_features") as features,
        FixedReader("data/image_regions.h5", "image_regions") as regions,
    ):
        val_teaches = learn_val or selection == "test"
        taught = catalog.training_captions() if val_teaches else catalog.split("train")
        training, validation = (pairs(catalog, captions, log_mels, features) for captions in (taught, chosen_by))
        classes = len(np.unique(training.classes[training.classes >= 0])) if values["distinctive_weight"] else 0
        layers = len(log_mels.attributes.get("speech_features", {}).get("layers", [0]))
        network = fill(SENConfig, values, feature_dim=features.shape[1], classes=classes)
        config = {
            **asdict(fill(SpeechEncoderConfig, values, bands=log_mels.width // layers, layers=layers)),
            **asdict(network),
            "image_encoder": features.attributes,
            "precision": recipe.precision,
            **log_mels.attributes,
            "parameters": values,
        }
        model = build_sen(config, recipe.seed).to(device())
        result = train(
            *(model, log_mels, features, training, validation, recipe, checkpoints),
            report=lambda history: write_curves("sen", history.rows, CURVES),
            image_regions=regions,
            augmentation=fill(Augmentation, values),
        )
    if not is_first():
        return
    save_sen("models/sen", model, config)
    checkpoints.clear()
    if not result.best_epoch:
        click.echo("not trained: the network as it is at initialisation")
    elif not chosen_by:
        click.echo(f"kept epoch {result.best_epoch}, the last: sen.learn_val leaves no captions to choose by")
    else:  # speakers and languages are held out for the test alone
        held_out = f"held-out {'classes' if catalog.disjoint == 'classes' else 'images'}"
        click.echo(f"kept epoch {result.best_epoch}: speech to image mAP {result.best_map:.3f} on {held_out}")


def pairs(catalog, captions, log_mels, features) -> Pairs:
    """Captions of the catalog by their rows in the two files and their class numbers."""
    image_of, ids = catalog.image_of(), catalog.class_ids()
    return Pairs(
        np.array([log_mels.index(caption.key) for caption in captions], np.int64),
        np.array([features.index(caption.image) for caption in captions], np.int64),
        np.array([ids[image_of[caption.image].class_name] for caption in captions], np.int64),
    )


if __name__ == "__main__":
    main()
