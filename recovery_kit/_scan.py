"""The compiled scan: plain JSON messages to typed columns, in bulk, without the interpreter.

It takes the messages that it understands entirely and leaves every other one, by its status, to the exact reader
(`recovery_kit._exact`), which is the law: for a message that the scan takes, both give the same row, and a
differential test holds them to it. So the scan may be as narrow as it likes, never wider than the exact reader.

Compiled by numba at first use (some seconds) and kept in its cache on disk.
"""

from __future__ import annotations

import numpy as np

from recovery_kit._jit import jit

TAKEN, EXACT, TOMBSTONE = 0, 1, 2
"""What the scan says of a message: taken; for the exact reader; its value is null."""

MAX_DEPTH = 64
ID, TYPE, VALUE, KEY, TIME = range(5)

_LIMIT18 = 10**18
_DAY = 86_400_000
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999, as ms
_QUOTE, _BACKSLASH, _MINUS, _PLUS, _DOT, _COLON, _COMMA = 34, 92, 45, 43, 46, 58, 44
_OPEN, _CLOSE, _OPEN_ARRAY, _CLOSE_ARRAY = 123, 125, 91, 93


@jit
def _blank(buf, p, end):
    while p < end and (buf[p] == 32 or buf[p] == 10 or buf[p] == 13 or buf[p] == 9):
        p += 1
    return p


@jit
def _hex4(buf, p, end):
    if p + 4 > end:
        return False
    for q in range(p, p + 4):
        c = buf[q]
        if not (48 <= c <= 57 or 65 <= c <= 70 or 97 <= c <= 102):
            return False
    return True


@jit
def _string(buf, p, end):
    """From behind the opening quote to the closing one: (its position or -1, has an escape, has a high byte)."""
    escaped = False
    high = False
    while p < end:
        c = buf[p]
        if c == _QUOTE:
            return p, escaped, high
        if c == _BACKSLASH:
            escaped = True
            p += 1
            if p >= end:
                break
            c = buf[p]
            if c == 117:
                if not _hex4(buf, p + 1, end):
                    break
                p += 4
            elif not (c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114 or c == 116):
                break
        elif c < 32:
            break
        elif c >= 128:
            high = True
        p += 1
    return np.int64(-1), escaped, high


@jit
def _digits(buf, p, end):
    while p < end and 48 <= buf[p] <= 57:
        p += 1
    return p


@jit
def _number(buf, p, end):
    """From the first character of a JSON number to behind it: (that position or -1, is a whole number)."""
    whole = True
    if buf[p] == _MINUS:
        p += 1
    q = _digits(buf, p, end)
    if q == p or (buf[p] == 48 and q > p + 1):
        return np.int64(-1), whole
    p = q
    if p < end and buf[p] == _DOT:
        whole = False
        q = _digits(buf, p + 1, end)
        if q == p + 1:
            return np.int64(-1), whole
        p = q
    if p < end and (buf[p] == 101 or buf[p] == 69):
        whole = False
        p += 1
        if p < end and (buf[p] == _PLUS or buf[p] == _MINUS):
            p += 1
        q = _digits(buf, p, end)
        if q == p:
            return np.int64(-1), whole
        p = q
    return p, whole


@jit
def _literal(buf, p, end):
    """Length of true, false or null at p; 0 when it is none of them."""
    c = buf[p]
    if c == 116 and p + 4 <= end and buf[p + 1] == 114 and buf[p + 2] == 117 and buf[p + 3] == 101:
        return 4
    if c == 110 and p + 4 <= end and buf[p + 1] == 117 and buf[p + 2] == 108 and buf[p + 3] == 108:
        return 4
    if c == 102 and p + 5 <= end and buf[p + 1] == 97 and buf[p + 2] == 108 and buf[p + 3] == 115 and buf[p + 4] == 101:
        return 5
    return 0


