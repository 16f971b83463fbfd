"""Windows that overlap on every key: no key is off by one of them alone, so none can be found alone.

They are guessed, one after the other, by least squares over all keys. What every window does to a key is, by and large, its
length times the key's usual traffic; that part, which would make two windows look like one longer one, is taken out
first, type by type. What remains differs from place to place in the log, and the guess that leaves least is near a true
window. Then every edge of every window is moved to its best place, over and over: an edge that is off by some events
disturbs the others only by a share of that, one over the number of keys, so with tens of keys they come to rest on the
true edges, where what is left of most keys is exactly nothing. Only that counts as evidence: guesses that do not end in
exact zeros, for more bits than the windows take to describe, are thrown away. The principle is that of orthogonal
matching pursuit (Pati, Rezaiifar and Krishnaprasad, 1993). Cost: O(n) an edge and a round; a first guess O(n + cells**2 keys).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from recovery_kit.explain._case import Case, Floats, Ints
from recovery_kit.explain._edges import Aim, settled
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
)  # fmt: skip

MOST_WINDOWS = 5
"""Windows guessed together."""

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

LEAST = 3.0
"""Bits by which a guess must make what is left smaller."""

ROUNDS = 12
FEWEST = 4
"""Keys that must be off for this to be tried, and events that a guess needs."""


class Guess(NamedTuple):
    """A window from one cell of a track to another, and the bits by which it makes what is left smaller."""

    gain: float
    window: Window


def pursue(case: Case, found: Sequence[Window], causes: tuple[Cause, ...]) -> list[Window] | None:
    """More windows beside those found, settled together; None when they do not come to exact zeros."""
    before = settle(case, found)
    if (np.abs(before.left) > case.slack).sum() < FEWEST or case.wide or len(case.events) > MOST_EVENTS:
        return None
    windows, usual = list(found), _trend(case, -1, before.left)
    for _ in range(MOST_WINDOWS):
        guesses = sorted(_guesses(case, settle(case, windows), causes), key=lambda g: -g.gain)[:TRIES]
        if not guesses:
            break
        tried = [_settled(case, [*windows, guess.window], only=len(windows)) for guess in guesses]
        windows = _settled(case, min(tried, key=lambda windows: _rest(settle(case, windows), usual)))
        verdict = _judged(case, before, found, _settled(case, windows, free=False, rounds=3))
        if verdict:
            return verdict
    return None


def _rest(state: State, trend: tuple[Floats, Floats]) -> float:
    """The sum of squares of what is left, trends aside."""
    weight, across = trend
    left = state.left * weight
    left = left - across @ (across.T @ left)
    return float(left @ left)


def _judged(case: Case, before: State, found: Sequence[Window], windows: list[Window]) -> list[Window] | None:
    """The windows, when the keys that they put exactly right say more than the windows take to describe."""
    after = settle(case, windows)
    was, now = np.abs(before.left) > case.slack, np.abs(after.left) > case.slack
    fixed, broken, new = was & ~now, ~was & now, windows[len(found) :]
    share = case.amounts[1] / len(case.effect)
    most = 4 - math.log2(float((share**2).sum()))  # what one exact amount says: less where amounts repeat
    bits = float(np.minimum(np.log2(1 + np.abs(before.left[fixed]) / case.unit), most).sum()) - BROKEN * int(
        broken.sum()
    )
    for window in new:
        # A window of several partitions has edges in each of them; they lie near each other.
        bits -= cost_of(case, window.cause, window.kind, window.place) + 4 * (len(window.spans) - 1)
    if not new or bits <= 0 or broken.sum() > 0.2 * fixed.sum() or fixed.sum() < 3 * len(new):
        return None
    each = replace(new[0], fixed=int(fixed.sum()) // len(new), broken=int(broken.sum()), bits=bits / len(new))
    return [*windows[: len(found)], *(replace(w, fixed=each.fixed, broken=each.broken, bits=each.bits) for w in new)]


def _settled(
    case: Case, windows: list[Window], *, free: bool = True, only: int = -1, rounds: int = ROUNDS
) -> list[Window]:
    """Move each window's edges to where they leave least, in turn, until none moves; or those of one window only.

    With ``free`` that is the least once trends are taken out, as it must be while windows are still to be found.
    """
    windows = list(windows)
    for _ in range(rounds if only < 0 else 2):
        before = list(windows)
        for at, window in enumerate(windows):
            if only >= 0 and at != only:
                continue
            side = case.copied if window.copies else case
            state = settle(case, windows[:at] + windows[at + 1 :])
            trend = _trend(side, window.place, state.left * window.cause.down) if free else None
            spans = settled(side, window, state, Aim(hard=False, trend=trend, far=window.place >= 0, cycles=1))
            windows[at] = replace(window, spans=tuple(span for span in spans if span[2] > span[1]))
        windows = [window for window in windows if window.spans]
        if windows == before or len(windows) < len(before):
            break
    return windows


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
            rows = rows[number[side.code[rows]] >= 0]
            for cause in (TWICE,) if copies and TWICE in causes else () if copies else causes:
                whole = cause in (MISSED, TWICE)
                if not whole and place >= 0 and len(side.places) > 1:
                    continue  # a release that turns signs is everywhere; one partition's own is not guessed
                change = change_of(side, state, cause, copies=copies)
                left = (state.left * cause.down)[keys] * weight[keys]
                for kind in [-1] if whole else range(len(side.kinds)):
                    chosen = rows if kind < 0 else rows[side.kind[rows] == kind]
                    if len(chosen) < FEWEST:
                        continue
                    own = side.code[chosen]
                    for tail in (False, True) if cause is MISSED else (False,):
                        gain, begin, end = _guess(
                            number[own], change[chosen] * weight[own], left, across[keys], tail=tail
                        )
                        if gain < LEAST:
                            continue
                        spans = split(side, chosen[begin:end])
                        if tail:
                            spans = tuple((at, first, side.places[at][3]) for at, first, _ in spans)
                        gain -= cost_of(side, cause, kind, place, tail=tail)
                        yield Guess(gain, Window(cause, kind, spans, copies))


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
