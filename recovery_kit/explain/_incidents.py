"""Incidents: the window of the log that one mistake on many keys at once points to.

A window that was missed takes from each key the effects of its events in there: the difference of a key is minus the
difference of two of its prefix sums. One key alone fits many windows, and each of those leaves the edges free to lie
anywhere between two of that key's events: a rectangle in the plane of (begin, end). The window is where the rectangles
of many keys meet. A rectangle counts for as many bits as it is improbable: minus log2 of the part of the plane that
the key's rectangles take up. A window is an incident when the keys it puts right say more bits than its description
takes (its two edges, its cause, its type), and when it puts hardly any key wrong that was right: a key that has events
in the window and yet agrees speaks against it. Cost: O(n log n) a family of windows (track, type, cause), n the events
of divergent keys; a sweep of R rectangles is O(R log R). Where windows overlap on every key, see ``_pursuit``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from recovery_kit.explain import _pursuit
from recovery_kit.explain._case import Case
from recovery_kit.explain._edges import REACH, Aim, Task, edges, settled, sums
from recovery_kit.explain._meet import Seen, candidates
from recovery_kit.explain._window import (
    BROKEN,
    CAUSES,
    MISSED,
    SIGN,
    Cause,
    State,
    Window,
    change_of,
    cost_of,
    joined,
    rows_of,
    settle,
    split,
)  # fmt: skip

MOST_INCIDENTS = 16

CLEARLY = 4.0
"""Bits less of what is left of a partition's keys, for which it counts as part of a window that puts none of them right."""

LOOKED_AT = 32
"""Candidates of which the edges are settled before the best is taken."""


def search(case: Case, causes: tuple[Cause, ...] = CAUSES) -> list[Window]:
    """Find the incidents, the most telling first, each in the light of those before, and all settled together."""
    found: list[Window] = []
    state = settle(case, found)
    for _ in range(MOST_INCIDENTS):
        for more in _more(case, found, state, causes):
            after = settle(case, more)
            if _off(case, after) < _off(case, state):
                found, state = more, after
                break
        else:
            break
    return _by_ending(case, found)


def _more(case: Case, found: list[Window], state: State, causes: tuple[Cause, ...]) -> Iterator[list[Window]]:
    """With one window more or, where none stands out alone, with several that overlap."""
    if not _off(case, state):
        return
    if new := _best(case, state, causes):
        yield together(case, [*found, new])
    if several := _pursuit.pursue(case, found, causes):
        yield together(case, several)


def _off(case: Case, state: State) -> int:
    return int((np.abs(state.left) > case.slack).sum())


def together(case: Case, found: Sequence[Window]) -> list[Window]:
    """Settle every window's edges once more, now that all the others are known."""
    made = list(found)
    for at, window in enumerate(made):
        side = case.copied if window.copies else case
        state = settle(case, made[:at] + made[at + 1 :])
        made[at] = replace(window, spans=settled(side, window, state, Aim()))
        if window.cause is MISSED and window.kind < 0:
            made[at] = _up_to_the_end(case, made, at)
    return joined(made)


def _up_to_the_end(case: Case, windows: list[Window], at: int) -> Window:
    """Let a missed window that ends just before its partition does end with it, where that puts no key wrong.

    Nothing that was applied follows it there: that the last events are missing too is the simpler story.
    """
    window = windows[at]
    off = _off(case, settle(case, windows))
    for number, (place, begin, end) in enumerate(window.spans):
        high = case.places[place][3]
        if 0 < high - end <= REACH:
            spans = (*window.spans[:number], (place, begin, high), *window.spans[number + 1 :])
            longer = replace(window, spans=spans)
            if _off(case, settle(case, [*windows[:at], longer, *windows[at + 1 :]])) <= off:
                window, windows = longer, [*windows[:at], longer, *windows[at + 1 :]]
    return window


def _by_ending(case: Case, found: Sequence[Window]) -> list[Window]:
    """Tell the partitions where a missed window runs to the end of the log, which is lag, from those where it does not."""
    made = []
    for window in found:
        parts: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] = [], []
        for span in window.spans:
            parts[window.cause is MISSED and window.kind < 0 and span[2] == case.places[span[0]][3]].append(span)
        made += [replace(window, spans=tuple(spans)) for spans in parts if spans]
    return made


