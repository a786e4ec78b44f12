"""Files that cannot be used: they stop the catalog, or are left out with their reason, and nothing else is lost."""

import csv
import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from click.testing import CliRunner
from dag import ROOT
from miniatures_speech import write_manifest, write_rows

from s2igan.catalog import read_catalog
from s2igan.store import ImageReader, RaggedReader

LIMITS = ["classes", "test_classes", "val_classes", "images_per_class", "captions_per_image", "seed"]
TTS = ["--engine", "espeak", "--model", "", "--vocoder", "", "--rate", "200"]
VOICES = ["--train_voices", "en-us", "--test_voices", "en-gb"]


@pytest.fixture
def rows(folder):
    """A project folder with a data set of one's own: three classes, four images each, three descriptions each."""
    return write_manifest(Path("own"), split=True, texts=False)


def run(stage, *arguments):
    return CliRunner().invoke(importlib.import_module(f"stages.{stage}").main, arguments, catch_exceptions=False)


def catalog(unusable, manifest="manifest.csv", min_sample_rate="16000"):
    words = [word for name in LIMITS for word in (f"--{name}", "0")] + ["--hold_out", "as_listed"]
    options = ["--dataset", "manifest", "--raw", "own", "--load_size", "24", "--min_sample_rate", min_sample_rate]
    options += ["--fit", "crop"]
    prepared = run("prepare", *options[:6], "--manifest", manifest, *words)
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


def test_a_list_may_have_another_name(rows):
    Path("own/manifest.csv").rename("own/words.csv")
    assert "own/manifest.csv: missing" in catalog("stop").stderr
    assert catalog("stop", "words.csv").exit_code == 0 and len(read_catalog("data/catalog").captions) == 36
    assert "prepare.manifest=own/words.csv: not a file's name" in catalog("stop", "own/words.csv").stderr


def test_what_is_left_out_is_counted_by_reason_and_language(rows):
    """And a low sample rate is no reason, but a warning."""
    recordings = [Path("own", row["recording"]) for row in rows]
    for row, language in zip(rows[:6], ("nl", "nl", "ca", "ca", "nl", "nl"), strict=True):
        row["language"] = language
    write_rows(Path("own"), rows)
    for path, seconds in zip(recordings[:3], (0.1, 0.15, 0.2), strict=True):
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples[: int(seconds * rate)], rate)
    spoil(recordings[3])
    for path in recordings[4:7]:
        samples, rate = soundfile.read(path)
        soundfile.write(path, samples[: len(samples) // 2], 11025)
    result = catalog("leave_out", min_sample_rate="8000")
    assert "warning: recordings of less than 16000 Hz, in which consonants are lost: 2 in nl, 1 in en" in result.stderr
    short, silent = (recordings[row].relative_to("own") for row in (0, 3))
    assert (
        "4 left out: data/catalog/left_out.csv\n"
        f"  2 recordings in nl, 1 recordings in ca: 0.10 s; speech needs 0.25 s or more ({short})\n"
        f"  1 recordings in ca: silent; check the microphone and record it again ({silent})\n"
    ) in result.stdout
    assert [line["language"] for line in left_out()] == ["nl", "nl", "ca", "ca"]
    found, gone = read_catalog("data/catalog"), {line["key"] for line in left_out()}
    assert len(found.captions) == 32 and not gone & {caption.key for caption in found.captions}


def test_the_parameters_of_training_must_fit_the_images(rows):
    shutil.copy(ROOT / "params.yaml", ".")
    Path("dvc.yaml").write_text("stages: {}\n")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["rdg"]["batch_size"] = 7
    Path("params.yaml").write_text(yaml.safe_dump(params))
    result = catalog("stop")
    assert "params.yaml: rdg.batch_size=7, but 9 images" not in result.stderr and result.exit_code == 0, result.stderr
    params["rdg"]["batch_size"] = 10
    Path("params.yaml").write_text(yaml.safe_dump(params))
    Path("data/images.h5").unlink()
    result = catalog("stop")
    told = "params.yaml: rdg.batch_size=10, but 9 images are not of the test; set it to 9 or less, or list more"
    assert result.exit_code == 1 and told in result.stderr
    assert not Path("data/images.h5").exists()


@pytest.mark.parametrize(("section", "changes", "told"), [
    ("sen", {"encoder": "char_cnn_rnn"},
     "sen.encoder=char_cnn_rnn reads texts, and caption {} has none (36 of 36 have none); list it, or choose a "
     "system that hears"),
    ("rdg", {"caption_weight": 20.0},
     "rdg.caption_weight is not 0, but no caption of training has a text to read back; set it to 0"),
])  # fmt: skip
def test_what_reads_texts_is_refused_without_them(rows, section, changes, told):
    """Later it would be train_sen or train_rdg that says so, after all the stages before it."""
    shutil.copy(ROOT / "params.yaml", ".")
    Path("dvc.yaml").write_text("stages: {}\n")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["rdg"]["batch_size"] = 7
    params[section] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(params))
    write_rows(Path("own"), [row | {"text": "a red bird"} for row in rows])
    result = catalog("stop")
    assert result.exit_code == 0, result.stderr
    told = f"params.yaml: {told.format(read_catalog('data/catalog').captions[0].key)}"
    Path("data/images.h5").unlink()
    write_rows(Path("own"), [row | {"text": ""} for row in rows])
    result = catalog("stop")
    assert result.exit_code == 1 and told in result.stderr, result.stderr
    assert not Path("data/images.h5").exists()


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


def test_recordings_are_heard_as_they_are_and_text_is_read_aloud(folder):
    written = write_manifest(Path("own"), split=True, texts=True)
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


def test_texts_are_read_by_voices_of_their_language(folder):
    words = {"en": "one red bird", "es": "un pájaro rojo", "ru": "красная птица", "zh-TW": "红色的鸟"}
    rows = write_manifest(Path("own"), classes=0, images=7, descriptions=len(words), split=True)
    for row, (language, text) in zip(rows, 7 * list(words.items()), strict=True):
        row |= {"recording": "", "text": text, "language": language}
    write_rows(Path("own"), rows)
    assert catalog("stop").exit_code == 0
    configured = ["--train_voices", "en-us", "--train_voices", "ru+m1", "--test_voices", "en-us+f3"]
    result = run("synthesize", *TTS, *configured)
    told = "text in zh-tw: tts lists too few voices that speak it; also using cmn, cmn+m1, cmn+f3"
    assert told in result.stdout, result.output
    found = read_catalog("data/catalog")
    tested = {caption.key for caption in found.split("test")}
    with RaggedReader("data/speech.h5", "speech") as speech:
        voices = dict(zip(speech.keys, speech.column("voice"), strict=True))
        assert speech.attributes["train_voices"] == ["en-us", "es", "es+m1", "ru+m1", "cmn", "cmn+m1"]
        assert speech.attributes["test_voices"] == ["en-us+f3", "es+f3", "ru+f3", "cmn+f3"]
    for caption in found.captions:
        side = {"en": ["en-us"], "es": ["es", "es+m1"], "ru": ["ru+m1"], "zh-tw": ["cmn", "cmn+m1"]}[caption.language]
        test = {"en": "en-us", "es": "es", "ru": "ru", "zh-tw": "cmn"}[caption.language] + "+f3"
        assert voices[caption.key] in ([test] if caption.key in tested else side)
