"""Work spread over processes, of this machine or of a cluster, in order, without holding a data set in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from s2igan.errors import InputError
from s2igan.machine import cluster

FEW = 128  # so many items are done before a process, which imports what they need, has started
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
IDLE_SECONDS = 300  # until a process ends for which there is no work

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, chunk: int = 32
) -> Iterator[Result]:
    """Yields `function(item)` of each item, in order; 1 worker runs in this process, and so do FEW items.

    Items are read as they are needed, two chunks a worker ahead; an exception of `function` comes through at its
    item's place. `function`, the items and the results must pickle. Processes have one thread each and stay for the
    next call: what is dear to build, `function` keeps in a cache of its module. With a scheduler (`cluster`) they are
    Dask's, which does the work of one that dies again. InputError where they, or Dask, give up.
    """
    items = iter(items)
    first = [] if workers == 1 else list(islice(items, FEW + 1))
    items = chain(first, items)
    if len(first) <= FEW:
        yield from map(function, items)
        return
    submit, gone, told = _elsewhere(workers)
    running: deque = deque()
    try:
        while True:
            while len(running) < 2 * workers and (block := list(islice(items, chunk))):
                running.append(submit(_attempts, function, block))
            if not running:
                return
            for result, error in running.popleft().result():
                if error is not None:
                    raise error
                yield result
    except gone:
        raise InputError(told) from None
    finally:
        for block in running:
            block.cancel()


def _elsewhere(workers: int) -> tuple[Callable[..., Any], tuple[type[Exception], ...], str]:
    """What starts a function elsewhere; what its future raises where nobody is left, and the line to tell then."""
    if client := cluster():
        from concurrent.futures import CancelledError

        from distributed.scheduler import KilledWorker

        gone: tuple[type[Exception], ...] = (CancelledError, KilledWorker)
        told = "S2IGAN_SCHEDULER: the cluster lost its scheduler, or worker after worker, as happens where memory ends"
        return partial(client.submit, pure=False), gone, f"{told}; start them again, and run the same command again"
    from concurrent.futures import BrokenExecutor

    from loky import get_reusable_executor  # takes a tenth of a second

    submit = get_reusable_executor(workers, timeout=IDLE_SECONDS, env=ONE_THREAD).submit
    told = f"one of {workers} processes was killed, as happens where memory ends; "
    return submit, (BrokenExecutor,), told + "set S2IGAN_WORKERS to fewer and run the same command again"


def _attempts(function: Callable, block: list) -> list[tuple]:
    """Result and None of each item, up to the first that fails: None and its exception."""
    done: list[tuple] = []
    for item in block:
        try:
            done.append((function(item), None))
        except Exception as error:
            return [*done, (None, error)]
    return done