def _best(case: Case, state: State, causes: tuple[Cause, ...]) -> Window | None:
    seen = [*candidates(case, state, causes, copies=False), *candidates(case.copied, state, causes, copies=True)]
    best: Window | None = None
    for candidate in sorted(seen, key=lambda s: -s.bits)[:LOOKED_AT]:
        if best and best.bits >= candidate.bits:
            break
        window = _refined(case.copied if candidate.copies else case, state, candidate)
        if window and (best is None or window.bits > best.bits):
            best = window
    return best


def _refined(case: Case, state: State, seen: Seen) -> Window | None:
    """Settle the edges by all keys, those that agree too, and count what the window then puts right and wrong."""
    if seen.place >= 0:
        window = _in_place(case, state, seen)
    else:
        rows = case.by_arrival[seen.begin : seen.end]
        spans = split(case, rows if seen.kind < 0 else rows[case.kind[rows] == seen.kind])
        if seen.tail:
            spans = tuple((place, begin, case.places[place][3]) for place, begin, _ in spans)
        window = Window(seen.cause, seen.kind, spans, seen.copies)
        window = _earned(case, state, replace(window, spans=settled(case, window, state, Aim())))
    return _judged(case, state, window, seen)


def _earned(case: Case, state: State, window: Window) -> Window:
    """Leave partitions out of a window that puts keys right in one alone, unless it clearly leaves less in them too.

    A window of all partitions may well touch none but doubly wrong keys in some, and then it makes what is left smaller.
    """
    down, unit = window.cause.down, case.usual / 8 * window.cause.down
    left, slack = state.left * down, case.slack * down
    task = Task(case, window, change_of(case, state, window.cause, copies=window.copies), left, slack, Aim())
    parts = [sums(task, begin, end) for _, begin, end in window.spans]
    after = np.abs(left - np.sum(parts, axis=0, dtype=np.int64))
    before = [np.abs(left - np.sum(parts, axis=0, dtype=np.int64) + part) for part in parts]
    shows = [bool(((after <= slack) & (was > slack)).any()) for was in before]
    if sum(shows) != 1:
        return window
    less = [float(np.log2((unit + was) / (unit + after)).sum()) for was in before]
    kept = (span for span, show, bits in zip(window.spans, shows, less, strict=True) if show or bits > CLEARLY)
    return replace(window, spans=tuple(kept))


def _in_place(case: Case, state: State, seen: Seen) -> Window:
    _, _, low, high = case.places[seen.place]
    window = Window(seen.cause, seen.kind, ((seen.place, seen.begin, seen.end),), seen.copies)
    down = seen.cause.down
    change = change_of(case, state, seen.cause, copies=seen.copies)
    task = Task(case, window, change, state.left * down, case.slack * down, Aim())
    at, others = (seen.begin, seen.end), np.zeros(len(case.keys), np.int64)
    for _ in range(4):
        before = at
        at = edges(task, others, at, (low, high), (high, high) if seen.tail else (low, high))
        if at == before:
            break
    return replace(window, spans=((seen.place, *at),))


def _judged(case: Case, state: State, window: Window, seen: Seen) -> Window | None:
    if window.cause in (MISSED, SIGN) and state.error.any() and not window.copies:
        rows = rows_of(case, window)
        inside = len(rows) > 0 and (state.error[rows] != 0).mean() > 0.5
        # Within a window of another mistake the two come to the same amounts. One type: a third mistake on top of it,
        # for who loses a type? All types: a hole in it, for who turns every sign?
        if inside and (window.cause is MISSED) == (window.kind >= 0):
            return None
    down = window.cause.down
    left, slack = state.left * down, case.slack * down
    task = Task(case, window, change_of(case, state, window.cause, copies=window.copies), left, slack, Aim())
    total = np.sum([sums(task, begin, end) for _, begin, end in window.spans], axis=0, dtype=np.int64)
    off, after = np.abs(left) > slack, np.abs(left - total) > slack
    fixed, broken = off & ~after, ~off & after
    bits = float(seen.tells[fixed].sum()) - BROKEN * int(broken.sum())
    bits -= cost_of(case, seen.cause, seen.kind, seen.place, tail=seen.tail)
    if bits <= 0 or fixed.sum() < 2 or broken.sum() > 0.2 * fixed.sum():
        return None
    return replace(window, fixed=int(fixed.sum()), broken=int(broken.sum()), bits=bits)
