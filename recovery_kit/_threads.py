"""Work on several processors at once, and its results in the order of what was worked on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4
"""Threads, at most: so many read faster than one connection brings anything."""


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Each item with what ``work`` makes of it, in the items' order.

    On as many threads as there are processors.

    Pays where work leaves the interpreter's lock alone. One item more than there are threads is
    under way at most, for items may be large. Where ``work`` raises, that comes in its item's turn,
    and what is under way is waited for.
    """
    threads = min(MOST, os.cpu_count() or 1)
    pending: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads, "recovery-kit")
    try:
        for item in items:
            pending.append((item, pool.submit(work, item)))
            if len(pending) > threads:
                first, done = pending.popleft()
                yield first, done.result()
        for first, done in pending:
            yield first, done.result()
    finally:
        pool.shutdown(cancel_futures=True)