@jit
def valid_utf8(buf, p, end):
    """Whether the bytes are well-formed UTF-8 (Unicode 15, table 3-7)."""
    while p < end:
        c = buf[p]
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
        if not low <= buf[p + 1] <= high:
            return False
        for q in range(p + 2, p + more + 1):
            if not 0x80 <= buf[q] <= 0xBF:
                return False
        p += more + 1
    return True


@jit
def _same(buf, at, length, other, other_at, other_length):
    if length != other_length:
        return False
    for k in range(length):  # noqa: SIM110  (numba knows no generators)
        if buf[at + k] != other[other_at + k]:
            return False
    return True


@jit
def _edge(buf, at, length, node, plan):
    """Which wanted edge leads from this node of the schema's paths by this name; -1 for none."""
    names, edges = plan
    for e in range(edges.shape[0]):
        if edges[e, 0] == node and _same(buf, at, length, names, edges[e, 1], edges[e, 2]):
            return e
    return -1


@jit
def _fields(buf, p, end, plan, stack, found):
    """Take one message apart; note where the wanted fields stand. True when it is plain, whole and unambiguous.

    ``found[role]`` becomes (position, length, kind), kind 1 a string, 2 a whole number, 3 another number.
    """
    edges = plan[1]
    found[:, 2] = 0
    seen = 0
    high = False
    start = p
    p = _blank(buf, p, end)
    if p >= end or buf[p] != _OPEN:
        return False
    depth = 0
    stack[0] = 0  # the node of the schema's paths that an object stands for; -1 of no interest, -2 an array
    p += 1
    fresh = True  # just behind an opening bracket
    while depth >= 0:
        p = _blank(buf, p, end)
        if p >= end:
            return False
        node = stack[depth]
        c = buf[p]
        if fresh and c == (_CLOSE_ARRAY if node == -2 else _CLOSE):
            depth -= 1
            p += 1
        else:
            edge = -1
            if node != -2:
                if c != _QUOTE:
                    return False
                at = p + 1
                p, escaped, wide = _string(buf, at, end)
                if p < 0:
                    return False
                high |= wide
                if node >= 0:
                    if escaped:
                        return False
                    edge = _edge(buf, at, p - at, node, plan)
                    if edge >= 0:
                        if seen & (1 << edge):
                            return False
                        seen |= 1 << edge
                p = _blank(buf, p + 1, end)
                if p >= end or buf[p] != _COLON:
                    return False
                p = _blank(buf, p + 1, end)
                if p >= end:
                    return False
                c = buf[p]
            role = edges[edge, 4] if edge >= 0 else -1
            if c in (_OPEN, _OPEN_ARRAY):
                if role >= 0 or depth + 1 >= MAX_DEPTH:
                    return False
                depth += 1
                stack[depth] = -2 if c == _OPEN_ARRAY else (edges[edge, 3] if edge >= 0 else -1)
                p += 1
                fresh = True
                continue
            at = p
            kind = 0
            if c == _QUOTE:
                at = p + 1
                p, escaped, wide = _string(buf, at, end)
                if p < 0 or (escaped and role >= 0):
                    return False
                high |= wide
                kind = 1
                length = p - at
                p += 1
            elif c == _MINUS or 48 <= c <= 57:
                p, whole = _number(buf, p, end)
                if p < 0:
                    return False
                kind = 2 if whole else 3
                length = p - at
            else:
                length = _literal(buf, p, end)
                if length == 0 or role >= 0:
                    return False
                p += length
            if role >= 0:
                found[role, 0] = at
                found[role, 1] = length
                found[role, 2] = kind
        # Behind a value: a comma and another one, or the closing brackets.
        fresh = False
        while depth >= 0:
            p = _blank(buf, p, end)
            if p >= end:
                return False
            c = buf[p]
            if c == _COMMA:
                p += 1
                break
            if c != (_CLOSE_ARRAY if stack[depth] == -2 else _CLOSE):
                return False
            p += 1
            depth -= 1
    if _blank(buf, p, end) != end:
        return False
    return not high or valid_utf8(buf, start, end)


