"""CSV files, whatever stands between their cells: every cell stays text until it is cast."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

import pyarrow as pa

from recovery_kit._show import shorten
from recovery_kit.errors import TableError
from recovery_kit.tables.raw import Source
from recovery_kit.tables.written import Written

_SEPARATORS = (",", ";", "\t", "|")


def read(text: str, wanted: set[str], called: str, written: Written, *, separator: str) -> Source:
    """Read the wanted columns of a CSV; ``separator`` holds where ``written`` tells none."""
    from pyarrow import csv as arrow_csv

    mark = written.separator or separator
    text, cut = _without_foot(text, called, mark, written.footer or 0)
    names = _header(text, called, mark)
    if (note := re.match(r"sep=(.)\r?\n", text)) and not wanted & set(names):
        raise TableError(
            f"{called}, line 1: tells Excel the separator. Take this line off the file, and say "
            f"{written.option(separator=note[1])}"
        )
    if not names:
        raise TableError(f"{called} is empty; expected a header line and a row a line")
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise TableError(f"{called}: column '{shorten(twice[0])}' stands twice in the header")
    here = [name for name in names if name in wanted]
    source = Source(
        pa.table({}),
        names,
        called,
        lambda row: f"line {_line(text, called, mark, row):,}",
        written,
        footed=True,
        foot=[dict(zip(names, cells, strict=False)) for cells in cut],
        hint=_hint(text, wanted, called, mark, written),
    )
    if not here:
        return source
    as_text = arrow_csv.ConvertOptions(
        include_columns=here,
        column_types=dict.fromkeys(here, pa.large_string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text.encode()),
            parse_options=arrow_csv.ParseOptions(delimiter=mark, newlines_in_values=True),
            convert_options=as_text,
        )
    except pa.ArrowInvalid as error:
        raise _uneven(text, called, mark, source) or TableError(
            f"{called} cannot be read: {shorten(error, 200)}"
        ) from error
    return Source(**{**vars(source), "table": table})


def _header(text: str, called: str, mark: str) -> list[str]:
    return next(_records(text, called, mark), (0, []))[1]


def _records(text: str, called: str, mark: str) -> Iterator[tuple[int, list[str]]]:
    """Give each record of a CSV with the number of the line that it begins on.

    Empty lines are none.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    begins = 1
    try:
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{called}, line {begins:,}: {error}") from None


def _line(text: str, called: str, mark: str, row: int) -> int:
    records = enumerate(_records(text, called, mark))
    return next(line for number, (line, _) in records if number == row + 1)


def _without_foot(text: str, called: str, mark: str, footer: int) -> tuple[str, list[list[str]]]:
    """A CSV without its last records, and these."""
    if not footer:
        return text, []
    records = list(_records(text, called, mark))
    if len(records) <= footer + 1:
        raise TableError(
            f"{called} holds {max(0, len(records) - 1):,} rows, and its footer is said to be "
            f"{footer:,}; expected rows above it"
        )
    first = records[-footer][0]
    lines = list(io.StringIO(text, newline=""))
    return "".join(lines[: first - 1]), [record for _, record in records[-footer:]]


def _uneven(text: str, called: str, mark: str, source: Source) -> TableError | None:
    """Tell the first line that has not as many cells as the header; None when each has."""
    records = list(_records(text, called, mark))
    for number, (line, record) in enumerate(records):
        if len(record) != len(source.names):
            found = f"{len(record)} cells where the header has {len(source.names)}"
            what = {",": "a comma", ";": "a semicolon", "\t": "a tab"}.get(mark, f"{mark!r}")
            foot = ""
            if number == len(records) - 1 and source.written.footer is None:
                foot = f" If this line is no row of the table: {source.written.option(footer=1)}"
            return TableError(
                f"{called}, line {line:,}: {found}; is a cell with {what} not quoted?"
                f"{foot}{source.hint}"
            )
    return None


def _hint(text: str, wanted: set[str], called: str, mark: str, written: Written) -> str:
    """What another separator would find in the header, where it finds more."""
    names = _header(text, called, mark)
    for other in _SEPARATORS:
        if other == mark:
            continue
        found = _header(text, called, other)
        more = len(wanted & set(found)) - len(wanted & set(names))
        if more > 0 or (len(names) == 1 and len(found) > 1):
            shown = ", ".join(f"'{shorten(name)}'" for name in found)
            return f" With {written.option(separator=other)} its columns are {shown}."
    return ""
