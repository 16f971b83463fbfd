"""Windows that overlap on every key: no key is off by one of them alone, so none can be found alone.

First the largest is guessed by least squares over all keys. What every window does to a key is, by and large, its length
times the key's usual traffic; that part, which would make two windows look like one longer one, is taken out first, type by
type. What remains differs from place to place in the log, and the guess that leaves least lies near a true window: its edges
are off by a few events of each key, no more. The principle is that of orthogonal matching pursuit (Pati, Rezaiifar and
Krishnaprasad, 1993).

A guess that is off by a few events is no evidence, but it is fog that one can see through: of each key, the other windows
come to its difference less what the guess does to it, with its edges anywhere among the key's own events nearby. That is some
tens or hundreds of amounts out of the millions that a sum of its events may come to, so that a key still says many bits of
where another window is, and where the rectangles of many keys meet (see ``_meet``) it is. With that one known, the guessed one
is looked for anew as a window alone, by exact amounts. Through the fog of two guesses a third window is found likewise.
Windows found so are judged together: the keys that they put exactly right must say more bits than they all take to describe.

Cost: a guess O(n + cells**2 keys); a look through a fog of T amounts O(T n) a family of windows, n the events of the keys that
are asked, at most `WORK` in all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from recovery_kit.explain import _sweep
from recovery_kit.explain._alone import best_alone, drawn, together
from recovery_kit.explain._case import Case, Floats, Ints
from recovery_kit.explain._meet import Seen, Targets, candidates
from recovery_kit.explain._window import (
    BROKEN,
    MISSED,
    TWICE,
    Cause,
    State,
    Window,
    change_of,
    cost_of,
    settle,
    split,
    telling,
)  # fmt: skip

MOST_GUESSES = 4
"""Windows guessed together."""

DEPTH = 3
"""Windows found through fog, one behind the other."""

FOGS = (25, 150, 700)
"""How many amounts the guessed windows may come to for one key, from near their guessed edges to farther away."""

MOST_LOOKS = 10
"""Looks through fog in one pursuit."""

TRIED = 3
"""Candidates seen through one fog that are looked behind."""

WORK = 6e8
"""Steps of one look through a fog: the fewer keys are asked the more events each has."""

NEARLY = 0.03
"""Part of what keys differ by that guessed windows leave at most, to be believed without one exact key."""

MOST_EVENTS = 400_000
"""Events of a log beyond which this would take longer than reading the log did."""

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


def pursue(case: Case, found: Sequence[Window], causes: tuple[Cause, ...]) -> list[Window] | None:
    """More windows beside those found, settled together; None when they do not come to exact zeros."""
    if not _worth_it(case, found):
        return None
    return _behind(case, found, list(found), causes, DEPTH, iter(range(MOST_LOOKS)))


def nearly(case: Case, found: Sequence[Window], causes: tuple[Cause, ...]) -> list[Window] | None:
    """Guessed windows beside those found that leave next to nothing, though they put no key exactly right.

    A hundredfold window among others on few keys: its money is beyond doubt, the last event at its edges is not.
    """
    if not _worth_it(case, found):
        return None
    before = np.abs(settle(case, found).left.astype(float))
    guesses: list[Guess] = []
    for _ in range(MOST_GUESSES):
        more = _guessed(case, list(found), guesses, causes)
        if more is None:
            return None
        guesses = more
        new = [guess.window(case) for guess in guesses]
        after = np.abs(settle(case, [*found, *new]).left.astype(float))
        cost = sum(cost_of(case, w.cause, w.kind, w.place) for w in new)
        bits = float(np.log2((case.usual + before) / (case.usual + after)).sum()) - cost
        if bits > 0 and after.sum() <= NEARLY * before.sum():
            rest = float(after.sum() / before.sum())
            return [*found, *(replace(w, bits=bits / len(new), rest=rest) for w in new)]
    return None


def _worth_it(case: Case, found: Sequence[Window]) -> bool:
    off = (np.abs(settle(case, found).left) > case.slack).sum()
    return bool(off >= FEWEST and not case.wide and len(case.events) <= MOST_EVENTS)


def _behind(
    case: Case,
    found: Sequence[Window],
    known: list[Window],
    causes: tuple[Cause, ...],
    depth: int,
    looks: Iterator[int],
) -> list[Window] | None:
    """Guess a window, look for another through its fog, and for the guessed one behind that; ``known`` has windows so far."""
    guesses: list[Guess] = []
    for _ in range(MOST_GUESSES):
        more = _guessed(case, known, guesses, causes)
        if more is None:
            return None
        guesses = more
        for fog in FOGS:
            if next(looks, None) is None:
                return None
            seen = sorted(_through(case, known, guesses, causes, fog), key=lambda s: -s.bits)[:TRIED]
            for one in seen:
                windows = [*known, drawn(case.copied if one.copies else case, one)]
                last = best_alone(case, settle(case, windows), causes)
                if last:
                    verdict = _judged(case, found, together(case, [*windows, last]))
                else:
                    deeper = depth > 1 and one is seen[0]
                    verdict = _behind(case, found, windows, causes, depth - 1, looks) if deeper else None
                if verdict:
                    return verdict
    return None


def _through(
    case: Case, known: list[Window], guesses: list[Guess], causes: tuple[Cause, ...], fog: int
) -> Iterator[Seen]:
    """Windows that many keys point to, wherever near their guessed places the guessed ones may be."""
    state = settle(case, [*known, *(guess.window(case) for guess in guesses)])
    targets = _targets(case, known, guesses, state, fog, 1 + 2 * len(causes) * len(case.kinds))
    for side, copies in ((case, False), (case.copied, True)):
        yield from candidates(side, state, causes, copies=copies, targets=targets)


def _targets(case: Case, known: list[Window], guesses: list[Guess], state: State, fog: int, families: int) -> Targets:
    """Per key, what is left with the edges of each guess anywhere among some events of the key."""
    busy = np.bincount(case.code, minlength=len(case.keys))
    off = np.flatnonzero(np.abs(settle(case, known).left) > case.slack)
    off = off[np.argsort(busy[off], kind="stable")]
    asked = off[np.cumsum(busy[off]) * float(fog * families) <= WORK]
    edges = [edge for guess in guesses for edge in _edges(case, known, guesses, guess)]
    reach = max(1, round((fog ** (1 / len(edges)) - 1) / 2))
    options: dict[int, Ints] = {}
    for key in asked.tolist():
        amounts = state.left[[key]]
        for of_key in edges:
            amounts = np.unique(np.subtract.outer(amounts, of_key(key, reach)))
            if len(amounts) > 4 * fog:
                break
        else:
            options[key] = amounts
    counts = np.zeros(len(case.keys), np.int64)
    for key, amounts in options.items():
        counts[key] = len(amounts)
    values = [options[key] for key in sorted(options)]
    return Targets(np.append(0, np.cumsum(counts)), np.concatenate(values) if values else np.empty(0, np.int64))


def _edges(case: Case, known: list[Window], guesses: list[Guess], guess: Guess) -> Iterator[_Edge]:
    """A guess's edges: what moving each past some events of a key does to the key."""
    others = [g.window(case) for g in guesses if g is not guess]
    side = case.copied if guess.copies else case
    change = change_of(side, settle(case, [*known, *others]), guess.cause, copies=guess.copies)
    change = np.where(change % guess.cause.down == 0, change // guess.cause.down, 0)[guess.rows]
    keys = side.code[guess.rows]
    order = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[order], np.arange(len(case.keys) + 1))
    yield _Edge(order, starts, change, guess.begin, 1)
    if not guess.tail:
        yield _Edge(order, starts, change, guess.end, -1)


