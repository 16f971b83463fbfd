"""Casts of a user's columns: each takes a column without nulls, or says what is wrong with it and
where.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from recovery_kit._show import shorten
from recovery_kit.schema import TIME_TYPE
from recovery_kit.tables.decimals import DIGITS, NO_FLOATS
from recovery_kit.tables.raw import Source
from recovery_kit.tables.written import Written

Cast = Callable[[pa.Array, str, Source], pa.Array]


def text(column: pa.Array, name: str, raw: Source) -> pa.Array:
    """Keys and ids, as they stand."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return text(column.cast(kind.value_type), name, raw)
    if pa.types.is_integer(kind) or is_text(kind):
        return column.cast(pa.large_string())
    raise raw.misfit(name, f"holds {kind}; expected text or whole numbers")


def amount(column: pa.Array, name: str, raw: Source) -> pa.Array:
    """Amounts, as decimals of 38 digits."""
    kind = column.type
    if pa.types.is_floating(kind):
        raise raw.misfit(name, f"holds floats ({kind}). {NO_FLOATS}, or give the column as text")
    if pa.types.is_dictionary(kind):
        return amount(column.cast(kind.value_type), name, raw)
    if is_text(kind):
        return _amount_of_text(column, name, raw)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        exact = pa.decimal128(DIGITS, max(0, getattr(kind, "scale", 0)))
        return _cast(column, exact, name, raw, f"does not fit {DIGITS} digits")
    raise raw.misfit(
        name, f"holds {kind}; expected decimals, whole numbers, or such numbers as text"
    )


def _amount_of_text(column: pa.Array, name: str, raw: Source) -> pa.Array:
    text = plain(column, name, raw)
    exponents = pc.match_substring_regex(text, "[eE]")
    if pc.any(exponents).as_py():
        written_out = [f"{Decimal(cell.as_py()):f}" for cell in text.filter(exponents)]
        text = pc.replace_with_mask(text, exponents, pa.array(written_out, pa.large_string()))
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


def plain(column: pa.Array, name: str, raw: Source) -> pa.Array:
    """Amounts as digits and a point, or the first one that is none."""
    given = column.cast(pa.large_string())
    text, odd = raw.written.plain(given)
    if name in raw.typed and raw.written.options:
        typed, not_typed = Written().plain(given)
        text = pc.if_else(raw.typed[name], typed, text)
        odd = pc.if_else(raw.typed[name], not_typed, odd)
    if pc.any(odd).as_py():
        row = pc.index(odd, True).as_py()
        raise raw.fault(row, name, _no_number(given[row].as_py(), raw.written))
    return text


def _no_number(cell: str, written: Written) -> str:
    """Say that a cell is no number, and which options would read it."""
    if written.options:
        found = f"'{shorten(cell)}' is not a number as {written.option()} has it."
    else:
        found = (
            f"'{shorten(cell)}' is not a plain number; expected digits and a point, such as "
            "-1234.50, with nothing between the thousands."
        )
    return found + written.advice(cell)


def _places(text: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Digits before the point and after it, a row each."""
    digits = pc.utf8_ltrim(text, "+-0")
    point, length = pc.find_substring(digits, "."), pc.cast(pc.binary_length(digits), pa.int32())
    whole = pc.if_else(pc.less(point, 0), length, point)
    return whole, pc.max_element_wise(pc.subtract(pc.subtract(length, whole), 1), 0)


def count(column: pa.Array, name: str, raw: Source) -> pa.Array:
    """Whole numbers of events."""
    return _cast(
        amount(column, name, raw), pa.int64(), name, raw, "is not a whole number of events"
    )


def time(column: pa.Array, name: str, raw: Source) -> pa.Array:
    """Times that have a zone."""
    kind = column.type
    if is_text(kind):
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


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of text; a dictionary is none."""
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )
