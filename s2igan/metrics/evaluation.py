"""The protocol: which files are scored, by which measure, against which chance and which controls."""

# N items, D embedding size, F encoder features, P parts

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import torch

from s2igan.catalog import Catalog, Image, count_classes
from s2igan.datasets.drawn.grammar import read
from s2igan.errors import InputError
from s2igan.metrics.attributes import keyword_scores, named_colours, part_colour_accuracy
from s2igan.metrics.classifier import AnyClassifier, Rows, classifier_hash, describe, load_classifier, predict
from s2igan.metrics.frechet import (
    frechet_distance,
    frechet_joint_distance,
    gaussian_statistics,
    kernel_distance,
)
from s2igan.metrics.inception_score import inception_score
from s2igan.metrics.precision_recall import precision_recall
from s2igan.metrics.retrieval import (
    choose_queries,
    cross_modal_retrieval,
    image_retrieval_map,
    precision_at,
    speaker_control,
)
from s2igan.sen.embedding import GENERATOR_SEN, image_embeddings
from s2igan.sen.model import load_sen
from s2igan.splits import limit
from s2igan.store import FixedReader, ImageReader
from s2igan.vision.encoders import FrozenEncoder, encode_images
from s2igan.vision.transforms import centre_crop

MAP = {False: "map", True: "map_same_images"}  # by whether the query images' own fakes are in the gallery
CONTROLS = ("", "_untrained", "_shuffled", "_oracle")
KERNEL_SUBSET = 1000
BLOCK = 512
PRECISION_AT = (1, 2, 5, 10, 20, 50, 100)
# `protocol` of metrics/*.json is a list, which DVC leaves out of its tables: sentences would make them unreadable.
IMAGE_PROTOCOL = (
    "one image a test caption",
    "IS by models/classifier; map by encoder, distances by fid_encoder",
    "resize bilinear, antialiased, but that of TensorFlow 1 in inception_v3_fid",
    "map: fakes of the query's own captions left out; map_same_images: only fakes of query images' captions",
    "_untrained: the network at initialisation",
    "_shuffled: each caption's speech from another class, or from another image where there is no other class for each",
    "_oracle: the true renderer, given the colours that the caption names, the rest at random",
    "_real: the real test images, for distances, precision and recall training images",
    "precision, recall: 3 neighbours, by fid_encoder; …_classifier: by models/classifier",
)


def retrieval_scores(
    catalog: Catalog, speech_of: Mapping[str, np.ndarray], device: torch.device
) -> tuple[dict, list[dict]]:
    """Retrieval between the test split's speech and images in SEN's space, and precision at k for the plot.

    `speech_of` is the embedding (D,) of each test caption. What is unseen in training (classes or only images,
    voices) the catalog says. The gallery of images is the centre view of each test image, that of speech every test
    caption.
    """
    sen, config = load_sen(GENERATOR_SEN)
    group_of = catalog.group_of()
    captions = catalog.split("test")
    tested = catalog.images_in("test")
    speech = np.stack([speech_of[caption.key] for caption in captions])
    images = image_embeddings(sen, [image.key for image in tested], device)
    speech_classes = [group_of[caption.image] for caption in captions]
    image_classes = [group_of[image.key] for image in tested]
    row_of = {image.key: row for row, image in enumerate(tested)}
    own_image = np.array([row_of[caption.image] for caption in captions])
    own_speech = [np.flatnonzero(own_image == row) for row in range(len(tested))]
    most = max(len(rows) for rows in own_speech)
    padded = np.stack([np.pad(rows, (0, most - len(rows)), constant_values=-1) for rows in own_speech])

    forth = cross_modal_retrieval(speech, images, speech_classes, image_classes, own_image)
    back = cross_modal_retrieval(images, speech, image_classes, speech_classes, padded)
    oracle = {}
    judge, names = load_classifier("models/judge", "judge")
    if judge is not None:  # captions and classes as the colours that they name
        truth_of, parts, colours = _named_of_classes(catalog), names["parts"], names["colours"]
        told = named_colours([read(caption.text) for caption in captions], parts, colours)
        shown = named_colours([truth_of[image.class_name] for image in tested], parts, colours)
        ear, eye = (np.eye(len(colours) + 1)[found][..., :-1].reshape(len(found), -1) for found in (told, shown))
        oracle = {
            "speech_to_image_map_oracle": cross_modal_retrieval(ear, eye, speech_classes, image_classes, own_image)[
                "map"
            ],
            "image_to_speech_map_oracle": cross_modal_retrieval(eye, ear, image_classes, speech_classes, padded)["map"],
        }
    scores = {
        "speech_to_image_map": forth["map"],
        "image_to_speech_map": back["map"],
        **oracle,
        "speech_to_image_map_chance": forth["map_chance"],
        "image_to_speech_map_chance": back["map_chance"],
        **{f"speech_to_image_r{k}": forth[f"r{k}"] for k in (1, 5, 10)},
        "median_rank": forth["median_rank"],
        **speaker_control(catalog),
        **{f"image_to_speech_r{k}": back[f"r{k}"] for k in (1, 5, 10)},
        "image_to_speech_median_rank": back["median_rank"],
        "captions": len(captions),
        "images": len(tested),
        "classes": count_classes(tested),
        "voices": len(config["speech"].get("test_voices", [])),
        "sen_precision": config.get("precision", "float32"),
        "encoder": config["image_encoder"]["encoder"],
        "encoder_weights": config["image_encoder"]["weights_hash"],
        "protocol": [
            *(_split(catalog), "cosine", "map: relevant = same class (without classes, the own image)"),
            "r@k and median rank: the item's own image (any own caption, from images)",
            "_oracle: a perfect ear and eye, the colours that the caption names against those of the species",
            "…_speaker: images by how often training heard the caption's speaker describe their class",
        ],
    }
    ks = [k for k in PRECISION_AT if k <= min(len(tested), len(captions))]
    curves = (
        precision_at(speech, images, speech_classes, image_classes, ks),
        precision_at(images, speech, image_classes, speech_classes, ks),
    )
    table = [
        {"k": k, "speech_to_image": forth_k, "image_to_speech": back_k}
        for k, forth_k, back_k in zip(ks, *curves, strict=True)
    ]
    return scores, table


