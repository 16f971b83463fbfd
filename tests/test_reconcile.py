"""Reconcile: every key of either side, its exact difference, and a status that claims no more than
the log can tell.
"""

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit.errors import AmountError, ParameterError, TableError
from recovery_kit.reconcile import STATUSES, Reconciliation, reconcile
from recovery_kit.totals import Totals, totals
from tests.events import FORMS, Event, arrow, column, events, rows

LOG: list[Event] = [
    ("e1", "add", "5.00", "a", 0, "t", 0, 0),
    ("e2", "subtract", "1.00", "a", 1, "t", 0, 1),
    ("e3", "add", "7.00", "b", 2, "t", 0, 2),
    ("e4", "add", "9.00", "c", 3, "t", 0, 3),
    ("e5", "add", "1.00", "d", 4, "t", 0, 4),
]
OURS = {"a": "4.00", "b": "7.00", "c": "9.00", "d": "1.00"}


def recovered(form: str = "pyarrow") -> Totals:
    return totals(FORMS[form](events(LOG)))


def expected(amounts: dict[str, str], **more: list[Any]) -> pa.Table:
    return pa.table({"key": list(amounts), "total": list(amounts.values()), **more})


THEIRS = expected({"e": "0.50", "c": "2.00", "a": "4", "b": "7.01"})


@pytest.mark.parametrize("form", FORMS)
def test_each_key_of_either_side_has_a_difference_and_a_status(form: str) -> None:
    ours = recovered(form)
    result = reconcile(ours, FORMS[form](THEIRS))
    assert type(result.table) is type(ours.table)
    assert [tuple(row.values()) for row in rows(result.table)] == [
        ("a", Decimal("4.00"), Decimal("4.00"), Decimal("0.00"), "matched"),
        ("b", Decimal("7.01"), Decimal("7.00"), Decimal("0.01"), "diverged"),
        ("c", Decimal("2.00"), Decimal("9.00"), Decimal("-7.00"), "diverged"),
        ("d", None, Decimal("1.00"), Decimal("-1.00"), "missing from expected"),
        ("e", Decimal("0.50"), None, Decimal("0.50"), "unknown to the log"),
    ]
    assert arrow(result.table).schema.field("difference").type == pa.decimal128(38, 2)
    assert type(result.divergences) is type(ours.table)
    assert column(result.divergences, "key") == ["c", "d", "e", "b"]  # largest first


@pytest.mark.parametrize("form", FORMS)
def test_without_expected_totals_nothing_is_compared(form: str) -> None:
    ours = recovered(form)
    result = reconcile(ours, None)
    assert set(column(result.table, "status")) == {"not compared"}
    assert column(result.table, "recovered") == column(ours.table, "total")
    assert set(column(result.table, "difference")) == {None}
    assert column(result.divergences, "key") == []
    assert result.summary["expected"] is None
    assert "compared with nothing" in repr(result)
    assert "difference" not in repr(result)


def test_the_summary_holds_exact_figures() -> None:
    assert reconcile(recovered(), THEIRS).summary == {
        "keys": 5,
        "statuses": {
            "matched": 1,
            "diverged": 2,
            "missing from expected": 1,
            "unknown to the log": 1,
            "indeterminate": 0,
            "not compared": 0,
        },
        "divergent": 4,
        "recovered_keys": 4,
        "expected_keys": 4,
        "compared": 3,
        "absent_zeros": 0,
        "within_tolerance": 0,
        "largest_total": Decimal("9.00"),
        "expected": Decimal("13.51"),
        "recovered": Decimal("21.00"),
        "net_difference": Decimal("-7.49"),
        "absolute_difference": Decimal("8.51"),
        "expected_above": Decimal("0.51"),
        "expected_below": Decimal("-8.00"),
        "largest_difference": Decimal("-7.00"),
        "largest_key": "c",
        "median_difference": Decimal("0.50"),
        "p90_difference": Decimal("7.00"),
        "tolerance": 0,
        "verdict": None,
        "spelling": {"joined": 0, "crowded": 0},
        "notes": [],
    }


