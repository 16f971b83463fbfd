"""The running totals of single keys."""

from decimal import Decimal

import numpy as np
import pandas as pd

from recovery_kit import charts
from recovery_kit.dedup import dedup
from recovery_kit.reconcile import reconcile
from recovery_kit.tables.arrow import to_pandas
from recovery_kit.totals import totals
from tests.charts.found import LOG, MINUTE, found, processed_of
from tests.events import NOON, Event, events


def test_a_panel_a_key_worst_first_each_ending_where_reconcile_says() -> None:
    f = found()
    chart = charts.running(f.r, f.d, processed=f.processed)
    table = f.r.table.set_index("key")
    assert [ax.get_title("left") for ax in chart.axes] == ["c", "b", "a"]
    assert [ax.get_title("right") for ax in chart.axes] == ["-57.50", "+21.25", "-11.25"]
    for ax in chart.axes:
        recovered, applied, expected = (line.get_ydata() for line in ax.lines)
        key = ax.get_title("left")
        assert recovered[-1] == float(table.loc[key, "recovered"])
        assert expected[0] == float(table.loc[key, "expected"])
        assert applied[-1] == expected[0] - (
            5.0 if key == "c" else 0.0
        )  # the correction by hand is in no key's list
        assert ax.texts[0].get_text() == f"expected {table.loc[key, 'expected']:,}"
    assert chart.get_suptitle() == "3 worst keys: 90.00 of the 90.00 by which all keys differ"


def test_the_line_steps_at_the_events_times() -> None:
    f = found()
    line = charts.running(f.r, f.d, keys=["d"]).axes[0].lines[0]
    minutes = (np.asarray(line.get_xdata()) * 86_400_000 - NOON) / MINUTE
    sums = np.cumsum([minute + 1.25 for minute in range(60)])
    assert line.get_drawstyle() == "steps-post"
    for minute, value in zip(minutes[1:-1], line.get_ydata()[1:-1], strict=True):
        assert value == sums[int(minute - 0.001)]  # a step stands at its bin's end


def test_an_opening_total_is_where_the_lines_begin() -> None:
    unique = to_pandas(events(LOG))
    opening = pd.DataFrame({"key": ["a"], "total": ["1000.00"]})
    r = reconcile(totals(unique, opening=opening), pd.DataFrame({"key": ["a"], "total": ["0.00"]}))
    processed = processed_of([(row[0], row[2], row[4] // MINUTE) for row in LOG])
    ax = charts.running(r, dedup(unique), keys="a", processed=processed).axes[0]
    assert [line.get_ydata()[0] for line in ax.lines[:2]] == [1000.0, 1000.0]


def test_the_system_s_line_moves_when_the_system_did() -> None:
    log: list[Event] = [
        ("e1", "add", "1.00", "k", 0, "t", 0, 0),
        ("e2", "add", "2.00", "k", 10 * MINUTE, "t", 0, 1),
    ]
    unique = to_pandas(events(log))
    r = reconcile(totals(unique), pd.DataFrame({"key": ["k"], "total": ["9.00"]}))
    late = processed_of([("e1", "1.00", 20), ("e2", "8.00", 40)])
    for processed, minutes in ((late, [20, 40]), (late[["event_id", "effect"]], [0, 10])):
        line = charts.running(r, dedup(unique), processed=processed).axes[0].lines[1]
        at = (np.asarray(line.get_xdata())[1:-1] * 86_400_000 - NOON) / MINUTE
        assert np.all(np.abs(at - minutes) < 0.2)
        assert list(line.get_ydata()) == [0.0, 1.0, 9.0, 9.0]


def test_keys_of_one_side_only_and_of_none_are_said() -> None:
    expected = pd.DataFrame({"key": ["only expected"], "total": ["7.00"]})
    unique = to_pandas(events(LOG))
    r = reconcile(totals(unique), expected)
    chart = charts.running(r, dedup(unique), keys=["only expected", "a", "nowhere"])
    known, ours, unknown = chart.axes
    assert [float(line.get_ydata()[0]) for line in known.lines] == [0.0, 7.0]
    assert len(ours.lines) == 1
    assert unknown.texts[0].get_text() == "neither in the log nor among the expected totals"
    assert "only expected: expected 7.00, recovered –, +7.00" in chart.alt


def test_more_keys_than_panels_are_cut_to_the_worst() -> None:
    log: list[Event] = [(f"e{i}", "add", f"{i}.00", f"k{i:03}", i, "t", 0, i) for i in range(1, 40)]
    unique = to_pandas(events(log))
    r = reconcile(totals(unique), pd.DataFrame({"key": ["k001"], "total": [Decimal("1.00")]}))
    chart = charts.running(r, dedup(unique), most=5)
    assert [ax.get_title("left") for ax in chart.axes] == ["k039", "k038", "k037", "k036", "k035"]
    assert [bool(ax.get_xlabel()) for ax in chart.axes] == [False, False, False, True, True]
