"""Tables that users give are read exactly, or refused with the file, the row and the column."""

import bz2
import gzip
import re
import subprocess
import sys
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import cramjam
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery_kit.errors import ParameterError, TableError
from recovery_kit.tables.given import read_processed, read_totals
from recovery_kit.totals import totals
from tests.events import FORMS, events

AMOUNTS = {"a": Decimal("1.50"), "0012": Decimal("-9007199254740993.01")}


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def as_dict(table: pa.Table) -> dict[str, Any]:
    assert table.schema.field("key").type == pa.large_string()
    return dict(zip(table["key"].to_pylist(), table["total"].to_pylist(), strict=True))


def frame(**columns: Any) -> pa.Table:
    return pa.table(columns)


# Forms


@pytest.mark.parametrize("form", FORMS)
def test_frames(form: str) -> None:
    given = FORMS[form](
        frame(key=list(AMOUNTS), total=pa.array(AMOUNTS.values(), pa.decimal128(28, 2)))
    )
    assert as_dict(read_totals(given)) == AMOUNTS
    if form == "polars":
        assert as_dict(read_totals(given.lazy())) == AMOUNTS


def test_pandas_columns_of_plain_objects() -> None:
    given = pd.DataFrame({"key": list(AMOUNTS), "total": list(AMOUNTS.values())})
    assert as_dict(read_totals(given)) == AMOUNTS
    assert as_dict(read_totals(given.astype({"key": "category", "total": str}))) == AMOUNTS


CSV = "key,total\na,1.50\n0012,-9007199254740993.01\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", CSV),
        ("t.CSV", CSV.replace("\n", "\r\n")),
        ("t.csv", "\ufeff" + CSV),
        ("t.csv", "\n" + CSV.replace("a,", "\na,").rstrip()),
        ("t.csv", '"total","note","key"\n" 1.50","x, ""y""\nz","a"\n-9007199254740993.01,,0012\n'),
        ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        (
            "t.jsonl",
            '{"key": "a", "total": 1.50}\n\n{"total": "-9007199254740993.01", "key": "0012", "x": [1]}\n',
        ),
        (
            "t.ndjson",
            '\ufeff{"key": "a", "total": 15.0E-1}\r\n{"key": "0012", "total": -9007199254740993.01}',
        ),
    ],
)
def test_text_files(tmp_path: Path, name: str, text: str | bytes) -> None:
    path = write(tmp_path, name, text)
    for source in (path, str(path), path.as_uri()):
        assert as_dict(read_totals(source)) == AMOUNTS


def test_a_long_csv_with_line_breaks_in_cells(tmp_path: Path) -> None:
    keys = [f"{n}\n,x" for n in range(200_000)]
    path = write(tmp_path, "t.csv", "key,total\n" + "".join(f'"{key}",1\n' for key in keys))
    assert read_totals(path)["key"].to_pylist() == keys


def test_relative_paths_and_names_with_special_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "50%25 #1?.csv", CSV)
    assert as_dict(read_totals("50%25 #1?.csv")) == AMOUNTS


def test_parquet_as_a_file_and_as_a_folder(tmp_path: Path) -> None:
    table = frame(key=pa.array([12, 7]), total=pa.array([1, -2], pa.int64()), note=[0.5, 1.5])
    pq.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "parts.parquet").mkdir()
    for part in (0, 1):
        pq.write_table(table.slice(part, 1), tmp_path / "parts.parquet" / f"part-{part}.parquet")
    for name in ("t.parquet", "parts.parquet", "parts.parquet/"):
        assert as_dict(read_totals(str(tmp_path / name))) == {"12": 1, "7": -2}


def test_totals_are_taken_also_when_they_are_empty() -> None:
    worked_out = totals(events([("e", "add", "5", "k", 0, "t", 0, 0)]))
    table = read_totals(worked_out)
    assert table.column_names == ["key", "total", "events", "added", "subtracted"]
    assert as_dict(table) == {"k": 5}
    assert len(read_totals(totals(events([])))) == 0
    with pytest.raises(ParameterError, match="expected is a Totals, whose columns are known"):
        read_totals(worked_out, columns={"key": "account"})


