"""The models from Python, search by speech, and what `s2igan info` says, on tiny models and a tiny run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from PIL import Image as Picture
from tiny import SEN, models

import s2igan
from s2igan import cli
from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.errors import InputError
from s2igan.figures import GAP, MARGIN
from s2igan.models import hash_files
from s2igan.pipeline import Pipeline
from s2igan.store import FixedWriter, ImageWriter, RaggedWriter

RATE = 22050
TEXT = SEN | {"encoder": "char_cnn_rnn", "width": 0.03}
SPLITS = ("train", "val", "test", "test")
pytestmark = pytest.mark.usefixtures("folder")


def sound(number: int) -> np.ndarray:
    """Half a second of noise, as int16: what a WAV file holds exactly."""
    return (np.random.default_rng(number).standard_normal(RATE // 2) * 3000).astype(np.int16)


def run(*arguments: str):
    return CliRunner().invoke(cli.main, arguments, catch_exceptions=False)


def test_the_package_takes_nothing_along_before_it_is_asked():
    told = "import sys, s2igan; print([m for m in sys.modules if m in ('torch', 'numpy') or m.startswith('s2igan.')])"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True).stdout == "[]\n"


def test_speak_waits_for_torch_and_little_more():
    slow = ("loky", "distributed", "scipy", "matplotlib", "pandas", "sklearn", "torchvision", "timm", "av", "dvc")
    told = f"import sys, s2igan.pipeline, s2igan.figures; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True).stdout == "[]\n"


def test_python_draws_what_the_pipeline_draws():
    models()
    api, pipeline = s2igan.load(), Pipeline("models")
    soundfile.write("one.wav", sound(1), RATE)
    embedding = pipeline.embed([pipeline.listen("one.wav")], ["one"])
    expected = pipeline.draw(embedding, pipeline.seeds(["0"], 3))[-1][0]
    assert np.array_equal(api.embed(sound(1), RATE), embedding[0])
    image = api.draw(sound(1), RATE, seed=3)
    assert image.dtype == np.uint8 and np.array_equal(image, expected.transpose(1, 2, 0))
    assert not np.array_equal(image, api.draw(sound(1), RATE, seed=4))


def test_models_with_attention_draw_from_places_and_compare_by_embeddings():
    models(SEN | {"places": 3})
    api, pipeline = s2igan.load(), Pipeline("models")
    soundfile.write("one.wav", sound(1), RATE)
    heard = pipeline.hear(recording="one.wav")
    assert heard.speech.shape == pipeline.hears == (4, 8) and np.array_equal(heard.embedding, heard.speech[0])
    np.testing.assert_allclose(api.embed(sound(1), RATE), heard.embedding, atol=1e-6)
    expected = pipeline.draw(heard.speech[None], pipeline.seeds(["0"], 3))[-1][0]
    assert np.array_equal(api.draw(sound(1), RATE, seed=3), expected.transpose(1, 2, 0))
    with pytest.raises(InputError, match=r"speech of shape \(8,\): these models draw \(4, 8\); give what `hear` has"):
        pipeline.draw(heard.embedding[None], [0])
    drawn = run("speak", "--wav", "one.wav", "-o", "one.png")
    assert drawn.exit_code == 0 and Path("one.png").exists()


def test_speech_may_come_in_any_form_that_sound_has():
    models()
    api, pipeline = s2igan.load(), Pipeline("models")
    expected = api.embed(sound(1), RATE)
    for same in (sound(1) / 32768, np.stack([sound(1), sound(1)], axis=1), sound(1).astype(np.int32) << 16):
        np.testing.assert_allclose(api.embed(same, RATE), expected, atol=1e-6)
    opposite = np.stack([sound(1), -sound(1)], axis=1)  # whose mean is silence: the loudest channel is heard
    np.testing.assert_allclose(api.embed(opposite, RATE), expected, atol=1e-6)
    soundfile.write("fast.wav", sound(2), 48000)
    heard = pipeline.embed([pipeline.listen("fast.wav")], ["fast"])[0]
    np.testing.assert_allclose(api.embed(*soundfile.read("fast.wav")), heard, atol=1e-6)


def test_a_sentence_is_said_by_the_first_test_voice_and_heard():
    models()
    api = s2igan.load()
    samples, rate = api.say("a red bird")
    assert rate == RATE and 0.5 < len(samples) / rate < 3 and api.voices == ["en-gb"]
    assert np.array_equal(api.draw("a red bird"), api.draw(samples, rate))


def test_models_of_text_read_and_do_not_hear():
    models(TEXT)
    api = s2igan.load()
    assert api.reads_text and np.linalg.norm(api.embed("a red bird")) == pytest.approx(1)
    for ask in (lambda: api.say("a red bird"), lambda: api.draw(sound(1), RATE)):
        with pytest.raises(InputError, match="these models read text"):
            ask()


@pytest.mark.parametrize(("samples", "rate", "told"), [
    (sound(1), None, "speech: a rate of None Hz; give the sample rate beside the samples"),
    (np.zeros(RATE), RATE, "speech: silent, or not finite"),
    (np.full(RATE, np.nan), RATE, "speech: silent, or not finite"),
    (np.zeros((2, 2, 2)), RATE, r"speech: float64 of shape \(2, 2, 2\); give samples"),
    (sound(1)[:500], RATE, "speech: 0.02 s of speech; at least 0.08 s are needed"),
])  # fmt: skip
def test_speech_that_cannot_be_heard_is_refused(samples, rate, told):
    models()
    with pytest.raises(InputError, match=told):
        s2igan.load().embed(samples, rate)


def test_embed_writes_a_vector_for_each_file():
    models()
    for n in (1, 2):
        soundfile.write(f"{n}.wav", sound(n), RATE)
    assert run("embed", "2.wav", "1.wav", "-o", "vectors.npz").exit_code == 0
    found = np.load("vectors.npz")
    assert found["files"].tolist() == ["2.wav", "1.wav"]
    np.testing.assert_allclose(found["vectors"], [s2igan.load().embed(sound(n), RATE) for n in (2, 1)], atol=1e-6)
    result = run("embed", "1.wav", "3.wav", "-o", "more.npz")
    assert result.stderr == "error: 3.wav: missing; give the path of a recording\n" and not Path("more.npz").exists()


@pytest.fixture
def finished():
    """A run of four images, one class each: caption n says sound n, and image n lies just where that is heard."""
    config = SEN | {"image_projection": "none"}  # the shared space is that of the image features
    models(config)
    api, pipeline = s2igan.load(), Pipeline("models")
    images = tuple(Image(f"{n}/00", "", f"{n}", split) for n, split in enumerate(SPLITS))
    captions = tuple(Caption(f"{n}/00/00", f"{n}/00", f"it is {n}", language="en") for n in range(4))
    write_catalog("data/catalog", Catalog(images, captions, "manifest", "own", "images"))
    attributes = {"weights_hash": "0"}
    with (
        ImageWriter("data/images.h5") as pixels,
        RaggedWriter("data/logmel.h5", "logmel", 40, "float32") as log_mels,
        FixedWriter("data/image_features.h5", "image_features", (2, 5), "float32", attributes) as features,
    ):
        for n, (image, caption) in enumerate(zip(images, captions, strict=True)):
            pixels.append(image.key, np.full((3, 8, 12), 50 * n, np.uint8))
            log_mels.append(caption.key, pipeline.log_mel(sound(n) / np.float32(32768)))
            vector = 7 * api.embed(sound(n), RATE)  # the length does not count
            features.append([image.key], np.stack([vector, -vector])[None])
        soundfile.write("two.wav", sound(2), RATE)


def test_what_is_said_finds_its_own_image_and_caption(finished):
    report = json.loads(run("find", "--wav", "two.wav", "--count", "3", "--png", "found.png", "--json").stdout)
    assert report["query"] == "two.wav"
    same = {"similarity": 1.0, "image": "2/00", "split": "test", "words": "it is 2"}
    assert report["images"][0] == same | {"key": "2/00"} and report["captions"][0] == same | {"key": "2/00/00"}
    api = s2igan.load()
    cosines = {f"{n}/00": float(api.embed(sound(2), RATE) @ api.embed(sound(n), RATE)) for n in range(4)}
    order = sorted(cosines, key=cosines.get, reverse=True)[:3]
    assert [one["image"] for one in report["images"]] == [one["image"] for one in report["captions"]] == order
    assert [one["similarity"] for one in report["images"]] == [round(cosines[key], 4) for key in order]
    with Picture.open("found.png") as sheet:
        middles = [MARGIN + 10 + row * (128 + GAP) + 64 for row in range(6)]
        shown = [sheet.getpixel((MARGIN + 300 + 64, middle))[0] // 50 for middle in middles]
    assert shown == 2 * [int(key[0]) for key in order]


def test_search_tells_people_too_and_says_a_sentence(finished):
    lines = run("find", "--wav", "two.wav", "--count", "1").stdout.splitlines()
    found = "  +1.000  2/00{}  (test)  it is 2"
    assert lines == ["nearest images", found.format(""), "nearest captions", found.format("/00")]
    report = json.loads(run("find", "a red bird", "--count", "9", "--json").stdout)
    assert report["query"] == "a red bird" and len(report["images"]) == len(report["captions"]) == 4
    assert run("find").exit_code == run("find", "a red bird", "--wav", "two.wav").exit_code == 2


def test_features_of_another_image_encoder_are_refused(finished):
    with FixedWriter("data/image_features.h5", "image_features", (1, 5), "float32", {"weights_hash": "1"}) as features:
        features.append(["2/00"], np.ones((1, 1, 5)))
    result = run("find", "--wav", "two.wav", "--png", "found.png")
    assert result.exit_code == 1 and not Path("found.png").exists()
    assert result.stderr.startswith("error: data/image_features.h5: of an image encoder with weights 1, models/rdg_sen")


def test_info_says_what_is_here(finished):
    shutil.copytree("models/rdg", "models/.rdg.4711.partial")  # as a kill leaves it
    report = json.loads(run("info", "--json").stdout)
    assert report["packages"]["torch"] == torch.__version__.split("+")[0] and report["device"]["name"] == "cpu"
    assert set(report["models"]) == {"rdg", "rdg_sen", "sen"} and report["device"]["workers"] == 1
    weights = sorted(Path("models/rdg").glob("*.safetensors"))
    size = sum(path.stat().st_size for path in weights)
    assert report["models"]["rdg"] == {"kind": "rdg", "bytes": size, "hash": hash_files(*weights)}
    trained = report["trained_on"]
    assert trained["dataset"] == "manifest" and trained["images"] == {"train": 1, "val": 1, "test": 2}
    assert (trained["classes"], trained["languages"], trained["image_size"]) == (4, ["en"], 32)
    lines = run("info").stdout.splitlines()
    counts = ", ".join(f"{n} images and {n} captions in {split}" for split, n in trained["images"].items())
    assert f"data set          manifest, 4 classes: {counts}; images held out" in lines


def test_info_without_models_and_with_damaged_ones():
    assert run("info").stdout.splitlines()[-1].startswith("models            none here; `dvc repro` trains them")
    models()
    Path("models/sen/model.json").write_text("{")
    result = run("info")
    assert result.exit_code == 0 and "models/sen        models/sen/model.json: missing or damaged" in result.stdout
