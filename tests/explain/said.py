"""Cases that bring about the sentences of explain() and dedup(), each with one that comes close."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from recovery_kit.dedup import dedup
from recovery_kit.explain import explain
from recovery_kit.explain.case.case import open_case
from recovery_kit.explain.evidence.rows import of_finding, of_windows
from recovery_kit.explain.incidents import search
from recovery_kit.explain.single.match import Finding, Part
from recovery_kit.reconcile import reconcile
from recovery_kit.sources.window import Window
from recovery_kit.totals import totals
from tests.events import NOON, Event, column, events
from tests.explain.test_diagnose import (
    LOG,
    Applied,
    apply,
    effect,
    listed,
    make_log,
    missed_window,
    money,
    with_copies,
)

Case = Callable[[], str]
CASES: dict[str, Case] = {}


def case(made: Case) -> Case:
    CASES[made.__name__] = functools.cache(made)
    return made


def said(
    log: list[Event],
    applied: list[Applied],
    *names: str,
    by_list: bool = False,
    on_conflict: str = "first",
    opening: Any = None,
    replay: Any = None,
    extra: tuple[tuple[str, int], ...] = (),
    **how: Any,
) -> str:
    """Every sentence of a diagnosis of what the system holds after applying that, and of dedup."""
    held: dict[str, int] = dict(extra)
    for _, key, amount in applied:
        held[key] = held.get(key, 0) + amount
    expected = pa.table({"key": list(held), "total": [money(total) for total in held.values()]})
    d = dedup(events(log), on_conflict=on_conflict)
    whole = replay if hasattr(replay, "verdict") else None
    r = reconcile(totals(d, opening=opening), expected, replay=whole, **how)
    processed = listed(applied, *names) if by_list else None
    found = explain(r, d, processed=processed, replay=replay)
    told = [*column(found.causes, "evidence"), *column(found.incidents, "evidence")]
    return "\n".join([*told, *found.summary["notes"], repr(d)])


def read(rejects: list[tuple[bytes | None, bytes]] = [], **facts: Any) -> Any:  # noqa: B006
    kinds = {"topic": pa.string(), "partition": pa.int32(), "offset": pa.int64(),
             "reason": pa.string(), "key": pa.binary(), "value": pa.binary()}  # fmt: skip
    rows = [("log", 0, 9_000 + n, "not JSON", *pair) for n, pair in enumerate(rejects)]
    table = pa.Table.from_pylist(
        [dict(zip(kinds, row, strict=True)) for row in rows], pa.schema(list(kinds.items()))
    )
    return SimpleNamespace(rejects=table, window=Window(), **facts)


SMALL = make_log(3, count=400, keys=80)
ONCE = apply(SMALL)


def but(applied: list[Applied], **changed: list[Applied]) -> list[Applied]:
    """What was applied, some events another way."""
    return [line for one in applied for line in changed.get(one[0], [one])]


def at_end(log: list[Event], *more: tuple[Any, ...]) -> list[Event]:
    """The log with events behind it in its partition 0: id, type, value, key."""
    end = max(e[7] for e in log if e[6] == 0) + 1
    late = max(e[4] for e in log) + 1
    return log + [(*m, late + n, "log", 0, end + n) for n, m in enumerate(more)]  # type: ignore[misc]


# Nothing wrong, and one thing wrong.


@case
def right() -> str:
    return said(SMALL, ONCE, replay=read(verdict="complete"))


@case
def right_by_list() -> str:
    return said(SMALL, ONCE, "effect", "key", by_list=True)


@case
def one_missed() -> str:
    return said(SMALL, but(ONCE, e17=[]))


# Windows.


@case
def window_missed() -> str:
    return said(LOG, missed_window()[0])


@case
def window_missed_within() -> str:
    return said(LOG, missed_window()[0], tolerance="0.05")


@case
def window_to_the_end() -> str:
    late = {e[0] for e in LOG if e[6] == 0 and e[7] >= 1_900}
    return said(LOG, [a for a in apply(LOG) if a[0] not in late])


def _changed(factor: int) -> list[Applied]:
    turned = {e[0] for e in LOG if e[1] == "subtract" and 1_000_000 <= e[4] < 1_500_000}
    return [(i, k, factor * a if i in turned else a) for i, k, a in apply(LOG)]


@case
def window_of_signs() -> str:
    return said(LOG, _changed(-1))


@case
def window_of_signs_by_list() -> str:
    return said(LOG, _changed(-1), "effect", "key", by_list=True)


@case
def window_of_factors() -> str:
    return said(LOG, _changed(100))


def _delivered_again(step: int, *, moved: bool) -> tuple[list[Event], list[Applied]]:
    """Sixty events of partition 0, each so many behind the other, delivered again much later, in
    the same partition or in the other one; and applied then, too.
    """
    first = [e for e in LOG if e[6] == 0 and 600 <= e[7] < 600 + 60 * step][::step]
    to = int(moved)
    end = max(e[7] for e in LOG if e[6] == to) + 1
    log = LOG + [(*e[:4], 4_000_000 + n, "log", to, end + n) for n, e in enumerate(first)]
    return log, [*apply(LOG), *apply(first)]


@case
def window_of_events() -> str:
    return said(*_delivered_again(1, moved=False))


@case
def window_of_copies() -> str:
    return said(*_delivered_again(9, moved=False))


def _and_harmless(step: int) -> tuple[list[Event], list[Applied]]:
    """The same in the other partition; and a copy of each key that was not applied again, so that
    no key is off by all that was set aside of it.
    """
    log, applied = _delivered_again(step, moved=True)
    keys = {e[3] for e in log if e not in LOG}
    more = [next(e for e in LOG if e[3] == key and e[7] > 1_500) for key in sorted(keys)]
    return at_end(log, *(e[:4] for e in more)), applied


@case
def window_of_events_doubted() -> str:
    return said(*_and_harmless(1))


@case
def window_of_copies_doubted() -> str:
    return said(*_and_harmless(9))


@case
def copies_doubted() -> str:
    return said(*_delivered_again(9, moved=True))


@case
def copies_doubted_by_list() -> str:
    return said(*_delivered_again(9, moved=True), "effect", "key", by_list=True)


def _guessed(count: int) -> str:
    """Windows of which the edges are guessed: the last `count` of two that lie apart."""
    lost = {e[0] for e in LOG if e[6] == 1 and 700 <= e[7] < 1_000}
    wrong = {e[0] for e in LOG if e[1] == "add" and e[6] == 0 and 300 <= e[7] < 700}
    applied = [(i, k, -a if i in wrong else a) for i, k, a in apply(LOG) if i not in lost]
    held: dict[str, int] = {}
    for _, key, amount in applied:
        held[key] = held.get(key, 0) + amount
    d = dedup(events(LOG))
    expected = pa.table({"key": list(held), "total": [money(total) for total in held.values()]})
    opened = open_case(reconcile(totals(d), expected), d)
    windows = [
        replace(window, rest=0.01) if n < count else window
        for n, window in enumerate(search(opened))
    ]
    incidents = of_windows(opened, windows, set(range(len(opened.keys))))[1]
    return "\n".join(f"{i.said}; {i.confidence}" for i in incidents)


@case
def guessed_one() -> str:
    return _guessed(1)


@case
def guessed_two() -> str:
    return _guessed(2)


# Single events.


@case
def one_of_two() -> str:
    same = [(*e[:2], "77.77", *e[3:]) if e[3] == "k005" else e for e in SMALL]
    same = [(e[0], "add", *e[2:]) if e[3] == "k005" else e for e in same]
    first = next(e for e in same if e[3] == "k005")
    return said(same, but(apply(same), **{first[0]: []}))


@case
def two_ways() -> str:
    log = [(e[0], e[1], money(500 + 500 * (n % 4)), *e[3:]) for n, e in enumerate(LOG)]
    return said(log, [a for a in apply(log) if a[0] != log[20][0]])


@case
def hundredfold() -> str:
    (one,) = (a for a in ONCE if a[0] == "e17")
    return said(SMALL, but(ONCE, e17=[(*one[:2], 100 * one[2])]))


@case
def two_missed() -> str:
    mine = [e for e in SMALL if e[3] == "k017"]
    return said(SMALL, but(ONCE, **{mine[0][0]: [], mine[2][0]: []}))


@case
def two_by_chance() -> str:
    mine = [e for e in LOG if e[3] == "k017"]
    return said(LOG, but(apply(LOG), **{mine[0][0]: [], mine[2][0]: []}))


@case
def copy_applied() -> str:
    again = LOG[30]
    return said(with_copies(), [*apply(LOG), (again[0], again[3], effect(again))])


@case
def copy_harmless() -> str:
    return said(with_copies(), apply(LOG))


@case
def version_applied() -> str:
    other = LOG[40]
    new = 77_777 * (1 if other[1] == "add" else -1)
    return said(with_copies(), but(apply(LOG), **{other[0]: [(other[0], other[3], new)]}))


def _edge(rows: tuple[int, ...]) -> str:
    """A window's edge, moved past events of a key."""
    d = dedup(events(SMALL))
    opened = open_case(reconcile(totals(d), pa.table({"key": ["k001"], "total": ["0.00"]})), d)
    part = Part("missed", -500, "events", rows, edge=True)
    return "\n".join(row.evidence for row in of_finding(opened, 0, -500, Finding((part,), True, 0)))


