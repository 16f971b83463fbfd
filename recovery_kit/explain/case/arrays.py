"""Arrays of whole numbers, and what the search does with them everywhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def wrapped(amount: int) -> int:
    """A whole number modulo 2**64, as a signed one."""
    return (amount + 2**63) % 2**64 - 2**63


def whole(low: np.int64, high: np.int64) -> int:
    """A whole number of 128 bits, of its halves."""
    return (int(high) << 64) | (int(low) & (2**64 - 1))


def ranked(numbers: Ints, most: int) -> Ints:
    """The stable order of numbers from 0 to below ``most``, by 16 bits at a time: numpy sorts these
    ten times as fast.
    """
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    for shift in range(16, (most - 1).bit_length(), 16):
        order = order[np.argsort((numbers[order] >> shift).astype(np.uint16), kind="stable")]
    return order


def arrivals(time: Ints, *, block: int = 64) -> Ints:
    """When records of one partition arrived, as far as their own times tell: never backwards, in
    log order.

    A record is there no later than those after it, so the highest time so far is the best guess; a
    time far beyond what the next block of records shows is a wrong clock, and is cut.
    """
    if len(time) <= block:
        return np.maximum.accumulate(time)
    whole = len(time) // block
    middle = np.partition(time[: whole * block].reshape(whole, block), block // 2)[:, block // 2]
    limit = np.maximum.accumulate(
        np.append(middle[1:], np.median(time[-block // 2 :]).astype(np.int64))
    )
    limit[-1] = max(limit[-1], np.partition(time[-block:], -2)[-2])
    return np.maximum.accumulate(
        np.minimum(time, np.append(np.repeat(limit, block), np.full(len(time) % block, limit[-1])))
    )
