"""The compiled scan: plain JSON messages to typed columns, in bulk, without the interpreter.

It takes the messages that it understands entirely and comes back for every other one, which then
goes to the exact reader (`payload.exact`), which is the law: for a message that the scan
takes, both give the same row, and a differential test holds them to it. So the scan may be as
narrow as it likes, never wider than the exact reader.
"""

from __future__ import annotations

import numpy as np

from recovery_kit.kernels import layout
from recovery_kit.kernels._memory import (
    byte,
    cell,
    copy,
    get,
    kernel,
    part,
    put,
    put_32,
    put_cell,
    same,
)
from recovery_kit.kernels.message import fields, is_utf8
from recovery_kit.kernels.values import LATEST, amount_of, epoch_time, iso_time

_MINUS = 45
_LIMIT18 = 10**18


@part
def _is_text(field):
    """Whether a field was found, as a string that is not empty or as a whole number that is written
    one way only.
    """
    at, length, kind = get(field), get(field + 8), get(field + 16)
    return (kind == 1 and length > 0) or (
        kind == 2 and not (length == 2 and byte(at) == _MINUS and byte(at + 1) == 48)
    )


@part
def _put_text(starts, texts, row, at, length):
    """Append a row to a column of texts."""
    start = get(starts + 8 * row)
    copy(texts + start, at, length)
    put(starts + 8 * row + 8, start + length)


@part
def _add(state, i, id_at, id_len, code, amount, effect, key_at, key_len, time):
    """Write a row, unless its time is outside the window.

    Amount and effect are their low halves, of 64 bits.
    """
    if not cell(state, layout.ANY):
        put_cell(state, layout.ANY, 1)
        put_cell(state, layout.FIRST_TIME, time)
    if time < cell(state, layout.SINCE) or time >= cell(state, layout.UNTIL):
        put_cell(state, layout.OUTSIDE, cell(state, layout.OUTSIDE) + 1)
        return
    row = cell(state, layout.ROWS)
    _put_text(cell(state, layout.ID_STARTS), cell(state, layout.IDS), row, id_at, id_len)
    _put_text(cell(state, layout.KEY_STARTS), cell(state, layout.KEYS), row, key_at, key_len)
    put_32(cell(state, layout.CODES) + 4 * row, code)
    amounts, effects = (
        cell(state, layout.AMOUNTS) + 16 * row,
        cell(state, layout.EFFECTS) + 16 * row,
    )
    put(amounts, amount)
    put(amounts + 8, amount >> 63)
    put(effects, effect)
    put(effects + 8, effect >> 63)
    put(cell(state, layout.TIMES) + 8 * row, time)
    put(cell(state, layout.OFFSETS) + 8 * row, get(cell(state, layout.OFFSET) + 8 * i))
    put_cell(state, layout.ROWS, row + 1)


@part
def _message(state, i):
    """Read one message, and add its row; False when it is for the exact reader."""
    buffer, found, decimals = (
        cell(state, layout.BUFFER),
        cell(state, layout.FOUND),
        cell(state, layout.DECIMALS),
    )
    at = buffer + get(cell(state, layout.VALUE_AT) + 8 * i)
    if not fields(at, at + get(cell(state, layout.VALUE_LEN) + 8 * i), state):
        return False
    id_, type_, value = found + 24 * layout.ID, found + 24 * layout.TYPE, found + 24 * layout.VALUE
    if not _is_text(id_) or not _is_text(type_) or get(value + 16) == 0:
        return False
    code = np.int64(-1)
    names, types, type_at, type_len = (
        cell(state, layout.TYPE_NAMES),
        cell(state, layout.TYPES),
        get(type_),
        get(type_ + 8),
    )
    for t in range(cell(state, layout.TYPE_COUNT)):
        of = types + 24 * t
        if get(of + 8) == type_len and same(type_at, names + get(of), type_len):
            code = np.int64(t)
            break
    if code < 0:
        return False
    amount, plain = amount_of(get(value), get(value + 8), decimals)
    factor = get(types + 24 * code + 16)
    if not plain or (factor != 0 and abs(amount) > _LIMIT18 // abs(factor)):
        return False
    if cell(state, layout.MESSAGE_KEY):
        key_at, key_len = (
            buffer + get(cell(state, layout.KEY_AT) + 8 * i),
            get(cell(state, layout.KEY_LEN) + 8 * i),
        )
        if key_len < 0:
            key_at, key_len = cell(state, layout.NO_KEY), cell(state, layout.NO_KEY_LEN)
        elif key_len == 0 or not is_utf8(key_at, key_at + key_len):
            return False
    else:
        key = found + 24 * layout.KEY
        if not _is_text(key):
            return False
        key_at, key_len = get(key), get(key + 8)
    if cell(state, layout.RECORD_TIME):
        ms = get(cell(state, layout.TIME) + 8 * i)
        if not 0 <= ms <= LATEST:
            return False
    else:
        plain = False
        ms = np.int64(0)
        time = found + 24 * layout.EVENT_TIME
        if get(time + 16) == 1:
            ms, plain = iso_time(get(time), get(time + 8))
        elif get(time + 16) == 2:
            ms, plain = epoch_time(get(time), get(time + 8), cell(state, layout.UNIT))
        if not plain:
            return False
    _add(state, i, get(id_), get(id_ + 8), code, amount, amount * factor, key_at, key_len, ms)
    return True


@kernel
def scan(state):
    """Read messages from NEXT on, up to one that the scan does not take.

    Says why it came back, NEXT being that message.

    ``state`` is the address of int64[layout.SIZE], which says what stands where. There must be room
    for N rows; as ids, for the bytes of all values; as keys, for the bytes of all values, or of all
    message keys and N times NO_KEY.
    """
    count = cell(state, layout.N)
    i = cell(state, layout.NEXT)
    why = layout.DONE
    while i < count:
        if get(cell(state, layout.VALUE_LEN) + 8 * i) < 0:
            why = layout.TOMBSTONE
            break
        if not _message(state, i):
            why = layout.EXACT
            break
        i += 1
    put_cell(state, layout.NEXT, i)
    return why


@kernel
def add(state, i, id_at, id_len, code, key_at, key_len, time):
    """Add a row that the exact reader read.

    Returns its number, or -1 where it is outside the window.

    Amount and effect, which may be of 128 bits, are the caller's to write.
    """
    row = cell(state, layout.ROWS)
    if key_len < 0:
        key_at, key_len = cell(state, layout.NO_KEY), cell(state, layout.NO_KEY_LEN)
    _add(state, i, id_at, id_len, code, np.int64(0), np.int64(0), key_at, key_len, time)
    return row if cell(state, layout.ROWS) > row else np.int64(-1)


KERNELS = (scan, add)
