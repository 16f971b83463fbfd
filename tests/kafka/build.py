"""Fetched bytes for tests, built with kafka-python's encoders: batches at any offset, of any kind,
with any holes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from crc32c import crc32c
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder

from recovery_kit.kafka.batches import Fetch, split
from recovery_kit.kafka.deliver import decode, take
from recovery_kit.payload.messages import Messages
from recovery_kit.sources.span import Tally
from tests.messages import NOON

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
APPEND_TIME, TRANSACTIONAL, CONTROL = 8, 16, 32
ABORT, COMMIT = b"\0\0\0\0", b"\0\0\0\1"

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Record:
    """One record, at an offset of its own."""

    offset: int
    value: bytes | None = b"v"
    key: bytes | None = b"k"
    time: int = NOON
    headers: Headers = field(default_factory=list)


def batch(
    records: list[Record],
    *,
    base: int | None = None,
    last: int | None = None,
    codec: int = 0,
    attributes: int = 0,
    producer: int = -1,
    max_time: int | None = None,
) -> bytearray:
    """One batch of format v2. ``base`` and ``last`` are its bounds where the cleaner has taken
    records from its ends.
    """
    base = records[0].offset if base is None else base
    last = records[-1].offset if last is None else last
    producing = (producer, 0, 0) if producer >= 0 else (-1, -1, -1)
    builder = DefaultRecordBatchBuilder(2, codec, False, *producing, 1 << 30)
    for r in records:
        builder.append(r.offset - base, r.time, r.key, r.value, r.headers)
    data = builder.build()
    struct.pack_into(">q", data, 0, base)
    struct.pack_into(">i", data, 12, 7)  # the leader epoch
    (kept,) = struct.unpack_from(">h", data, 21)
    assert kept & 7 == codec, "the records do not get smaller; give them more bytes"
    struct.pack_into(">hi", data, 21, kept | attributes, last - base)
    if max_time is not None:
        struct.pack_into(">q", data, 35, max_time)
    return sealed(data)


def marker(offset: int, producer: int, key: bytes | None) -> bytearray:
    """A transaction's end: a control batch."""
    return batch(
        [Record(offset, b"\0" * 6, key)], attributes=TRANSACTIONAL | CONTROL, producer=producer
    )


def sealed(data: bytearray) -> bytearray:
    """The batch with the CRC that its bytes call for."""
    struct.pack_into(">I", data, 17, crc32c(bytes(data[21:])))
    return data


def legacy(
    records: list[Record], magic: int, codec: int = 0, *, append_time: int | None = None
) -> bytearray:
    """Messages of format v0 or v1: one after the other or, with a codec, one that holds them
    all.
    """
    if codec == 0:
        return bytearray(b"".join(_message(r, magic) for r in records))
    shift = records[0].offset if magic else 0  # inside a message of v1 offsets are relative
    builder = MemoryRecordsBuilder(magic, codec, 1 << 30)
    for r in records:
        builder.skip(r.offset - shift - builder.next_offset())
        builder.append(r.time, r.key, r.value)
    builder.close()
    data = bytearray(builder.buffer())
    assert data[17] & 7 == codec
    struct.pack_into(">q", data, 0, records[-1].offset)
    if append_time is not None:
        data[17] |= APPEND_TIME
        struct.pack_into(">q", data, 18, append_time)
    return resealed(data)


def _message(r: Record, magic: int) -> bytes:
    builder = MemoryRecordsBuilder(magic, 0, 1 << 30, offset=r.offset)
    builder.append(r.time, r.key, r.value)
    builder.close()
    return bytes(builder.buffer())


def resealed(data: bytearray) -> bytearray:
    """The message of format v0 or v1 with the CRC that its bytes call for."""
    import zlib

    struct.pack_into(">I", data, 12, zlib.crc32(bytes(data[16:])))
    return data


def fetch(
    data: bytes | bytearray, asked: int = 0, aborted: list[tuple[int, int]] | None = None
) -> Fetch:
    records = memoryview(bytes(data))
    return Fetch("t", 0, asked, records, split(records, "t-0"), aborted or [])


def read(fetch: Fetch, tally: Tally, end: int, *, committed: bool = True) -> Messages | None:
    """Take what a fetch brought, decode it and book it, as a replay does."""
    delivery = take(fetch, tally, end, committed=committed)
    if delivery is None:
        return None
    messages = decode(delivery)
    tally.book(len(messages), offsets=delivery.offsets)
    return messages
