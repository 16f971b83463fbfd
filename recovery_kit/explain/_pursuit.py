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
is looked for anew as a window alone, by exact amounts. Through the fog of two guesses a third window is found likewise, and
each guess through the fog of the others. Where all windows are guessed, nothing blurs the guesses: settled together, they come to
exact zeros by themselves.
Windows found so are judged together: the keys that they put exactly right must say more bits than they all take to describe.

Cost: a guess O(n + cells**2 keys); a look through a fog of T amounts O(T n) a family of windows, n the events of the keys that
are asked, at most `WORK` in all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from recovery_kit.explain._alone import best_alone, drawn, keys_off, together
from recovery_kit.explain._arrays import Ints
from recovery_kit.explain._case import Case
from recovery_kit.explain._guess import FEWEST, Guess, first_guesses, guessed
from recovery_kit.explain._meet import Seen, Targets, candidates
from recovery_kit.explain._window import (
    BROKEN,
    Cause,
    State,
    Window,
    change_of,
    cost_of,
    settle,
    telling,
)  # fmt: skip

DEPTH = 3
"""Windows found through fog, one behind the other; one more is guessed together."""

MOSTLY = 0.25
"""Part of the keys touched that guesses must put exactly right by themselves: one near the true windows puts right a few."""

FOGS = (25, 150, 700)
"""How many amounts the guessed windows may come to for one key, from near their guessed edges to farther away."""

MOST_LOOKS = 12
"""Looks through fog in one pursuit."""

TRIED = 3
"""Candidates seen through one fog that are looked behind."""

WORK = 6e8
"""Steps of one look through a fog: the fewer keys are asked the more events each has."""

NEARLY = 0.03
"""Part of what keys differ by that guessed windows leave at most, to be believed without one exact key."""

MOST_EVENTS = 400_000
"""Events of a log beyond which this would take longer than reading the log did."""


def pursue(case: Case, found: Sequence[Window], causes: tuple[Cause, ...]) -> list[Window] | None:
    """More windows beside those found, settled together; None when they neither come to exact zeros nor to next to nothing."""
    off = (np.abs(settle(case, found).left) > case.slack).sum()
    if off < FEWEST or case.wide or len(case.events) > MOST_EVENTS:
        return None
    chain: list[list[Guess]] = []
    exact = _behind(case, found, list(found), causes, DEPTH, iter(range(MOST_LOOKS)), chain)
    return together(case, exact) if exact else _nearly(case, found, chain)


def _nearly(case: Case, found: Sequence[Window], chain: list[list[Guess]]) -> list[Window] | None:
    """Guessed windows beside those found that leave next to nothing, though they put no key exactly right.

    A hundredfold window among others on few keys: its money is beyond doubt, the last event at its edges is not.
    """
    before = np.abs(settle(case, found).left.astype(float))
    for guesses in chain:
        new = [guess.window(case) for guess in guesses]
        after = np.abs(settle(case, [*found, *new]).left.astype(float))
        cost = sum(cost_of(case, w.cause, w.kind, w.place) for w in new)
        bits = float(np.log2((case.usual + before) / (case.usual + after)).sum()) - cost
        if bits > 0 and after.sum() <= NEARLY * before.sum():
            rest = float(after.sum() / before.sum())
            return [*found, *(replace(w, bits=bits / len(new), rest=rest) for w in new)]
    return None


def _behind(
    case: Case,
    found: Sequence[Window],
    known: list[Window],
    causes: tuple[Cause, ...],
    depth: int,
    looks: Iterator[int],
    chain: list[list[Guess]],
) -> list[Window] | None:
    """Guess a window, look for another through its fog, and for the guessed one behind that; ``known`` has windows so far.

    ``chain`` is given the guesses, one more each time.
    """
    guesses: list[Guess] = []
    plain = first_guesses(case, settle(case, known), causes)
    for _ in range(depth + 1):
        more = guessed(case, known, guesses, plain, causes)
        if more is None:
            return None
        guesses = more
        chain.append(guesses)
        whole = _needed(case, found, together(case, [*known, *(guess.window(case) for guess in guesses)]))
        if len(whole) > len(found) + 1 and _mostly(case, found, whole) and (verdict := _judged(case, found, whole)):
            return verdict  # one window alone would have been found without a guess
        for at, one in _looked(case, known, guesses, causes, looks):
            windows = [*known, drawn(case.copied if one.copies else case, one)]
            if last := best_alone(case, settle(case, windows), causes):
                verdict = _judged(case, found, _needed(case, found, together(case, [*windows, last])))
            else:
                deeper = depth > 1 and not at
                verdict = _behind(case, found, windows, causes, depth - 1, looks, []) if deeper else None
            if verdict:
                return verdict
    return None


def _looked(
    case: Case, known: list[Window], guesses: list[Guess], causes: tuple[Cause, ...], looks: Iterator[int]
) -> Iterator[tuple[int, Seen]]:
    """What is seen, the best of each look first, through the fog of all guesses but one, for that one, and of all of them."""
    but_one = [guesses[:at] + guesses[at + 1 :] for at in range(len(guesses))] if len(guesses) > 1 else []
    for fog, through in itertools.product(FOGS, (*but_one, guesses)):
        if next(looks, None) is None:
            return
        yield from enumerate(sorted(_through(case, known, through, causes, fog), key=lambda s: -s.bits)[:TRIED])


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
    change = change_of(side, settle(case, [*known, *others]), guess.cause, guess.rows, copies=guess.copies)
    change = np.where(change % guess.cause.down == 0, change // guess.cause.down, 0)
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


def _needed(case: Case, found: Sequence[Window], windows: list[Window]) -> list[Window]:
    """The windows without those that put nothing right beside the others: what one was seen through may be all of it."""
    for window in windows[len(found) :]:
        without = [w for w in windows if w is not window]
        if keys_off(case, settle(case, without)) <= keys_off(case, settle(case, windows)):
            windows = without
    return windows


def _mostly(case: Case, found: Sequence[Window], windows: list[Window]) -> bool:
    """Whether the windows put right so many of the keys that they touch that hardly one is missing, or some events off."""
    before, after = settle(case, found).left, settle(case, windows).left
    right = np.abs(after[before != after]) <= case.slack
    return bool(right.sum() > MOSTLY * len(right))


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
