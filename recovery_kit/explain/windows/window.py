"""Windows of the log on which one mistake was made, and what several of them together mean for
every key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from recovery_kit.explain.case.arrays import Bools, Floats, Ints
from recovery_kit.explain.case.case import Case

SURE = 8.0
"""Bits that a window must have left over: one chance in 250 that it is none, after every window has
been tried.
"""

BROKEN = 10.0
"""Bits against a window for every key that it would put wrong."""


class Cause(NamedTuple):
    """A mistake, and what it adds to the total for an event of effect x: ``up / down`` times x."""

    name: str
    up: int
    down: int
    bits: float  # what it takes to name it


MISSED = Cause("missed", -1, 1, 0)
TWICE = Cause("applied_twice", 1, 1, 1)
SIGN = Cause("wrong_sign", -2, 1, 2)
FACTORS = ((10, 1), (100, 1), (1000, 1), (1, 10), (1, 100), (1, 1000))
SCALED = tuple(Cause("wrong_factor", f - g, g, 5) for f, g in FACTORS)
CAUSES = (MISSED, TWICE, SIGN, *SCALED)


SHARED_ID = "shared_id"
"""The cause of what copies would explain, where the ids may not be unique: the system may be right,
and copies have been events of their own.
"""


class Stretch(NamedTuple):
    """Rows ``begin`` to before ``end`` of one partition, by its number among the case's places."""

    place: int
    begin: int
    end: int


@dataclass(frozen=True)
class Window:
    """Rows [begin, end) of some partitions, in each its own; of one type (its number) or all (-1).

    ``copies`` says that the rows are those of the redelivered copies. ``bits`` is by how much the
    keys that it put right when it was found outweigh those that it put wrong, and what the window
    takes to describe. ``rest`` is the part of the keys' differences that it left then, of a window
    that puts hardly any key exactly right: its edges are guessed.
    """

    cause: Cause
    kind: int
    spans: tuple[Stretch, ...]
    copies: bool = False
    bits: float = 0.0
    rest: float = 0.0

    @property
    def place(self) -> int:
        """Its partition's number, or -1 when it has several."""
        return self.spans[0][0] if len(self.spans) == 1 else -1


class State(NamedTuple):
    """What windows leave: by key what is unexplained, by event whether it was missed, and the error
    it then carries.
    """

    left: Ints
    hidden: Bools
    error: Ints


def side_of(case: Case, window: Window) -> Case:
    """The case whose rows and places a window's numbers are of."""
    return case.copied if window.copies else case


def settle(case: Case, windows: Sequence[Window]) -> State:
    """What the windows, taken together, leave to be explained."""
    left, hidden, error = (
        case.left.copy(),
        np.zeros(len(case.events), bool),
        np.zeros(len(case.events), np.int64),
    )
    for window, rows, change in claims(case, windows):
        side = side_of(case, window)
        np.subtract.at(left, side.code[rows], change)
        if not window.copies:
            error[rows] += change
            if window.cause is MISSED:
                hidden[rows] = True
    return State(left, hidden, error)


def claims(case: Case, windows: Sequence[Window]) -> Iterator[tuple[Window, Ints, Ints]]:
    """Each window with its rows, and by how much each is off.

    An event that was missed is off by nothing else.
    """
    hidden = np.zeros(len(case.events), bool)
    for window in sorted(windows, key=lambda w: w.cause is not MISSED):
        side, (_, up, down, _) = side_of(case, window), window.cause
        rows = rows_of(side, window)
        if not window.copies:
            rows = rows[~hidden[rows]]
            hidden[rows] |= window.cause is MISSED
        rows = rows[side.effect[rows] * up % down == 0]
        yield window, rows, side.effect[rows] * up // down


def rows_of(case: Case, window: Window) -> Ints:
    """The rows of the window's events, in log order."""
    made = [np.empty(0, np.int64)]
    for _, begin, end in window.spans:
        rows = np.arange(begin, end)
        if window.cause is MISSED:
            first, last = bounds(case, rows, alone=window.place >= 0)
            rows = rows[(first >= begin) & (last < end)]
        made.append(rows if window.kind < 0 else rows[case.kind[rows] == window.kind])
    return np.concatenate(made)


