"""Work spread over processes, in order, without holding a data set in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from typing import TypeVar

FEW = 128  # so many items are done before a process, which imports what they need, has started

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    chunk: int = 32,
    initializer: Callable | None = None,
    initargs: tuple = (),
) -> Iterator[Result]:
    """Yields `function(item)` of each item, in order; 1 worker runs in this process, and so do FEW items.

    Items are read as they are needed, a few chunks ahead; an exception of `function` comes through at its
    item's place. `function`, the items and the results must pickle.
    """
    items = iter(items)
    first = [] if workers == 1 else list(islice(items, FEW + 1))
    items = chain(first, items)
    if len(first) <= FEW:
        if initializer:
            initializer(*initargs)
        yield from map(function, items)
        return
    # "spawn": a fork of a process with threads (torch, a progress bar) may hang.
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(initializer, initargs)
    )
    try:
        pending: deque = deque()
        while True:
            while len(pending) < 2 * workers and (block := list(islice(items, chunk))):
                pending.append(pool.submit(_run, function, block))
            if not pending:
                return
            results, error = pending.popleft().result()
            yield from results
            if error is not None:
                raise error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(initializer: Callable | None, initargs: tuple) -> None:
    import sys

    if "torch" in sys.modules:  # one core a process, or they fight for them
        sys.modules["torch"].set_num_threads(1)
    if initializer:
        initializer(*initargs)


def _run(function: Callable, block: list) -> tuple[list, Exception | None]:
    results = []
    for item in block:
        try:
            results.append(function(item))
        except Exception as error:  # what came before it still counts
            return results, error
    return results, None
