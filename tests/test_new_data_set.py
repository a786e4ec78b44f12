"""A data set of one's own is one file of the package and one of conf/dataset; here a toy of coloured squares."""

import importlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from s2igan import datasets
from s2igan.catalog import read_catalog
from s2igan.store import ImageReader

# ---------------------------------------------------------------- the data set: under forty lines, in s2igan/datasets/
CONVERTER = '''
"""Squares, each with its colour's name beside it in a text file; a folder is a class."""

from s2igan.errors import InputError
from s2igan.manifest import Row


def rows(raw, limits):
    for text in sorted(raw.glob("*/*.txt")):
        image = text.with_suffix(".png")
        if not image.is_file():
            raise InputError(f"{image}: missing; draw it, or remove {text}")
        for line in text.read_text().splitlines():
            yield Row(image.relative_to(raw).as_posix(), text=line, class_name=text.parent.name, language="en")
'''
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
LIMITS = [
    word for name in ("classes", "test_classes", "val_classes", "captions_per_image") for word in (f"--{name}", "0")
]
OPTIONS = [
    "--dataset",
    "squares",
    "--raw",
    "raw",
    "--images_per_class",
    "4",
    "--load_size",
    "8",
    "--seed",
    "0",
    *LIMITS,
]
RECORDINGS = ["--min_sample_rate", "16000", "--max_clipped", "0.01", "--min_seconds", "0.25"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with the raw files of the data set, and the package with its converter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S2IGAN_WORKERS", "1")
    (tmp_path / "converters").mkdir()
    (tmp_path / "converters/squares.py").write_text(CONVERTER)
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path / "converters")])
    monkeypatch.delitem(importlib.sys.modules, "s2igan.datasets.squares", raising=False)
    for name, colour in COLOURS.items():
        (tmp_path / "raw" / name).mkdir(parents=True)
        for n in range(5):
            Image.new("RGB", (9 + n, 12), colour).save(tmp_path / f"raw/{name}/{n}.png")
            (tmp_path / f"raw/{name}/{n}.txt").write_text(f"a {name} square\nit is {name}, number {n}\n")


def run(stage, *words):
    return CliRunner().invoke(
        importlib.import_module(f"stages.{stage}").main, [*OPTIONS, *words], catch_exceptions=False
    )


def test_a_data_set_of_one_file_goes_to_the_catalog(project):
    result = run("prepare")
    assert result.exit_code == 0 and "squares: 30 descriptions of 15 images" in result.stdout
    result = run("catalog", "--fit", "crop", "--disjoint", "images", "--unusable", "stop", *RECORDINGS)
    assert result.exit_code == 0, result.stderr
    catalog = read_catalog("data/catalog")
    assert (catalog.dataset, len(catalog.images), len(catalog.captions)) == ("squares", 12, 24)
    for name in COLOURS:
        parts = [image.split for image in catalog.images if image.class_name == name]
        assert sorted(parts) == ["test", "train", "train", "val"]
    with ImageReader("data/images.h5") as images:
        for image, pixels in zip(catalog.images, images.values(), strict=True):
            np.testing.assert_array_equal(pixels[:, 3, 3], COLOURS[image.class_name])
    assert {c.text.split()[1] for c in catalog.captions if c.key.endswith("/00")} == set(COLOURS)


def test_what_its_converter_refuses_and_an_unknown_name_end_in_one_line(project, tmp_path):
    (tmp_path / "raw/red/0.png").unlink()
    result = run("prepare")
    assert result.exit_code == 1 and "error: raw/red/0.png: missing; draw it, or remove raw/red/0.txt" in result.stderr
    result = run("prepare", "--dataset", "circles")
    told = "error: catalog.dataset=circles: unknown; choose one of aviary, cub, flickr8k, manifest, oxford102, places, "
    assert result.exit_code == 1 and f"{told}stamps, squares" in result.stderr
    result = run("prepare", "--raw", "nowhere")
    assert "error: nowhere: no such folder; data/raw/squares/README.md says what goes where" in result.stderr
    assert not (tmp_path / "data").exists()