def bounds(case: Case, rows: Ints, *, alone: bool) -> tuple[Ints, Ints]:
    """The first and the last row between which a missed window holds every copy of an event.

    A window of several partitions may hold a copy in another one as well, so there that does not
    count.
    """
    first, last = case.span
    return first[rows] if alone else np.where(first[rows] < 0, rows, first[rows]), last[rows]


def change_of(case: Case, state: State, cause: Cause, rows: Ints | slice, *, copies: bool) -> Ints:
    """``cause.down`` times what the mistake would add to the total for some events, given what is
    already wrong with them.

    Parameters
    ----------
    case : Case
        Or its ``copied``, for copies.
    state : State
        What is already wrong with the events; nothing is with copies.
    cause : Cause
        The mistake.
    rows : int64 array, shape (n,), or slice
        The events.
    copies : bool
        Whether they are redelivered copies, whose only mistake is that they were applied.
    """
    effect = case.effect[rows]
    if copies:
        return effect
    return np.where(
        state.hidden[rows], 0, -effect - state.error[rows] if cause is MISSED else effect * cause.up
    )


def cost_of(case: Case, cause: Cause, kind: int, place: int, *, tail: bool = False) -> float:
    """Bits that it takes to name a window, and to be sure of it.

    Parameters
    ----------
    case : Case
        Or its ``copied``, for a window of copies.
    cause : Cause
        The mistake.
    kind : int
        The number of its type; -1: all.
    place : int
        The number of its partition among ``case.places``; -1: it has several.
    tail : bool
        Whether it runs up to the end of the log, and has but one edge to be named.
    """
    at = case.places[place] if place >= 0 else None
    length = at.high - at.low if at else len(case.events)
    families = (1 + len(case.kinds)) * 16 * len(case.places)
    edges = 1 if tail else 2
    return (
        edges * math.log2(max(length, 2))
        + math.log2(families)
        + cause.bits
        + (2 if kind >= 0 else 0)
        + SURE
    )


def telling(case: Case, amounts: Ints | Floats) -> Floats:
    """Bits that it says to come to an amount exactly: fewer where it is small, or the log's amounts
    repeat.
    """
    made: Floats = np.minimum(np.log2(1 + np.abs(amounts) / case.unit), case.variety)
    return made


def split(case: Case, rows: Ints) -> tuple[Stretch, ...]:
    """The span of some rows in each partition that they touch."""
    spans = []
    for number, place in enumerate(case.places):
        inside = rows[(rows >= place.low) & (rows < place.high)]
        if len(inside):
            spans.append(Stretch(number, int(inside.min()), int(inside.max()) + 1))
    return tuple(spans)


def joined(found: Sequence[Window]) -> list[Window]:
    """Join windows of one cause that touch in every partition; drop the empty ones."""
    made: list[Window] = []
    for window in found:
        for at, other in enumerate(made):
            spans = _touching(window, other)
            if spans:
                made[at] = Window(
                    other.cause,
                    other.kind,
                    spans,
                    other.copies,
                    other.bits + window.bits,
                    max(other.rest, window.rest),
                )
                break
        else:
            made.append(window)
    return [w for w in made if any(end > begin for _, begin, end in w.spans)]


def _touching(one: Window, other: Window) -> tuple[Stretch, ...] | None:
    if (one.cause, one.kind, one.copies) != (other.cause, other.kind, other.copies):
        return None
    a, b = ({place: (begin, end) for place, begin, end in w.spans} for w in (one, other))
    gaps = [max(a[p][0], b[p][0]) - min(a[p][1], b[p][1]) for p in a if p in b]
    # Missed twice is missed; but what two windows apply again is applied three times, so these are
    # not one.
    if a.keys() != b.keys() or not all(
        gap <= 0 if one.cause is MISSED else gap == 0 for gap in gaps
    ):
        return None
    return tuple(Stretch(p, min(a[p][0], b[p][0]), max(a[p][1], b[p][1])) for p in a)