class _Edge(NamedTuple):
    order: Ints  # the rows of key k: order[starts[k]:starts[k + 1]]
    starts: Ints
    change: Ints
    at: int
    sign: int  # 1: a window begins here, -1: it ends here

    def __call__(self, key: int, reach: int) -> Ints:
        """What the window does more to the key when the edge is moved past 0, 1 ... ``reach`` of its events, either way."""
        own = self.order[self.starts[key] : self.starts[key + 1]]
        at = int(np.searchsorted(own, self.at))
        down = np.cumsum(self.change[own[max(at - reach, 0) : at][::-1]])
        up = np.cumsum(self.change[own[at : at + reach]])
        return np.concatenate([[0], self.sign * down, -self.sign * up])


def _judged(case: Case, found: Sequence[Window], windows: list[Window]) -> list[Window] | None:
    """The windows, when the keys that they put exactly right say more than the windows take to describe."""
    before, after = settle(case, found), settle(case, windows)
    was, now = np.abs(before.left) > case.slack, np.abs(after.left) > case.slack
    fixed, broken, new = was & ~now, ~was & now, windows[len(found) :]
    bits = float(telling(case, before.left[fixed]).sum()) - BROKEN * int(broken.sum())
    for window in new:
        # A window of several partitions has edges in each of them; they lie near each other.
        bits -= cost_of(case, window.cause, window.kind, window.place) + 4 * (len(window.spans) - 1)
    if not new or bits <= 0 or broken.sum() > 0.2 * fixed.sum() or fixed.sum() < 3 * len(new):
        return None
    each = replace(new[0], fixed=int(fixed.sum()) // len(new), broken=int(broken.sum()), bits=bits / len(new))
    return [*windows[: len(found)], *(replace(w, fixed=each.fixed, broken=each.broken, bits=each.bits) for w in new)]


def _guessed(case: Case, known: list[Window], guesses: list[Guess], causes: tuple[Cause, ...]) -> list[Guess] | None:
    """One guess more, and the edges of all where they then leave least."""
    state = settle(case, [*known, *(guess.window(case) for guess in guesses)])
    usual = _trend(case, -1, settle(case, known).left)
    first = sorted(_guesses(case, state, causes), key=lambda g: -g.gain)[:TRIES]
    tried = [_pressed(case, known, [*guesses, guess], only=len(guesses)) for guess in first]
    if not tried:
        return None
    best = min(tried, key=lambda gs: _rest(settle(case, [*known, *(g.window(case) for g in gs)]), usual))
    return _pressed(case, known, best) if guesses else best


def _rest(state: State, trend: tuple[Floats, Floats]) -> float:
    """The sum of squares of what is left, trends aside."""
    weight, across = trend
    left = state.left * weight
    left = left - across @ (across.T @ left)
    return float(left @ left)


def _pressed(case: Case, known: list[Window], guesses: list[Guess], *, only: int = -1) -> list[Guess]:
    """Move each guess's edges along its track to where they leave least once trends are taken out, in turn, or one's alone."""
    made = list(guesses)
    for _ in range(3):
        before = list(made)
        for at, guess in enumerate(made):
            if only < 0 or at == only:
                others = [g.window(case) for g in made[:at] + made[at + 1 :]]
                made[at] = _moved(case, settle(case, [*known, *others]), guess)
        if made == before:
            break
    return made


def _moved(case: Case, state: State, guess: Guess) -> Guess:
    side, down = case.copied if guess.copies else case, guess.cause.down
    weight, across = _trend(side, guess.place, state.left * down)
    rows, at = guess.rows, np.arange(len(guess.rows))
    key = side.code[rows]
    pull = change_of(side, state, guess.cause, copies=guess.copies)[rows] * weight[key]
    rest, begin, end = state.left * down * weight, guess.begin, guess.end
    if not guess.tail:
        end = _sweep.press(at, at + 1, begin, at, 1, key, pull, rest, across, begin + 1, len(rows), end)
    begin = _sweep.press(at[::-1].copy(), at, end, at + 1, -1, key, pull, rest, across, 0, end - 1, begin)
    if guess.cause is MISSED and len(rows) - end <= CLOSE * (
        end - begin
    ):  # more likely lag than a window that just ends there
        return guess._replace(begin=int(begin), end=len(rows), tail=True)
    return guess._replace(begin=int(begin), end=int(end))


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
                change = change_of(side, state, cause, copies=copies)
                left = (state.left * cause.down)[keys] * weight[keys]
                for kind in [-1] if whole else range(len(side.kinds)):
                    chosen = rows if kind < 0 else rows[side.kind[rows] == kind]
                    own = number[side.code[chosen]]
                    told = own >= 0
                    if told.sum() < FEWEST:
                        continue
                    pull = np.where(told, change[chosen] * weight[side.code[chosen]], 0.0)
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
    return len(left) / 2 * math.log2(before / after), int(starts[begin]), int(starts[end])
