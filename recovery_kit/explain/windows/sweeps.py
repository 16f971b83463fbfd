"""The compiled part of the search for windows: over millions of events, in integers, without the
interpreter.

Amounts are whole numbers of the smallest unit, modulo 2**64: equality then still means equality (a
chance of 2**-64 apart), also where sums of amounts with many decimals pass 64 bits. The arrays go
to the kernels by their addresses, so each must be contiguous and of 8 bytes a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recovery_kit.explain.case.arrays import Bools, Floats, Ints
from recovery_kit.explain.case.tracks import Track
from recovery_kit.kernels import address, load

ROOM = 200_000
"""Pairs found at a time."""


def lay(track: Track, groups: Ints, kind: int, change: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """The prefix sums of ``change`` over the events of one kind in some groups of a track.

    Returns the groups that have such events, where the sums of each begin, the sums, and for each
    the last position of an edge before which just these events stand.

    Parameters
    ----------
    track : Track
    groups : int64 array, shape (n,)
        Numbers of groups of the track.
    kind : int
        The number of a type; -1: all.
    change : int64 array, shape (events,)
        By row, what the event adds to the sums, modulo 2**64.
    """
    room = int((track.starts[groups + 1] - track.starts[groups]).sum()) + len(groups)
    kept, starts = np.empty(len(groups), np.int64), np.empty(len(groups) + 1, np.int64)
    sums = np.empty((2, room), np.int64)
    about = (track.starts, track.rows, track.kinds)
    count = load().lay(
        address(groups), len(groups), *map(address, about), kind,
        *map(address, (track.positions, change, track.ends, kept, starts, *sums)),
    )  # fmt: skip
    prefix, upto = sums[:, : starts[count]]
    return kept[:count], starts[: count + 1], prefix, upto


def rank(starts: Ints, values: Ints) -> Ints:
    """Sort each group's values, in place; returns where within its group each stood."""
    order = np.empty(len(values), np.int64)
    spare = np.empty((2, int(np.diff(starts).max(initial=0))), np.int64)
    digits = np.empty(256, np.int64)
    load().rank(
        len(starts) - 1,
        address(starts),
        address(values),
        address(order),
        address(spare[0]),
        address(spare[1]),
        address(digits),
    )
    return order


def pairs(
    starts: Ints, prefix: Ints, index: Ints, owned: Ints, targets: Ints, slack: int, most: int
) -> tuple[Ints, Ints, Ints]:
    """Per group, the pairs (i, j) of its prefix sums, i before j, that lie one of its targets
    apart.

    Returns where each group's pairs begin, and the pairs.

    Parameters
    ----------
    starts : int64 array, shape (groups + 1,)
        Where each group's prefix sums begin.
    prefix : int64 array, shape (sums,)
        Sorted within each group.
    index : int64 array, shape (sums,)
        Where within its group each stood before the sort.
    owned : int64 array, shape (groups + 1,)
        Where each group's targets begin.
    targets : int64 array, shape (targets,)
    slack : int
        By how much a pair may miss a target.
    most : int
        A group with more pairs says nothing of where the window is, and gives none.
    """
    where = (address(starts), address(prefix), address(index), address(owned), address(targets))
    begins, i, j = _in_rooms(load().pairs, len(starts) - 1, where, slack, most, 2)
    return begins, i, j


def tails(
    starts: Ints, prefix: Ints, index: Ints, owned: Ints, targets: Ints, slack: int, most: int
) -> tuple[Ints, Ints]:
    """As `pairs`, but only those of which j is the last: windows up to the end.

    Parameters
    ----------
    starts, prefix, index, owned, targets : int64 array
        As for `pairs`.
    slack, most : int
        As for `pairs`.
    """
    where = (address(starts), address(prefix), address(index), address(owned), address(targets))
    begins, i = _in_rooms(load().tails, len(starts) - 1, where, slack, most, 1)
    return begins, i


def _in_rooms(
    kernel: Callable[..., int],
    groups: int,
    where: tuple[int, ...],
    slack: int,
    most: int,
    columns: int,
) -> tuple[Ints, ...]:
    """Let a kernel find what it finds room by room: where each group's begin, and the columns
    found.

    Parameters
    ----------
    kernel : Callable
        The kernel ``pairs`` or ``tails``.
    groups : int
        How many groups there are.
    where : tuple of int
        The addresses of the kernel's arrays, ``starts`` to ``targets``.
    slack : int
        By how much a pair may miss a target.
    most : int
        A group for which more is found gives nothing.
    columns : int
        How many numbers the kernel writes for each find.
    """
    counts = np.empty(groups, np.int64)
    room, group = ROOM + most, 0
    parts = [np.empty((columns, 0), np.int64)]
    while group < groups:
        found = np.empty((columns, room), np.int64)
        behind = kernel(
            group, groups, *where, slack, most, room, address(counts), *map(address, found)
        )
        parts.append(found[:, : counts[group:behind].sum()])
        group = behind
    return np.append(0, np.cumsum(counts)), *np.concatenate(parts, axis=1)


def cover(s0: Ints, s1: Ints, e0: Ints, e1: Ints, weight: Floats) -> tuple[Ints, Ints, Floats]:
    """Sweep rectangles [s0, s1] x [e0, e1] by s: at each s where one begins, the e under the most
    weight.

    Returns s, e and weight, a row a distinct s0. O(R log R) of R rectangles, by a tree of maxima
    over e.

    Parameters
    ----------
    s0, s1, e0, e1 : int64 array, shape (R,)
        The rectangles' sides, their edges included; R is at least 1.
    weight : float64 array, shape (R,)
    """
    count, edges = len(s0), np.sort(np.concatenate((e0, e1 + 1)))
    edges = edges[np.append(True, edges[1:] != edges[:-1])]
    size = 1 << (len(edges) - 1).bit_length()
    by = np.argsort(s0, kind="stable"), np.argsort(s1, kind="stable")
    leaves = np.searchsorted(edges, e0), np.searchsorted(edges, e1 + 1)
    tree, found, best = np.zeros((2, 2 * size)), np.empty((2, count), np.int64), np.empty(count)
    given = map(address, (*by, s0, s1, *leaves, weight))
    n = load().cover(count, *given, size, *map(address, (*tree, *found, best)))
    at_s, leaf = found[:, :n]
    return at_s, edges[np.minimum(leaf, len(edges) - 1)], best[:n]


