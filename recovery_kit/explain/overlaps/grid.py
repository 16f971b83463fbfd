"""What ranges of cells leave of many keys, trends aside: windows set against each other by small
products (see ``_beam``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from recovery_kit.explain.case.arrays import Bools, Floats, Ints
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.overlaps.cells import Cells, Family, Range
from recovery_kit.explain.overlaps.guess import Guess, without
from recovery_kit.explain.windows.window import MISSED, cost_of

LONGEST = 0.7
"""Part of the log that a window covers at most: with trends taken out, all that is outside a window
looks like it.
"""

NEAR = 16
"""Cells, or three at a time, that a short window has at most."""

MOSTLY = 0.85
"""Part of the keys by which the sum of squares is judged: some have mistakes of their own."""

Spans = list[tuple[int, int]]


class Pairs(NamedTuple):
    """Pairs of cells between which windows may lie: begins by ends, as a stack of small tables."""

    cells: Ints  # between which
    begin: Ints  # by number: [table, begin, 1]
    end: Ints  # [table, 1, end]
    none: Bools  # what is no window

    @classmethod
    def all_of(cls, cells: int, step: int, longest: float) -> Pairs:
        """From any cell to any other, in steps."""
        at = np.arange(0, cells + 1, step)
        begin, end = np.arange(len(at))[None, :, None], np.arange(len(at))[None, None, :]
        return cls(at, begin, end, (end <= begin) | ((end - begin) * step > longest * cells))

    @classmethod
    def short(cls, cells: int, step: int) -> Pairs:
        """From any cell to the `NEAR` steps after it."""
        at = np.arange(0, cells + 1, step)
        first = np.arange(-(-len(at) // NEAR))[:, None] * NEAR
        begin, end = (
            (first + np.arange(NEAR))[:, :, None],
            (first + np.arange(2 * NEAR))[:, None, :],
        )
        none = (end <= begin) | (end >= len(at)) | (end - begin > NEAR)
        return cls(at, np.minimum(begin, len(at) - 1), np.minimum(end, len(at) - 1), none)

    def squares(self, run: Floats) -> Floats:
        """|run[end] - run[begin]|**2, infinite for what is no window."""
        own = np.einsum("ij,ij->i", run, run)
        both = run[self.begin[:, :, 0]] @ run[self.end[:, 0, :]].transpose(0, 2, 1)
        return np.where(self.none, np.inf, own[self.begin] + own[self.end] - 2 * both)

    def best(self, gains: Floats, most: int) -> Iterator[tuple[float, int, int]]:
        """The pairs that gain most, none of them near a better one."""
        for _ in range(most):
            flat = int(np.argmax(gains))
            gain = float(gains.flat[flat])
            if not gain > 0:
                return
            table, i, j = np.unravel_index(flat, gains.shape)
            begin, end = int(self.begin[table, i, 0]), int(self.end[table, 0, j])
            yield gain, int(self.cells[begin]), int(self.cells[end])
            if most > 1:
                near = max(2, (end - begin) // 4)
                gains[
                    (np.abs(self.begin - begin) <= near) & (np.abs(self.end - end) <= near)
                ] = -np.inf


@dataclass(frozen=True)
class Grid:
    """Families of windows, and what they are to explain.

    Attributes
    ----------
    sides : tuple of Cells
        The events; and the copies, where windows of those are looked for.
    pairs : list of list of Pairs
        For each side where windows may lie: long ones first, then short ones.
    left, unit : array, a number a key
        What is left of it, and what one usual event does to it, weighted.
    across : array, a row a key
        What is the same for all windows: orthonormal columns.
    """

    case: Case
    sides: tuple[Cells, ...]
    pairs: list[list[Pairs]]
    families: list[Family]
    left: Floats
    unit: Floats
    across: Floats
    sums: dict[tuple[bool, int, int, bool], Floats] = field(default_factory=dict)
    losses: dict[tuple[Family, int], Floats] = field(default_factory=dict)

    def guess(self, one: Range) -> Guess:
        """A range of cells as a guess."""
        return self.sides[one.family.copies].guess(*one)

    def more(
        self, windows: Sequence[Range], each: int = 1, *, short: bool = False
    ) -> Iterator[tuple[float, Range]]:
        """The best windows of each family beside some: by how much they make the sum of squares
        smaller, and where.
        """
        left = self.after(windows)
        for family in self.families:
            met = self._met(family, windows)
            for number, pairs in enumerate(self.pairs[family.copies]):
                if short != (number > 0):
                    continue
                run = self.run(family, met, pairs.cells)
                toward = 2 * (run @ left)
                if met:
                    lost = pairs.squares(run)
                elif (family, number) in self.losses:
                    lost = self.losses[family, number]
                else:
                    lost = self.losses[family, number] = pairs.squares(run)
                gains = toward[pairs.end] - toward[pairs.begin] - lost
                for gain, begin, end in pairs.best(gains, each):
                    yield gain, Range(family, begin, end)

    def sharp(self, one: Range, others: Sequence[Range]) -> Range:
        """A window with its end, then its beginning, at the cell where it leaves least."""
        family, begin, end = one
        run = self.run(family, others, np.arange(len(self.sides[family.copies]) + 1))
        own = np.einsum("ij,ij->i", run, run)
        toward = 2 * (run @ self.after(others))
        for _ in range(2):
            gains = toward - own + 2 * (run @ run[begin])
            end = begin + 1 + int(np.argmax(gains[begin + 1 :]))
            losses = toward + own - 2 * (run @ run[end])
            begin = int(np.argmin(losses[:end]))
        return Range(family, begin, end)

    def after(self, windows: Iterable[Range]) -> Floats:
        """What windows leave of each key, trends aside."""
        left = self.left
        before: list[Range] = []
        for one in sorted(windows, key=lambda w: w.family.cause is not MISSED):
            edges = self.run(one.family, before, np.array([one.begin, one.end]))
            left = left - (edges[1] - edges[0])
            before.append(one)
        return left

    def bits(self, windows: Sequence[Range]) -> float:
        """What it takes to describe the windows, and what they leave of each key."""
        return self.measures(windows)[0]

    def measures(self, windows: Sequence[Range]) -> tuple[float, float]:
        """The same; and with what they leave of most keys, were it of a size."""
        left = self.after(windows)
        most = max(1, int(len(left) * MOSTLY))
        rest = max(float(np.partition(left**2, most - 1)[:most].sum()), 1e-30)
        free = max(1, most - self.across.shape[1])
        named = math.fsum(
            cost_of(self.sides[one.family.copies].case, *one.family[:3]) for one in windows
        )
        return float(np.log2(self.unit + np.abs(left)).sum()) + named, float(
            free / 2 * math.log2(rest)
        ) + named

    def run(self, family: Family, windows: Sequence[Range], at: Ints) -> Floats:
        """What a window of the family from the first cell to each of some does to each key, beside
        other windows.

        To an event that was missed nothing else was done.
        """
        met = self._met(family, windows)
        made = self._shown(family, family.place, met, at)
        hidden: dict[int, Spans] = {}
        for one in met:
            if one.family.cause is MISSED:
                hidden.setdefault(one.family.place, []).append((one.begin, one.end))
        if not hidden:
            return made
        everywhere = _union(hidden.pop(-1, []))
        if family.place >= 0:
            everywhere = _union([*everywhere, *hidden.pop(family.place, [])])
            hidden = {}
        for place, spans in [
            (family.place, everywhere),
            *((p, _without(_union(s), everywhere)) for p, s in hidden.items()),
        ]:
            for begin, end in spans:
                within = self._shown(
                    family, place, met, np.append(begin, np.minimum(np.maximum(at, begin), end))
                )
                made -= within[1:] - within[0]
        return made

    def _met(self, family: Family, windows: Sequence[Range]) -> list[Range]:
        """Those of the windows with which the family's have to do."""
        if family.copies:
            return []
        met = (
            windows if family.cause is MISSED else [w for w in windows if w.family.cause is MISSED]
        )
        place = family.place
        return [
            w
            for w in met
            if not w.family.copies and (place == w.family.place or -1 in (place, w.family.place))
        ]

    def _shown(self, family: Family, place: int, windows: Sequence[Range], at: Ints) -> Floats:
        """The same of one place, as if nothing were hidden.

        Parameters
        ----------
        family : Family
        place : int
            A number into the places of the family's side; -1: all.
        windows : Sequence of Range
            Those with which the family's have to do: see `_met`.
        at : int64 array, shape (n,)
            The cells before which a window ends, from 0 to how many cells there are.
        """
        cause, kind, _, copies = family
        made: Floats = self.prefix(copies, place, kind)[at] * (cause.up / cause.down)
        if cause is not MISSED or copies:
            return made
        if self.sides[0].wrong.any():
            made -= self.prefix(False, place, -1, wrong=True)[at]
        for (other, some, where, _), begin, end in windows:
            if other is not MISSED and (place == where or -1 in (place, where)):
                both = self.prefix(False, max(place, where), some)
                made -= (both[np.minimum(np.maximum(at, begin), end)] - both[begin]) * (
                    other.up / other.down
                )
        return made

    def prefix(self, copies: bool, place: int, kind: int, *, wrong: bool = False) -> Floats:
        """Prefix sums of effects, or of what is wrong with them, from cell to cell, trends
        aside.

        Parameters
        ----------
        copies : bool
            Of which side: of the redelivered copies, or of the events.
        place : int
            A number into the places of that side's case; -1: all.
        kind : int
            The number of a type; -1: all.
        wrong : bool
            Whether of what is wrong with the events, rather than of their effects.
        """
        if (copies, place, kind, wrong) not in self.sums:
            cells = self.sides[copies]
            made = np.zeros((len(cells) + 1, cells.keys))
            np.cumsum(cells.added(place, kind, wrong=wrong), axis=0, out=made[1:])
            self.sums[copies, place, kind, wrong] = without(self.across, made)
        return self.sums[copies, place, kind, wrong]


def _union(spans: Spans) -> Spans:
    """Spans that cover the same and do not touch, in order."""
    made: Spans = []
    for begin, end in sorted(spans):
        if made and begin <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], end)
        else:
            made.append((begin, end))
    return made


def _without(spans: Spans, others: Spans) -> Spans:
    """What the others, in order, leave of spans."""
    for first, last in others:
        spans = [
            part
            for begin, end in spans
            for part in ((begin, min(end, first)), (max(begin, last), end))
            if part[0] < part[1]
        ]
    return spans
