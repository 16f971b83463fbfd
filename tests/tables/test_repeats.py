"""Whether ids are unique: what redelivery does not do is told, with numbers, and what it does is
not.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.dedup import ON_CONFLICT, dedup
from tests.events import FORMS, Event, events


def once(count: int, *, ids: int | None = None, value: str | None = None) -> list[Event]:
    """Events in three partitions by key, a second apart; under so many ids, each event its own."""
    return [
        (f"e{n % (ids or count)}", "add", value or f"{1 + n % 97}.{n % 100:02d}", f"k{n % 9}",
         n * 1_000, "t", n % 3, n // 3)
        for n in range(count)
    ]  # fmt: skip


def again(log: list[Event], count: int, *, later: int = 0, moved: bool = False) -> list[Event]:
    """The log, and copies of the first so many events behind it: later, or in another partition."""
    end = max(e[7] for e in log) + 1
    return log + [
        (*e[:4], e[4] + later, e[5], (e[6] + moved) % 3, end + n) for n, e in enumerate(log[:count])
    ]


DOUBTED = {
    "two topics' counters: other content": (
        once(200, ids=100),
        "100 of 100 copies have another type, value or key",
    ),
    "a counter a partition, all of one amount and key": (
        [(f"e{n // 3}", "add", "5.00", "k", n, "t", n % 3, n // 3) for n in range(90)],
        "60 of 60 copies of the same content have both another time and another partition",
    ),
    "the type for the id": (
        [("add", "add", "5.00", "k", n, "t", 0, n) for n in range(50)],
        "49 of 49 copies have another time than the first of their id, and there are but 1 ids",
    ),
    "conflicts among as many redeliveries": (
        again(once(400) + [(*e[:2], "999.99", *e[3:7], 900 + e[7]) for e in once(20)], 40),
        "20 of 60 copies have another type, value or key",
    ),
}

SOUND = {
    "nothing twice": once(200),
    "a producer's retries": again(once(200), 100, later=7),
    "a topic that got more partitions": again(once(200), 150, moved=True),
    "every event twice, anew": again(once(200), 200, later=9),
    "every event twice, and some three times": again(again(once(200), 200, later=9), 40, later=5),
    "a few conflicts": again(
        once(400) + [(*e[:2], "999.99", *e[3:7], 900 + e[7]) for e in once(19)], 10
    ),
    "a conflict in six": again(
        once(400) + [(*e[:2], "999.99", *e[3:7], 900 + e[7]) for e in once(20)], 100
    ),
    "a retry topic, of its own partitions and times": once(60)
    + [(*e[:4], e[4] + 5, "t-retry", (e[6] + 1) % 3, e[7]) for e in once(60)],
}


@pytest.mark.parametrize("on_conflict", [c for c in ON_CONFLICT if c != "raise"])
@pytest.mark.parametrize("case", DOUBTED)
def test_ids_that_are_not_unique_are_told_with_numbers(case: str, on_conflict: str) -> None:
    log, says = DOUBTED[case]
    for form in FORMS:
        told = dedup(FORMS[form](events(log)), on_conflict=on_conflict)
        assert any(says in doubt for doubt in told.doubts), told.doubts
        assert says in repr(told)
        assert says in told._repr_html_()
        assert "set id_field to" in repr(told)


@pytest.mark.parametrize("case", SOUND)
def test_what_redelivery_does_raises_no_doubt(case: str) -> None:
    assert dedup(events(SOUND[case])).doubts == ()


@given(st.permutations(range(60)), st.sampled_from(["first", "last", "reject"]))
def test_the_order_of_rows_and_the_choice_do_not_matter(order: list[int], choice: str) -> None:
    log = once(60, ids=30)
    given_ = [log[at] for at in order]
    assert dedup(events(given_), on_conflict=choice).doubts == dedup(events(log)).doubts != ()