# Columns


def test_columns_of_other_names_and_columns_that_may_be_there() -> None:
    given = frame(
        account=["a"],
        balance=["1.5"],
        events=[3],
        added=["2.25"],
        subtracted=[Decimal("0.75")],
        total=[0.5],
    )
    table = read_totals(given, columns={"key": "account", "total": "balance"})
    assert table.to_pylist() == [
        {
            "key": "a",
            "total": Decimal("1.5"),
            "events": 3,
            "added": Decimal("2.25"),
            "subtracted": Decimal("0.75"),
        }
    ]
    assert table.schema.field("events").type == pa.int64()
    with pytest.raises(
        ParameterError, match=r"columns names 'totl'; expected .* Did you mean 'total'\?"
    ):
        read_totals(given, columns={"totl": "balance"})
    with pytest.raises(TableError, match=r"expected has no column 'n'\."):
        read_totals(given, columns={"key": "account", "total": "balance", "events": "n"})


def test_a_missing_column_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "Key,balance\na,1\n")
    with pytest.raises(TableError) as caught:
        read_totals(path, columns={"total": "balance"})
    assert str(caught.value) == (
        f"expected: {path} has no column 'key'. Did you mean 'Key'? Its columns: 'Key', 'balance'. "
        f"Say which one holds the key: read_totals(source, columns={{'key': ...}})"
    )
    with pytest.raises(TableError, match=r"has no column 'key'.*Its columns: 'a;b'"):
        read_totals(write(tmp_path, "u.csv", "a;b\n1;2\n"))
    with pytest.raises(TableError, match=r"Its columns: 'x'"):
        read_totals(pd.DataFrame({"x": [1]}))


# Numbers


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", "0"),
        ("+.5", "0.5"),
        ("-5.", "-5"),
        (" 7.10 ", "7.10"),
        ("1e3", "1000"),
        ("-1.25E-2", "-0.0125"),
        ("0e99", "0"),
        ("00012", "12"),
        ("0." + "1" * 38, "0." + "1" * 38),
        ("9" * 38, "9" * 38),
        ("1." + "0" * 60, "1"),
        ("10." + "5" * 30 + "0" * 20, "10." + "5" * 30),
    ],
)
def test_numbers_as_text(text: str, amount: str) -> None:
    table = read_totals(frame(key=["k"], total=[text]))
    assert table["total"].to_pylist() == [Decimal(amount)]
    assert table.schema.field("total").type.precision == 38


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "inf",
        "1,234.50",
        "1 234",
        "12,50",
        "1_000",
        "0x10",
        "€5",
        "−5",
        "٣",
        "1e",
        "1e9999",
        "--1",
        ".",
    ],
)
def test_what_is_not_a_plain_number_is_refused(text: str) -> None:
    with pytest.raises(
        TableError, match=r"expected, row 2, column 'total': '.*' is not a plain number"
    ):
        read_totals(frame(key=["a", "b"], total=["1", text]))


@pytest.mark.parametrize(
    "numbers", [["1", "9" * 39], ["0.01", "9" * 37], ["1", "1e38"], ["1", "1e-39"], ["1", "7e999"]]
)
def test_more_digits_than_a_decimal_has_are_refused(numbers: list[str]) -> None:
    with pytest.raises(TableError, match=r"row 2, column 'total': '.*' needs more than 38 digits"):
        read_totals(frame(key=["a", "b"], total=numbers))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(-12, 12)), min_size=1))
