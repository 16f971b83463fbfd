"""The compiled part of the search for windows: over millions of events, in integers, without the interpreter.

Amounts are whole numbers of the smallest unit, modulo 2**64: equality then still means equality (a chance of 2**-64
apart), also where sums of amounts with many decimals pass 64 bits. Compiled by numba at first use, and kept on disk.
"""

from __future__ import annotations

import numpy as np

from recovery_kit._jit import jit


@jit
def sort_each(starts, values):
    """Sort each group's values, in place; returns where within its group each stood."""
    order = np.empty(len(values), np.int64)
    for g in range(len(starts) - 1):
        begin, end = starts[g], starts[g + 1]
        own = np.argsort(values[begin:end])
        order[begin:end] = own
        values[begin:end] = values[begin:end][own]
    return order


@jit
def pairs(starts, prefix, index, owned, targets, slack, most):
    """Per key, the pairs (i, j) of its prefix sums, i before j, that lie one of its targets apart, give or take `slack`.

    `prefix` is sorted within each key (`starts` tells where a key begins), `index` says where each stood before the
    sort; `owned` tells where a key's `targets` begin. A key with more than `most` pairs says nothing of where the window
    is, and gives none.
    """
    keys = len(starts) - 1
    counts = np.zeros(keys + 1, np.int64)
    found_i = np.empty(0, np.int64)
    found_j = np.empty(0, np.int64)
    for fill in range(2):
        if fill:
            for g in range(keys):
                counts[g + 1] += counts[g]
            found_i = np.empty(counts[keys], np.int64)
            found_j = np.empty(counts[keys], np.int64)
        for g in range(keys):
            begin, end = starts[g], starts[g + 1]
            if fill and counts[g + 1] == counts[g]:
                continue
            n, at = 0, counts[g]
            for t in range(owned[g], owned[g + 1]):
                v, before = begin, np.int64(0)
                for u in range(begin, end):
                    low = prefix[u] + targets[t] - slack
                    if u > begin and low < before:  # the sum passed 2**63 and came round
                        v = begin
                    before = low
                    while v < end and prefix[v] < low:
                        v += 1
                    w = v
                    while w < end and prefix[w] - low <= 2 * slack and prefix[w] >= low:
                        if index[w] > index[u]:
                            if fill:
                                found_i[at + n] = index[u]
                                found_j[at + n] = index[w]
                            n += 1
                            if n > most:
                                break
                        w += 1
                    if n > most:
                        break
                if n > most:
                    break
            if not fill:
                counts[g + 1] = n if n <= most else 0
    return counts, found_i, found_j


@jit
def tails(starts, prefix, index, owned, targets, slack, most):
    """As `pairs`, but only those of which j is the last: windows up to the end."""
    keys = len(starts) - 1
    counts = np.zeros(keys + 1, np.int64)
    found = np.empty(0, np.int64)
    for fill in range(2):
        if fill:
            for g in range(keys):
                counts[g + 1] += counts[g]
            found = np.empty(counts[keys], np.int64)
        for g in range(keys):
            begin, end = starts[g], starts[g + 1]
            if fill and counts[g + 1] == counts[g]:
                continue
            total = np.int64(0)
            for u in range(begin, end):
                if index[u] == end - begin - 1:
                    total = prefix[u]
            n, at = 0, counts[g]
            for t in range(owned[g], owned[g + 1]):
                low = total - targets[t] - slack
                u = begin + np.searchsorted(prefix[begin:end], low)
                while u < end and prefix[u] - low <= 2 * slack and n <= most:
                    if index[u] < end - begin - 1:
                        if fill:
                            found[at + n] = index[u]
                        n += 1
                    u += 1
            if not fill:
                counts[g + 1] = n if n <= most else 0
    return counts, found


@jit
def cover(s0, s1, e0, e1, weight):
    """Sweep rectangles [s0, s1] x [e0, e1] by s: at each s where one begins, the e under the most weight.

    Returns s, e and weight, a row a distinct s0. O(R log R) of R rectangles, by a tree of maxima over e.
    """
    edges = np.unique(np.concatenate((e0, e1 + 1)))
    size = 1
    while size < len(edges):
        size *= 2
    top = np.zeros(2 * size)
    add = np.zeros(2 * size)
    opens, closes = np.argsort(s0), np.argsort(s1)
    left, right = np.searchsorted(edges, e0), np.searchsorted(edges, e1 + 1)
    at_s = np.empty(len(s0), np.int64)
    at_e = np.empty(len(s0), np.int64)
    best = np.empty(len(s0))
    n, shut = 0, 0
    for o in range(len(s0)):
        s = s0[opens[o]]
        while shut < len(s0) and s1[closes[shut]] < s:
            r = closes[shut]
            _put(top, add, size, left[r], right[r], -weight[r])
            shut += 1
        r = opens[o]
        _put(top, add, size, left[r], right[r], weight[r])
        if o + 1 < len(s0) and s0[opens[o + 1]] == s:
            continue
        node = 1
        while node < size:
            node = 2 * node if top[2 * node] >= top[2 * node + 1] else 2 * node + 1
        at_s[n], at_e[n], best[n] = s, edges[min(node - size, len(edges) - 1)], top[1]
        n += 1
    return at_s[:n], at_e[:n], best[:n]


