"""Messages in columns, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from recovery_kit.schema import TIME_TYPE

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

    @classmethod
    def packed(
        cls,
        topic: str,
        partition: int,
        *,
        offsets: Sequence[int],
        times: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Callable[[int], Headers] = lambda _: [],
    ) -> Messages:
        """Pack messages that are Python's objects; for sources that have no columns to give.

        Parameters
        ----------
        topic, partition
            Where they stand.
        offsets, times, keys, values : sequences of length n
            Offsets ascend; times in ms since the epoch, -1 for none.
        headers : callable
            As the attribute.
        """
        data = bytearray(b"#")  # so that nothing stands at position 0

        def place(parts: Sequence[bytes | None]) -> tuple[Ints, Ints]:
            at = []
            for part in parts:
                at.append(len(data))
                data.extend(part or b"")
            length = [-1 if part is None else len(part) for part in parts]
            return np.array(at, np.int64), np.array(length, np.int64)

        standing = place(keys) + place(values)
        numbers = np.array(offsets, np.int64), np.array(times, np.int64)
        buffer = np.frombuffer(bytes(data), np.uint8)
        return cls(topic, partition, buffer, *numbers, *standing, headers)

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


ROW, HEADER = 600, 400
"""Bytes that a reject or a tombstone takes, and each of its headers, as Python objects, besides
what they hold.
"""


def apart(row: dict[str, Any]) -> int:
    """Bytes that a reject or a tombstone takes."""
    held = [row["key"], row.get("value"), *(header["value"] for header in row["headers"])]
    names = sum(len(header["name"]) for header in row["headers"])
    return ROW + HEADER * len(row["headers"]) + names + sum(len(part or b"") for part in held)


class Read(NamedTuple):
    """What became of some messages: every one is in exactly one of the four."""

    events: pa.RecordBatch
    rejects: list[dict[str, object]]
    tombstones: list[dict[str, object]]
    outside: int
    first_time: int | None
    """Time of the first event, inside the window or not, in ms; None when there is no event."""
