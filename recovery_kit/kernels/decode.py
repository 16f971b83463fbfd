"""Record batches of format v2: where in the bytes each record's parts stand.

The layout is Kafka's: https://kafka.apache.org/documentation/#recordbatch.
"""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels._memory import byte, get, kernel, part, put


@part
def _varint(p, end):
    """A zigzag varint: (value, address behind it, or -1 when it runs out of the record)."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while p < end and shift < np.uint64(64):
        c = np.uint64(byte(p))
        p += 1
        value |= (c & np.uint64(0x7F)) << shift
        if c < np.uint64(128):
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), p
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@part
def _text(p, end):
    """A nullable run of bytes: (its address, its length or -1 for null, the address behind it or
    -1).
    """
    length, p = _varint(p, end)
    if p < 0 or length < -1 or length > end - p:
        return np.int64(0), np.int64(0), np.int64(-1)
    return p, length, p + max(length, 0)


@kernel
def decode(buffer, batches, count, columns, rows):
    """Find the records of some batches.

    Parameters
    ----------
    buffer : address of the (decompressed) records of all batches
    batches : address of int64[count, 7]
        Of each: where its records begin and end in the buffer, base offset, last offset, first
        timestamp, timestamp of all its records or -1 (LogAppendTime), number of records.
    columns : address of int64[8, rows]
        Written here: offset, time, key_at, key_len, value_at, value_len, headers_at, headers_end;
        positions are in the buffer.
    rows : the sum of the numbers of records, none of which is negative

    Returns
    -------
    -1, or the number of the first batch that does not hold what it says: records that fill it, at
      offsets that ascend from its base offset to its last.
    """
    i = columns
    step = rows * 8
    for b in range(count):
        of = batches + 56 * b
        p, stop, base = buffer + get(of), buffer + get(of + 8), get(of + 16)
        last, first_time, all_at = get(of + 24), get(of + 32), get(of + 40)
        least = base
        for _ in range(get(of + 48)):
            length, p = _varint(p, stop)
            if p < 0 or length < 1 or length > stop - p:
                return b
            end = p + length
            p += 1  # attributes, unused
            ahead, p = _varint(p, end)
            if p < 0:
                return b
            time = first_time + ahead if all_at < 0 else all_at
            ahead, p = _varint(p, end)
            offset = base + ahead
            if p < 0 or offset < least or offset > last:
                return b
            least = offset + 1
            key_at, key_len, p = _text(p, end)
            if p < 0:
                return b
            value_at, value_len, p = _text(p, end)
            if p < 0 or p >= end:  # at least the number of headers follows
                return b
            put(i, offset)
            put(i + step, time)
            put(i + 2 * step, key_at - buffer)
            put(i + 3 * step, key_len)
            put(i + 4 * step, value_at - buffer)
            put(i + 5 * step, value_len)
            put(i + 6 * step, p - buffer)
            put(i + 7 * step, end - buffer)
            p = end
            i += 8
        if p != stop:
            return b
    return -1


@kernel
def headers(buffer, at, end, rows, most):
    """Find the headers of one record, at most ``most`` of them.

    Writes int64[h, 4] to ``rows``: name's position and length, value's position and length. Returns
    h, their number (rows are written only where there is room for all), or -1 where they are
    damaged.
    """
    end += buffer
    count, p = _varint(buffer + at, end)
    if p < 0 or count < 0 or count > end - p:
        return -1
    if count > most:
        return count
    for h in range(count):
        name, name_len, p = _text(p, end)
        if p < 0 or name_len < 0:
            return -1
        value, value_len, p = _text(p, end)
        if p < 0:
            return -1
        put(rows + 32 * h, name - buffer)
        put(rows + 32 * h + 8, name_len)
        put(rows + 32 * h + 16, value - buffer)
        put(rows + 32 * h + 24, value_len)
    return count if p == end else -1


KERNELS = (decode, headers)