@case
def edge_past_one() -> str:
    return _edge((7,))


@case
def edge_past_three() -> str:
    return _edge((7, 9, 11))


# Keys of one side, and what does not count.


@case
def expected_lacks() -> str:
    return said(SMALL, [a for a in ONCE if a[1] != "k004"])


@case
def expected_lacks_one() -> str:
    return said(at_end(SMALL, ("x", "add", "5.00", "odd")), ONCE)


@case
def opening_only() -> str:
    return said(SMALL, ONCE, opening=pa.table({"key": ["odd"], "total": ["5.00"]}))


@case
def log_lacks() -> str:
    return said(SMALL, ONCE, extra=(("odd", 500),), replay=read(verdict="complete"))


@case
def log_lacks_and_was_not_read_whole() -> str:
    return said(SMALL, ONCE, extra=(("odd", 500),), replay=read(verdict="truncated"))


@case
def log_lacks_in_its_window() -> str:
    part = read(verdict="complete")
    part.window = Window(since_ms=NOON)
    return said(SMALL, ONCE, extra=(("odd", 500),), replay=part)


@case
def unreadable_names_neither() -> str:
    part = read([(None, b"{oddly 5.00")], verdict="complete")
    return said(SMALL, ONCE, extra=(("odd", 500),), replay=part)


