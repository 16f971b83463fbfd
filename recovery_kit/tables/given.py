"""Tables that users give: totals by key, and lists of what a system processed, read exactly or
refused.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import shorten
from recovery_kit.errors import ParameterError, TableError, did_you_mean
from recovery_kit.schema import TIME_TYPE
from recovery_kit.tables.columns import WorkedOut
from recovery_kit.tables.decimals import DIGITS, NO_FLOATS
from recovery_kit.tables.files import Source, load


def read_totals(
    source: Any, *, columns: Mapping[str, str] | None = None, what: str = "expected"
) -> pa.Table:
    """Read totals by key, exactly.

    Parameters
    ----------
    source : DataFrame, Table, Totals, str or Path
        A pandas, polars or pyarrow table, what ``totals`` gave, or the path or URL of a ``.csv``,
        ``.csv.gz``, ``.parquet``, ``.jsonl`` or ``.ndjson`` file in UTF-8.
    columns : mapping of str to str, optional
        Our names to the source's, for those that differ: ``{"key": "account", "total":
        "balance"}``.
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
        when an amount is a float, not a plain number or longer than 38 digits; names the file, the
        row (of a CSV or JSON-lines file, the line; the header is line 1) and the column.
    ParameterError
        When ``columns`` names a column that the kit does not know.
    """
    worked_out = isinstance(source, WorkedOut)
    if worked_out:
        if columns:
            raise ParameterError(
                f"columns is {dict(columns)!r}, but {what} is a {type(source).__name__}, whose "
                "columns are known"
            )
        source = source.table
    casts = {
        "key": _text,
        "total": _amount,
        "events": _count,
        "added": _amount,
        "subtracted": _amount,
    }
    table, raw = _read(source, columns or {}, casts, needs=("key", "total"), what=what)
    if not raw.table.num_rows and not worked_out:
        raise TableError(f"{raw.called} holds no row; expected a row a key with its total")
    _refuse_repeats(table["key"], (columns or {}).get("key", "key"), raw)
    return table


def read_processed(source: Any, *, columns: Mapping[str, str] | None = None) -> pa.Table:
    """Read the list of what a system processed, in the order it did.

    Parameters
    ----------
    source : DataFrame, Table, str or Path
        As for ``read_totals``.
    columns : mapping of str to str, optional
        Our names to the source's, for those that differ: ``{"event_id": "id", "effect":
        "amount"}``.

    Returns
    -------
    pyarrow.Table
        A row a time that an event was applied, in the source's order: ``event_id`` (large_string)
        and, where the source has them, ``effect`` (decimal128 of 38 digits) and ``time``
        (timestamp[ms, UTC]). An id may stand more than once.

    Raises
    ------
    TableError
        As ``read_totals`` does, and when a time has no time zone.
    ParameterError
        When ``columns`` names a column that the kit does not know.
    """
    casts = {"event_id": _text, "effect": _amount, "time": _time}
    return _read(source, columns or {}, casts, needs=("event_id",), what="processed")[0]


_Cast = Callable[[pa.Array, str, Source], pa.Array]


def _read(
    source: Any,
    columns: Mapping[str, str],
    casts: Mapping[str, _Cast],
    *,
    needs: tuple[str, ...],
    what: str,
) -> tuple[pa.Table, Source]:
    for ours in columns:
        if ours not in casts:
            near = did_you_mean(str(ours), list(casts))
            raise ParameterError(
                f"columns names {ours!r}; expected names among {', '.join(casts)}.{near}"
            )
    theirs = {ours: columns.get(ours, ours) for ours in casts}
    raw = load(source, set(theirs.values()), what=what)
    done = {}
    for ours, name in theirs.items():
        if name not in raw.names:
            if ours in needs or ours in columns:
                raise _no_column(raw, name, ours, what)
            continue
        column = raw.table[name].combine_chunks()
        if column.null_count:
            row = pc.index(column.is_null(), True).as_py()
            raise raw.fault(row, name, f"nothing here; expected a value for {ours} in every row")
        done[ours] = casts[ours](column, name, raw)
    return pa.table(done), raw


def _no_column(raw: Source, name: str, ours: str, what: str) -> TableError:
    has = ", ".join(f"'{shorten(n)}'" for n in raw.names) or "none"
    near = did_you_mean(name, raw.names)
    reader = "read_processed" if what == "processed" else "read_totals"
    then = f"Say which one holds the {ours}: {reader}(source, columns={{'{ours}': ...}})"
    return TableError(
        f"{raw.called} has no column '{shorten(name)}'.{near} Its columns: {has}. {then}"
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


# Casts: each takes a column without nulls, or says what is wrong with it and where.


def _text(column: pa.Array, name: str, raw: Source) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _text(column.cast(kind.value_type), name, raw)
    if pa.types.is_integer(kind) or _is_text(kind):
        return column.cast(pa.large_string())
    raise raw.misfit(name, f"holds {kind}; expected text or whole numbers")


def _amount(column: pa.Array, name: str, raw: Source) -> pa.Array:
    kind = column.type
    if pa.types.is_floating(kind):
        raise raw.misfit(name, f"holds floats ({kind}). {NO_FLOATS}, or give the column as text")
    if pa.types.is_dictionary(kind):
        return _amount(column.cast(kind.value_type), name, raw)
    if _is_text(kind):
        return _amount_of_text(column, name, raw)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        exact = pa.decimal128(DIGITS, max(0, getattr(kind, "scale", 0)))
        return _cast(column, exact, name, raw, f"does not fit {DIGITS} digits")
    raise raw.misfit(
        name, f"holds {kind}; expected decimals, whole numbers, or such numbers as text"
    )


def _amount_of_text(column: pa.Array, name: str, raw: Source) -> pa.Array:
    text = pc.ascii_trim_whitespace(column.cast(pa.large_string()))
    odd = pc.invert(pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)$"))
    rows = pc.indices_nonzero(odd).to_pylist()
    if rows:
        plain = pa.array(
            (_without_exponent(text[row].as_py(), row, name, raw) for row in rows),
            pa.large_string(),
        )
        text = pc.replace_with_mask(text, odd, plain)
    whole, after = _places(text)
    if (
        len(text) and pc.max(after).as_py() > 18
    ):  # zeros at the end say nothing, and take digits that others need
        text = pc.replace_substring_regex(text, r"(\.\d*?)0+$", r"\1")
        whole, after = _places(text)
    scale = pc.max(after).as_py() or 0
    # Checked here, for Arrow's cast from text wraps in silence beyond 38 digits.
    longest = whole if scale > DIGITS else pc.add(whole, scale)
    row = pc.index(pc.greater(pc.max_element_wise(longest, after), DIGITS), True).as_py()
    if row >= 0:
        found = (
            f"'{shorten(column[row])}' needs more than {DIGITS} digits, with {scale} decimals in "
            "this column"
        )
        raise raw.fault(row, name, found)
    return text.cast(pa.decimal128(DIGITS, scale))


def _places(text: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Digits before the point and after it, a row each."""
    digits = pc.utf8_ltrim(text, "+-0")
    point, length = pc.find_substring(digits, "."), pc.cast(pc.binary_length(digits), pa.int32())
    whole = pc.if_else(pc.less(point, 0), length, point)
    return whole, pc.max_element_wise(pc.subtract(pc.subtract(length, whole), 1), 0)


