"""Work spread over processes, in order, without holding a data set in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import TypeVar

from s2igan.errors import InputError

FEW = 128  # so many items are done before a process, which imports what they need, has started

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, chunk: int = 32
) -> Iterator[Result]:
    """Yields `function(item)` of each item, in order; 1 worker runs in this process, and so do FEW items.

    Items are read as they are needed, two chunks a worker ahead; an exception of `function` comes through at its
    item's place. `function`, the items and the results must pickle. Processes have one thread each and stay for the
    next call: what is dear to build, `function` keeps in a cache of its module. InputError where one is killed.
    """
    items = iter(items)
    first = [] if workers == 1 else list(islice(items, FEW + 1))
    items = chain(first, items)
    if len(first) <= FEW:
        yield from map(function, items)
        return
    from concurrent.futures.process import BrokenProcessPool

    from joblib import Parallel, delayed, parallel_config  # takes a tenth of a second

    running: deque[Iterator] = deque()
    try:
        while True:
            while len(running) < 2 and (block := list(islice(items, workers * chunk))):
                with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
                    start = Parallel(return_as="generator", batch_size=chunk, pre_dispatch="all", max_nbytes=None)
                running.append(start(delayed(_attempt)(function, item) for item in block))
            if not running:
                return
            for result, error in running[0]:
                if error is not None:
                    raise error
                yield result
            running.popleft()
    except (Exception, GeneratorExit) as error:
        for results in running:  # joblib would kill the processes of what is not used, and say so
            with suppress(BrokenProcessPool):
                deque(results, maxlen=0)
        if isinstance(error, BrokenProcessPool):
            raise InputError(
                f"one of {workers} processes was killed, as happens where memory ends; "
                "set S2IGAN_WORKERS to fewer and run the same command again"
            ) from None
        raise


def _attempt(function: Callable, item) -> tuple:
    """The result or the exception: joblib would raise it before the results of earlier items."""
    try:
        return function(item), None
    except Exception as error:
        return None, error