@case
def unreadable_names_key() -> str:
    part = read([(b"odd", b'{"id": "x", "on": "2026-05-05"')], verdict="complete")
    return said(SMALL, ONCE, extra=(("odd", 500),), replay=part)


@case
def unreadable_names_key_twice() -> str:
    part = read([(None, b'{"who": "odd", "value": 7'), (b"odd", b"")], verdict="complete")
    return said(SMALL, ONCE, extra=(("odd", 500),), replay=part)


@case
def unreadable_names_key_and_amount() -> str:
    part = read([(b"odd", b'{"id": "x", "value": 5.00')], verdict="complete")
    return said(SMALL, ONCE, extra=(("odd", 500),), replay=part)


VERSIONS = at_end(SMALL, ("x", "add", "9.00", "k004"), ("x", "add", "5.00", "odd"))


@case
def key_rejected() -> str:
    return said(VERSIONS, ONCE, extra=(("odd", 500),), on_conflict="reject")


@case
def key_of_a_version_not_chosen() -> str:
    return said(VERSIONS, [*ONCE, ("x", "k004", 900)], extra=(("odd", 500),))


@case
def key_of_the_version_chosen() -> str:
    return said(VERSIONS, ONCE, extra=(("odd", 500),), on_conflict="last")


# By hand, and by a list.

HAND: list[Applied] = [*ONCE, ("hand", "k003", 123_456)]


@case
def by_hand() -> str:
    return said(SMALL, HAND)


@case
def within() -> str:
    (key,) = (a[1] for a in ONCE if a[0] == "e17")
    return said(SMALL, [*but(ONCE, e17=[]), ("x", key, 3)], tolerance="0.05")


@case
def list_lacks() -> str:
    return said(SMALL, but(ONCE, e17=[]), "effect", "key", by_list=True)


@case
def list_lacks_three() -> str:
    mine = {e[0]: [] for e in SMALL if e[3] == "k017"}
    assert len(mine) > 2
    most = dict(list(mine.items())[:-1])
    return said(SMALL, but(ONCE, **most), "effect", "key", by_list=True)


