"""Totals by key: exact sums of 128 bits, counts, and times."""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels._memory import get, get_32, kernel, part, put, put_word, word


@part
def _accumulate(sum_, low, high):
    """Add a number of 128 bits to the one at an address; the caller knows that it fits."""
    new = word(sum_) + low
    put(sum_ + 8, get(sum_ + 8) + high + (1 if new < low else 0))
    put_word(sum_, new)


@kernel
def tally(keys, effects, times, count, dropped, dropped_count, out):
    """Add some events to their keys' totals.

    Parameters
    ----------
    keys : address of int32[count], each a number of a key
    effects : address of decimal128[count]
    times : address of int64[count]
    dropped : address of int64[dropped_count], ascending numbers of events that are left out
    out : address of int64[most key + 1, 7]
        Of each key: sum of effects (low, high), sum of those above 0 (low, high), events, first
        time, last time. The times count only where there are events.
    """
    next_ = np.int64(0)
    skip = get(dropped) if dropped_count > 0 else np.int64(-1)
    for i in range(count):
        if i == skip:
            next_ += 1
            skip = get(dropped + 8 * next_) if next_ < dropped_count else np.int64(-1)
            continue
        row = out + 56 * get_32(keys + 4 * i)
        low, high = word(effects + 16 * i), get(effects + 16 * i + 8)
        time = get(times + 8 * i)
        _accumulate(row, low, high)
        if high >= 0:  # adding 0 does no harm
            _accumulate(row + 16, low, high)
        events = get(row + 32)
        put(row + 32, events + 1)
        if events == 0 or time < get(row + 40):
            put(row + 40, time)
        if events == 0 or time > get(row + 48):
            put(row + 48, time)
    return 0


KERNELS = (tally,)
