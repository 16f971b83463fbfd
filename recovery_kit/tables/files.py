"""Where a user's table comes from: a frame in memory, or a file whose every cell stays text until
it is cast.

What a row is called in an error depends on that: a line of a CSV or JSON-lines file, else a row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import narwhals as nw
import pyarrow as pa

from recovery_kit._room import EVERY, gigabytes, require
from recovery_kit._show import shorten, told
from recovery_kit.errors import TableError
from recovery_kit.tables import excel, separated
from recovery_kit.tables.raw import Source
from recovery_kit.tables.written import Written

_KINDS = ".csv, .tsv, .xlsx, .parquet, .jsonl or .ndjson"
_AS_TABLE = 3
"""Times as large as a file's text, at least: the text again, in one piece and decoded, and its
columns.
"""
_ROWS = 4096
"""Rows of a Parquet file to decode at a time, where it is only to be seen how large it is."""


def load(source: Any, wanted: set[str], *, what: str, written: Written) -> Source:
    """Load the wanted columns, as far as they are there, of a frame or of the file at a path or
    URL.

    Raises
    ------
    TableError
        When there is no such file, or it cannot be taken apart.
    LogTooLarge
        When it holds more than there is memory for.
    """
    if isinstance(source, str | Path):
        return _file(str(source), wanted, what, written)
    return _frame(source, wanted, what, written)


def _frame(source: Any, wanted: set[str], what: str, written: Written) -> Source:
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
    names = [str(name) for name in frame.columns]
    return Source(pa.table(columns), names, what, written=written)


def _file(source: str, wanted: set[str], what: str, written: Written) -> Source:
    name = source
    if "://" in source:  # a URL may hold a secret before the @ or after the ?
        name = re.sub(r"(?<=://)[^/@]*@", "", source.split("?")[0])
    called = f"{what}: {shorten(name, 200)}"
    kind = re.search(
        r"\.(csv|tsv|xlsx|parquet|jsonl|ndjson)(\.(gz|bz2|zst))?/?$", name, re.IGNORECASE
    )
    if kind is None:
        old = "; save it as .xlsx" if re.search(r"\.xls[bm]?$", name, re.IGNORECASE) else ""
        raise TableError(
            f"{called} is of a kind that is not known here; expected a {_KINDS} file{old}"
        )
    filesystem, path = _place(source, called)
    try:
        if (form := kind[1].lower()) == "parquet":
            return _parquet(filesystem, path, wanted, called)
        with filesystem.open_input_stream(path) as stream:  # takes .gz apart by itself
            raw = _whole(stream, called)
    except FileNotFoundError:
        raise TableError(f"{called}: there is no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{called} cannot be read: {told(error)}") from error
    if form == "xlsx":
        return excel.read(raw, wanted, called, written)
    text = _text(raw, called)
    if form in ("csv", "tsv"):
        return separated.read(
            text, wanted, called, written, separator="\t" if form == "tsv" else ","
        )
    return _jsonl(text, wanted, called, written)


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
    here = [name for name in names if name in wanted]
    size = asked = 0
    for fragment in found.get_fragments() if here else ():
        with filesystem.open_input_file(fragment.path) as file:
            for taken in _decoded(file, here):
                size += taken
                if size >= asked + EVERY:
                    asked = size
                    require(size, f"{called}: a table of what was found in it so far")
    return Source(found.to_table(columns=here), names, called)


def _decoded(file: Any, columns: list[str]) -> Iterator[int]:
    """Bytes that each few rows of a Parquet file take.

    Its own numbers do not tell: what stands once in a dictionary may stand in every row.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(_ROWS, columns=columns):
            yield batch.nbytes


def _whole(stream: Any, called: str) -> bytes:
    """All that a stream holds: read piece by piece, for a small file may hold more than memory."""
    pieces, size = [], 0
    while piece := stream.read(EVERY):
        pieces.append(piece)
        size += len(piece)
        require(_AS_TABLE * size, f"{called}: a table of the {gigabytes(size)} read so far")
    return b"".join(pieces)


def _text(raw: bytes, called: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise TableError(f"{called}, line {line:,}: {found}; save the file as UTF-8") from None


def _jsonl(text: str, wanted: set[str], called: str, written: Written) -> Source:
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
    columns, typed = {}, {}
    for name in (name for name in names if name in wanted):
        cells = [record.get(name) for record in rows]
        for row, cell in enumerate(cells):
            if cell is not None and not isinstance(cell, str):
                raise source.fault(
                    row, name, f"holds {shorten(json.dumps(cell))}; expected text or a number"
                )
        columns[name] = pa.chunked_array([pa.array(cells, pa.large_string())])
        typed[name] = pa.array([isinstance(cell, _Number) for cell in cells], pa.bool_())
    return replace(source, table=pa.table(columns), written=written, typed=typed)


class _Number(str):
    """A JSON number, as the file spells it: exact, and told from text."""

    __slots__ = ()


def _record(said: str, line: int, called: str) -> dict[str, Any]:
    try:
        record = json.loads(
            said, parse_float=_Number, parse_int=_Number, parse_constant=str
        )  # text stays exact
    except (ValueError, RecursionError) as error:
        raise TableError(f"{called}, line {line:,}: not JSON: {told(error)}") from None
    if not isinstance(record, dict):
        raise TableError(
            f'{called}, line {line:,}: expected a JSON object, such as {{"key": "a", "total": 5}}'
        )
    return record
