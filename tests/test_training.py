"""The loop that all trainers share: whatever stops it, the same command ends with the same bytes."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import StoppedError
from torch.nn import functional as F

from s2igan import training
from s2igan.errors import InputError
from s2igan.training import Checkpoints, Schedule, code_of, make_fabric, prefetched, step_generator, train

ROOT = Path(__file__).parents[1]
STEPS = 30


def line(folder, steps=STEPS, stop_at=None, nan_at=None, kill=None, rate=0.1, report=lambda history: None):
    """Fits y = 2x in `steps` steps of three items; gives the network's bytes and the history."""
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    checkpoints = Checkpoints("line", {"rate": rate}, [])
    checkpoints.folder = folder

    def step(number):
        if number == stop_at:
            raise StoppedError
        if kill and number == kill[0]:
            os.kill(os.getpid(), kill[1])
        x = torch.randn(3, 1)  # as dropout draws: the loop has seeded it
        loss = F.mse_loss(model(x), 2 * x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        value = torch.tensor(float("nan")) if number == nan_at else loss
        return [f"item {3 * number + i}" for i in range(3)], {"loss": value}

    def draw_sheet():
        return np.full((1, 3, 2, 2), int(100 * model.weight), np.uint8)

    schedule = Schedule("line", 0, steps, row_every=7, sheet_every=10)
    state = {"model": model, "optimizer": optimizer}
    history = train(schedule, step, state, checkpoints, draw_sheet=draw_sheet, report=report)
    return model.weight.detach().numpy().tobytes(), history


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A checkpoint after each step, not each minute."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(tmp_path / "checkpoints"))
    (tmp_path / "in").write_text("input")
    return [tmp_path / "in"]


def same(one, other):
    assert one[0] == other[0] and one[1].rows == other[1].rows and one[1].sheet_items == other[1].sheet_items
    assert all(np.array_equal(a, b) for a, b in zip(one[1].sheets, other[1].sheets, strict=True))


def test_rows_are_means_since_the_row_before_and_sheets_come_at_intervals(tmp_path):
    weight, history = line(tmp_path)
    assert [row["step"] for row in history.rows] == [7, 14, 21, 28, 30]
    assert [row["items"] for row in history.rows] == [21, 42, 63, 84, 90]
    assert len(history.sheets) == 3 and history.sheet_items == [30, 60, 90]
    every = []
    train(
        Schedule("line", 0, 7, row_every=1),
        lambda number: (["a"] * (number + 1), {"loss": torch.tensor(float(number))}),
        {},
        complete_row=lambda row: every.append(row) or row,
    )
    assert [row["loss"] for row in every] == list(range(7))
    rows = train(
        Schedule("line", 0, 3, row_every=3),
        lambda number: (["a"] * (number + 1), {"loss": torch.tensor(float(number))}),
        {},
    ).rows
    assert rows == [{"step": 3, "items": 6, "loss": (0 * 1 + 1 * 2 + 2 * 3) / 6}]


def test_stopped_at_random_moments_it_ends_with_the_same_bytes(tmp_path):
    whole = line(tmp_path / "whole")
    rng = np.random.default_rng(0)
    for run in range(3):
        folder = tmp_path / str(run)
        for moment in sorted(rng.choice(np.arange(1, STEPS), size=3, replace=False)):
            with pytest.raises(StoppedError):
                line(folder, stop_at=moment)
        same(line(folder), whole)


def test_a_resumed_run_says_where_it_goes_on_and_shows_its_curves_at_once(tmp_path, capsys):
    """DVC has removed them, as all that a stage writes, when it began the stage anew."""
    shown = []

    def report(history):
        shown.append(([row["step"] for row in history.rows], list(history.sheet_items)))

    with pytest.raises(StoppedError):
        line(tmp_path, stop_at=12, report=report)
    assert shown == [([7], []), ([7], [30])]
    line(tmp_path, report=report)
    assert "line: going on after step 12 of 30\n" in capsys.readouterr().err
    assert shown[2:4] == [([7], [30]), ([7, 14], [30])]


def test_a_checkpoint_comes_at_most_once_a_minute(tmp_path, monkeypatch):
    monkeypatch.undo()
    line(tmp_path)
    assert training.CHECKPOINT_SECONDS == 60 and not list(tmp_path.iterdir())


def test_the_last_two_are_kept_and_a_damaged_one_is_told_and_passed_over(tmp_path, capsys):
    whole = line(tmp_path / "whole")
    with pytest.raises(StoppedError):
        line(tmp_path / "cut", stop_at=12)
    before, last = sorted((tmp_path / "cut").iterdir())
    assert before.name.startswith("000000011-") and last.name.startswith("000000012-")
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    last.write_bytes(content)
    same(line(tmp_path / "cut"), whole)
    told = [text for text in capsys.readouterr().err.splitlines() if "damaged" in text]
    assert told == [f"{last}: damaged; going on from the checkpoint before it, or anew"]


def test_with_no_whole_checkpoint_it_starts_anew(tmp_path):
    whole = line(tmp_path / "whole")
    with pytest.raises(StoppedError):
        line(tmp_path / "cut", stop_at=12)
    for file in (tmp_path / "cut").iterdir():
        file.write_bytes(b"hi")
    same(line(tmp_path / "cut"), whole)


def test_a_loss_that_is_not_finite_names_step_and_items_and_leaves_the_last_good_checkpoint(tmp_path):
    told = (
        "line: loss is nan at step 12; give the same command again, and if that ends here, too, lower line.lr, or look "
        "at what the step was given: item 33, item 34, item 35"
    )
    with pytest.raises(InputError, match=told):
        line(tmp_path, nan_at=11)
    assert sorted(file.name[:9] for file in tmp_path.iterdir()) == ["000000010", "000000011"]
    same(line(tmp_path), line(tmp_path / "whole"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_with_a_checkpoint_after_the_step(tmp_path, number, code, monkeypatch, capsys):
    monkeypatch.undo()  # no other checkpoint
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped:
        line(tmp_path, kill=(11, number))
    assert stopped.value.code == code and signal.getsignal(number) is handler
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "line: stopped after step 12 of 30; give the same command again to go on"
    assert [file.name[:9] for file in tmp_path.iterdir()] == ["000000012"]
    same(line(tmp_path), line(tmp_path / "whole"))


PROGRAM = """
import sys, time, torch
from s2igan import training
training.CHECKPOINT_SECONDS = 0.0
torch.manual_seed(0)
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.Adam(model.parameters(), 0.1)

def step(number):
    time.sleep(0.02 if __name__ == '__main__' else 0)
    loss = (model(torch.randn(3, 1, generator=training.step_generator(0, number))) ** 2).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    return ["x"], {"loss": loss}

schedule = training.Schedule("line", 0, 60, row_every=7)
history = training.train(schedule, step, {"model": model, "optimizer": optimizer}, training.Checkpoints("line", {}, []))
print(model.weight.item(), history.rows)
"""


def test_a_killed_process_ends_with_the_same_bytes(tmp_path, monkeypatch, capsys):
    def here(name):
        monkeypatch.setenv("S2IGAN_CHECKPOINTS", str(tmp_path / name))
        exec(PROGRAM, {"__name__": "here"})
        return capsys.readouterr()

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "S2IGAN_CHECKPOINTS": str(tmp_path / "cut")}
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 143)):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.PIPE, text=True)
        seen = set((tmp_path / "cut").rglob("*.pt"))
        while len(set((tmp_path / "cut").rglob("*.pt")) - seen) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        told = process.communicate()[1]
        assert process.returncode == code, told
    resumed, whole = here("cut"), here("whole")
    assert "going on after step" in resumed.err and resumed.out == whole.out != ""


