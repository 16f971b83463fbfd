"""JSON messages taken apart: where the wanted fields stand, and that all the rest is whole JSON.

Every load of a message's bytes stands behind a comparison with the message's end. Strings are
looked through eight bytes at a time: a byte of a word that is zero, or below a bound, shows in its
top bit (Bit Twiddling Hacks, S. Anderson).
"""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels import layout
from recovery_kit.kernels._memory import byte, cell, get, part, put, same, word, zeros_below

_QUOTE, _BACKSLASH, _MINUS, _PLUS, _DOT, _COLON, _COMMA = 34, 92, 45, 43, 46, 58, 44
_OPEN, _CLOSE, _OPEN_ARRAY, _CLOSE_ARRAY = 123, 125, 91, 93

_ONES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES, _BLANKS = _ONES * np.uint64(34), _ONES * np.uint64(92), _ONES * np.uint64(32)


@part
def _blank(p, end):
    while p < end:
        c = byte(p)
        if c > 32 or not (c == 32 or c == 10 or c == 13 or c == 9):
            break
        p += 1
    return p


@part
def _hex4(p, end):
    if p + 4 > end:
        return False
    for q in range(p, p + 4):
        c = byte(q)
        if not (48 <= c <= 57 or 65 <= c <= 70 or 97 <= c <= 102):
            return False
    return True


@part
def _plain_run(p, end):
    """Past the bytes, eight at a time, that neither end a string nor stand in it for anything but
    themselves.
    """
    while p + 8 <= end:
        w = word(p)
        quotes, backslashes = w ^ _QUOTES, w ^ _BACKSLASHES
        # The lowest byte that is marked is one: a borrow can only mark bytes above one that is.
        marked = (
            (quotes - _ONES) & ~quotes
            | (backslashes - _ONES) & ~backslashes
            | (w - _BLANKS) & ~w
            | w
        ) & _TOPS
        if marked != np.uint64(0):
            return p + (zeros_below(marked) >> 3)
        p += 8
    return p


@part
def _string(p, end):
    """From behind the opening quote to the closing one: (its address or -1, has an escape, has a
    high byte).
    """
    escaped = False
    high = False
    while True:
        p = _plain_run(p, end)
        if p >= end:
            break
        c = byte(p)
        if c == _QUOTE:
            return p, escaped, high
        if c == _BACKSLASH:
            escaped = True
            p += 1
            if p >= end:
                break
            c = byte(p)
            if c == 117:
                if not _hex4(p + 1, end):
                    break
                p += 4
            elif not (
                c == 34
                or c == 92
                or c == 47
                or c == 98
                or c == 102
                or c == 110
                or c == 114
                or c == 116
            ):
                break
        elif c < 32:
            break
        elif c >= 128:
            high = True
        p += 1
    return np.int64(-1), escaped, high


@part
def digits(p, end):
    """Past the digits."""
    while p < end and 48 <= byte(p) <= 57:
        p += 1
    return p


@part
def _number(p, end):
    """From the first character of a JSON number to behind it: (that address or -1, is a whole
    number).
    """
    whole = True
    if byte(p) == _MINUS:
        p += 1
    q = digits(p, end)
    if q == p or (byte(p) == 48 and q > p + 1):
        return np.int64(-1), whole
    p = q
    if p < end and byte(p) == _DOT:
        whole = False
        q = digits(p + 1, end)
        if q == p + 1:
            return np.int64(-1), whole
        p = q
    if p < end and (byte(p) == 101 or byte(p) == 69):
        whole = False
        p += 1
        if p < end and (byte(p) == _PLUS or byte(p) == _MINUS):
            p += 1
        q = digits(p, end)
        if q == p:
            return np.int64(-1), whole
        p = q
    return p, whole


@part
def _literal(p, end):
    """Length of true, false or null at p; 0 when it is none of them."""
    c = byte(p)
    if (
        c == 116
        and p + 4 <= end
        and byte(p + 1) == 114
        and byte(p + 2) == 117
        and byte(p + 3) == 101
    ):
        return 4
    if (
        c == 110
        and p + 4 <= end
        and byte(p + 1) == 117
        and byte(p + 2) == 108
        and byte(p + 3) == 108
    ):
        return 4
    if (
        c == 102 and p + 5 <= end and byte(p + 1) == 97 and byte(p + 2) == 108
        and byte(p + 3) == 115 and byte(p + 4) == 101
    ):  # fmt: skip
        return 5
    return 0


