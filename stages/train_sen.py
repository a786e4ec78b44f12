"""train_sen: one space for speech and images, from the matching and the distinctive loss (eqs. 1 to 6)."""

import click
import numpy as np

from s2igan.catalog import read_catalog
from s2igan.checkpoint import TrainingCheckpoint
from s2igan.command import SEED, stage
from s2igan.machine import PRECISIONS, device, training_precision
from s2igan.sen.captions import open_captions
from s2igan.sen.model import ENCODERS, IMAGE_PROJECTIONS, OBJECTIVES, build_sen, save_sen
from s2igan.sen.training import Pairs, train
from s2igan.store import FixedReader

CURVES = "metrics/sen_training.tsv"
INPUTS = ("data/catalog/images.csv", "data/catalog/captions.csv", "data/logmel.h5", "data/image_features.h5")
NETWORK = (
    *("encoder", "image_projection", "bands", "conv_channels", "kernel", "stride", "gru_layers", "gru_hidden"),
    *("attention_hidden", "mask_padding", "width"),
    *("objective", "smoothing", "matching_weight", "distinctive_weight"),
)


@click.command()
@click.option("--bands", type=click.IntRange(8, 128), required=True, help="mel bands, as in logmel")
@click.option("--conv_channels", type=click.IntRange(1), multiple=True, required=True)
@click.option("--kernel", type=click.IntRange(1), required=True)
@click.option("--stride", type=click.IntRange(1), required=True)
@click.option("--gru_layers", type=click.IntRange(1), required=True)
@click.option("--gru_hidden", type=click.IntRange(1), required=True, help="half of the embedding's size")
@click.option("--attention_hidden", type=click.IntRange(1), required=True)
@click.option("--encoder", type=click.Choice(ENCODERS), required=True, help="of speech; char_cnn_rnn: of text instead")
@click.option("--width", type=click.FloatRange(0, min_open=True), required=True, help="of other encoders; 1: whole")
@click.option("--mask_padding/--no-mask_padding", required=True, help="off: attention sees padding, as published")
@click.option("--image_projection", type=click.Choice(IMAGE_PROJECTIONS), required=True, help="none: features")
@click.option("--objective", type=click.Choice(OBJECTIVES), required=True, help="what pulls matched pairs together")
@click.option("--smoothing", type=click.FloatRange(0, min_open=True), required=True, help="beta of eq. 1")
@click.option("--matching_weight", type=click.FloatRange(0), required=True)
@click.option("--distinctive_weight", type=click.FloatRange(0), required=True, help="0 leaves the classifier out")
@click.option("--pretrain/--no-pretrain", required=True, help="off: the network as it is at initialisation")
@click.option("--epochs", type=click.IntRange(0), required=True)
@click.option("--batch_size", type=click.IntRange(2), required=True)
@click.option("--lr", type=click.FloatRange(0, 1, min_open=True), required=True)
@click.option("--beta1", type=click.FloatRange(0, 1, max_open=True), required=True)
@click.option("--beta2", type=click.FloatRange(0, 1, max_open=True), required=True)
@click.option("--weight_decay", type=click.FloatRange(0), required=True)
@click.option("--lr_step_epochs", type=click.IntRange(0), required=True, help="epochs between decays; 0 for none")
@click.option("--lr_gamma", type=click.FloatRange(0, 1, min_open=True), required=True, help="factor of a decay")
@click.option("--precision", type=click.Choice(PRECISIONS), required=True, help="of the speech encoder's products")
@click.option("--selection", type=click.Choice(["val", "test"]), required=True, help="split that picks the epoch")
@click.option("--learn_val/--no-learn_val", required=True, help="train on val too, and keep the last epoch")
@click.option("--seed", type=SEED, required=True)
@stage
def main(**options):
    """Reads the catalog, data/logmel.h5 and data/image_features.h5; writes models/sen and its curves.

    An encoder of text reads the catalog's captions in place of the log-mels.
    """
    options["precision"] = training_precision("sen.precision", options["precision"], device())
    checkpoint = TrainingCheckpoint("train_sen", options, INPUTS)
    catalog = read_catalog("data/catalog")
    with (
        open_captions(options) as log_mels,
        FixedReader("data/image_features.h5", "image_features") as features,
    ):
        selection, learn_val = options.pop("selection"), options.pop("learn_val")
        chosen_by = [] if learn_val and selection == "val" else catalog.split(selection)
        training, validation = (
            pairs(catalog, captions, log_mels, features)
            for captions in (catalog.training_captions() if learn_val else catalog.split("train"), chosen_by)
        )
        network = {key: options.pop(key) for key in NETWORK}
        network["conv_channels"] = list(network["conv_channels"])
        classes = len(np.unique(training.classes[training.classes >= 0]))
        config = {
            **network,
            "feature_dim": features.shape[1],
            "classes": classes if network["distinctive_weight"] else 0,
            "image_encoder": features.attributes,
            "precision": options["precision"],
            **log_mels.attributes,
        }
        if not options.pop("pretrain"):
            options["epochs"] = 0
        options |= {"checkpoint": checkpoint, "log": CURVES}
        model = build_sen(config, options["seed"]).to(device())
        result = train(model, log_mels, features, training, validation, **options)
    save_sen("models/sen", model, config)
    checkpoint.clear()
    if not result.best_epoch:
        click.echo("not trained: the network as it is at initialisation")
        return
    if not chosen_by:
        click.echo(f"kept epoch {result.best_epoch}, the last: sen.learn_val leaves no captions to choose by")
        return
    # Classes or images, whichever the splits do not share.
    held_out = f"held-out {catalog.disjoint}"
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
