"""train_rdg: the densely-stacked generator against three discriminators, under the relation supervisor."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch

from s2igan.catalog import Catalog, read_catalog
from s2igan.command import Stage
from s2igan.data_parallel import is_first, spread
from s2igan.errors import InputError
from s2igan.figures import grid, sample_captions, words
from s2igan.machine import device, training_precision
from s2igan.options import fill, options
from s2igan.rdg.batches import BatchConfig, ImageTable, TrainingSet
from s2igan.rdg.captions import CaptionDecoder, number_words, pretrain
from s2igan.rdg.model import RDG, RDGConfig
from s2igan.rdg.training import Preview, Recipe, train
from s2igan.sen.embedding import GENERATOR_SEN, HeardCaptions, open_captions
from s2igan.sen.model import SEN, class_labels, load_sen, pad, save_sen, speech_file
from s2igan.store import FixedReader, ImageReader, RaggedReader
from s2igan.tables import write_curves
from s2igan.training import Checkpoints, History, code_of
from s2igan.vision.encoders import FrozenEncoder, load_encoder

INPUTS = (
    "data/catalog/images.csv",
    "data/catalog/captions.csv",
    "data/images.h5",
    "data/image_features.h5",
    "data/embeddings.h5",
)
PREVIEWS = 8
SHEETS = "metrics/figures/rdg_training.png"


@click.command(cls=Stage)
@options(RDGConfig, BatchConfig, Recipe)
@click.option("--speech_encoder", type=click.Choice(["frozen", "trained"]), required=True, help="trained: along with G")
def main(**values):
    """Reads the catalog, images, features, embeddings and models/sen; writes models/rdg{,_sen}, curves and sheets.

    A speech encoder that is trained along begins as models/sen and takes what that does (`open_captions`) in place of
    embeddings; so does a frozen one whose frames the generator attends to.
    """
    spread("train_rdg")
    values["precision"] = training_precision("rdg.precision", values["precision"], device())
    trained = values["speech_encoder"] == "trained"
    sen, config = load_sen("models/sen")
    attention = sen.places > 0
    inputs = [*INPUTS, *sorted(Path("models/sen").glob("*")), *([speech_file(config)] if trained or attention else [])]
    checkpoints = Checkpoints("train_rdg", values, inputs, code_of("train_rdg"))

    recipe = fill(Recipe, values)
    matching = recipe.matching_weight > 0
    compared = recipe.contrastive_weight > 0
    relation = values["relation_outputs"] > 0 and recipe.relation_weight > 0
    size = sen.speech.embedding_dim
    sizes = {"embedding_dim": size, "image_embedding_dim": size}
    network = fill(RDGConfig, values, **sizes, **recipe.heads, attention=attention)
    if not relation:  # one without weight would teach nobody
        network = replace(network, relation_outputs=0)
    if trained:  # the axes of an encoder that changes with every step do not stay
        network = replace(network, whitening=0.0)
    check_sizes(config["image_encoder"]["crop_size"], 4 * network.base_size)
    catalog = read_catalog("data/catalog")
    with (
        ImageReader("data/images.h5") as images,
        FixedReader("data/image_features.h5", "image_features") as features,
        open_speech(sen, config, trained) as speech,
    ):
        batches = fill(
            BatchConfig, values, crop_size=4 * network.base_size, relation=relation, one_way=network.mirrored
        )
        if trained or not matching:
            # Of an encoder that changes with every step, further captions would have to be heard anew.
            batches = replace(batches, matching_captions=0)
        table = image_table(catalog, speech)
        heard = speech.values() if isinstance(speech, FixedReader) else speech
        numbered = word_table(catalog, speech) if recipe.caption_weight > 0 else None
        data = TrainingSet(images, features.values(), heard, table, batches, numbered)
        decoder = None
        if numbered is not None:
            decoder_checkpoints = Checkpoints("train_rdg_decoder", values, inputs, code_of("train_rdg"))
            decoder = pretrained_decoder(data, recipe, decoder_checkpoints)
        shown = sample_captions(catalog, PREVIEWS)
        said = speech.values([speech.index(caption.key) for caption in shown])
        preview = Preview(*pad(said)) if trained else Preview(torch.from_numpy(said))
        model = RDG(network, sen if trained else None)
        if network.whitening:
            model.fit_whitening(torch.from_numpy(data.embeddings[data.all_captions]))
        listener = model.average_sen if trained else sen
        train(
            *(model, data, recipe, preview, device()),
            image_embedding=listener.image if relation or matching or compared else None,
            frozen_encoder=load_frozen(config["image_encoder"]) if relation or compared or decoder else None,
            decoder=decoder,
            checkpoints=checkpoints,
            report=history_writer([words(caption) for caption in shown]),
        )
    if not is_first():
        return
    model.save("models/rdg", {"sen": config, "precision": recipe.precision, "parameters": values})
    save_sen(GENERATOR_SEN, listener, config)
    checkpoints.clear()
    if decoder is not None:
        decoder_checkpoints.clear()


def open_speech(sen: SEN, config: dict, trained: bool) -> RaggedReader | HeardCaptions | FixedReader:
    """What the step takes of every caption: what a trained encoder hears, what a frozen one heard of it."""
    if trained:
        return open_captions(config)
    return HeardCaptions(sen.to(device()), config) if sen.places else FixedReader("data/embeddings.h5", "embeddings")


def history_writer(captions: list[str]) -> Callable[[History], None]:
    """What writes the curves, and, when there are more, what these captions are drawn as: a row per moment."""
    drawn = None

    def write(history: History) -> None:
        nonlocal drawn
        write_curves("rdg", history.rows)
        if drawn != len(history.sheets):
            moments = [f"after {images} images" for images in history.sheet_items]
            grid(
                [list(sheet) for sheet in history.sheets] or [[]], moments or ["nothing yet"], captions, SHEETS, 96, 170
            )
            drawn = len(history.sheets)

    return write


def image_table(catalog: Catalog, speech) -> ImageTable:
    """The images that teach, with the rows of their captions in `speech`.

    Validation classes chose SEN's epoch; nothing is chosen here, so that they teach, as in the paper.
    """
    ids = catalog.class_ids()
    rows = [i for i, image in enumerate(catalog.images) if image.split != "test"]
    captions: dict[str, list[int]] = {}
    for caption in catalog.captions:
        captions.setdefault(caption.image, []).append(speech.index(caption.key))
    classes = np.array([ids[catalog.images[i].class_name] for i in rows])
    # SEN's classifier knows the classes that train_sen learns from; validation's teach it nothing here either.
    known = np.unique([ids[image.class_name] for image in catalog.images_in("train")])
    caption_rows = [np.array(captions[catalog.images[i].key]) for i in rows]
    return ImageTable(np.array(rows), classes, caption_rows, class_labels(classes, known[known >= 0]))


def word_table(catalog: Catalog, speech) -> np.ndarray:
    """Words (N, L) of the captions that teach, by their rows in `speech`; InputError where no caption has text."""
    captions = catalog.training_captions()
    numbers = number_words([caption.text for caption in captions])
    if not numbers.any():
        raise InputError("rdg.caption_weight: no caption has text to read back; set it to 0")
    rows = np.array([speech.index(caption.key) for caption in captions])
    table = np.zeros((rows.max() + 1, numbers.shape[1]), np.int64)
    table[rows] = numbers
    return table


def pretrained_decoder(data: TrainingSet, recipe: Recipe, checkpoints: Checkpoints) -> CaptionDecoder:
    """A caption decoder that has learnt to read the real images; says how well."""
    decoder = CaptionDecoder(data.features.shape[-1], int(data.words.max()) + 1, recipe.seed).to(device())
    images = data.rows.repeat([len(captions) for captions in data.caption_rows])
    words = data.words[data.all_captions]
    captions = recipe.decoder_captions
    loss = pretrain(decoder, data.features, images, words, captions, recipe.lr, recipe.seed, checkpoints)
    click.echo(f"caption decoder: {loss:.3f} nats a word on real images, after {captions} captions")
    return decoder


def check_sizes(seen: int, drawn: int) -> None:
    """Raises InputError where SEN learnt from crops of another size than the generator's images."""
    if seen != drawn:
        raise InputError(
            f"rdg.base_size: images of {drawn} pixels, but SEN and the relation supervisor know crops of {seen}; "
            f"set image_features.crop_size, classifier.crop_size and judge.crop_size to {drawn}, or rdg.base_size"
        )


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
