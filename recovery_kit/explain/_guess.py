"""About where windows lie that overlap on every key: guesses by least squares over all keys (see ``_pursuit``)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from recovery_kit.explain._arrays import Floats, Ints
from recovery_kit.explain._case import Case
from recovery_kit.explain._sweep import Edge, press
from recovery_kit.explain._window import MISSED, TWICE, Cause, State, Window, change_of, cost_of, settle, split

CELLS = 400
"""Parts of a track between which a first guess lies."""

MOST_KEYS = 300
"""Keys that a first guess looks at, the busiest first."""

LONGEST = 0.6
"""Part of a track that a guessed window covers at most: with trends taken out, all that is outside a window looks like it."""

TRIES = 6
"""First guesses of which the edges are settled, before one is taken."""

CLOSE = 0.02
"""How near the end of the log a missed window may be guessed to end, in its own lengths, to be taken for lag."""

LEAST = 3.0
"""Bits by which a guess must make what is left smaller."""

FEWEST = 4
"""Keys that must be off for this to be tried, and events that a guess needs."""


class Guess(NamedTuple):
    """About where a window lies: the events ``rows[begin:end]`` of one partition, or of all by arrival."""

    gain: float
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
            spans = tuple((place, first, case.places[place][3]) for place, first, _ in spans)
        return Window(self.cause, self.kind, spans, self.copies)


def guessed(
    case: Case, known: list[Window], guesses: list[Guess], plain: list[Guess], causes: tuple[Cause, ...]
) -> list[Guess] | None:
    """One guess more, and the edges of all where they then leave least.

    It is one of the first guesses in the light of the others, or one of ``plain``, those that there were without them: a
    guess that is too long hides what overlaps with it. Or one guess becomes two.
    """
    usual = _trend(case, -1, settle(case, known).left)
    state = settle(case, [*known, *(guess.window(case) for guess in guesses)])
    more = [*plain, *(first_guesses(case, state, causes) if guesses else ())]
    made = [*([*guesses, guess] for guess in more), *_split(case, known, guesses)]
    tried = [_pressed(case, known, each, rounds=1) for each in made]
    if not tried:
        return None
    best = min(tried, key=lambda gs: _rest(settle(case, [*known, *(g.window(case) for g in gs)]), usual))
    return _pressed(case, known, best)


def first_guesses(case: Case, state: State, causes: tuple[Cause, ...]) -> list[Guess]:
    """The most telling guesses of all families of windows."""
    return sorted(_guesses(case, state, causes), key=lambda g: -g.gain)[:TRIES]


def _split(case: Case, known: list[Window], guesses: list[Guess]) -> Iterator[list[Guess]]:
    """The guesses with one of them cut in two: two windows of one mistake look like a longer one."""
    left = settle(case, [*known, *(guess.window(case) for guess in guesses)]).left
    for at, guess in enumerate(guesses):
        others = guesses[:at] + guesses[at + 1 :]
        side = case.copied if guess.copies else case
        state = settle(case, [*known, *(g.window(case) for g in others)])
        rows = guess.rows[guess.begin : guess.end]
        if len(rows) < 3 * FEWEST:
            continue
        weight, across = _trend(side, guess.place, left)
        key, down = side.code[rows], guess.cause.down
        undone = -change_of(side, state, guess.cause, rows, copies=guess.copies) * weight[key]
        gain, begin, end = _guess(key, undone, left * down * weight, across)
        if gain >= LEAST and begin > 0 and end < len(rows):
            first = guess._replace(end=guess.begin + begin, tail=False)
            yield [*guesses[:at], first, guess._replace(begin=guess.begin + end), *guesses[at + 1 :]]


def _rest(state: State, trend: tuple[Floats, Floats]) -> float:
    """The sum of squares of what is left, trends aside."""
    weight, across = trend
    left = state.left * weight
    left = left - across @ (across.T @ left)
    return float(left @ left)


def _pressed(case: Case, known: list[Window], guesses: list[Guess], *, rounds: int = 3) -> list[Guess]:
    """Move each guess's edges along its track to where they leave least once trends are taken out, in turn."""
    made = list(guesses)
    for _ in range(rounds):
        before = list(made)
        for at in range(len(made)):
            others = [g.window(case) for g in made[:at] + made[at + 1 :]]
            made[at] = _moved(case, settle(case, [*known, *others]), made[at])
        if made == before:
            break
    return made


def _moved(case: Case, state: State, guess: Guess) -> Guess:
    side, down = case.copied if guess.copies else case, guess.cause.down
    weight, across = _trend(side, guess.place, state.left * down)
    rows, at = guess.rows, np.arange(len(guess.rows))
    key = side.code[rows]
    pull = change_of(side, state, guess.cause, rows, copies=guess.copies) * weight[key]
    rest, begin, end = state.left * down * weight, guess.begin, guess.end
    if not guess.tail:
        end = press(Edge(at, at + 1, at, begin, True, begin + 1, len(rows), end), key, pull, rest, across)
    begin = press(Edge(at[::-1].copy(), at, at + 1, end, False, 0, end - 1, begin), key, pull, rest, across)
    if guess.cause is MISSED and len(rows) - end <= CLOSE * (
        end - begin
    ):  # more likely lag than a window that just ends there
        return guess._replace(begin=begin, end=len(rows), tail=True)
    return guess._replace(begin=begin, end=end)


