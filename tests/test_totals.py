"""Totals: exact sums by key, on top of what they started from."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit.dedup import dedup
from recovery_kit.errors import AmountError, TableError
from recovery_kit.schema import EventSchema
from recovery_kit.totals import Totals, totals
from tests.events import FORMS, NOON, Event, arrow, events, rows

LOG: list[Event] = [
    ("e1", "add", "5.00", "b", 3, "t", 0, 0),
    ("e2", "add", "0.10", "a", 1, "t", 0, 1),
    ("e3", "add", "0.20", "a", 9, "t", 0, 2),
    ("e4", "subtract", "7.25", "b", 2, "t", 0, 3),
]
TYPES = {
    "key": pa.large_string(),
    "opening": pa.decimal128(38, 2),
    "total": pa.decimal128(38, 2),
    "events": pa.int64(),
    "added": pa.decimal128(38, 2),
    "subtracted": pa.decimal128(38, 2),
    "first": pa.timestamp("ms", "UTC"),
    "last": pa.timestamp("ms", "UTC"),
}


def exact(table: pa.Table, effects: list[Decimal], digits: int, scale: int) -> pa.Table:
    return table.set_column(3, "effect", pa.array(effects, pa.decimal128(digits, scale)))


def cents(amount: Decimal) -> int:
    """An amount of two decimals, by its digits: Decimal's own arithmetic rounds to 28 of them."""
    assert amount.as_tuple().exponent == -2
    return int(f"{amount:f}".replace(".", ""))


def at(time: int) -> Any:
    return pa.scalar(NOON + time, pa.timestamp("ms", "UTC")).as_py()


@pytest.mark.parametrize("form", FORMS)
def test_sums_are_exact_and_the_same_form_comes_back(form: str) -> None:
    given = FORMS[form](events(LOG))
    result = totals(given)
    assert type(result.table) is type(given)
    assert (
        dict(zip(arrow(result.table).column_names, arrow(result.table).schema.types, strict=True))
        == TYPES
    )
    assert [tuple(row.values()) for row in rows(result.table)] == [
        ("a", Decimal("0.00"), Decimal("0.30"), 2, Decimal("0.30"), Decimal("0.00"), at(1), at(9)),
        ("b", Decimal("0.00"), Decimal("-2.25"), 2, Decimal("5.00"), Decimal("7.25"), at(2), at(3)),
    ]
    assert result.opening is False


@pytest.mark.parametrize("form", FORMS)
def test_opening_totals_are_where_it_starts(form: str) -> None:
    opening = FORMS[form](
        pa.table({"key": ["c", "b"], "total": pa.array([Decimal("1.005"), Decimal(-4)])})
    )
    result = totals(FORMS[form](events(LOG)), opening=opening)
    found = {row["key"]: row for row in rows(result.table)}
    assert list(found) == ["a", "b", "c"]
    assert {key: (row["opening"], row["total"]) for key, row in found.items()} == {
        "a": (Decimal("0.000"), Decimal("0.300")),
        "b": (Decimal("-4.000"), Decimal("-6.250")),
        "c": (Decimal("1.005"), Decimal("1.005")),
    }
    assert (found["c"]["events"], found["c"]["first"], found["c"]["last"]) == (0, None, None)
    assert arrow(result.table).schema.field("total").type == pa.decimal128(38, 3)
    assert result.opening is True


def test_totals_of_an_earlier_run_are_an_opening() -> None:
    half, rest = totals(events(LOG[:2])), events(LOG[2:])
    whole, joined = totals(events(LOG)), totals(rest, opening=half)
    assert arrow(joined.table)["total"] == arrow(whole.table)["total"]
    nothing_yet = totals(events([]))
    assert (
        arrow(totals(rest, opening=nothing_yet).table)["total"]
        == arrow(totals(rest).table)["total"]
    )


