"""One caption followed through every file that the stages left."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s2igan.catalog import read_catalog
from s2igan.errors import InputError
from s2igan.figures import grid, words
from s2igan.machine import device
from s2igan.sen.embedding import GENERATOR_SEN, caption_embeddings
from s2igan.speech.audio import decode, write_wav
from s2igan.store import FixedReader, ImageReader, RaggedReader


def trace(key: str, wav: str | Path | None = None, png: str | Path | None = None) -> Iterator[str]:
    """Yields a line a stage: what it made of caption `key` (or of the first caption that starts with it).

    Writes its sound to `wav` and its images, real and generated, to `png`. Of stages that have not run
    there is no line. Raises InputError for an unknown key.
    """
    catalog = read_catalog("data/catalog")
    found = [c for c in catalog.captions if c.key == key] or [c for c in catalog.captions if c.key.startswith(key)]
    if not found:
        raise InputError(f"{key}: no such caption; data/catalog/captions.csv lists the keys")
    caption = found[0]
    image = catalog.image_of()[caption.image]
    yield f"key             {caption.key}"
    yield f"catalog         {image.split}, class {image.class_name}, image {image.key}"
    said = f'"{caption.text}"' if caption.text else caption.recording
    yield f"                {said}{', language ' if caption.language else ''}{caption.language}"
    images: dict[str, np.ndarray] = {}
    for file in _open(ImageReader, "images"):
        images["real"] = file.value(file.index(image.key))
        yield f"image           {file.path}: {_shape(images['real'])}"
    if wav and not Path("data/speech.h5").exists():
        raise InputError(f"{wav}: there is no sound to write, data/speech.h5 is missing; run `dvc repro synthesize`")
    for file in _open(RaggedReader, "speech"):
        row = file.index(caption.key)
        flac = file.value(row).tobytes()
        samples, rate = decode(flac, caption.key)
        name = file.column("voice")[row]
        who = f"speaker {caption.speaker or 'unknown'}" if caption.recording else f"voice {name}"
        yield (
            f"speech          {file.path}: {len(samples) / rate:.2f} s at {rate} Hz, {who}, "
            f"{file.attributes['engine']}, {len(flac)} bytes of FLAC"
        )
        if wav:
            write_wav(wav, samples, rate)
            yield f"                written to {wav}"
    for file in _open(RaggedReader, "logmel"):
        frames = file.value(file.index(caption.key)).astype(np.float32)
        spread = f"mean {frames.mean():.3f}, deviation {frames.std():.3f}"
        yield f"log-mel         {file.path}: {_shape(frames)}, {spread}"
    for file in _open(RaggedReader, "speech_features"):
        if caption.key in file:
            found = file.attributes["speech_features"]
            frames = f"{_shape(file.value(file.index(caption.key)))}, layers {found['layers']} of {found['model']}"
            yield f"speech features {file.path}: {frames}"
    for file in _open(FixedReader, "image_features"):
        features = file.values([file.index(image.key)])[0]
        yield f"image features  {file.path}: {_shape(features)}, {file.attributes['encoder']}"
    for file in _open(FixedReader, "embeddings"):
        (speech,) = file.values([file.index(caption.key)])
        yield f"embedding       {file.path}: {_vector(speech)}"
    if Path(GENERATOR_SEN).exists():
        (speech,) = caption_embeddings([caption.key], device())
        yield f"heard as        {GENERATOR_SEN}: {_vector(speech)}"
    for file in _open(FixedReader, "generated"):
        if caption.key in file:
            row = file.index(caption.key)
            images["generated"] = file.values([row])[0]
            yield f"generated       {file.path}: {_shape(images['generated'])}, seed {file.column('seed')[row]}"
        else:
            yield f"generated       {file.path}: not drawn (only captions of the test split are)"
    if png:
        grid([list(images.values())], [words(caption)], list(images), png, 192)
        yield f"                images written to {png}"


def _open(reader: type, name: str) -> Iterator:
    """data/<name>.h5, once; nothing where its stage has not run."""
    if (path := Path(f"data/{name}.h5")).exists():
        with reader(path, name) as file:
            yield file


def _shape(array: np.ndarray) -> str:
    return f"{'×'.join(str(size) for size in array.shape)} {array.dtype}"


def _vector(values: np.ndarray) -> str:
    first = " ".join(f"{value:+.3f}" for value in values[:4])
    return f"{_shape(values)}, norm {np.linalg.norm(values):.3f}, first {first}"
