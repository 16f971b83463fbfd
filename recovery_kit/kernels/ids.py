"""Hashes of texts, and the rows whose hash is one of a few."""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels._memory import get, get_32, hashed, kernel, part, put, put_word, word


@kernel
def hashes(starts, wide, data, count, seed, out):
    """Hash texts to 64 bits each.

    Parameters
    ----------
    starts : address of [count + 1] ascending positions in the data, int64 where ``wide`` is 1, else
        int32
    data : address of the texts' bytes
    seed : a number that nobody outside can guess
    out : address of uint64[count], written here; never 0
    """
    for i in range(count):
        if wide:
            start, end = get(starts + 8 * i), get(starts + 8 * i + 8)
        else:
            start, end = get_32(starts + 4 * i), get_32(starts + 4 * i + 4)
        put_word(out + 8 * i, max(hashed(data + start, end - start, seed), np.uint64(1)))
    return 0


@part
def _slot(table, mask, h):
    """Where a hash stands in the table, or the free slot where it would."""
    slot = np.int64(h & np.uint64(mask))
    while word(table + 8 * slot) != np.uint64(0) and word(table + 8 * slot) != h:
        slot = (slot + 1) & mask
    return table + 8 * slot


@kernel
def among(hashes, count, wanted, wanted_count, table, mask, rows):
    """Find the rows whose hash is one of those wanted.

    Parameters
    ----------
    hashes, wanted : addresses of uint64[count] and uint64[wanted_count], none of them 0
    table : address of uint64[mask + 1], all 0; mask + 1 is a power of two and more than
        ``wanted_count``
    rows : address of int64[count], written here: their numbers, ascending

    Returns
    -------
    How many they are.
    """
    for i in range(wanted_count):
        put_word(_slot(table, mask, word(wanted + 8 * i)), word(wanted + 8 * i))
    found = 0
    for i in range(count):
        if word(_slot(table, mask, word(hashes + 8 * i))) != np.uint64(0):
            put(rows + 8 * found, i)
            found += 1
    return found


KERNELS = (hashes, among)
