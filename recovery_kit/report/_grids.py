"""The report's tables, as text: the first rows of what a run kept, and counts of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recovery_kit import _show
from recovery_kit.tables.arrow import to_pandas

MOST_ROWS = 200
"""Rows of a table that are printed.

The caption counts the rest and names the file that has them all.
"""

_LONG = 40
"""Characters from which a cell's text is broken over lines."""

_COVERAGE = (
    "topic",
    "partition",
    "log_start",
    "start",
    "end",
    "position",
    "delivered",
    "control",
    "aborted",
    "removed",
    "lost",
    "unread",
    "outside",
    "events",
    "rejects",
    "tombstones",
    "high_watermark",
    "behind_open_transaction",
    "log_start_after",
    "verdict",
)
_INCIDENTS = ("incident", "cause", "grade", "keys", "amount", "money", "evidence")
_CONFLICTS = (
    "event_id",
    "verdict",
    "type",
    "value",
    "key",
    "time",
    "topic",
    "partition",
    "offset",
    "worth",
)


@dataclass(frozen=True)
class Grid:
    """A table as text: its columns, each with how to set it ("n" numbers, "l" long text, "" short
    text), and its rows.
    """

    name: str
    caption: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]

    @classmethod
    def of(
        cls,
        name: str,
        caption: str,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        numeric: Sequence[bool] = (),
    ) -> Grid:
        """A grid whose text columns are long where one of their cells is."""
        long = [any(len(row[at]) > _LONG for row in rows) for at in range(len(heads))]
        kinds = [
            "n" if n else "l" * wide for n, wide in zip_longest(numeric, long, fillvalue=False)
        ]
        return cls(
            name,
            caption,
            list(zip((_show.clean(h).replace("_", " ") for h in heads), kinds, strict=True)),
            rows,
        )


def tables(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Grid | None]:
    """The tables of a report, in its order; None for one that has no row."""
    all_keys = "; divergences.csv has all of them"
    yield table(folder, "divergences", "Divergences, largest first", more=all_keys)
    yield _rejects(folder)
    yield table(
        folder,
        "conflicts",
        "Conflicts: every copy of each id with two contents",
        columns=_CONFLICTS,
    )
    yield _coverage(folder, manifest)


def table(
    folder: Path, name: str, caption: str, *, columns: Sequence[str] | None = None, more: str = ""
) -> Grid | None:
    """The first rows of a kept table; None when there is none, or it is empty."""
    path = _kept(folder, name)
    if path is None:
        return None
    with pq.ParquetFile(path) as file:
        names = [c for c in columns or file.schema_arrow.names if c in file.schema_arrow.names]
        total: int = file.metadata.num_rows
        # Only the head is read, however long the table.
        first = next(file.iter_batches(batch_size=MOST_ROWS, columns=names), None)
    if first is None or not total:
        return None
    return _grid(
        name,
        caption,
        pa.Table.from_batches([first]),
        total=total,
        more=more or f"; {path.name} has all of them",
    )


def _coverage(folder: Path, manifest: Mapping[str, Any]) -> Grid | None:
    """As captured, also where the replay was not complete.

    Without columns of zeros, which the caption names.
    """
    path = _kept(folder, "coverage")
    rows = manifest.get("coverage") or (pq.read_table(path).to_pylist() if path else [])
    if not rows:
        return None
    names = [name for name in _COVERAGE if name in rows[0]]
    kept = ("partition", "start", "end")
    zeros = [name for name in names if name not in kept and all(row[name] == 0 for row in rows)]
    table = pa.Table.from_pylist([{n: row[n] for n in names if n not in zeros} for row in rows])
    caption = "Coverage, by partition (offsets and counts)"
    caption += f"; zero everywhere: {', '.join(zeros).replace('_', ' ')}" if zeros else ""
    return _grid("coverage", caption, table, more="; manifest.json has all of them")


def incidents(folder: Path) -> Grid | None:
    """What many keys share, those worth most first, each with its evidence in words."""
    return table(
        folder, "incidents", "Incidents: causes that many keys share, by money", columns=_INCIDENTS
    )


def _rejects(folder: Path) -> Grid | None:
    path = _kept(folder, "rejects")
    if path is None:
        return None
    read = pq.read_table(path, columns=["reason", "time"])
    counted = read.group_by("reason").aggregate(
        [([], "count_all"), ("time", "min"), ("time", "max")]
    )
    found = counted.rename_columns(["reason", "messages", "first", "last"]).sort_by(
        [("messages", "descending")]
    )
    caption = f"Rejects, by reason: {len(read):,} messages that could not be read exactly"
    return (
        _grid("rejects", caption, found, more="; rejects.parquet has every message")
        if len(read)
        else None
    )


def causes(folder: Path) -> Grid | None:
    """What explains how much, by cause and grade of evidence."""
    path = _kept(folder, "causes")
    if path is None or not {"key", "cause", "amount", "grade"} <= set(pq.read_schema(path).names):
        return None
    read = pq.read_table(path, columns=["key", "cause", "amount", "grade"])
    read = read.append_column("size", pc.abs(read["amount"]))
    sums = [("key", "count_distinct"), ("amount", "sum"), ("size", "sum")]
    found = read.group_by(["cause", "grade"]).aggregate(sums).sort_by([("size_sum", "descending")])
    names = ["cause", "grade", "keys", "amount, net", "amount, absolute"]
    return (
        _grid("causes", "Causes, by grade of evidence", found.rename_columns(names))
        if len(read)
        else None
    )


def _grid(name: str, caption: str, table: pa.Table, *, total: int = 0, more: str = "") -> Grid:
    total = total or len(table)
    rest = f" (first {MOST_ROWS:,} of {total:,}{more})" if total > MOST_ROWS else ""
    frame = to_pandas(table.slice(0, MOST_ROWS))
    numeric = [
        pa.types.is_integer(t) or pa.types.is_decimal(t) or pa.types.is_floating(t)
        for t in table.schema.types
    ]
    keys = [column in _show.KEYS for column in frame.columns]
    rows = [
        [
            _show.quoted(cell, 300) if key and isinstance(cell, str) else _text(cell)
            for key, cell in zip(keys, row, strict=True)
        ]
        for row in frame.itertuples(index=False, name=None)
    ]
    return Grid.of(name, caption + rest, table.column_names, rows, numeric)


def _text(cell: object) -> str:
    """A cell in full length, as far as a page can bear it: two long keys may differ only at their
    ends.
    """
    return _show.shorten(cell, 300) if isinstance(cell, str) else _show.number(cell)


def _kept(folder: Path, name: str) -> Path | None:
    """Where a run keeps a table: at the top, or under the step that made it."""
    places = [folder / f"{name}.parquet", *sorted((folder / "steps").glob(f"*/{name}.parquet"))]
    return next((place for place in places if place.exists()), None)
