"""Bad input through the commands themselves: one line that names it and its fix, and no output file."""

import importlib
import os
import shutil
import sys
from pathlib import Path

import click
import dag
import h5py
import numpy as np
import pytest
import soundfile
import yaml
from click.testing import CliRunner
from tiny import SEN, models, rdg

from s2igan import cli
from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.errors import InputError
from s2igan.sen.model import build_sen, save_sen
from s2igan.store import FixedWriter, RaggedWriter
from stages import train_rdg

ROOT = Path(__file__).parents[1]
ESPEAK = ["--engine", "espeak", "--rate", "175", "--model", "", "--vocoder", ""]
TTS = [*ESPEAK, "--train_voices", "en-us", "--test_voices", "en-gb"]
LOGMEL = ["--bands", "40", "--window_ms", "25", "--shift_ms", "10", "--window", "hamming", "--normalise"]
GENERATE = ["--captions_per_image", "1", "--batch_size", "4", "--seed", "0"]
pytestmark = pytest.mark.usefixtures("folder")


def run(stage: str, *arguments: str):
    return CliRunner().invoke(importlib.import_module(f"stages.{stage}").main, arguments)


def options(section: str) -> list[str]:
    """Those of params.yaml, as DVC gives them to a stage."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())[section]
    return [f"--{'' if v else 'no-'}{k}" if isinstance(v, bool) else f"--{k}={v}" for k, v in values.items()]


def refused(result, *told: str) -> None:
    """One line, at the end, with every word of `told`; and no file but those that were there before."""
    assert result.exit_code == 1, result.output
    errors = [line for line in result.stderr.splitlines() if "rror" in line]
    assert len(errors) == 1 and errors[0].startswith("error: ")
    assert result.stderr.splitlines()[-1] == errors[0]
    for words in told:
        assert words in errors[0]
    assert list(Path().rglob("*.partial")) == []


def catalog(**texts: str) -> Catalog:
    """Three classes, one a split; `a_00_01="text"` sets the text of caption a/00/01."""
    images, captions = [], []
    for name, split in (("a", "train"), ("b", "val"), ("c", "test")):
        for n in range(2):
            image = f"{name}/{n:02d}"
            images.append(Image(image, "", name, split))
            for k in range(2):
                key = f"{image}/{k:02d}"
                captions.append(Caption(key, image, texts.get(key.replace("/", "_"), "a red bird"), language="en"))
    return Catalog(tuple(images), tuple(captions))


@pytest.mark.parametrize("stage", ["catalog", "train_sen", "train_rdg", "train_judge", "generate", "evaluate"])
@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_a_seed_that_no_generator_takes_is_refused_by_every_stage(stage, seed):
    result = run(stage, "--seed", seed)
    assert result.exit_code == 2 and f"'--seed': {seed} is not in the range 0<=x<=4294967295." in result.stderr


@pytest.mark.parametrize("stage", sorted(path.stem for path in (ROOT / "stages").glob("[a-z]*.py")))
def test_what_is_no_finite_number_is_refused_by_every_option(stage):
    """A comparison with a range is false for NaN, and an open range has infinity in it."""
    for parameter in importlib.import_module(f"stages.{stage}").main.params:
        for word in ("nan", "inf", "-inf") if isinstance(parameter.type, click.FloatRange) else ():
            with pytest.raises(click.BadParameter, match="is not a finite number|is not in the range"):
                parameter.type.convert(word, parameter, None)


@pytest.mark.parametrize("device", ["banana", "cuda:99", "mps", "meta"])
def test_a_device_that_is_not_here_is_refused(device, monkeypatch):
    monkeypatch.setenv("S2IGAN_DEVICE", device)
    refused(speak("a red bird"), f"S2IGAN_DEVICE={device}: no such device here; set cpu or cuda, or unset it")


@pytest.mark.parametrize("workers", ["0", "-1", "two", "²"])
def test_a_number_of_processes_that_is_none_is_refused(workers, monkeypatch):
    monkeypatch.setenv("S2IGAN_WORKERS", workers)
    write_catalog("data/catalog", catalog())
    refused(run("synthesize", *TTS), f"S2IGAN_WORKERS={workers}: not a number of processes; set 1 or more, or unset")


def test_the_first_scale_is_a_power_of_two():
    result = run("train_rdg", "--base_size", "48")
    assert result.exit_code == 2 and "'--base_size': '48' is not one of '8', '16', '32', '64', '128'." in result.stderr


def test_pictures_of_another_size_than_sen_knows_are_refused():
    """Cut to the middle, they would teach the relation supervisor to tell fakes by how near they are."""
    encoder = SEN["image_encoder"] | {"crop_size": 64}
    save_sen("models/sen", build_sen(SEN), SEN | {"image_encoder": encoder})
    for path in train_rdg.INPUTS:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    told = "rdg.base_size: images of 128 pixels, but SEN and the relation supervisor know crops of 64; set "
    result = run("train_rdg", *options("rdg"), "--base_size=32")
    refused(result, told, "image_features.crop_size", "classifier.crop_size", "judge.crop_size")
    assert not Path("models/rdg").exists()


@pytest.mark.parametrize(("arguments", "told"), [
    (["--lrr", "1"], "No such option '--lrr'."),
    (["--lr", "oops"], "Invalid value for '--lr': 'oops' is not a valid float range."),
    (["--lr", "0"], "Invalid value for '--lr': 0.0 is not in the range 0<x<=1."),
    (["--captions", "-1"], "Invalid value for '--captions': -1 is not in the range x>=0."),
    (["--selection", "tets"], "Invalid value for '--selection': 'tets' is not one of 'val', 'test'."),
    ([], "Missing option '--conv_channels'."),
])  # fmt: skip
def test_parameters_are_refused_before_anything_is_read(arguments, told):
    result = run("train_sen", *arguments)
    assert result.exit_code == 2
    errors = [line for line in result.stderr.splitlines() if "rror" in line]
    assert len(errors) == 1 and errors[0].startswith(f"Error: {told}")
    assert list(Path().iterdir()) == []


def test_a_parameter_is_refused_in_a_process_of_its_own_too(folder):
    """As `dvc repro` runs it."""
    command = (sys.executable, "-m", "stages.catalog", "--dataset", "aviary", "--clases", "5")
    result = dag.run(folder, *command, check=False, code=ROOT)
    assert result.returncode == 2
    assert "Error: No such option '--clases'" in result.stderr and "Traceback" not in result.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("text", "voice", "told"), [
    ("§§ ¤", "en-us", ("caption c/00/01: ", "§§ ¤")), ("a red bird", "tlh", ("voice 'tlh'",))
])  # fmt: skip
def test_a_caption_of_symbols_and_an_unknown_voice_are_refused(text, voice, told):
    write_catalog("data/catalog", catalog(c_00_01=text))
    refused(run("synthesize", *ESPEAK, "--train_voices", voice, "--test_voices", "en-gb"), *told)
    assert not Path("data/speech.h5").exists()


def test_a_missing_catalog_is_refused():
    refused(run("synthesize", *TTS), "data/catalog/images.csv: missing; run `dvc repro`")
    refused(run("catalog", *options("catalog")), "data/manifest.csv: missing; run `dvc repro prepare` to make it")
    assert list(Path().iterdir()) == []


def foreign(path):
    with h5py.File(path, "w") as file:
        file["speech"] = np.zeros(3)


def another_kind(path):
    with FixedWriter(path, "images", (1,), "uint8") as out:
        out.append(["a"], [[1]])


@pytest.mark.parametrize(("make", "told"), [
    (foreign, "holds a foreign HDF5 file, expected s2igan/speech/1; run `dvc repro`"),
    (another_kind, "holds s2igan/images/1, expected s2igan/speech/1; run `dvc repro`"),
])  # fmt: skip
def test_speech_that_is_none_of_ours_is_refused(make, told):
    Path("data").mkdir()
    make(Path("data/speech.h5"))
    refused(run("logmel", *LOGMEL), f"data/speech.h5: {told}")
    assert not Path("data/logmel.h5").exists()


@pytest.mark.parametrize(("seconds", "told"), [
    (0.23, "a/00/00: not readable as audio"),
    (0.22, "caption a/00/00: said in 0.22 s; sen.kernel and sen.stride need 0.225 s (so many are too short: 1): lower"),
])  # fmt: skip
def test_an_utterance_that_is_no_sound_or_too_short_is_refused_with_its_key(seconds, told):
    shutil.copy(ROOT / "params.yaml", ".")  # kernels of 6 each 3 frames, twice: 21 frames
    with RaggedWriter("data/speech.h5", "speech", 0, "uint8", {"sample_rate": 22050}, ["seconds"]) as out:
        out.append("a/00/00", np.frombuffer(b"not FLAC", np.uint8), seconds=seconds)
    refused(run("logmel", *LOGMEL), told)
    assert not Path("data/logmel.h5").exists()


def test_the_old_output_survives_a_run_that_is_refused():
    Path("data").mkdir()
    Path("data/logmel.h5").write_text("from an earlier run")
    refused(run("logmel", *LOGMEL), "data/speech.h5: missing")
    assert Path("data/logmel.h5").read_text() == "from an earlier run"


def test_a_caption_without_its_log_mel_is_refused():
    models()
    write_catalog("data/catalog", catalog())
    with RaggedWriter("data/logmel.h5", "logmel", 8, "float16") as out:
        out.append("c/00/00", np.ones((40, 8)))
    refused(run("generate", *GENERATE), "data/logmel.h5: no key c/01/00 among its 1")
    assert list(Path("data").glob("generated*")) == []


def speak(*arguments: str, output: str = "out.png"):
    return CliRunner().invoke(cli.main, ["speak", *arguments, "-o", output])


def no_picture() -> None:
    assert not Path("out.png").exists()


def test_a_recording_has_its_own_voice():
    result = speak("--wav", "bird.wav", "--voice", "en-us")
    assert result.exit_code == 2 and "--voice is for a sentence; a recording has its own" in result.stderr


@pytest.mark.parametrize(("arguments", "told"), [
    (["--wav", "missing.wav"], "missing.wav: missing; give the path of a recording"),
    (["--wav", "short.wav"], "short.wav: 0.02 s of speech; at least 0.08 s are needed: record more"),
    (["§§ ¤"], "§§ ¤"),
    (["a red bird", "--voice", "tlh"], "voice 'tlh'"),
])  # fmt: skip
def test_what_cannot_be_said_or_heard_is_refused(arguments, told):
    models()
    soundfile.write("short.wav", np.sin(np.arange(500)), 22050)
    refused(speak(*arguments), told)
    no_picture()


@pytest.mark.parametrize("arguments", [[], ["  "], ["a red bird", "--wav", "bird.wav"]])
def test_speak_wants_a_sentence_or_a_recording(arguments):
    result = speak(*arguments)
    assert result.exit_code == 2
    assert "Error: give either a sentence or --wav FILE" in result.stderr
    no_picture()


def test_missing_models_are_refused():
    refused(speak("a red bird"), "models/rdg/model.json: missing; run `dvc repro`")
    no_picture()


def test_a_damaged_model_is_refused():
    models()
    weights = Path("models/rdg/generator.safetensors")
    weights.write_bytes(weights.read_bytes()[:-7])
    refused(speak("a red bird"), "models/rdg/generator.safetensors: damaged; run `dvc repro`")
    no_picture()


def test_weights_that_are_not_finite_are_refused_when_saved_and_when_loaded(monkeypatch):
    """They drew a black image."""
    network = rdg()
    network.average.augment.linear.weight.data[0, 0] = float("nan")
    told = "NaN or infinite weights in augment.linear.weight; train it again, with a lower lr"
    with pytest.raises(InputError, match=f"^rdg model, generator: {told}"):
        network.save("models/rdg", {})
    assert list(Path("models").iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr("s2igan.models._check_finite", lambda *_: None)
        network.save("models/rdg", {})
    refused(speak("a red bird"), f"models/rdg/generator.safetensors: {told}")
    no_picture()


def test_one_model_in_the_place_of_the_other_is_refused():
    models()
    Path("models/rdg").rename("models/was_rdg")
    Path("models/sen").rename("models/rdg")
    Path("models/was_rdg").rename("models/sen")
    refused(speak("a red bird"), "models/rdg/model.json: holds a sen model, expected rdg; check the path")


@pytest.mark.parametrize("option", ["-o", "--save-wav"])
@pytest.mark.parametrize(
    ("path", "told"), [("folder", "is a directory"), ("", "is a directory"), ("locked", "is not writable")]
)
def test_what_must_not_be_written_is_refused_before_anything_is_drawn(option, path, told, monkeypatch):
    Path("folder").mkdir()
    Path("locked").write_text("mine")
    monkeypatch.setattr(os, "access", lambda file, mode: Path(file).name != "locked" or mode != os.W_OK)  # root may all
    result = speak("a red bird", option, path) if option != "-o" else speak("a red bird", output=path)
    assert result.exit_code == 2 and result.stderr.splitlines()[-1].startswith(f"Error: Invalid value for '{option}'")
    assert told in result.stderr
    assert Path("locked").read_text() == "mine" and {path.name for path in Path().iterdir()} == {"folder", "locked"}


def test_an_output_goes_through_a_link_and_into_a_pipe():
    models()
    Path("link.png").symlink_to("real.png")
    for _ in range(2):  # where nothing is behind the link, and where something is
        assert speak("a red bird", "--size", "32", output="link.png").exit_code == 0
        assert Path("link.png").is_symlink() and Path("real.png").read_bytes().startswith(b"\x89PNG")
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert speak("a red bird", "--size", "32", output="pipe").exit_code == 0
    assert os.read(reader, 1 << 16) == Path("real.png").read_bytes() and Path("pipe").is_fifo()
    os.close(reader)


def test_no_sound_is_left_where_no_picture_can_be_written():
    models()
    Path("file").touch()
    refused(speak("a red bird", "--save-wav", "said.wav", output="file/out.png"), "error: file: ")
    assert not Path("said.wav").exists()


def test_good_input_passes():
    """Or the tests above would refuse for some other reason."""
    models()
    soundfile.write("bird.wav", 0.5 * np.sin(np.arange(16000) / 10), 16000)
    result = speak("--wav", "bird.wav", "--size", "32")
    assert result.exit_code == 0, result.output
    assert result.stdout == "bird.wav (1.0 s) -> out.png\n"
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")
    write_catalog("data/catalog", catalog())
    assert run("synthesize", *TTS).exit_code == 0
    assert run("logmel", *LOGMEL).exit_code == 0
    assert run("embed", "--batch_size", "4").exit_code == 0
    assert run("generate", *GENERATE).exit_code == 0
    assert sorted(file.name for file in Path("data").glob("*.h5")) == [
        "embeddings.h5", "generated.h5", "generated_shuffled.h5", "generated_untrained.h5", "logmel.h5", "speech.h5",
    ]  # fmt: skip


def test_an_unknown_caption_cannot_be_followed():
    write_catalog("data/catalog", catalog())
    result = CliRunner().invoke(cli.main, ["trace", "z/99"])
    refused(result, "z/99: no such caption; data/catalog/captions.csv lists the keys")
