"""Tables that users give: totals by key, and lists of what a system processed, read exactly or
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import shorten
from recovery_kit.errors import ParameterError, TableError, did_you_mean
from recovery_kit.tables import casts
from recovery_kit.tables.columns import WorkedOut
from recovery_kit.tables.files import load
from recovery_kit.tables.raw import Source
from recovery_kit.tables.written import Written, doubtful


def read_totals(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    csv: Mapping[str, object] | Written | None = None,
    what: str = "expected",
) -> pa.Table:
    """Read totals by key, exactly.

    Parameters
    ----------
    source : DataFrame, Table, Totals, str or Path
        A pandas, polars or pyarrow table, what ``totals`` gave, or the path or URL of a ``.csv``,
        ``.tsv``, ``.csv.gz``, ``.parquet``, ``.jsonl`` or ``.ndjson`` file in UTF-8, or of an
        ``.xlsx`` file.
    columns : mapping of str to str, optional
        Our names to the source's, for those that differ: ``{"key": "account", "total":
        "balance"}``.
    csv : mapping of str to object, optional
        How it is written, where that is not plainly: ``separator``, ``decimal``, ``thousands``,
        ``negative`` (``"(1)"``, ``"1-"`` or ``"−1"``), ``currency``, ``footer`` (rows at the foot
        that are no rows of the table) and ``sheet``, as in ``{"separator": ";", "decimal": ",",
        "thousands": "."}``. Each applies where it can: of a Parquet file, none.
    what : str
        What the errors call the table.

    Returns
    -------
    pyarrow.Table
        A row a key, in the source's order: ``key`` (large_string), ``total`` (decimal128 of 38
        digits, as many decimals as the source has) and, where the source has them, ``events``
        (int64), ``added`` and ``subtracted`` (decimals). Keys are text as it stands: ``0012`` stays
        ``0012``.

    Raises
    ------
    TableError
        When there is no such file, no row or no such column, when a key is missing or stands twice,
        when an amount is a float, not a plain number or longer than 38 digits, when what stands at
        the foot looks like a row of totals, or does not add up; names the file, the row (of a CSV
        or JSON-lines file, the line; the header is line 1) and the column.
    ParameterError
        When ``columns`` names a column, or ``csv`` an option, that the kit does not know.

    Notes
    -----
    A cell of an Excel file that is text stays text. One that is a number is what Excel keeps, if 15
    digits can say it, and else refused; how it is formatted, with zeros in front or few decimals,
    is not looked at.
    """
    worked_out = isinstance(source, WorkedOut)
    if worked_out:
        if columns:
            raise ParameterError(
                f"columns is {dict(columns)!r}, but {what} is a {type(source).__name__}, whose "
                "columns are known"
            )
        source = source.table
    kinds = {
        "key": casts.text,
        "total": casts.amount,
        "events": casts.count,
        "added": casts.amount,
        "subtracted": casts.amount,
    }
    written = Written.by_keyword(csv, "read_totals")
    table, raw = _read(
        source, columns or {}, kinds, needs=("key", "total"), what=what, written=written
    )
    if not raw.table.num_rows and not worked_out:
        raise TableError(f"{raw.called} holds no row; expected a row a key with its total")
    _refuse_repeats(table["key"], (columns or {}).get("key", "key"), raw)
    _refuse_another_sum(table["total"], (columns or {}).get("total", "total"), raw)
    return table


def read_processed(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    csv: Mapping[str, object] | Written | None = None,
) -> pa.Table:
    """Read the list of what a system processed, in the order it did.

    Parameters
    ----------
    source : DataFrame, Table, str or Path
        As for ``read_totals``.
    columns : mapping of str to str, optional
        Our names to the source's, for those that differ: ``{"event_id": "id", "effect":
        "amount"}``.
    csv : mapping of str to object, optional
        As for ``read_totals``.

    Returns
    -------
    pyarrow.Table
        A row a time that an event was applied, in the source's order: ``event_id`` (large_string)
        and, where the source has them, ``effect`` (decimal128 of 38 digits), ``time``
        (timestamp[ms, UTC]) and ``key`` (large_string). An id may stand more than once.

    Raises
    ------
    TableError
        As ``read_totals`` does, and when a time has no time zone.
    ParameterError
        When ``columns`` names a column, or ``csv`` an option, that the kit does not know.
    """
    kinds = {"event_id": casts.text, "effect": casts.amount, "time": casts.time, "key": casts.text}
    written = Written.by_keyword(csv, "read_processed")
    return _read(
        source, columns or {}, kinds, needs=("event_id",), what="processed", written=written
    )[0]


def doubts(table: pa.Table, decimals: int, *, what: str) -> list[str]:
    """Sentences on columns of amounts that may have been read with a point of another meaning.

    Parameters
    ----------
    table : pyarrow.Table
        What `read_totals` gave; its own notes are in its fields' metadata.
    decimals : int
        How many the log has. Where that is three or more, an amount with three says nothing.
    what : str
        What the sentences call the table.
    """
    return [
        f"{what} has amounts such as {f.metadata[_DOUBT].decode()}, read with 3 decimals, where "
        f"the log has {decimals}. If these points stand between thousands, say so with the option "
        'thousands of csv, {"thousands": "."}; if they do not, with {"decimal": "."}'
        for f in table.schema
        if decimals < 3 and _DOUBT in (f.metadata or {})
    ]


_DOUBT = b"recovery_kit.doubtful"


def _read(
    source: Any,
    columns: Mapping[str, str],
    kinds: Mapping[str, casts.Cast],
    *,
    needs: tuple[str, ...],
    what: str,
    written: Written,
) -> tuple[pa.Table, Source]:
    for ours in columns:
        if ours not in kinds:
            near = did_you_mean(str(ours), list(kinds))
            raise ParameterError(
                f"columns names {ours!r}; expected names among {', '.join(kinds)}.{near}"
            )
    theirs = {ours: columns.get(ours, ours) for ours in kinds}
    raw = load(source, set(theirs.values()), what=what, written=written)
    done, schema = {}, []
    for ours, name in theirs.items():
        if name not in raw.names:
            if ours in needs or ours in columns:
                raise _no_column(raw, name, ours, what)
            continue
        column = raw.table[name].combine_chunks()
        if column.null_count:
            row = pc.index(column.is_null(), True).as_py()
            raise raw.fault(
                row,
                name,
                f"nothing here; expected a value for {ours} in every row"
                f"{'' if ours in needs else ', or no such column'}.{raw.foot_advice(row)}",
            )
        if ours == needs[0]:
            _refuse_a_row_of_totals(column, name, raw)
        done[ours] = kinds[ours](column, name, raw)
        noted = _noted(source, name)
        if kinds[ours] is casts.amount and casts.is_text(column.type):
            found = doubtful(casts.plain(column, name, raw), raw.typed.get(name), raw.written)
            noted = {_DOUBT: found.encode()} if found else None
        schema.append(pa.field(ours, done[ours].type, metadata=noted))
    return pa.table(done, pa.schema(schema)), raw


def _noted(source: Any, name: str) -> dict[bytes, bytes] | None:
    """What `_read` noted of a column of a table that it made and that is given again."""
    fields = source.schema if isinstance(source, pa.Table) else ()
    return next((f.metadata for f in fields if f.name == name), None)


def _no_column(raw: Source, name: str, ours: str, what: str) -> TableError:
    has = ", ".join(f"'{shorten(n)}'" for n in raw.names) or "none"
    near = did_you_mean(name, raw.names)
    reader = "read_processed" if what == "processed" else "read_totals"
    named = raw.written.parameters
    if named is None:
        then = f"Say which one holds the {ours}: {reader}(source, columns={{'{ours}': ...}})"
    elif ours in named:
        then = f"Say which one holds the {ours}, with {named[ours]}"
    else:
        then = f"Call the column that holds the {ours} '{name}' in the file"
    found = f"{raw.called} has no column '{shorten(name)}'.{near} Its columns: {has}."
    if raw.hint:  # which column it is can be said where the cells stand apart
        then = (
            raw.hint.strip() if f"'{shorten(name)}'" in raw.hint else f"{raw.hint.strip()} {then}"
        )
    return TableError(f"{found} {then}")


_TOTALS = (
    *("total", "totals", "subtotal", "grand total", "overall total", "sum", "totaal", "totale"),
    *("totalt", "total general", "total général", "summe", "gesamt", "gesamtsumme", "endsumme"),
    *("insgesamt", "somme", "som", "soma", "suma", "summa", "razem", "celkem", "součet"),
    *("összesen", "yhteensä", "toplam", "итого", "всего", "разом", "σύνολο", "合计", "合計"),
    *("总计", "總計", "합계"),
)
"""What a row of totals is called at the foot of exports; a note of reconcile's finds others."""


