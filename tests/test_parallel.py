import json
import os
import signal
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from s2igan import machine
from s2igan.errors import InputError
from s2igan.parallel import ordered_map
from s2igan.speech.audio import encode_flac
from s2igan.speech.extraction import log_mels

ROOT = Path(__file__).parents[1]

# Functions at the top, since they must pickle.


def square(number: int) -> int:
    return number * number


def slow_first(number: int) -> int:
    time.sleep(0.05 if number == 0 else 0)
    return number


def process(_) -> int:
    return os.getpid()


def refuse_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def die_at_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def threads(_) -> int:
    return torch.get_num_threads()


@pytest.fixture(autouse=True)
def processes_from_the_first_item(monkeypatch) -> None:
    monkeypatch.setattr("s2igan.parallel.FEW", 0)


@pytest.fixture(params=[1, 2])
def workers(request) -> int:
    return request.param


def test_results_come_in_the_order_of_the_items(workers):
    assert list(ordered_map(square, range(100), workers, chunk=7)) == [n * n for n in range(100)]
    assert list(ordered_map(slow_first, range(10), workers, chunk=1)) == list(range(10))


@pytest.mark.parametrize("items", [[], [3]])
def test_no_item_and_one(workers, items):
    assert list(ordered_map(square, iter(items), workers)) == [item**2 for item in items]


def test_endless_items_are_read_as_they_are_needed(workers):
    taken = []

    def items():
        for number in count():
            taken.append(number)
            yield number

    results = ordered_map(square, items(), workers, chunk=4)
    assert list(islice(results, 10)) == [n * n for n in range(10)]
    results.close()
    assert len(taken) <= 10 + 4 * 2 * workers  # what was asked for, and two chunks a process


def test_an_error_comes_through_at_its_place(workers):
    results = ordered_map(refuse_seven, range(100), workers, chunk=5)
    assert list(islice(results, 7)) == list(range(7))
    with pytest.raises(ValueError, match="^seven$"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_error_of_the_items_themselves_comes_through(workers):
    def items():
        yield 1
        raise KeyError("broken source")

    with pytest.raises(KeyError, match="broken source"):
        list(ordered_map(square, items(), workers))


def test_a_process_that_is_killed_is_told_and_the_next_map_works():
    with pytest.raises(InputError, match="one of 2 processes was killed, .*; set S2IGAN_WORKERS to fewer"):
        list(ordered_map(die_at_seven, range(100), 2, chunk=5))
    assert list(ordered_map(square, range(3), 2, chunk=1)) == [0, 1, 4]


def test_a_process_has_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert set(ordered_map(threads, range(4), 2, 1)) == {1}


def test_two_maps_at_once_do_not_disturb_each_other_and_one_may_feed_the_other():
    first, second = (ordered_map(square, range(50), 2, chunk=3) for _ in range(2))
    assert list(zip(first, second, strict=True)) == [(n * n, n * n) for n in range(50)]
    inner = ordered_map(square, range(50), 2, chunk=3)
    assert list(ordered_map(square, inner, 2, chunk=5)) == [n**4 for n in range(50)]


def test_one_worker_is_this_process_and_two_are_others():
    assert set(ordered_map(process, range(3), 1)) == {os.getpid()}
    others = set(ordered_map(process, range(3), 2, 1))
    assert os.getpid() not in others and 1 <= len(others) <= 2


def test_few_items_are_done_here_and_more_by_others_in_the_same_order(monkeypatch):
    monkeypatch.setattr("s2igan.parallel.FEW", 5)
    assert set(ordered_map(process, range(5), 2)) == {os.getpid()}
    assert os.getpid() not in set(ordered_map(process, range(6), 2))
    assert list(ordered_map(square, range(6), 2, chunk=1)) == [0, 1, 4, 9, 16, 25]


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """The address of a scheduler with two workers, and their processes."""
    folder = tmp_path_factory.mktemp("dask")
    known = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    file = ["--scheduler-file", str(folder / "scheduler.json")]

    def start(*words: str) -> subprocess.Popen:
        command = [Path(sys.executable).with_name("dask"), *words, *file, "--no-dashboard"]
        return subprocess.Popen(command, cwd=folder, env=known, stderr=open(folder / "log", "ab"))

    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0")
    workers = [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
    for _ in range(300):
        if (folder / "log").read_text().count("Registered to:") == 2:
            break
        time.sleep(0.1)
    yield json.loads((folder / "scheduler.json").read_text())["address"], workers
    for running in (*workers, scheduler):
        running.kill()
        running.wait()


def test_a_cluster_that_loses_a_worker_gives_the_bytes_of_one_process(dask, monkeypatch):
    rng = np.random.default_rng(0)
    sounds = [(f"k{i}", encode_flac(rng.uniform(-0.5, 0.5, 8000 + 10 * i), 16_000)) for i in range(60)]
    utterances = [(key, np.frombuffer(sound, np.uint8)) for key, sound in sounds]
    settings = {"sample_rate": 16_000}
    alone = list(log_mels(utterances, settings, 1))

    address, (one, _) = dask
    monkeypatch.setenv("S2IGAN_SCHEDULER", address)
    monkeypatch.setattr("s2igan.speech.extraction.CHUNK", 4)
    assert machine.workers() == 2
    spread = log_mels(utterances, settings, machine.workers())
    found = list(islice(spread, 5))
    one.kill()
    found += spread
    assert [key for key, *_ in found] == [key for key, *_ in alone]
    assert all(
        one.tobytes() == other.tobytes()
        for (_, *arrays), (_, *others) in zip(found, alone, strict=True)
        for one, other in zip(arrays, others, strict=True)
    )
    elsewhere = set(ordered_map(process, range(6), 2, 1))
    assert len(elsewhere) == 1 and os.getpid() not in elsewhere  # the worker that is left
    machine.cluster().close()
    machine._cluster.cache_clear()


def test_a_cluster_without_workers_or_scheduler_is_told(dask, monkeypatch):
    address, workers = dask
    for worker in workers:
        worker.kill()
        worker.wait()
    monkeypatch.setenv("S2IGAN_SCHEDULER", address)
    with pytest.raises(InputError, match=f"S2IGAN_SCHEDULER={address}: it has no workers; start some: dask worker"):
        machine.workers()
    monkeypatch.setattr(machine, "CONNECT_SECONDS", 0.5)
    for nowhere in ("tcp://127.0.0.1:9", "here", "tcp://127.0.0.1:port", "bad://here:9"):
        monkeypatch.setenv("S2IGAN_SCHEDULER", nowhere)
        with pytest.raises(InputError, match=rf"S2IGAN_SCHEDULER={nowhere}: no scheduler there \(.*\); start one"):
            machine.workers()


@pytest.mark.parametrize("error", [KilledWorker("square", "tcp://here:9", 3), FutureCancelledError("square", "lost")])
def test_a_cluster_that_gives_up_is_told(monkeypatch, error):
    future = Mock(result=Mock(side_effect=error))
    monkeypatch.setattr("s2igan.parallel.cluster", lambda: Mock(submit=Mock(return_value=future)))
    with pytest.raises(InputError, match="S2IGAN_SCHEDULER: the cluster lost its scheduler, .*; start them again"):
        list(ordered_map(square, range(10), 2, chunk=2))
    assert future.cancel.called  # of what was asked for ahead
