"""About where windows lie that overlap on every key: their edges moved to where they leave least
(see ``_pursuit``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recovery_kit.explain.case.arrays import Floats, Ints
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.windows.sweeps import Edge, press
from recovery_kit.explain.windows.window import (
    MISSED,
    Cause,
    State,
    Window,
    change_of,
    settle,
    split,
)

CLOSE = 0.02
"""How near the end of the log a missed window may be guessed to end, in its own lengths, to be
taken for lag.
"""

ROUNDS = 3
"""How often at most the edges of all guesses are gone through."""


class Guess(NamedTuple):
    """About where a window lies: the events ``rows[begin:end]`` of one partition, or of all by
    arrival.
    """

    cause: Cause
    kind: int
    place: int  # -1: all
    rows: Ints
    begin: int
    end: int
    copies: bool
    tail: bool

    def window(self, case: Case) -> Window:
        """The guess as a window, up to the end of each partition if it is a tail."""
        spans = split(case.copied if self.copies else case, self.rows[self.begin : self.end])
        if self.tail:
            spans = tuple(span._replace(end=case.places[span.place].high) for span in spans)
        return Window(self.cause, self.kind, spans, self.copies)


def pressed(case: Case, known: Sequence[Window], guesses: list[Guess]) -> list[Guess]:
    """Move each guess's edges along its track to where they leave least once trends are taken out,
    in turn.
    """
    made = list(guesses)
    for _ in range(ROUNDS):
        before = list(made)
        for at in range(len(made)):
            others = [g.window(case) for g in made[:at] + made[at + 1 :]]
            made[at] = _moved(case, settle(case, [*known, *others]), made[at])
        if made == before:
            break
    return made


def _moved(case: Case, state: State, guess: Guess) -> Guess:
    side, down = case.copied if guess.copies else case, guess.cause.down
    weight, across = trend(side, guess.place, state.left * down)
    rows, at = guess.rows, np.arange(len(guess.rows))
    key = side.code[rows]
    pull = change_of(side, state, guess.cause, rows, copies=guess.copies) * weight[key]
    rest, begin, end = state.left * down * weight, guess.begin, guess.end
    if not guess.tail:
        end = press(
            Edge(at, at + 1, at, begin, True, begin + 1, len(rows), end), key, pull, rest, across
        )
    begin = press(
        Edge(at[::-1].copy(), at, at + 1, end, False, 0, end - 1, begin), key, pull, rest, across
    )
    if guess.cause is MISSED and len(rows) - end <= CLOSE * (end - begin):
        # More likely lag than a window that just ends there.
        return guess._replace(begin=begin, end=len(rows), tail=True)
    return guess._replace(begin=begin, end=end)


def trend(case: Case, place: int, left: Ints) -> tuple[Floats, Floats]:
    """A weight for each key, and what windows do to the keys wherever they are: columns,
    orthonormal, a row a key.
    """
    rows = slice(None) if place < 0 else slice(case.places[place].low, case.places[place].high)
    key, effect, kind, keys = (
        case.code[rows],
        case.effect[rows].astype(float),
        case.kind[rows],
        len(case.keys),
    )
    weight = 1 / np.sqrt(np.bincount(key, effect**2, minlength=keys) + 1.0)
    weight[np.bincount(key, minlength=keys) == 0] = 0.0
    size = np.abs(left) * weight
    usual = float(np.quantile(size[size > 0], 0.8)) if (size > 0).any() else 1.0
    weight[size > 10 * usual] = 0.0  # off by something else, and by far more than the others
    totals = [
        np.bincount(key[kind == t], effect[kind == t], minlength=keys) * weight
        for t in range(len(case.kinds))
    ]
    return weight, spanned(np.array(totals).T)


def without(across: Floats, amounts: Floats) -> Floats:
    """Amounts, a key a column, without what orthonormal columns span."""
    return amounts - (amounts @ across) @ across.T


def spanned(columns: Floats) -> Floats:
    """Orthonormal columns that span the same."""
    across, scale, _ = np.linalg.svd(columns, full_matrices=False)
    return np.ascontiguousarray(
        across[:, scale > 1e-9 * max(float(scale.max(initial=0.0)), 1e-300)]
    )
