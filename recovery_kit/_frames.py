"""Frames in and out: any eager table goes through polars' engine and comes back in the form it came in.

Only this module knows which engine runs the expressions of dedup, totals and reconcile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import narwhals as nw
import numpy as np
import polars as pl
import pyarrow as pa

from recovery_kit._show import shorten, to_pandas
from recovery_kit.errors import AmountError, TableError
from recovery_kit.schema import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    Table = nw.LazyFrame[Any]
    Back = Callable[[Table], Any]

DIGITS = 38
"""Most digits of an exact decimal: those of Arrow's decimal128, and of polars' and Spark's decimals."""

_KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda t: t in (nw.String, nw.Categorical, nw.Enum),
    "decimals": lambda t: t == nw.Decimal,
    "times with a time zone": lambda t: t == nw.Datetime and t.time_zone is not None,
    "whole numbers": lambda t: t.is_integer(),
}

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

known_unique: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""Tables that dedup made, by identity: to count 10 million distinct ids again takes a second and a gigabyte."""

NO_FLOATS = (
    "A float cannot hold money exactly, and what it lost cannot be found again: "
    "go back to the text the amounts came from and make decimals of it, such as decimal128(28, 2)"
)


@dataclass(frozen=True, eq=False)
class Kept:
    """An eager table less some of its rows, which are left out only where somebody looks.

    Attributes
    ----------
    table : pyarrow.Table
    form : narwhals.Implementation
        Of the table that was given: pandas, polars or pyarrow.
    dropped : int64 array
        The rows that are left out, ascending.
    """

    table: pa.Table
    form: nw.Implementation
    dropped: np.ndarray

    @classmethod
    def whole(cls, frame: Any, *, what: str) -> Kept:
        """All rows of a table; errors as `opened` has them."""
        return cls(*_entered(frame, what), np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.table) - len(self.dropped)

    def select(self, names: Iterable[str]) -> Table:
        """Some columns, as a lazy table."""
        lazy = _from_arrow(self.table.select(list(names)))
        if not len(self.dropped):
            return lazy
        filtered: Table = nw.from_native(lazy.to_native().filter(pl.lit(pl.Series(self._mask()))))
        return filtered

    def frame(self) -> Any:
        """A table of the form that was given."""
        kept = self.table.filter(pa.array(self._mask())) if len(self.dropped) else self.table
        return _of_arrow(kept, self.form)

    def rows(self, wanted: np.ndarray) -> pa.Table:
        """Some of the table's rows, ascending, whatever is dropped; a column ``row`` says which."""
        # Batch by batch: to take from a column of many chunks at once would join them first.
        batches, start = [], 0
        for batch in self.table.to_batches():
            first, behind = np.searchsorted(wanted, (start, start + len(batch)))
            if first < behind:
                batches.append(batch.take(pa.array(wanted[first:behind] - start)))
            start += len(batch)
        return pa.Table.from_batches(batches, self.table.schema).append_column("row", pa.array(wanted, pa.int64()))

    def _mask(self) -> np.ndarray:
        mask = np.ones(len(self.table), np.bool_)
        mask[self.dropped] = False
        return mask


def opened(frame: Any, *, what: str) -> tuple[Table, Back]:
    """Open a pandas, polars or pyarrow table as a lazy one, with the way back to the same form.

    Parameters
    ----------
    frame : DataFrame or Table
        Arrow-backed columns, pandas' among them, go over without a copy.
    what : str
        What the errors call it.

    Raises
    ------
    TableError
        When it is something else, or a column mixes types.
    """
    table, form = _entered(frame, what)
    return _from_arrow(table), lambda done: in_form(done, form)


def _entered(frame: Any, what: str) -> tuple[pa.Table, nw.Implementation]:
    expected = "expected a pandas, polars or pyarrow table"
    try:
        entered = nw.from_native(frame)
    except TypeError:
        raise TableError(f"{what} is a {type(frame).__name__}; {expected}") from None
    form = entered.implementation
    if form.is_pyarrow():
        return frame, form
    if form.is_pandas():
        return _arrow(frame, what), form
    if form.is_polars():
        return entered.lazy().collect("polars").to_arrow(), form
    raise TableError(f"{what} is a table of {form.value}; {expected}")


def _arrow(frame: pd.DataFrame, what: str) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise TableError(f"{what} has a column of mixed types: {shorten(error, 200)}") from error


def _from_arrow(table: pa.Table) -> Table:
    # Chunks stay as they are: joining them, as narwhals would, copies the whole table.
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)  # a Series is what polars makes of an array
    return nw.from_native(frame.lazy())


def in_form(table: Table, form: nw.Implementation) -> Any:
    """Collect a lazy table as pandas, polars or pyarrow."""
    done = table.collect("polars")
    return done.to_native() if form.is_polars() else _of_arrow(plain(done.to_arrow()), form)


