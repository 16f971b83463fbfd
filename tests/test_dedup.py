"""Dedup: first delivery wins, redeliveries and conflicts are told apart, every row is accounted
for.
"""

import random
from collections import defaultdict
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit.dedup import ON_CONFLICT, Dedup, dedup
from recovery_kit.errors import AmountError, ConflictError, ParameterError, TableError
from recovery_kit.schema import EventSchema
from recovery_kit.totals import totals
from tests.events import FORMS, Event, arrow, column, events, rows

# e1 is redelivered late, with another time, in another partition; e2 comes with another value; e3
# once.
LOG: list[Event] = [
    ("e1", "add", "5.00", "a", 0, "t", 0, 10),
    ("e2", "add", "7.00", "a", 1, "t", 0, 11),
    ("e3", "subtract", "2.00", "b", 2, "t", 0, 12),
    ("e2", "add", "9.50", "a", 8, "t", 0, 13),
    ("e1", "add", "5.00", "a", 9, "t", 1, 3),
    ("e2", "add", "7.00", "a", 7, "t", 1, 4),
]


def places(frame: object) -> list[tuple[str, int, int]]:
    return [(row["topic"], row["partition"], row["offset"]) for row in rows(frame)]


@pytest.mark.parametrize("form", FORMS)
def test_first_delivery_wins_and_the_same_form_comes_back(form: str) -> None:
    given = FORMS[form](events(LOG))
    result = dedup(given)
    assert {type(t) for t in (result.unique, result.redelivered, result.conflicts)} == {type(given)}
    assert places(result.unique) == [("t", 0, 10), ("t", 0, 11), ("t", 0, 12)]
    assert places(result.redelivered) == [("t", 1, 3), ("t", 1, 4)]
    assert places(result.conflicts) == [("t", 0, 11), ("t", 1, 4), ("t", 0, 13)]
    assert column(result.conflicts, "verdict") == ["chosen", "redelivered", "conflicting"]
    assert column(result.conflicts, "chosen_effect") == [Decimal("7.00")] * 3
    assert column(result.conflicts, "worth") == [Decimal("0.00"), Decimal("0.00"), Decimal("2.50")]
    assert result.counts == {"events": 6, "unique": 3, "redelivered": 2, "conflicting": 1}


def test_pandas_gets_the_types_of_the_events_table() -> None:
    table = events(LOG)
    result = dedup(FORMS["pandas"](table))
    for frame in (result.unique, result.redelivered, result.conflicts):
        found = {name: frame.dtypes[name].pyarrow_dtype for name in table.column_names}
        assert found == EventSchema().arrow_types


@pytest.mark.parametrize(
    ("on_conflict", "unique", "redelivered", "verdicts", "worth"),
    [
        (
            "first",
            [10, 11, 12],
            [3, 4],
            {11: "chosen", 4: "redelivered", 13: "conflicting"},
            {11: 0, 4: 0, 13: "2.5"},
        ),
        (
            "last",
            [10, 12, 13],
            [3],
            {11: "conflicting", 4: "conflicting", 13: "chosen"},
            {11: "-2.5", 4: "-2.5", 13: 0},
        ),
        (
            "reject",
            [10, 12],
            [3],
            dict.fromkeys([11, 4, 13], "conflicting"),
            {11: 7, 4: 7, 13: "9.5"},
        ),
    ],
)
def test_a_conflict_is_settled_as_asked(
    on_conflict: str,
    unique: list[int],
    redelivered: list[int],
    verdicts: dict[int, str],
    worth: dict[int, object],
) -> None:
    result = dedup(events(LOG), on_conflict=on_conflict)
    assert column(result.unique, "offset") == unique
    assert column(result.redelivered, "offset") == redelivered
    found = rows(result.conflicts)
    assert {row["offset"]: row["verdict"] for row in found} == verdicts
    assert {row["offset"]: row["worth"] for row in found} == {
        at: Decimal(w) for at, w in worth.items()
    }