def test_the_middle_and_the_tail_of_the_divergences() -> None:
    summary = reconcile(
        recovered(), expected({f"k{n}": str(-n) for n in range(1, 17)})
    ).summary  # and 4, 7, 9, 1
    assert (summary["divergent"], summary["median_difference"], summary["p90_difference"]) == (
        20,
        7,
        14,
    )


def test_all_matched() -> None:
    result = reconcile(recovered(), expected(OURS), replay=SimpleNamespace(verdict="complete"))
    assert result.verdict == "complete"
    assert result.summary["statuses"]["matched"] == result.summary["keys"] == 4
    assert result.summary["divergent"] == len(result.divergences) == 0
    assert result.summary["largest_key"] is result.summary["median_difference"] is None
    assert "Divergences" not in result._repr_html_()
    assert repr(result).startswith("Reconciliation: 0 of 4 keys diverge")


@pytest.mark.parametrize(
    ("tolerance", "diverged"),
    [
        (0, ["c", "b"]),
        ("0.009", ["c", "b"]),
        ("0.01", ["c"]),
        (Decimal("6.999999"), ["c"]),
        (7, []),
        ("1e500", []),
    ],
)
def test_a_difference_within_the_tolerance_is_none(tolerance: Any, diverged: list[str]) -> None:
    result = reconcile(recovered(), THEIRS, tolerance=tolerance)
    assert [
        row["key"] for row in rows(result.divergences) if row["status"] == "diverged"
    ] == diverged
    assert result.tolerance == result.summary["tolerance"] == Decimal(tolerance)


@pytest.mark.parametrize(
    "tolerance", [0.01, -1, "-0.1", "x", "NaN", "inf", True, None, Decimal("NaN")]
)
def test_a_tolerance_is_exact_and_not_negative(tolerance: Any) -> None:
    with pytest.raises(ParameterError, match=r"tolerance is .*; expected 0 or more, exactly"):
        reconcile(recovered(), THEIRS, tolerance=tolerance)


@pytest.mark.parametrize("verdict", ["truncated", "raced", "compacted", "timed out"])
def test_a_log_not_read_whole_settles_nothing(verdict: str) -> None:
    result = reconcile(recovered(), THEIRS, replay=SimpleNamespace(verdict=verdict))
    assert column(result.table, "status") == [
        "indeterminate",
        "indeterminate",
        "indeterminate",
        "missing from expected",
        "unknown to the log",
    ]
    assert column(result.divergences, "key") == ["c", "d", "e", "b"]  # a would match
    assert result.summary["verdict"] == result.verdict == verdict
    assert f"! The replay is not complete, but {verdict}" in repr(result)
    unknown = result.summary["statuses"]["unknown to the log"]
    assert (f"; the {unknown} unknown to the log may stand in that" in repr(result)) == bool(
        unknown
    )
    assert f"The replay is not complete, but {verdict}" in result._repr_html_()


def test_a_missing_addition_and_a_missing_subtraction_do_not_cancel() -> None:
    theirs = expected(
        OURS,
        events=[1, 1, 1, 1],
        added=["4.00", "7.00", "9.50", "1"],
        subtracted=["0", "0", "0.5", "0"],
    )
    result = reconcile(recovered(), theirs)
    assert arrow(result.table).column_names == [
        "key",
        "expected",
        "recovered",
        "difference",
        "status",
        "expected_events",
        "events",
        "expected_added",
        "added",
        "expected_subtracted",
        "subtracted",
        "differs",
    ]
    found = {row["key"]: row for row in rows(result.table)}
    assert {key: (row["status"], row["differs"]) for key, row in found.items()} == {
        "a": ("diverged", "events, added, subtracted"),
        "b": ("matched", ""),
        "c": ("diverged", "added, subtracted"),
        "d": ("matched", ""),
    }
    assert (found["a"]["expected_events"], found["a"]["events"]) == (1, 2)
    assert (found["c"]["expected_added"], found["c"]["added"]) == (Decimal("9.50"), Decimal("9.00"))
    assert column(result.divergences, "key") == ["a", "c"]
    lax = reconcile(recovered(), theirs, tolerance=1)  # amounts within it, counts never
    assert [row["differs"] for row in rows(lax.table)] == ["events", "", "", ""]
    unread = reconcile(recovered(), theirs, replay=SimpleNamespace(verdict="raced"))
    assert column(unread.divergences, "key") == ["a", "c"]


