"""The compiled decoder of record batches of format v2: where in the bytes each record's parts stand.

The layout is Kafka's: https://kafka.apache.org/documentation/#recordbatch. Compiled by numba at first use.
"""

from __future__ import annotations

import numpy as np

from recovery_kit._jit import jit


@jit
def _varint(buf, p, end):
    """A zigzag varint: (value, position behind it, or -1 when it runs out of the record)."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while p < end and shift < 64:
        c = np.uint64(buf[p])
        p += 1
        value |= (c & np.uint64(0x7F)) << shift
        if c < 128:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), p
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@jit
def _text(buf, p, end):
    """A nullable run of bytes: (its position, its length or -1 for null, the position behind it or -1)."""
    length, p = _varint(buf, p, end)
    if p < 0 or length < -1 or length > end - p:
        return np.int64(0), np.int64(0), np.int64(-1)
    return p, length, p + max(length, 0)


@jit
def decode(buf, batches, columns):
    """Find the records of some batches.

    Parameters
    ----------
    buf : uint8[:]
        Holds the (decompressed) records of all batches.
    batches : int64[b, 7]
        Of each: where its records begin and end, base offset, last offset, first timestamp, timestamp of all its records
        or -1 (LogAppendTime), number of records.
    columns : tuple of 8 int64[n]
        Written here, n being the sum of the numbers of records: offset, time, key_at, key_len, value_at, value_len,
        headers_at, headers_end.

    Returns
    -------
    int
        -1, or the number of the first batch that does not hold what it says: records that fill it, at offsets that
        ascend from its base offset to its last.
    """
    offset, time, key_at, key_len, value_at, value_len, headers_at, headers_end = columns
    i = 0
    for b in range(batches.shape[0]):
        p, stop = batches[b, 0], batches[b, 1]
        least = batches[b, 2]
        for _ in range(batches[b, 6]):
            length, p = _varint(buf, p, stop)
            if p < 0 or length < 1 or length > stop - p:
                return b
            end = p + length
            p += 1  # attributes, unused
            ahead, p = _varint(buf, p, end)
            if p < 0:
                return b
            time[i] = batches[b, 4] + ahead if batches[b, 5] < 0 else batches[b, 5]
            ahead, p = _varint(buf, p, end)
            offset[i] = batches[b, 2] + ahead
            if p < 0 or offset[i] < least or offset[i] > batches[b, 3]:
                return b
            least = offset[i] + 1
            key_at[i], key_len[i], p = _text(buf, p, end)
            if p < 0:
                return b
            value_at[i], value_len[i], p = _text(buf, p, end)
            if p < 0 or p >= end:  # at least the number of headers follows
                return b
            headers_at[i], headers_end[i] = p, end
            p = end
            i += 1
        if p != stop:
            return b
    return -1


@jit
def headers(buf, p, end):
    """Find the headers of one record: int64[h, 4] of name's position and length, value's position and length.

    A first row of -1 alone says that they are damaged.
    """
    damaged = np.full((1, 4), -1, np.int64)
    count, p = _varint(buf, p, end)
    if p < 0 or count < 0 or count > end - p:
        return damaged
    found = np.empty((count, 4), np.int64)
    for h in range(count):
        found[h, 0], found[h, 1], p = _text(buf, p, end)
        if p < 0 or found[h, 1] < 0:
            return damaged
        found[h, 2], found[h, 3], p = _text(buf, p, end)
        if p < 0:
            return damaged
    return found if p == end else damaged
