"""Where a user's table comes from: a frame in memory, or a file whose every cell stays text until
it is cast.

What a row is called in an error depends on that: a line of a CSV or JSON-lines file, else a row.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa

from recovery_kit._show import shorten, told
from recovery_kit.errors import TableError

_KINDS = ".csv, .parquet, .jsonl or .ndjson"


@dataclass(frozen=True)
class Source:
    """A table as it came.

    Attributes
    ----------
    table : pyarrow.Table
        The columns that were wanted and are there.
    names : list of str
        The names of all its columns.
    called : str
        What errors call it.
    where : callable
        Row number, from 0, to the words that say where it stands.
    """

    table: pa.Table
    names: list[str]
    called: str
    where: Callable[[int], str] = lambda row: f"row {row + 1:,}"

    def fault(self, row: int, column: str, found: str) -> TableError:
        """Say what is wrong with one cell."""
        return TableError(f"{self.called}, {self.where(row)}, column '{shorten(column)}': {found}")

    def misfit(self, column: str, found: str) -> TableError:
        """Say what is wrong with a whole column."""
        return TableError(f"{self.called}, column '{shorten(column)}' {found}")


def load(source: Any, wanted: set[str], *, what: str) -> Source:
    """Load the wanted columns, as far as they are there, of a frame or of the file at a path or
    URL.

    Raises
    ------
    TableError
        When there is no such file, or it cannot be taken apart.
    """
    if isinstance(source, str | Path):
        return _file(str(source), wanted, what)
    return _frame(source, wanted, what)


def _frame(source: Any, wanted: set[str], what: str) -> Source:
    try:
        frame = nw.from_native(source)
    except TypeError:
        found = type(source).__name__
        raise TableError(
            f"{what} is a {found}; expected a pandas, polars or pyarrow table, or the path of a "
            f"{_KINDS} file"
        ) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    columns = {}
    for name in (name for name in frame.columns if name in wanted):
        try:
            columns[name] = pa.chunked_array(frame[name].to_arrow())
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise TableError(
                f"{what}, column '{shorten(name)}' mixes types: {told(error)}"
            ) from error
    return Source(pa.table(columns), [str(name) for name in frame.columns], what)


def _file(source: str, wanted: set[str], what: str) -> Source:
    name = source
    if "://" in source:  # a URL may hold a secret before the @ or after the ?
        name = re.sub(r"(?<=://)[^/@]*@", "", source.split("?")[0])
    called = f"{what}: {shorten(name, 200)}"
    kind = re.search(r"\.(csv|parquet|jsonl|ndjson)(\.(gz|bz2|zst))?/?$", name, re.IGNORECASE)
    if kind is None:
        raise TableError(f"{called} is of a kind that is not known here; expected a {_KINDS} file")
    filesystem, path = _place(source, called)
    try:
        if kind[1].lower() == "parquet":
            return _parquet(filesystem, path, wanted, called)
        with filesystem.open_input_stream(path) as stream:  # takes .gz apart by itself
            raw = stream.read()
    except FileNotFoundError:
        raise TableError(f"{called}: there is no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{called} cannot be read: {told(error)}") from error
    text = _text(raw, called)
    return (
        _csv(raw, text, wanted, called)
        if kind[1].lower() == "csv"
        else _jsonl(text, wanted, called)
    )


def _place(source: str, called: str) -> tuple[Any, str]:
    from pyarrow import fs

    if "://" not in source:
        return fs.LocalFileSystem(), source
    try:
        filesystem, path = fs.FileSystem.from_uri(source)
    except (pa.ArrowException, OSError):
        # Without its cause, which repeats the URL with whatever secret it holds.
        raise TableError(
            f"{called} cannot be opened; expected a path or a URL such as s3://bucket/file.csv"
        ) from None
    return filesystem, path


def _parquet(filesystem: Any, path: str, wanted: set[str], called: str) -> Source:
    from pyarrow import dataset

    found = dataset.dataset(path, filesystem=filesystem, format="parquet")
    names = found.schema.names
    return Source(found.to_table(columns=[name for name in names if name in wanted]), names, called)


def _text(raw: bytes, called: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise TableError(f"{called}, line {line:,}: {found}; save the file as UTF-8") from None


def _csv(raw: bytes, text: str, wanted: set[str], called: str) -> Source:
    from pyarrow import csv as arrow_csv

    _, names = next(_records(text, called), (0, []))
    if not names:
        raise TableError(f"{called} is empty; expected a header line and a row a line")
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise TableError(f"{called}: column '{shorten(twice[0])}' stands twice in the header")
    here = [name for name in names if name in wanted]
    if not here:
        return Source(pa.table({}), names, called)
    as_text = arrow_csv.ConvertOptions(
        include_columns=here,
        column_types=dict.fromkeys(here, pa.large_string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(raw),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=as_text,
        )
    except pa.ArrowInvalid as error:
        for line, record in _records(text, called):
            if len(record) != len(names):
                found = f"{len(record)} cells where the header has {len(names)}"
                raise TableError(
                    f"{called}, line {line:,}: {found}; is a cell with a comma not quoted?"
                ) from None
        raise TableError(f"{called} cannot be read: {told(error)}") from error
    return Source(table, names, called, lambda row: f"line {_csv_line(text, called, row):,}")


def _records(text: str, called: str) -> Iterator[tuple[int, list[str]]]:
    """Give each record of a CSV with the number of the line that it begins on.

    Empty lines are none.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    begins = 1
    try:
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{called}, line {begins:,}: {error}") from None


def _csv_line(text: str, called: str, row: int) -> int:
    return next(
        line for number, (line, _) in enumerate(_records(text, called)) if number == row + 1
    )


def _jsonl(text: str, wanted: set[str], called: str) -> Source:
    names: dict[str, None] = {}
    lines, rows = [], []
    for line, said in enumerate(text.split("\n"), start=1):
        if not said.strip():
            continue
        record = _record(said, line, called)
        names.update(dict.fromkeys(record))
        lines.append(line)
        rows.append(record)
    if not rows:
        raise TableError(f"{called} is empty; expected a JSON object a line")
    source = Source(pa.table({}), list(names), called, lambda row: f"line {lines[row]:,}")
    columns = {}
    for name in (name for name in names if name in wanted):
        cells = [record.get(name) for record in rows]
        for row, cell in enumerate(cells):
            if cell is not None and not isinstance(cell, str):
                raise source.fault(
                    row, name, f"holds {shorten(json.dumps(cell))}; expected text or a number"
                )
        columns[name] = pa.chunked_array([pa.array(cells, pa.large_string())])
    return Source(pa.table(columns), source.names, called, source.where)


def _record(said: str, line: int, called: str) -> dict[str, Any]:
    try:
        record = json.loads(
            said, parse_float=str, parse_int=str, parse_constant=str
        )  # text stays exact
    except (ValueError, RecursionError) as error:
        raise TableError(f"{called}, line {line:,}: not JSON: {told(error)}") from None
    if not isinstance(record, dict):
        raise TableError(
            f'{called}, line {line:,}: expected a JSON object, such as {{"key": "a", "total": 5}}'
        )
    return record
