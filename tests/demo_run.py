"""A finished run of tiny networks, for the tests of the page."""

from pathlib import Path

import numpy as np
from tiny import SEN, rdg

from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.sen.embedding import GENERATOR_SEN
from s2igan.sen.model import build_sen, save_sen
from s2igan.speech.audio import decode
from s2igan.speech.log_mel import LogMel
from s2igan.speech.synthesis import synthesize
from s2igan.store import FixedWriter, ImageWriter, RaggedWriter

SEN = SEN | {"speech": SEN["speech"] | {"test_voices": ["en-gb", "en-us"]}}
TEXTS = ("a red bird", "this bird has a white belly", "it has blue wings", "<b>& a green tail</b>")
SPLITS = {"a": "train", "b": "train", "c": "val", "d": "test"}


def write_run(dataset: str = "aviary") -> None:
    """models/, data/ and metrics/ of four classes with two images each, in the present folder; TEXTS in that order."""
    save_sen(GENERATOR_SEN, build_sen(SEN), SEN)
    rdg().save("models/rdg", {"sen": SEN})
    images = [Image(f"{name}/{n}", "", name, split) for name, split in SPLITS.items() for n in range(2)]
    captions = [Caption(f"{image.key}/00", image.key, TEXTS[i // 2]) for i, image in enumerate(images)]
    write_catalog("data/catalog", Catalog(tuple(images), tuple(captions), dataset))
    rng = np.random.default_rng(0)
    with ImageWriter("data/images.h5", attributes={"load_size": 40}) as out:
        for i, image in enumerate(images):
            out.append(image.key, np.full((3, 40, 48), 10 * i, np.uint8))
    with FixedWriter("data/image_features.h5", "image_features", (2, 5), "float32") as out:
        out.append([image.key for image in images], rng.normal(size=(len(images), 2, 5)).astype(np.float32))
    log_mel = LogMel(**SEN["log_mel"])
    spoken = [(caption.key, caption.text, "en-gb") for caption in captions]
    with RaggedWriter("data/speech.h5", "speech", 0, np.uint8) as speech:
        with RaggedWriter("data/logmel.h5", "logmel", 40, np.float32) as log_mels:
            for key, flac, _ in synthesize(spoken, "espeak", {"rate": 175}, 1):
                speech.append(key, np.frombuffer(flac, np.uint8))
                log_mels.append(key, log_mel(decode(flac)[0]))
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/eval.json").write_text('{"map": 0.25, "map_chance": 0.02, "map_oracle": 0.5, "is_mean": 7.91396}')
    Path("metrics/attributes.json").write_text('{"part_colour_accuracy": 0.75, "colour_chance": 0.125}')