def sums(first: Ints, last: Ints, begin: int, end: int, key: Ints, change: Ints, keys: int) -> Ints:
    """By how much a window changes each key's total.

    Parameters
    ----------
    first, last : int64 array, shape (n,)
        An event is in the window when ``begin <= first`` and ``last <= end``.
    begin, end : int
        The window's edges.
    key, change : int64 array, shape (n,)
        Each event's key, and by how much it changes its key's total, modulo 2**64.
    keys : int
        How many keys there are.
    """
    total = np.zeros(keys, np.int64)
    load().sums(
        len(key),
        address(first),
        address(last),
        begin,
        end,
        address(key),
        address(change),
        address(total),
    )
    return total


class Edge(NamedTuple):
    """An edge of a window that moves outwards, an event at a time.

    Attributes
    ----------
    order : int64 array
        Events as the edge passes them.
    edge, other : int64 array
        By event, where the edge must be so that the event is inside, and the event's own place
        against the other edge.
    fixed : int
        The other edge.
    up : bool
        Whether events must lie at or after ``fixed``, or not after it.
    low, high, near : int
        The edge may be from ``low`` to ``high``, and is now at ``near``.
    """

    order: Ints
    edge: Ints
    other: Ints
    fixed: int
    up: bool
    low: int
    high: int
    near: int

    def passed(self) -> Ints:
        """The events that the edge passes, in its order."""
        other = self.other[self.order]
        made: Ints = self.order[other >= self.fixed if self.up else other <= self.fixed]
        return made

    def best(self, passed: Ints, gains: Floats, *, nearest: bool) -> int:
        """Where the gain is highest: ``gains[n]`` is that of the first n of the events passed.

        Of equally good places it is the first, or the nearest to where the edge is.
        """
        places = np.append(self.fixed, self.edge[passed])
        rests = np.flatnonzero(
            np.append(places[1:] != places[:-1], True)
        )  # no edge between two events of one place
        here, there = places[rests], places[np.minimum(rests + 1, len(passed))]
        if self.up:
            a, b = np.maximum(here, self.low), np.minimum(there - 1, self.high)
            b[-1] = self.high
        else:
            a, b = np.maximum(there + 1, self.low), np.minimum(here, self.high)
            a[-1] = self.low
        fits = a <= b
        if not fits.any():
            return self.near
        edge, gain = np.minimum(np.maximum(self.near, a), b)[fits], gains[rests][fits]
        best = gain == gain.max()
        edge = edge[best]
        return int(edge[np.argmin(np.abs(edge - self.near)) if nearest else 0])


def scan(
    edge: Edge, key: Ints, change: Ints, left: Ints, slack: int, weight: float, unit: float
) -> int:
    """Move an edge to where the fewest keys stay off.

    Parameters
    ----------
    edge : Edge
    key, change : int64 array, shape (n,)
        Each event's key, and by how much the window would change its key's total.
    left : int64 array, shape (keys,)
        By key, what is to be explained.
    slack : int
        Up to how much may be left of a key that is not off.
    weight, unit : float
        What a bit less of what is left counts against a key, in whole keys; its size is in this
        unit.

    Returns
    -------
    int
        The edge; of equally good places the nearest.
    """
    passed = edge.passed()
    state, was = left.copy(), np.empty(len(passed), np.int64)
    load().walk(len(passed), *map(address, (passed, key, change, state, was)))
    now = was - change[passed]
    bits = np.log2((unit + np.abs(was.astype(float))) / (unit + np.abs(now.astype(float))))
    right = _within(now, slack).astype(np.int64) - _within(was, slack)
    gains = np.cumsum(right) + np.trunc(weight * np.cumsum(bits))
    return edge.best(passed, np.append(0.0, gains), nearest=True)


def _within(amounts: Ints, slack: int) -> Bools:
    made: Bools = (amounts >= -slack) & (amounts <= slack)
    return made


def press(edge: Edge, key: Ints, change: Floats, left: Floats, trend: Floats) -> int:
    """Move an edge to where the sum of squares of what is left is least, after any share of
    ``trend`` is taken out of it.

    Of equally good places it is the first.

    Parameters
    ----------
    edge : Edge
    key : int64 array, shape (n,)
        Each event's key.
    change : float64 array, shape (n,)
        By how much the window would change its key's total, weighted by key.
    left : float64 array, shape (keys,)
        By key, what is to be explained, weighted likewise.
    trend : float64 array, shape (keys, columns)
        Orthonormal columns.
    """
    passed = edge.passed()
    state, was = left.copy(), np.empty(len(passed))
    load().walk_floats(len(passed), *map(address, (passed, key, change, state, was)))
    across, y = trend[key[passed]], change[passed]
    along = np.cumsum(np.concatenate(([trend.T @ left], -y[:, None] * across)), axis=0)[:-1]
    straight = was - (across * along).sum(axis=1)
    length = 1.0 - (across * across).sum(axis=1)
    gains = np.cumsum(2 * y * straight - y * y * length)
    return edge.best(passed, np.append(0.0, gains), nearest=False)
