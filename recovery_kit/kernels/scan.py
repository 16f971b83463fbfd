"""The compiled scan: plain JSON messages to typed columns, in bulk, without the interpreter.

It takes the messages that it understands entirely and comes back for every other one, which then goes to the exact reader
(`recovery_kit._exact`), which is the law: for a message that the scan takes, both give the same row, and a differential
test holds them to it. So the scan may be as narrow as it likes, never wider than the exact reader.

Every load of a message's bytes stands behind a comparison with the message's end. Strings are looked through eight bytes
at a time: a byte of a word that is zero, or below a bound, shows in its top bit (Bit Twiddling Hacks, S. Anderson).
"""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels._memory import byte, copy, get, get_32, hashed, kernel, part, put, put_32, same, word, zeros_below
from recovery_kit.kernels.layout import (
    AMOUNTS, ANY, BUFFER, CODES, DECIMALS, DONE, EDGE_COUNT, EDGES, EFFECTS, EVENT_TIME, EXACT, FIRST_TIME, FOUND, ID,
    ID_STARTS, IDS, KEY, KEY_AT, KEY_COUNT, KEY_LEN, KEY_MASK, KEY_SLOTS, KEY_STARTS, KEY_TEXTS, KEYS, MAX_DEPTH,
    MESSAGE_KEY, N, NAMES, NEXT, NO_KEY, NO_KEY_LEN, OFFSET, OFFSETS, OUTSIDE, RECORD_TIME, ROWS, SEED, SINCE, STACK, TIME,
    TIMES, TOMBSTONE, TYPE, TYPE_COUNT, TYPE_NAMES, TYPES, UNIT, UNTIL, VALUE, VALUE_AT, VALUE_LEN,
)  # fmt: skip

_LIMIT18 = 10**18
_DAY = 86_400_000
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999, as ms
_QUOTE, _BACKSLASH, _MINUS, _PLUS, _DOT, _COLON, _COMMA = 34, 92, 45, 43, 46, 58, 44
_OPEN, _CLOSE, _OPEN_ARRAY, _CLOSE_ARRAY = 123, 125, 91, 93

_ONES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_SIXES, _THREES = _ONES * np.uint64(6), _ONES * np.uint64(0x33)
_LOW_HALVES, _HIGH_HALVES = _ONES * np.uint64(15), _ONES * np.uint64(0xF0)
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
    """Past the bytes, eight at a time, that neither end a string nor stand in it for anything but themselves."""
    while p + 8 <= end:
        w = word(p)
        quotes, backslashes = w ^ _QUOTES, w ^ _BACKSLASHES
        # The lowest byte that is marked is one: a borrow can only mark bytes above one that is.
        marked = ((quotes - _ONES) & ~quotes | (backslashes - _ONES) & ~backslashes | (w - _BLANKS) & ~w | w) & _TOPS
        if marked != np.uint64(0):
            return p + (zeros_below(marked) >> 3)
        p += 8
    return p


@part
def _string(p, end):
    """From behind the opening quote to the closing one: (its address or -1, has an escape, has a high byte)."""
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
            elif not (c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114 or c == 116):
                break
        elif c < 32:
            break
        elif c >= 128:
            high = True
        p += 1
    return np.int64(-1), escaped, high


@part
def _digits(p, end):
    while p < end and 48 <= byte(p) <= 57:
        p += 1
    return p


@part
def _number(p, end):
    """From the first character of a JSON number to behind it: (that address or -1, is a whole number)."""
    whole = True
    if byte(p) == _MINUS:
        p += 1
    q = _digits(p, end)
    if q == p or (byte(p) == 48 and q > p + 1):
        return np.int64(-1), whole
    p = q
    if p < end and byte(p) == _DOT:
        whole = False
        q = _digits(p + 1, end)
        if q == p + 1:
            return np.int64(-1), whole
        p = q
    if p < end and (byte(p) == 101 or byte(p) == 69):
        whole = False
        p += 1
        if p < end and (byte(p) == _PLUS or byte(p) == _MINUS):
            p += 1
        q = _digits(p, end)
        if q == p:
            return np.int64(-1), whole
        p = q
    return p, whole


