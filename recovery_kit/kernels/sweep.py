"""Sweeps over windows: where rectangles meet, what a moving edge leaves of each key, what a window
adds to each key.
"""

from __future__ import annotations

from recovery_kit.kernels._memory import get, get_float, kernel, part, put, put_float


@part
def _raise(top, add, size, left, right, weight):
    """Add a weight to the leaves from ``left`` to before ``right``, and renew the maxima above
    them.
    """
    a, b = left + size, right + size
    first, last = a, b - 1
    while a < b:
        if a & 1:
            put_float(top + 8 * a, get_float(top + 8 * a) + weight)
            put_float(add + 8 * a, get_float(add + 8 * a) + weight)
            a += 1
        if b & 1:
            b -= 1
            put_float(top + 8 * b, get_float(top + 8 * b) + weight)
            put_float(add + 8 * b, get_float(add + 8 * b) + weight)
        a //= 2
        b //= 2
    for side in range(2):
        node = (last if side else first) // 2
        while node:
            highest = max(get_float(top + 16 * node), get_float(top + 16 * node + 8))
            put_float(top + 8 * node, highest + get_float(add + 8 * node))
            node //= 2


@kernel
def cover(count, opens, closes, s0, s1, left, right, weight, size, top, add, at_s, at_leaf, best):
    """Sweep rectangles by s: at each s where one begins, the leaf under the most weight.

    Parameters
    ----------
    opens, closes : addresses of int64[count], the rectangles by where they begin, and by where they
        end
    s0, s1 : addresses of int64[count], where each rectangle begins and ends
    left, right : addresses of int64[count], its first leaf, and the one after its last; both from 0
        to ``size``
    weight : address of float64[count]
    size : a power of two, the leaves of a tree of maxima
    top, add : addresses of float64[2 size], all 0, the tree's nodes
    at_s, at_leaf : addresses of int64[count], best : of float64[count]; written here, one a
        distinct s0

    Returns
    -------
    How many were written.
    """
    n, shut = 0, 0
    for o in range(count):
        r = get(opens + 8 * o)
        s = get(s0 + 8 * r)
        while shut < count and get(s1 + 8 * get(closes + 8 * shut)) < s:
            c = get(closes + 8 * shut)
            _raise(
                top, add, size, get(left + 8 * c), get(right + 8 * c), -get_float(weight + 8 * c)
            )
            shut += 1
        _raise(top, add, size, get(left + 8 * r), get(right + 8 * r), get_float(weight + 8 * r))
        if o + 1 < count and get(s0 + 8 * get(opens + 8 * o + 8)) == s:
            continue
        node = 1
        while node < size:
            node *= 2
            if get_float(top + 8 * node) < get_float(top + 8 * node + 8):
                node += 1
        put(at_s + 8 * n, s)
        put(at_leaf + 8 * n, node - size)
        put_float(best + 8 * n, get_float(top + 8))
        n += 1
    return n


@part
def _walk(count, order, key, change, state, was, load, store):
    for step in range(count):
        i = get(order + 8 * step)
        place = state + 8 * get(key + 8 * i)
        store(was + 8 * step, load(place))
        store(place, load(place) - load(change + 8 * i))


@kernel
def walk(count, order, key, change, state, was):
    """Take events from what is left of their keys, one after the other.

    Parameters
    ----------
    order : address of int64[count], the events
    key, change : addresses of int64 an event
    state : address of int64 a key, what is left of it; changed here
    was : address of int64[count], written here: what was left of the event's key before it
    """
    _walk(count, order, key, change, state, was, get, put)
    return 0


@kernel
def walk_floats(count, order, key, change, state, was):
    """As `walk`, where ``change``, ``state`` and ``was`` are float64."""
    _walk(count, order, key, change, state, was, get_float, put_float)
    return 0


@kernel
def sums(count, first, last, begin, end, key, change, total):
    """By how much a window changes each key's total.

    Parameters
    ----------
    first, last : addresses of int64[count]: an event counts from ``begin <= first`` to ``last <=
        end``
    key, change : addresses of int64[count]
    total : address of int64 a key, added to here
    """
    for i in range(count):
        if get(first + 8 * i) >= begin and get(last + 8 * i) <= end:
            place = total + 8 * get(key + 8 * i)
            put(place, get(place) + get(change + 8 * i))
    return 0


KERNELS = (cover, walk, walk_floats, sums)
