"""The search from totals alone: windows behind windows, edges that no key settles, and matches that
chance would give.
"""

from __future__ import annotations

import pytest

from recovery_kit.explain import explain
from recovery_kit.explain.single.match import Finding, _believed
from tests.events import rows
from tests.explain.test_diagnose import (
    LOG,
    adds_up,
    apply,
    effect,
    make_log,
    money,
    off_by,
    reconciled,
    told,
)


def test_a_hundredfold_window_among_others_on_few_keys() -> None:
    log = make_log(11, count=6_000, keys=20, partitions=2)
    lost = {e[0] for e in log if 1_000_000 <= e[4] < 1_700_000}
    large = {e[0] for e in log if e[1] == "subtract" and 3_000_000 <= e[4] < 3_600_000}
    wrong = {e[0] for e in log if e[1] == "add" and 4_500_000 <= e[4] < 4_800_000}
    applied = [
        (i, k, 100 * a if i in large else -a if i in wrong else a)
        for i, k, a in apply(log)
        if i not in lost
    ]
    truth = [(e[3], -effect(e), "missed") for e in log if e[0] in lost]
    truth += [(e[3], 99 * effect(e), "wrong_factor") for e in log if e[0] in large]
    truth += [(e[3], -2 * effect(e), "wrong_sign") for e in log if e[0] in wrong]
    r, d = reconciled(log, applied)
    found = explain(r, d)
    assert adds_up(found, r)
    assert told(found) == off_by(truth)


def test_a_key_at_an_edge_that_is_off_by_an_event_too() -> None:
    lost = [e for e in LOG if e[6] == 1 and 700 <= e[7] < 1_000]
    last = lost[
        -1
    ]  # no key but its own tells whether the window holds it, and that one is off by something else
    other = next(e for e in LOG if e[3] == last[3] and e[7] < 600)
    ids = {e[0] for e in lost}
    applied = [(i, k, 1_000 * a if i == other[0] else a) for i, k, a in apply(LOG) if i not in ids]
    r, d = reconciled(LOG, applied)
    found = told(explain(r, d))
    assert found == off_by(
        [
            *((e[3], -effect(e), "missed") for e in lost),
            (other[3], 999 * effect(other), "wrong_factor"),
        ]
    )


def test_the_last_event_of_a_partition_missed_is_lag_and_one_before_it_is_not() -> None:
    there = [e for e in LOG if e[6] == 0]
    for gone, cause in ((there[-1], "lag"), (there[-9], "missed")):
        r, d = reconciled(LOG, [a for a in apply(LOG) if a[0] != gone[0]])
        assert told(explain(r, d)) == {(gone[3], cause): -effect(gone)}


@pytest.mark.parametrize(
    ("matched", "keys", "believed"), [(1, 60, 0), (9, 60, 9), (1, 10, 1), (0, 5, 0)]
)
def test_one_match_says_little_where_many_keys_are_off_and_nine_say_a_lot(
    matched: int, keys: int, believed: int
) -> None:
    found = {key: Finding((), sure=True, chance=0.001) for key in range(matched)}
    found[99] = Finding((), sure=True, chance=0.3)
    assert sum(f.sure for f in _believed(found, keys).values()) == believed


def test_what_is_ambiguous_lists_the_true_event() -> None:
    log = [(e[0], e[1], money(500 + 500 * (n % 4)), *e[3:]) for n, e in enumerate(LOG)]
    gone = log[20]
    r, d = reconciled(log, [a for a in apply(log) if a[0] != gone[0]])
    (row,) = rows(explain(r, d).causes)
    assert row["grade"] == "ambiguous"
    assert "missed" in row["evidence"]


def test_two_windows_with_a_while_between_them_are_not_one() -> None:
    wrong = {
        e[0]
        for e in LOG
        if e[1] == "add" and (1_000_000 <= e[4] < 1_400_000 or 1_460_000 <= e[4] < 1_900_000)
    }
    applied = [(i, k, -a if i in wrong else a) for i, k, a in apply(LOG)]
    r, d = reconciled(LOG, applied)
    found = explain(r, d)
    assert told(found) == off_by(
        [(e[3], -2 * effect(e), "wrong_sign") for e in LOG if e[0] in wrong]
    )
    assert len(found.incidents) == 2


def test_lag_behind_a_window_on_every_key() -> None:
    log = make_log(13, count=6_000, keys=20, partitions=1)
    late = {e[0] for e in log if e[7] >= 5_500}
    lost = {e[0] for e in log if 2_000 <= e[7] < 3_500}
    r, d = reconciled(log, [a for a in apply(log) if a[0] not in late | lost])
    truth = [
        (e[3], -effect(e), "lag" if e[0] in late else "missed") for e in log if e[0] in late | lost
    ]
    assert told(explain(r, d)) == off_by(truth)


def test_two_windows_on_every_key_with_a_short_while_between_them_are_not_one_long_window() -> None:
    log = make_log(17, count=12_000, keys=30, partitions=1)
    lost = {e[0] for e in log if 2_000 <= e[7] < 4_500 or 5_200 <= e[7] < 7_600}
    r, d = reconciled(log, [a for a in apply(log) if a[0] not in lost])
    found = explain(r, d)
    assert told(found) == off_by([(e[3], -effect(e), "missed") for e in log if e[0] in lost])
    assert len(found.incidents) == 2


def test_a_missed_window_on_every_key_hides_the_beginning_of_another_mistake() -> None:
    log = make_log(19, count=20_000, keys=80, partitions=1)
    lost = {e[0] for e in log if 3_000 <= e[7] < 6_300}
    wrong = {e[0] for e in log if e[1] == "add" and 5_000 <= e[7] < 8_000}
    r, d = reconciled(
        log, [(i, k, -a if i in wrong else a) for i, k, a in apply(log) if i not in lost]
    )
    truth = [(e[3], -effect(e), "missed") for e in log if e[0] in lost]
    truth += [(e[3], -2 * effect(e), "wrong_sign") for e in log if e[0] in wrong - lost]
    assert told(explain(r, d)) == off_by(truth)


def test_within_a_hundredfold_window_a_while_with_the_wrong_sign_instead() -> None:
    log = make_log(37, count=4_000, keys=80, partitions=2)
    large = {e[0] for e in log if e[1] == "subtract" and 1_000_000 <= e[4] < 2_200_000}
    wrong = {e[0] for e in log if e[1] == "subtract" and 1_400_000 <= e[4] < 1_800_000}
    applied = [(i, k, -a if i in wrong else 100 * a if i in large else a) for i, k, a in apply(log)]
    truth = [(e[3], 99 * effect(e), "wrong_factor") for e in log if e[0] in large - wrong]
    truth += [(e[3], -2 * effect(e), "wrong_sign") for e in log if e[0] in wrong]
    r, d = reconciled(log, applied)
    found = explain(r, d)
    assert adds_up(found, r)
    assert told(found) == off_by(truth)
