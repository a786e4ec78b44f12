import errno
import hashlib
import json
from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from s2igan.errors import InputError
from s2igan.models import VERSION, hash_files, load_model, load_state, save_model
from s2igan.rdg.model import RDGConfig
from s2igan.sen.model import SENConfig
from s2igan.sen.speech_encoder import SpeechEncoderConfig

ROOT = Path(__file__).parents[1]


def network(outputs: int = 2) -> nn.Module:
    """Weights 0, 1, 2, … and a buffer of each type."""
    model = nn.Sequential(nn.Linear(3, outputs), nn.BatchNorm1d(outputs))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(3.0 * outputs).view(outputs, 3))
        model[1].num_batches_tracked.fill_(7)
    return model


def saved(folder: Path) -> Path:
    save_model(folder / "m", "sen", {"speech": network(), "image": network(4)}, {"sizes": [1, 2.5], "on": True})
    return folder / "m"


def test_a_model_comes_back_with_its_configuration(tmp_path):
    config, states = load_model(saved(tmp_path), "sen")
    assert config == {"sizes": [1, 2.5], "on": True}
    assert sorted(states) == ["image", "speech"]
    assert states["speech"]["0.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert states["speech"]["1.num_batches_tracked"] == 7
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    load_state(other, states["speech"], "speech")
    assert torch.equal(other[0].bias, states["speech"]["0.bias"])


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = network()
    for name in "ab":
        save_model(tmp_path / name, "rdg", {"g": model}, {"b": 1, "a": 2})
    for file in ("g.safetensors", "model.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["g.safetensors", "model.json"]


def test_saving_replaces_the_whole_folder(tmp_path):
    folder = saved(tmp_path)
    save_model(folder, "sen", {"speech": network()}, {})
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "speech.safetensors"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_save_that_fails_keeps_the_old_folder(tmp_path):
    folder = saved(tmp_path)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(TypeError):
        save_model(folder, "sen", {"speech": network()}, {"not JSON": object()})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("version", [None, VERSION - 1, VERSION + 1])
def test_a_model_of_another_commit_is_refused_in_one_line(tmp_path, version):
    path = saved(tmp_path) / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"version": version, "config": {}}))
    with pytest.raises(InputError, match=r"model\.json: written by another version of this code; run `dvc repro`"):
        load_model(path.parent, "sen")


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("model.json", b"2.5", b"2.6", "damaged, or changed since it was saved"),
        ("image.safetensors", b"\x00\x00\x80?", b"\x00\x00\x80@", "damaged"),  # a weight of 1, now 4
        ("image.safetensors", b'"dtype"', b'"dtypo"', "damaged"),
    ],
)
def test_a_changed_model_is_refused(tmp_path, file, before, after, told):
    path = saved(tmp_path) / file
    assert before in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(before, after, 1))
    with pytest.raises(InputError, match=rf"{file}: {told}; run `dvc repro`"):
        load_model(path.parent, "sen")


def test_the_version_is_of_these_fields():
    """Who changes what a saved configuration has raises `VERSION`, or models of the commit before end in a trace."""
    names = " ".join(field.name for config in (SENConfig, SpeechEncoderConfig, RDGConfig) for field in fields(config))
    assert (VERSION, hashlib.sha256(names.encode()).hexdigest()[:8]) == (11, "50959841")


def test_weights_that_must_not_be_read_are_told_as_such(tmp_path, monkeypatch):
    """They were told as damaged, and to be deleted."""
    folder = saved(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=PermissionError(errno.EACCES, "", "image.safetensors")))
    with pytest.raises(PermissionError, match="image.safetensors"):
        load_model(folder, "sen")


def test_missing_weights_are_refused(tmp_path):
    folder = saved(tmp_path)
    (folder / "speech.safetensors").unlink()
    with pytest.raises(InputError, match=r"speech\.safetensors: missing"):
        load_model(folder, "sen")


@pytest.mark.parametrize("text", [b"not JSON", b"[]", b'{"kind": "sen"}', b"\xff\xfe\x00"])
def test_a_damaged_description_is_refused(tmp_path, text):
    folder = saved(tmp_path)
    (folder / "model.json").write_bytes(text)
    with pytest.raises(InputError, match=r"model\.json: not a model description; run `dvc repro`"):
        load_model(folder, "sen")


def test_weights_of_another_configuration_are_refused(tmp_path):
    _, states = load_model(saved(tmp_path), "sen")
    with pytest.raises(InputError, match=r"w: 6 tensors do not fit the network, the first is 0\.weight"):
        load_state(network(5), states["image"], "w")
    with pytest.raises(InputError, match=r"w: 1 tensors do not fit the network, the first is extra"):
        load_state(network(), {**network().state_dict(), "extra": torch.zeros(1)}, "w")


def test_a_hash_is_of_contents_in_their_order(tmp_path):
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (tmp_path / name for name in "abc")
    assert hash_files(a) == "6b86b273ff34fce1"  # sha256 of "1"
    assert hash_files(a) == hash_files(c) != hash_files(b)
    assert hash_files(a, b) != hash_files(b, a)