def test_opening_totals_may_be_a_file(tmp_path: Any) -> None:
    path = tmp_path / "opening.csv"
    path.write_text("key,total\na,100\n0012,1e2\n", encoding="utf-8")
    assert {row["key"]: row["total"] for row in rows(totals(events(LOG), opening=path).table)} == {
        "0012": Decimal("100.00"),
        "a": Decimal("100.30"),
        "b": Decimal("-2.25"),
    }
    path.write_text("key,total\na,100\na,1\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"opening: .*opening.csv, line 2, column 'key'"):
        totals(events(LOG), opening=path)


def test_factors_of_types_give_decimals_of_their_own() -> None:
    schema = EventSchema(effects={"add": "0.5", "subtract": -3})
    result = totals(events(LOG, schema))
    assert [row["total"] for row in rows(result.table)] == [Decimal("0.150"), Decimal("-19.250")]


@pytest.mark.parametrize("form", FORMS)
def test_no_events(form: str) -> None:
    result = totals(FORMS[form](events([])))
    assert (
        dict(zip(arrow(result.table).column_names, arrow(result.table).schema.types, strict=True))
        == TYPES
    )
    assert len(result.table) == 0
    assert "keys 0" in " ".join(repr(result).split())
    assert "first event –" in " ".join(repr(result).split())
    opened = totals(FORMS[form](events([])), opening=pa.table({"key": ["a"], "total": [5]}))
    assert [row["total"] for row in rows(opened.table)] == [5]


def test_repeated_ids_are_an_error_unless_the_ids_are_left_out() -> None:
    twice = events([*LOG, ("e1", "add", "5.00", "b", 4, "t", 0, 9)])
    with pytest.raises(
        TableError, match=r"1 of 5 rows repeat an event id.*Pass dedup\(events\), or"
    ):
        totals(twice)
    assert [row["total"] for row in rows(totals(twice.drop_columns(["event_id"])).table)] == [
        Decimal("0.30"),
        Decimal("2.75"),
    ]


def test_a_table_made_from_a_unique_one_is_checked_anew() -> None:
    unique = dedup(FORMS["pandas"](events(LOG))).unique
    assert len(totals(unique).table) == 2
    with pytest.raises(TableError, match="4 of 8 rows repeat an event id"):
        totals(pd.concat([unique, unique]))


def test_a_unique_table_that_was_added_to_in_place_is_checked_too() -> None:
    unique = dedup(FORMS["polars"](events(LOG))).unique
    assert len(totals(unique).table) == 2
    unique.extend(unique.clone())
    with pytest.raises(TableError, match="4 of 8 rows repeat an event id"):
        totals(unique)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            events(LOG).set_column(3, "effect", pa.array([1.0] * 4)),
            r"unique: column 'effect' is double; expected decimals",
        ),
        (
            events(LOG).set_column(3, "effect", pa.array([1] * 4)),
            r"column 'effect' is int64; expected decimals: cast",
        ),
        (events(LOG).drop_columns(["key"]), r"unique has no column 'key'"),
        (
            events(LOG).set_column(5, "time", pa.nulls(4, pa.timestamp("ms", "UTC"))),
            r"column 'time' holds 4 nulls",
        ),
        ([], r"unique is a list"),
    ],
)
def test_a_table_that_will_not_do_says_why(table: object, said: str) -> None:
    with pytest.raises(TableError, match=said):
        totals(table)


def test_a_sum_that_could_overflow_is_an_error() -> None:
    most = [Decimal(10) ** 36 * 9] * 2 + [Decimal(1)] * 2
    with pytest.raises(AmountError, match="more than 38 digits"):
        totals(exact(events(LOG), most, 38, 1))
    with pytest.raises(AmountError, match="totals: 5 amounts"):
        totals(events(LOG), opening=pa.table({"key": ["a"], "total": ["9" * 36]}))


def test_sums_of_more_digits_than_a_float_or_pythons_default_context_has() -> None:
    opening = "123456789012345678901234567890.12"
    result = totals(events(LOG), opening=pa.table({"key": ["a"], "total": [opening]}))
    assert rows(result.table)[0]["total"] == Decimal("123456789012345678901234567890.42")
    largest = Decimal("9" * 26 + ".99")
    result = totals(exact(events(LOG), [largest] * 3 + [-largest], 28, 2))
    assert [(row["added"], row["subtracted"]) for row in rows(result.table)] == [
        (Decimal("199999999999999999999999999.98"), 0),
        (largest, largest),
    ]