def _of_arrow(table: pa.Table, form: nw.Implementation) -> Any:
    if form.is_polars():
        return _from_arrow(table).collect("polars").to_native()
    return to_pandas(table) if form.is_pandas() else table


def plain(table: pa.Table) -> pa.Table:
    """Give polars' dictionary columns the events table's own type, dictionary of int32 to string."""
    ours = pa.dictionary(pa.int32(), pa.string())
    kinds = [(f.name, ours if pa.types.is_dictionary(f.type) else f.type) for f in table.schema]
    return table.cast(pa.schema(kinds))


def require(table: Table | nw.DataFrame[Any], needs: Iterable[str], *, what: str) -> nw.Schema:
    """Check that an events table has the named columns, each of the kind it must be; its schema comes back.

    Raises
    ------
    TableError
        When a column is missing or is of another kind, floats above all.
    """
    schema = table.collect_schema()
    for name in needs:
        if name not in schema:
            has = ", ".join(shorten(n) for n in schema)
            near = did_you_mean(name, list(schema))
            raise TableError(f"{what} has no column {name!r}.{near} It has: {has}")
        kind, found = EVENT_KINDS[name], schema[name]
        if not _KINDS[kind](found):
            then = f". {NO_FLOATS}" if found.is_float() else ": cast the column"
            raise TableError(f"{what}: column {name!r} is {found}; expected {kind}{then}")
    return schema


def measured(table: Table, needs: Sequence[str], *, what: str, **more: nw.Expr) -> dict[str, Any]:
    """Count the rows, as ``"rows"``, beside ``more`` aggregates, in one pass; a null in ``needs`` is an error.

    Raises
    ------
    TableError
        When one of the columns holds a null.
    """
    nulls = {f"nulls in {name}": nw.col(name).null_count() for name in needs}
    row = next(table.select(rows=nw.len(), **nulls, **more).collect("polars").iter_rows(named=True))
    _refuse_nulls({name: row.pop(f"nulls in {name}") for name in needs}, what)
    return row


def require_no_nulls(table: pa.Table, needs: Iterable[str], *, what: str) -> None:
    """Check that an Arrow table's columns hold no null; a TableError where one does."""
    _refuse_nulls({name: table[name].null_count for name in needs}, what)


def _refuse_nulls(nulls: Mapping[str, int], what: str) -> None:
    for name, count in nulls.items():
        if count:
            raise TableError(f"{what}: column {name!r} holds {count:,} nulls; leave those rows out, or fill them")


def scale_of(schema: Mapping[str, Any], name: str) -> int:
    """Decimal places of a decimal column."""
    scale: int = schema[name].scale
    return scale


def unscaled(amount: Decimal, scale: int) -> int:
    """An amount as a whole number of 10**-scale, exactly; further decimals are cut."""
    return int(amount.scaleb(scale, Context(prec=120)))


def exactly(amount: Decimal | int, scale: int) -> nw.Expr:
    """An amount as a literal of 38 digits: a plain number in an expression could make floats of its column."""
    return nw.lit(Decimal(amount), dtype=nw.Decimal(DIGITS, scale))


def largest(amounts: Iterable[Decimal | None]) -> Decimal:
    """The largest absolute value; 0 of none."""
    # copy_abs, because abs() rounds to the 28 digits of Python's default context.
    return max((a.copy_abs() for a in amounts if a is not None), default=Decimal(0))


def guard(most: Decimal, count: int, *, scale: int, what: str) -> None:
    """Refuse sums that could pass 38 digits: such a sum wraps in silence in some engines.

    Raises
    ------
    AmountError
        When ``count`` amounts as large as ``most``, at ``scale`` decimals, need more than 38 digits.
    """
    if unscaled(most, scale) * count >= 10**DIGITS:
        raise AmountError(
            f"{what}: {count:,} amounts of up to {most:f} with {scale} decimals could sum to more than {DIGITS} digits, "
            f"which an exact decimal cannot hold; expected amounts of at most 28 digits. Look for a wrong amount, "
            f"or take fewer decimals"
        )


def by_size(table: Table, amount: str, then: str) -> Table:
    """Sort by the absolute value of an amount, the largest first, and by another column where that is the same."""
    return table.with_columns(size=nw.col(amount).abs()).sort("size", then, descending=[True, False]).drop("size")


def shown(caption: str, frame: Any, most: int = 20) -> list[tuple[str, pd.DataFrame]]:
    """The first rows of an eager table for ``html_card``, the caption saying of how many; nothing of an empty one."""
    rows, entered = len(frame), nw.from_native(frame, eager_only=True)
    more = f" (first {most} of {rows:,})" if rows > most else ""
    return [(caption + more, to_pandas(plain(entered.head(most).to_arrow())))] if rows else []