@jit
def _amount(buf, p, length, decimals):
    """Plain digits, at most 18 with the schema's decimals, as a whole number of 10**-decimals: (amount, is plain)."""
    end = p + length
    negative = False
    if length > 0 and (buf[p] == _MINUS or buf[p] == _PLUS):
        negative = buf[p] == _MINUS
        p += 1
    amount = np.int64(0)
    places = -1
    count = 0
    if p >= end or length > 40 or not 48 <= buf[p] <= 57 or not 48 <= buf[end - 1] <= 57:
        return amount, False
    while p < end:
        c = buf[p]
        if 48 <= c <= 57:
            if places >= 0:
                places += 1
            if places > decimals:
                if c != 48:
                    return amount, False
            else:
                amount = amount * 10 + (c - 48)
                if amount != 0:
                    count += 1
                if count > 18:
                    return amount, False
        elif c == _DOT and places < 0:
            places = 0
        else:
            return amount, False
        p += 1
    for _ in range(max(places, 0), decimals):
        amount *= 10
        if amount != 0:
            count += 1
        if count > 18:
            return amount, False
    return -amount if negative else amount, True


@jit
def _two(buf, p):
    a, b = buf[p], buf[p + 1]
    if 48 <= a <= 57 and 48 <= b <= 57:
        return np.int64((a - 48) * 10 + (b - 48))
    return np.int64(-1_000_000)