def test_the_largest_amount_of_all_is_held() -> None:
    nines = "9" * 36 + ".99"
    result = totals(events([]), opening=pa.table({"key": ["a"], "total": [nines]}))
    assert rows(result.table)[0]["total"] == Decimal(nines)


def test_cards_read_well_and_are_escaped() -> None:
    log = [*LOG, ("e5", "add", "1", "<b>\x1b[2J", 4, "t", 0, 9)]
    result = totals(FORMS["pandas"](events(log)))
    assert [" ".join(line.split()) for line in repr(result).splitlines()] == [
        "Totals",
        "keys 3",
        "events 5",
        "added, over all keys 6.30",
        "subtracted, over all keys 7.25",
        "total, over all keys -0.95",
        "first event 2026-03-02 12:00:00.001Z",
        "last event 2026-03-02 12:00:00.009Z",
    ]
    page = result._repr_html_()
    assert "<b>" not in page
    assert "\x1b" not in page
    assert "&lt;b&gt;" in page
    many = events((f"e{n}", "add", "1", f"k{n:02}", n, "t", 0, n) for n in range(30))
    assert "Recovered totals, by key (first 20 of 30)" in totals(many)._repr_html_()
    assert "opening, over all keys" in repr(totals(events(LOG), opening=result))


EFFECTS = st.integers(-(10**28) + 1, 10**28 - 1)
MOVES = st.lists(st.tuples(st.sampled_from("abc"), EFFECTS, st.integers(0, 10**9)), max_size=20)
OPENINGS = st.dictionaries(st.sampled_from("abcd"), EFFECTS)


@settings(deadline=None)
@given(MOVES, OPENINGS, st.sampled_from(list(FORMS)))
def test_totals_are_what_whole_numbers_give(
    moves: list[tuple[str, int, int]], start: dict[str, int], form: str
) -> None:
    log = [(f"e{n}", "add", "1", key, time, "t", 0, n) for n, (key, _, time) in enumerate(moves)]
    effects = [Decimal(f"{n}e-2") for _, n, _ in moves]
    opening = pa.table({"key": list(start), "total": [f"{n}e-2" for n in start.values()]})
    result: Totals = totals(
        FORMS[form](exact(events(log), effects, 28, 2)), opening=opening if start else None
    )
    added: dict[str, int] = defaultdict(int)
    taken: dict[str, int] = defaultdict(int)
    for key, n, _ in moves:
        (added if n > 0 else taken)[key] += abs(n)
    found = rows(result.table)
    assert [row["key"] for row in found] == sorted({key for key, _, _ in moves} | set(start))
    for row in found:
        key = row["key"]
        assert {name: cents(row[name]) for name in ("opening", "total", "added", "subtracted")} == {
            "opening": start.get(key, 0),
            "total": start.get(key, 0) + added[key] - taken[key],
            "added": added[key],
            "subtracted": taken[key],
        }
        assert row["events"] == sum(k == key for k, _, _ in moves)
        times = [at(time) for k, _, time in moves if k == key]
        assert (row["first"], row["last"]) == (min(times, default=None), max(times, default=None))


@settings(deadline=None)
@given(MOVES, st.integers(1, 4))
def test_redeliveries_change_no_total(moves: list[tuple[str, int, int]], copies: int) -> None:
    once = [
        (f"e{n}", "subtract", f"{n}.50", key, time, "t", 0, n)
        for n, (key, _, time) in enumerate(moves)
    ]
    again = [(*row[:4], row[4] + 1, "t", copy, row[7]) for copy in range(copies) for row in once]
    found = dedup(events(again))
    assert found.counts["redelivered"] == (copies - 1) * len(once)
    assert arrow(totals(found.unique).table)["total"] == arrow(totals(events(once)).table)["total"]
