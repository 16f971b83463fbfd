"""Events tables for tests, in each form that the verbs take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import narwhals as nw
import pandas as pd
import polars as pl
import pyarrow as pa

from recovery_kit.reconcile import Reconciliation
from recovery_kit.schema import EventSchema

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z

FORMS: dict[str, Callable[[pa.Table], Any]] = {
    "pandas": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "pyarrow": lambda table: table,
    "polars": pl.from_arrow,
}

Event = tuple[str, str, str, str, int, str, int, int]
"""id, type, value, key, time in ms after noon, topic, partition, offset."""


def events(rows: Iterable[Event], schema: EventSchema | None = None) -> pa.Table:
    """An events table of these rows."""
    schema = schema or EventSchema()
    columns: dict[str, list[object]] = {name: [] for name in schema.arrow_types}
    for event_id, kind, value, key, time, topic, partition, offset in rows:
        effect = Decimal(value) * Decimal(schema.effects[kind])
        cells = (event_id, kind, Decimal(value), effect, key, NOON + time, topic, partition, offset)
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return pa.table(
        {name: _column(columns[name], kind) for name, kind in schema.arrow_types.items()}
    )


def _column(cells: list[object], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(cells, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(cells, kind)


def rows(frame: Any) -> list[dict[str, Any]]:
    """The rows of a table of any form, as plain Python values."""
    return nw.from_native(frame, eager_only=True).to_arrow().to_pylist()


def column(frame: Any, name: str) -> list[Any]:
    return [row[name] for row in rows(frame)]


def arrow(frame: Any) -> pa.Table:
    return nw.from_native(frame, eager_only=True).to_arrow()


def notes_of(result: Reconciliation) -> tuple[str, ...]:
    """A reconciliation's notes, but for the one that no key is on both sides."""
    return tuple(note for note in result.notes if not note.startswith("Nothing was compared"))
