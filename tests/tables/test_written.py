"""Tables as people export them: read as the options say, else an error that names the options."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit.dedup import dedup
from recovery_kit.errors import ParameterError, TableError
from recovery_kit.explain import explain
from recovery_kit.reconcile import reconcile
from recovery_kit.run.settings import Settings
from recovery_kit.run.steps import Run
from recovery_kit.tables.given import read_processed, read_totals
from recovery_kit.totals import totals
from tests.events import events, notes_of

GERMAN = {"separator": ";", "decimal": ",", "thousands": "."}


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def amounts(table: pa.Table) -> list[Decimal]:
    return table["total"].to_pylist()


def column(*cells: str) -> pa.Table:
    return pa.table({"key": [f"k{n}" for n in range(len(cells))], "total": list(cells)})


def advised(error: pytest.ExceptionInfo[TableError]) -> list[dict[str, Any]]:
    """The options that an error names, as somebody would copy them."""
    return [json.loads(found) for found in re.findall(r"csv(?:=|: )(\{.*?\})", str(error.value))]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("key;total\na;1.234,50\nb;-0,5\n", GERMAN),
        ("key\ttotal\na\t1234.50\nb\t-.5\n", {"separator": "\t"}),
        ("key|total\na|1 234,50\nb|-0,5\n", {"separator": "|", "decimal": ",", "thousands": " "}),
        ("key;total\na;1\u202f234,50 €\nb;−0,5\u00a0€\n",
         {"separator": ";", "decimal": ",", "thousands": " ", "currency": "€", "negative": "−1"}),
        ('key,total\na,"$1,234.50"\nb,($0.50)\n',
         {"thousands": ",", "currency": "$", "negative": "(1)"}),
        ("key,total\na,CHF 1'234.50\nb,0.50- CHF\n",
         {"thousands": "'", "currency": "CHF", "negative": "1-"}),
        ('key,total\na,"1,234.50"\nb,-0.5\nTotal,"1,234.00"\n', {"thousands": ",", "footer": 1}),
        ("key;total;note\na;1234,50;x\nb;-0,50;\n;1234;\nprinted today\n",
         {"separator": ";", "decimal": ",", "footer": 2}),
    ],
)  # fmt: skip
def test_files_are_read_as_the_options_say(
    tmp_path: Path, text: str, options: dict[str, Any]
) -> None:
    table = read_totals(write(tmp_path, text), csv=options)
    assert table["key"].to_pylist() == ["a", "b"]
    assert amounts(table) == [Decimal("1234.50"), Decimal("-0.50")]


def test_a_tsv_file_has_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, "key\ttotal\na,b\t1\n", "t.tsv")
    assert read_totals(path)["key"].to_pylist() == ["a,b"]


@pytest.mark.parametrize(
    ("cell", "readings"),
    [
        ("1,234", {"1.234": {"decimal": ","}, "1234": {"thousands": ","}}),
        ("12,50", {"12.50": {"decimal": ","}}),
        ("1,234.50", {"1234.50": {"thousands": ","}}),
        ("1.234,50", {"1234.50": {"decimal": ",", "thousands": "."}}),
        ("1.234.567", {"1234567": {"thousands": "."}}),
        ("1 234", {"1234": {"thousands": " "}}),
        ("1’234.50", {"1234.50": {"thousands": "’"}}),
        ("(50.00)", {"-50.00": {"negative": "(1)"}}),
        ("50.00-", {"-50.00": {"negative": "1-"}}),
        ("−5", {"-5": {"negative": "−1"}}),
        ("€5", {"5": {"currency": "€"}}),
        ("1,00 EUR", {"1.00": {"decimal": ",", "currency": "EUR"}}),
        ("(1.234,50) €",
         {"-1234.50": {"decimal": ",", "thousands": ".", "negative": "(1)", "currency": "€"}}),
    ],
)  # fmt: skip
def test_a_number_that_is_not_plain_is_refused_with_the_options_that_would_read_it(
    cell: str, readings: dict[str, dict[str, str]]
) -> None:
    with pytest.raises(TableError, match="is not a plain number") as caught:
        read_totals(column("7", cell))
    found = advised(caught)
    assert sorted(found, key=str) == sorted(readings.values(), key=str)
    for reading, options in readings.items():
        assert f"{reading} with read_totals(source, csv=" in str(caught.value)
        assert amounts(read_totals(column("7", cell), csv=options))[1] == Decimal(reading)


@pytest.mark.parametrize(
    "cell", ["1,23,456", "abc", "1_000", "٣", "5 %", "5k", "5 CR", "--1", "(-5)", "€5€"]
)
def test_what_no_option_reads_is_advised_nothing_untrue(cell: str) -> None:
    with pytest.raises(TableError, match="row 1, column 'total'") as caught:
        read_totals(column(cell))
    for options in advised(caught):
        read_totals(column(cell), csv=options)
    assert "currency" not in str(caught.value)


def test_options_are_strict() -> None:
    for cell, options in (
        ("1234.5", {"decimal": ","}),
        ("1234,567", {"thousands": ","}),
        ("12,34", {"thousands": ","}),
        ("1,5", {"thousands": "."}),
        ("5 $", {"currency": "€"}),
        ("(5)-", {"negative": "1-"}),
    ):
        with pytest.raises(TableError, match=r"is not a number as read_totals\(source, csv=\{"):
            read_totals(column(cell), csv=options)


@settings(deadline=None)
@given(
    st.lists(st.integers(-(10**12), 10**12), min_size=1),
    st.sampled_from([(".", ","), (",", "."), (",", " "), (".", "'"), (".", "’")]),
    st.sampled_from(["", "(1)", "1-", "−1"]),
    st.sampled_from(["", "€", "USD", "kr"]),
    st.booleans(),
)
def test_any_amount_comes_back(
    cents: list[int], marks: tuple[str, str], negative: str, currency: str, behind: bool
) -> None:
    def written(cent: int) -> str:
        text = f"{abs(cent) // 100:,}".replace(",", marks[1]) + f"{marks[0]}{abs(cent) % 100:02}"
        if currency:
            text = f"{text} {currency}" if behind else f"{currency}{text}"
        return (negative or "-1").replace("1", text) if cent < 0 else text

    options = {"decimal": marks[0], "thousands": marks[1]}
    options |= {"negative": negative} if negative else {}
    options |= {"currency": currency} if currency else {}
    read = amounts(read_totals(column(*map(written, cents)), csv=options))
    assert read == [Decimal(cent).scaleb(-2) for cent in cents]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seperator": ";"}, "csv names 'seperator'; expected .*Did you mean 'separator'"),
        ({"separator": ";;"}, "csv has separator ';;'; expected one character"),
        ({"decimal": ";"}, 'csv has decimal \';\'; expected "." or ","'),
        ({"decimal": ",", "thousands": ","}, "both for decimal and for thousands"),
        ({"thousands": "_"}, "csv has thousands '_'; expected one of"),
        ({"negative": True}, "csv has negative True; expected one of"),
        ({"currency": "1"}, "csv has currency '1'; expected a sign or a code"),
        ({"currency": "%"}, "csv has currency '%'; expected a sign or a code"),
        ({"footer": -1}, "csv has footer -1; expected how many rows"),
        ({"footer": True}, "csv has footer True; expected how many rows"),
        ({"expected": {"footer": 1}}, "csv names 'expected'"),
    ],
)
def test_options_that_will_not_do(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        read_totals(column("1"), csv=options)


# Separators and the foot


def test_another_separator_is_told_with_the_columns_that_it_finds(tmp_path: Path) -> None:
    for mark in ";\t|":
        path = write(tmp_path, f"key{mark}total\na{mark}1\n")
        with pytest.raises(
            TableError, match=r"has no column 'key'.*its columns are 'key', 'total'"
        ) as e:
            read_totals(path)
        assert advised(e) == [{"separator": mark}]
        assert amounts(read_totals(path, csv=advised(e)[0])) == [Decimal(1)]


@pytest.mark.parametrize(
    ("foot", "said"),
    [
        ("Total,3", "line 4, column 'key': 'Total' looks like a row of totals"),
        ("SUMME:,3", "line 4, column 'key': 'SUMME:' looks like a row of totals"),
        ("总计,3", "looks like a row of totals"),
        (",3", "line 4, column 'key': nothing here"),
        ("printed 2026-11-29", "line 4: 1 cells where the header has 2"),
    ],
)
def test_a_row_of_totals_at_the_foot_is_an_error_that_names_the_option(
    tmp_path: Path, foot: str, said: str
) -> None:
    path = write(tmp_path, f"key,total\na,1\nb,2\n{foot}\n")
    with pytest.raises(TableError, match=said) as caught:
        read_totals(path)
    assert advised(caught)[0] == {"footer": 1}
    assert amounts(read_totals(path, csv={"footer": 1})) == [1, 2]
    if "looks like" in said:
        assert advised(caught)[1] == {"footer": 0}
        assert amounts(read_totals(path, csv={"footer": 0})) == [1, 2, 3]


def test_a_key_of_that_name_elsewhere_is_a_key(tmp_path: Path) -> None:
    for text in ("key,total\nTotal,1\nb,2\n", "key,total\nTotal,1\n"):
        assert "Total" in read_totals(write(tmp_path, text))["key"].to_pylist()
    assert len(read_totals(pa.table({"key": ["a", "Total"], "total": [1, 1]}))) == 2


def test_the_foot_is_held_against_the_rows_above_it(tmp_path: Path) -> None:
    path = write(tmp_path, "key;total\na;1,10\nb;2,20\nSumme;4,30\n")
    with pytest.raises(
        TableError, match=r"foot has 4\.30 in column 'total', and the 2 rows .* 3\.30"
    ):
        read_totals(path, csv={"separator": ";", "decimal": ",", "footer": 1})
    with pytest.raises(TableError, match="holds 3 rows, and its footer is said to be 3"):
        read_totals(path, csv={"separator": ";", "footer": 3})


def test_lines_count_from_the_top_whatever_the_options(tmp_path: Path) -> None:
    path = write(tmp_path, 'key;total\n"a\n;a";1\nb;x\nTotal;1\n')
    with pytest.raises(TableError, match="line 4, column 'total': 'x'"):
        read_totals(path, csv={"separator": ";", "footer": 1})


def test_excels_line_for_the_separator(tmp_path: Path) -> None:
    path = write(tmp_path, "sep=;\nkey;total\na;1\n")
    with pytest.raises(
        TableError, match=r"line 1: tells Excel the separator\. Take this"
    ) as caught:
        read_totals(path)
    assert advised(caught) == [{"separator": ";"}]
    with pytest.raises(TableError, match="line 1: tells Excel the separator"):
        read_totals(path, csv={"separator": ";"})


# Points that may stand between thousands


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["-3.000"], "-3.000"),
        (["7", "1.234", "+12.500"], "1.234"),
        (["1.234", "1.5"], None),
        (["1234.500"], None),
        (["0.125"], None),
        (["3"], None),
    ],
)
def test_three_decimals_against_a_log_of_two_are_told(cells: list[str], told: str | None) -> None:
    recovered = totals(events([("e", "add", "5.00", "k0", 0, "t", 0, 0)]))
    notes = notes_of(reconcile(recovered, read_totals(column(*cells))))
    opened = totals(events([("e", "add", "5.00", "k0", 0, "t", 0, 0)]), opening=column(*cells))
    for who, found in ("expected", notes), ("opening", opened.notes):
        if told:
            assert len(found) == 1
            assert (
                f"{who} has amounts such as {told}, read with 3 decimals, where the log has 2"
                in found[0]
            )
        else:
            assert found in ((), [])
    for said in column(*cells), column("1", *cells):
        assert notes_of(reconcile(recovered, read_totals(said, csv={"thousands": ","}))) == ()
    settled = [
        read_totals(column(*cells), csv={"decimal": "."}),
        pa.table({"key": ["k"], "total": pa.array([Decimal("-3.000")])}),
    ]
    assert [notes_of(reconcile(recovered, given)) for given in settled] == [(), ()]


@pytest.mark.parametrize(("cell", "told"), [("5.000", 1), ("5.00", 0)])
def test_three_decimals_of_a_processed_list_are_told(cell: str, told: int) -> None:
    found = dedup(events([("e", "add", "5.00", "k0", 0, "t", 0, 0)]))
    reconciliation = reconcile(totals(found), column("4"))
    processed = read_processed(pa.table({"event_id": ["e"], "effect": [cell]}))
    notes = explain(reconciliation, found, processed=processed).summary["notes"]
    assert len([note for note in notes if "processed has amounts such as 5.000" in note]) == told


# In the words of a notebook


def run(**values: Any) -> Run:
    return Run(Settings.of({"bootstrap_servers": "nowhere:1", "topic": "t"} | values, strict=True))


def test_a_number_of_json_has_a_point_that_is_one(tmp_path: Path) -> None:
    recovered = totals(events([("e", "add", "5.00", "k0", 0, "t", 0, 0)]))
    for cell, told in (("-3.000", 0), ('"-3.000"', 1)):
        path = write(tmp_path, f'{{"key": "a", "total": {cell}}}\n', "t.jsonl")
        assert len(notes_of(reconcile(recovered, path))) == told
        table = read_totals(path, csv={"thousands": "."})
        assert amounts(table) == [Decimal(-3) if told == 0 else Decimal(-3000)]


def test_a_notebook_is_told_its_own_parameters(tmp_path: Path) -> None:
    path = str(write(tmp_path, "konto;saldo\na;1,50\n"))
    with pytest.raises(TableError) as caught:
        run(expected=path).expected  # noqa: B018
    assert (
        "its columns are 'konto', 'saldo'. Say which one holds the key, with expected_key"
        in str(caught.value)
    )
    assert "columns=" not in str(caught.value)
    named = {"expected_key": "konto", "expected_total": "saldo"}
    with pytest.raises(TableError, match="has no column 'konto'") as caught:
        run(expected=path, **named).expected  # noqa: B018
    assert advised(caught) == [{"separator": ";"}]
    with pytest.raises(TableError, match=r"1\.50 with csv: ") as caught:
        run(expected=path, csv={"separator": ";"}, **named).expected  # noqa: B018
    assert advised(caught)[1:] == [{"separator": ";", "decimal": ","}]
    done = run(expected=path, csv=advised(caught)[1], **named).expected
    assert done is not None
    assert amounts(done) == [Decimal("1.50")]


def test_files_that_are_written_otherwise_than_each_other(tmp_path: Path) -> None:
    files = {
        "expected": str(write(tmp_path, "key;total\na;1,5\n", "e.csv")),
        "opening": str(write(tmp_path, "key,total\na,1.5\n", "o.csv")),
        "processed": str(write(tmp_path, "event_id\teffect\te1\n", "p.csv")),
    }
    common = {"separator": ";", "decimal": ","}
    with pytest.raises(
        TableError, match=r'With csv: \{.*"opening": \{"separator": ","\}\} its columns'
    ):
        run(**files, csv=common).opening  # noqa: B018
    opened = run(**files, csv=common | {"opening": {"separator": ",", "decimal": "."}})
    assert opened.opening["total"].to_pylist() == [Decimal("1.5")]
    assert opened.expected["total"].to_pylist() == [Decimal("1.5")]
    with pytest.raises(ParameterError, match="csv has opening 5; expected a mapping"):
        run(**files, csv={"opening": 5})


def test_a_column_that_no_parameter_names_is_told_with_a_way_on(tmp_path: Path) -> None:
    path = str(write(tmp_path, "konto,saldo\na,1\n"))
    with pytest.raises(TableError, match=r"Call the column that holds the key 'key' in the file$"):
        run(opening=path).opening  # noqa: B018
    with pytest.raises(TableError, match=r"holds the event_id 'event_id' in the file$"):
        run(processed=path).processed  # noqa: B018


def test_the_command_line_takes_options_as_json() -> None:
    given = Settings.parse("csv", '{"separator": ";", "footer": 1}')
    assert Settings.of({"csv": given}, strict=True).csv == {"separator": ";", "footer": 1}
    with pytest.raises(ParameterError, match=r'csv is .*expected JSON such as {"separator": ";"}'):
        Settings.parse("csv", "separator=;")
    with pytest.raises(ParameterError, match="csv names 'seperator'"):
        Settings.of({"csv": {"seperator": ";"}})


def test_a_processed_list_has_keys_where_the_file_has(tmp_path: Path) -> None:
    how = {"separator": ";", "decimal": ","}
    path = write(tmp_path, "event_id;effect;key\ne1;1,5;007\ne2;2;k\n")
    assert read_processed(path, csv=how)["key"].to_pylist() == ["007", "k"]
    path = write(tmp_path, "event_id;effect;key\ne1;1,5;007\ne2;2;\n")
    with pytest.raises(TableError, match="line 3, column 'key': nothing here; expected a value"):
        read_processed(path, csv=how)
