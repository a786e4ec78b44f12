"""train_rdg: the densely-stacked generator against three discriminators, under the relation supervisor."""

from pathlib import Path

import click
import numpy as np
import torch

from s2igan.catalog import read_catalog
from s2igan.checkpoint import TrainingCheckpoint
from s2igan.command import SEED, stage
from s2igan.errors import InputError
from s2igan.figures import evenly, save_sheets
from s2igan.machine import PRECISIONS, device, training_precision
from s2igan.rdg.batches import NEGATIVES, POSITIVES, TrainingSet
from s2igan.rdg.generator import DENSE, UPSAMPLINGS
from s2igan.rdg.model import RDG
from s2igan.rdg.relation import NORMS
from s2igan.rdg.training import Recipe, train
from s2igan.sen.captions import open_captions
from s2igan.sen.model import class_labels, load_sen, pad, saved_sen
from s2igan.store import FixedReader
from s2igan.tables import write_tsv
from s2igan.vision.encoders import FrozenEncoder, load_encoder

INPUTS = (
    "data/catalog/images.csv",
    "data/catalog/captions.csv",
    "data/images.h5",
    "data/image_features.h5",
    "data/embeddings.h5",
)
RECIPE = tuple(Recipe.__dataclass_fields__)
PREVIEWS = 8


def power_of_two(context, parameter, value: int) -> int:
    """Click's callback: generator and discriminators come from 4 x 4 to a size, and back, by doubling and halving."""
    if value & (value - 1):
        raise click.BadParameter(f"{value} is no power of two: give 8, 16, 32, 64 or more")
    return value