def test_only_counters_that_expected_has_are_compared() -> None:
    result = reconcile(recovered(), expected({"a": "4.01", "x": "0"}, events=[2, 0]))
    assert arrow(result.table).column_names[5:] == ["expected_events", "events", "differs"]
    found = {row["key"]: (row["status"], row["differs"]) for row in rows(result.table)}
    assert found["a"] == ("diverged", "total")
    assert found["b"] == ("missing from expected", "")
    assert found["x"] == ("matched", "")  # no row, and nothing held


def test_totals_of_another_run_are_expected_totals() -> None:
    result = reconcile(recovered(), recovered("pandas"))
    assert result.summary["statuses"]["matched"] == 4
    assert "differs" in result.table.column_names


ZEROS: list[Event] = [
    ("z1", "add", "3.00", "z", 0, "t", 0, 0),
    ("z2", "subtract", "3.00", "z", 1, "t", 0, 1),
    *((*event[:-1], event[-1] + 2) for event in LOG),
]


@pytest.mark.parametrize("form", FORMS)
def test_no_row_and_zero_are_the_same_and_counted(form: str) -> None:
    """0.00 on one side and no row on the other was a divergence of 0.00."""
    ours = totals(FORMS[form](events(ZEROS)))
    theirs = expected(OURS | {"y": "0.00"})
    result = reconcile(ours, FORMS[form](theirs))
    found = {row["key"]: row for row in rows(result.table)}
    assert {key: found[key]["status"] for key in "yz"} == dict.fromkeys("yz", "matched")
    assert (found["y"]["recovered"], found["z"]["expected"]) == (None, None)
    assert result.summary["divergent"] == len(result.divergences) == 0
    assert (result.summary["compared"], result.summary["absent_zeros"]) == (4, 2)
    assert (
        "! 2 of the matched keys have a total of zero on one side and no row on the other; with "
        "strict_keys they are divergences" in repr(result)
    )
    strict = reconcile(ours, FORMS[form](theirs), strict_keys=True)
    assert column(strict.divergences, "key") == ["y", "z"]
    assert column(strict.divergences, "status") == ["unknown to the log", "missing from expected"]
    assert (strict.summary["absent_zeros"], strict.summary["notes"]) == (0, [])
    unread = reconcile(ours, FORMS[form](theirs), replay=SimpleNamespace(verdict="raced"))
    assert unread.summary["statuses"]["indeterminate"] == 6
    assert unread.summary["absent_zeros"] == unread.summary["divergent"] == 0


def test_no_row_is_not_the_same_as_events_that_add_up_to_zero() -> None:
    """A counter that expected has says more than a total of zero does."""
    counted = expected(OURS, events=[2, 1, 1, 1])
    result = reconcile(totals(events(ZEROS)), counted)
    assert [(r["key"], r["status"]) for r in rows(result.divergences)] == [
        ("z", "missing from expected")
    ]
    held = expected(OURS | {"y": "0"}, added=["5.00", "7.00", "9.00", "1", "8"])
    result = reconcile(recovered(), held)
    assert [(r["key"], r["status"]) for r in rows(result.divergences)] == [
        ("y", "unknown to the log")
    ]
    assert reconcile(recovered(), held, tolerance=8).summary["absent_zeros"] == 1


def test_nothing_on_both_sides_is_no_comparison() -> None:
    said = "! Nothing was compared: the log gives 4 keys, the expected totals hold 2, and none is on both sides"
    for theirs in (expected({"A": "4.00", "B": "7.00"}), expected({"A": "0", "B": "0"})):
        shown = repr(reconcile(recovered(), theirs))
        assert said in shown
        assert "none of 6 keys could be compared" in shown
    zeros = totals(events(ZEROS[:2]))
    result = reconcile(zeros, expected({"Z": "0"}))
    assert (result.summary["statuses"]["matched"], result.summary["compared"]) == (2, 0)
    assert "none of 2 keys could be compared" in repr(result)
    with pytest.raises(TableError, match="expected holds no row; expected a row a key"):
        reconcile(recovered(), expected({"x": "1"}).slice(1))
    empty = reconcile(recovered(), totals(events([])))
    assert (empty.summary["expected_keys"], empty.summary["compared"]) == (0, 0)
    unread = reconcile(recovered(), THEIRS, replay=SimpleNamespace(verdict="raced"))
    assert unread.summary["compared"] == 0
    assert "none of 5 keys could be compared" in repr(unread)
    assert "Nothing was compared" not in repr(unread)  # keys are on both sides


