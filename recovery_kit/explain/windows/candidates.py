"""Where the windows that single keys point to meet: the candidates for an incident."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from recovery_kit._threads import in_order
from recovery_kit.explain.case.arrays import Bools, Floats, Ints
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.case.tracks import Track
from recovery_kit.explain.windows import sweeps
from recovery_kit.explain.windows.window import (
    CAUSES,
    MISSED,
    TWICE,
    Cause,
    State,
    change_of,
    cost_of,
    telling,
)

MOST_PAIRS = 3_000
"""Pairs of prefix sums of one key; one with more fits so many windows that it tells nothing."""

HIT = 3.0
"""Bits that it takes to say that a key is off by an event of its own."""

SPARSE = 4.0
"""Bits by which an amount must be rarer than pairs of prefix sums are many, for a pair that comes
to it to be no chance.
"""

MOST_MEETINGS = 5
"""Candidates of one family of windows."""


class Aims(NamedTuple):
    """What a pair of prefix sums of group g is to come to, give or take ``slack``:
    ``values[starts[g]]``, if g has any.
    """

    starts: Ints
    values: Ints
    slack: int


class Seen(NamedTuple):
    """A candidate: a window along a track, with the bits by which the keys that point to it
    outweigh its cost.
    """

    bits: float
    cause: Cause
    kind: int
    place: int  # -1: all, and begin and end are ranks by arrival
    begin: int
    end: int
    copies: bool
    tells: Floats  # bits by key
    tail: bool  # up to the end of the log


def candidates(
    case: Case, state: State, causes: tuple[Cause, ...], asked: Bools, *, copies: bool
) -> Iterator[Seen]:
    """For every family of windows (track, type, cause) those that the most bits of the keys that
    are asked point to.

    Parameters
    ----------
    case : Case
        Or its ``copied``, to look among the redelivered copies.
    state : State
        What is left to explain, and what is already wrong with the events.
    causes : tuple of Cause
        The mistakes to look for.
    asked : bool array, shape (keys,)
        By key, whether it is asked.
    copies : bool
        Whether the case is a ``copied``: what it holds can only have been applied twice.
    """
    if not len(case.events):
        return
    wanted = [
        c
        for c in causes
        if (c is TWICE or not copies) and (abs(c.up) == c.down == 1 or not case.wide)
    ]
    kinds = [-1] if copies or len(case.kinds) < 2 else range(-1, len(case.kinds))
    visible = (
        case.effect if copies or not state.hidden.any() else np.where(state.hidden, 0, case.effect)
    )
    missing = (
        None
        if copies or not state.error.any()
        else change_of(case, state, MISSED, slice(None), copies=False)
    )

    def of(family: tuple[Track, int]) -> list[Seen]:
        track, kind = family
        groups = np.flatnonzero(asked[track.keys])
        plain = Grid.of(track, groups, kind, visible)
        if not len(plain.keys):
            return []
        made = []
        for cause in wanted:
            grid, how = plain, cause
            if cause is MISSED and missing is not None:
                grid = Grid.of(track, groups, kind, missing)
                how = cause._replace(up=1)  # the sign is in the change already
            aims = grid.aims(case, state.left, how)
            for place, begin, end, bits, tells, tail in grid.meet(case, cause, kind, aims):
                made.append(Seen(bits, cause, kind, place, begin, end, copies, tells, tail))
        return made

    families = [(track, kind) for track in case.tracks for kind in kinds]
    for _, seen in in_order(of, families):
        yield from seen


Meeting = tuple[int, int, int, float, Floats, bool]


class Grid(NamedTuple):
    """Prefix sums of the divergent keys' events along a track, and between which positions each one
    holds.

    A group is a key's events of one place: ``starts`` says where its prefix sums begin. ``prefix``
    is sorted within a group, and ``order`` says which prefix it is; ``upto``, not sorted, gives the
    position up to which a prefix holds, from that of the one before it.
    """

    track: Track
    starts: Ints
    prefix: Ints
    order: Ints
    keys: Ints
    begins: Ints  # by group, where its place begins and ends
    ends: Ints
    upto: Ints

    @classmethod
    def of(cls, track: Track, groups: Ints, kind: int, change: Ints) -> Grid:
        """Prefix sums of ``change`` over the events of one kind in some groups.

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
        kept, starts, prefix, upto = sweeps.lay(track, groups, kind, change)
        order = sweeps.rank(starts, prefix)
        return cls(
            track,
            starts,
            prefix,
            order,
            track.keys[kept],
            track.begins[kept],
            track.ends[kept],
            upto,
        )

    def holds(self, group: Ints, i: Ints) -> tuple[Ints, Ints]:
        """The first and the last position of an edge before which just the first i events of a
        group stand.
        """
        at = self.starts[group] + i
        return np.where(i > 0, self.upto[at - 1] + 1, self.begins[group]), self.upto[at]

    def aims(self, case: Case, left: Ints, cause: Cause) -> Aims:
        """Which sum of effects would give what is left of each group's key."""
        values = left[self.keys] * cause.down
        fits = (
            np.full(len(values), True)
            if case.slack or abs(cause.up) == 1
            else values % cause.up == 0
        )
        slack = -(-case.slack * cause.down // abs(cause.up))
        return Aims(np.append(0, np.cumsum(fits)), values[fits] // cause.up, slack)

    def meet(self, case: Case, cause: Cause, kind: int, aims: Aims) -> Iterator[Meeting]:
        """Where the rectangles of many keys meet.

        And, of windows up to the end of the log, their sides alone.

        Parameters
        ----------
        case : Case
            Or its ``copied``, as the track.
        cause : Cause
            The mistake that is looked for.
        kind : int
            The number of the type that the prefix sums are of; -1: all.
        aims : Aims
            What a pair of prefix sums is to come to.
        """
        size = (self.ends - self.begins).astype(float)
        sums = self.starts, self.prefix, self.order, *aims, MOST_PAIRS
        counts, i, j = sweeps.pairs(*sums)
        group = np.repeat(np.arange(len(self.keys)), np.diff(counts))
        if len(group) and group[0] != group[-1]:
            s0, s1, e0, e1 = *self.holds(group, i), *self.holds(group, j)
            bits = _bits(
                np.bincount(group, (s1 - s0 + 1.0) * (e1 - e0 + 1.0), minlength=len(size)),
                size * size / 2,
            )
            bits = np.maximum(bits, self._amounts(case, cause, aims))
            yield from self._swept(case, cause, kind, (s0, s1, e0, e1), group, bits, tail=False)
        if cause is not MISSED or kind >= 0:
            return
        counts, i = sweeps.tails(*sums)
        group = np.repeat(np.arange(len(self.keys)), np.diff(counts))
        if len(group) and group[0] != group[-1]:
            high, (s0, s1) = self.ends[group], self.holds(group, i)
            bits = _bits(np.bincount(group, s1 - s0 + 1.0, minlength=len(size)), size)
            yield from self._swept(case, cause, kind, (s0, s1, high, high), group, bits, tail=True)

    def _amounts(self, case: Case, cause: Cause, aims: Aims) -> Floats:
        """Bits that an amount says which hardly any pair of a key's prefix sums would come to by
        chance.

        Such a key has few events to fit, and its rectangles may be large. Rather than by the window
        it might be explained by one event, named among all of the key's and by its cause: so it
        says no more bits than that would take.
        """
        told = np.zeros(len(self.keys))
        told[np.diff(aims.starts) > 0] = telling(case, aims.values * abs(cause.up) / cause.down)
        size = np.diff(self.starts).astype(float)
        named = np.log2(np.maximum(case.busy[self.keys], 1) * len(CAUSES)) + HIT
        made: Floats = np.where(
            np.log2(size * size / 2) + SPARSE < told, np.minimum(told, named), 0.0
        )
        return made

    def _swept(
        self,
        case: Case,
        cause: Cause,
        kind: int,
        sides: tuple[Ints, Ints, Ints, Ints],
        group: Ints,
        bits: Floats,
        *,
        tail: bool,
    ) -> Iterator[Meeting]:
        """Where rectangles of the most bits meet, as far as these outweigh a window's cost.

        Parameters
        ----------
        case : Case
            Or its ``copied``, as the track.
        cause : Cause
            The mistake that is looked for.
        kind : int
            The number of the type that the prefix sums are of; -1: all.
        sides : tuple of four int64 arrays, each of shape (rectangles,)
            The first and the last position of the beginning, and those of the end.
        group : int64 array, shape (rectangles,)
            Whose each rectangle is.
        bits : float64 array, shape (groups,)
            For how much the rectangles of each group count.
        tail : bool
            Whether the windows run up to the end of the log.
        """
        tells = np.zeros(len(case.keys))
        np.maximum.at(tells, self.keys, bits)
        s, e, weight = sweeps.cover(*sides, bits[group])
        taken: list[tuple[int, int]] = []
        for at in np.argsort(-weight)[:400]:
            begin, end = int(s[at]), int(e[at])
            place = (
                -1
                if self.track.merged
                else int(np.searchsorted(self.track.high, begin, side="right"))
            )
            cost = cost_of(case, cause, kind, place, tail=tail)
            if weight[at] <= cost or len(taken) == MOST_MEETINGS:
                break
            if not any(abs(begin - b) + abs(end - f) < 0.05 * (end - begin) for b, f in taken):
                taken.append((begin, end))
                yield place, begin, end, float(weight[at]) - cost, tells, tail


def _bits(area: Any, whole: Floats) -> Floats:
    """How improbable it is that a window anywhere falls into this part of all of them.

    Nothing where there is no part.
    """
    made: Floats = np.where(
        area > 0, -np.log2(np.clip(area / np.maximum(whole, 1), 1e-12, 0.9)), 0.0
    )
    return made
