"""Files that cannot be used: they stop the catalog, or are left out with their reason, and nothing else is lost."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from miniatures_speech import write_manifest, write_rows

from s2igan.catalog import read_catalog
from s2igan.store import ImageReader, RaggedReader

LIMITS = ["classes", "test_classes", "val_classes", "images_per_class", "captions_per_image", "seed"]
TTS = ["--engine", "espeak", "--model", "", "--vocoder", "", "--rate", "200"]
VOICES = ["--train_voices", "en-us", "--test_voices", "en-gb"]


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A project folder with a data set of one's own: three classes, four images each, three descriptions each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S2IGAN_WORKERS", "1")
    return write_manifest(tmp_path / "own", split="image", texts=False)


def run(stage, *arguments):
    return CliRunner().invoke(importlib.import_module(f"stages.{stage}").main, arguments, catch_exceptions=False)


def catalog(unusable):
    words = [word for name in LIMITS for word in (f"--{name}", "0")]
    options = [
        "--dataset",
        "manifest",
        "--raw",
        "own",
        "--load_size",
        "24",
        "--fit",
        "crop",
        "--min_sample_rate",
        "16000",
    ]
    prepared = run("prepare", *options[:6], *words)
    if prepared.exit_code:
        return prepared
    options += ["--disjoint", "images"]
    return run("catalog", *options, "--max_clipped", "0.01", "--min_seconds", "0.25", "--unusable", unusable, *words)


def test_one_class_for_all_pictures_counts_as_none(rows):
    """A column that says `bird` on each row would leave SEN no two captions to tell apart."""
    for row in rows:
        row["class"] = "bird"
    write_rows(Path("own"), rows)
    result = catalog("stop")
    assert result.exit_code == 0, result.stderr
    assert "all images are of the class bird: taken as images without classes" in result.stdout
    found = read_catalog("data/catalog")
    assert {image.class_name for image in found.images} == {""} and len(found.images) == 12


def recordings_of(rows, image):
    return [Path("own", row["recording"]) for row in rows if row["image"] == image]


def spoil(path):
    samples, rate = soundfile.read(path)
    soundfile.write(path, np.zeros_like(samples), rate)


def left_out():
    with open("data/catalog/left_out.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_bad_file_stops_the_stage_and_leaves_no_output(rows):
    spoil(recordings_of(rows, rows[0]["image"])[0])
    result = catalog("stop")
    assert result.exit_code == 1 and result.stderr.splitlines()[-1].startswith("error: own/sounds/")
    assert "silent" in result.stderr and "or set catalog.unusable=leave_out" in result.stderr
    assert not Path("data/images.h5").exists() and not Path("data/catalog").exists()


def test_several_bad_recordings_are_counted_at_once(rows):
    for path in recordings_of(rows, rows[0]["image"]):
        spoil(path)
    assert "(2 more such)" in catalog("stop").stderr.splitlines()[-1]


def test_a_bad_recording_is_left_out_and_its_picture_kept(rows):
    bad = recordings_of(rows, rows[0]["image"])[0]
    spoil(bad)
    result = catalog("leave_out")
    assert result.exit_code == 0 and "1 files left out" in result.stdout
    (line,) = left_out()
    assert line["reason"].startswith(f"{bad}: silent")
    found = read_catalog("data/catalog")
    assert (len(found.images), len(found.captions)) == (12, 35)
    assert line["key"] not in [caption.key for caption in found.captions]


def test_a_picture_whose_recordings_are_all_bad_goes_with_them(rows):
    for path in recordings_of(rows, rows[0]["image"]):
        spoil(path)
    assert catalog("leave_out").exit_code == 0
    found = read_catalog("data/catalog")
    with ImageReader("data/images.h5") as images:
        assert images.keys == [image.key for image in found.images] and len(images) == 11
    assert rows[0]["image"] not in [image.path for image in found.images]


def test_an_unreadable_picture_goes_with_its_descriptions(rows):
    Path("own", rows[0]["image"]).write_text("no image")
    assert catalog("stop").exit_code == 1
    assert catalog("leave_out").exit_code == 0
    (line,) = left_out()
    assert line["reason"].startswith(f"own/{rows[0]['image']}: ")
    found = read_catalog("data/catalog")
    assert (len(found.images), len(found.captions)) == (11, 33)
    with ImageReader("data/images.h5") as images:
        assert images.keys == [image.key for image in found.images]


def test_too_much_left_out_is_an_error(rows):
    for row in rows:
        if row["split"] == "val":
            Path("own", row["image"]).write_text("no image")
    result = catalog("leave_out")
    assert result.exit_code == 1 and "nothing in split val" in result.stderr.splitlines()[-1]
    assert not Path("data/images.h5").exists()


def test_recordings_are_heard_as_they_are_and_text_is_read_aloud(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S2IGAN_WORKERS", "1")
    written = write_manifest(tmp_path / "own", split="image", texts=True)
    assert catalog("stop").exit_code == 0
    result = run("synthesize", *TTS, *VOICES)
    assert result.exit_code == 0, result.stderr
    silent = sum(not row["recording"] for row in written)
    assert f"{silent} captions spoken, {len(written) - silent} recordings" in result.stdout
    found = read_catalog("data/catalog")
    with RaggedReader("data/speech.h5", "speech") as speech:
        assert speech.keys == [caption.key for caption in found.captions]
        voices = dict(zip(speech.keys, speech.column("voice"), strict=True))
    for caption in found.captions:
        if caption.recording:
            assert voices[caption.key] == (caption.speaker or "unknown")
        else:
            assert voices[caption.key] in ("en-us", "en-gb")