@pytest.mark.parametrize(
    ("tolerance", "note"),
    [
        ("0", ""),
        ("0.01", "1 of the matched keys are equal only within the tolerance of 0.01"),
        ("8.99", "2 of the matched keys are equal only within the tolerance of 8.99"),
        (
            "9",
            "The tolerance of 9 is no smaller than the largest total of either side, 9.00: 2 keys "
            "match only thanks to it",
        ),
    ],
)
def test_what_matches_only_thanks_to_the_tolerance_is_told(tolerance: str, note: str) -> None:
    result = reconcile(recovered(), THEIRS, tolerance=tolerance)
    assert result.summary["notes"] == ([note] if note else [])
    # Counters within the tolerance lean on it too.
    theirs = expected(OURS, added=["5.00", "7.00", "9.01", "1"])
    assert reconcile(recovered(), theirs, tolerance="0.01").summary["within_tolerance"] == 1


def test_sides_of_different_scales_are_aligned_exactly() -> None:
    result = reconcile(recovered(), expected({"a": "4.0000000001", "b": "7"}))
    found = {row["key"]: row["difference"] for row in rows(result.table)}
    assert (found["a"], found["b"]) == (Decimal("1e-10"), 0)
    assert arrow(result.table).schema.field("recovered").type == pa.decimal128(38, 10)


def test_differences_of_more_digits_than_pythons_default_context_has() -> None:
    opening = pa.table({"key": ["a"], "total": ["123456789012345678901234567890"]})
    ours = totals(events(LOG), opening=opening)
    result = reconcile(ours, expected({"a": "-123456789012345678901234567890.01", "b": "7"}))
    assert result.summary["largest_difference"] == Decimal("-246913578024691357802469135784.01")
    assert result.summary["net_difference"] == Decimal("-246913578024691357802469135794.01")


@pytest.mark.parametrize("amount", ["9" * 36, "0." + "0" * 37 + "1"])
def test_a_difference_that_no_exact_decimal_holds_is_an_error(amount: str) -> None:
    with pytest.raises(AmountError, match=r"expected and recovered: .* more than 38 digits"):
        reconcile(recovered(), expected({"a": amount}))


def test_no_events_and_files(tmp_path: Path) -> None:
    path = tmp_path / "expected.csv"
    path.write_text("key,total\nx,-5\n", encoding="utf-8")
    result = reconcile(totals(events([])), path)
    assert [tuple(row.values()) for row in rows(result.table)] == [
        ("x", -5, None, -5, "unknown to the log")
    ]
    nothing = reconcile(totals(events([])), totals(events([])))
    assert nothing.summary["keys"] == 0
    assert nothing.summary["net_difference"] == 0
    assert "none of 0 keys could be compared" in repr(nothing)


def test_parameters_that_will_not_do() -> None:
    with pytest.raises(
        ParameterError, match=r"totals is a Table; expected what totals\(unique\) gives"
    ):
        reconcile(recovered().table, THEIRS)
    with pytest.raises(ParameterError, match="replay is a DataFrame, without a verdict"):
        reconcile(recovered(), THEIRS, replay=pd.DataFrame())
    with pytest.raises(TableError, match="expected, column 'total' holds floats"):
        reconcile(recovered(), pd.DataFrame({"key": ["a"], "total": [0.1]}))


