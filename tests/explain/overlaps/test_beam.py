"""Windows that overlap on every key: what ranges of cells leave, beside what the windows leave
event by event; and the search.
"""

from __future__ import annotations

import functools
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recovery_kit.explain import explain
from recovery_kit.explain.case.case import Case, open_case
from recovery_kit.explain.overlaps import beam
from recovery_kit.explain.overlaps.cells import Family, Range
from recovery_kit.explain.overlaps.grid import NEAR, Grid, Pairs, _union, _without
from recovery_kit.explain.overlaps.guess import trend
from recovery_kit.explain.windows.window import CAUSES, MISSED, SIGN, TWICE, State, Window, settle
from tests.explain.test_diagnose import apply, effect, make_log, off_by, reconciled, told

LOG = make_log(23, count=3_000, keys=12, partitions=3)


WHOLE = [cause for cause in CAUSES if cause.down == 1]
"""Of a tenth or a hundredth, events that are no whole multiple of it are left out, where windows
are settled.
"""


@functools.cache
def opened(known: int) -> tuple[Case, State, Grid]:
    """A case in which every key is off, with what is already known of it: nothing, or a wrong sign
    and a missed window.
    """
    case = open_case(*reconciled(LOG, [a for a in apply(LOG) if int(a[0][1:]) % 3]))
    state = settle(case, before(case, known))
    return case, state, beam._grid(case, before(case, known), WHOLE)


def before(case: Case, known: int) -> list[Window]:
    end = case.places[1][3]
    return [
        Window(SIGN, 0, ((1, end - 500, end - 100),)),
        Window(MISSED, -1, ((1, end - 300, end - 200),)),
    ][: 2 * known]


often = settings(max_examples=150, deadline=None)


@st.composite
def several(draw: st.DrawFn) -> tuple[int, list[Range]]:
    known = draw(st.sampled_from([0, 1]))
    _, _, grid = opened(known)
    cells = len(grid.sides[0])
    made = []
    for family in draw(st.lists(st.sampled_from(grid.families), min_size=1, max_size=4)):
        begin = draw(st.integers(0, cells - 1))
        made.append(Range(family, begin, draw(st.integers(begin + 1, cells))))
    return known, made


@often
@given(several())
def test_ranges_of_cells_leave_what_the_windows_leave_event_by_event(
    drawn: tuple[int, list[Range]],
) -> None:
    known, ranges = drawn
    case, _, grid = opened(known)
    windows = []
    for one in ranges:
        cells, guess = grid.sides[0], grid.guess(one)
        rank = np.argsort(cells.rows)[guess.rows[guess.begin : guess.end]]
        inside = (rank >= cells.starts[one.begin]) & (rank < cells.starts[one.end])
        assume(
            len(inside) and inside.all()
        )  # no event of the family in there: a guess has one at least
        windows.append(guess.window(case))
    keys = keys_of(case, known)
    weight, _ = trend(case, -1, settle(case, before(case, known)).left)
    exactly = settle(case, [*before(case, known), *windows]).left[keys] * weight[keys]
    exactly = exactly - grid.across @ (grid.across.T @ exactly)
    assert grid.after(ranges) == pytest.approx(exactly, abs=1e-6)


def keys_of(case: Case, known: int) -> np.ndarray:
    _, state, grid = opened(known)
    weight, _ = trend(case, -1, state.left)
    keys = np.argsort(-case.busy, kind="stable")
    keys = keys[weight[keys] > 0]
    assert len(keys) == len(grid.left)
    return keys


@often
@given(several())
def test_moving_edges_never_leaves_more(drawn: tuple[int, list[Range]]) -> None:
    known, (one, *others) = drawn
    grid = opened(known)[2]
    was = np.square(grid.after([one, *others])).sum()
    moved = grid.sharp(one, others)
    assume(MISSED not in {w.family.cause for w in others} or moved.family.cause is MISSED)
    assert np.square(grid.after([moved, *others])).sum() <= was * (1 + 1e-9)
    assert grid.bits(beam._closer(grid, [one, *others])) <= grid.bits([one, *others])
    assert grid.bits(beam._anew(grid, [one, *others])) <= grid.bits([one, *others])


@pytest.mark.parametrize("place", [-1, 0])
def test_the_best_window_of_a_family_is_the_best_of_all(place: int) -> None:
    grid = opened(0)[2]
    family = Family(TWICE, -1, place, False)
    assert family in grid.families
    long = grid.pairs[0][0]
    found = next(w for _, w in grid.more(()) if w.family == family)
    gain = next(g for g, w in grid.more(()) if w.family == family)
    rest = {
        (begin, end): np.square(grid.after([Range(family, begin, end)])).sum()
        for begin in long.cells.tolist()
        for end in long.cells.tolist()
        if begin < end <= begin + beam.LONGEST * len(grid.sides[0])
    }
    assert (found.begin, found.end) == min(rest, key=lambda pair: rest[pair])
    assert np.square(grid.left).sum() - gain == pytest.approx(min(rest.values()))


@given(st.integers(1, 200), st.sampled_from([1, 3]))
def test_short_windows_are_all_pairs_of_cells_that_are_near(cells: int, step: int) -> None:
    pairs = Pairs.short(cells, step)
    begin, end = np.broadcast_arrays(pairs.cells[pairs.begin], pairs.cells[pairs.end])
    told = list(zip(begin[~pairs.none].tolist(), end[~pairs.none].tolist(), strict=True))
    at = range(0, cells + 1, step)
    assert sorted(told) == [(b, e) for b in at for e in at if b < e <= b + NEAR * step]


spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda p: (p[0], p[0] + p[1])), max_size=6
)


@given(spans, spans)
def test_spans_cover_what_they_are_to_cover(
    some: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    def covered(spans: list[tuple[int, int]]) -> set[int]:
        return {at for begin, end in spans for at in range(begin, end)}

    made = _union(some)
    assert covered(made) == covered(some)
    assert all(a[1] < b[0] for a, b in pairwise(made))
    assert covered(_without(made, _union(others))) == covered(some) - covered(others)


def test_three_windows_on_every_key_one_within_another() -> None:
    log = make_log(29, count=16_000, keys=60, partitions=1)
    lost = {e[0] for e in log if 1_000 <= e[7] < 5_200}
    wrong = {e[0] for e in log if e[1] == "add" and 5_600 <= e[7] < 11_400}
    turned = {e[0] for e in log if e[1] == "subtract" and 5_900 <= e[7] < 8_100}
    r, d = reconciled(
        log, [(i, k, -a if i in wrong | turned else a) for i, k, a in apply(log) if i not in lost]
    )
    truth = [(e[3], -effect(e), "missed") for e in log if e[0] in lost]
    truth += [(e[3], -2 * effect(e), "wrong_sign") for e in log if e[0] in wrong | turned]
    assert told(explain(r, d)) == off_by(truth)


def test_two_short_windows_on_every_key_far_from_each_other() -> None:
    log = make_log(31, count=30_000, keys=30, partitions=1)
    lost = {e[0] for e in log if 4_000 <= e[7] < 4_400}
    twice = {e[0] for e in log if 21_000 <= e[7] < 21_300}
    applied = apply(log)
    r, d = reconciled(
        log, [a for a in applied if a[0] not in lost] + [a for a in applied if a[0] in twice]
    )
    truth = [(e[3], -effect(e), "missed") for e in log if e[0] in lost]
    truth += [(e[3], effect(e), "applied_twice") for e in log if e[0] in twice]
    assert told(explain(r, d)) == off_by(truth)
