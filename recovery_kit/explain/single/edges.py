"""Edges that no key settles: a window's edge may lie anywhere between two events of keys that the
window puts right.

Events in between belong to keys that are off by something else as well. For each of those keys the
edge may be where it was put or past some of its events, and which it is shows when what remains
then is an amount of the key's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recovery_kit.explain.case.arrays import Bools
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.single.match import Slip
from recovery_kit.explain.windows.window import MISSED, State, Window, change_of

FARTHEST = 3
"""Events of a key past which an edge is moved."""


def slips(
    case: Case, windows: Sequence[Window], state: State, left: dict[int, int]
) -> dict[int, list[Slip]]:
    """By key that is still off, how each window's edges may move past its events.

    Parameters
    ----------
    case : Case
    windows : Sequence of Window
    state : State
        What they leave.
    left : dict of int to int
        The numbers of the keys that are still off, to what is unexplained of them.
    """
    made: dict[int, list[tuple[Slip, object]]] = {}
    settled = np.ones(len(case.keys), bool)
    settled[list(left)] = False
    for at, window in enumerate(windows):
        if window.copies:
            continue
        change = change_of(case, state, window.cause, slice(None), copies=False)
        if window.cause is MISSED:
            change = -case.effect - np.where(state.hidden, 0, state.error)
        for place, begin, end in window.spans:
            low, high = case.places[place].low, case.places[place].high
            tail = end == high and window.cause is MISSED
            name = "lag" if tail and window.kind < 0 else window.cause.name
            sides = [(range(begin - 1, low - 1, -1), 1), (range(begin, end), -1)]
            sides += [] if tail else [(range(end, high), 1), (range(end - 1, begin - 1, -1), -1)]
            for rows, sign in sides:
                for row in _free(case, window, rows, settled):
                    worth = sign * int(change[row])
                    if worth % window.cause.down == 0:
                        _add(
                            made.setdefault(int(case.code[row]), []),
                            name,
                            worth // window.cause.down,
                            row,
                            (at, rows, sign),
                        )
    return {key: [slip for slip, _ in options] + _both(options) for key, options in made.items()}


def _both(options: list[tuple[Slip, object]]) -> list[Slip]:
    """Two edges moved, where that comes to one cause."""
    return [
        Slip(one.cause, one.amount + other.amount, one.rows + other.rows)
        for at, (one, side) in enumerate(options)
        for other, there in options[at + 1 :]
        if side != there and one.cause == other.cause and one.amount + other.amount
    ]


def _free(case: Case, window: Window, rows: range, settled: Bools) -> list[int]:
    """The rows of the window's kind from its edge up to one of a key that is right, nearest
    first.

    Parameters
    ----------
    case : Case
    window : Window
    rows : range
        The rows that the edge would pass, in its order.
    settled : bool array, shape (keys,)
        By key, whether it is right.
    """
    found: list[int] = []
    count: dict[int, int] = {}
    for row in rows:
        if window.kind >= 0 and case.kind[row] != window.kind:
            continue
        key = int(case.code[row])
        if settled[key]:
            break
        count[key] = count.get(key, 0) + 1
        if count[key] <= FARTHEST:
            found.append(row)
        if len(found) >= FARTHEST * 16:
            break
    return found


def _add(options: list[tuple[Slip, object]], name: str, worth: int, row: int, side: object) -> None:
    """One slip more, on top of those on the same side of the same edge.

    Parameters
    ----------
    options : list of (Slip, object)
        The key's slips so far, each with its side; added to here.
    name : str
        Of the cause.
    worth : int
        What it adds to the key's total that the edge passes this event, modulo 2**64.
    row : int
        The event.
    side : object
        Equal for slips on the same side of the same edge.
    """
    before = [slip for slip, at in options if at == side]
    amount, rows = (before[-1].amount, before[-1].rows) if before else (0, ())
    options.append((Slip(name, amount + worth, (*rows, row)), side))
