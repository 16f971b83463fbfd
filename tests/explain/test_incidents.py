"""Several incidents beside each other: each says what is its own, and numbers of copies are held
against copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recovery_kit.explain import explain
from recovery_kit.explain.case.case import Case, open_case
from recovery_kit.explain.evidence.rows import of_windows
from recovery_kit.explain.overlaps import beam, search
from recovery_kit.explain.overlaps.cells import Family, Range
from recovery_kit.explain.single.edges import slips
from recovery_kit.explain.windows.window import (
    CAUSES,
    MISSED,
    SIGN,
    TWICE,
    Stretch,
    Window,
    cost_of,
    settle,
)
from tests.events import Event, rows
from tests.explain.test_diagnose import LOG, apply, effect, make_log, off_by, reconciled, told


def test_lag_and_what_was_missed_beside_it_each_count_their_own_keys() -> None:
    log = [e for e in LOG if e[6] == 1 or e[4] < 3_000_000]  # partition 0 ends earlier
    lost = {e[0] for e in log if 2_500_000 <= e[4] < 3_000_000}
    r, d = reconciled(log, [a for a in apply(log) if a[0] not in lost])
    found = explain(r, d)
    assert told(found) == off_by(
        [(e[3], -effect(e), "missed" if e[6] else "lag") for e in log if e[0] in lost]
    )
    incidents = {row["cause"]: row for row in rows(found.incidents)}
    assert incidents.keys() == {"missed", "lag"}
    for cause, partition in (("missed", 1), ("lag", 0)):
        keys = len({e[3] for e in log if e[0] in lost and e[6] == partition})
        assert incidents[cause]["confidence"] == (
            f"{keys} keys agree exactly only with it, 0 only without it"
        )


def test_a_key_that_an_incident_puts_wrong_is_counted() -> None:
    case = open_case(*reconciled(LOG, apply(LOG)))
    inside = case.events.frame(np.arange(100, 140), "key")["key"].n_unique()
    _, (incident,) = of_windows(case, [Window(SIGN, -1, (Stretch(0, 100, 140),))], set())
    assert incident.confidence == f"0 keys agree exactly only with it, {inside} only without it"


def test_a_window_of_which_others_claim_every_event_is_no_incident() -> None:
    case = open_case(*reconciled(LOG, apply(LOG)))
    missed, turned, later = (
        Window(cause, -1, (Stretch(0, *at),))
        for cause, at in ((MISSED, (100, 300)), (SIGN, (150, 250)), (TWICE, (400, 500)))
    )
    everyone = set(range(len(case.keys)))
    found, incidents = of_windows(case, [missed, turned, later], everyone, after=3)
    assert [(i.incident, i.cause, i.events) for i in incidents] == [
        (4, "missed", 200),
        (5, "applied_twice", 100),
    ]
    assert {row.incident for row in found} == {4, 5}


@pytest.fixture(scope="module")
def elsewhere() -> Case:
    """Events in one partition, copies of many in it and in another, which has no event but these;
    all were applied again.
    """
    log = make_log(4, count=1_500, keys=60, partitions=1)
    first = log[300:900]
    again: list[Event] = [
        (*e[:4], 2_000_000 + n, "log", n % 2, 2_000 + n) for n, e in enumerate(first)
    ]
    return open_case(*reconciled(log + again, [*apply(log), *apply(first)]))


def test_windows_of_copies_are_held_against_the_copies_partitions(elsewhere: Case) -> None:
    case = elsewhere
    assert (len(case.places), len(case.copied.places)) == (1, 2)
    _, _, low, high = case.copied.places[1]
    window = Window(TWICE, -1, (Stretch(1, low, high),), copies=True)
    state = settle(case, [])
    assert search._judged(case, state, [window], 0) is None  # the other half is left
    both = [window, Window(TWICE, -1, (Stretch(0, 0, low),), copies=True)]
    assert len(search._judged(case, state, both, 0) or ()) == 2
    nearly: Any = search._nearly(case, [], state, [both])
    assert nearly[0].rest == 0
    grid = beam._grid(case, [], CAUSES)
    one = Range(Family(TWICE, -1, 1, True), 0, 1)
    named = cost_of(case.copied, TWICE, -1, 1)
    left = float(np.log2(grid.unit + np.abs(grid.after([one]))).sum())
    assert grid.bits([one]) == pytest.approx(left + named)


@pytest.mark.parametrize("second", [(100, 160), (40, 200)])
def test_edges_of_two_windows_at_one_place_move_each_for_itself(second: tuple[int, int]) -> None:
    case = open_case(*reconciled(LOG, apply(LOG)))
    one = Window(TWICE, -1, (Stretch(0, 100, 200),))
    other = Window(SIGN, -1, (Stretch(0, *second),))
    state, left = settle(case, [one, other]), dict.fromkeys(range(len(case.keys)), 7)
    beside = slips(case, [one, other], state, left)
    for window in (one, other):
        for key, alone in slips(case, [window], state, left).items():
            assert set(alone) <= set(beside[key])
