"""Tables in and out of the steps as Arrow columns.

pandas, polars and pyarrow tables come in; the same kind goes out. Neither narwhals nor polars is
needed here: a process that replays, dedups and totals does not wait for them to load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import shorten, told
from recovery_kit.errors import TableError, did_you_mean
from recovery_kit.tables.arrow import column, to_pandas, values
from recovery_kit.tables.decimals import NO_FLOATS, largest


def is_text(type_: pa.DataType) -> bool:
    """Whether cells are text, as such or by a dictionary."""
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    return any(is_(plain) for is_ in (pa.types.is_string, pa.types.is_large_string))


_KINDS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "text": (is_text, "large_string"),
    "decimals": (
        lambda t: pa.types.is_decimal128(t) or pa.types.is_decimal256(t),
        "decimal128(28, 2)",
    ),
    "times with a time zone": (
        lambda t: pa.types.is_timestamp(t) and t.tz is not None,
        "timestamp('ms', 'UTC')",
    ),
    "whole numbers": (pa.types.is_integer, "int64"),
}
"""What a column may be asked to hold: whether a type does (Arrow computes with no decimals of 32 or
64 bits, and hardly with string views), and one that does."""

EVENT_KINDS = {
    "event_id": "text",
    "type": "text",
    "value": "decimals",
    "effect": "decimals",
    "key": "text",
    "time": "times with a time zone",
    "topic": "text",
    "partition": "whole numbers",
    "offset": "whole numbers",
}
"""What each column of an events table holds; ``EventSchema.arrow_types`` has the exact types."""


@dataclass(frozen=True, eq=False)
class Kept:
    """An eager table less some of its rows, which are left out only where somebody looks.

    Attributes
    ----------
    table : pyarrow.Table
    form : str
        Of the table that was given: "pandas", "polars" or "pyarrow".
    dropped : int64 array
        The rows that are left out, ascending.
    most : Decimal, optional
        The largest absolute effect among all its rows, where somebody has looked: see
        `largest_effect`.
    """

    table: pa.Table
    form: str
    dropped: np.ndarray
    most: Decimal | None = None

    @classmethod
    def whole(cls, frame: Any, *, what: str) -> Kept:
        """All rows of a table; a TableError where it is none, or a column mixes types."""
        return cls(*entered(frame, what=what), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.table) - len(self.dropped)

    def largest_effect(self) -> Decimal:
        """The largest absolute effect among all its rows, dropped or not."""
        return (
            largest(pc.min_max(self.table["effect"]).as_py().values())
            if self.most is None
            else self.most
        )

    def frame(self) -> Any:
        """A table of the form that was given."""
        if not len(self.dropped):
            return of_arrow(self.table, self.form)
        mask = np.ones(len(self.table), np.bool_)
        mask[self.dropped] = False
        return of_arrow(self.table.filter(column(mask)), self.form)

    def rows(self, wanted: np.ndarray) -> pa.Table:
        """Some of the table's rows, ascending, whatever is dropped."""
        # Batch by batch: to take from a column of many chunks at once would join them first.
        parts, starts = self._batches
        which = np.searchsorted(starts, wanted, side="right") - 1
        found = np.unique(which)
        edges = [*np.searchsorted(which, found).tolist(), len(wanted)]
        batches = [
            parts[at].take(column(wanted[first:behind] - starts[at]))
            for at, first, behind in zip(found.tolist(), edges, edges[1:], strict=False)
        ]
        return pa.Table.from_batches(batches, self.table.schema)

    @cached_property
    def _batches(self) -> tuple[list[pa.RecordBatch], np.ndarray]:
        """The table batch by batch, and the row at which each begins."""
        batches = [batch for batch in self.table.to_batches() if len(batch)]
        return batches, np.cumsum([0, *map(len, batches)])[:-1]


class WorkedOut:
    """Totals that the kit itself worked out: their columns are known, and there may be none.

    Attributes
    ----------
    table : DataFrame or Table
        A row a key.
    """

    table: Any