def distance_names(encoder: str) -> tuple[str, str, str]:
    """What the Fréchet, joint and kernel distance on this encoder's features are called.

    `fid`, `fjd` and `kid` only on the weights that the field computes its FID on, so that what is called so can
    be compared with published numbers.
    """
    if encoder == "inception_v3_fid":
        return "fid", "fjd", "kid"
    return f"fd_{encoder}", f"fjd_{encoder}", f"kd_{encoder}"


@dataclass(frozen=True)
class ImageSet:
    """Images as the networks of the protocol see them; without a classifier `pooled` and `probabilities` are None."""

    keys: list[str]  # of real images, or of the captions that were drawn
    images: list[str]  # the image that each is, or that its caption describes
    features: np.ndarray  # (N, F) by the encoder of the mAP
    fid_features: np.ndarray  # (N, F) by the encoder of the distances
    pooled: np.ndarray | None  # (N, F) by the classifier
    probabilities: np.ndarray | None  # (N, classes)


@dataclass(frozen=True)
class ImageProtocol:
    """Every measure of a set of images against the `real` ones of the test split."""

    real: ImageSet
    group_of: Mapping[str, str]
    queries: np.ndarray  # rows of `real`
    distances: tuple[str, str, str]  # what they are called
    drawn: int  # generated images
    splits: int  # of the Inception score of so many images
    seed: int

    @cached_property
    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        return gaussian_statistics(self.real.fid_features)

    @cached_property
    def pooled_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        return gaussian_statistics(self.real.pooled)

    def quality(self, fakes: ImageSet) -> dict[str, float]:
        """How far images are from the real ones, whatever was said."""
        frechet, _, kernel = self.distances
        fid, keys = fakes.fid_features, fakes.keys
        subset = min(KERNEL_SUBSET, len(self.real.keys), len(keys))
        found = {
            frechet: frechet_distance(*self.statistics, *gaussian_statistics(fid)),
            kernel: kernel_distance(
                self.real.fid_features, fid, self.real.keys, keys, subset_size=subset, seed=self.seed
            )[0],
        }
        found["precision"], found["recall"] = precision_recall(self.real.fid_features, fid)
        if fakes.pooled is not None:
            found["fd_classifier"] = frechet_distance(*self.pooled_statistics, *gaussian_statistics(fakes.pooled))
            both = precision_recall(self.real.pooled, fakes.pooled)
            found["precision_classifier"], found["recall_classifier"] = both
        return found

    def certainty(self, images: ImageSet) -> dict[str, float]:
        """Inception score over parts of equally many images, since it grows with their number.

        Nothing without a classifier.
        """
        if images.probabilities is None:
            return {}
        parts = max(1, round(self.splits * len(images.keys) / self.drawn))
        mean, deviation = inception_score(images.probabilities, images.keys, splits=parts, seed=self.seed)
        return {"is_mean": mean, "is_std": deviation}

    def retrieval(self, images: ImageSet, same_images: bool) -> tuple[float, float]:
        """mAP of real images that query these, and its chance."""
        real_groups = [self.group_of[self.real.images[row]] for row in self.queries]
        query_images = [self.real.images[row] for row in self.queries]
        groups = [self.group_of[image] for image in images.images]
        query = self.real.features[self.queries]
        return image_retrieval_map(
            query, real_groups, query_images, images.features, groups, images.images, same_images
        )


