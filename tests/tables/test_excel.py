"""Excel files: what a cell holds is read exactly, or refused with its row; nothing is left out in
silence.
"""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit.errors import ParameterError, TableError
from recovery_kit.tables.given import read_processed, read_totals
from tests.tables.workbook import DATE, book, fault, flag, formula, number

HEAD: list[str | None] = ["key", "total"]


def save(folder: Path, **sheets: list[list[str | None]]) -> Path:
    path = folder / "t.xlsx"
    path.write_bytes(book(**sheets))
    return path


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_text_stays_text_and_numbers_are_what_the_cell_holds(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        S=[
            [None],
            HEAD,
            ["0012", number("0.1")],
            [number("12"), number("-1234.50")],
            [" x", "9007199254740993.01"],
            ["1E5", formula("<v>1.5E3</v>")],
            ["last", number("123456789012.345")],
        ],
    )
    assert rows(read_totals(path)) == [
        ("0012", Decimal("0.100")),
        ("12", Decimal("-1234.500")),
        (" x", Decimal("9007199254740993.010")),
        ("1E5", Decimal("1500.000")),
        ("last", Decimal("123456789012.345")),
    ]


@settings(deadline=None)
@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 12))
def test_any_number_of_fifteen_digits_is_exact(
    tmp_path_factory: pytest.TempPathFactory, digits: int, places: int
) -> None:
    amount = Decimal(digits).scaleb(-places)
    path = save(tmp_path_factory.mktemp("xl"), S=[HEAD, ["a", number(repr(float(amount)))]])
    assert read_totals(path)["total"].to_pylist() == [amount]


@pytest.mark.parametrize(
    ("literal", "shown"),
    [
        ("0.30000000000000004", "0.30000000000000004"),
        ("1234567890123456", "1234567890123456"),
        ("1234567890123450", "1234567890123450"),
        ("0.3333333333333333", "0.3333333333333333"),
        ("1E300", "1e"),
    ],
)
def test_a_number_of_more_digits_than_excel_keeps_is_refused(
    tmp_path: Path, literal: str, shown: str
) -> None:
    for row, at in (["a", number(literal)], "total"), ([number(literal), "1"], "key"):
        with pytest.raises(
            TableError,
            match=rf"sheet 'S', row 2, column '{at}': holds the number {shown}.*15 digits",
        ):
            read_totals(save(tmp_path, S=[HEAD, row]))


def test_how_text_is_written_does_not_concern_numbers(tmp_path: Path) -> None:
    path = save(tmp_path, S=[HEAD, ["a", number("1234.5")], ["b", "1.234,50 €"]])
    table = read_totals(path, csv={"decimal": ",", "thousands": ".", "currency": "€"})
    assert rows(table) == [("a", Decimal("1234.50")), ("b", Decimal("1234.50"))]


def test_the_sheet_is_never_guessed(tmp_path: Path) -> None:
    path = save(tmp_path, Cover=[["key", "total"], ["x", "1"]], Balances=[HEAD, ["a", "2"]])
    with pytest.raises(
        TableError,
        match=r"has 2 sheets; its sheets: 'Cover', 'Balances'\. Say which one: "
        r'read_totals\(source, csv=\{"sheet": "Cover"\}\)',
    ):
        read_totals(path)
    with pytest.raises(TableError, match="has no sheet 'Balance'; its sheets: 'Cover', 'Balances'"):
        read_totals(path, csv={"sheet": "Balance"})
    assert rows(read_totals(path, csv={"sheet": "Balances"})) == [("a", Decimal(2))]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([["a", "1"], [fault("#N/A"), fault("#REF!")], ["b", "2"]], "row 3: nothing in it"),
        (
            [["a", "1"], [fault("#N/A"), fault("#REF!")]],
            "row 3: nothing in it.*an error of Excel's",
        ),
        ([["a", "1"], [fault("#N/A"), "2"]], "row 3, column 'key': nothing here"),
        ([["a", fault("#DIV/0!")]], "row 2, column 'total': nothing here"),
        ([["a", flag(1)]], "row 2, column 'total': holds True, a bool; expected text or a number"),
        ([["a", number("45000", DATE)]], "row 2, column 'total': holds 2023-03-15.*a date"),
        ([["a", formula("")]], "a formula that was never calculated"),
        ([["a", "1"], [formula("<v></v>"), formula("<v/>")]], "never calculated"),
        ([["a", "1"], ["Total", "1"]], "row 3, column 'key': 'Total' looks like a row of totals"),
        ([["a", "1"], [None, "1"]], r'row 3, .*nothing here.*at the foot.*csv=\{"footer": 1\}'),
        ([], "holds no row"),
    ],
)
def test_what_a_sheet_holds_besides_is_told(
    tmp_path: Path, body: list[list[str | None]], said: str
) -> None:
    with pytest.raises(TableError, match=said):
        read_totals(save(tmp_path, S=[HEAD, *body]))


def test_rows_at_the_foot_of_a_sheet(tmp_path: Path) -> None:
    body: list[list[str | None]] = [["a", number("1.5")], ["b", "2"]]
    path = save(tmp_path, S=[HEAD, *body, [None], ["Total", number("3.5")]])
    with pytest.raises(TableError, match=r'row 4: nothing in it.*csv=\{"footer": 2\}'):
        read_totals(path)
    assert rows(read_totals(path, csv={"footer": 2})) == [("a", Decimal("1.5")), ("b", Decimal(2))]
    path = save(tmp_path, S=[HEAD, *body, ["Total", number("3.51")]])
    with pytest.raises(TableError, match=r"the foot has 3\.51.*2 rows above it add up to 3\.5;"):
        read_totals(path, csv={"footer": 1})
    with pytest.raises(TableError, match="holds 3 rows, and its footer is said to be 3"):
        read_totals(path, csv={"footer": 3})


def test_files_that_are_none_of_excels(tmp_path: Path) -> None:
    for name, data in (("t.xlsx", b""), ("u.xlsx", b"key,total\n"), ("v.xlsx", b"PK\x03\x04zip")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(TableError, match=r"cannot be read as Excel's \.xlsx"):
            read_totals(tmp_path / name)
    for name in ("t.xls", "t.xlsb"):
        with pytest.raises(
            TableError, match=r"not known here; expected .*\.xlsx.*save it as \.xlsx"
        ):
            read_totals(tmp_path / name)
    with pytest.raises(TableError, match="sheet 'S' is empty"):
        read_totals(save(tmp_path, S=[]))
    with pytest.raises(TableError, match="column 'key' stands twice"):
        read_totals(save(tmp_path, S=[["key", "total", "key"], ["a", "1", "b"]]))
    with pytest.raises(ParameterError, match="csv has sheet 2; expected the name of a sheet"):
        read_totals(tmp_path / "t.xlsx", csv={"sheet": 2})


def test_a_processed_list(tmp_path: Path) -> None:
    path = save(tmp_path, S=[["event_id", "effect", "key"], ["e1", number("-5"), number("7")]])
    assert rows(read_processed(path)) == [("e1", Decimal(-5), "7")]