@part
def _literal(p, end):
    """Length of true, false or null at p; 0 when it is none of them."""
    c = byte(p)
    if c == 116 and p + 4 <= end and byte(p + 1) == 114 and byte(p + 2) == 117 and byte(p + 3) == 101:
        return 4
    if c == 110 and p + 4 <= end and byte(p + 1) == 117 and byte(p + 2) == 108 and byte(p + 3) == 108:
        return 4
    if (
        c == 102 and p + 5 <= end and byte(p + 1) == 97 and byte(p + 2) == 108
        and byte(p + 3) == 115 and byte(p + 4) == 101
    ):  # fmt: skip
        return 5
    return 0


@part
def _is_utf8(p, end):
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
    """Which wanted edge leads from this node of the schema's paths by this name; -1 for none. Looks at ``guess`` first."""
    names, edges, count = get(state + 8 * NAMES), get(state + 8 * EDGES), get(state + 8 * EDGE_COUNT)
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
def _fields(p, end, state):
    """Take one message apart; note where the wanted fields stand. True when it is plain, whole and unambiguous.

    FOUND[role] becomes (address, length, kind), kind 1 a string, 2 a whole number, 3 another number.
    """
    edges, found, stack = get(state + 8 * EDGES), get(state + 8 * FOUND), get(state + 8 * STACK)
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
    node = np.int64(0)  # the node of the schema's paths that an object stands for; -1 of no interest, -2 an array
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
                        if seen & (1 << edge):
                            return False
                        seen |= 1 << edge
                        guess = edge + 1
                p = _blank(p + 1, end)
                if p >= end or byte(p) != _COLON:
                    return False
                p = _blank(p + 1, end)
                if p >= end:
                    return False
                c = byte(p)
            role = get(edges + 40 * edge + 32) if edge >= 0 else np.int64(-1)
            if c == _OPEN or c == _OPEN_ARRAY:
                if role >= 0 or depth + 1 >= MAX_DEPTH:
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
    return not high or _is_utf8(start, end)


@part
def _eight(p):
    """The number that eight digits spell, or -1 where they are not (D. Lemire, "Quickly parsing eight digits", 2018)."""
    w = word(p)
    if w & _HIGH_HALVES | (w + _SIXES & _HIGH_HALVES) >> np.uint64(4) != _THREES:
        return np.int64(-1)
    w = (w & _LOW_HALVES) * np.uint64(2561) >> np.uint64(8)
    w = (w & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601) >> np.uint64(16)
    return np.int64((w & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001) >> np.uint64(32))


@part
def _run(p, end, number):
    """Append the digits from p on to a number: (the number, the address behind them). Not for more than 18 digits."""
    while p + 8 <= end:
        eight = _eight(p)
        if eight < 0:
            break
        number = number * 100_000_000 + eight
        p += 8
    while p < end:
        c = byte(p)
        if c < 48 or c > 57:
            break
        number = number * 10 + (c - 48)
        p += 1
    return number, p


@part
def _amount(p, length, decimals):
    """Plain digits, at most 18 with the schema's decimals, as a whole number of 10**-decimals: (amount, is plain)."""
    end = p + length
    negative = False
    amount = np.int64(0)
    if length > 0 and (byte(p) == _MINUS or byte(p) == _PLUS):
        negative = byte(p) == _MINUS
        p += 1
    if p >= end or end - p > 19:
        return amount, False
    first = p
    amount, p = _run(p, end, amount)
    if p == first or p - first > 18:
        return amount, False
    digits, places = p - first, np.int64(0)
    if p < end:
        if byte(p) != _DOT:
            return amount, False
        point = p
        while end - point > decimals + 1 and end - point > 2 and byte(end - 1) == 48:  # zeros that trail
            end -= 1
        amount, p = _run(p + 1, end, amount)
        places = p - point - 1
        if p != end or places == 0:
            return amount, False
        if places > decimals:
            # One zero may be all that stands behind the point of a whole number.
            if decimals > 0 or places > 1 or byte(end - 1) != 48:
                return amount, False
            amount //= 10
            places = np.int64(0)
    if digits + decimals > 18:  # of the whole part, and behind the point
        return amount, False
    while places < decimals:
        amount *= 10
        places += 1
    return -amount if negative else amount, True


@part
def _two(p):
    a, b = byte(p), byte(p + 1)
    if 48 <= a <= 57 and 48 <= b <= 57:
        return (a - 48) * 10 + (b - 48)
    return np.int64(-1_000_000)