def test_any_number_is_read_exactly(numbers: list[tuple[int, int]]) -> None:
    amounts = [Decimal(f"{digits}e{exponent}") for digits, exponent in numbers]
    for texts in (
        [str(a) for a in amounts],
        [f"{a:f}" for a in amounts],
        [f"{a:e}" for a in amounts],
    ):
        read = read_totals(frame(key=[str(n) for n in range(len(amounts))], total=texts))
        assert read["total"].to_pylist() == amounts


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.int64(), pa.decimal32(5, 1), pa.decimal256(60, 3)]
)
def test_exact_types(kind: pa.DataType) -> None:
    assert read_totals(frame(key=["k"], total=pa.array([5], kind)))["total"].to_pylist() == [5]


def test_exact_types_that_hold_too_much() -> None:
    given = frame(
        key=["a", "b", "c"], total=pa.array([1, Decimal(10) ** 40, 2], pa.decimal256(60, 3))
    )
    with pytest.raises(TableError, match=r"row 2, column 'total': '1.*' does not fit 38 digits"):
        read_totals(given)


@pytest.mark.parametrize("form", FORMS)
def test_floats_are_refused_with_a_way_on(form: str) -> None:
    with pytest.raises(
        TableError,
        match=r"column 'total' holds floats \(double\)\. A float cannot hold money exactly",
    ):
        read_totals(FORMS[form](frame(key=["k"], total=[1.5])))


@pytest.mark.parametrize(
    ("total", "said"),
    [
        ([True], "column 'total' holds bool; expected decimals"),
        ([b"1"], "column 'total' holds binary; expected decimals"),
        (
            pa.array([None], pa.int64()),
            "row 1, column 'total': nothing here; expected a value for total in every row",
        ),
    ],
)
def test_other_types_are_refused(total: Any, said: str) -> None:
    with pytest.raises(TableError, match=said):
        read_totals(frame(key=["k"], total=total))


@pytest.mark.parametrize("counts", [["x"], ["1.5"], pa.array([Decimal("1.5")]), [2**63 - 1 + 0.0]])
def test_a_count_of_events_is_a_whole_number(counts: Any) -> None:
    with pytest.raises(TableError, match="column 'events'"):
        read_totals(frame(key=["k"], total=[1], events=counts))


# Keys


def test_keys_are_text_as_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", 'key,total\n0012,1\n12,2\n1e3,3\ntrue,4\nNA,5\n" x ",6\n"",7\n')
    assert list(as_dict(read_totals(path))) == ["0012", "12", "1e3", "true", "NA", " x ", ""]
    said = ["12", '"012"', "1.0", '"a\u2028b"']
    lines = write(tmp_path, "t.jsonl", "\n".join(f'{{"key": {key}, "total": 1}}' for key in said))
    assert list(as_dict(read_totals(lines))) == ["12", "012", "1.0", "a\u2028b"]
    assert list(as_dict(read_totals(frame(key=[7], total=[1])))) == ["7"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            ["a", "b", "a", "b", "a"],
            r"expected, row 1, column 'key': 'a' stands here and in row 3; .*\(2 repeat\)",
        ),
        (["a", None, "c", "d", "e"], r"expected, row 2, column 'key': nothing here"),
        (
            [1.0, 2.0, 3.0, 4.0, 5.0],
            r"expected, column 'key' holds double; expected text or whole numbers",
        ),
    ],
)
def test_keys_that_will_not_do(keys: list[Any], said: str) -> None:
    with pytest.raises(TableError, match=said):
        read_totals(frame(key=keys, total=[1] * 5))


