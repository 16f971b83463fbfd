"""Windows that overlap on every key, all of them at once and roughly: a beam search over ranges of
cells (see ``_pursuit``).

What any window does to a key is, by and large, its length times the key's usual traffic; that part,
which would make two windows look like one longer one, is taken out first, type by type. What
remains differs from place to place in the log. To each set of windows that is kept, the best window
of each family is added, by least squares; then edges are moved, each on its own, each window is
looked for anew in the light of the others, and edges are moved two at a time, for one hides behind
another where windows overlap. That is orthogonal matching pursuit (Pati, Rezaiifar and
Krishnaprasad, 1993) with a beam: where windows are of a size, the best one alone is none of them.

Cost: O(cells**2 keys) a family of windows and set that is kept.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from recovery_kit.explain.case.arrays import Bools
from recovery_kit.explain.case.case import Case
from recovery_kit.explain.case.events import Place
from recovery_kit.explain.overlaps.cells import Cells, Family, Range
from recovery_kit.explain.overlaps.grid import LONGEST, Grid, Pairs
from recovery_kit.explain.overlaps.guess import Guess, spanned, trend, without
from recovery_kit.explain.windows.window import MISSED, TWICE, Cause, Window, settle

DEPTH = 5
"""Windows that are looked for together, at most."""

WORK = 750
"""Sets of windows that are kept at each depth, times the families of windows beside them.

