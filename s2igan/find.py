"""Search by speech: the images and captions of a run that lie nearest to an utterance in SEN's space."""

# N points, A embedding size

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s2igan.catalog import Caption, read_catalog
from s2igan.errors import InputError
from s2igan.figures import grid, words
from s2igan.models import hash_files
from s2igan.pipeline import Pipeline
from s2igan.sen.embedding import GENERATOR_SEN, caption_embeddings, image_embeddings
from s2igan.store import FixedReader, ImageReader
from s2igan.vision.transforms import centre_crop

KINDS = ("images", "captions")


def search(pipeline: Pipeline, embedding: np.ndarray, count: int) -> dict[str, list[dict[str, Any]]]:
    """The `count` images of the run in this folder that are nearest to `embedding` (A,), and as many captions.

    `images` and `captions`, the nearest first, each with its `similarity` (a cosine), `key`, `image`, `split` and
    `words`. An image counts by its centre view, a caption by what `models/rdg_sen` hears (or reads) of it. Raises
    InputError where a file of the run is missing or is of another image encoder.
    """
    _require_features_of(pipeline)
    catalog = read_catalog("data/catalog")
    split_of = {image.key: image.split for image in catalog.images}
    first = {caption.image: caption for caption in reversed(catalog.captions)}
    seen = image_embeddings(pipeline.sen, list(split_of), pipeline.device)
    said = heard_captions([caption.key for caption in catalog.captions], pipeline.device)

    def found(similarity: float, key: str, caption: Caption) -> dict[str, Any]:
        image = caption.image
        about = {"image": image, "split": split_of[image], "words": words(caption)}
        return {"similarity": round(similarity, 4), "key": key, **about}

    images = [(catalog.images[row].key, cosine) for row, cosine in zip(*nearest(embedding, seen, count), strict=True)]
    captions = [(catalog.captions[row], cosine) for row, cosine in zip(*nearest(embedding, said, count), strict=True)]
    return {
        "images": [found(cosine, key, first[key]) for key, cosine in images],
        "captions": [found(cosine, caption.key, caption) for caption, cosine in captions],
    }


def _require_features_of(pipeline: Pipeline) -> None:
    expected = pipeline.config["image_encoder"]["weights_hash"]
    with FixedReader("data/image_features.h5", "image_features") as features:
        if (other := features.attributes["weights_hash"]) != expected:
            raise InputError(
                f"{features.path}: of an image encoder with weights {other}, models/rdg_sen with {expected}; "
                "run `dvc repro`, or `dvc checkout` what belongs together"
            )


def nearest(query: np.ndarray, points: np.ndarray, count: int) -> tuple[list[int], list[float]]:
    """Rows of the `count` unit vectors `points` (N, A) nearest to the unit vector `query` (A,), and their cosines."""
    cosines = points @ query
    rows = np.argsort(-cosines, kind="stable")[:count]
    return rows.tolist(), cosines[rows].tolist()


def heard_captions(keys: Sequence[str], device: torch.device) -> np.ndarray:
    """Embeddings (N, A) of captions by the generator's SEN: those of the embed stage where that SEN is models/sen.

    Else they are heard anew.
    """
    ears = [Path(folder, "speech.safetensors") for folder in ("models/sen", GENERATOR_SEN)]
    if all(path.exists() for path in (*ears, Path("data/embeddings.h5"))) and len({hash_files(e) for e in ears}) == 1:
        with FixedReader("data/embeddings.h5", "embeddings") as embeddings:
            return embeddings.values([embeddings.index(key) for key in keys])
    return caption_embeddings(keys, device)


def as_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `search` found, for people."""
    for name in KINDS:
        yield f"nearest {name}"
        for one in report[name]:
            yield f"  {one['similarity']:+.3f}  {one['key']}  ({one['split']})  {one['words']}"


def draw_sheet(report: dict[str, Any], path: str | Path) -> None:
    """A row for each that `search` found: its words and similarity, and the middle square of its image."""
    found = report["images"] + report["captions"]
    said = [f"{kind[:-1]} {one['similarity']:+.3f}: {one['words']}" for kind in KINDS for one in report[kind]]
    with ImageReader("data/images.h5") as images:
        pictures = [images.value(images.index(one["image"])) for one in found]
    squares = [[centre_crop([pixels], min(pixels.shape[1:]))[0].numpy()] for pixels in pictures]
    grid(squares, said, [""], path)
