import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from s2igan.checkpoint import (
    TrainingCheckpoint,
    hash_files,
    load_model,
    load_state,
    save_model,
    step_generator,
)
from s2igan.errors import InputError

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


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_damaged_weights_are_refused(tmp_path, kept):
    folder = saved(tmp_path)
    file = folder / "image.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"image\.safetensors: missing or damaged; delete .* and run `dvc repro`"):
        load_model(folder, "sen")


def test_missing_weights_are_refused(tmp_path):
    folder = saved(tmp_path)
    (folder / "speech.safetensors").unlink()
    with pytest.raises(InputError, match=r"speech\.safetensors: missing"):
        load_model(folder, "sen")


@pytest.mark.parametrize("text", [b"", b"not JSON", b"[]", b"3", b"{}", b'{"kind": "sen"}', b"\xff\xfe\x00"])
def test_a_damaged_description_is_refused(tmp_path, text):
    folder = saved(tmp_path)
    (folder / "model.json").write_bytes(text)
    with pytest.raises(InputError, match=r"model\.json: not a model description; run `dvc repro`"):
        load_model(folder, "sen")


def test_a_missing_or_foreign_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nothing/model\.json: missing; run `dvc repro`"):
        load_model(tmp_path / "nothing", "sen")
    with pytest.raises(InputError, match="holds a sen model, expected rdg; check the path"):
        load_model(saved(tmp_path), "rdg")


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


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(tmp_path / "checkpoints"))
    (tmp_path / "in").write_text("input")
    return [tmp_path / "in"]


def test_a_training_checkpoint_comes_back_to_the_same_run(inputs):
    state = {"step": 7, "model": network().state_dict(), "curves": [{"loss": 0.5}], "best": None}
    first = TrainingCheckpoint("train_sen", {"lr": 0.1, "seed": 0}, inputs)
    assert first.load() is None
    first.save({"step": 3})
    first.save(state)
    again = TrainingCheckpoint("train_sen", {"seed": 0, "lr": 0.1}, inputs)
    loaded = again.load()
    assert loaded["step"] == 7 and loaded["curves"] == [{"loss": 0.5}] and loaded["best"] is None
    assert all(torch.equal(loaded["model"][key], value) for key, value in state["model"].items())
    assert [file.name for file in first.folder.iterdir()] == ["checkpoint.pt"]


def test_another_configuration_stage_or_input_has_another_folder(inputs):
    def folder(stage="train_sen", **configuration):
        return TrainingCheckpoint(stage, {"lr": 0.1, **configuration}, inputs).folder

    first = folder()
    assert folder() == first
    assert len({first, folder(lr=0.2), folder(seed=1), folder("train_rdg")}) == 4
    inputs[0].write_text("other input")
    assert folder() != first
    inputs[0].write_text("input")
    assert folder() == first


def test_no_run_picks_up_what_another_left(inputs):
    TrainingCheckpoint("s", {"lr": 0.1}, inputs).save({"step": 1})
    assert TrainingCheckpoint("s", {"lr": 0.2}, inputs).load() is None
    inputs[0].write_text("changed")
    assert TrainingCheckpoint("s", {"lr": 0.1}, inputs).load() is None


def test_without_the_variable_it_lies_in_the_working_folder(inputs, tmp_path, monkeypatch):
    monkeypatch.delenv("S2IGAN_CHECKPOINTS")
    monkeypatch.chdir(tmp_path)
    checkpoint = TrainingCheckpoint("s", {}, inputs)
    checkpoint.save({"step": 1})
    assert list((tmp_path / ".checkpoints").iterdir()) == [tmp_path / checkpoint.folder]


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"", lambda _: b"hi"])
def test_a_damaged_checkpoint_counts_as_none(inputs, damage):
    checkpoint = TrainingCheckpoint("s", {}, inputs)
    checkpoint.save({"weights": torch.zeros(1000)})
    checkpoint.path.write_bytes(damage(checkpoint.path.read_bytes()))
    assert checkpoint.load() is None


def test_a_save_that_fails_keeps_the_last_checkpoint(inputs):
    checkpoint = TrainingCheckpoint("s", {}, inputs)
    checkpoint.save({"step": 1})
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save({"step": (value for value in ())})
    assert checkpoint.load() == {"step": 1}
    assert [file.name for file in checkpoint.folder.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("meanwhile", ["save", "clear"])
def test_a_run_of_the_same_configuration_at_the_same_time_does_no_harm(inputs, monkeypatch, meanwhile):
    one, other = TrainingCheckpoint("s", {}, inputs), TrainingCheckpoint("s", {}, inputs)
    write = torch.save

    def write_beside_the_other(state, file):
        monkeypatch.setattr(torch, "save", write)
        write(state, file)
        getattr(other, meanwhile)(*([state] if meanwhile == "save" else []))

    monkeypatch.setattr(torch, "save", write_beside_the_other)
    one.save({"step": 1})
    assert one.load() == ({"step": 1} if meanwhile == "save" else None)
    one.save({"step": 2})
    assert other.load() == {"step": 2} and [file.name for file in one.folder.iterdir()] == ["checkpoint.pt"]


def test_clear_removes_the_folder_once_and_again(inputs):
    checkpoint = TrainingCheckpoint("s", {}, inputs)
    checkpoint.save({"step": 1})
    checkpoint.clear()
    assert not checkpoint.folder.exists() and checkpoint.load() is None
    checkpoint.clear()


def test_a_step_s_draws_depend_on_its_arguments_alone():
    def draw(*arguments):
        return torch.rand(4, generator=step_generator(*arguments)).tolist()

    first = draw(0, 5, "noise")
    torch.manual_seed(99)
    torch.rand(10)
    assert draw(0, 5, "noise") == first
    others = [draw(1, 5, "noise"), draw(0, 6, "noise"), draw(0, 5), draw(5, 0, "noise"), draw(0, 55, "noise")]
    assert len({tuple(numbers) for numbers in [first, *others]}) == 6
    state = torch.get_rng_state()
    draw(0, 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_step_s_draws_are_the_same_in_another_process():
    program = (
        "import torch; from s2igan.checkpoint import step_generator;"
        "print(torch.rand(3, generator=step_generator(3, 4)).tolist())"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(shown) == torch.rand(3, generator=step_generator(3, 4)).tolist()


FULL_DISK = """
import resource, signal, sys
import click, torch
from s2igan.checkpoint import TrainingCheckpoint, save_model
from s2igan.command import stage

@click.command()
@click.option("--what")
@stage
def main(what):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    if what == "model":
        save_model("models/m", "rdg", {"g": torch.nn.Linear(100, 100)}, {})
    else:
        TrainingCheckpoint("s", {}, []).save({"weights": torch.zeros(10_000)})

main()
"""


@pytest.mark.parametrize("what", ["model", "checkpoint"])
def test_a_full_disk_ends_in_one_line_without_a_trace(tmp_path, what):
    (tmp_path / "full.py").write_text(FULL_DISK)
    result = subprocess.run(
        [sys.executable, "full.py", "--what", what],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    _, *errors = result.stderr.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ") and "File too large; free some space" in errors[0]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / "full.py"]