# The folder of a run.


def test_another_configuration_stage_or_input_has_another_folder(inputs):
    def folder(stage="train_sen", **configuration):
        return Checkpoints(stage, {"lr": 0.1, **configuration}, inputs).folder

    first = folder()
    assert folder() == first
    assert len({first, folder(lr=0.2), folder(seed=1), folder("train_rdg")}) == 4
    inputs[0].write_text("other input")
    assert folder() != first
    inputs[0].write_text("input")
    assert folder() == first


def test_another_loss_starts_anew(inputs, tmp_path, monkeypatch):
    """A change of the code that makes the step never goes on with old weights."""
    monkeypatch.setattr(training, "ROOT", tmp_path)
    (tmp_path / "s2igan/sen").mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {train_sen: {deps: [data/logmel.h5, s2igan/sen, s2igan/options.py]}}")
    (tmp_path / "s2igan/options.py").write_text("")
    losses, other = tmp_path / "s2igan/sen/losses.py", tmp_path / "s2igan/cli.py"
    losses.write_text("beta = 10.0")
    other.write_text("")

    def checkpoints():
        return Checkpoints("train_sen", {}, inputs, code_of("train_sen"))

    checkpoints().save(3, {"step": 3})
    assert checkpoints().load() == {"step": 3}
    other.write_text("print()")
    assert checkpoints().load() == {"step": 3}
    losses.write_text("beta = 9.0")
    assert checkpoints().load() is None
    losses.write_text("beta = 10.0")
    assert checkpoints().load() == {"step": 3}


