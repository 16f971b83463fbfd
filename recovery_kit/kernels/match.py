"""Texts that stand in two columns, found by their hashes and compared byte by byte."""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels._memory import get, hashed, kernel, part, put, put_word, same, word


@part
def _length(starts, row):
    return get(starts + 8 * row + 8) - get(starts + 8 * row)


@kernel
def match(
    starts,
    texts,
    numbers,
    count,
    others,
    other_texts,
    other_count,
    seed,
    hashes,
    table,
    mask,
    found,
):
    """For each text of one column, the number of the same text in the other column.

    Parameters
    ----------
    starts, others : addresses of int64[count + 1] and int64[other_count + 1], ascending positions
        in the texts
    texts, other_texts : addresses of the texts' bytes
    numbers : address of int64[count]; a text whose number is less than 0 is left out, all others
        are distinct
    count : fewer than 2**32 - 1
    seed : a number that nobody outside can guess
    hashes : address of room for uint64[count]
    table : address of uint64[mask + 1], all 0; mask + 1 is a power of two and more than ``count``
    found : address of int64[other_count], written here: the number; -1 where the text is not there
    """
    # A slot has a row's number plus one in its lower half, and half of the text's hash above, so
    # that most texts that share a slot are told apart without a look at them.
    above = ~np.uint64(0xFFFFFFFF)
    # First the hashes, then the slots: loads of slots far apart then wait for one another less.
    for i in range(count):
        put_word(hashes + 8 * i, hashed(texts + get(starts + 8 * i), _length(starts, i), seed))
    for i in range(count):
        if get(numbers + 8 * i) < 0:
            continue
        h = word(hashes + 8 * i)
        slot = np.int64(h & np.uint64(mask))
        while word(table + 8 * slot) != np.uint64(0):
            slot = (slot + 1) & mask
        put_word(table + 8 * slot, (h & above) | np.uint64(i + 1))
    for i in range(other_count):
        put_word(found + 8 * i, hashed(other_texts + get(others + 8 * i), _length(others, i), seed))
    for i in range(other_count):
        h = word(found + 8 * i)
        slot = np.int64(h & np.uint64(mask))
        number = np.int64(-1)
        entry = word(table + 8 * slot)
        while entry != np.uint64(0):
            if entry & above == h & above:
                row = np.int64(entry & ~above) - 1
                at, length = other_texts + get(others + 8 * i), _length(others, i)
                if _length(starts, row) == length and same(
                    texts + get(starts + 8 * row), at, length
                ):
                    number = get(numbers + 8 * row)
                    break
            slot = (slot + 1) & mask
            entry = word(table + 8 * slot)
        put(found + 8 * i, number)
    return 0


KERNELS = (match,)