def entered(frame: Any, *, what: str) -> tuple[pa.Table, str]:
    """A pandas, polars or pyarrow table as Arrow columns, and its form.

    Columns that are Arrow's are not copied.

    Parameters
    ----------
    frame : DataFrame or Table
    what : str
        What the errors call it.

    Raises
    ------
    TableError
        When it is something else, or a column mixes types.
    """
    if isinstance(frame, pa.Table):
        return frame, "pyarrow"
    form, kind = type(frame).__module__.partition(".")[0], type(frame).__name__
    if form == "polars" and kind in ("DataFrame", "LazyFrame"):
        return frame.lazy().collect().to_arrow(), form
    if form == "pandas" and kind == "DataFrame":
        try:
            # A copy of what is numpy's: Arrow would share it, and a result would change with the
            # table that was given.
            return pa.Table.from_pandas(frame.copy(), preserve_index=False), form
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise TableError(f"{what} has a column of mixed types: {told(error)}") from error
    raise TableError(f"{what} is a {kind}; expected a pandas, polars or pyarrow table")


def of_arrow(table: pa.Table, form: str) -> Any:
    """An Arrow table as pandas, polars or pyarrow."""
    if form == "polars":
        import polars as pl

        return pl.from_arrow(table, rechunk=False)
    return to_pandas(table) if form == "pandas" else table


def require(table: pa.Table, needs: Iterable[str], *, what: str) -> None:
    """Check that an events table has the named columns, each of the kind it must be and without
    nulls.

    Raises
    ------
    TableError
        When a column is missing or is of another kind, floats above all, or holds a null.
    """
    needs = tuple(needs)
    for name in needs:
        if name not in table.column_names:
            has = ", ".join(shorten(n) for n in table.column_names)
            near = did_you_mean(name, table.column_names)
            raise TableError(f"{what} has no column {name!r}.{near} It has: {has}")
        kind, found = EVENT_KINDS[name], table.schema.field(name).type
        fits, example = _KINDS[kind]
        if not fits(found):
            then = (
                f". {NO_FLOATS}"
                if pa.types.is_floating(found)
                else f": cast the column, to {example} for instance"
            )
            raise TableError(f"{what}: column {name!r} is {found}; expected {kind}{then}")
    # Not null_count, which does not see the nulls in a dictionary's values.
    refuse_nulls(
        {name: pc.count(table[name], mode="only_null").as_py() for name in needs}, what=what
    )


def refuse_nulls(nulls: Mapping[str, int], *, what: str) -> None:
    """Raise a TableError where a column, by name, holds nulls, by number."""
    for name, count in nulls.items():
        if count:
            raise TableError(
                f"{what}: column {name!r} holds {count:,} nulls; leave those rows out, or fill them"
            )


def codes(column: pa.ChunkedArray) -> tuple[list[np.ndarray], pa.Array]:
    """Each chunk's cells as numbers of distinct values, and these values.

    The same value has one number throughout.
    """
    if not pa.types.is_dictionary(column.type):
        coded = column.dictionary_encode()
        distinct = coded.chunk(0).dictionary if coded.num_chunks else pa.nulls(0, column.type)
        return [values(chunk.indices) for chunk in coded.chunks], distinct
    coded = column.unify_dictionaries()
    if not coded.num_chunks:
        return [], pa.nulls(0, column.type.value_type)
    distinct = coded.chunk(0).dictionary.dictionary_encode()  # a dictionary may hold a value twice
    numbers = values(distinct.indices)
    return [numbers[values(chunk.indices)] for chunk in coded.chunks], distinct.dictionary


def numbered(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """As `codes`, of all cells in one array."""
    chunks, distinct = codes(column)
    return np.concatenate([np.empty(0, np.int32), *chunks]), distinct


def ranks(distinct: pa.Array) -> np.ndarray:
    """The place of each of some distinct values in their order."""
    return np.argsort(values(pc.sort_indices(distinct)))