But 10 to 100 sets.
"""

TOLD = 3
"""Sets of each number that are told."""

EACH = 6
"""Windows of each family to begin with."""

TRIED = 10
"""How many times as many sets as are kept have their edges moved before they are chosen from."""

BESIDE = 5
"""Sets of windows of each number beside which short windows are looked for too."""

ALIKE = 0.25
"""Part of its length by which a window's edges differ at most, together, from those of one that is
much like it.
"""

MOVES = np.array([0, 1, 2, 3, 5, 8, 13, 21, 34, -1, -2, -3, -5, -8, -13, -21, -34])
"""By how many cells two edges are moved together."""

MOST_CELLS, LEAST_CELLS = 160, 60
"""Cells that the log is cut into, the fewer the more families there are."""

FINER = 9
"""Finer cells, to each of those, for short windows and for edges."""

PAIRS = 600_000
"""Pairs of cells of all families together."""

MOST_KEYS, MOST_PLACES, MOST_KINDS = 120, 16, 8
"""What is looked at, the busiest first."""

FEWEST = 4
"""Keys that must be off for a family to be tried."""

STRANGE = 8.0
"""How many times as much as others a key is off, trends aside, that is off by something else."""


def sets_of_windows(
    case: Case, found: Sequence[Window], causes: Sequence[Cause]
) -> Iterator[list[Guess]]:
    """Sets of windows beside those found that leave little: the likeliest of one, of two, and so
    on.
    """
    grid = _grid(case, found, causes)
    if not grid.families:
        return
    width = int(np.clip(WORK // len(grid.families), 10, 100))
    single = itertools.chain(grid.more((), EACH), grid.more((), EACH, short=True))
    level = [[one] for _, one in sorted(single, key=lambda m: -m[0])[: 4 * width]]
    for depth in range(DEPTH):
        if depth:
            tried = [
                _sharpened(grid, windows)
                for windows in _likeliest(grid, _one_more(grid, level), TRIED * width)
            ]
            level = [_closer(grid, _anew(grid, windows)) for windows in _apart(grid, tried, width)]
        level = _apart(grid, level, len(level))
        for windows in level[:TOLD]:
            yield [grid.guess(one) for one in windows]


def _one_more(grid: Grid, level: list[list[Range]]) -> Iterator[list[Range]]:
    """Each set with the best window of each family."""
    for at, windows in enumerate(level):
        for _, one in itertools.chain(
            grid.more(windows), grid.more(windows, short=True) if at < BESIDE else ()
        ):
            yield [*windows, one]


def _likeliest(grid: Grid, sets: Iterable[list[Range]], most: int) -> list[list[Range]]:
    """The likeliest sets by either measure, in turn: few keys that are left off say a lot, but not
    before most windows are known.
    """
    made = {frozenset(windows): windows for windows in sets}
    told = {key: grid.measures(windows) for key, windows in made.items()}
    turns = zip(*(sorted(made, key=lambda key: told[key][by]) for by in (0, 1)), strict=True)
    return [made[key] for key in dict.fromkeys(itertools.chain(*turns))][:most]


def _apart(grid: Grid, sets: Iterable[list[Range]], most: int) -> list[list[Range]]:
    """The likeliest sets, without those that are much like a likelier one."""
    sets = list(sets)
    made: list[list[Range]] = []
    for windows in _likeliest(grid, sets, len(sets)):
        if len(made) == most:
            break
        if not any(_alike(windows, other) for other in made):
            made.append(windows)
    return made


def _alike(some: list[Range], others: list[Range]) -> bool:
    def near(one: Range, other: Range) -> bool:
        apart = abs(one.begin - other.begin) + abs(one.end - other.end)
        return one.family == other.family and apart <= ALIKE * (one.end - one.begin)

    return all(any(near(one, other) for other in others) for one in some)


def _sharpened(grid: Grid, windows: list[Range]) -> list[Range]:
    """The last window, then the others, each with its edges where they leave least."""
    made = list(windows)
    for at in [len(made) - 1, *range(len(made) - 1)]:
        made[at] = grid.sharp(made[at], [*made[:at], *made[at + 1 :]])
    return made


def _anew(grid: Grid, windows: list[Range]) -> list[Range]:
    """Each window looked for anew, of any family, in the light of the others, while that leaves
    less.
    """
    made, now = list(windows), grid.bits(windows)
    for _ in range(3):
        before = now
        for at in range(len(made)):
            others = [*made[:at], *made[at + 1 :]]
            found = sorted(grid.more(others), key=lambda m: -m[0])
            for one in [made[at], *(one for _, one in found[:2])]:
                tried = [*made[:at], grid.sharp(one, others), *made[at + 1 :]]
                bits = grid.bits(tried)
                if bits < now - 1e-9:
                    made, now = tried, bits
        if now == before:
            break
    return made


def _closer(grid: Grid, windows: list[Range]) -> list[Range]:
    """Any two edges moved together, while that leaves less: where windows overlap, one edge hides
    behind another.
    """
    made, now = list(windows), grid.bits(windows)
    for _ in range(4 * len(made)):
        tried = _moved(grid, made)
        bits = grid.bits(tried)
        if bits >= now - 1e-9:
            break
        made, now = tried, bits
    return made


def _moved(grid: Grid, windows: list[Range]) -> list[Range]:
    """The windows with those two edges moved that then leave least."""
    left, edges = grid.after(windows), []
    for at, (family, begin, end) in enumerate(windows):
        others = [*windows[:at], *windows[at + 1 :]]
        for edge, low, high in (
            (begin, 0, end - 1),
            (end, begin + 1, len(grid.sides[family.copies])),
        ):
            to = edge + MOVES[(edge + MOVES >= low) & (edge + MOVES <= high)]
            run = grid.run(family, others, to)
            edges.append((to, (run[0] - run) * (-1 if edge == begin else 1), at, edge == begin))
    best, made = math.inf, windows
    for one, other in itertools.combinations(edges, 2):
        bits = np.log2(grid.unit + np.abs(left + one[1][:, None, :] + other[1][None, :, :])).sum(
            axis=2
        )
        flat = int(np.argmin(bits))
        if bits.flat[flat] < best:
            moved = list(windows)
            for (to, _, at, first), index in zip(
                (one, other), divmod(flat, len(other[0])), strict=True
            ):
                moved[at] = (
                    moved[at]._replace(begin=int(to[index]))
                    if first
                    else moved[at]._replace(end=int(to[index]))
                )
            if all(w.end > w.begin for w in moved):
                best, made = float(bits.flat[flat]), moved
    return made


def _grid(case: Case, found: Sequence[Window], causes: Sequence[Cause]) -> Grid:
    """What is looked at: the busiest keys, without strange ones, and families of windows on places
    that are mostly off.
    """
    state = settle(case, found)
    weight, across = trend(case, -1, state.left)
    off, there, left = np.abs(state.left) > case.slack, weight > 0, state.left * weight
    size = np.abs(without(across, left))
    if (off & there).any():
        there &= size <= STRANGE * float(np.median(size[off & there]))
    keys = np.flatnonzero(there)
    keys = keys[np.argsort(-case.busy[keys], kind="stable")][:MOST_KEYS]
    across = spanned(across[keys])
    kinds = np.argsort(-np.bincount(case.kind, minlength=len(case.kinds)))[:MOST_KINDS].tolist()
    sides = (case, case.copied) if TWICE in causes else (case,)
    places = [_places(side, there, off) for side in sides]
    copies = [Family(TWICE, -1, at, True) for some in places[1:] for at in some]
    families = [
        *_families(case, places[0], kinds, causes),
        *_elsewhere(case, places[0], found),
        *copies,
    ]
    rough = int(np.clip(math.sqrt(PAIRS / max(len(families), 1)), LEAST_CELLS, MOST_CELLS))
    cut = tuple(
        Cells.of(side, None if at else state, keys, weight, rough * FINER)
        for at, side in enumerate(sides)
    )
    pairs = []
    for at, cells in enumerate(cut):
        step = max(1, len(cells) // rough)
        short = [Pairs.short(len(cells), s) for s in (1, 3) if s < step]
        pairs.append([Pairs.all_of(len(cells), step, 1.0 if at else LONGEST), *short])
    return Grid(
        case, cut, pairs, families, without(across, left[keys]), case.usual * weight[keys], across
    )


def _places(side: Case, there: Bools, off: Bools) -> list[int]:
    """The places, with -1 for all of several, where many keys are off: where most agree, a window
    stands out by those.
    """
    told = {}
    everywhere = Place("", -1, 0, len(side.events))
    for at, place in enumerate([everywhere, *side.places], start=-1):
        codes = side.code[place.low : place.high]
        seen = there & (np.bincount(codes, minlength=len(there)) > 0)
        count = int((seen & off).sum())
        if count >= max(FEWEST, int(seen.sum()) / 4):
            told[at] = count
    if len(side.places) == 1:
        return [0] if 0 in told else []
    busiest = sorted(told, key=lambda at: -told[at])
    return [at for at in busiest if at < 0] + [at for at in busiest if at >= 0][:MOST_PLACES]


def _elsewhere(case: Case, places: list[int], found: Sequence[Window]) -> Iterator[Family]:
    """What was found of a type in some places, in each of the others: there it may overlap with
    more.
    """
    known = {(w.cause, w.kind, place) for w in found if w.kind >= 0 for place, _, _ in w.spans}
    for cause, kind in dict.fromkeys((w.cause, w.kind) for w in found if w.kind >= 0):
        if len(case.places) > 1:
            yield from (
                Family(cause, kind, at, False)
                for at in places
                if at >= 0 and (cause, kind, at) not in known
            )


def _families(
    case: Case, places: list[int], kinds: list[int], causes: Sequence[Cause]
) -> Iterator[Family]:
    """Families of windows of the events, by cause, type and place.

    Parameters
    ----------
    case : Case
    places : list of int
        Numbers into ``case.places``; -1: all.
    kinds : list of int
        Numbers of the types that are looked at.
    causes : Sequence of Cause
        The mistakes to look for.
    """
    everywhere = [at for at in places if at < 0 or len(case.places) == 1]
    for cause in causes:
        if cause in (MISSED, TWICE):
            yield from (Family(cause, -1, at, False) for at in places)
        elif cause.down in (1, 100):  # a tenth and a thousandth look like a hundredth
            # A release that turns signs is everywhere; one partition's own is not looked for.
            yield from (Family(cause, kind, at, False) for at in everywhere for kind in kinds)