def _refuse_a_row_of_totals(names: pa.Array, column: str, raw: Source) -> None:
    """Stop at a last row whose key says that it is the sum of those above it."""
    last = len(names) - 1
    if last < 1 or not casts.is_text(names.type) or not raw.foot_advice(last):
        return
    word = names[last].as_py().strip(" \t:").casefold()
    if word in _TOTALS:
        found = f"'{shorten(names[last])}' looks like a row of totals."
        other = f" If it is one of the table: {raw.written.option(footer=0)}"
        raise raw.fault(last, column, f"{found}{raw.foot_advice(last)}.{other}")


def _refuse_another_sum(totals: pa.Array, name: str, raw: Source) -> None:
    """Hold what stands at the foot against the sum of the rows above it, if it is an amount."""
    cells = [cell for row in raw.foot if (cell := row.get(name))]
    plain, odd = raw.written.plain(pa.array(cells, pa.large_string()))
    found = [
        Decimal(text)
        for text, wrong in zip(plain.to_pylist(), odd.to_pylist(), strict=True)
        if not wrong
    ]
    exact = pc.sum(totals.cast(pa.decimal256(76, totals.type.scale))).as_py()
    if found and exact not in found:
        raise TableError(
            f"{raw.called}: the foot has {' and '.join(f'{f:f}' for f in found)} in column "
            f"'{shorten(name)}', and the {len(totals):,} rows above it add up to {exact:f}; "
            "expected the same. Is the file whole? If the foot holds something else, take it off "
            "the file"
        )


def _refuse_repeats(keys: pa.Array, name: str, raw: Source) -> None:
    counts = keys.value_counts()
    again = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(again):
        key = again.field("values")[0]
        first, second = pc.indices_nonzero(pc.equal(keys, key))[:2].to_pylist()
        found = (
            f"'{shorten(key)}' stands here and in {raw.where(second)}; expected each key once "
            f"({len(again):,} repeat)"
        )
        raise raw.fault(first, name, found)
