"""Charts of when and where the totals part ways, held against plain Python over the same events."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes

from recovery_kit import charts
from recovery_kit.dedup import dedup
from recovery_kit.errors import TableError
from recovery_kit.reconcile import reconcile
from recovery_kit.tables.arrow import to_pandas
from recovery_kit.totals import totals
from tests.charts.found import LOG, MINUTE, found, processed_of
from tests.events import NOON, Event, events


def lines(ax: Axes) -> tuple[dict[int, float], dict[int, float]]:
    """The absolute and the net line: milliseconds after noon to value."""
    made = []
    for line in ax.lines[:2]:
        at = np.rint(np.asarray(line.get_xdata()) * 86_400_000 - NOON)
        made.append(dict(zip(at.astype(int).tolist(), map(float, line.get_ydata()), strict=True)))
    return made[0], made[1]


# A minute, a key, a partition, and how many times the system applied the event; offsets run against
# time.
EVENTS = st.lists(
    st.tuples(st.integers(0, 59), st.sampled_from("abc"), st.integers(0, 1), st.integers(0, 2)),
    min_size=1,
)


@given(EVENTS)
@settings(max_examples=20, deadline=None)
def test_the_lines_run_through_every_moment_s_exact_sums(
    given: list[tuple[int, str, int, int]],
) -> None:
    rows = [(*row, Decimal(at + 1) / 4) for at, row in enumerate(given)]
    log: list[Event] = [
        (f"e{at}", "add", str(amount), key, minute * MINUTE, "t", partition, 1000 - at)
        for at, (minute, key, partition, _, amount) in enumerate(rows)
    ]
    applied = [
        (f"e{at}", str(row[4]), row[0]) for at, row in enumerate(rows) for _ in range(row[3])
    ]
    table = events(sorted(log, key=lambda event: (event[6], event[7])))
    r = reconcile(totals(to_pandas(table)), pd.DataFrame({"key": ["a"], "total": [0]}))
    chart = charts.divergence_over_time(r, dedup(to_pandas(table)), processed=processed_of(applied))
    if all(row[3] == 1 for row in rows):
        assert "nothing to draw" in chart.alt
        return
    absolute, net = lines(chart.axes[0])
    for end in absolute:
        by_key: dict[str, Decimal] = defaultdict(Decimal)
        for minute, key, _, times, amount in rows:
            by_key[key] += (times - 1) * amount * (minute * MINUTE < end)
        assert absolute[end] == float(sum(map(abs, by_key.values())))
        assert net[end] == float(sum(by_key.values()))


def test_what_came_from_elsewhere_is_drawn_at_its_processing_and_told() -> None:
    f = (
        found()
    )  # a10 missed: -11.25; b20 twice: +21.25; c30 reversed: -62.50; by hand at 12:40: +5.00
    chart = charts.divergence_over_time(f.r, f.d, processed=f.processed)
    absolute, net = lines(chart.axes[0])
    assert list(absolute.values()) == [0.0, 11.25, 32.5, 95.0, 100.0, 100.0]
    assert list(net.values()) == [0.0, -11.25, 10.0, -52.5, -47.5, -47.5]
    assert [at // MINUTE for at in net] == [0, 10, 20, 30, 40, 59]
    assert (
        chart.get_suptitle()
        == "Net, the system applied 47.50 less than the log gives; key by key it is off by 100.00"
    )
    assert "1 processed id not in the log, each counted as a key of its own" in chart.alt
    assert "Largest step key by key: +62.50 at 2026-03-02 12:30:00Z" in chart.alt


def test_what_cannot_be_placed_in_time_is_counted_not_forgotten() -> None:
    f = found()
    chart = charts.divergence_over_time(f.r, f.d, processed=f.processed[["event_id", "effect"]])
    assert "1 event, +5.00, not drawn for want of a place in the log or a near time" in chart.alt
    assert "Net, the system applied 47.50 less" in chart.get_suptitle()
    ids = charts.divergence_over_time(f.r, f.d, processed=f.processed[["event_id"]])
    assert "1 processed id not in the log, of unknown amount" in ids.alt
    assert (
        "-57.50 of expected − recovered is not in the processed list" in ids.alt
    )  # c30 looks right without effects


def test_nothing_but_unplaced_amounts_still_draws() -> None:
    f = found()
    right = processed_of([(row[0], row[2], 1) for row in LOG])
    more = pd.concat([right, processed_of([("by hand", "5.00", 0)])])[["event_id", "effect"]]
    chart = charts.divergence_over_time(f.r, f.d, processed=more)
    assert list(lines(chart.axes[0])[0].values()) == [0.0, 0.0]
    assert "1 event, +5.00, not drawn" in chart.alt
    assert "1 event, +5.00, not drawn" in charts.where_in_log(f.r, f.d, processed=more).alt


def test_amounts_stand_in_the_cells_they_came_from() -> None:
    f = found()
    chart = charts.where_in_log(f.r, f.d, processed=f.processed)
    ax = chart.axes[0]
    cells = ax.collections[0].get_array()
    width = 60 // cells.shape[1]
    wanted = {(0, 10 // width): 11.25, (1, 20 // width): 21.25, (0, 30 // width): 62.5}
    assert {
        (int(r), int(c)): cells[r, c] for r, c in np.argwhere(np.isfinite(cells.filled(np.nan)))
    } == wanted
    assert [t.get_text() for t in ax.texts] == ["11.2", "62.5", "21.2"]
    assert (
        chart.get_suptitle()
        == "100.00 in events that the system missed or applied otherwise than the log says"
    )
    assert chart.axes[1].get_ylabel() == "|applied − recovered|"


def test_without_a_list_it_is_the_share_of_divergent_keys_and_says_what_is_not_known() -> None:
    f = found()  # a, b and c diverge; each partition has two of the four keys
    chart = charts.where_in_log(f.r, f.d)
    cells = chart.axes[0].collections[0].get_array()
    assert set(cells[0]) == {100.0}  # a and c
    assert set(cells[1]) == {50.0}  # b and d
    over_time = charts.divergence_over_time(f.r, f.d)
    assert {bar.get_height() for bar in over_time.axes[0].patches} == {75.0}
    for made in (chart, over_time):
        assert (
            "without a list of what the system processed, the moment of an error is not known"
            in made.alt
        )


def test_of_many_partitions_only_those_with_a_difference_are_drawn() -> None:
    log: list[Event] = [(f"e{p}", "add", "1.00", "k", p * MINUTE, "t", p, 0) for p in range(60)]
    unique = to_pandas(events(log))
    r = reconcile(totals(unique), pd.DataFrame({"key": ["k"], "total": ["58.00"]}))
    applied = processed_of([(row[0], "1.00", 0) for row in log if row[6] not in (7, 41)])
    ax = charts.where_in_log(r, dedup(unique), processed=applied).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["partition 7", "partition 41"]
    shares = charts.where_in_log(r, dedup(unique)).axes[0]
    assert 20 <= len(shares.get_yticks()) <= 40
    assert shares.collections[0].get_array().shape[0] == 60


def test_a_processed_list_that_cannot_be_read_exactly_is_refused() -> None:
    f = found()
    wrong = pd.DataFrame({"event_id": ["a1"], "effect": [1.25]})
    for chart in (charts.divergence_over_time, charts.where_in_log, charts.running):
        with pytest.raises(TableError, match="floats"):
            chart(f.r, f.d, processed=wrong)


def test_times_are_drawn_in_utc() -> None:
    f = found()
    ax = charts.divergence_over_time(f.r, f.d).axes[0]
    assert ax.get_xlabel() == "time, UTC, 2026-03-02"
    noon = datetime.fromtimestamp(NOON / 1000, UTC)
    assert f"{noon:%H:%M}" == "12:00" == next(t.get_text() for t in ax.get_xticklabels())