@pytest.mark.parametrize(
    "other",
    [
        ("e", "subtract", "1", "a"),
        ("e", "add", "1.01", "a"),
        ("e", "add", "1", "b"),
        ("e", "add", "1", "A"),
    ],
)
def test_another_type_value_or_key_is_a_conflict(other: tuple[str, str, str, str]) -> None:
    table = events([("e", "add", "1", "a", 0, "t", 0, 0), (*other, 1, "t", 0, 1)])
    assert dedup(table).counts["conflicting"] == 1


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ((0, "z", 9, 9), (1, "a", 0, 0)),
        ((0, "a", 9, 9), (0, "b", 0, 0)),
        ((0, "b", 1, 9), (0, "b", 2, 0)),
        ((0, "b", 1, 2), (0, "b", 1, 10)),
    ],
)
def test_first_is_by_time_then_topic_then_partition_then_offset(
    early: tuple[int, str, int, int], late: tuple[int, str, int, int]
) -> None:
    for pair in ((early, late), (late, early)):
        table = events(("e", "add", "1", "k", *place) for place in pair)
        assert places(dedup(table).unique) == [early[1:]]
        assert places(dedup(table).redelivered) == [late[1:]]


def test_raise_names_ids_contents_and_places() -> None:
    with pytest.raises(ConflictError) as caught:
        dedup(events(LOG), on_conflict="raise")
    said = str(caught.value)
    assert "1 event id came with more than one content" in said
    assert "'e2': add 7.00 for 'a' at t partition 0 offset 11" in said
    assert "add 9.50 for 'a' at t partition 0 offset 13" in said
    assert "'e1'" not in said  # only redelivered
    assert dedup(events(LOG[:3]), on_conflict="raise").counts["unique"] == 3


def test_message_contents_are_escaped_in_errors_and_cards() -> None:
    bad = "<script>\x1b[2Jx"
    table = events([(bad, "add", "1", "a", 0, "t", 0, 0), (bad, "add", "2", bad, 0, "t", 0, 1)])
    with pytest.raises(ConflictError) as caught:
        dedup(table, on_conflict="raise")
    page = dedup(table)._repr_html_()
    assert "\x1b" not in str(caught.value) + page
    assert r"\x1b[2Jx" in str(caught.value)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_cards_read_well() -> None:
    result = dedup(FORMS["pandas"](events(LOG)))
    assert [" ".join(line.split()) for line in repr(result).splitlines()] == [
        "Dedup",
        "events (rows) 6",
        "unique 3",
        "redelivered, same content 2",
        "conflicting, other content 1",
        "! 1 event id came with more than one content: the first copy was chosen "
        "(on_conflict='first'). The column worth says what each copy would add to the sum over all "
        "keys.",
    ]
    page = result._repr_html_()
    assert "Conflicting copies, those worth most first" in page
    assert page.index("9.50") < page.index("7.00")
    assert "no copy was chosen" in repr(dedup(events(LOG), on_conflict="reject"))
    clean = dedup(events(LOG[:3]))
    assert "Conflicting copies" not in clean._repr_html_()
    assert "!" not in repr(clean)


@pytest.mark.parametrize("form", FORMS)
def test_no_events(form: str) -> None:
    result = dedup(FORMS[form](events([])))
    assert result.counts == {"events": 0, "unique": 0, "redelivered": 0, "conflicting": 0}
    assert arrow(result.unique).column_names == list(EventSchema().arrow_types)


