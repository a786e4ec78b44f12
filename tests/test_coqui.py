"""Coqui with a Tacotron 2 and a HiFi-GAN of random weights, saved and loaded as trained ones are."""

import json
import logging
import random
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import torch
from click.testing import CliRunner
from trainer.io import save_model
from TTS.config.shared_configs import BaseAudioConfig
from TTS.tts.configs.tacotron2_config import Tacotron2Config
from TTS.tts.models.tacotron2 import Tacotron2
from TTS.vocoder.configs.hifigan_config import HifiganConfig
from TTS.vocoder.models.gan import GAN

from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.errors import InputError
from s2igan.speech import coqui
from s2igan.speech.audio import decode
from s2igan.speech.coqui import Coqui
from s2igan.speech.engine import options_for
from s2igan.speech.synthesis import synthesize
from s2igan.store import RaggedReader
from stages.synthesize import main as synthesize_stage

TEXTS = ["this bird has a red crown", "it has blue wings and a short bill", "a white belly"]
NAME = "tts_models/en/ljspeech/tacotron2-DDC"
VOCODER_NAME = "vocoder_models/en/ljspeech/hifigan_v2"  # the one that the list names for NAME
RATE, HOP, BANDS, STEPS = 16000, 200, 20, 12
AUDIO = {
    "sample_rate": RATE, "hop_length": HOP, "win_length": 800, "fft_size": 1024, "num_mels": BANDS, "mel_fmax": 8000,
    "griffin_lim_iters": 10, "do_trim_silence": False,
}  # fmt: skip


def save(folder: Path, config, model: torch.nn.Module, name: str = "model_file.pth") -> None:
    folder.mkdir(parents=True)
    config.save_json(folder / "config.json")
    save_model(config, model, folder / name, current_step=0, epoch=0)


def write_tacotron(folder: Path, **changes) -> None:
    """A Tacotron 2 that speaks STEPS decoder steps of two frames, its prenet's dropout on."""
    torch.manual_seed(0)
    config = Tacotron2Config(
        audio=BaseAudioConfig(**AUDIO), r=2, out_channels=BANDS, decoder_output_dim=BANDS, max_decoder_steps=STEPS,
        prenet_dropout_at_inference=True, text_cleaner="english_cleaners", phoneme_language="en-us", **changes,
    )  # fmt: skip
    model = Tacotron2(config)
    with torch.no_grad():
        model.decoder.stopnet[1].linear_layer.bias.fill_(-100.0)
        for weights in (model.decoder.prenet.parameters(), model.decoder.linear_projection.parameters()):
            for weight in weights:  # untrained, they are too faint for a word or a dropped unit to be heard
                weight.mul_(10)
    save(folder, config, model)


