"""Settling a window's edges: each to where, with all else as it is, the fewest keys, or the least, stay unexplained."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recovery_kit.explain import _sweep
from recovery_kit.explain._case import Case, Floats, Ints
from recovery_kit.explain._window import MISSED, State, Window, bounds, change_of

REACH = 64
"""Records by which an edge may lie elsewhere than the arrival times say, at least; else a tenth of the window."""

SIZE_COUNTS = 0.05
"""What a bit less of what is left of keys that stay off counts, against a key that is put right: 20 bits are one key.

A window that makes what is left of many keys larger, and puts none of them right, is too long.
"""

Spans = tuple[tuple[int, int, int], ...]


class Aim(NamedTuple):
    """What settling works towards.

    Attributes
    ----------
    hard : bool
        As few keys off as may be, and hardly less as little left as may be. Else only that: the sum of the logarithms.
    trend : tuple of arrays, optional
        Instead: the least squares, with a weight a key, after any share of these orthonormal columns is taken out.
    far : bool
        Let edges move anywhere in their partition, not only nearby.
    cycles : int
        How often at most all edges are gone through.
    """

    hard: bool = True
    trend: tuple[Floats, Floats] | None = None
    far: bool = False
    cycles: int = 3


class Task(NamedTuple):
    """One window's edges: by how much each event would change its key, and what is left to explain."""

    case: Case
    window: Window
    change: Ints
    left: Ints
    slack: int
    aim: Aim


def settled(case: Case, window: Window, state: State, aim: Aim) -> Spans:
    """The spans of a window after its edges have moved; ``state`` is what all the other windows leave."""
    down = window.cause.down
    change = change_of(case, state, window.cause, copies=window.copies)
    task = Task(case, window, change, state.left * down, case.slack * down, aim)
    spans = list(window.spans)
    parts = [sums(task, begin, end) for _, begin, end in spans]
    whole = np.sum(parts, axis=0, dtype=np.int64)
    for _ in range(aim.cycles):
        before = list(spans)
        for at, (place, begin, end) in enumerate(spans):
            _, _, low, high = case.places[place]
            reach = high - low if aim.far else max(REACH, (end - begin) // 10)
            # An end that is the log's own end stays there: lag is no window that happens to end with the log.
            least = high if end == high and window.cause is MISSED else max(low, end - reach)
            begins = max(low, begin - reach), min(high, begin + reach)
            moved = edges(task, whole - parts[at], (begin, end), begins, (least, min(high, end + reach)))
            if moved != (begin, end):
                part = sums(task, *moved)
                whole, parts[at], spans[at] = whole - parts[at] + part, part, (place, *moved)
        if spans == before:
            break
    return tuple(spans)


def edges(
    task: Task, others: Ints, at: tuple[int, int], begins: tuple[int, int], ends: tuple[int, int]
) -> tuple[int, int]:
    """Move the end of one span, then its beginning, each within its limits; ``others`` is what other spans explain."""
    rows, lo, hi = _inside(task, begins[0], ends[1])
    key, change, left = task.case.code[rows], task.change[rows], task.left - others
    by_hi, by_lo = np.argsort(hi, kind="stable"), np.argsort(-lo, kind="stable")
    begin, end = at
    if task.aim.trend is not None:
        weight, across = task.aim.trend
        pull, rest = change * weight[key], left * weight
        end = _sweep.press(by_hi, hi, begin, lo, 1, key, pull, rest, across, max(ends[0], begin), ends[1], end)
        begin = _sweep.press(by_lo, lo, end, hi, -1, key, pull, rest, across, begins[0], min(begins[1], end), begin)
        return int(begin), int(end)
    slack, hard, counts = task.slack, task.aim.hard, SIZE_COUNTS * (not task.case.wide)
    unit = task.case.usual / 8 * task.window.cause.down
    end = _sweep.scan(
        by_hi, hi, begin, lo, 1, key, change, left, slack, hard, counts, unit, max(ends[0], begin), ends[1], end
    )
    begin = _sweep.scan(
        by_lo, lo, end, hi, -1, key, change, left, slack, hard, counts, unit, begins[0], min(begins[1], end), begin
    )
    return int(begin), int(end)


def sums(task: Task, begin: int, end: int) -> Ints:
    """By how much one span changes each key's total, times ``cause.down``."""
    rows, lo, hi = _inside(task, begin, end)
    made: Ints = _sweep.sums(lo, hi, begin, end, task.case.code[rows], task.change[rows], len(task.case.keys))
    return made


def _inside(task: Task, low: int, high: int) -> tuple[Ints, Ints, Ints]:
    """The rows of the window's kind, and from where to where a span must reach to hold each of them."""
    rows = np.arange(low, high)
    if task.window.kind >= 0:
        rows = rows[task.case.kind[rows] == task.window.kind]
    if task.window.cause is not MISSED:
        return rows, rows, rows + 1
    first, last = bounds(task.case, rows, alone=task.window.place >= 0)
    return rows, first, last + 1
