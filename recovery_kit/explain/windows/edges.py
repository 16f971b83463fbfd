"""Settling a window's edges: each to where, with all else as it is, the fewest keys, or the least,
stay unexplained.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recovery_kit.explain.case.arrays import Ints
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.windows import sweeps
from recovery_kit.explain.windows.sweeps import Edge, scan
from recovery_kit.explain.windows.window import MISSED, State, Stretch, Window, bounds, change_of

REACH = 64
"""Records by which an edge may lie elsewhere than the arrival times say, at least.

Else a tenth of the window.
"""

CYCLES = 3
"""How often at most all edges of a window are gone through."""

SIZE_COUNTS = 0.05
"""What a bit less of what is left of keys that stay off counts, against a key that is put right: 20
bits are one key.

A window that makes what is left of many keys larger, and puts none of them right, is too long.
"""

Spans = tuple[Stretch, ...]


class Task(NamedTuple):
    """One window's edges: what all the other windows leave, and what is left to explain."""

    case: Case
    window: Window
    state: State
    left: Ints
    slack: int

    @classmethod
    def of(cls, case: Case, window: Window, state: State) -> Task:
        """Amounts times ``cause.down``, so that whole numbers stay whole."""
        return cls(
            case, window, state, state.left * window.cause.down, case.slack * window.cause.down
        )

    def change(self, rows: Ints) -> Ints:
        """By how much each event would change its key's total."""
        return change_of(self.case, self.state, self.window.cause, rows, copies=self.window.copies)


def settled(task: Task) -> Spans:
    """The spans of a window after its edges have moved."""
    case, window, spans = task.case, task.window, list(task.window.spans)
    parts = [sums(task, begin, end) for _, begin, end in spans]
    whole = np.sum(parts, axis=0, dtype=np.int64)
    for _ in range(CYCLES):
        before = list(spans)
        for at, (place, begin, end) in enumerate(spans):
            low, high = case.places[place].low, case.places[place].high
            reach = max(REACH, (end - begin) // 10)
            # An end that is the log's own end stays there: lag is no window that happens to end
            # with the log.
            least = high if end == high and window.cause is MISSED else max(low, end - reach)
            begins = max(low, begin - reach), min(high, begin + reach)
            moved = edges(
                task, whole - parts[at], (begin, end), begins, (least, min(high, end + reach))
            )
            if moved != (begin, end):
                part = sums(task, *moved)
                whole, parts[at], spans[at] = whole - parts[at] + part, part, Stretch(place, *moved)
        if spans == before:
            break
    return tuple(spans)


def edges(
    task: Task, others: Ints, at: tuple[int, int], begins: tuple[int, int], ends: tuple[int, int]
) -> tuple[int, int]:
    """Move the end of one span, then its beginning, each within its limits.

    Parameters
    ----------
    task : Task
    others : int64 array, shape (keys,)
        What other spans explain, times ``cause.down``.
    at : tuple of int
        Where the span begins and ends, in rows: [begin, end).
    begins, ends : tuple of int
        The lowest and the highest row at which it may begin, and at which it may end.
    """
    rows, lo, hi = _inside(task, begins[0], ends[1])
    key, change, left = task.case.code[rows], task.change(rows), task.left - others
    by_hi, by_lo = np.argsort(hi, kind="stable"), np.argsort(-lo, kind="stable")
    counts = SIZE_COUNTS * (not task.case.wide), task.case.usual / 8 * task.window.cause.down
    begin, end = at
    moving = Edge(by_hi, hi, lo, begin, True, max(ends[0], begin), ends[1], end)
    end = scan(moving, key, change, left, task.slack, *counts)
    moving = Edge(by_lo, lo, hi, end, False, begins[0], min(begins[1], end), begin)
    return scan(moving, key, change, left, task.slack, *counts), end


def sums(task: Task, begin: int, end: int) -> Ints:
    """By how much one span changes each key's total, times ``cause.down``."""
    rows, lo, hi = _inside(task, begin, end)
    return sweeps.sums(
        lo, hi, begin, end, task.case.code[rows], task.change(rows), len(task.case.keys)
    )


def _inside(task: Task, low: int, high: int) -> tuple[Ints, Ints, Ints]:
    """The rows of the window's kind, and from where to where a span must reach to hold each of
    them.
    """
    rows = np.arange(low, high)
    if task.window.kind >= 0:
        rows = rows[task.case.kind[rows] == task.window.kind]
    if task.window.cause is not MISSED:
        return rows, rows, rows + 1
    first, last = bounds(task.case, rows, alone=task.window.place >= 0)
    return rows, first, last + 1
