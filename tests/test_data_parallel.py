"""Two processes on the CPU make the steps that one makes of the same batches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from training_runs import RUNS, STEPS, write_data

from s2igan import data_parallel
from s2igan.errors import InputError

PROGRAM = Path(__file__).with_name("training_runs.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def by_two(folder):
    """Of each run the losses of every step, by two processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run([*torchrun, PROGRAM, folder], capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stderr.count("sen: 100%") == 2  # one bar a run, not two
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", RUNS)
def test_the_losses_of_twenty_steps_are_those_of_one_process(folder, by_two, name):
    rows = RUNS[name](folder)[1]
    assert len(rows) == STEPS == 20
    for row, other in zip(rows, by_two[name], strict=True):
        assert other == pytest.approx(row, rel=1e-4, abs=1e-6), row


@pytest.mark.parametrize("name", ["sen", "rdg"])
def test_a_batch_that_cannot_be_shared_says_so(folder, name, monkeypatch):
    for module in ("sen", "rdg"):
        monkeypatch.setattr(f"s2igan.{module}.training.processes", lambda: 8)
    with pytest.raises(InputError, match=rf"{name}.batch_size=\d: .*8 processes.*; take"):
        RUNS[name](folder)


def test_a_number_of_processes_starts_torchrun_with_the_stage_s_options(monkeypatch):
    started = []
    monkeypatch.setattr(data_parallel.os, "execv", lambda program, words: started.append(words))
    monkeypatch.setattr(sys, "argv", ["train_rdg.py", "--seed", "3"])
    for count in ("1", "4"):
        monkeypatch.setenv("S2IGAN_PROCESSES", count)
        data_parallel.spread("train_rdg")
    (words,) = started
    assert " ".join(words).endswith("--standalone --nproc-per-node=4 -m stages.train_rdg --seed 3")
    monkeypatch.setenv("S2IGAN_PROCESSES", "all")
    with pytest.raises(InputError, match="S2IGAN_PROCESSES=all: not a number of processes; set 1 or more"):
        data_parallel.spread("train_rdg")
