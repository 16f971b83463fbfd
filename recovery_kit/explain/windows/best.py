"""One window on its own: the best of the candidates, its edges settled.

And several settled together.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recovery_kit.explain.case.arrays import Ints
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.windows.candidates import Seen, candidates
from recovery_kit.explain.windows.edges import Task, edges, settled, sums
from recovery_kit.explain.windows.window import (
    BROKEN,
    MISSED,
    SIGN,
    Cause,
    State,
    Stretch,
    Window,
    cost_of,
    joined,
    rows_of,
    settle,
    side_of,
    split,
)  # fmt: skip

CLEARLY = 4.0
"""Bits less of what is left of a partition's keys, for which it counts as part of a window that
puts none of them right.
"""

LAST = 4
"""Events at the end of a partition that may belong to no key that tells whether they were missed.
"""

SOME = 40
"""Keys that are asked first: a few tens say many times the bits that a window takes to describe."""

MANY = 250_000
"""Events of the keys that are off, beyond which only some keys are asked first."""

LOOKED_AT = 32
"""Candidates of which the edges are settled before the best is taken."""


def best_alone(case: Case, state: State, causes: tuple[Cause, ...]) -> Window | None:
    """The window that the most bits point to: of some of the keys, where they are many, and of all
    where some see none.
    """
    off = np.flatnonzero(np.abs(state.left) > case.slack)
    few = off[np.argsort(case.busy[off], kind="stable")][:: max(1, len(off) // SOME)]
    some = len(few) < len(off) and case.busy[off].sum() > MANY
    return (_best(case, state, causes, few) if some else None) or _best(case, state, causes, off)


def _best(case: Case, state: State, causes: tuple[Cause, ...], keys: Ints) -> Window | None:
    """The window that the most bits point to, of some of the keys; its edges are settled by all.

    Parameters
    ----------
    case : Case
    state : State
        What is left to explain, and what is already wrong with the events.
    causes : tuple of Cause
        The mistakes to look for.
    keys : int64 array, shape (n,)
        Numbers of the keys that are asked.
    """
    asked = np.zeros(len(case.keys), bool)
    asked[keys] = True
    seen = [
        candidates(side, state, causes, asked, copies=side is not case)
        for side in (case, case.copied)
    ]
    best: Window | None = None
    for candidate in sorted(itertools.chain(*seen), key=lambda s: -s.bits)[:LOOKED_AT]:
        if best and best.bits >= candidate.bits:
            break
        window = _refined(case.copied if candidate.copies else case, state, candidate)
        if window and (best is None or window.bits > best.bits):
            best = window
    return best


def _refined(case: Case, state: State, seen: Seen) -> Window | None:
    """Settle the edges by all keys, those that agree too, and count what the window then puts right
    and wrong.
    """
    window = drawn(case, seen)
    if seen.place >= 0:
        window = _in_place(case, state, window, seen)
    else:
        window = _earned(case, state, _settled(case, window, state))
    return _judged(case, state, window, seen)


def _earned(case: Case, state: State, window: Window) -> Window:
    """Leave partitions out of a window that puts keys right in one alone, unless it clearly leaves
    less in them too.

    A window of all partitions may well touch none but doubly wrong keys in some, and then it makes
    what is left smaller.
    """
    unit = case.usual / 8 * window.cause.down
    task = Task.of(case, window, state)
    left, slack = task.left, task.slack
    parts = [sums(task, begin, end) for _, begin, end in window.spans]
    after = np.abs(left - np.sum(parts, axis=0, dtype=np.int64))
    before = [np.abs(left - np.sum(parts, axis=0, dtype=np.int64) + part) for part in parts]
    shows = [bool(((after <= slack) & (was > slack)).any()) for was in before]
    if sum(shows) != 1:
        return window
    less = [float(np.log2((unit + was) / (unit + after)).sum()) for was in before]
    kept = (
        span
        for span, show, bits in zip(window.spans, shows, less, strict=True)
        if show or bits > CLEARLY
    )
    return replace(window, spans=tuple(kept))


def _settled(case: Case, window: Window, state: State) -> Window:
    """Settle a window's edges; in a partition where it puts no key right they are where the others'
    are, by arrival.
    """
    task = Task.of(case, window, state)
    made = replace(window, spans=settled(task))
    parts = [sums(task, begin, end) for _, begin, end in made.spans]
    after = np.abs(task.left - np.sum(parts, axis=0, dtype=np.int64))
    shows = [bool(((part != 0) & (after <= task.slack)).any()) for part in parts]
    if all(shows) or sum(shows) < 2:
        return made
    telling = [
        span for span, show in zip(made.spans, shows, strict=True) if show and span.end > span.begin
    ]
    first = float(np.median([case.arrival[begin] for _, begin, _ in telling]))
    last = float(np.median([case.arrival[end - 1] for _, _, end in telling]))
    return replace(
        made,
        spans=tuple(
            span if show else _between(case, window, span, first, last)
            for span, show in zip(made.spans, shows, strict=True)
        ),
    )


def _between(case: Case, window: Window, span: Stretch, first: float, last: float) -> Stretch:
    """Where a window lies in one partition, if it is there when it is in the others.

    Parameters
    ----------
    case : Case
        Or its ``copied``, for a window of copies.
    window : Window
    span : Stretch
        Where its edges were settled in this partition, though no key there is put right.
    first, last : float
        When its first and its last event arrived in the others, by their median, ms.
    """
    low, high = case.places[span.place].low, case.places[span.place].high
    begin = low + int(np.searchsorted(case.arrival[low:high], first))
    to_the_end = span.end == high and window.cause is MISSED
    end = (
        high
        if to_the_end
        else low + int(np.searchsorted(case.arrival[low:high], last, side="right"))
    )
    return Stretch(span.place, begin, max(begin, end))


def drawn(case: Case, seen: Seen) -> Window:
    """A candidate as a window."""
    if seen.place >= 0:
        return Window(
            seen.cause, seen.kind, (Stretch(seen.place, seen.begin, seen.end),), seen.copies
        )
    rows = case.by_arrival[seen.begin : seen.end]
    spans = split(case, rows if seen.kind < 0 else rows[case.kind[rows] == seen.kind])
    if seen.tail:
        spans = tuple(span._replace(end=case.places[span.place].high) for span in spans)
    return Window(seen.cause, seen.kind, spans, seen.copies)


def _in_place(case: Case, state: State, window: Window, seen: Seen) -> Window:
    """Settle the edges of a window of one partition.

    Parameters
    ----------
    case : Case
        Or its ``copied``, for a window of copies.
    state : State
        What is left to explain, and what is already wrong with the events.
    window : Window
        The candidate as a window.
    seen : Seen
        The candidate; its place is not -1.
    """
    low, high = case.places[seen.place].low, case.places[seen.place].high
    task = Task.of(case, window, state)
    at, others = (seen.begin, seen.end), np.zeros(len(case.keys), np.int64)
    for _ in range(4):
        before = at
        at = edges(task, others, at, (low, high), (high, high) if seen.tail else (low, high))
        if at == before:
            break
    return replace(window, spans=(Stretch(seen.place, *at),))


def _judged(case: Case, state: State, window: Window, seen: Seen) -> Window | None:
    """The window with its bits; None where it says too little.

    Parameters
    ----------
    case : Case
        Or its ``copied``, for a window of copies.
    state : State
        What is left to explain, and what is already wrong with the events.
    window : Window
        Its edges are settled.
    seen : Seen
        The candidate that it was.
    """
    if window.cause in (MISSED, SIGN) and state.error.any() and not window.copies:
        rows = rows_of(case, window)
        inside = len(rows) > 0 and (state.error[rows] != 0).mean() > 0.5
        # Within a window of another mistake the two come to the same amounts. One type: a third
        # mistake on top of it, for who loses a type? All types: a hole in it, for who turns every
        # sign?
        if inside and (window.cause is MISSED) == (window.kind >= 0):
            return None
    task = Task.of(case, window, state)
    left, slack = task.left, task.slack
    total = np.sum(
        [sums(task, begin, end) for _, begin, end in window.spans], axis=0, dtype=np.int64
    )
    off, after = np.abs(left) > slack, np.abs(left - total) > slack
    fixed, broken = off & ~after, ~off & after
    bits = float(seen.tells[fixed].sum()) - BROKEN * int(broken.sum())
    bits -= cost_of(case, seen.cause, seen.kind, seen.place, tail=seen.tail)
    if bits <= 0 or fixed.sum() < 2 or broken.sum() > 0.2 * fixed.sum():
        return None
    return replace(window, bits=bits)


def together(case: Case, found: Sequence[Window]) -> list[Window]:
    """Settle every window's edges once more, now that all the others are known."""
    made = list(found)
    for at, window in enumerate(made):
        side = side_of(case, window)
        state = settle(case, made[:at] + made[at + 1 :])
        made[at] = _settled(side, window, state)
        if window.cause is MISSED and window.kind < 0:
            made[at] = _up_to_the_end(case, made, at)
    return joined(made)


def _up_to_the_end(case: Case, windows: list[Window], at: int) -> Window:
    """Let a missed window that ends just before its partition does end with it, where that puts no
    key wrong.

    Nothing that was applied follows it there: that the last events are missing too is the simpler
    story.
    """
    window = windows[at]
    off = keys_off(case, settle(case, windows))
    for number, span in enumerate(window.spans):
        high = case.places[span.place].high
        if 0 < high - span.end <= LAST:
            moved = span._replace(end=high)
            spans = (*window.spans[:number], moved, *window.spans[number + 1 :])
            longer = replace(window, spans=spans)
            if keys_off(case, settle(case, [*windows[:at], longer, *windows[at + 1 :]])) <= off:
                window, windows = longer, [*windows[:at], longer, *windows[at + 1 :]]
    return window


def keys_off(case: Case, state: State) -> int:
    """How many keys the windows leave off."""
    return int((np.abs(state.left) > case.slack).sum())