def test_cards_read_well_and_are_escaped() -> None:
    bad = "<i>\x1b[2J"
    result = reconcile(
        recovered("pandas"), expected({"a": "4", "b": "7", "c": "9", "d": "1", bad: "2500"})
    )
    assert [" ".join(line.split()) for line in repr(result).splitlines()] == [
        "Reconciliation: 1 of 5 keys diverge",
        "matched 4",
        "unknown to the log 1",
        "expected, over all keys 2,521.00",
        "recovered, over all keys 21.00",
        "net difference, expected - recovered 2,500.00",
        "absolute differences 2,500.00",
        r"largest difference, of '<i>\x1b[2J' 2,500.00",
        "median divergence 2,500.00",
        "tolerance 0",
    ]
    page = result._repr_html_()
    assert "\x1b" not in page
    assert "<i>" not in page
    assert page.count("&lt;i&gt;") == 2
    assert "Divergences, largest first" in page


AMOUNTS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "A", "é", ""]), st.just(0) | st.integers(-(10**29), 10**29)
)


@settings(deadline=None)
@given(
    ours=AMOUNTS,
    theirs=AMOUNTS,
    allowed=st.integers(0, 10**29),
    form=st.sampled_from(list(FORMS)),
    whole=st.booleans(),
    strict=st.booleans(),
)
def test_any_two_sides(
    ours: dict[str, int],
    theirs: dict[str, int],
    allowed: int,
    form: str,
    whole: bool,
    strict: bool,
) -> None:
    # Whole numbers are the law; opening totals stand for the recovered side.
    def side(amounts: dict[str, int]) -> Any:
        columns = [
            pa.array(amounts, pa.large_string()),
            pa.array(amounts.values(), pa.decimal128(38, 0)),
        ]
        return pa.table(columns, ["key", "total"]) if amounts else totals(events([]))

    recovered_totals = totals(FORMS[form](events([])), opening=side(ours))
    replay = SimpleNamespace(verdict="complete" if whole else "raced")
    result: Reconciliation = reconcile(
        recovered_totals, side(theirs), tolerance=allowed, strict_keys=strict, replay=replay
    )
    wanted, look = [], []
    for key in sorted(ours | theirs, key=str.encode):
        difference = theirs.get(key, 0) - ours.get(key, 0)
        within = abs(difference) <= allowed
        status = (
            "missing from expected" if key not in theirs and (strict or ours[key])
            else "unknown to the log" if key not in ours and (strict or theirs[key])
            else "indeterminate" if not whole
            else "matched" if within
            else "diverged"
        )  # fmt: skip
        wanted.append((key, theirs.get(key), ours.get(key), difference, status))
        if not within or status not in ("matched", "indeterminate"):
            look.append((-abs(difference), key.encode()))
    assert [tuple(row.values())[:5] for row in rows(result.table)] == wanted
    assert [key.encode() for key in column(result.divergences, "key")] == [
        key for _, key in sorted(look)
    ]
    summary = result.summary
    assert summary["statuses"] == {name: sum(row[4] == name for row in wanted) for name in STATUSES}
    assert (summary["keys"], summary["divergent"]) == (len(wanted), len(look))
    assert summary["expected_above"] == sum(max(row[3], 0) for row in wanted)
    assert summary["expected_below"] == sum(min(row[3], 0) for row in wanted)
    assert summary["absolute_difference"] == sum(abs(row[3]) for row in wanted)
    assert summary["net_difference"] == sum(row[3] for row in wanted)
    matched = [row for row in wanted if row[4] == "matched"]
    both = ours.keys() & theirs.keys()
    assert (summary["recovered_keys"], summary["expected_keys"]) == (len(ours), len(theirs))
    assert summary["compared"] == (len(both) if whole else 0)
    assert summary["absent_zeros"] == sum(row[0] not in both for row in matched)
    assert summary["within_tolerance"] == sum(row[3] != 0 for row in matched)
    sizes = [abs(total) for total in (*ours.values(), *theirs.values())]
    assert summary["largest_total"] == (max(sizes) if sizes else None)
    if look:
        sizes = sorted(-size for size, _ in look)
        assert abs(int(summary["largest_difference"])) == sizes[-1]
        assert summary["median_difference"] == sizes[-(-len(sizes) // 2) - 1]
        assert summary["p90_difference"] == sizes[-(-len(sizes) * 9 // 10) - 1]