@part
def _iso(p, length):
    """YYYY-MM-DDTHH:MM:SS[.fraction](Z|+HH:MM|-HH:MM) as epoch ms, the fraction cut: (time, is plain)."""
    bad = np.int64(0), False
    if length < 20:
        return bad
    end = p + length
    if byte(p + 4) != 45 or byte(p + 7) != 45 or byte(p + 10) != 84 or byte(p + 13) != 58 or byte(p + 16) != 58:
        return bad
    year = _two(p) * 100 + _two(p + 2)
    month, day = _two(p + 5), _two(p + 8)
    hour, minute, second = _two(p + 11), _two(p + 14), _two(p + 17)
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
    if byte(p) == _DOT:
        q = _digits(p + 1, end)
        if q == p + 1:
            return bad
        scale = 100
        for k in range(p + 1, min(q, p + 4)):
            ms += (byte(k) - 48) * scale
            scale //= 10
        p = q
    if p + 1 == end and byte(p) == 90:
        return ms, True
    if p + 6 != end or byte(p + 3) != _COLON or not (byte(p) == _PLUS or byte(p) == _MINUS):
        return bad
    hours, minutes = _two(p + 1), _two(p + 4)
    if not 0 <= hours < 24 or not 0 <= minutes < 60:
        return bad
    shift = hours * 3_600_000 + minutes * 60_000
    ms = ms - shift if byte(p) == _PLUS else ms + shift
    return ms, _EARLIEST <= ms <= _LATEST


@part
def _epoch(p, length, unit):
    """A whole epoch number as ms; ``unit`` as in schema.TIME_UNITS: (time, is plain)."""
    if length > 17:
        return np.int64(0), False
    number, plain = _amount(p, length, 0)
    ms = number * unit if unit > 0 else number // -unit
    return ms, plain and _EARLIEST <= ms <= _LATEST


@part
def _is_text(field):
    """Whether a field was found, as a string that is not empty or as a whole number that is written one way only."""
    at, length, kind = get(field), get(field + 8), get(field + 16)
    return (kind == 1 and length > 0) or (kind == 2 and not (length == 2 and byte(at) == _MINUS and byte(at + 1) == 48))


@part
def _key_number(state, at, length):
    """The number of a key in the dictionary; it is put there when it is new."""
    texts, starts, slots = get(state + 8 * KEY_TEXTS), get(state + 8 * KEY_STARTS), get(state + 8 * KEY_SLOTS)
    mask = get(state + 8 * KEY_MASK)
    slot = np.int64(hashed(at, length, get(state + 8 * SEED))) & mask
    while True:
        number = get_32(slots + 4 * slot) - 1
        if number < 0:
            break
        start = get_32(starts + 4 * number)
        if get_32(starts + 4 * number + 4) - start == length and same(texts + start, at, length):
            return number
        slot = (slot + 1) & mask
    number = get(state + 8 * KEY_COUNT)
    start = get_32(starts + 4 * number)
    copy(texts + start, at, length)
    put_32(starts + 4 * number + 4, start + length)
    put_32(slots + 4 * slot, number + 1)
    put(state + 8 * KEY_COUNT, number + 1)
    return number


@part
def _add(state, i, id_at, id_len, code, amount, effect, key_at, key_len, time):
    """Write a row, unless its time is outside the window; amount and effect are their low halves, of 64 bits."""
    if not get(state + 8 * ANY):
        put(state + 8 * ANY, 1)
        put(state + 8 * FIRST_TIME, time)
    if time < get(state + 8 * SINCE) or time >= get(state + 8 * UNTIL):
        put(state + 8 * OUTSIDE, get(state + 8 * OUTSIDE) + 1)
        return
    row = get(state + 8 * ROWS)
    starts = get(state + 8 * ID_STARTS) + 8 * row
    start = get(starts)
    copy(get(state + 8 * IDS) + start, id_at, id_len)
    put(starts + 8, start + id_len)
    put_32(get(state + 8 * CODES) + 4 * row, code)
    amounts, effects = get(state + 8 * AMOUNTS) + 16 * row, get(state + 8 * EFFECTS) + 16 * row
    put(amounts, amount)
    put(amounts + 8, amount >> 63)
    put(effects, effect)
    put(effects + 8, effect >> 63)
    put_32(get(state + 8 * KEYS) + 4 * row, _key_number(state, key_at, key_len))
    put(get(state + 8 * TIMES) + 8 * row, time)
    put(get(state + 8 * OFFSETS) + 8 * row, get(get(state + 8 * OFFSET) + 8 * i))
    put(state + 8 * ROWS, row + 1)


