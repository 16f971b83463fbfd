"""Bins of time and what was applied against the log, held against plain Python."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.charts import columns
from recovery_kit.schema import TIME_TYPE
from tests.events import NOON

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AMOUNTS = st.decimals("-1e20", "1e20", places=2)


def times(ms: list[int]) -> pl.Series:
    return pl.Series("time", ms, pl.Int64).cast(pl.Datetime("ms", "UTC"))


@given(
    st.lists(st.integers(columns._FIRST, columns._LAST), min_size=1, max_size=40),
    st.integers(3, 90),
)
def test_bins_are_few_round_and_hold_every_time_or_say_so(ms: list[int], most: int) -> None:
    over = columns.bins(times(ms), most)
    assert 1 <= over.count <= most
    assert over.start % over.step == 0
    placed = times(ms).to_frame().select(over.place()).to_series().to_list()
    assert placed == [
        at if 0 <= (at := (t - over.start) // over.step) < over.count else None for t in ms
    ]
    clamped = times(ms).to_frame().select(over.place(clamp=True)).to_series()
    assert clamped.is_between(0, over.count - 1).all()


@given(
    st.integers(0, 10**12),
    st.integers(1, 10**9),
    st.lists(st.floats(0, 1), min_size=25, max_size=40),
)
def test_only_rare_and_far_times_are_left_out(start: int, span: int, parts: list[float]) -> None:
    ms = [start + int(part * span) for part in parts]
    wild = [start - 10**11 - 40 * span, start + 10**11 + 40 * span]
    over = columns.bins(times([*ms, *wild]))
    placed = times([*ms, *wild]).to_frame().select(over.place()).to_series().to_list()
    assert None not in placed[:-2]
    assert placed[-2:] == [None, None]


@pytest.mark.parametrize(
    ("span", "duration"),
    [
        (50, "1 ms"),
        (3_000, "100 ms"),
        (60_000, "2 s"),
        (3_600_000, "2 min"),
        (6 * 3_600_000, "10 min"),
        (10**9, "6 h"),
    ],
)
def test_a_bin_lasts_a_round_time(span: int, duration: str) -> None:
    over = columns.bins(times([NOON, NOON + span]))
    assert over.duration == duration


def test_a_moment_is_in_utc_and_as_exact_as_the_bins_are() -> None:
    assert columns.Bins(NOON, 1_000, 2).moment(1) == "2026-03-02 12:00:01Z"
    assert (
        columns.Bins(NOON, 5, 2).span == "from 2026-03-02 12:00:00.000Z to 2026-03-02 12:00:00.010Z"
    )


ROWS = st.lists(st.tuples(st.sampled_from("abcdefgh"), AMOUNTS), max_size=12)


@given(st.dictionaries(st.sampled_from("abcdef"), AMOUNTS), ROWS, st.booleans())
def test_deltas_are_applied_less_recovered_event_by_event(
    log: dict[str, Decimal], applied: list[tuple[str, Decimal]], timed: bool
) -> None:
    unique = pl.DataFrame(
        {
            "event_id": pl.Series(list(log), dtype=pl.String),
            "key": pl.Series([f"key of {i}" for i in log], dtype=pl.String),
            "time": times([NOON] * len(log)),
            "topic": pl.Series(["t"] * len(log), dtype=pl.Categorical),
            "partition": pl.Series([1] * len(log), dtype=pl.Int32),
            "effect": pl.Series(list(log.values()), dtype=pl.Decimal(28, 2)),
        }
    )
    processed = pl.DataFrame(
        {
            "event_id": pl.Series([i for i, _ in applied], dtype=pl.String),
            "effect": pl.Series([e for _, e in applied], dtype=pl.Decimal(38, 4)),
        }
    )
    if timed:
        processed = processed.with_columns(times([NOON + 7] * len(applied)))

    expected: dict[str, Decimal] = defaultdict(Decimal)
    for event_id, effect in [*applied, *((i, -e) for i, e in log.items())]:
        expected[event_id] += effect
    found = columns.deltas(unique, processed).rows(named=True)
    here = {
        row["owner"].removeprefix("key of "): row for row in found if row["partition"] is not None
    }
    gone = {
        row["owner"].removeprefix("not in the log: "): row
        for row in found
        if row["partition"] is None
    }
    assert {i: row["delta"] for i, row in (here | gone).items()} == {
        i: e for i, e in expected.items() if e
    }
    assert set(here) <= set(log)
    assert not set(gone) & set(log)
    noon = EPOCH + timedelta(milliseconds=NOON)
    assert {row["time"] for row in here.values()} <= {noon}
    assert {row["time"] for row in gone.values()} <= {
        noon + timedelta(milliseconds=7) if timed else None
    }


def test_ids_without_effects_count_as_applied_the_way_the_log_says() -> None:
    unique = pl.DataFrame(
        {
            "event_id": ["a", "b"],
            "key": ["k", "k"],
            "time": times([NOON, NOON]),
            "topic": ["t", "t"],
            "partition": [0, 0],
        }
    ).with_columns(effect=pl.Series([Decimal("1.10"), Decimal("2.20")], dtype=pl.Decimal(28, 2)))
    found = columns.deltas(unique, pl.DataFrame({"event_id": ["a", "a", "a", "unknown"]}))
    assert sorted(found["delta"]) == [Decimal("-2.20"), Decimal("2.20")]


def test_the_kits_time_type_is_what_the_bins_take() -> None:
    assert pl.DataFrame({"time": times([NOON])}).to_arrow()["time"].type == TIME_TYPE