@case
def list_ends_early() -> str:
    late = {e[0] for e in SMALL if e[6] == 0 and e[7] >= max(f[7] for f in SMALL if f[6] == 0)}
    return said(SMALL, [a for a in ONCE if a[0] not in late], "effect", "key", by_list=True)


@case
def list_has_twice() -> str:
    (one,) = (a for a in ONCE if a[0] == "e17")
    return said(SMALL, but(ONCE, e17=[one, one]), "effect", "key", by_list=True)


@case
def list_has_another_key() -> str:
    (one,) = (a for a in ONCE if a[0] == "e17")
    moved = [(one[0], "\x1b[31mother", one[2])]
    return said(SMALL, but(ONCE, e17=moved), "effect", "key", by_list=True)


@case
def list_has_another_amount() -> str:
    (one,) = (a for a in ONCE if a[0] == "e17")
    return said(SMALL, but(ONCE, e17=[(*one[:2], one[2] + 1)]), "effect", "key", by_list=True)


@case
def list_has_other_amounts() -> str:
    odd = {e[0] for e in SMALL if e[1] == "add" and e[6] == 0 and 20 <= e[7] < 60}
    applied = [(i, k, a + 1 + n if i in odd else a) for n, (i, k, a) in enumerate(ONCE)]
    return said(SMALL, applied, "effect", "key", by_list=True)


@case
def list_has_a_stranger() -> str:
    return said(SMALL, HAND, "effect", "key", by_list=True)


@case
def list_has_a_stranger_of_no_key() -> str:
    return said(SMALL, HAND, "effect", by_list=True)


@case
def list_has_a_stranger_of_no_amount() -> str:
    return said(SMALL, HAND, by_list=True)


@case
def list_has_two_strangers_of_no_amount() -> str:
    return said(SMALL, [*HAND, ("hand-2", "k003", 5)], by_list=True)


@case
def list_has_a_key_that_neither_side_has() -> str:
    found = reconcile(totals(dedup(events(SMALL))), pa.table(
        {"key": ["k003"], "total": ["1.00"]}))  # fmt: skip
    told = listed([*ONCE, ("hand", "nobody", 7)], "effect", "key")
    return "\n".join(explain(found, dedup(events(SMALL)), processed=told).summary["notes"])


@case
def list_and_total_differ() -> str:
    return said(SMALL, ONCE, "effect", "key", by_list=True, extra=(("k003", 123_456),))


@case
def ids_and_total_differ() -> str:
    return said(SMALL, ONCE, by_list=True, extra=(("k003", 123_456),))


REJECTED: list[Applied] = [*ONCE, ("x", "odd", 500)]


@case
def list_has_a_rejected_version() -> str:
    return said(VERSIONS, REJECTED, "effect", "key", by_list=True, on_conflict="reject")


@case
def list_has_a_rejected_version_of_no_key() -> str:
    return said(VERSIONS, REJECTED, "effect", by_list=True, on_conflict="reject")


@case
def list_has_a_rejected_version_of_no_amount() -> str:
    return said(VERSIONS, REJECTED, by_list=True, on_conflict="reject")


@case
def list_has_a_version_not_chosen() -> str:
    return said(VERSIONS, REJECTED, "effect", "key", by_list=True)


@case
def list_has_the_amount_of_a_version_not_chosen() -> str:
    return said(VERSIONS, [*ONCE, ("x", "k004", 500)], "effect", "key", by_list=True)


# Ids that are not unique.


@case
def ids_of_two_counters() -> str:
    log = [(f"e{n % 60}", *e[1:]) for n, e in enumerate(SMALL[:120])]
    return said(log, apply(log))


@case
def ids_of_a_partition() -> str:
    log: list[Event] = [
        (f"e{n // 3}", "add", "5.00", f"k{n % 2}", n, "log", n % 3, n // 3) for n in range(150)
    ]
    return said([(*e[:3], "k", *e[4:]) for e in log], [(e[0], "k", 500) for e in log])


@case
def ids_of_the_type() -> str:
    log: list[Event] = [("add", "add", "5.00", "k", n, "log", 0, n) for n in range(50)]
    return said(log, apply(log))


@case
def one_copy_of_doubted_ids() -> str:
    """Of a key with one copy, beside many that make the ids doubtful."""
    log = [(f"e{n % 60}", *e[1:3], f"k{n}", *e[4:]) for n, e in enumerate(SMALL[:120])]
    return said(log, apply(log))