def _trend(case: Case, place: int, left: Ints) -> tuple[Floats, Floats]:
    """A weight for each key, and what windows do to the keys wherever they are: columns, orthonormal, a row a key."""
    rows = slice(None) if place < 0 else slice(*case.places[place][2:])
    key, effect, kind, keys = case.code[rows], case.effect[rows].astype(float), case.kind[rows], len(case.keys)
    weight = 1 / np.sqrt(np.bincount(key, effect**2, minlength=keys) + 1.0)
    weight[np.bincount(key, minlength=keys) == 0] = 0.0
    size = np.abs(left) * weight
    usual = float(np.quantile(size[size > 0], 0.8)) if (size > 0).any() else 1.0
    weight[size > 10 * usual] = 0.0  # off by something else, and by far more than the others
    totals = [np.bincount(key[kind == t], effect[kind == t], minlength=keys) * weight for t in range(len(case.kinds))]
    across, scale, _ = np.linalg.svd(np.array(totals).T, full_matrices=False)
    return weight, np.ascontiguousarray(across[:, scale > 1e-9 * max(float(scale.max(initial=0.0)), 1e-300)])


def _guesses(case: Case, state: State, causes: tuple[Cause, ...]) -> Iterator[Guess]:
    """The best first guess of each family of windows."""
    for side, copies in ((case, False), (case.copied, True)):
        tracks = [(np.arange(low, high), at) for at, (_, _, low, high) in enumerate(side.places)]
        if len(tracks) > 1:
            tracks.append((side.by_arrival, -1))
        for rows, place in tracks:
            weight, across = _trend(side, place, state.left)
            keys = np.flatnonzero(weight > 0)
            off = keys[np.abs(state.left[keys]) > side.slack]
            if len(off) < FEWEST or len(off) * 4 < len(keys):
                continue  # where most keys agree, a window stands out by those
            busy = np.bincount(side.code[rows], minlength=len(side.keys))
            keys = keys[np.argsort(-busy[keys])][:MOST_KEYS]
            number = np.full(len(side.keys), -1)
            number[keys] = np.arange(len(keys))
            for cause in (TWICE,) if copies and TWICE in causes else () if copies else causes:
                whole = cause in (MISSED, TWICE)
                if not whole and place >= 0 and len(side.places) > 1:
                    continue  # a release that turns signs is everywhere; one partition's own is not guessed
                left = (state.left * cause.down)[keys] * weight[keys]
                for kind in [-1] if whole else range(len(side.kinds)):
                    chosen = rows if kind < 0 else rows[side.kind[rows] == kind]
                    own = number[side.code[chosen]]
                    told = own >= 0
                    if told.sum() < FEWEST:
                        continue
                    change = change_of(side, state, cause, chosen, copies=copies)
                    pull = np.where(told, change * weight[side.code[chosen]], 0.0)
                    for tail in (False, True) if cause is MISSED else (False,):
                        gain, begin, end = _guess(np.maximum(own, 0), pull, left, across[keys], tail=tail)
                        if gain >= LEAST:
                            gain -= cost_of(side, cause, kind, place, tail=tail)
                            yield Guess(gain, cause, kind, place, chosen, begin, end, copies, tail)


def _guess(key: Ints, change: Floats, left: Floats, across: Floats, *, tail: bool = False) -> tuple[float, int, int]:
    """Between which cells a window would leave least, trends aside: bits gained, first event, event after the last."""
    cells = min(CELLS, max(len(key) // 16, FEWEST))
    cell = np.arange(len(key)) * cells // len(key)
    told = np.bincount((cell + 1) * len(left) + key, change, minlength=(cells + 1) * len(left))
    run: Floats = np.cumsum(told.reshape(cells + 1, len(left)).astype(float), axis=0)
    run = run - (run @ across) @ across.T
    left = left - across @ (across.T @ left)
    # |left - (run[end] - run[begin])|**2 for every pair of cells, by products alone.
    own, toward = np.einsum("ij,ij->i", run, run), run @ left
    gains = 2 * (toward[None, :] - toward[:, None]) - (own[None, :] + own[:, None] - 2 * (run @ run.T))
    apart = np.arange(cells + 1)[None, :] - np.arange(cells + 1)[:, None]
    gains[(apart < 1) | (apart > LONGEST * cells)] = -np.inf
    if tail:
        gains[:, :-1] = -np.inf
    begin, end = divmod(int(np.argmax(gains)), cells + 1)
    before = max(float(left @ left), 1e-300)
    after = max(before - max(float(gains[begin, end]), 0.0), 1e-9 * before)
    starts = np.searchsorted(cell, np.arange(cells + 1))
    free = len(left) - across.shape[1]  # the trends fit as many keys as there are trends
    return free / 2 * math.log2(before / after), int(starts[begin]), int(starts[end])
