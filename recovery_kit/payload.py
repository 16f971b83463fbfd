"""Message bytes to typed columns, in bulk; what cannot be read becomes a reject, with the reason.

Two readers stand behind one door. The compiled scan (`_scan`) takes every plain message at some 10 million a
second and hands each other one to the exact reader (`_exact`), which is the law and gives the reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from recovery_kit._exact import Reject, Row, read_message
from recovery_kit.schema import TIME_TYPE, TIME_UNITS, EventSchema

Headers = list[tuple[str, bytes | None]]
Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

HEADERS_TYPE = pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))
REJECT_SCHEMA = pa.schema(
    {
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "time": TIME_TYPE,
        "reason": pa.string(),
        "key": pa.binary(),
        "value": pa.binary(),
        "headers": HEADERS_TYPE,
    }
)
TOMBSTONE_SCHEMA = pa.schema(
    [REJECT_SCHEMA.field(name) for name in REJECT_SCHEMA.names if name not in ("reason", "value")]
)


@dataclass(frozen=True, slots=True)
class Messages:
    """Delivered messages of one partition, undecoded: one buffer, and where in it each part stands.

    Attributes
    ----------
    topic : str
    partition : int
    buffer : uint8 array
        Holds all keys, values and headers.
    offset, time : int64 array, shape (n,)
        Offsets in the log; timestamps in ms since the epoch, -1 for none.
    key_at, key_len, value_at, value_len : int64 array, shape (n,)
        Position and length in bytes; a length of -1 is null.
    headers : callable
        From a message's place in these arrays to its headers, a list of (name, value or None).
    """

    topic: str
    partition: int
    buffer: np.ndarray
    offset: Ints
    time: Ints
    key_at: Ints
    key_len: Ints
    value_at: Ints
    value_len: Ints
    headers: Callable[[int], Headers]

    def __len__(self) -> int:
        return len(self.offset)

    def cut(self, first: int, end: int) -> Messages:
        """The messages with offsets from ``first`` to before ``end``; offsets ascend."""
        lo, hi = (int(i) for i in np.searchsorted(self.offset, (first, end)))
        if lo == 0 and hi == len(self):
            return self
        m, rows = self, slice(lo, hi)
        offset, time, key_at, key_len, value_at, value_len = (
            c[rows] for c in (m.offset, m.time, m.key_at, m.key_len, m.value_at, m.value_len)
        )
        return Messages(
            m.topic,
            m.partition,
            m.buffer,
            offset,
            time,
            key_at,
            key_len,
            value_at,
            value_len,
            lambda i: m.headers(i + lo),
        )

    def key(self, i: int) -> bytes | None:
        """The record's key."""
        return self._bytes(self.key_at[i], self.key_len[i])

    def value(self, i: int) -> bytes | None:
        """The record's value."""
        return self._bytes(self.value_at[i], self.value_len[i])

    def _bytes(self, at: int, length: int) -> bytes | None:
        return None if length < 0 else self.buffer[at : at + length].tobytes()


class Read(NamedTuple):
    """What became of some messages: every one is in exactly one of the four."""

    events: pa.RecordBatch
    rejects: list[dict[str, object]]
    tombstones: list[dict[str, object]]
    outside: int
    first_time: int | None
    """Time of the first event, inside the window or not, in ms; None when there is no event."""


