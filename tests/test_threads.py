"""Work on several threads: in order, bounded, and over when it is over."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator

import pytest

from recovery_kit import _threads
from recovery_kit._threads import in_order


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_results_come_in_the_order_of_the_items_whichever_is_done_first() -> None:
    def slow(item: int) -> int:
        time.sleep(0.03 * (item % 3 == 0))
        return -item

    assert list(in_order(slow, range(20))) == [(i, -i) for i in range(20)]
    assert list(in_order(slow, [])) == []


def test_work_goes_on_at_once_on_as_many_threads_as_there_are_processors() -> None:
    together = threading.Barrier(3, timeout=10)
    list(in_order(lambda _: together.wait(), range(6)))
    assert not together.broken


def test_there_are_never_more_threads_than_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 100)
    seen = set()
    for _, thread in in_order(lambda _: (time.sleep(0.01), threading.get_ident())[1], range(50)):
        seen.add(thread)
    assert 1 < len(seen) <= _threads.MOST


def test_one_item_more_than_there_are_threads_is_under_way_at_most() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for i in range(20):
            drawn.append(i)
            yield i

    for done, _ in enumerate(in_order(abs, items())):
        assert len(drawn) - done <= 4
    assert len(drawn) == 20


def test_what_fails_is_told_in_its_turn() -> None:
    results = in_order(lambda i: 1 // (5 - i), range(20))
    assert [item for item, _ in itertools.islice(results, 5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_items_that_fail_to_come_are_told() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        list(in_order(abs, items()))


def test_whoever_stops_half_way_leaves_nothing_running() -> None:
    started = []
    for item, _ in in_order(lambda i: started.append(i), iter(int, 1)):
        assert item == 0
        break
    assert len(started) <= 4
