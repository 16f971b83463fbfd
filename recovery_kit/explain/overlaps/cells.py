"""The log cut into cells: on that a window is a range of cells, and what it leaves of many keys a
product of small matrices.

Of each cell it is added up what its events come to for each key. That is rough, an edge lies half a
cell off, but windows can be set against each other by the thousand (see ``_beam``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from recovery_kit.explain.case.arrays import Floats, Ints
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.case.events import Place
from recovery_kit.explain.overlaps.guess import Guess
from recovery_kit.explain.windows.window import MISSED, Cause, State

FEWEST = 4
"""Events to a cell, at least."""


class Family(NamedTuple):
    """Windows that differ by their edges alone."""

    cause: Cause
    kind: int  # -1: all
    place: int  # -1: all
    copies: bool


class Range(NamedTuple):
    """A window of a family, from cell to cell."""

    family: Family
    begin: int
    end: int


@dataclass(frozen=True)
class Cells:
    """The events, or the redelivered copies, cut into cells of as many events each, by arrival.

    Attributes
    ----------
    rows : array
        The events by arrival; cell c has those from ``starts[c]`` to ``starts[c + 1]``.
    told : array
        The events that are looked at: those of some keys, in log order. Of each there is its
        ``cell``, the number of its key in ``own``, its weighted ``effect``, and what is already
        known to be ``wrong`` with it.
    """

    case: Case
    keys: int
    rows: Ints
    starts: Ints
    told: Ints
    cell: Ints
    own: Ints
    effect: Floats
    wrong: Floats

    @classmethod
    def of(cls, case: Case, state: State | None, keys: Ints, weight: Floats, most: int) -> Cells:
        """Cut the log into so many cells at most.

        Parameters
        ----------
        case : Case
            Or its ``copied``, to cut the redelivered copies.
        state : State or None
            Which events are hidden or wrong; None: none is.
        keys : int64 array, shape (n,)
            Numbers of the keys that are looked at.
        weight : float64 array, shape (keys of the case,)
            By what each key's effects are multiplied.
        most : int
            Cells; there are fewer where one would have less than `FEWEST` events.
        """
        n = len(case.events)
        rows = case.by_arrival if len(case.places) > 1 else np.arange(n)
        cells = max(1, min(most, n // FEWEST))
        starts = np.arange(cells + 1) * n // cells
        cell = np.empty(n, np.int64)
        cell[rows] = np.repeat(np.arange(cells), np.diff(starts))
        number = np.full(len(weight), -1)
        number[keys] = np.arange(len(keys))
        own = number[case.code]
        told = np.flatnonzero(own >= 0 if state is None else (own >= 0) & ~state.hidden)
        scale = weight[case.code[told]]
        wrong = scale * (0 if state is None else state.error[told])
        return cls(
            case,
            len(keys),
            rows,
            starts,
            told,
            cell[told],
            own[told],
            scale * case.effect[told],
            wrong,
        )

    def __len__(self) -> int:
        """How many cells."""
        return len(self.starts) - 1

    @cached_property
    def rank(self) -> Ints:
        """Each event's place by arrival."""
        made = np.empty(len(self.rows), np.int64)
        made[self.rows] = np.arange(len(self.rows))
        return made

    def added(self, place: int, kind: int, *, wrong: bool = False) -> Floats:
        """What the events of a place and a kind (-1: all) come to, by cell and key.

        Or what is wrong with them.
        """
        at = self.case.places[place] if place >= 0 else Place("", -1, 0, len(self.rows))
        some = slice(*np.searchsorted(self.told, (at.low, at.high)))
        amounts = (self.wrong if wrong else self.effect)[some]
        if kind >= 0:
            amounts = np.where(self.case.kind[self.told[some]] == kind, amounts, 0.0)
        cells = self.cell[some] * self.keys + self.own[some]
        made = np.bincount(cells, weights=amounts, minlength=len(self) * self.keys)
        return made.reshape(len(self), self.keys).astype(float)

    def guess(self, family: Family, begin: int, end: int) -> Guess:
        """A range of cells as a guess: events along a track."""
        case, (cause, kind, place, copies) = self.case, family
        rows = self.rows
        if place >= 0:
            rows = np.arange(case.places[place].low, case.places[place].high)
        if kind >= 0:
            rows = rows[case.kind[rows] == kind]
        first, last = (
            int(at) for at in np.searchsorted(self.rank[rows], self.starts[[begin, end]])
        )
        tail = cause is MISSED and end == len(self)
        return Guess(
            cause,
            kind,
            place,
            rows,
            first,
            len(rows) if tail else max(last, first + 1),
            copies,
            tail,
        )