def image_scores(
    catalog: Catalog,
    speech_of: Mapping[str, np.ndarray],
    encoder: FrozenEncoder,
    fid_encoder: FrozenEncoder,
    queries_per_class: int,
    is_splits: int,
    seed: int,
) -> dict:
    """Inception score, Fréchet distance and retrieval mAP of the generated images, of controls and ceilings.

    `speech_of` is the embedding (D,) of each test caption. `encoder` is that of the mAP, `fid_encoder` that of the
    distances, named by `distance_names`; where both are the same, images are encoded once. The Fréchet distance
    compares sets of images and cannot see which speech an image belongs to; the joint distance `fjd` can. Without
    classes there is no Inception score (no classifier learned any) and only the mAP of the authors' protocol
    (nothing else is relevant).

    `fd_classifier` is the Fréchet distance on the features of models/classifier, which no other network shares.
    `_real` are the real test images in place of generated ones; for distances, precision and recall, training
    images, at most as many as were generated. `_oracle` is there where data/generated_oracle.h5 has images.
    """
    classifier, _ = load_classifier("models/classifier", "classifier")
    about_classifier = {}
    if classifier is not None:
        classifier.to(encoder.mean.device)
        about_classifier = {
            "classifier_network": classifier.config["network"],
            "classifier_weights": classifier_hash("models/classifier"),
            "classifier_classes": classifier.config["heads"][0],
        }
    tested = catalog.images_in("test")
    with FixedReader("data/generated.h5", "generated") as generated:
        if classifier is not None:
            _check_size(classifier, generated, "classifier")
        size, drawn = min(generated.shape[1:]), len(generated)
        precision = generated.attributes.get("precision", "float32")
    see = _Networks(encoder, fid_encoder, classifier, size)
    trained_keys = limit([image.key for image in catalog.images_in("train", "val")], drawn, seed, "evaluate")
    with ImageReader("data/images.h5") as images:
        real = see.real(images, [image.key for image in tested])
        trained = see.real(images, trained_keys, distances_only=True)
    group_of = catalog.group_of()
    queries, across_images = _queries(catalog, tested, queries_per_class, seed)
    queried, groups = (Counter(group_of[key] for key in keys) for keys in (np.array(real.keys)[queries], real.keys))
    splits = min(is_splits, drawn)
    protocol = ImageProtocol(real, group_of, queries, distance_names(fid_encoder.name), drawn, splits, seed)
    first = {caption.image: caption.key for caption in catalog.first_of("test")}
    real_speech = np.stack([speech_of[first[key]] for key in real.keys])

    scores: dict = {}
    fakes = ((control, images, images) for control, images in see.generated())
    for suffix, near, images in chain(fakes, [("_real", trained, real)]):
        row = protocol.quality(near) | protocol.certainty(images)
        protocols = (False, True) if across_images else (True,)
        if suffix == "_real":  # each is its own relevant image; others of its group are left where there are any
            protocols = (False,) if across_images and min(groups[name] for name in queried) > 1 else ()
        else:
            speech = np.stack([speech_of[key] for key in images.keys])
            both = (real.fid_features, real_speech, images.fid_features, speech)
            row[protocol.distances[1]] = frechet_joint_distance(*both)
        scores |= {f"{name}{suffix}": value for name, value in row.items()}
        found = {f"{MAP[same]}{suffix}": protocol.retrieval(images, same) for same in protocols}
        scores |= {name: score for name, (score, _) in found.items()}
        if suffix in ("", "_real"):
            scores |= {f"{name}_chance": chance for name, (_, chance) in found.items()}
    return scores | {
        "real_images": len(tested),
        "training_images": len(trained_keys),
        "generated_images": drawn,
        "classes": count_classes(tested),
        "rdg_precision": precision,
        "queries": len(queries),
        "query_images": max(queried.values()),
        "is_splits": splits,
        "encoder": encoder.name,
        "encoder_weights": encoder.weights_hash,
        "encoder_input_size": encoder.input_size,
        "fid_encoder": fid_encoder.name,
        "fid_encoder_weights": fid_encoder.weights_hash,
        "fid_encoder_input_size": fid_encoder.input_size,
        **about_classifier,
        "protocol": [_split(catalog), *IMAGE_PROTOCOL],
    }