def write_vocoder(folder: Path, bands: int = BANDS, rate: int = RATE) -> None:
    torch.manual_seed(1)
    config = HifiganConfig(
        audio=BaseAudioConfig(**{**AUDIO, "num_mels": bands, "sample_rate": rate}),
        generator_model_params={
            "upsample_factors": [10, 10, 2],
            "upsample_kernel_sizes": [20, 20, 4],
            "upsample_initial_channel": 16,
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3]],
            "resblock_type": "2",
        },
    )
    model = GAN(config)
    with torch.no_grad():
        for name, weight in model.model_g.named_parameters():
            if name.endswith("original0"):  # the norm of a kernel
                weight.mul_(2)
    save(folder, config, model)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders with a model of one voice, its vocoder, and a model of three voices."""
    folder = tmp_path_factory.mktemp("coqui")
    write_tacotron(folder / "one")
    write_vocoder(folder / "vocoder")
    write_vocoder(folder / "other_bands", bands=BANDS + 1)
    write_tacotron(folder / "three", use_speaker_embedding=True, speakers=["b", "a", "c"], speaker_embedding_dim=4)
    yield folder
    coqui._load.cache_clear()
    shutil.rmtree(folder)  # some 100 MB a Tacotron 2, whose sizes coqui-tts fixes


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """No network, a cache of its own."""
    monkeypatch.setenv("TTS_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "get", no_network)


def no_network(*_, **__):
    raise requests.ConnectionError("no route to host")


@pytest.fixture
def engine(models):
    return Coqui(str(models / "one"), str(models / "vocoder"))


def refused(message: str, *arguments, **options) -> str:
    with pytest.raises(InputError, match=message) as caught:
        Coqui(*map(str, arguments), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_speech_has_the_length_and_rate_of_the_model(engine):
    samples = engine.speak(TEXTS[0], "default")
    assert engine.sample_rate == RATE and engine.voices() == ["default"]
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert np.isfinite(samples).all() and 0 < np.abs(samples).max() <= 1
    # Two frames a decoder step, and the ten that HiFi-GAN of coqui adds to the mel spectrogram.
    assert len(samples) == (2 * STEPS + 10) * HOP


def test_a_sentence_more_is_spoken_after_a_pause(engine):
    one = engine.speak("This bird is red.", "default")
    two = engine.speak("This bird is red. Its bill is short.", "default")
    assert len(two) == 2 * len(one) + 10000
    assert not two[len(one) : len(one) + 10000].any() and two[len(one) - 1] and two[-1]
    assert len(engine.speak("This bird is red. ***", "default")) == len(one)


def test_same_samples_whatever_was_said_before(engine):
    first = engine.speak(TEXTS[0], "default")
    engine.speak(TEXTS[1], "default")
    torch.manual_seed(5)
    np.testing.assert_array_equal(engine.speak(TEXTS[0], "default"), first)


def test_griffin_lim_speaks_where_there_is_no_vocoder(models):
    engine = Coqui(str(models / "one"))
    first = engine.speak(TEXTS[0], "default")
    assert engine.sample_rate == RATE and len(first) == (2 * STEPS - 1) * HOP
    np.random.seed(5)
    np.testing.assert_array_equal(engine.speak(TEXTS[0], "default"), first)


def test_generators_of_others_are_left_as_they_were(engine):
    def seed():
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)

    def draws():
        return [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()]

    seed()
    expected = draws()
    seed()
    engine.speak(TEXTS[0], "default")
    assert draws() == expected


def test_speakers_are_voices_that_differ(models):
    engine = Coqui(str(models / "three"))
    assert engine.voices() == ["a", "b", "c"]
    spoken = [engine.speak(TEXTS[0], voice) for voice in "abc"]
    assert not np.array_equal(spoken[0], spoken[1]) and not np.array_equal(spoken[1], spoken[2])
    with pytest.raises(InputError, match="voice 'default': .*no such voice; choose from a, b, c$"):
        engine.speak(TEXTS[0], "default")


def test_loud_speech_is_turned_down_and_none_or_broken_speech_refused(engine, monkeypatch):
    def spoken(*samples):
        wave = [*samples, *[0.0] * 10000]
        monkeypatch.setattr(engine._synthesizer, "tts", lambda *_, **__: wave)
        return engine.speak("red", "default")

    assert spoken(0.5, -2.0, 1.0).tolist() == [0.25, -1.0, 0.5]
    assert spoken(0.5, -0.25).tolist() == [0.5, -0.25]
    for samples in ((), (0.0, 0.0), (0.0, 5e-5)):
        with pytest.raises(InputError, match="'red' is silence in voice default"):
            spoken(*samples)
    for broken in (np.nan, np.inf):
        with pytest.raises(InputError, match="NaN or infinity in voice default"):
            spoken(0.5, broken)


@pytest.mark.parametrize("text", ["", "***", "🐦 🌺", "鳥"])
def test_texts_that_the_model_cannot_say_are_refused(engine, text):
    with pytest.raises(InputError, match="no letter or digit that the model knows"):
        engine.speak(text, "default")


def test_what_cannot_be_said_is_known_before_anything_is(engine, monkeypatch):
    monkeypatch.setattr(engine._synthesizer, "tts", None)
    engine.require_sayable(TEXTS[0], "default")
    with pytest.raises(InputError, match="no letter or digit that the model knows"):
        engine.require_sayable("鳥", "default")
    assert engine.voice_in("default", "eu") == "default"  # a folder says nothing of its language
    monkeypatch.setattr(engine, "_language", "en")  # as of tts_models/en/ljspeech/tacotron2-DDC
    assert [engine.voice_in("default", language) for language in ("en", "en-gb", "eu")] == ["default", "default", ""]


def test_nothing_is_printed_and_logging_works_again(models, capfd, caplog):
    coqui._load.cache_clear()
    engine = Coqui(str(models / "one"), str(models / "vocoder"))
    engine.speak("鳥 red", "default")  # of which coqui-tts warns
    assert capfd.readouterr() == ("", "") and not caplog.records
    logging.getLogger("TTS").warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]


def test_a_file_of_weights_is_as_good_as_its_folder(models):
    folder = Coqui(str(models / "one"), str(models / "vocoder"))
    files = Coqui(str(models / "one" / "model_file.pth"), str(models / "vocoder" / "model_file.pth"))
    assert files._synthesizer is not folder._synthesizer
    np.testing.assert_array_equal(folder.speak(TEXTS[2], "default"), files.speak(TEXTS[2], "default"))


def test_paths_of_another_machine_in_config_json_are_mended_in_a_copy(models, tmp_path):
    """A model of speakers by file, trained elsewhere; its config.json stays as it was."""
    shutil.copytree(models / "three", tmp_path / "moved", copy_function=link)
    config = json.loads((models / "three" / "config.json").read_text())
    config |= {"speakers": [], "speakers_file": "/home/trainer/run/speakers.json"}
    (tmp_path / "moved" / "config.json").unlink()
    (tmp_path / "moved" / "config.json").write_text(json.dumps(config))
    refused("cannot be loaded with its config.json .*/home/trainer/run/speakers.json", tmp_path / "moved")
    (tmp_path / "moved" / "speakers.json").write_text(json.dumps({"b": 0, "a": 1, "c": 2}))
    moved = Coqui(str(tmp_path / "moved"))
    assert moved.voices() == ["a", "b", "c"]
    np.testing.assert_array_equal(moved.speak("red", "b"), Coqui(str(models / "three")).speak("red", "b"))
    assert json.loads((tmp_path / "moved" / "config.json").read_text()) == config


def link(source, target):
    Path(target).symlink_to(source)


def cached(folder: Path, name: str) -> Path:
    """Where coqui-tts keeps a model, filled as a download fills it."""
    target = coqui._manager().output_prefix / name.replace("/", "--")
    target.mkdir(parents=True)
    shutil.copy(folder / "config.json", target)
    link(folder / "model_file.pth", target / "model_file.pth")
    return target


def test_a_name_takes_the_model_and_its_own_vocoder_from_the_cache(models):
    cached(models / "one", NAME)
    cached(models / "vocoder", VOCODER_NAME)
    named = Coqui(NAME).speak(TEXTS[0], "default")
    np.testing.assert_array_equal(named, Coqui(str(models / "one"), str(models / "vocoder")).speak(TEXTS[0], "default"))


def sign_in(*_, **__):
    return SimpleNamespace(headers={}, iter_content=lambda _: [b"<html>sign in</html>"])


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("get", "error", "told"), [
    (no_network, InputError, f"^tts.model: {NAME} is not in .*/cache/tts and cannot be downloaded "
     ".ConnectionError: no route.* into a folder and give that, or choose tts.engine=espeak"),
    (sign_in, InputError, "cannot be downloaded .BadZipFile"),
    (interrupt, KeyboardInterrupt, ""),
])  # fmt: skip
def test_a_download_that_fails_is_told_and_leaves_nothing(tmp_path, monkeypatch, get, error, told):
    monkeypatch.setattr(requests, "get", get)
    with pytest.raises(error, match=told or None):
        Coqui(NAME)
    assert list((tmp_path / "cache" / "tts").iterdir()) == []


def test_half_a_model_in_the_cache_is_refused_and_kept(models):
    folder = cached(models / "one", NAME)
    (folder / "model_file.pth").unlink()
    refused(f"tts.model: {folder} is not whole .*remove this folder and run again", NAME)
    assert (folder / "config.json").exists()


def test_a_vocoder_that_cannot_be_downloaded_is_refused(models):
    cached(models / "one", NAME)
    refused(f"tts.vocoder: {VOCODER_NAME} is not in .* and cannot be downloaded", NAME)


@pytest.mark.parametrize(("names", "told"), [
    *[([name], f"tts.model: '{name}' is no file, no folder and none of coqui's tts_models.*tts.engine=espeak$")
      for name in ("tts_models/en/ljspeech", VOCODER_NAME, "/no/such/folder")],
    ([""], "^tts.model: empty; give the name of a coqui model"),
    (["one", NAME], f"tts.vocoder: '{NAME}' is no file, no folder and none of coqui's vocoder_models"),
    (["one", "other_bands"], "takes 21 mel bands and the model gives 20"),
    (["tts_models/multilingual/multi-dataset/xtts_v2"], "cannot be had without agreeing to its licence"),
])  # fmt: skip
def test_names_that_are_no_models_are_refused(models, names, told):
    refused(told, *(models / name if name and (models / name).is_dir() else name for name in names))


def test_a_folder_without_config_or_weights_is_refused(models, tmp_path):
    refused(f"{tmp_path}/config.json: missing; tts.model needs", tmp_path)
    shutil.copy(models / "one" / "config.json", tmp_path)
    refused(f"{tmp_path}: no weights", tmp_path)
    refused(f"{tmp_path}: no weights .* fix tts.vocoder", models / "one", tmp_path)
    for name in ("checkpoint_2.pth", "checkpoint_1.pth"):
        (tmp_path / name).write_bytes(b"")
    refused(f"2 files of weights; say in tts.model which one, such as {tmp_path}/checkpoint_1.pth", tmp_path)


def test_damaged_files_are_refused(models, tmp_path):
    shutil.copy(models / "one" / "config.json", tmp_path)
    weights = tmp_path / "model.pth"
    for content in (b"", b"not weights", (models / "one" / "model_file.pth").read_bytes()[:100_000]):
        weights.write_bytes(content)
        refused(f"tts.model: {weights} cannot be loaded with its config.json", tmp_path)
    link(models / "one" / "model_file.pth", tmp_path / "model_file.pth")
    (tmp_path / "config.json").write_text("{")
    refused(f"tts.model: {tmp_path}/model_file.pth cannot be loaded with its config.json .JSONDecodeError", tmp_path)
    shutil.copy(models / "three" / "config.json", tmp_path)
    refused("check that both are whole and belong together", tmp_path)


def test_without_coqui_tts_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "TTS.utils.synthesizer", None)
    refused("tts.engine=coqui: coqui-tts cannot be imported .*requirements.lock .*or choose tts.engine=espeak", NAME)


def test_the_engine_by_name_takes_its_own_options():
    assert options_for("coqui", 175, "m", "v") == {"model": "m", "vocoder": "v"}
    assert options_for("espeak", 175, "m", "v") == {"rate": 175}


def test_a_data_set_is_spoken_in_this_process_in_order(engine, models, monkeypatch):
    options = {"model": str(models / "one"), "vocoder": str(models / "vocoder")}
    monkeypatch.setattr("loky.get_reusable_executor", None)  # processes would come from there
    captions = [(f"c/i/{n:02d}", text, "default") for n, text in enumerate(TEXTS)]
    spoken = list(synthesize(iter(captions), "coqui", options, workers=4))
    assert [key for key, _, _ in spoken] == [key for key, _, _ in captions]
    for (_, flac, seconds), text in zip(spoken, TEXTS, strict=True):
        samples, rate = decode(flac)
        expected = engine.speak(text, "default")
        assert rate == RATE and seconds == len(expected) / RATE
        np.testing.assert_allclose(samples, expected, atol=2**-15)


def test_one_voice_may_speak_training_and_test(models, folder):
    splits = ("train", "val", "test")
    images = [Image(f"{split}/{n}", "x.png", split, split, "") for split in splits for n in range(2)]
    write_catalog("data/catalog", Catalog(images, [Caption(f"{i.key}/00", i.key, "red", "", "en") for i in images]))
    options = {"model": str(models / "one"), "vocoder": str(models / "vocoder")}
    values = {"engine": "coqui", "rate": "175", "train_voices": "default", "test_voices": "default"} | options
    result = CliRunner().invoke(synthesize_stage, [f"--{name}={value}" for name, value in values.items()])
    assert result.exit_code == 0, result.output
    assert "warning: coqui has one voice here: the test is spoken in the voice of training" in result.stderr
    with RaggedReader("data/speech.h5", "speech") as speech:
        assert len(speech) == 6 and speech.attributes["sample_rate"] == RATE
        assert speech.attributes["options"] == options