class Reader:
    """Reads messages by one schema, within one window of time.

    Parameters
    ----------
    schema : EventSchema
    since, until : int, optional
        Keep events whose own time is at or after ``since`` and before ``until``, in ms since the epoch. Rejects and
        tombstones are kept whatever their time, for theirs cannot be known for certain.
    """

    def __init__(self, schema: EventSchema, since: int | None = None, until: int | None = None) -> None:
        self.schema = schema
        self.since, self.until = since, until
        self._columns = pa.schema(schema.arrow_types)
        self._types = pa.array(list(schema.effects), pa.string())
        self._no_key = np.frombuffer(schema.no_key.encode(), np.uint8)
        self._plan = _plan(schema)
        self._factors = _type_table(schema)
        self._settings = (schema.decimals, TIME_UNITS[schema.time_unit], schema.key is None, schema.time is None)

    def read(self, messages: Messages) -> Read:
        """Turn messages into event columns, rejects and tombstones.

        Parameters
        ----------
        messages : Messages
            Of one partition, in offset order.

        Returns
        -------
        Read
            The events as a RecordBatch with the columns of ``EventSchema.arrow_types``, in offset order.
        """
        from recovery_kit import _scan

        n = len(messages)
        out = (
            np.empty(n, np.int8),
            np.empty((n, 2), np.int64),
            np.empty(n, np.int32),
            np.empty((n, 2), np.int64),
            np.empty((n, 2), np.int64),
            np.empty((n, 2), np.int64),
            np.empty(n, np.int64),
        )
        status, ids, codes, amounts, effects, keys, times = out
        m, settings = messages, self._settings
        _scan.scan(
            m.buffer, m.value_at, m.value_len, m.key_at, m.key_len, m.time, self._plan, self._factors, settings, out
        )
        extra = bytearray(self._no_key)
        rejects = []
        for i in np.flatnonzero(status == _scan.EXACT).tolist():
            try:
                row = read_message(m.value(i) or b"", m.key(i), int(m.time[i]), self.schema)
            except Reject as reason:
                rejects.append(_place(m, i) | {"reason": str(reason), "value": m.value(i)})
                continue
            _put(row, i, out, extra, len(m.buffer))
            status[i] = _scan.TAKEN
        keys[keys[:, 1] < 0] = len(m.buffer), len(self._no_key)
        tombstones = [_place(m, i) for i in np.flatnonzero(status == _scan.TOMBSTONE).tolist()]
        taken = np.flatnonzero(status == _scan.TAKEN)
        rows = taken
        if self.since is not None:
            rows = rows[times[rows] >= self.since]
        if self.until is not None:
            rows = rows[times[rows] < self.until]
        extras = np.frombuffer(bytes(extra), np.uint8)
        columns = [
            _texts(m.buffer, extras, ids, rows),
            pa.DictionaryArray.from_arrays(pa.array(codes[rows]), self._types),
            _decimals(amounts, rows, self._columns.field("value").type),
            _decimals(effects, rows, self._columns.field("effect").type),
            _texts(m.buffer, extras, keys, rows),
            pa.Array.from_buffers(TIME_TYPE, len(rows), [None, pa.py_buffer(times[rows])]),
            pa.DictionaryArray.from_arrays(np.zeros(len(rows), np.int32), pa.array([m.topic], pa.string())),
            pa.array(np.full(len(rows), m.partition, np.int32)),
            pa.array(m.offset[rows]),
        ]
        events = pa.RecordBatch.from_arrays(columns, schema=self._columns)
        first = int(times[taken[0]]) if len(taken) else None
        return Read(events, rejects, tombstones, len(taken) - len(rows), first)


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


def _put(row: Row, i: int, out: tuple[np.ndarray, ...], extra: bytearray, size: int) -> None:
    """Write a row of the exact reader where the scan would have; its texts go into ``extra``."""
    _, ids, codes, amounts, effects, keys, times = out
    for places, text in ((ids, row.id), (keys, row.key)):
        data = b"" if text is None else text.encode()
        places[i] = size + len(extra), -1 if text is None else len(data)
        extra += data
    codes[i] = row.code
    amounts[i] = np.frombuffer(row.amount.to_bytes(16, "little", signed=True), np.int64)
    effects[i] = np.frombuffer(row.effect.to_bytes(16, "little", signed=True), np.int64)
    times[i] = row.time


def _texts(buffer: np.ndarray, extra: np.ndarray, places: np.ndarray, rows: Ints) -> pa.Array:
    from recovery_kit._scan import gather

    offsets = np.empty(len(rows) + 1, np.int64)
    data = np.empty(int(places[rows, 1].sum()), np.uint8)
    gather(buffer, extra, places, rows, offsets, data)
    return pa.Array.from_buffers(pa.large_string(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _decimals(words: np.ndarray, rows: Ints, type_: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(type_, len(rows), [None, pa.py_buffer(words[rows])])


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
            edges[step] = [nodes[step[:-1]], len(names), len(name), -1 if leaf else nodes[step], number if leaf else -1]
            names += name
    return np.frombuffer(names, np.uint8), np.array(list(edges.values()), np.int64)


def _type_table(schema: EventSchema) -> tuple[np.ndarray, np.ndarray]:
    names, rows = b"", []
    for type_, factor in schema.factors.items():
        name = type_.encode()
        rows.append([len(names), len(name), factor])
        names += name
    return np.frombuffer(names, np.uint8), np.array(rows, np.int64)