def _split(catalog: Catalog) -> str:
    """What of the test split nobody has seen in training, as the data say and not as they should."""
    trained = {caption.speaker for caption in catalog.training_captions()} - {""}
    tested = {caption.speaker for caption in catalog.split("test")} - {""}
    held_out = catalog.disjoint if catalog.disjoint in ("classes", "images") else f"images and {catalog.disjoint}"
    words = f"test split, {held_out} unseen in training"
    if not tested:
        recorded = any(caption.recording for caption in catalog.split("test"))
        return f"{words}, speakers not named" if recorded else f"{words}, voices as tts.test_voices"
    return f"{words}, {len(tested - trained)} of {len(tested)} speakers unheard in training"


def _queries(catalog: Catalog, real: list[Image], per_class: int, seed: int) -> tuple[np.ndarray, bool]:
    """Rows of the real images that query, `per_class` of each class, and whether `map` can be told.

    Where the splits share classes, the test may have too few images of one, which then does not query. Where no
    class has two images, or there are no classes, each image queries for its own captions' fakes alone.
    """
    group_of = catalog.group_of()
    keys, groups = np.array([image.key for image in real]), np.array([group_of[image.key] for image in real])
    if catalog.disjoint == "classes":
        return choose_queries(keys, groups, per_class=per_class, seed=seed), True
    names, counts = np.unique(groups, return_counts=True)
    chosen = np.flatnonzero(np.isin(groups, names[counts >= max(2, per_class)]))
    if not len(chosen):
        return choose_queries(keys, groups, per_class=1, seed=seed), False
    return chosen[choose_queries(keys[chosen], groups[chosen], per_class=per_class, seed=seed)], True


def _check_size(model: AnyClassifier, generated: FixedReader, section: str) -> None:
    """Raises InputError where `predict` would look at the middle of a generated image only."""
    size = generated.shape[-1]
    if model.image_size != size:
        raise InputError(
            f"{section}.crop_size: models/{section} knows images of {model.image_size} pixels, {generated.path} has "
            f"{size}; set it to {size}"
        )


class _Networks:
    """The encoders and the classifier, None where there is none, as they see images of `size` pixels."""

    def __init__(self, encoder: FrozenEncoder, fid_encoder: FrozenEncoder, classifier: AnyClassifier | None, size: int):
        seen = [(e.name, e.weights_hash, e.input_size) for e in (encoder, fid_encoder)]
        self.encoders = [encoder] if seen[0] == seen[1] else [encoder, fid_encoder]
        self.classifier = classifier
        self.size = size

    def real(self, images: ImageReader, keys: list[str], distances_only: bool = False) -> ImageSet:
        """Images of these keys; with `distances_only`, by the encoder of the distances alone."""
        encoders = self.encoders[-1:] if distances_only else self.encoders
        return self._see(Rows(images, [images.index(key) for key in keys]), keys, keys, encoders)

    def generated(self) -> Iterator[tuple[str, ImageSet]]:
        """The generated images and each control, by its suffix; not a ceiling that nobody can draw."""
        for control in CONTROLS:
            with FixedReader(f"data/generated{control}.h5", "generated") as file:
                if not len(file):
                    continue
                if min(file.shape[1:]) != self.size:
                    raise InputError(
                        f"oracle.crop_size: {file.path} has images of {min(file.shape[1:])} pixels, "
                        f"data/generated.h5 of {self.size}; set it to {self.size}"
                    )
                images = [key.rsplit("/", 1)[0] for key in file.keys]
                found = self._see(file, file.keys, images, self.encoders)
            yield control, found

    def _see(
        self, source: FixedReader | Rows, keys: list[str], images: list[str], encoders: list[FrozenEncoder]
    ) -> ImageSet:
        blocks = []  # a block at a time: images may not fit in memory
        for start in range(0, len(source), BLOCK):
            block = centre_crop(source.values(slice(start, start + BLOCK)), self.size)
            blocks.append([encode_images(encoder, block) for encoder in encoders])
        features = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
        pooled, probabilities = None, None
        if self.classifier is not None:
            pooled, (probabilities, *_) = describe(self.classifier, source)
        return ImageSet(keys, images, features[0], features[-1], pooled, probabilities)


