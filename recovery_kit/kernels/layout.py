"""The scan's state: what stands at which place of an int64 array that Python fills and the kernel
works on.

Addresses unless said otherwise. Nothing here imports numba.
"""

from __future__ import annotations

(
    # The messages: their buffer, and int64[N] of positions in it, lengths (-1: null), timestamps
    # (ms, -1: none), offsets.
    BUFFER, N, VALUE_AT, VALUE_LEN, KEY_AT, KEY_LEN, TIME, OFFSET,
    # The schema (numbers): decimals, epoch unit (as schema.TIME_UNITS), whether the message key is
    # the key, whether the record's timestamp is the time; and the window: keep times from SINCE to
    # before UNTIL.
    DECIMALS, UNIT, MESSAGE_KEY, RECORD_TIME, SINCE, UNTIL,
    # The wanted fields: their names one behind the other, and int64[EDGE_COUNT, 5] edges of their
    # paths: parent node, name's position and length, child node or -1, role or -1.
    NAMES, EDGES, EDGE_COUNT,
    # The types: their names, and int64[TYPE_COUNT, 3] of position, length, factor.
    TYPE_NAMES, TYPES, TYPE_COUNT,
    # The key of events that have none (address, and number of bytes).
    NO_KEY, NO_KEY_LEN,
    # Columns written: one row an event; texts as int64[N + 1] starts and their bytes, CODES int32,
    # AMOUNTS and EFFECTS decimal128, TIMES and OFFSETS int64.
    ID_STARTS, IDS, CODES, AMOUNTS, EFFECTS, KEY_STARTS, KEYS, TIMES, OFFSETS,
    # How far it has come (numbers): the next message, rows, events outside the window, whether
    # there was an event, and the first one's time.
    NEXT, ROWS, OUTSIDE, ANY, FIRST_TIME,
    # Room to work in: int64[15] for what was found of a message, int64[MAX_DEPTH] for its nesting.
    FOUND, STACK,
) = range(38)  # fmt: skip

SIZE = 38
MAX_DEPTH = 64
ID, TYPE, VALUE, KEY, EVENT_TIME = range(5)
DONE, EXACT, TOMBSTONE = 0, 1, 2
"""Why the scan came back: all is read; the next message is for the exact reader.

Its value is null.
"""