@part
def is_utf8(p, end):
    """Whether the bytes are well-formed UTF-8 (Unicode 15, table 3-7)."""
    while p < end:
        if p + 8 <= end and word(p) & _TOPS == np.uint64(0):
            p += 8
            continue
        c = byte(p)
        if c < 0x80:
            p += 1
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= c <= 0xDF:
            more = 1
        elif 0xE0 <= c <= 0xEF:
            more = 2
            if c == 0xE0:
                low = 0xA0
            elif c == 0xED:
                high = 0x9F
        elif 0xF0 <= c <= 0xF4:
            more = 3
            if c == 0xF0:
                low = 0x90
            elif c == 0xF4:
                high = 0x8F
        else:
            return False
        if p + more >= end:
            return False
        if not low <= byte(p + 1) <= high:
            return False
        for q in range(p + 2, p + more + 1):
            if not 0x80 <= byte(q) <= 0xBF:
                return False
        p += more + 1
    return True


@part
def _edge(at, length, node, state, guess):
    """Which wanted edge leads from this node of the schema's paths by this name; -1 for none.

    Looks at ``guess`` first.
    """
    names, edges, count = (
        cell(state, layout.NAMES),
        cell(state, layout.EDGES),
        cell(state, layout.EDGE_COUNT),
    )
    e = guess
    for _ in range(count):
        if e >= count:
            e = 0
        of = edges + 40 * e
        if get(of + 16) == length and get(of) == node and same(at, names + get(of + 8), length):
            return e
        e += 1
    return -1


@part
def fields(p, end, state):
    """Take one message apart; note where the wanted fields stand.

    True when it is plain, whole and unambiguous.

    FOUND[role] becomes (address, length, kind), kind 1 a string, 2 a whole number, 3 another
    number.
    """
    edges, found, stack = (
        cell(state, layout.EDGES),
        cell(state, layout.FOUND),
        cell(state, layout.STACK),
    )
    for role in range(5):
        put(found + 24 * role + 16, 0)
    seen = 0
    guess = 0
    high = False
    start = p
    p = _blank(p, end)
    if p >= end or byte(p) != _OPEN:
        return False
    depth = 0
    node = np.int64(
        0
    )  # the node of the schema's paths that an object stands for; -1 of no interest, -2 an array
    p += 1
    fresh = True  # just behind an opening bracket
    while depth >= 0:
        p = _blank(p, end)
        if p >= end:
            return False
        c = byte(p)
        if fresh and c == (_CLOSE_ARRAY if node == -2 else _CLOSE):
            depth -= 1
            p += 1
            node = get(stack + 8 * depth) if depth >= 0 else np.int64(-1)
        else:
            edge = -1
            if node != -2:
                if c != _QUOTE:
                    return False
                at = p + 1
                p, escaped, wide = _string(at, end)
                if p < 0:
                    return False
                high |= wide
                if node >= 0:
                    if escaped:
                        return False
                    edge = _edge(at, p - at, node, state, guess)
                    if edge >= 0:
                        # Of a schema with more than 64 edges two share a bit: such a message is the
                        # exact reader's.
                        bit = 1 << (edge & 63)
                        if seen & bit:
                            return False
                        seen |= bit
                        guess = edge + 1
                p = _blank(p + 1, end)
                if p >= end or byte(p) != _COLON:
                    return False
                p = _blank(p + 1, end)
                if p >= end:
                    return False
                c = byte(p)
            role = get(edges + 40 * edge + 32) if edge >= 0 else np.int64(-1)
            if c in (_OPEN, _OPEN_ARRAY):
                if role >= 0 or depth + 1 >= layout.MAX_DEPTH:
                    return False
                put(stack + 8 * depth, node)
                depth += 1
                if c == _OPEN_ARRAY:
                    node = np.int64(-2)
                elif edge >= 0:
                    node = get(edges + 40 * edge + 24)
                else:
                    node = np.int64(-1)
                p += 1
                fresh = True
                continue
            at = p
            kind = 0
            if c == _QUOTE:
                at = p + 1
                p, escaped, wide = _string(at, end)
                if p < 0 or (escaped and role >= 0):
                    return False
                high |= wide
                kind = 1
                length = p - at
                p += 1
            elif c == _MINUS or 48 <= c <= 57:
                p, whole = _number(p, end)
                if p < 0:
                    return False
                kind = 2 if whole else 3
                length = p - at
            else:
                length = _literal(p, end)
                if length == 0 or role >= 0:
                    return False
                p += length
            if role >= 0:
                put(found + 24 * role, at)
                put(found + 24 * role + 8, length)
                put(found + 24 * role + 16, kind)
        # Behind a value: a comma and another one, or the closing brackets.
        fresh = False
        while depth >= 0:
            p = _blank(p, end)
            if p >= end:
                return False
            c = byte(p)
            if c == _COMMA:
                p += 1
                break
            if c != (_CLOSE_ARRAY if node == -2 else _CLOSE):
                return False
            p += 1
            depth -= 1
            node = get(stack + 8 * depth) if depth >= 0 else np.int64(-1)
    if _blank(p, end) != end:
        return False
    return not high or is_utf8(start, end)