def test_columns_of_ones_own_stay() -> None:
    table = events(LOG).append_column("note", pa.array(list("uvwxyz")))
    result = dedup(table)
    assert column(result.unique, "note") == ["u", "v", "w"]
    assert column(result.redelivered, "note") == ["y", "z"]
    assert result.conflicts.column_names == [
        *table.column_names,
        "verdict",
        "chosen_effect",
        "worth",
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_either_kind_and_rows_in_any_order(kind: pa.DataType) -> None:
    table = events(LOG).take([5, 3, 4, 0, 2, 1])
    for at in (0, 1, 4, 6):
        text = table.column(at).cast(pa.string())
        table = table.set_column(
            at, table.column_names[at], text if kind == pa.string() else text.dictionary_encode()
        )
    result = dedup(table)
    assert column(result.unique, "offset") == [10, 12, 11]  # as given
    assert column(result.redelivered, "offset") == [3, 4]  # in log order
    assert column(totals(result.unique).table, "key") == ["a", "b"]


def test_a_table_that_is_changed_afterwards_changes_no_result() -> None:
    given = events(LOG).to_pandas()  # its numbers and times are numpy's
    result = dedup(given)
    given.loc[0, "offset"] = 99
    assert places(result.unique) == [("t", 0, 10), ("t", 0, 11), ("t", 0, 12)]


def test_chunks_may_be_empty_and_start_anywhere() -> None:
    table = events(LOG)
    parts = [table.slice(0, 0), table.slice(0, 2), table.slice(2, 0), table.slice(2)]
    result = dedup(pa.concat_tables(parts))
    assert rows(result.unique) == rows(dedup(table).unique)
    assert rows(totals(result).table) == rows(totals(dedup(table)).table)


def test_a_polars_lazy_frame_is_taken() -> None:
    result = dedup(pl.from_arrow(events(LOG)).lazy())
    assert isinstance(result.unique, pl.DataFrame)
    assert result.counts["unique"] == 3


def test_the_order_of_a_long_table_is_kept() -> None:
    n, chance = 200_000, random.Random(3)
    ids = [f"e{i if chance.random() < 0.8 else chance.randrange(n)}" for i in range(n)]
    table = events([("e", "add", "1", "k", 0, "t", 0, 0)]).take([0] * n)
    table = table.set_column(0, "event_id", pa.array(ids, pa.large_string()))
    table = table.set_column(8, "offset", pa.array(range(n), pa.int64()))
    first = list({event_id: row for row, event_id in reversed(list(enumerate(ids)))}.values())
    assert dedup(table).unique["offset"].to_pylist() == sorted(first)


FLOATS = events(LOG).set_column(2, "value", pa.array([1.5] * len(LOG)))
NULLS = events(LOG).set_column(4, "key", pa.array(["a", None] * 3, pa.large_string()))
NULL_IN_DICTIONARY = events(LOG).set_column(
    0,
    "event_id",
    pa.DictionaryArray.from_arrays(pa.array(range(6), pa.int32()), pa.array([None, *"abcde"])),
)
NAIVE = events(LOG).set_column(5, "time", pa.array([0] * len(LOG), pa.timestamp("ms")))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            FLOATS,
            r"events: column 'value' is double; expected decimals\. A float cannot hold money exactly",
        ),
        (NULLS, r"events: column 'key' holds 3 nulls"),
        (NULL_IN_DICTIONARY, r"events: column 'event_id' holds 1 nulls"),
        (
            events(LOG).set_column(2, "value", events(LOG)["value"].cast(pa.decimal64(18, 2))),
            r"column 'value' is decimal64\(18, 2\); expected decimals: cast the column, to decimal128\(28, 2\) for instance",
        ),
        (
            events(LOG).set_column(4, "key", events(LOG)["key"].cast(pa.string_view())),
            r"column 'key' is string_view; expected text: cast the column, to large_string for instance",
        ),
        (NAIVE, r"events: column 'time' is timestamp\[ms\]; expected times with a time zone"),
        (
            events(LOG).rename_columns({"event_id": "eventid"}),
            r"no column 'event_id'\. Did you mean 'eventid'\?.*has: eventid",
        ),
        (
            events(LOG).set_column(8, "offset", pa.array(["x"] * 6)),
            r"column 'offset' is string; expected whole numbers",
        ),
        ({"event_id": []}, r"events is a dict; expected a pandas, polars or pyarrow table"),
        (pd.DataFrame({"event_id": ["a", 1]}), r"events has a column of mixed types"),
        (
            pa.concat_tables([events(LOG), events(LOG)]),
            r"events: 2 rows have one place in the log, t partition \d offset \d+: events 'e\d' and",
        ),
    ],
)
def test_a_table_that_will_not_do_says_why(table: object, said: str) -> None:
    with pytest.raises(TableError, match=said):
        dedup(table)


