"""Exact arithmetic on columns of decimals, and the bounds within which it is exact."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal

import numpy as np
import pyarrow as pa

from recovery_kit.errors import AmountError

DIGITS = 38
"""Most digits of an exact decimal: those of Arrow's decimal128, and of polars' and Spark's
decimals.
"""


NO_FLOATS = (
    "A float cannot hold money exactly, and what it lost cannot be found again: "
    "go back to the text the amounts came from and make decimals of it, such as decimal128(28, 2)"
)


def words(column: pa.ChunkedArray | pa.Array, scale: int) -> np.ndarray:
    """Decimals as int64[n, 2], the low and the high half of whole numbers of 10**-scale.

    Fewer decimals is an error.
    """
    if not (
        pa.types.is_decimal128(column.type) and column.type.scale == scale
    ):  # whatever the digits, they look alike
        column = column.cast(pa.decimal128(DIGITS, scale))
    if not len(column):
        return np.empty((0, 2), np.int64)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    data = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2)
    return data[array.offset : array.offset + len(array)]


def decimals(words: np.ndarray, scale: int) -> pa.Array:
    """The way back from `words`: decimals of 38 digits."""
    data = np.ascontiguousarray(words)
    return pa.Array.from_buffers(
        pa.decimal128(DIGITS, scale), len(words), [None, pa.py_buffer(data)]
    )


def plus(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sum of `words`, which the caller knows to fit."""
    low = a[:, 0].view(np.uint64) + b[:, 0].view(np.uint64)
    carry = low < a[:, 0].view(np.uint64)
    return np.stack([low.view(np.int64), a[:, 1] + b[:, 1] + carry], axis=1)


def minus(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The difference of `words`, which the caller knows to fit."""
    low = a[:, 0].view(np.uint64) - b[:, 0].view(np.uint64)
    borrow = a[:, 0].view(np.uint64) < b[:, 0].view(np.uint64)
    return np.stack([low.view(np.int64), a[:, 1] - b[:, 1] - borrow], axis=1)


def unscaled(amount: Decimal, scale: int) -> int:
    """An amount as a whole number of 10**-scale, exactly; further decimals are cut."""
    return int(amount.scaleb(scale, Context(prec=120)))


def largest(amounts: Iterable[Decimal | None]) -> Decimal:
    """The largest absolute value; 0 of none."""
    # copy_abs, because abs() rounds to the 28 digits of Python's default context.
    return max((a.copy_abs() for a in amounts if a is not None), default=Decimal(0))


def guard(most: Decimal, count: int, *, scale: int, what: str) -> None:
    """Refuse sums that could pass 38 digits: such a sum wraps in silence.

    Raises
    ------
    AmountError
        When ``count`` amounts as large as ``most``, at ``scale`` decimals, need more than 38
        digits.
    """
    if unscaled(most, scale) * count >= 10**DIGITS:
        raise AmountError(
            f"{what}: {count:,} amounts of up to {most:f} with {scale} decimals could sum to more "
            f"than {DIGITS} digits, which an exact decimal cannot hold; expected amounts of at "
            "most 28 digits. Look for a wrong amount, or take fewer decimals"
        )