# Files that will not do


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "", "is empty; expected a header line"),
        ("t.csv", "\n\n", "is empty; expected a header line"),
        ("t.csv", "key,total\n", "holds no row"),
        (
            "t.csv",
            "key,total\na,1\n\n\nb,x\n",
            r"line 5, column 'total': 'x' is not a plain number",
        ),
        ("t.csv", 'key,total\n"a\nb",1\nc,x\n', r"line 4, column 'total': 'x'"),
        ("t.csv", 'key,total\na,1\n"b\nb",x\n', r"line 3, column 'total': 'x'"),
        ("t.csv", "key,total\na,1\nb,\n", r"line 3, column 'total': nothing here"),
        (
            "t.csv",
            "key,total\na,1\nb,2\na,3\n",
            r"line 2, column 'key': 'a' stands here and in line 4",
        ),
        ("t.csv", "key,total\na,1\nb,1,234\n", r"line 3: 3 cells where the header has 2"),
        ("t.csv", "key,total,key\na,1,b\n", r"column 'key' stands twice in the header"),
        (
            "t.csv",
            b"key,total\na,1\nM\xfcller,2\n",
            r"line 3: byte 0xfc is not UTF-8; save the file as UTF-8",
        ),
        ("t.csv", CSV.encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
        ("t.csv", '"' + "x" * 200_000, r"line 1: field larger than field limit"),
        ("t.csv.gz", b"not gzip", "cannot be read"),
        ("t.jsonl", "\n", "is empty; expected a JSON object a line"),
        ("t.jsonl", '{"key": "a", "total": 1}\n{"key": "a",\n', "line 2: not JSON"),
        ("t.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("t.jsonl", '{"key": "a", "total": 1}\n\n[1]\n', "line 3: expected a JSON object"),
        (
            "t.jsonl",
            '{"key": "a", "total": 1}\n{"key": "b"}\n',
            "line 2, column 'total': nothing here",
        ),
        (
            "t.jsonl",
            '{"key": "a", "total": true}\n',
            "line 1, column 'total': holds true; expected text or a number",
        ),
        (
            "t.jsonl",
            '{"key": "a", "total": NaN}\n',
            "line 1, column 'total': 'NaN' is not a plain number",
        ),
        ("t.parquet", b"PAR1", "cannot be read"),
        (
            "t.xls",
            b"",
            "is of a kind that is not known here; expected a .csv, .tsv, .xlsx, .parquet, .jsonl or "
            ".ndjson file; save it as .xlsx",
        ),
    ],
)
def test_files_that_will_not_do_are_told_by_name_row_and_column(
    tmp_path: Path, name: str, text: str | bytes, said: str
) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(TableError, match=said) as caught:
        read_totals(path)
    assert str(caught.value).startswith(f"expected: {path}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(TableError, match=rf"opening: .*{name}: there is no such file"):
            read_totals(tmp_path / name, what="opening")


def test_a_secret_in_a_url_is_not_told() -> None:
    secret = "hunter" + "2"
    with pytest.raises(TableError) as caught:
        read_totals(f"nfs://user:{secret}@host/t.csv?key={secret}")
    assert "nfs://host/t.csv" in str(caught.value)
    assert secret not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("source", [5, None, {"key": ["a"], "total": [1]}, [("a", 1)]])
def test_other_things_are_refused(source: object) -> None:
    with pytest.raises(TableError, match=r"pyarrow table, or the path of a \.csv"):
        read_totals(source)


def test_frames_that_will_not_do() -> None:
    with pytest.raises(TableError, match="expected holds no row"):
        read_totals(
            pl.DataFrame({"key": [], "total": []}, schema={"key": pl.String, "total": pl.Int64})
        )
    with pytest.raises(TableError, match="expected, column 'key' mixes types"):
        read_totals(pd.DataFrame({"key": ["a", 1], "total": [1, 2]}))


def test_what_a_file_says_is_escaped_in_errors(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"'\\x1b\[2J' is not a plain number") as caught:
        read_totals(write(tmp_path, "t.csv", "key,total\na,\x1b[2J\n"))
    assert "\x1b" not in str(caught.value)


# What a system processed


def test_processed_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "p.csv",
        "id,amount,time\n007,1.5,2026-03-02T12:00:00.1239Z\n7,-2,2026-03-02T13:00:00+02:00\n007,1.5,2026-03-02T11:00:00Z\n",
    )
    table = read_processed(path, columns={"event_id": "id", "effect": "amount"})
    assert table.schema == pa.schema(
        {
            "event_id": pa.large_string(),
            "effect": pa.decimal128(38, 1),
            "time": pa.timestamp("ms", "UTC"),
        }
    )
    assert table["event_id"].to_pylist() == ["007", "7", "007"]
    assert table["effect"].to_pylist() == [Decimal("1.5"), Decimal("-2.0"), Decimal("1.5")]
    assert table["time"].cast("int64").to_pylist() == [1772452800123, 1772449200000, 1772449200000]


@pytest.mark.parametrize("form", FORMS)
def test_processed_in_a_frame(form: str) -> None:
    time = pd.Timestamp("2026-03-02T12:00", tz="Europe/Paris")
    given = FORMS[form](frame(event_id=["a", "a"], time=pa.array([time, time])))
    table = read_processed(given)
    assert table.column_names == ["event_id", "time"]
    assert table["time"].cast("int64").to_pylist() == [1772449200000] * 2
    assert len(read_processed(given[:0])) == 0


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a"]}, r"processed has no column 'event_id'.*read_processed\(source, columns="),
        ({"event_id": ["a"], "effect": [0.5]}, "column 'effect' holds floats"),
        (
            {"event_id": ["a", "b"], "time": ["2026-03-02T12:00Z", "2026-03-02T12:00"]},
            "row 2, column 'time': '2026-03-02T12:00' is not an ISO 8601 time with a zone",
        ),
        (
            {"event_id": ["a"], "time": [1772452800123]},
            "column 'time' holds int64; expected timestamps with a time zone",
        ),
        (
            {"event_id": ["a"], "time": pa.array([0], pa.timestamp("s"))},
            r"column 'time' holds timestamp\[s\]",
        ),
    ],
)
def test_processed_that_will_not_do(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(TableError, match=said):
        read_processed(frame(**columns))


BOMB = """
import resource, sys
import psutil
from recovery_kit.errors import LogTooLarge
from recovery_kit.tables.given import read_totals

small, large = sys.argv[1:]
print(len(read_totals(small)))
limit = psutil.Process().memory_info().vms + (500 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    read_totals(large)
except LogTooLarge as error:
    print(error)
"""


def bomb_of_text(folder: Path, kind: str) -> tuple[Path, Path]:
    head, line = {
        "csv": (b"key,total\n", b"a%07d,5\n"),
        "jsonl": (b"", b'{"key": "a%07d", "total": 5}\n'),
    }[kind.split(".")[0]]
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "zst": cramjam.zstd.compress}[
        kind[-3:].strip(".")
    ]
    small, large = (folder / f"{name}.{kind}" for name in ("small", "large"))
    small.write_bytes(bytes(pack(head + line % 1)))
    large.write_bytes(bytes(pack(head)) + bytes(pack(line % 1 * (1 << 17))) * (4800 // len(line)))
    return small, large


def bomb_of_columns(folder: Path, kind: str) -> tuple[Path, Path]:
    """A value of a kilobyte, once in the dictionary, a million times in the column."""
    rows = 1_000_000
    small, large = (folder / f"{name}.{kind}" for name in ("small", "large"))
    pq.write_table(pa.table({"key": ["a"], "total": [5]}), small)
    keys = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int32)), pa.array(["k" * 1000])
    )
    table = pa.table({"key": keys, "total": pa.array(np.full(rows, 5))})
    pq.write_table(table, large, row_group_size=rows, store_schema=False)
    assert large.stat().st_size < 1_000_000
    return small, large


@pytest.mark.parametrize("kind", ["csv.gz", "csv.bz2", "csv.zst", "jsonl.gz", "parquet"])
def test_a_bomb_of_a_file_is_an_error_and_not_the_end_of_the_process(
    tmp_path: Path, kind: str
) -> None:
    """Some kilobytes that hold half a gigabyte, where the process may take as much."""
    small, large = (bomb_of_columns if kind == "parquet" else bomb_of_text)(tmp_path, kind)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, str(small), str(large)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    assert re.fullmatch(
        rf"1\n.*: \S*large.{kind}: a table of .* so far takes 0.\d\d GB "
        r"more, and there are 0.\d\d GB: .*. Use a machine with more memory\n",
        done.stdout,
    ), done.stdout
