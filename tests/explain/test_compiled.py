"""The search's compiled parts beside plain Python, every array before a page that can be neither
read nor written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit.explain.case import ids as id_arrays
from recovery_kit.explain.case import tracks
from recovery_kit.explain.windows import sweeps
from tests.guarded import Guarded


class AtTheEdge:
    """numpy, but for new arrays."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = float) -> np.ndarray:
        return edged(np.full(shape, -77, dtype))

    def zeros(self, shape: Any, dtype: Any = float) -> np.ndarray:
        return edged(np.zeros(shape, dtype))


def edged(array: Any) -> np.ndarray:
    given = np.ascontiguousarray(array)
    return Guarded(given.nbytes + 1).holding(given.tobytes()).view(given.dtype).reshape(given.shape)


def whole(numbers: Any) -> np.ndarray:
    return edged(np.array(numbers, np.int64))


def starts_of(groups: Sequence[Sequence[int]]) -> np.ndarray:
    return whole(np.append(0, np.cumsum([len(group) for group in groups])))


@pytest.fixture(autouse=True, scope="module")
def at_the_edge() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (id_arrays, sweeps, tracks):
            patch.setattr(module, "np", AtTheEdge())
        patch.setattr(sweeps, "ROOM", 3)  # so that what is found hardly ever fits one room
        yield


often = settings(max_examples=150, deadline=None)
small = st.integers(-9, 9)
wild = st.one_of(small, st.integers(-(2**40), 2**40), st.integers(-(2**63), 2**63 - 1))


@often
@given(
    st.lists(
        st.one_of(
            st.lists(wild, max_size=8),
            st.lists(wild, min_size=45, max_size=60),
            st.lists(small, min_size=50, max_size=300),
        ),
        max_size=5,
    )
)
def test_each_group_is_sorted_and_tells_where_its_numbers_stood(groups: list[list[int]]) -> None:
    values = whole([value for group in groups for value in group])
    order = sweeps.rank(starts_of(groups), values)
    assert values.tolist() == [value for group in groups for value in sorted(group)]
    assert order.tolist() == [
        at for group in groups for at in sorted(range(len(group)), key=group.__getitem__)
    ]


events = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), small), min_size=1, max_size=40)


@often
@given(events, st.integers(0, 40), st.integers(-1, 2), st.sets(st.integers(0, 9)), st.booleans())
def test_prefix_sums_stand_by_key_and_place(
    log: list[tuple[int, int, int]], cut: int, kind: int, wanted: set[int], merged: bool
) -> None:
    key, kinds, change = (whole(column) for column in zip(*log, strict=True))
    edges = np.array([0, min(cut, len(log)), len(log)] if not merged else [0, len(log)])
    rows = whole(np.arange(len(log))[:: -1 if merged else 1])
    made = tracks.track(rows, key, kinds, 5, edges, merged=merged)
    groups = whole([g for g in range(len(made.keys)) if g in wanted])
    made = made._replace(**{name: edged(getattr(made, name)) for name in made._fields[1:]})
    kept, starts, prefix, upto = sweeps.lay(made, groups, kind, change)
    found = {}
    for at, group in enumerate(kept.tolist()):
        own = slice(starts[at], starts[at + 1])
        found[int(made.begins[group]), int(made.keys[group])] = (
            prefix[own].tolist(),
            upto[own].tolist(),
        )
    expected = {}
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        for k in range(5):
            inside = [
                at
                for at in range(begin, end)
                if key[rows[at]] == k and kind in (-1, kinds[rows[at]])
            ]
            if inside:
                sums = np.append(0, np.cumsum(change[rows[inside]])).tolist()
                expected[begin, k] = sums, [*inside, end]
    chosen = {(int(made.begins[g]), int(made.keys[g])) for g in groups.tolist()}
    assert found == {group: sums for group, sums in expected.items() if group in chosen}


amounts = st.lists(small, min_size=1, max_size=12)
asked = st.lists(st.integers(-20, 20), max_size=4, unique=True)


@often
@given(
    st.lists(st.tuples(amounts, asked), min_size=1, max_size=6),
    st.integers(0, 2),
    st.sampled_from([0, 1, 5, 10_000]),
)
def test_pairs_of_prefix_sums_are_all_found(
    groups: list[tuple[list[int], list[int]]], slack: int, most: int
) -> None:
    sums = [np.append(0, np.cumsum(a)).tolist() for a, _ in groups]
    prefix, starts = whole(np.concatenate(sums)), starts_of(sums)
    owned, targets = starts_of([t for _, t in groups]), whole([t for _, ts in groups for t in ts])
    order = sweeps.rank(starts, prefix)
    counts, i, j = sweeps.pairs(starts, prefix, order, owned, targets, slack, most)
    ends, first = sweeps.tails(starts, prefix, order, owned, targets, slack, most)
    for at, (run, (_, wanted)) in enumerate(zip(sums, groups, strict=True)):
        every = [
            (a, b)
            for t in wanted
            for a in range(len(run))
            for b in range(a + 1, len(run))
            if abs(run[b] - run[a] - t) <= slack
        ]
        last = [a for a, b in every if b == len(run) - 1]
        one = slice(counts[at], counts[at + 1])
        found = sorted(zip(i[one].tolist(), j[one].tolist(), strict=True))
        assert found == (sorted(every) if len(every) <= most else [])
        assert sorted(first[ends[at] : ends[at + 1]].tolist()) == (
            sorted(last) if len(last) <= most else []
        )