@jit
def _iso(buf, p, length):
    """YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM) as epoch ms, the fraction cut: (time, is plain)."""
    bad = np.int64(0), False
    if length < 20:
        return bad
    end = p + length
    if buf[p + 4] != 45 or buf[p + 7] != 45 or buf[p + 10] != 84 or buf[p + 13] != 58 or buf[p + 16] != 58:
        return bad
    year = _two(buf, p) * 100 + _two(buf, p + 2)
    month, day = _two(buf, p + 5), _two(buf, p + 8)
    hour, minute, second = _two(buf, p + 11), _two(buf, p + 14), _two(buf, p + 17)
    if (
        year < 1
        or not 1 <= month <= 12
        or day < 1
        or not 0 <= hour < 24
        or not 0 <= minute < 60
        or not 0 <= second < 60
    ):
        return bad
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 30 + (month + month // 8) % 2 if month != 2 else (29 if leap else 28)
    if day > longest:
        return bad
    # Days from civil: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    ms = days * _DAY + hour * 3_600_000 + minute * 60_000 + second * 1_000
    p += 19
    if buf[p] == _DOT:
        q = _digits(buf, p + 1, end)
        if q == p + 1:
            return bad
        scale = 100
        for k in range(p + 1, min(q, p + 4)):
            ms += (buf[k] - 48) * scale
            scale //= 10
        p = q
    if p + 1 == end and buf[p] == 90:
        return ms, True
    if p + 6 != end or buf[p + 3] != _COLON or not (buf[p] == _PLUS or buf[p] == _MINUS):
        return bad
    hours, minutes = _two(buf, p + 1), _two(buf, p + 4)
    if not 0 <= hours < 24 or not 0 <= minutes < 60:
        return bad
    shift = hours * 3_600_000 + minutes * 60_000
    ms = ms - shift if buf[p] == _PLUS else ms + shift
    return ms, _EARLIEST <= ms <= _LATEST


@jit
def _epoch(buf, p, length, unit):
    """A whole epoch number as ms; ``unit`` as in schema.TIME_UNITS: (time, is plain)."""
    if length > 17:
        return np.int64(0), False
    number, plain = _amount(buf, p, length, 0)
    ms = number * unit if unit > 0 else number // -unit
    return ms, plain and _EARLIEST <= ms <= _LATEST


@jit
def _is_text(buf, found, role):
    """Whether a field was found, as a string that is not empty or as a whole number that is written one way only."""
    at, length, kind = found[role, 0], found[role, 1], found[role, 2]
    return (kind == 1 and length > 0) or (kind == 2 and not (length == 2 and buf[at] == _MINUS and buf[at + 1] == 48))


@jit
def scan(buf, value_at, value_len, key_at, key_len, time, plan, types, settings, out):
    """Read n messages.

    Parameters
    ----------
    buf : uint8[:]
        Holds the messages.
    value_at, value_len, key_at, key_len, time : int64[n]
        Where message and message key stand (length -1: null) and the record's timestamp (ms; -1: none).
    plan : (uint8[:], int64[e, 5])
        Names of the wanted fields, and the edges of their paths: parent node, name's position and length, child
        node or -1, role or -1.
    types : (uint8[:], int64[t, 3])
        Names of the types, and for each: position, length, factor.
    settings : (decimals, epoch unit, key comes from the message, has no time field)
    out : (status int8[n], ids int64[n, 2], codes int32[n], amounts int64[n, 2], effects int64[n, 2], keys int64[n, 2],
        times int64[n])
        Written here. Ids and keys are (position, length); a length of -1 is no key. Amounts and effects are the
        two little-endian words of a decimal128.
    """
    status, ids, codes, amounts, effects, keys, times = out
    decimals, unit, message_key, record_time = settings
    type_names, type_rows = types
    found = np.zeros((5, 3), np.int64)
    stack = np.zeros(MAX_DEPTH, np.int64)
    for i in range(value_at.shape[0]):
        status[i] = EXACT
        if value_len[i] < 0:
            status[i] = TOMBSTONE
            continue
        at = value_at[i]
        if not _fields(buf, at, at + value_len[i], plan, stack, found):
            continue
        if not _is_text(buf, found, ID) or not _is_text(buf, found, TYPE) or found[VALUE, 2] == 0:
            continue
        code = -1
        for t in range(type_rows.shape[0]):
            if _same(buf, found[TYPE, 0], found[TYPE, 1], type_names, type_rows[t, 0], type_rows[t, 1]):
                code = t
                break
        if code < 0:
            continue
        amount, plain = _amount(buf, found[VALUE, 0], found[VALUE, 1], decimals)
        factor = type_rows[code, 2]
        if not plain or (factor != 0 and abs(amount) > _LIMIT18 // abs(factor)):
            continue
        if message_key:
            keys[i, 0], keys[i, 1] = key_at[i], key_len[i]
            if key_len[i] == 0 or (key_len[i] > 0 and not valid_utf8(buf, key_at[i], key_at[i] + key_len[i])):
                continue
        else:
            if not _is_text(buf, found, KEY):
                continue
            keys[i, 0], keys[i, 1] = found[KEY, 0], found[KEY, 1]
        if record_time:
            ms = time[i]
            if not 0 <= ms <= _LATEST:
                continue
        else:
            plain = False
            ms = np.int64(0)
            if found[TIME, 2] == 1:
                ms, plain = _iso(buf, found[TIME, 0], found[TIME, 1])
            elif found[TIME, 2] == 2:
                ms, plain = _epoch(buf, found[TIME, 0], found[TIME, 1], unit)
            if not plain:
                continue
        ids[i, 0], ids[i, 1] = found[ID, 0], found[ID, 1]
        codes[i] = code
        amounts[i, 0], amounts[i, 1] = amount, amount >> 63
        effect = amount * factor
        effects[i, 0], effects[i, 1] = effect, effect >> 63
        times[i] = ms
        status[i] = TAKEN


@jit
def gather(buf, extra, places, rows, offsets, data):
    """Copy the texts of some rows behind one another.

    ``places`` are (position, length); a position at or behind the end of ``buf`` points into ``extra``. Fills
    ``offsets`` (one more than rows); copies only when ``data`` has room, so that a first call can measure.
    """
    room = data.shape[0]
    size = buf.shape[0]
    total = np.int64(0)
    for k in range(rows.shape[0]):
        offsets[k] = total
        at, length = places[rows[k], 0], places[rows[k], 1]
        if room > 0:
            if at >= size:
                for q in range(length):
                    data[total + q] = extra[at - size + q]
            else:
                for q in range(length):
                    data[total + q] = buf[at + q]
        total += length
    offsets[rows.shape[0]] = total
    return total