@part
def _message(state, i):
    """Read one message, and add its row; False when it is for the exact reader."""
    buffer, found, decimals = get(state + 8 * BUFFER), get(state + 8 * FOUND), get(state + 8 * DECIMALS)
    at = buffer + get(get(state + 8 * VALUE_AT) + 8 * i)
    if not _fields(at, at + get(get(state + 8 * VALUE_LEN) + 8 * i), state):
        return False
    id_, type_, value = found + 24 * ID, found + 24 * TYPE, found + 24 * VALUE
    if not _is_text(id_) or not _is_text(type_) or get(value + 16) == 0:
        return False
    code = np.int64(-1)
    names, types, type_at, type_len = get(state + 8 * TYPE_NAMES), get(state + 8 * TYPES), get(type_), get(type_ + 8)
    for t in range(get(state + 8 * TYPE_COUNT)):
        of = types + 24 * t
        if get(of + 8) == type_len and same(type_at, names + get(of), type_len):
            code = np.int64(t)
            break
    if code < 0:
        return False
    amount, plain = _amount(get(value), get(value + 8), decimals)
    factor = get(types + 24 * code + 16)
    if not plain or (factor != 0 and abs(amount) > _LIMIT18 // abs(factor)):
        return False
    if get(state + 8 * MESSAGE_KEY):
        key_at, key_len = buffer + get(get(state + 8 * KEY_AT) + 8 * i), get(get(state + 8 * KEY_LEN) + 8 * i)
        if key_len < 0:
            key_at, key_len = get(state + 8 * NO_KEY), get(state + 8 * NO_KEY_LEN)
        elif key_len == 0 or not _is_utf8(key_at, key_at + key_len):
            return False
    else:
        key = found + 24 * KEY
        if not _is_text(key):
            return False
        key_at, key_len = get(key), get(key + 8)
    if get(state + 8 * RECORD_TIME):
        ms = get(get(state + 8 * TIME) + 8 * i)
        if not 0 <= ms <= _LATEST:
            return False
    else:
        plain = False
        ms = np.int64(0)
        time = found + 24 * EVENT_TIME
        if get(time + 16) == 1:
            ms, plain = _iso(get(time), get(time + 8))
        elif get(time + 16) == 2:
            ms, plain = _epoch(get(time), get(time + 8), get(state + 8 * UNIT))
        if not plain:
            return False
    _add(state, i, get(id_), get(id_ + 8), code, amount, amount * factor, key_at, key_len, ms)
    return True


@kernel
def scan(state):
    """Read messages from NEXT on, up to one that the scan does not take; says why it came back, NEXT being that message.

    ``state`` is the address of int64[layout.SIZE], which says what stands where. There must be room for N rows, N keys,
    the bytes of all values as ids and, as keys, of all values or of all message keys with NO_KEY; and slots for twice
    as many keys as there are messages.
    """
    count = get(state + 8 * N)
    i = get(state + 8 * NEXT)
    why = DONE
    while i < count:
        if get(get(state + 8 * VALUE_LEN) + 8 * i) < 0:
            why = TOMBSTONE
            break
        if not _message(state, i):
            why = EXACT
            break
        i += 1
    put(state + 8 * NEXT, i)
    return why


@kernel
def add(state, i, id_at, id_len, code, key_at, key_len, time):
    """Add a row that the exact reader read; returns its number, or -1 where it is outside the window.

    Amount and effect, which may be of 128 bits, are the caller's to write.
    """
    row = get(state + 8 * ROWS)
    if key_len < 0:
        key_at, key_len = get(state + 8 * NO_KEY), get(state + 8 * NO_KEY_LEN)
    _add(state, i, id_at, id_len, code, np.int64(0), np.int64(0), key_at, key_len, time)
    return row if get(state + 8 * ROWS) > row else np.int64(-1)


KERNELS = (scan, add)