@jit
def _put(top, add, size, left, right, weight):
    a, b = left + size, right + size
    first, last = a, b - 1
    while a < b:
        if a & 1:
            top[a] += weight
            add[a] += weight
            a += 1
        if b & 1:
            b -= 1
            top[b] += weight
            add[b] += weight
        a //= 2
        b //= 2
    for leaf in (first, last):
        node = leaf // 2
        while node:
            top[node] = max(top[2 * node], top[2 * node + 1]) + add[node]
            node //= 2


@jit
def scan(order, edge, fixed, other, keep_from, key, change, left_over, slack, hard, weight, unit, low, high, near):
    """Move one edge of a window outwards, an event at a time, to where the fewest keys stay off.

    Parameters
    ----------
    order : int64[n]
        Events as the edge passes them.
    edge : int64[n]
        Where the edge must be, for each event of `order`, so that the event is inside.
    fixed, other, keep_from
        The other edge, each event's own place against it, and whether the event must lie at or after it (1) or not
        after it (-1).
    key, change : arrays
        Each event's key, and by how much the window would change its key's total.
    left_over : int64[keys]
        What is to be explained.
    hard : bool
        Whether keys count, put right less put wrong; else the size of what is left does, by its logarithm.
    weight, unit : float
        With `hard`, what a bit less of what is left counts against a key, in whole keys; its size is in this unit.
    low, high, near
        The edge may be from `low` to `high`; of equally good places the one nearest to `near` is taken.

    Returns
    -------
    int
        The edge.
    """
    state = left_over.copy()
    up = keep_from > 0
    best, best_edge, bits, right = -1e300, near, 0.0, 0
    n = len(order)
    at = np.int64(fixed)
    for step in range(n + 1):
        place = edge[order[step]] if step < n else (high if up else low)
        if step == n or place != at:
            gain = right + np.trunc(weight * bits) if hard else bits
            # The edge may rest anywhere from `at` to before `place`.
            if up:
                a, b = max(at, low), min(place - 1 if step < n else high, high)
            else:
                a, b = max(place + 1 if step < n else low, low), min(at, high)
            if a <= b:
                rest = min(max(near, a), b)
                if gain > best + 1e-9 or (gain > best - 1e-9 and abs(rest - near) < abs(best_edge - near)):
                    best, best_edge = gain, rest
            if step == n:
                break
            at = place
        i = order[step]
        if (other[i] - fixed) * keep_from >= 0:
            k = key[i]
            was = state[k]
            now = was - change[i]
            state[k] = now
            bits += np.log2((unit + abs(float(was))) / (unit + abs(float(now))))
            if -slack <= was <= slack:
                right -= not -slack <= now <= slack
            elif -slack <= now <= slack:
                right += 1
    return best_edge


@jit
def press(order, edge, fixed, other, keep_from, key, change, left, trend, low, high, near):
    """As `scan`, but to where the sum of squares of what is left is least, after any share of `trend` is taken out of it.

    `left` and `change` are floats, weighted by key; `trend` has orthonormal columns, a row a key.
    """
    state = left.copy()
    along = np.zeros(trend.shape[1])
    for k in range(len(state)):
        for t in range(len(along)):
            along[t] += trend[k, t] * state[k]
    up = keep_from > 0
    gain, best, best_edge = 0.0, -1e300, near
    n = len(order)
    at = np.int64(fixed)
    for step in range(n + 1):
        place = edge[order[step]] if step < n else (high if up else low)
        if step == n or place != at:
            if up:
                a, b = max(at, low), min(place - 1 if step < n else high, high)
            else:
                a, b = max(place + 1 if step < n else low, low), min(at, high)
            if a <= b and gain > best:
                best, best_edge = gain, min(max(near, a), b)
            if step == n:
                break
            at = place
        i = order[step]
        if (other[i] - fixed) * keep_from >= 0:
            k, y = key[i], change[i]
            straight, length = state[k], 1.0
            for t in range(len(along)):
                straight -= trend[k, t] * along[t]
                length -= trend[k, t] * trend[k, t]
            gain += 2 * y * straight - y * y * length
            state[k] -= y
            for t in range(len(along)):
                along[t] -= y * trend[k, t]
    return best_edge


@jit
def sums(first, last, begin, end, key, change, keys):
    """By how much a window changes each key's total."""
    total = np.zeros(keys, np.int64)
    for i in range(len(key)):
        if first[i] >= begin and last[i] <= end:
            total[key[i]] += change[i]
    return total
