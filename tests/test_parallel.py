import os
import signal
import time
from itertools import count, islice

import pytest
import torch

from s2igan.errors import InputError
from s2igan.parallel import ordered_map

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
