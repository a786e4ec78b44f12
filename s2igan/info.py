"""What is here: packages, device, and models with what they were trained on."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from s2igan import machine
from s2igan.catalog import SPLITS, count_classes, read_catalog
from s2igan.errors import InputError
from s2igan.models import hash_files
from s2igan.sen.model import heard_by, is_text_encoder
from s2igan.speech.recordings import RECORDINGS

PACKAGES = ("s2igan", "torch", "torchvision", "torchaudio", "timm", "dvc", "espeakng-loader", "coqui-tts")
OPTIONAL = ("onnx", "onnxruntime")  # of the extra `export`


def info(models: Path) -> dict[str, Any]:
    """Versions (None: not installed), the device, each model in the folder `models`, and what they were trained on."""
    import torch

    device = machine.device()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in (*PACKAGES, *OPTIONAL)},
        "device": {
            "name": str(device),
            "gpu": gpu,
            "threads": torch.get_num_threads(),
            "workers": machine.workers(),
            "precision": "bfloat16" if machine.fast_bfloat16(device) else "float32",
        },
        "models": {path.parent.name: _model(path.parent) for path in sorted(models.glob("[!.]*/model.json"))},
        "trained_on": trained_on(models),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _model(folder: Path) -> dict[str, Any]:
    """Kind, size and hash of one model, without its weights in memory; or why it is none."""
    weights = sorted(folder.glob("*.safetensors"))
    try:
        found = {"kind": read_description(folder)["kind"]}
    except InputError as error:
        found = {"error": str(error)}
    return found | {"bytes": sum(path.stat().st_size for path in weights), "hash": hash_files(*weights)}


def read_description(folder: Path) -> dict[str, Any]:
    """A model's `model.json`; InputError where it is missing or damaged."""
    try:
        content = json.loads((folder / "model.json").read_text())
        content["kind"], content["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/model.json: missing or damaged; run `dvc repro` to make it anew") from error
    return content


def trained_on(models: Path) -> dict[str, Any]:
    """What the generator and its SEN in `models` heard and saw.

    By themselves they know their speech and how long they learned; which data set that was, and how much of it, is
    what `data/catalog` beside `models` says, None where there is none.
    """
    found: dict[str, Any] = {"dataset": None}
    if (models / "rdg_sen/model.json").exists():
        config = read_description(models / "rdg_sen")["config"]
        found["reads_text"], found["speech"] = is_text_encoder(config), config["speech"]
        found["heard_by"] = heard_by(config)
        found["image_encoder"] = config["image_encoder"]["encoder"]
        found["captions_heard"] = config.get("parameters", {}).get("captions")
    if (models / "rdg/model.json").exists():
        drawing = read_description(models / "rdg")["config"]
        found["image_size"] = 4 * drawing["network"]["base_size"]
        found["images_shown"] = drawing.get("parameters", {}).get("images")
    folder = models.parent / "data/catalog"
    if folder.exists():
        catalog = read_catalog(folder)
        found |= {
            "dataset": catalog.dataset,
            "disjoint": catalog.disjoint,
            "images": {split: len(catalog.images_in(split)) for split in SPLITS},
            "captions": {split: len(catalog.split(split)) for split in SPLITS},
            "classes": count_classes(catalog.images),
            "languages": sorted({caption.language for caption in catalog.captions} - {""}),
        }
    return found


def as_lines(report: dict[str, Any]) -> Iterator[str]:
    """The report for people."""
    device, models, data = report["device"], report["models"], report["trained_on"]
    yield _line("python", report["python"])
    for name, found in report["packages"].items():
        yield _line(name, found or "not installed")
    name = f"{device['name']} {device['gpu']}".strip()
    load = f"{device['threads']} threads, {device['workers']} processes"
    yield _line("device", f"{name}, {load}, precision auto is {device['precision']}")
    for name, model in models.items():
        whole = "error" not in model
        about = f"{model['kind']}, {model['bytes'] / 1e6:.1f} MB, weights {model['hash']}" if whole else model["error"]
        yield _line(f"models/{name}", about)
    if not models:
        yield _line("models", "none here; `dvc repro` trains them, `dvc pull` fetches them")
    yield from trained_on_lines(data) if models or data["dataset"] else ()


def trained_on_lines(data: dict[str, Any]) -> Iterator[str]:
    """What `trained_on` says, for people."""
    if data["dataset"]:
        counts = ", ".join(f"{data['images'][s]} images and {data['captions'][s]} captions in {s}" for s in SPLITS)
        yield _line("data set", f"{data['dataset']}, {data['classes']} classes: {counts}; {data['disjoint']} held out")
        yield _line("languages", ", ".join(data["languages"]) or "not named")
    else:
        yield _line("data set", "not known: no data/catalog beside the models")
    if "speech" in data:
        spoken, speech = "none, texts are read", data["speech"]
        if not data["reads_text"]:
            voices = f"read aloud by {speech['engine']}, {len(speech.get('train_voices', []))} voices in training"
            spoken = "recordings of people" if speech["engine"] == RECORDINGS else voices
        yield _line("speech", "; ".join([spoken, *data["heard_by"]]))
        yield _line("images", f"features of {data['image_encoder']}")
    for key, name, what in (
        ("image_size", "draws", "pixels"),
        ("captions_heard", "SEN's training", "captions"),
        ("images_shown", "RDG's training", "images"),
    ):
        if data.get(key):
            yield _line(name, f"{data[key]} {what}")


def _line(name: str, value: str) -> str:
    return f"{name:17} {value}"