@click.command()
@click.option("--base_size", type=click.IntRange(8), required=True, callback=power_of_two, help="of the first scale")
@click.option("--base_channels", type=click.IntRange(4), required=True, help="of the generator")
@click.option("--discriminator_channels", type=click.IntRange(1), required=True)
@click.option("--noise_dim", type=click.IntRange(1), required=True)
@click.option("--condition_dim", type=click.IntRange(1), required=True)
@click.option("--residual_blocks", type=click.IntRange(0), required=True, help="in each refinement stage")
@click.option("--dense", type=click.Choice(DENSE), required=True, help="what a stage sees of the earlier ones (eq. 7)")
@click.option("--upsampling", type=click.Choice(UPSAMPLINGS), required=True, help="in the generator")
@click.option("--initialisation", type=click.Choice(["orthogonal", "default"]), required=True)
@click.option("--condition_scale", type=click.FloatRange(0, min_open=True), required=True, help="factor before F^ca")
@click.option("--condition_noise/--no-condition_noise", required=True, help="F^ca draws, or gives its mean")
@click.option("--own_condition/--no-own_condition", required=True, help="D transforms the condition itself")
@click.option("--projection/--no-projection", required=True, help="inner product in D's conditional logit")
@click.option("--discriminator_norm/--no-discriminator_norm", required=True, help="batch norm in D")
@click.option("--condition_to_discriminator", type=click.Choice(["sampled", "mean"]), required=True)
@click.option("--speech_encoder", type=click.Choice(["frozen", "trained"]), required=True, help="trained: along with G")
@click.option("--sen_weight", type=click.FloatRange(0), required=True, help="of L_SEN, if the encoder is trained")
@click.option("--colour_weight", type=click.FloatRange(0), required=True, help="same colours at all scales; 0 for none")
@click.option("--mismatched/--no-mismatched", required=True, help="D also sees real images with other speech")
@click.option("--relation_weight", type=click.FloatRange(0), required=True, help="0 leaves the supervisor out")
@click.option("--relation_interval", type=click.IntRange(1), required=True, help="steps between supervisions")
@click.option("--matching_weight", type=click.FloatRange(0), required=True, help="of eqs. 1 to 4 in G; 0: not at all")
@click.option("--matching_captions", type=click.IntRange(0), required=True, help="to tell the batch's own from")
@click.option("--distillation_weight", type=click.FloatRange(0), required=True, help="SEN's image embedding in D")
@click.option("--relation_outputs", type=click.Choice([0, 3, 4]), required=True, help="0: no supervisor")
@click.option("--relation_norm", type=click.Choice(NORMS), required=True, help="batch norm of the relations' pairs")
@click.option("--relation_positive", type=click.Choice(POSITIVES), required=True)
@click.option("--relation_negative", type=click.Choice(NEGATIVES), required=True)
@click.option("--kl_weight", type=click.FloatRange(0), required=True)
@click.option("--r1_weight", type=click.FloatRange(0), required=True, help="gradient penalty on real images")
@click.option("--r1_interval", type=click.IntRange(1), required=True, help="steps between penalties")
@click.option("--translation", type=click.FloatRange(0, 0.5), required=True, help="DiffAugment's, share of the side")
@click.option("--ema_decay", type=click.FloatRange(0, 1, max_open=True), required=True)
@click.option("--ema_batch_norm/--no-ema_batch_norm", required=True, help="average batch-norm statistics too")
@click.option("--precision", type=click.Choice(PRECISIONS), required=True, help="of the step's products")
@click.option("--epochs", type=click.IntRange(1), required=True)
@click.option("--batch_size", type=click.IntRange(2), required=True)
@click.option("--lr", type=click.FloatRange(0, 1, min_open=True), required=True)
@click.option("--lr_discriminator", type=click.FloatRange(0, 1, min_open=True), required=True)
@click.option("--beta1", type=click.FloatRange(0, 1, max_open=True), required=True)
@click.option("--beta2", type=click.FloatRange(0, 1, max_open=True), required=True)
@click.option("--seed", type=SEED, required=True)
@stage
def main(**options):
    """Reads the catalog, images, features, embeddings and models/sen; writes models/rdg, curves and sheets.

    A speech encoder that is trained along begins as models/sen and reads data/logmel.h5 in place of embeddings.
    """
    options["precision"] = training_precision("rdg.precision", options["precision"], device())
    speech_encoder = options["speech_encoder"]
    trained = speech_encoder == "trained"
    inputs = [*INPUTS, *sorted(Path("models/sen").glob("*")), *(["data/logmel.h5"] if trained else [])]
    checkpoint = TrainingCheckpoint("train_rdg", options, inputs)
    del options["speech_encoder"]
    recipe = Recipe(**{key: options.pop(key) for key in RECIPE})
    epochs, batch_size = options.pop("epochs"), options.pop("batch_size")
    matching_captions = options.pop("matching_captions")
    positive, negative = options.pop("relation_positive"), options.pop("relation_negative")
    matching = recipe.matching_weight > 0
    relation = options["relation_outputs"] > 0 and recipe.relation_weight > 0
    if not relation:  # one without weight would teach nobody
        options["relation_outputs"] = 0
    sen, config = load_sen("models/sen")
    seen, drawn = config["image_encoder"]["crop_size"], 4 * options["base_size"]
    if seen != drawn:
        raise InputError(
            f"rdg.base_size: images of {drawn} pixels, but SEN and the relation supervisor know crops of {seen}; "
            f"set image_features.crop_size, classifier.crop_size and judge.crop_size to {drawn}, or rdg.base_size"
        )
    catalog = read_catalog("data/catalog")
    with (
        FixedReader("data/images.h5", "images") as images,
        FixedReader("data/image_features.h5", "image_features") as features,
        open_captions(config) if trained else FixedReader("data/embeddings.h5", "embeddings") as speech,
    ):
        ids = catalog.class_ids()
        # Validation classes chose SEN's epoch; nothing is chosen here, so that they teach, as in the paper.
        rows = [i for i, image in enumerate(catalog.images) if image.split != "test"]
        captions: dict[str, list[int]] = {}
        for caption in catalog.captions:
            captions.setdefault(caption.image, []).append(speech.index(caption.key))
        classes = np.array([ids[catalog.images[i].class_name] for i in rows])
        # SEN's classifier knows the classes that train_sen learns from; validation's teach it nothing here either.
        known = np.unique([ids[image.class_name] for image in catalog.images if image.split == "train"])
        data = TrainingSet(
            images,
            features.values(),
            speech if trained else speech.values(),
            np.array(rows),
            classes,
            [np.array(captions[catalog.images[i].key]) for i in rows],
            crop_size=4 * options["base_size"],
            positive=positive,
            negative=negative,
            relation=relation,
            labels=class_labels(classes, known[known >= 0]),
            # Of an encoder that changes with every step, further captions would have to be heard anew.
            matching_captions=matching_captions if matching and not trained else 0,
        )
        spread = evenly(catalog.first_of("test"), PREVIEWS)
        said = speech.values([speech.index(caption.key) for caption in spread])
        preview, preview_frames = pad(said) if trained else (torch.from_numpy(said), None)
        size = sen.speech.embedding_dim
        options |= {"embedding_dim": size, "image_embedding_dim": size, "matching": matching}
        model = RDG(**options, sen=sen if trained else None)
        heard_by = model.average_sen if trained else sen
        history = train(
            model,
            data,
            recipe,
            epochs=epochs,
            batch_size=batch_size,
            seed=options["seed"],
            image_embedding=heard_by.image.requires_grad_(False).to(device()) if relation or matching else None,
            fake_features=load_frozen(config["image_encoder"]).to(device()) if relation else None,
            preview=preview,
            preview_frames=preview_frames,
            device=device(),
            checkpoint=checkpoint,
        )
    write_tsv("metrics/rdg_training.tsv", history.rows)
    save_sheets("metrics/figures/rdg_training.png", history.sheets)
    config = {**config, "speech_encoder": speech_encoder}
    model.save("models/rdg", {"sen": config, "precision": recipe.precision}, {"sen": saved_sen(heard_by, config)})
    checkpoint.clear()


def load_frozen(features: dict) -> FrozenEncoder:
    """The encoder that the features of real images are from, for those of fakes; InputError if it is another."""
    frozen = load_encoder(features["encoder"], features["weights"], features["input_size"])
    if frozen.weights_hash != features["weights_hash"]:
        raise InputError(
            f"image_features.weights: hash {frozen.weights_hash}, but data/image_features.h5 was made with "
            f"{features['weights_hash']}; run `dvc repro -f image_features`, or put the old file back"
        )
    return frozen


if __name__ == "__main__":
    main()