def _without_exponent(text: str, row: int, name: str, raw: Source) -> str:
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d{1,3}", text, re.ASCII):
        return f"{Decimal(text):f}"
    found = f"'{shorten(text)}' is not a plain number"
    raise raw.fault(
        row,
        name,
        f"{found}; expected digits and a point, such as -1234.50, with nothing between the "
        "thousands",
    )


def _count(column: pa.Array, name: str, raw: Source) -> pa.Array:
    return _cast(
        _amount(column, name, raw), pa.int64(), name, raw, "is not a whole number of events"
    )


def _time(column: pa.Array, name: str, raw: Source) -> pa.Array:
    kind = column.type
    if _is_text(kind):
        column = _cast(
            column,
            pa.timestamp("ns", "UTC"),
            name,
            raw,
            "is not an ISO 8601 time with a zone, such as Z",
        )
    elif not pa.types.is_timestamp(kind) or kind.tz is None:
        raise raw.misfit(
            name, f"holds {kind}; expected timestamps with a time zone, or ISO 8601 text with one"
        )
    return column.cast(TIME_TYPE, safe=False)


def _cast(column: pa.Array, kind: pa.DataType, name: str, raw: Source, wrong: str) -> pa.Array:
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        row = bisect.bisect_left(
            range(len(column)), True, key=lambda row: not _can(column[: row + 1], kind)
        )
        raise raw.fault(row, name, f"'{shorten(column[row])}' {wrong}") from None


def _can(column: pa.Array, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )
