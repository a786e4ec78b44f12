from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture

from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.figures import INK, MARGIN, words
from s2igan.store import ImageWriter
from s2igan.trace import trace

SPOKEN = Caption("-/etxea/00", "-/etxea", "", "sounds/001.wav", "eu", "miren")
WRITTEN = Caption("-/etxea/01", "-/etxea", "etxe gorria")


@pytest.fixture(autouse=True)
def catalog(folder):
    """A catalog with an image that has a recording and a text, and that image, white."""
    others = [Image(f"-/{split}", f"{split}.jpg", "", split) for split in ("train", "val", "test")]
    captions = [Caption(f"{image.key}/00", image.key, "text") for image in others]
    images = (Image("-/etxea", "etxea.jpg", "", "test"), *others)
    write_catalog("data/catalog", Catalog(images, (SPOKEN, WRITTEN, *captions)))
    with ImageWriter("data/images.h5") as out:
        out.append("-/etxea", np.full((3, 8, 8), 255, np.uint8))


def test_a_recording_without_a_text_is_called_by_class_or_image_language_and_speaker():
    assert words(WRITTEN) == "etxe gorria"
    assert words(SPOKEN) == "etxea, eu, miren"
    assert words(replace(SPOKEN, key="house/1/00")) == "house, eu, miren"
    assert words(Caption("-/etxea/02", "-/etxea", "", "sounds/002.wav")) == "etxea"


@pytest.mark.parametrize("caption", [SPOKEN, WRITTEN])
def test_the_picture_of_a_caption_has_words_beside_it(folder, caption):
    lines = list(trace(caption.key, png=folder / "one.png"))
    assert lines[2].strip() == ('"etxe gorria"' if caption.text else "sounds/001.wav, language eu")
    assert lines[-1].split() == ["images", "written", "to", str(folder / "one.png")]
    with Picture.open(folder / "one.png") as sheet:
        beside = np.asarray(sheet)[:, MARGIN : MARGIN + 290]
    assert (beside == INK).all(axis=2).any()