@pytest.mark.parametrize("stage", ["train_sen", "train_rdg", "train_classifier", "train_judge"])
def test_a_stage_s_code_is_what_its_losses_are_in(stage):
    """Its dependencies, whose import closure test_pipeline.py proves complete."""
    losses = {"train_sen": "sen/losses", "train_rdg": "rdg/losses"}.get(stage, "metrics/classifier")
    wanted = {f"stages/{stage}.py", "s2igan/training.py", f"s2igan/{losses}.py"}
    assert wanted <= {str(file.relative_to(ROOT)) for file in code_of(stage)}
    assert f'code_of("{stage}")' in (ROOT / f"stages/{stage}.py").read_text()


def test_without_the_variable_it_lies_in_the_working_folder(inputs, tmp_path, monkeypatch):
    monkeypatch.delenv("S2IGAN_CHECKPOINTS")
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints("s", {}, inputs)
    checkpoints.save(1, {"step": 1})
    assert list((tmp_path / ".checkpoints").iterdir()) == [tmp_path / checkpoints.folder]
    checkpoints.clear()
    assert not checkpoints.folder.exists() and checkpoints.load() is None
    checkpoints.clear()


def test_a_save_that_fails_keeps_the_last_checkpoint(inputs):
    checkpoints = Checkpoints("s", {}, inputs)
    checkpoints.save(1, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        checkpoints.save(2, {"step": (value for value in ())})
    assert checkpoints.load() == {"step": 1} and len(list(checkpoints.folder.iterdir())) == 1


@pytest.mark.parametrize("meanwhile", ["save", "clear"])
def test_a_run_of_the_same_configuration_at_the_same_time_does_no_harm(inputs, monkeypatch, meanwhile):
    one, other = Checkpoints("s", {}, inputs), Checkpoints("s", {}, inputs)
    write = torch.save

    def write_beside_the_other(state, file):
        monkeypatch.setattr(torch, "save", write)
        write(state, file)
        other.save(1, state) if meanwhile == "save" else other.clear()

    monkeypatch.setattr(torch, "save", write_beside_the_other)
    one.save(1, {"step": 1})
    assert one.load() == ({"step": 1} if meanwhile == "save" else None)
    one.save(2, {"step": 2})
    assert other.load() == {"step": 2}


# Random numbers and precision.


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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fabric_computes_as_torch_does_and_says_nothing(precision, monkeypatch):
    told = []
    monkeypatch.setattr(logging.Logger, "handle", lambda logger, record: told.append(record.getMessage()))
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 64), torch.randn(8, 64)
    fabric = make_fabric(torch.device("cpu"), precision)
    with fabric.autocast():
        y = layer(fabric.to_device(x))
    fabric.backward(y.float().square().sum())
    found = layer.weight.grad.clone()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        expected = layer(x)
    expected.float().square().sum().backward()
    assert y.dtype == expected.dtype and torch.equal(y, expected) and torch.equal(found, layer.weight.grad)
    assert told == []


def test_on_a_gpu_the_next_batch_is_made_beside_the_step(monkeypatch):
    """In order, once each, by another thread, ahead by one; a run that goes on begins anywhere."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)  # which needs a GPU
    made: list[tuple[int, bool]] = []

    def batch(number: int) -> dict[str, torch.Tensor | None]:
        made.append((number, threading.current_thread() is threading.main_thread()))
        return {"images": torch.tensor([number]), "words": None}

    with prefetched(batch, torch.device("cuda")) as batch_of:
        found = [batch_of(number) for number in (5, 6, 7)]
    assert [(int(b["images"]), b["words"]) for b in found] == [(5, None), (6, None), (7, None)]
    assert made == [(number, False) for number in (5, 6, 7, 8)]
    with prefetched(batch, torch.device("cpu")) as batch_of:
        assert batch_of is batch
