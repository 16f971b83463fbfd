"""Events that do not count: what is called the system's mistake, and what is not."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from recovery_kit.dedup import dedup
from recovery_kit.explain import Diagnosis, explain
from recovery_kit.explain.windows.window import SHARED_ID
from recovery_kit.reconcile import reconcile
from recovery_kit.totals import totals
from tests.events import FORMS, Event, events, rows
from tests.explain.said import ONCE, SMALL, VERSIONS, _and_harmless, _delivered_again, read
from tests.explain.test_diagnose import Applied, adds_up, apply, listed, money

BLAME = {"applied_twice", "conflict"}


def diagnosed(
    log: list[Event],
    applied: list[Applied],
    processed: Any = None,
    *,
    form: str = "pyarrow",
    on_conflict: str = "first",
    replay: Any = None,
) -> Diagnosis:
    held: dict[str, int] = {}
    for _, key, amount in applied:
        held[key] = held.get(key, 0) + amount
    expected = pa.table({"key": list(held), "total": [money(total) for total in held.values()]})
    d = dedup(FORMS[form](events(log)), on_conflict=on_conflict)
    r = reconcile(totals(d), expected)
    found = explain(r, d, processed=processed, replay=replay)
    assert adds_up(found, r)
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("names", [None, ("effect", "key"), ("effect",), ()])
def test_ids_of_two_counters_are_not_laid_to_the_system(
    form: str, names: tuple[str, ...] | None
) -> None:
    """Each partition counts its own ids, so half of the events are set aside; the system is right."""
    ids = [f"e{e[7]}" for e in SMALL]
    log = [(i, *e[1:]) for i, e in zip(ids, SMALL, strict=True)]
    applied = apply(log)
    processed = None if names is None else listed(applied, *names)
    for on_conflict in ("first", "last", "reject"):
        found = diagnosed(log, applied, processed, form=form, on_conflict=on_conflict)
        told = rows(found.causes)
        assert not BLAME & {row["cause"] for row in told}
        shared = [row for row in told if row["cause"] == SHARED_ID]
        assert {row["grade"] for row in shared} == {"ambiguous"}
        assert all("id_field" in row["evidence"] for row in shared)
        if names is None or "key" in names:
            assert len(shared) > len(told) / 2
        assert any("set id_field to" in note for note in found.summary["notes"])


def test_other_mistakes_beside_doubtful_ids_are_still_the_systems() -> None:
    log, applied = _delivered_again(9, moved=True)
    gone = next(a for a in applied if a[1] not in {e[3] for e in log[-60:]})
    found = diagnosed(log, [a for a in applied if a[0] != gone[0]])
    causes = {row["key"]: row["cause"] for row in rows(found.causes)}
    assert causes.pop(gone[1]) == "missed"
    assert set(causes.values()) == {SHARED_ID}


def test_without_a_doubt_copies_that_were_applied_are_the_systems_mistake() -> None:
    causes = rows(diagnosed(*_delivered_again(9, moved=False)).causes)
    assert {row["cause"] for row in causes} == {"applied_twice"}
    doubted = diagnosed(*_and_harmless(9))
    assert {row["cause"] for row in rows(doubted.incidents)} == {SHARED_ID}
    assert {row["grade"] for row in rows(doubted.incidents)} == {"ambiguous"}


@pytest.mark.parametrize(
    ("on_conflict", "amount", "cause"),
    [("reject", 500, "conflict"), ("reject", 700, "unknown_key"), ("first", 500, "conflict")],
)
def test_a_key_whose_only_event_was_set_aside(on_conflict: str, amount: int, cause: str) -> None:
    applied = [*ONCE, ("x", "odd", amount), *([("x", "k004", 900)] * (on_conflict == "first"))]
    found = diagnosed(VERSIONS, applied, on_conflict=on_conflict)
    (row,) = rows(found.causes)
    assert (row["key"], row["cause"], row["grade"]) == ("odd", cause, "consistent")
    assert (row["events"], row["event_ids"]) == (1, ["x"])
    assert "'x' at log partition 0 offset 193" in row["evidence"]


@pytest.mark.parametrize(
    ("replay", "grade"),
    [
        (None, "proven"),
        (read(verdict="complete"), "proven"),
        (read(verdict="raced"), "consistent"),
        (read([(None, b"?")], verdict="complete"), "consistent"),
        (read([(b"odd", b"?")], verdict="complete"), "consistent"),
    ],
)
def test_that_the_log_lacks_a_key_is_proven_only_where_it_was_read_whole(
    replay: Any, grade: str
) -> None:
    processed = listed(ONCE, "effect", "key")
    found = diagnosed(SMALL, [*ONCE, ("x", "odd", 500)], processed, replay=replay)
    (row,) = rows(found.causes)
    assert (row["cause"], row["grade"]) == ("unknown_key", grade)


@pytest.mark.parametrize("text", [b'"2026-03-05"', b'"id5"', b"12:05:00", b"5.001", b"15", b"5-1"])
def test_a_part_of_a_date_an_id_or_a_longer_number_is_no_amount(text: bytes) -> None:
    suspect = read([(b"odd", b'{"a": ' + text + b', "b"')], verdict="complete")
    (row,) = rows(diagnosed(SMALL, [*ONCE, ("x", "odd", 500)], replay=suspect).causes)
    assert row["cause"] == "unknown_key"
    assert "could not be read names it" in row["evidence"]


def test_what_a_message_says_is_escaped_where_its_place_is_told() -> None:
    log = [(*e[:2], *e[2:3], f"{e[3]}\x1b[31m", *e[4:]) for e in VERSIONS]
    log = [(f"{e[0]}\x1b[31m", *e[1:]) for e in log]
    found = diagnosed(log, [*apply(log)[:-2], ("x", "odd\x1b[31m", 500)], on_conflict="reject")
    assert "\x1b" not in "".join(row["evidence"] for row in rows(found.causes))
    assert any("was set aside" in row["evidence"] for row in rows(found.causes))