corner = st.integers(0, 30)


@often
@given(
    st.lists(st.tuples(corner, corner, corner, corner, st.integers(1, 9)), min_size=1, max_size=25)
)
def test_rectangles_meet_where_the_most_weight_lies(
    given: list[tuple[int, int, int, int, int]],
) -> None:
    boxes = [(min(a, b), max(a, b), min(c, d), max(c, d), w) for a, b, c, d, w in given]
    s0, s1, e0, e1, weight = (whole(column) for column in zip(*boxes, strict=True))

    def over(s: int, e: int) -> int:
        return sum(w for a, b, c, d, w in boxes if a <= s <= b and c <= e <= d)

    s, e, best = sweeps.cover(s0, s1, e0, e1, edged(weight.astype(float)))
    assert s.tolist() == sorted(set(s0.tolist()))
    for at, end, most in zip(s.tolist(), e.tolist(), best.tolist(), strict=True):
        assert most == over(at, end) == max(over(at, end) for end in range(31))


@often
@given(events, st.data())
def test_an_edge_comes_to_rest_where_the_fewest_keys_stay_off(
    log: list[tuple[int, int, int]], data: Any
) -> None:
    key, width, change = (whole(column) for column in zip(*log, strict=True))
    n, up = len(log), data.draw(st.booleans())
    left = whole(data.draw(st.lists(small, min_size=5, max_size=5)))
    low, high = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    fixed = data.draw(st.integers(0, low) if up else st.integers(high, n))
    near = data.draw(st.integers(low, high))
    lo = whole(np.arange(n) - width)  # the span must reach back so far to hold the event
    hi = whole(np.arange(n) + 1)
    by = np.argsort(hi if up else -lo, kind="stable")
    edge = sweeps.Edge(by, hi if up else lo, lo if up else hi, fixed, up, low, high, near)

    def right(at: int) -> int:
        begin, end = (fixed, at) if up else (at, fixed)
        return int((left - sweeps.sums(lo, hi, begin, end, key, change, 5) == 0).sum())

    best = max(right(at) for at in range(low, high + 1))
    nearest = min(
        (at for at in range(low, high + 1) if right(at) == best), key=lambda at: abs(at - near)
    )
    found = sweeps.scan(edge, key, change, left, 0, 0.0, 1.0)
    assert right(found) == best
    assert abs(found - near) == abs(nearest - near)


@often
@given(events, st.data())
def test_an_edge_comes_to_rest_where_the_squares_of_what_is_left_are_least(
    log: list[tuple[int, int, int]], data: Any
) -> None:
    key, _, change = (whole(column) for column in zip(*log, strict=True))
    n, up = len(log), data.draw(st.booleans())
    left = edged(np.array(data.draw(st.lists(small, min_size=5, max_size=5)), float))
    trend = edged(
        np.linalg.qr(
            np.array(data.draw(st.lists(small, min_size=10, max_size=10)), float).reshape(5, 2)
        )[0]
    )
    low, high = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    fixed = data.draw(st.integers(0, low) if up else st.integers(high, n))
    at, pull = whole(np.arange(n)), edged(change.astype(float))
    edge = sweeps.Edge(at if up else at[::-1], at + up, at + (not up), fixed, up, low, high, low)

    def squares(end: int) -> float:
        inside = slice(*sorted((fixed, end)))
        rest = left - np.bincount(key[inside], pull[inside], minlength=5)
        rest = rest - trend @ (trend.T @ rest)
        return float(rest @ rest)

    found = sweeps.press(edge, key, pull, left, trend)
    assert squares(found) <= min(squares(end) for end in range(low, high + 1)) + 1e-6


ids = st.text("ab\0é", max_size=20)


@often
@given(st.dictionaries(ids, st.integers(-3, 99), max_size=40), st.lists(ids, max_size=40))
def test_ids_are_found_by_all_their_bytes(among: dict[str, int], wanted: list[str]) -> None:
    def column(texts: list[str]) -> pa.Array:
        buffers = [
            starts_of([t.encode() for t in texts]),
            np.frombuffer("".join(texts).encode(), np.uint8),
        ]
        made = [None, *(pa.py_buffer(edged(buffer)) for buffer in buffers)]
        return pa.Array.from_buffers(pa.large_string(), len(texts), made)

    found = id_arrays.found(column(wanted), column([*among]), whole([*among.values()]))
    assert found.tolist() == [max(among.get(text, -1), -1) for text in wanted]