def test_an_unknown_choice_is_an_error() -> None:
    with pytest.raises(
        ParameterError, match=r"on_conflict is 'frist'; expected one of .* Did you mean 'first'\?"
    ):
        dedup(events(LOG), on_conflict="frist")


def test_amounts_too_large_to_subtract_are_an_error() -> None:
    table = events(LOG[:2])
    most = pa.array([Decimal("9" * 36 + ".99")] * 2, pa.decimal128(38, 2))
    with pytest.raises(AmountError, match="more than 38 digits"):
        dedup(table.set_column(3, "effect", most))


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.uint8()])
def test_two_events_in_one_place_are_an_error(kind: pa.DataType) -> None:
    table = events([LOG[1], LOG[0], ("e1", "add", "5.00", "a", 3, "t", 0, 11)])
    table = table.set_column(8, "offset", table["offset"].cast(kind))
    with pytest.raises(
        TableError,
        match="2 rows have one place in the log, t partition 0 offset 11: events 'e1' and 'e2'",
    ):
        dedup(table)


LOGS = st.lists(
    st.tuples(
        st.sampled_from(["e0", "e1", "e2", "E0", "é"]),
        st.sampled_from(["add", "subtract"]),
        st.sampled_from(["1", "1.00", "2.50"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 2),
        st.sampled_from(["t", "t-retry"]),
        st.integers(0, 1),
    ),
    max_size=12,
).map(
    lambda drawn: sorted(
        ((*row, offset) for offset, row in enumerate(drawn)), key=lambda row: row[5:]
    )
)


def model(log: list[Event], on_conflict: str) -> dict[str, set[int]]:
    """Offsets by verdict, as the definition has it."""
    copies: dict[str, list[Event]] = defaultdict(list)
    for row in sorted(log, key=lambda row: row[4:]):
        copies[row[0]].append(row)
    found: dict[str, set[int]] = defaultdict(set)
    for of_one in copies.values():
        contents = [(row[1], Decimal(row[2]), row[3]) for row in of_one]
        at = -1 if on_conflict == "last" and len(set(contents)) > 1 else 0
        chosen, same = of_one[at], [content == contents[at] for content in contents]
        none_chosen = on_conflict == "reject" and not all(same)
        for row, equal in zip(of_one, same, strict=True):
            verdict = (
                "conflicting"
                if none_chosen or not equal
                else "chosen"
                if row is chosen
                else "redelivered"
            )
            found[verdict].add(row[7])
    return found


@settings(deadline=None)
@given(LOGS, st.sampled_from(ON_CONFLICT[:3]), st.sampled_from(list(FORMS)))
def test_any_log_is_judged_as_the_definition_has_it(
    log: list[Event], on_conflict: str, form: str
) -> None:
    table = events(log)
    result: Dedup = dedup(FORMS[form](table), on_conflict=on_conflict)
    wanted = model(log, on_conflict)
    assert column(result.unique, "offset") == [row[7] for row in log if row[7] in wanted["chosen"]]
    assert column(result.redelivered, "offset") == [
        row[7] for row in log if row[7] in wanted["redelivered"]
    ]
    listed = rows(result.conflicts)
    assert {row["offset"] for row in listed if row["verdict"] == "conflicting"} == wanted[
        "conflicting"
    ]
    disputed = {row[0] for row in log if row[7] in wanted["conflicting"]}
    together = sorted(
        (row for row in log if row[0] in disputed), key=lambda row: (row[0].encode(), *row[4:])
    )
    assert [row["offset"] for row in listed] == [row[7] for row in together]
    assert (
        arrow(result.unique).select(["value", "effect"]).schema
        == table.select(["value", "effect"]).schema
    )


@settings(deadline=None)
@given(LOGS)
def test_worth_is_what_choosing_a_copy_would_change(log: list[Event]) -> None:
    first = dedup(events(log))
    now = sum(column(first.unique, "effect"), Decimal(0))
    for row in rows(first.conflicts):
        others = [e for e in rows(first.unique) if e["event_id"] != row["event_id"]]
        then = sum((e["effect"] for e in others), row["effect"])
        assert row["worth"] == then - now
