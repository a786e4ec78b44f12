"""An export: its graphs beside torch, its card as the Hub reads it. Graphs need the extra `export`."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from huggingface_hub import ModelCard
from PIL import Image as Picture
from tiny import SEN, models

import s2igan
from s2igan import cli
from s2igan.catalog import Caption, Catalog, Image, write_catalog
from s2igan.export import LogMelGraph
from s2igan.model_card import model_card
from s2igan.pipeline import Pipeline
from s2igan.speech.log_mel import LogMel

RATE = 22050
SOUNDS = [np.random.default_rng(n).standard_normal(n).astype(np.float32) / 10 for n in (3000, 30001)]
pytestmark = pytest.mark.usefixtures("folder")


def export(folder: str = "out"):
    return CliRunner().invoke(cli.main, ["export", folder], catch_exceptions=False)


@pytest.mark.parametrize("settings", [{}, {"window": "hann", "normalise": False}, {"sample_rate": 16000, "bands": 20}])
def test_the_log_mel_of_the_graph_is_the_log_mel(settings):
    log_mel = LogMel(**settings)
    for samples in (*SOUNDS, np.zeros(3000, np.float32)):
        np.testing.assert_allclose(LogMelGraph(log_mel)(torch.from_numpy(samples)), log_mel(samples), atol=1e-4)


@pytest.mark.parametrize("changes", [
    {}, {"mask_padding": False}, {"encoder": "li2020", "width": 0.01}, {"encoder": "pooled", "width": 0.02},
    {"places": 3}, {"scales": 1},
], ids=str)  # fmt: skip
def test_onnxruntime_draws_what_torch_draws(changes):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    models(SEN | changes, **{"scales": 1, "modulation": True} if "scales" in changes else {})
    pipeline = Pipeline("models")
    assert export().exit_code == 0
    card = ModelCard.load("out/README.md")
    run = {path.stem: onnxruntime.InferenceSession(path).run for path in Path("out").glob("*.onnx")}
    latent = np.random.default_rng(0).standard_normal(pipeline.generator.latent_dim, np.float32)
    for samples in SOUNDS:  # shorter and longer than what was traced
        log_mel, embedding = pipeline.log_mel(samples), pipeline.embed([samples], ["it"], places=True)
        with torch.inference_mode():
            drawn = pipeline.generator(torch.from_numpy(latent)[None], torch.from_numpy(embedding))[0]
        images = [(image[0].permute(1, 2, 0).numpy() + 1) / 2 for image in drawn]
        (heard,) = run["log_mel"](None, {"samples": samples})
        (vector,) = run["speech_encoder"](None, {"log_mel": log_mel})
        np.testing.assert_allclose(heard, log_mel, atol=1e-3)
        np.testing.assert_allclose(vector, embedding[0], atol=1e-4)
        for found, image in zip(run["generator"](None, {"embedding": vector, "latent": latent}), images, strict=True):
            np.testing.assert_allclose(found, image, atol=1e-3)
        (whole,) = run["speech_to_image"](None, {"samples": samples, "latent": latent})
        np.testing.assert_allclose(whole, images[-1], atol=1e-3)
        assert np.ptp(images[-1]) > 0.05 and [len(image) for image in images] == pipeline.sizes
        assert np.array_equal(s2igan.load("out").draw(samples, RATE), s2igan.load("models").draw(samples, RATE))
    outputs = "`image` of 32" if "scales" in changes else "`small` of 8, `medium` of 16, `image` of 32"
    assert f" | {outputs} pixels |" in card.content
    soundfile.write("out/mine.wav", samples, RATE, subtype="FLOAT")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("out")
        exec(re.search(r"```python\n(.*?)```", card.content, re.DOTALL)[1], {})
        with Picture.open("mine.png") as image:
            assert np.abs(np.asarray(image).astype(int) - 255 * images[-1]).max() <= 1


def test_the_card_has_data_scores_and_licence_of_the_run_beside_the_models():
    models()
    pipeline = Pipeline("models")
    bare = ModelCard(model_card(pipeline, Path("models")))
    assert bare.data.license == "other" and "there was no metrics/ beside the models" in bare.content
    images = tuple(Image(f"{n}/00", "", f"{n}", split) for n, split in enumerate(("train", "val", "test", "test")))
    captions = tuple(Caption(f"{image.key}/00", image.key, "a red bird", language="en") for image in images)
    write_catalog("data/catalog", Catalog(images, captions, "aviary", disjoint="images"))
    Path("metrics").mkdir()
    Path("metrics/sen.json").write_text(json.dumps({"speech_to_image_map": 0.87, "speech_to_image_map_chance": 0.03}))
    Path("metrics/eval.json").write_text(json.dumps({"map": 0.079, "map_untrained": 0.026, "map_real": 0.945}))
    card = ModelCard(model_card(pipeline, Path("models")))
    assert (card.data.license, card.data.language, card.data.library_name) == ("mit", ["en"], "s2igan")
    scores = {(one.dataset_name, one.metric_type): one.metric_value for one in card.data.eval_results}
    assert scores == {("aviary", "speech_to_image_map"): 0.87, ("aviary", "map"): 0.079}
    assert "| speech finds images of its class, mAP | 0.87 | 0.03 |  |  |" in card.content
    assert "1 images and 1 captions in train" in card.content and "read aloud by espeak, 0 voices" in card.content
    assert "Birds drawn by the project's own code" in card.content and "0.08 s or more" in card.content


@pytest.mark.parametrize("spoil", ["there", "text", "no onnx"])
def test_what_cannot_be_exported_leaves_nothing(spoil, monkeypatch):
    models(SEN | ({"encoder": "char_cnn_rnn", "width": 0.03} if spoil == "text" else {}))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spoil != "no onnx")
    if spoil == "there":
        Path("out").mkdir()
        Path("out/mine.txt").touch()
    told = {
        "there": "error: out: exists; name a new folder\n",
        "text": "error: models/rdg_sen: reads text and hears nothing; export a system that hears\n",
        "no onnx": 'error: onnx: not installed; in the clone give: pip install -e ".[export]"\n',
    }
    result = export()
    assert result.exit_code == 1 and result.stderr == told[spoil]
    assert [str(path) for path in Path().rglob("*") if "models" not in str(path)] == (
        ["out", "out/mine.txt"] if spoil == "there" else []
    )
