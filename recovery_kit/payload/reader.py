"""Message bytes to typed columns, in bulk; what cannot be read becomes a reject, with the reason.

Two readers stand behind one door. The compiled scan (`kernels.scan`) takes every plain message at
some 10 million a second and hands each other one to the exact reader (`_exact`), which is the law
and gives the reasons.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pyarrow as pa

from recovery_kit._room import EVERY, require
from recovery_kit.kernels import address, load
from recovery_kit.kernels import layout as at
from recovery_kit.payload.exact import Reject, Row, read_message
from recovery_kit.payload.messages import Ints, Messages, Read, apart
from recovery_kit.schema import TIME_UNITS, EventSchema
from recovery_kit.tables.arrow import column, texts

_NEVER = -(1 << 63) + 1
"""A time before every time; its negative is one after."""


class Reader:
    """Reads messages by one schema, within one window of time; several threads may read at once.

    Parameters
    ----------
    schema : EventSchema
    since, until : int, optional
        Keep events whose own time is at or after ``since`` and before ``until``, in ms since the
        epoch. Rejects and tombstones are kept whatever their time, for theirs cannot be known for
        certain.
    """

    def __init__(
        self, schema: EventSchema, since: int | None = None, until: int | None = None
    ) -> None:
        self.schema = schema
        self._columns = pa.schema(schema.arrow_types)
        self._types = texts(list(schema.effects), pa.string())
        names, edges = _plan(schema)
        type_names, types = _type_table(schema)
        no_key = np.frombuffer(schema.no_key.encode(), np.uint8)
        self._kept_alive = names, edges, type_names, types, no_key
        self._state = np.zeros(at.SIZE, np.int64)
        self._state[[at.DECIMALS, at.UNIT, at.MESSAGE_KEY, at.RECORD_TIME, at.SINCE, at.UNTIL]] = (
            schema.decimals, TIME_UNITS[schema.time_unit], schema.key is None, schema.time is None,
            _NEVER if since is None else since, -_NEVER if until is None else until,
        )  # fmt: skip
        self._state[[at.NAMES, at.EDGES, at.EDGE_COUNT]] = (
            address(names),
            address(edges),
            len(edges),
        )
        self._state[[at.TYPE_NAMES, at.TYPES, at.TYPE_COUNT]] = (
            address(type_names),
            address(types),
            len(types),
        )
        self._state[[at.NO_KEY, at.NO_KEY_LEN]] = address(no_key), len(no_key)
        self._rooms = threading.local()
        self._same: dict[int, pa.Array] = {}

    def read(self, messages: Messages) -> Read:
        """Turn messages into event columns, rejects and tombstones.

        Parameters
        ----------
        messages : Messages
            Of one partition, in offset order.

        Returns
        -------
        Read
            The events as a RecordBatch with the columns of ``EventSchema.arrow_types``, in offset
            order.
        """
        kernels, state, m, n = load(), self._state.copy(), messages, len(messages)
        arrays = [
            np.ascontiguousarray(a)
            for a in (m.value_at, m.value_len, m.key_at, m.key_len, m.time, m.offset)
        ]
        state[[at.BUFFER, at.N]] = address(m.buffer), n
        state[[at.VALUE_AT, at.VALUE_LEN, at.KEY_AT, at.KEY_LEN, at.TIME, at.OFFSET]] = [
            address(a) for a in arrays
        ]
        columns = self._make_room(
            state, n, int(np.maximum(m.value_len, 0).sum()), int(np.maximum(m.key_len, 0).sum())
        )
        rejects, tombstones, taken = list[dict[str, object]](), list[dict[str, object]](), 0
        while why := kernels.scan(address(state)):
            i = int(state[at.NEXT])
            state[at.NEXT] += 1
            if why == at.TOMBSTONE:
                tombstones.append(_place(m, i))
                taken = _room_for(tombstones[-1], taken)
                continue
            try:
                row = read_message(m.value(i) or b"", m.key(i), int(m.time[i]), self.schema)
            except Reject as reason:
                rejects.append(_place(m, i) | {"reason": str(reason), "value": m.value(i)})
                taken = _room_for(rejects[-1], taken)
                continue
            _add(kernels, state, i, row, columns)
        first = int(state[at.FIRST_TIME]) if state[at.ANY] else None
        return Read(
            self._batch(m, state, columns), rejects, tombstones, int(state[at.OUTSIDE]), first
        )

    def _make_room(
        self, state: Ints, n: int, value_bytes: int, key_bytes: int
    ) -> dict[int, np.ndarray]:
        """Arrays for n rows, by their place in the state.

        Those of unknown length are used again by the next read.
        """
        room = self._room
        columns: dict[int, np.ndarray] = {
            at.ID_STARTS: np.empty(n + 1, np.int64),
            at.CODES: np.empty(n, np.int32),
            at.AMOUNTS: np.empty((n, 2), np.int64),
            at.EFFECTS: np.empty((n, 2), np.int64),
            at.KEY_STARTS: np.empty(n + 1, np.int64),
            at.TIMES: np.empty(n, np.int64),
            at.OFFSETS: np.empty(n, np.int64),
            at.IDS: room("ids", value_bytes, np.uint8),
            at.KEYS: room(
                "keys", max(value_bytes, key_bytes + n * int(state[at.NO_KEY_LEN])), np.uint8
            ),
            at.FOUND: room("found", 15, np.int64),
            at.STACK: room("stack", at.MAX_DEPTH, np.int64),
        }
        columns[at.ID_STARTS][0] = columns[at.KEY_STARTS][0] = 0
        for place, array in columns.items():
            state[place] = address(array)
        return columns

    def _room(self, name: str, least: int, type_: type) -> np.ndarray:
        """An array of this thread's, of at least so many elements; it holds whatever it held."""
        found: np.ndarray | None = getattr(self._rooms, name, None)
        if found is None or len(found) < least:
            found = np.empty(max(least, 1), type_)
            setattr(self._rooms, name, found)
        return found

    def _numbers(self, number: int, rows: int) -> pa.Array:
        """An int32 column that holds one number: all batches share one array, which costs
        nothing.
        """
        found = self._same.get(number)
        if found is None or len(found) < rows:
            found = self._same[number] = column(np.full(rows, number, np.int32))
        return found.slice(0, rows)

    def _batch(self, m: Messages, state: Ints, columns: dict[int, np.ndarray]) -> pa.RecordBatch:
        rows = int(state[at.ROWS])

        def buffer(place: int, cells: int = rows) -> pa.Buffer:
            whole = columns[place]
            return pa.py_buffer(
                whole if cells == len(whole) else whole[:cells].copy()
            )  # a view would keep the whole

        def numbers(name: str, place: int) -> pa.Array:
            return pa.Array.from_buffers(
                self._columns.field(name).type, rows, [None, buffer(place)]
            )

        def words(starts: int, data: int) -> pa.Array:
            own = columns[data][
                : int(columns[starts][rows])
            ].copy()  # the next read writes over the room
            return pa.Array.from_buffers(
                pa.large_string(), rows, [None, buffer(starts, rows + 1), pa.py_buffer(own)]
            )

        codes = pa.Array.from_buffers(pa.int32(), rows, [None, buffer(at.CODES)])
        arrays = [
            words(at.ID_STARTS, at.IDS),
            pa.DictionaryArray.from_arrays(codes, self._types),
            numbers("value", at.AMOUNTS),
            numbers("effect", at.EFFECTS),
            words(at.KEY_STARTS, at.KEYS),
            numbers("time", at.TIMES),
            pa.DictionaryArray.from_arrays(self._numbers(0, rows), texts([m.topic], pa.string())),
            self._numbers(m.partition, rows),
            numbers("offset", at.OFFSETS),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._columns)