def _named_of_classes(catalog: Catalog) -> dict[str, dict[str, str]]:
    """Part -> colour for each class of the test: what any of its captions names."""
    image_of, named = catalog.image_of(), {}
    for caption in catalog.split("test"):
        named.setdefault(image_of[caption.image].class_name, {}).update(read(caption.text))
    return named


def attribute_scores(catalog: Catalog) -> dict:
    """The judge's readings: of real images, of generated ones and of the keyword test.

    What a caption names counts as what its image should show; a class's true colours are those that any
    of its captions names (the captions of a drawn bird never lie).
    """
    judge, names = load_classifier("models/judge", "judge")
    if judge is None:
        return {"protocol": [names["reason"]]}
    parts, colours = names["parts"], names["colours"]
    image_of = catalog.image_of()
    text_of = {caption.key: caption.text for caption in catalog.captions}
    truth_of = _named_of_classes(catalog)

    def readings(source: FixedReader | Rows) -> np.ndarray:
        return np.stack([answer.argmax(axis=1) for answer in predict(judge, source)], axis=1)  # (N, P)

    def truth(class_names: list[str]) -> np.ndarray:
        return named_colours([truth_of[name] for name in class_names], parts, colours)

    real = catalog.images_in("test")
    with ImageReader("data/images.h5") as images:
        seen = readings(Rows(images, [images.index(image.key) for image in real]))
    of_real = part_colour_accuracy(seen, truth([image.class_name for image in real]), parts, len(colours))
    generated = {}
    for control in CONTROLS:
        with FixedReader(f"data/generated{control}.h5", "generated") as file:
            if not len(file):
                continue
            _check_size(judge, file, "judge")
            keys, seen = file.keys, readings(file)
        named = named_colours([read(text_of[key]) for key in keys], parts, colours)
        generated[control] = part_colour_accuracy(seen, named, parts, len(colours))
        if not control:
            drawn, class_names = len(keys), [image_of[key.rsplit("/", 1)[0]].class_name for key in keys]
            all_parts = part_colour_accuracy(seen, truth(class_names), parts, len(colours))
    with FixedReader("data/keyword_before.h5", "generated") as file:
        before = readings(file)
        changed = [parts.index(part) for part in file.column("part")]
        wanted = [colours.index(colour) for colour in file.column("new")]
    with FixedReader("data/keyword_after.h5", "generated") as file:
        after = readings(file)
    keyword = keyword_scores(before, after, np.array(changed), np.array(wanted))

    return {
        "judge_accuracy": of_real["accuracy"],
        "part_colour_accuracy": generated[""]["accuracy"],
        **{f"part_colour_accuracy{control}": found["accuracy"] for control, found in generated.items() if control},
        "part_colour_accuracy_all_parts": all_parts["accuracy"],
        "colour_chance": generated[""]["chance"],
        "keyword_changed": keyword["keyword_changed"]["share"],
        "keyword_kept": keyword["keyword_kept"]["share"],
        "keyword_changed_before": keyword["keyword_changed_before"]["share"],
        "parts": {part: generated[""]["parts"][part]["share"] for part in parts},
        "judge_parts": {part: of_real["parts"][part]["share"] for part in parts},
        "intervals_95": {
            "part_colour_accuracy_pooled": generated[""]["pooled"]["interval"],
            "keyword_changed": keyword["keyword_changed"]["interval"],
            "keyword_kept": keyword["keyword_kept"]["interval"],
        },
        "generated_images": drawn,
        "colours_named": generated[""]["pooled"]["count"],
        "judged_real_images": len(real),
        "keyword_pairs": len(before),
        "keyword_other_parts": keyword["keyword_kept"]["count"],
        "protocol": [
            *("test split", "part_colour_accuracy: over the parts that the caption names, mean of parts"),
            *("_all_parts: also those it leaves out", "judge_accuracy: the judge on real test images"),
            "keyword: one colour word changed, spoken anew in the same test voice, drawn with the same noise",
            "_untrained, _shuffled, _oracle: as in eval.json",
        ],
    }
