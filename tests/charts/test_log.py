"""Charts of what was read show exactly what was read."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from recovery_kit import charts
from recovery_kit.dedup import dedup
from recovery_kit.tables.arrow import to_pandas
from tests.charts.found import LOG, MINUTE, found, replay_of
from tests.events import Event, events


def test_bars_stack_up_to_every_event_of_every_partition() -> None:
    replay = found().replay
    ax = charts.events_over_time(replay).axes[0]
    heights = {bars.get_label(): sum(bar.get_height() for bar in bars) for bars in ax.containers}
    by_partition = replay.events.groupby("partition").size()
    assert heights == {f"partition {p}": n for p, n in by_partition.items()}
    tops = np.add.reduce([[bar.get_height() for bar in bars] for bars in ax.containers])
    assert max(tops) == max(
        bar.get_y() + bar.get_height() for bars in ax.containers for bar in bars
    )


def test_rejects_are_marked_in_their_bins_and_counted() -> None:
    chart = charts.events_over_time(found().replay)  # rejects at 12:03, twice, and 12:55
    (marks,) = chart.axes[0].lines
    minutes = [round((x % 1) * 24 * 60 - 12 * 60, 3) for x in marks.get_xdata()]
    assert minutes == [3.5, 55.5]
    assert marks.get_label() == "holds rejects (3 in all)"
    assert "3 messages rejected" in chart.get_suptitle()


def test_many_partitions_are_stacked_by_topic() -> None:
    log: list[Event] = [
        (f"e{i}", "add", "1.00", "k", i * MINUTE, f"topic-{i % 2}", i, 0) for i in range(20)
    ]
    ax = charts.events_over_time(replay_of(events(log))).axes[0]
    assert [bars.get_label() for bars in ax.containers] == ["topic-0", "topic-1"]
    assert [sum(bar.get_height() for bar in bars) for bars in ax.containers] == [10, 10]


def test_a_clock_gone_wrong_does_not_hide_the_rest() -> None:
    log: list[Event] = [*LOG, ("wild", "add", "1.00", "a", 10**13, "t", 0, 500)]
    chart = charts.events_over_time(replay_of(events(log)))
    assert "(1 far before or after are not drawn)" in chart.axes[0].get_title("left")
    assert len(chart.axes[0].containers[0]) > 50


def coverage(**changed: object) -> pd.DataFrame:
    row = {
        "topic": "t",
        "partition": 0,
        "start": 0,
        "end": 100,
        "delivered": 60,
        "control": 10,
        "aborted": 15,
        "removed": 5,
        "lost": 0,
        "unread": 10,
        "verdict": "timed out",
    }
    return pd.DataFrame([row | changed])


def test_coverage_bars_are_shares_that_add_up_and_counts_stand_beside_them() -> None:
    replay = replay_of(events([]), verdict="timed out")
    object.__setattr__(replay, "coverage", coverage())
    chart = charts.coverage(replay)
    ax = chart.axes[0]
    assert {bars.get_label(): bars[0].get_width() for bars in ax.containers} == {
        "delivered "
        "(60)": 60, "control (10)": 10, "aborted (15)": 15, "removed (5)": 5, "unread (10)": 10,
    }  # fmt: skip
    assert [text.get_text() for text in ax.texts] == [
        "60 of 100, 10 control, 15 aborted, 5 removed, 10 unread (timed out)"
    ]
    assert chart.get_suptitle() == "Timed out: 60 of 100 offsets were delivered"


def test_of_many_partitions_those_with_the_least_delivered_are_drawn_and_empty_ones_do_not_matter() -> (
    None
):
    rows = [
        coverage(partition=p, delivered=100 - p, control=p, aborted=0, removed=0, unread=0)
        for p in range(40)
    ]
    rows.append(
        coverage(partition=40, end=0, delivered=0, control=0, aborted=0, removed=0, unread=0)
    )
    replay = replay_of(events([]))
    object.__setattr__(replay, "coverage", pd.concat(rows))
    ax = charts.coverage(replay).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"partition {p}" for p in range(16, 40)]
    assert ax.get_title("left") == "the 24 of 41 partitions with the least delivered"


def test_redeliveries_are_counted_by_partition_and_time() -> None:
    f = found()
    chart = charts.redeliveries(f.d)
    ax = chart.axes[0]
    cells = ax.collections[0].get_array()
    assert int(cells.sum()) == len(f.d.redelivered) == 6
    assert [t.get_text() for t in ax.get_yticklabels()] == ["partition 0"]
    (crosses,) = ax.lines
    assert len(crosses.get_xdata()) == 1
    assert chart.get_suptitle() == "6 redelivered and 1 conflicting copies among 247 events"


def test_conflict_bars_are_what_the_copies_are_worth_largest_first() -> None:
    log: list[Event] = []
    worths = [Decimal("1.50"), Decimal("-20.25"), Decimal("7.00")]
    for at, worth in enumerate(worths):
        log.append((f"e{at}", "add", "30.00", "k", at, "t", 0, at))
        log.append((f"e{at}", "add", str(30 + worth), "k", at + 100, "t", 0, at + 100))
    chart = charts.conflicts(dedup(to_pandas(events(log))), most=2)
    ax = chart.axes[0]
    assert [bar.get_width() for bar in ax.patches] == [-20.25, 7.0]
    assert [text.get_text().split() for text in ax.texts] == [
        ["-20.25", "at", "0:101"],
        ["+7.00", "at", "0:102"],
    ]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["e1", "e2"]
    assert (
        chart.get_suptitle()
        == "3 event ids with two contents; the copies not chosen differ by 28.75 in all"
    )


@pytest.mark.parametrize("count", [1, 2])
def test_counts_agree_with_their_nouns(count: int) -> None:
    title = charts.events_over_time(
        replay_of(events(LOG[:count]), rejects=[1] * count)
    ).get_suptitle()
    assert title == (
        "1 event; 1 message rejected" if count == 1 else "2 events; 2 messages rejected"
    )
