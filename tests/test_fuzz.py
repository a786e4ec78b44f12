"""Files damaged at random: each reader gives something back, or says in one line what is wrong, and nothing else.

S2IGAN_FUZZ=1000000 python -m pytest tests/test_fuzz.py -k wav      # so many in place of 1,000
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from s2igan import store
from s2igan.catalog import Caption, Catalog, read_catalog, write_catalog
from s2igan.catalog import Image as CatalogImage
from s2igan.errors import InputError
from s2igan.images import read_image
from s2igan.manifest import read_manifest
from s2igan.models import load_model, save_model
from s2igan.speech.audio import decode
from s2igan.store import FixedReader, FixedWriter, ImageReader, ImageWriter, RaggedReader, RaggedWriter
from s2igan.training import Checkpoints

EXAMPLES = int(os.environ.get("S2IGAN_FUZZ", "1000"))
EVERY_INPUT = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
PLACE = st.integers(0, 2**32 - 1)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), PLACE, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
        st.tuples(st.just("cut"), PLACE, st.integers(1, 64)),
        st.tuples(st.just("copy"), PLACE, PLACE),
        st.tuples(st.just("end"), PLACE, st.just(0)),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, edits: Iterable[tuple[str, int, bytes | int]]) -> bytes:
    """`content` after `edits`: bytes put over others or between them, a bit turned, a piece or the end cut, a copy."""
    for what, place, by in edits:
        at = place % (len(content) + 1)
        before, after = content[:at], content[at:]
        if what == "put":
            after = by + after[len(by) :]
        elif what == "insert":
            after = by + after
        elif what == "flip":
            after = bytes([after[0] ^ 1 << by]) + after[1:] if after else after
        elif what == "cut":
            after = after[by:]
        elif what == "copy":
            start = by % (len(content) + 1)
            after = content[start : start + 32] + after
        else:
            after = b""
        content = before + after
    return content


def text(*lines: str) -> Callable[[Path], None]:
    return lambda path: path.write_text("".join(f"{line}\n" for line in lines))


def sound(kind: str, path: Path) -> None:
    soundfile.write(path, np.sin(np.arange(1600) / 5) / 2, 16_000, format=kind)


def picture(kind: str, path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).save(path, kind)


def container(path: Path) -> None:
    """AAC in MP4, as phones record."""
    import av

    with av.open(path, "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=16_000, layout="mono")
        samples = (np.sin(np.arange(2048) / 5) / 2).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)


def ragged(path: Path) -> None:
    with RaggedWriter(path, "logmel", 4, np.float16, {"bands": 4}, columns=("voice",)) as file:
        for i in range(5):
            file.append(f"k{i}", np.full((i + 1, 4), i), voice="en")


def fixed(path: Path) -> None:
    with FixedWriter(path, "embeddings", (4,), np.float32, {"sen": {}}) as file:
        file.append(["a", "b", "c"], np.arange(12).reshape(3, 4))


def images(path: Path) -> None:
    with ImageWriter(path) as file:
        for i in range(3):
            file.append(f"k{i}", np.full((3, 4, 5 + i), i))


def values(reader: type, path: Path, *kind: str) -> None:
    with reader(path, *kind) as file:
        file.values()
        file.values([len(file) - 1, 0])


def model(file: str, path: Path) -> None:
    """The folder of a model, of which `file` is damaged."""
    save_model(path.parent / "m", "sen", {"speech": nn.Linear(2, 2)}, {"width": 2, "voices": ["en"]})
    path.write_bytes((path.parent / "m" / file).read_bytes())


def changed_model(file: str, path: Path) -> None:
    (path.parent / "m" / file).write_bytes(path.read_bytes())
    load_model(path.parent / "m", "sen")


def catalog(file: str, path: Path) -> None:
    shown = tuple(CatalogImage(f"c{i}/a", f"{i}.png", f"c{i}", "train", "1 2 3 4") for i in range(3))
    said = tuple(Caption(f"c{i}/a/00", f"c{i}/a", "a red bird", language="en") for i in range(3))
    write_catalog(path.parent / "c", Catalog(shown, said, "toy", "raw"))
    path.write_bytes((path.parent / "c" / file).read_bytes())


def changed_catalog(file: str, path: Path) -> None:
    (path.parent / "c" / file).write_bytes(path.read_bytes())
    read_catalog(path.parent / "c")


MANIFEST = text(
    "image,box,recording,text,class,speaker,language,split,key",
    'a.png,1 2 3 4,a.wav,"a ""red"", bird",robin,anna,en,train,r/a/00',
    "b.png,,,ein Vogel mit blauem Flügel,jay,,de,test,j/b/00",
)
READERS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "manifest.csv": (MANIFEST, read_manifest),
    "images.csv": (partial(catalog, "images.csv"), partial(changed_catalog, "images.csv")),
    "catalog.json": (partial(catalog, "catalog.json"), partial(changed_catalog, "catalog.json")),
    "a.wav": (partial(sound, "WAV"), decode),
    "a.flac": (partial(sound, "FLAC"), decode),
    "a.ogg": (partial(sound, "OGG"), decode),
    "a.mp3": (partial(sound, "MP3"), decode),
    "a.m4a": (container, decode),
    "a.png": (partial(picture, "PNG"), partial(read_image, size=16)),
    "a.jpg": (partial(picture, "JPEG"), partial(read_image, size=16)),
    "a.gif": (partial(picture, "GIF"), partial(read_image, size=16)),
    "a.webp": (partial(picture, "WEBP"), partial(read_image, size=16)),
    "a.tiff": (partial(picture, "TIFF"), partial(read_image, size=16)),
    "logmel.h5": (ragged, lambda path: values(RaggedReader, path, "logmel")),
    "embeddings.h5": (fixed, lambda path: values(FixedReader, path, "embeddings")),
    "images.h5": (images, lambda path: values(ImageReader, path)),
    "model.json": (partial(model, "model.json"), partial(changed_model, "model.json")),
    "speech.safetensors": (partial(model, "speech.safetensors"), partial(changed_model, "speech.safetensors")),
}
# What no reader can tell from what was meant: another text, another sample, another pixel.
TOLD_AT_LEAST = {"model.json": 0.9, "speech.safetensors": 0.9}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_told_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_BYTES", 64)  # or most of a file is padding
    write, read = READERS[name]
    path = tmp_path / name
    write(path)
    whole, told = path.read_bytes(), Counter()
    read(path)

    @EVERY_INPUT
    @given(EDITS)
    def check(edits):
        path.write_bytes(damaged(whole, edits))
        try:
            read(path)
            told["read"] += 1
        except InputError as error:
            told["refused"] += 1
            assert name in str(error) and ";" in str(error), error
            assert str(error).isprintable() and len(str(error)) < 600, error

    check()
    assert told.total() >= EXAMPLES
    assert told["refused"] >= TOLD_AT_LEAST.get(name, 0.05) * EXAMPLES, told


def test_a_damaged_checkpoint_is_told_and_left_out(tmp_path, monkeypatch, capsys):
    """It has a checksum in its name, so that no byte of it is unpacked that is not as it was saved."""
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(tmp_path))
    checkpoints = Checkpoints("train_rdg", {}, [])
    checkpoints.save(3, {"step": 3, "weights": torch.arange(4.0)})
    (path,) = checkpoints.folder.iterdir()
    whole = path.read_bytes()

    @EVERY_INPUT
    @given(EDITS)
    def check(edits):
        path.write_bytes(changed := damaged(whole, edits))
        assert (checkpoints.load() is None) == (changed != whole)

    check()
    assert capsys.readouterr().err.count("damaged; going on from the checkpoint before it, or anew\n") > 0.9 * EXAMPLES
