"""The window: two bounds, each a time, offsets or nothing."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery_kit.errors import ParameterError
from recovery_kit.sources.window import Window, to_ms, window
from tests.messages import NOON

ONE, TWO = ["ledger"], ["ledger", "ledger-retries-0"]


@pytest.mark.parametrize(
    "moment",
    [
        "2026-03-02T12:00:00Z",
        "2026-03-02T12:00Z",
        "2026-03-02 12:00:00+00:00",
        "2026-03-02T13:00:00.000+01:00",
        " 2026-03-02T12:00:00Z ",
        "20260302T120000Z",
        "2026-03-02T12:00:00.000999Z",  # events' times are cut to the millisecond, and so is this
        pd.Timestamp("2026-03-02T12:00:00Z"),
        pd.Timestamp("2026-03-02T07:00:00", tz="America/New_York"),
        datetime(2026, 3, 2, 12, tzinfo=UTC),
        datetime(2026, 3, 2, 17, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_times(moment: str | datetime) -> None:
    assert to_ms("since", moment) == NOON
    assert window(moment, None, ONE).since_ms == NOON
    assert window(None, moment, TWO).until_ms == NOON


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_any_time_is_its_ms_since_the_epoch_cut_towards_the_past(time: datetime) -> None:
    expected = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert to_ms("since", time) == expected
    assert to_ms("since", time.isoformat()) == expected
    assert str(expected // 1000 % 60).zfill(2) in str(Window(since_ms=expected))


@pytest.mark.parametrize(
    "moment",
    ["2026-03-02T12:00:00", "2026-03-02", pd.Timestamp("2026-03-02"), datetime(2026, 3, 2)],
)
def test_a_time_without_a_zone_says_so(moment: str | datetime) -> None:
    with pytest.raises(
        ParameterError, match=r"since is .*, a time without a zone; add one, such as 2026-03-02T"
    ):
        window(moment, None, ONE)


@pytest.mark.parametrize(
    "moment",
    [
        "noon",
        "now",
        "today",
        "2/3/2026 12:00Z",
        "5",
        "2026-13-01T00:00Z",
        "03-02-2026",
        "99999-01-01T00:00Z",
    ],
)
def test_what_is_no_time_says_so(moment: str) -> None:
    with pytest.raises(
        ParameterError,
        match=r"until is .*; expected an ISO 8601 time such as 2026-03-02T08:00:00Z, or off",
    ):
        window(None, moment, ONE)


@pytest.mark.parametrize("moment", [5, 1.5, [1], date(2026, 3, 2), b"2026-03-02"])
def test_what_is_no_bound_at_all_says_so(moment: object) -> None:
    with pytest.raises(
        ParameterError, match=r"since is .*; expected a time, or a mapping of partition to offset"
    ):
        window(moment, None, ONE)  # type: ignore[arg-type]


def test_no_time_at_all_says_so() -> None:
    with pytest.raises(ParameterError, match=r"since is not a time"):
        window(pd.NaT, None, ONE)  # type: ignore[arg-type]


@pytest.mark.parametrize("nothing", [None, "", {}, "{}"])
def test_nothing_is_the_whole_log(nothing: object) -> None:
    assert window(nothing, nothing, ONE) == Window()  # type: ignore[arg-type]
    assert str(Window()) == "the whole log"


def test_since_must_be_before_until() -> None:
    with pytest.raises(
        ParameterError,
        match=r"since \(2026-03-02T12:00Z\) is not before until \(2026-03-02T13:00\+01:00\)",
    ):
        window("2026-03-02T12:00Z", "2026-03-02T13:00+01:00", ONE)


@pytest.mark.parametrize(
    "offsets",
    [
        {0: 12, 3: 0},
        {"0": 12, "3": 0},
        {("ledger", 0): 12, "ledger-3": 0},
        '{"0": 12, "3": 0}',
        ' {"ledger-0": 12, "3": 0}',
    ],
)
def test_offsets_by_partition(offsets: object) -> None:
    found = window(offsets, offsets, ONE)  # type: ignore[arg-type]
    assert found == Window(
        since_offsets={("ledger", 0): 12, ("ledger", 3): 0}, until_offsets=found.since_offsets
    )
    assert str(found) == "from ledger-0@12, ledger-3@0 to before ledger-0@12, ledger-3@0"


def test_offsets_by_topic_and_partition_of_several() -> None:
    found = window({("ledger", 1): 5, "ledger-retries-0-2": 7}, None, TWO)
    assert found.since_offsets == {("ledger", 1): 5, ("ledger-retries-0", 2): 7}


@pytest.mark.parametrize("offsets", [{0: 1}, {"1": 1}, '{"0": 1}'])
def test_a_bare_partition_of_several_topics_says_so(offsets: object) -> None:
    with pytest.raises(ParameterError, match=r"since names partition [01] of 2 topics; give"):
        window(offsets, None, TWO)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "place",
    [
        ("other", 0),
        "other-0",
        "ledger",
        "ledger-",
        "ledger-x",
        "ledger-²",
        ("ledger",),
        ("ledger", "0"),
        True,
        1.5,
        None,
    ],
)
def test_a_place_that_is_not_there_says_so(place: object) -> None:
    with pytest.raises(ParameterError, match=r"since names .*; expected a partition, or"):
        window({place: 1}, None, ONE)  # type: ignore[dict-item]


@pytest.mark.parametrize("offset", [-1, 1.0, "5", None, True])
def test_an_offset_that_is_none_says_so(offset: object) -> None:
    with pytest.raises(
        ParameterError, match=r"until gives ledger-2 the offset .*; expected a whole number from 0"
    ):
        window(None, {2: offset}, ONE)  # type: ignore[dict-item]


def test_what_starts_like_json_and_is_not_says_so() -> None:
    with pytest.raises(ParameterError, match=r"starts like JSON but is not"):
        window("{0: 5}", None, ONE)


def test_a_time_and_offsets_go_together() -> None:
    found = window("2026-03-02T12:00Z", {0: 9}, ONE)
    assert (found.since_ms, found.until_offsets) == (NOON, {("ledger", 0): 9})
    assert (
        str(found) == "from 2026-03-02T12:00:00.000Z by the events' own time to before ledger-0@9"
    )


bounds = st.none() | st.integers(0, 2**53)
places = st.dictionaries(st.tuples(st.text(), st.integers(0, 2**31 - 1)), st.integers(0, 2**63 - 1))


@given(st.builds(Window, bounds, bounds, places, places))
def test_a_window_comes_back_from_json(cut: Window) -> None:
    assert Window.from_dict(json.loads(json.dumps(cut.to_dict()))) == cut
