"""Prefix sums of each key's events: laid out, ranked, and their pairs that lie a given amount
apart.

Amounts are whole numbers modulo 2**64. A group is a run of events of one key; its prefix sums stand
one behind the other and begin with the empty sum, 0.
"""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels._memory import copy, get, kernel, part, put, word

FEW = 48
"""Sums of a group that are ranked by insertion: more would pay for counting digits."""


@kernel
def group(begin, end, order, code, kind, keys, ends, rows, kinds, positions):
    """Put the events of one stretch of a track key by key, each key's in the track's order.

    Parameters
    ----------
    begin, end : the stretch, of positions
    order : address of int64[end], the row at each position
    code, kind : addresses of int64 a row, its key below ``keys`` and its kind
    ends : address of int64[keys], written here: where each key's events end
    rows, kinds, positions : addresses of int64[end]; from ``begin`` on they are written here
    """
    for k in range(keys):
        put(ends + 8 * k, 0)
    for at in range(begin, end):
        place = ends + 8 * get(code + 8 * get(order + 8 * at))
        put(place, get(place) + 1)
    behind = begin
    for k in range(keys):
        here = get(ends + 8 * k)
        put(ends + 8 * k, behind)
        behind += here
    for at in range(begin, end):
        row = get(order + 8 * at)
        place = ends + 8 * get(code + 8 * row)
        slot = get(place)
        put(place, slot + 1)
        put(rows + 8 * slot, row)
        put(kinds + 8 * slot, get(kind + 8 * row))
        put(positions + 8 * slot, at)
    return 0


@kernel
def lay(wanted, count, starts, order, kinds, kind, position, change, high, kept, out, prefix, upto):
    """Lay out the prefix sums of some groups' events of one kind, and the position up to which each
    one holds.

    Parameters
    ----------
    wanted : address of int64[count], numbers of groups
    starts : address of int64[groups + 1], where each group's events begin in what follows
    order, kinds, position : addresses of int64 a group's event each: its row, its kind, its
        position along the track
    kind : the kind that is wanted; -1 for all
    change : address of int64 a row, what the event adds to the sum
    high : address of int64[groups], where the group's track ends
    kept : address of int64[count], written here: the groups that have such events
    out : address of int64[count + 1], written here: where the prefix sums of these begin
    prefix, upto : addresses of int64, one more a wanted group than it has events, written here:
        each sum, and the last position of an edge before which just these events stand

    Returns
    -------
    How many groups are kept.
    """
    groups, n = 0, 0
    put(out, 0)
    for w in range(count):
        g = get(wanted + 8 * w)
        first, total = n, 0
        put(prefix + 8 * n, 0)
        for u in range(get(starts + 8 * g), get(starts + 8 * g + 8)):
            if kind < 0 or get(kinds + 8 * u) == kind:
                total += get(change + 8 * get(order + 8 * u))
                put(upto + 8 * n, get(position + 8 * u))
                n += 1
                put(prefix + 8 * n, total)
        put(upto + 8 * n, get(high + 8 * g))
        if n > first:
            put(kept + 8 * groups, g)
            groups += 1
            n += 1
            put(out + 8 * groups, n)
    return groups


@part
def _inserted(values, places, count):
    for i in range(1, count):
        value, j = get(values + 8 * i), i
        while j > 0 and get(values + 8 * j - 8) > value:
            put(values + 8 * j, get(values + 8 * j - 8))
            put(places + 8 * j, get(places + 8 * j - 8))
            j -= 1
        put(values + 8 * j, value)
        put(places + 8 * j, i)


@part
def _by_digit(values, places, count, low, shift, to, to_places, digits):
    """Move numbers, stably, to where they stand by 8 of the bits of what they are above ``low``."""
    for digit in range(256):
        put(digits + 8 * digit, 0)
    for i in range(count):
        at = digits + 8 * np.int64(((word(values + 8 * i) - low) >> shift) & np.uint64(255))
        put(at, get(at) + 1)
    behind = 0
    for digit in range(256):
        here = get(digits + 8 * digit)
        put(digits + 8 * digit, behind)
        behind += here
    for i in range(count):
        at = digits + 8 * np.int64(((word(values + 8 * i) - low) >> shift) & np.uint64(255))
        slot = get(at)
        put(at, slot + 1)
        put(to + 8 * slot, get(values + 8 * i))
        put(to_places + 8 * slot, get(places + 8 * i))


