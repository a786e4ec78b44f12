"""Search by speech: the images and captions of a run that lie nearest to an utterance in SEN's space."""

# N images, A embedding size

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from s2igan.catalog import Caption, read_catalog
from s2igan.errors import InputError
from s2igan.figures import grid, words
from s2igan.pipeline import Pipeline
from s2igan.sen.embedding import caption_embeddings
from s2igan.store import FixedReader, ImageReader
from s2igan.vision.transforms import centre_crop

KINDS = ("images", "captions")
BLOCK = 4096  # images' features in memory at a time
NEAR = 100  # nearest images whose captions are compared; hearing every caption of a run takes too long for a search


def search(pipeline: Pipeline, embedding: np.ndarray, count: int) -> dict[str, list[dict[str, Any]]]:
    """The `count` images of the run in this folder that are nearest to `embedding` (A,), and as many captions.

    `images` and `captions`, the nearest first, each with its `similarity` (a cosine), `key`, `image`, `split` and
    `words`. An image counts by its centre view, a caption by what `models/rdg_sen` hears (or reads) of it; captions
    are those of the NEAR nearest images (of `count`, where that is more). Raises InputError where a file of the run is
    missing or is of another image encoder.
    """
    catalog = read_catalog("data/catalog")
    split_of = {image.key: image.split for image in catalog.images}
    keys, seen = _images(pipeline)
    by_image = seen @ embedding
    near = {keys[row] for row in _best(by_image, max(count, NEAR))}
    captions = [caption for caption in catalog.captions if caption.image in near]
    by_caption = caption_embeddings([caption.key for caption in captions], pipeline.device) @ embedding
    first: dict[str, Caption] = {}
    for caption in catalog.captions:
        first.setdefault(caption.image, caption)

    def found(similarity: np.floating, key: str, caption: Caption) -> dict[str, Any]:
        image = caption.image
        about = {"image": image, "split": split_of[image], "words": words(caption)}
        return {"similarity": round(float(similarity), 4), "key": key, **about}

    return {
        "images": [found(by_image[row], keys[row], first[keys[row]]) for row in _best(by_image, count)],
        "captions": [found(by_caption[row], captions[row].key, captions[row]) for row in _best(by_caption, count)],
    }


def _images(pipeline: Pipeline) -> tuple[list[str], np.ndarray]:
    """Keys of all images (N), and their unit vectors (N, A)."""
    expected = pipeline.config["image_encoder"]["weights_hash"]
    with FixedReader("data/image_features.h5", "image_features") as features:
        if (other := features.attributes["weights_hash"]) != expected:
            raise InputError(
                f"{features.path}: of an image encoder with weights {other}, models/rdg_sen with {expected}; "
                "run `dvc repro`, or `dvc checkout` what belongs together"
            )
        blocks = []
        for start in range(0, len(features), BLOCK):
            centre = torch.from_numpy(features.values(slice(start, start + BLOCK))[:, 0]).to(pipeline.device)
            with torch.inference_mode():
                blocks.append(F.normalize(pipeline.sen.image(centre), dim=1).cpu().numpy())
        return features.keys, np.concatenate(blocks)


def _best(similarities: np.ndarray, count: int) -> list[int]:
    """Rows of the largest, the largest first, equal ones in their order."""
    return np.argsort(-similarities, kind="stable")[:count].tolist()


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