def _place(messages: Messages, i: int) -> dict[str, object]:
    time = int(messages.time[i])
    return {
        "topic": messages.topic,
        "partition": messages.partition,
        "offset": int(messages.offset[i]),
        "time": time if time >= 0 else None,
        "key": messages.key(i),
        "headers": [{"name": name, "value": value} for name, value in messages.headers(i)],
    }


def _room_for(row: dict[str, object], taken: int) -> int:
    """Bytes taken since the last look, with this row; looks again, every so often, whether there is
    room for as many more.
    """
    taken += apart(row)
    if taken < EVERY:
        return taken
    require(
        taken,
        f"{row['topic']}-{row['partition']}: to go on from offset {row['offset']}, where rejects "
        "and tombstones are many,",
        instead="Read a shorter window (since and until as offsets)",
    )
    return 0


def _add(kernels: Any, state: Ints, i: int, row: Row, columns: dict[int, np.ndarray]) -> None:
    """Add a row of the exact reader where the scan would have."""
    id_, key = (
        np.frombuffer(row.id.encode(), np.uint8),
        np.frombuffer((row.key or "").encode(), np.uint8),
    )
    key_len = -1 if row.key is None else len(key)
    at_row = kernels.add(
        address(state), i, address(id_), len(id_), row.code, address(key), key_len, row.time
    )
    if at_row >= 0:
        for place, amount in ((at.AMOUNTS, row.amount), (at.EFFECTS, row.effect)):
            columns[place][at_row] = np.frombuffer(
                amount.to_bytes(16, "little", signed=True), np.int64
            )


def _plan(schema: EventSchema) -> tuple[np.ndarray, np.ndarray]:
    """The schema's paths as edges between nodes, as the scan walks them."""
    names = b""
    edges: dict[tuple[str, ...], list[int]] = {}
    nodes: dict[tuple[str, ...], int] = {(): 0}
    for role, path in schema.paths.items():
        for depth in range(1, len(path) + 1):
            step = path[:depth]
            if step in edges:
                continue
            leaf = depth == len(path)
            if not leaf:
                nodes[step] = len(nodes)
            name = step[-1].encode()
            number = ("id", "type", "value", "key", "time").index(role)
            edges[step] = [
                nodes[step[:-1]],
                len(names),
                len(name),
                -1 if leaf else nodes[step],
                number if leaf else -1,
            ]
            names += name
    return np.frombuffer(names, np.uint8), np.array(list(edges.values()), np.int64)


def _type_table(schema: EventSchema) -> tuple[np.ndarray, np.ndarray]:
    names, rows = b"", []
    for type_, factor in schema.factors.items():
        name = type_.encode()
        rows.append([len(names), len(name), factor])
        names += name
    return np.frombuffer(names, np.uint8), np.array(rows, np.int64)
