"""Texts that stand in two columns, found by their hashes and compared byte by byte."""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels._memory import get, hashed, kernel, part, put, put_word, same, word


@part
def _length(starts, row):
    return get(starts + 8 * row + 8) - get(starts + 8 * row)


@kernel
def match(starts, texts, count, others, other_texts, other_count, seed, table, mask, rows):
    """For each text of one column, the row of the other column, of distinct texts, where it stands.

    Parameters
    ----------
    starts, others : addresses of int64[count + 1] and int64[other_count + 1], ascending positions in the texts
    texts, other_texts : addresses of the texts' bytes
    count : of the distinct texts, fewer than 2**32 - 1
    seed : a number that nobody outside can guess
    table : address of uint64[mask + 1], all 0; mask + 1 is a power of two and more than ``count``
    rows : address of int64[other_count], written here: the row among the ``count``; -1 where it is not there
    """
    # A slot has a row's number plus one in its lower half, and half of the text's hash above, so that most texts
    # that share a slot are told apart without a look at them.
    above = ~np.uint64(0xFFFFFFFF)
    for i in range(count):
        h = hashed(texts + get(starts + 8 * i), _length(starts, i), seed)
        slot = np.int64(h & np.uint64(mask))
        while word(table + 8 * slot) != np.uint64(0):
            slot = (slot + 1) & mask
        put_word(table + 8 * slot, (h & above) | np.uint64(i + 1))
    for i in range(other_count):
        at, length = other_texts + get(others + 8 * i), _length(others, i)
        h = hashed(at, length, seed)
        slot = np.int64(h & np.uint64(mask))
        found = -1
        while word(table + 8 * slot) != np.uint64(0):
            entry = word(table + 8 * slot)
            if entry & above == h & above:
                row = np.int64(entry & ~above) - 1
                if _length(starts, row) == length and same(texts + get(starts + 8 * row), at, length):
                    found = row
                    break
            slot = (slot + 1) & mask
        put(rows + 8 * i, found)
    return 0


KERNELS = (match,)
