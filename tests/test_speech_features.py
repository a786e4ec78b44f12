"""Frozen speech encoders in place of log-mels: tiny ones, with random weights, by the formulas."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from dag import ROOT, composed, run_stage
from test_pipeline import SPEECH
from tiny_speech import LAYERS, WIDTH, write_encoder, write_flite

from s2igan import cli, export
from s2igan.errors import InputError
from s2igan.parameters import least_seconds, parameter_faults
from s2igan.sen.model import embed_speech, heard_by, load_sen
from s2igan.speech.audio import encode_flac, resample
from s2igan.speech.encoders import FrozenSpeechEncoder, open_front_end
from s2igan.store import RaggedReader, RaggedWriter

RATE = 22050
LOADED = ("hubert", "wavlm", "whisper")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("encoders")
    return {kind: write_encoder(folder / kind, kind) for kind in (*LOADED, "taught", "bert")}


def said(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("kind", ["hubert", "wavlm"])
def test_features_are_the_network_s_hidden_layers_of_the_utterance_alone(kind, models):
    """By `transformers` itself, at 16 kHz, with mean 0 and variance 1, as these two are configured."""
    from transformers import AutoModel

    samples = said(1.3)
    heard = torch.from_numpy(resample(samples, RATE, 16000))
    heard = (heard - heard.mean()) / torch.sqrt(heard.var(correction=0) + 1e-7)
    with torch.inference_mode():
        states = AutoModel.from_pretrained(models[kind])(heard[None], output_hidden_states=True).hidden_states
    expected = np.concatenate([states[layer][0].numpy() for layer in (3, 1)], axis=1)
    np.testing.assert_allclose(FrozenSpeechEncoder(models[kind], (3, 1), 1, RATE)(samples), expected, atol=1e-4)
    every = FrozenSpeechEncoder(models[kind], (), 2, RATE)
    assert every.layers == [0, 1, 2, 3] and every.width == 4 * WIDTH
    whole = np.concatenate([state[0].numpy() for state in states], axis=1)
    means = np.stack([whole[i : i + 2].mean(axis=0) for i in range(0, len(whole), 2)])
    np.testing.assert_allclose(every(samples), means, atol=1e-4)


def test_whisper_hears_30_seconds_of_which_those_of_the_utterance_are_kept(models):
    """A longer one in pieces of 30 s; ceil(T / 320) frames of each."""
    from transformers import WhisperFeatureExtractor, WhisperModel

    network = WhisperModel.from_pretrained(models["whisper"]).get_encoder()
    encoder = FrozenSpeechEncoder(models["whisper"], (2, 3), 1, 16000)

    def padded(samples: np.ndarray) -> np.ndarray:
        filled = np.pad(samples, (0, 30 * 16000 - len(samples)))
        given = WhisperFeatureExtractor()(filled, sampling_rate=16000, return_tensors="pt").input_features
        with torch.inference_mode():
            states = network(given, output_hidden_states=True).hidden_states
        return torch.cat([states[2], states[3]], dim=2)[0].numpy()[: -(-len(samples) // 320)]

    short, long = said(1.0)[:20001], np.concatenate([said(20.0), said(20.0, 1)])[: 31 * 16000]
    found = encoder(short)
    assert found.shape == (63, 2 * WIDTH)
    np.testing.assert_allclose(found, padded(short), atol=1e-5)
    pieces = [padded(long[: 30 * 16000]), padded(long[30 * 16000 :])]
    np.testing.assert_allclose(encoder(long), np.concatenate(pieces), atol=1e-5)
    assert encoder(long).shape == (31 * 50, 2 * WIDTH)


@pytest.mark.parametrize("kind", LOADED)
@pytest.mark.parametrize("stride", [1, 2])
def test_the_fewest_samples_make_the_frames_that_are_asked_for(kind, stride, models):
    encoder = FrozenSpeechEncoder(models[kind], (1,), stride, RATE)
    for frames in (1, 5):
        least = encoder.samples(frames)
        assert len(encoder(said(1.0)[:least])) == frames
        if frames > 1:
            assert len(encoder(said(1.0)[: least - 1])) < frames
    if kind == "hubert":
        with pytest.raises(InputError, match="^100 samples; the encoder needs 550: record a longer utterance"):
            encoder(said(1.0)[:100])


def test_what_text_taught_is_said_and_what_it_did_not(models):
    kinds = (*LOADED, "taught")
    trained = {kind: FrozenSpeechEncoder(models[kind], (), 1, RATE).settings["trained_with"] for kind in kinds}
    assert trained == {"hubert": "speech", "wavlm": "speech", "whisper": "speech and text", "taught": "speech and text"}
    assert heard_by({"log_mel": {}}) == []
    for kind, told in (
        ("hubert", "self-supervised, it never saw text"),
        ("whisper", "trained with text, so that"),
    ):
        settings = FrozenSpeechEncoder(models[kind], (2, 3), 1, RATE).settings
        (clause,) = heard_by({"speech_features": settings})
        weights = settings["weights_hash"]
        assert clause.startswith(f"speech heard by {models[kind]}, layers 2, 3, weights {weights}: {told}")


def test_one_line_tells_what_is_wrong_with_a_model(models, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.copytree(models["hubert"], tmp_path / "part")
    (tmp_path / "part/preprocessor_config.json").unlink()
    shutil.copytree(models["hubert"], tmp_path / "cut")
    (tmp_path / "cut/model.safetensors").write_bytes(Path(models["hubert"], "model.safetensors").read_bytes()[:999])
    shutil.copytree(models["wavlm"], tmp_path / "other")
    shutil.copy(Path(models["hubert"], "model.safetensors"), tmp_path / "other")
    for model, layers, told in (
        (tmp_path / "none", (), r"none: no folder here, not in .*hub, nor on the Hugging Face Hub \(.*\); name a fo"),
        (tmp_path / "part", (), r"part: a folder that lacks something, .*; name a folder with config.json, preproc"),
        (tmp_path / "cut", (), "cut: a folder that lacks something"),
        (tmp_path / "other", (), "other: has no weights for encoder.layers.*; fetch it again"),
        (models["bert"], (), "bert: a model of kind bert; name one of hubert, wav2vec2, wavlm, whisper"),
        (models["hubert"], (1, 4), f"speech_features.layers: 4, but .*hubert has 0 to {LAYERS}; choose among those"),
    ):
        with pytest.raises(InputError, match=told) as error:
            FrozenSpeechEncoder(str(model), layers, 1, RATE)
        assert "\n" not in str(error.value) and len(str(error.value)) < 700


def test_other_weights_than_sen_learnt_with_are_refused(models, tmp_path):
    config = {"speech_features": FrozenSpeechEncoder(models["hubert"], (1,), 2, RATE).settings}
    assert open_front_end(config, "cpu").settings == config["speech_features"]
    other = write_encoder(tmp_path, "hubert", seed=1)
    with pytest.raises(InputError, match=r": weights \w{16}, but SEN learnt with \w{16}; put those back, or run"):
        open_front_end({"speech_features": config["speech_features"] | {"model": other}}, "cpu")


def run(words: list[str]) -> None:
    from stages import speech_features

    result = CliRunner().invoke(speech_features.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr


def test_the_stage_keeps_each_utterance_as_it_is_alone(models, folder):
    spoken = {f"a/{n}": said(0.3 + 0.4 * n, n) for n in range(3)}
    with RaggedWriter("data/speech.h5", "speech", 0, np.uint8, {"sample_rate": RATE}) as out:
        for key, samples in spoken.items():
            out.append(key, np.frombuffer(encode_flac(samples, RATE), np.uint8))
    run(["--model", models["hubert"], "--layers", "1", "--layers", "3", "--stride", "2"])
    encoder = FrozenSpeechEncoder(models["hubert"], (1, 3), 2, RATE)
    with RaggedReader("data/speech_features.h5", "speech_features") as file:
        assert file.keys == list(spoken) and file.width == 2 * WIDTH
        assert file.attributes == {"speech_features": encoder.settings, "speech": {"sample_rate": RATE}}
        for row, samples in enumerate(spoken.values()):
            alone = encoder(np.round(samples * 32768).clip(-32768, 32767).astype(np.int16) / np.float32(32768))
            np.testing.assert_array_equal(file.value(row), alone.astype(np.float16))
    run(["--model", "", "--stride", "1"])
    with RaggedReader("data/speech_features.h5", "speech_features") as file:
        assert not file.keys and not file.attributes


def test_what_conf_composes_passes_and_needs_what_the_encoders_need(models, monkeypatch):
    monkeypatch.chdir(ROOT)
    for speech in SPEECH[1:]:
        params = composed(f"speech={speech}")
        pooled = speech == "whisper_base_pooled"
        expected = ("speech_features", "pooled" if pooled else "conv_gru")
        assert (params["sen"]["input"], params["sen"]["encoder"]) == expected
        assert not list(parameter_faults({name: part for name, part in params.items() if isinstance(part, dict)}))
        encoder = FrozenSpeechEncoder(models["hubert"], (1,), params["speech_features"]["stride"], 16000)
        needed = 0 if pooled else encoder.samples(5) / 16000
        assert needed == pytest.approx(least_seconds(params)) == pytest.approx(0 if pooled else 0.185)


# From speech to scores, at the smallest scale.


def test_from_features_to_scores(models, tmp_path_factory, monkeypatch):
    """SEN, a generator that learns with it, and all that hears, another engine's voice too: by the features."""
    monkeypatch.chdir(tmp_path_factory.mktemp("features"))
    flite = write_flite(Path.cwd())
    config = composed(
        "scale=smoke", "system=end_to_end", "speech=hubert_base", f"speech_features.model={models['hubert']}",
        "speech_features.layers=[1,3]", "judge.enabled=false", "keyword.pairs=2", "rdg.images=24", "sen.captions=60",
        "sen.pretrain=true", "generate.captions_per_image=2", "sen.speed=0.1", "sen.band_masks=1",
        "robustness.engine=flite", f"robustness.model={flite}", "robustness.voices=[slt,rms]",
    )  # fmt: skip
    for stage in (
        *("prepare", "catalog", "synthesize", "logmel", "speech_features", "image_features", "train_classifier"),
        *("train_judge", "oracle", "train_sen", "embed", "train_rdg", "generate", "robustness", "keyword", "evaluate"),
    ):
        run_stage(stage, config)
    for name in ("sen", "rdg_sen"):
        sen, found = load_sen(f"models/{name}")
        with RaggedReader("data/speech_features.h5", "speech_features") as file:
            assert found["speech_features"] == file.attributes["speech_features"]
            frames, keys = file.values(range(3)), file.keys
        assert (found["bands"], found["layers"]) == (WIDTH, 2)
        assert sen.speech.layer_sum.weights.abs().sum() > 0  # learnt
    robust = json.loads(Path("metrics/robustness.json").read_text())
    assert robust["other_engine_captions"] == robust["captions"] > 0 and 0 < robust["other_engine_map"] <= 1
    assert robust["protocol"][-2].endswith("said by flite, voices slt, rms")
    clause = heard_by(found)
    for name in ("sen", "eval", "attributes", "robustness"):
        assert json.loads(Path(f"metrics/{name}.json").read_text())["protocol"][-1:] == clause, name
    # What a person says is heard as what the stage has of it.
    told = CliRunner().invoke(cli.main, ["trace", keys[0], "--wav", "one.wav"])
    assert told.exit_code == 0 and f"×{2 * WIDTH} float16, layers [1, 3] of {models['hubert']}" in told.output
    embedded = CliRunner().invoke(cli.main, ["embed", "one.wav", "-o", "one.npz"])
    assert embedded.exit_code == 0, embedded.output
    np.testing.assert_allclose(np.load("one.npz")["vectors"][0], embed_speech(sen, frames[:1])[0], atol=1e-3)
    for words in (["find", "--wav", "one.wav"], ["speak", "a red bird", "-o", "one.png", "--size", "32"], ["info"]):
        result = CliRunner().invoke(cli.main, words)
        assert result.exit_code == 0, result.output
    assert clause[0] in result.output
    monkeypatch.setattr("s2igan.export.importlib.util.find_spec", lambda name: True)
    with pytest.raises(InputError, match="export has no such encoder, only models of log-mels"):
        export.export("models", "elsewhere")
