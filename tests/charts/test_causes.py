"""Charts of a diagnosis say in words what they show.

And one key's copies, each with its verdict.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from recovery_kit.charts import causes
from recovery_kit.explain import copies, explain
from tests.events import FORMS, rows
from tests.explain.test_diagnose import (
    LOG,
    apply,
    effect,
    listed,
    missed_window,
    reconciled,
    with_copies,
)


def test_the_waterfall_names_every_cause_and_ends_at_the_difference() -> None:
    applied, truth = missed_window()
    applied.append(("manual-1", "k000", 12_345))
    r, d = reconciled(LOG, applied)
    figure = causes.waterfall(explain(r, d))
    net = Decimal(sum(truth.values()) + 12_345) / 100
    assert f"net {net:+,}" in figure.alt
    assert "missed (consistent)" in figure.alt
    assert "unexplained" in figure.alt
    assert figure.png().startswith(b"\x89PNG")


@pytest.mark.parametrize("form", FORMS)
def test_the_map_of_incidents_tells_each(form: str) -> None:
    applied, _ = missed_window()
    r, d = reconciled(LOG, applied, form)
    for processed in (None, listed(applied, "effect")):
        found = explain(r, d, processed=processed)
        figure = causes.incidents(found, d)
        assert "1 incident, worth" in figure.alt
        assert "offsets 700 to 999" in figure.alt
        assert figure.png().startswith(b"\x89PNG")


def test_one_key_shows_its_copies_and_causes() -> None:
    log, again = with_copies(), LOG[30]
    applied = [*apply(log[: len(LOG)]), (again[0], again[3], effect(again))]
    r, d = reconciled(log, applied)
    figure = causes.one_key(r, d, explain(r, d), key=again[3])
    assert "applied_twice (consistent)" in figure.alt
    assert figure.png().startswith(b"\x89PNG")


def test_nothing_to_draw_is_said() -> None:
    r, d = reconciled(LOG, apply(LOG))
    found = explain(r, d)
    assert "No key differs" in causes.waterfall(found).alt
    assert "No cause" in causes.incidents(found, d).alt
    assert "no event of nobody" in causes.one_key(r, d, found, key="nobody").alt


@pytest.mark.parametrize("form", FORMS)
def test_every_copy_of_a_key_has_a_verdict_and_the_chosen_ones_run_up_to_the_total(
    form: str,
) -> None:
    log = with_copies()
    r, d = reconciled(log, apply(LOG), form)
    for event, verdict in ((LOG[30], "redelivered"), (LOG[40], "conflicting")):
        found = copies(d, key=event[3])
        assert type(found) is type(d.unique)
        told = rows(found)
        assert [row["verdict"] for row in told if row["event_id"] == event[0]] == [
            "chosen",
            verdict,
        ]
        assert len(told) == sum(e[3] == event[3] for e in log)
        (total,) = [row["recovered"] for row in rows(r.table) if row["key"] == event[3]]
        assert told[-1]["running"] == total