@kernel
def rank(groups, starts, prefix, order, spare, spare_order, digits):
    """Sort each group's numbers where they stand, stably: by digits, as many as the group's numbers
    differ in.

    Parameters
    ----------
    starts : address of int64[groups + 1], where each group begins
    prefix : address of int64[starts[groups]], sorted here group by group
    order : address of as many int64, written here: where within its group each stood
    spare, spare_order : addresses of room for the longest group, int64 each
    digits : address of room for int64[256]
    """
    for g in range(groups):
        begin = get(starts + 8 * g)
        count = get(starts + 8 * g + 8) - begin
        values, places = prefix + 8 * begin, order + 8 * begin
        for i in range(count):
            put(places + 8 * i, i)
        if count <= FEW:
            _inserted(values, places, count)
            continue
        least = most = get(values)
        for i in range(1, count):
            least, most = min(least, get(values + 8 * i)), max(most, get(values + 8 * i))
        low, span = np.uint64(least), np.uint64(most) - np.uint64(least)
        passes = 0
        while passes < 8 and span >> np.uint64(8 * passes) != np.uint64(0):
            if passes & 1:
                _by_digit(
                    spare, spare_order, count, low, np.uint64(8 * passes), values, places, digits
                )
            else:
                _by_digit(
                    values, places, count, low, np.uint64(8 * passes), spare, spare_order, digits
                )
            passes += 1
        if passes & 1:
            copy(values, spare, 8 * count)
            copy(places, spare_order, 8 * count)
    return 0


@kernel
def pairs(
    group,
    groups,
    starts,
    prefix,
    index,
    owned,
    targets,
    slack,
    most,
    room,
    counts,
    found_i,
    found_j,
):
    """Of some groups, the pairs (i, j) of prefix sums, i before j, that lie one of the group's
    targets apart.

    Parameters
    ----------
    group, groups : the first group, and how many groups there are in all
    starts : address of int64[groups + 1], where each group's prefix sums begin
    prefix, index : addresses of int64[starts[groups]], as `rank` leaves them
    owned : address of int64[groups + 1], where each group's targets begin
    targets : address of int64[owned[groups]]
    slack : by how much a pair may miss a target
    most : a group with more pairs gives none
    room : of ``found_i`` and ``found_j``, at least ``most``
    counts : address of int64[groups], written here: how many pairs the group gave
    found_i, found_j : addresses of int64[room], written here

    Returns
    -------
    The first group for which there may be no room left.
    """
    n = 0
    while group < groups and n + most <= room:
        begin, end = get(starts + 8 * group), get(starts + 8 * group + 8)
        first, enough = n, False
        for t in range(get(owned + 8 * group), get(owned + 8 * group + 8)):
            target = get(targets + 8 * t) - slack
            v, last = begin, np.int64(0)
            for u in range(begin, end):
                low = get(prefix + 8 * u) + target
                if u > begin and low < last:  # the sum passed 2**63 and came round
                    v = begin
                last = low
                while v < end and get(prefix + 8 * v) < low:
                    v += 1
                w = v
                while (
                    w < end
                    and get(prefix + 8 * w) - low <= 2 * slack
                    and get(prefix + 8 * w) >= low
                ):
                    if get(index + 8 * w) > get(index + 8 * u):
                        if n - first == most:
                            enough = True
                            break
                        put(found_i + 8 * n, get(index + 8 * u))
                        put(found_j + 8 * n, get(index + 8 * w))
                        n += 1
                    w += 1
                if enough:
                    break
            if enough:
                break
        if enough:
            n = first
        put(counts + 8 * group, n - first)
        group += 1
    return group


@kernel
def tails(group, groups, starts, prefix, index, owned, targets, slack, most, room, counts, found_i):
    """As `pairs`, but only those of which j is the last of its group.

    ``found_i`` alone is written.
    """
    n = 0
    while group < groups and n + most <= room:
        begin, end = get(starts + 8 * group), get(starts + 8 * group + 8)
        first, total = n, np.int64(0)
        for u in range(begin, end):
            if get(index + 8 * u) == end - begin - 1:
                total = get(prefix + 8 * u)
        for t in range(get(owned + 8 * group), get(owned + 8 * group + 8)):
            low = total - get(targets + 8 * t) - slack
            u, behind = begin, end
            while u < behind:
                middle = (u + behind) // 2
                if get(prefix + 8 * middle) < low:
                    u = middle + 1
                else:
                    behind = middle
            while u < end and get(prefix + 8 * u) - low <= 2 * slack and n - first <= most:
                if get(index + 8 * u) < end - begin - 1:
                    if n - first < most:
                        put(found_i + 8 * n, get(index + 8 * u))
                    n += 1
                u += 1
        if n - first > most:
            n = first
        put(counts + 8 * group, n - first)
        group += 1
    return group


KERNELS = (group, lay, rank, pairs, tails)
