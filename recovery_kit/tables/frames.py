"""Frames in and out: any eager table goes through polars' engine and comes back in the form it came
in.

Only this module knows which engine runs the expressions of reconcile and explain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import narwhals as nw
import polars as pl
import pyarrow as pa

from recovery_kit.tables.arrow import to_pandas
from recovery_kit.tables.columns import entered, of_arrow, refuse_nulls
from recovery_kit.tables.decimals import DIGITS

if TYPE_CHECKING:
    import pandas as pd

    Table = nw.LazyFrame[Any]
    Back = Callable[[Table], Any]


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
    table, form = entered(frame, what=what)
    return _from_arrow(table), lambda done: _in_form(done, form)


def _from_arrow(table: pa.Table) -> Table:
    # Chunks stay as they are: joining them, as narwhals would, copies the whole table.
    frame = pl.from_arrow(table, rechunk=False)
    assert isinstance(frame, pl.DataFrame)  # a Series is what polars makes of an array
    return nw.from_native(frame.lazy())


def _in_form(table: Table, form: str) -> Any:
    done = table.collect("polars")
    return done.to_native() if form == "polars" else of_arrow(plain(done.to_arrow()), form)


def plain(table: pa.Table) -> pa.Table:
    """Give polars' dictionary columns the events table's own type, dictionary of int32 to
    string.
    """
    ours = pa.dictionary(pa.int32(), pa.string())
    kinds = [(f.name, ours if pa.types.is_dictionary(f.type) else f.type) for f in table.schema]
    return table.cast(pa.schema(kinds))


def measured(table: Table, needs: Sequence[str], *, what: str, **more: nw.Expr) -> dict[str, Any]:
    """Count the rows, as ``"rows"``, beside ``more`` aggregates, in one pass.

    A null in ``needs`` is an error.

    Raises
    ------
    TableError
        When one of the columns holds a null.
    """
    nulls = {f"nulls in {name}": nw.col(name).null_count() for name in needs}
    row = next(table.select(rows=nw.len(), **nulls, **more).collect("polars").iter_rows(named=True))
    refuse_nulls({name: row.pop(f"nulls in {name}") for name in needs}, what=what)
    return row


def scale_of(schema: Mapping[str, Any], name: str) -> int:
    """Decimal places of a decimal column."""
    scale: int = schema[name].scale
    return scale


def exactly(amount: Decimal | int, scale: int) -> nw.Expr:
    """An amount as a literal of 38 digits: a plain number in an expression could make floats of its
    column.
    """
    return nw.lit(Decimal(amount), dtype=nw.Decimal(DIGITS, scale))


def by_size(table: Table, amount: str, then: str) -> Table:
    """Sort by the absolute value of an amount, the largest first, and by another column where that
    is the same.
    """
    return (
        table.with_columns(size=nw.col(amount).abs())
        .sort("size", then, descending=[True, False])
        .drop("size")
    )


def shown(caption: str, frame: Any, most: int = 20) -> list[tuple[str, pd.DataFrame]]:
    """The first rows of an eager table for ``html_card``, the caption saying of how many.

    Nothing of an empty one.
    """
    rows, entered = len(frame), nw.from_native(frame, eager_only=True)
    more = f" (first {most} of {rows:,})" if rows > most else ""
    return [(caption + more, to_pandas(plain(entered.head(most).to_arrow())))] if rows else []
