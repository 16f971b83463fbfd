"""Message formats v0 and v1 (before Apache Kafka 0.11), on the slow road: one by one, in Python.

The layout is Kafka's: https://kafka.apache.org/documentation/#messageset. A compressed message's
value is a set of messages; those of v1 have offsets relative to the last of them, which has the
offset of the message around them.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from recovery_kit.errors import CorruptLog
from recovery_kit.kafka.batches import Batch, Fetch
from recovery_kit.kafka.codecs import Packed, decompress
from recovery_kit.payload.messages import Messages

_HEADER = struct.Struct(">qiIbb")
_CRC_FROM = 16
_LZ4 = 3

Record = tuple[int, int, memoryview | None, memoryview | None]
"""Offset, time in ms or -1, key, value."""


def read_legacy(fetch: Fetch, batches: list[Batch]) -> Messages:
    """Read batches of the formats v0 and v1; raises CorruptLog where they are damaged."""
    data, rows, taken = bytearray(), array("q"), 0
    for batch in batches:
        try:
            outer = _record(fetch, fetch.records[batch.start : batch.end])
            records: Iterable[Record] = [outer]
            if batch.codec:
                inner = _decompressed(fetch, batch, outer, taken)
                taken += len(inner)
                records = _inner(fetch, batch, outer, inner)
            for offset, time, *parts in records:
                row = [offset, time]
                for part in parts:
                    row += [len(data), -1 if part is None else len(part)]
                    data += part or b""
                rows.extend(row)
        except struct.error:
            raise CorruptLog(
                f"{fetch}: the message at offset {batch.base_offset} cannot be taken apart"
            ) from None
    table = np.frombuffer(rows, np.int64).reshape(-1, 6)
    if (np.diff(table[:, 0]) <= 0).any():
        raise CorruptLog(
            f"{fetch}: the offsets of the messages behind {batches[0].base_offset} do not ascend"
        )
    offsets, times, key_at, key_len, value_at, value_len = (
        np.ascontiguousarray(table[:, c]) for c in range(6)
    )
    buffer = np.frombuffer(bytes(data), np.uint8)
    return Messages(
        fetch.topic, fetch.partition, buffer, offsets, times, key_at, key_len, value_at, value_len,
        headers=lambda _: [],  # these formats have none
    )  # fmt: skip


def _decompressed(fetch: Fetch, batch: Batch, outer: Record, taken: int) -> memoryview:
    value = outer[3]
    if value is None:
        raise struct.error
    if batch.magic == 0 and batch.codec == _LZ4:
        value = _mended(value)
    what = f"{fetch}: the message at offset {batch.base_offset}"
    data, _ = decompress([Packed(value, batch.codec, what)], fetch.most, taken=taken)
    return data.data


def _inner(fetch: Fetch, batch: Batch, outer: Record, data: memoryview) -> Iterator[Record]:
    """The messages within a message, one by one: as objects they would take many times as much."""
    ahead = -1
    for message in _messages(data):
        ahead = _HEADER.unpack_from(message)[0]
    if not len(data):
        raise struct.error
    base = outer[0] - ahead if batch.magic else 0
    for message in _messages(data):
        offset, time, key, value = _record(fetch, message)
        yield base + offset, time if batch.all_at < 0 else batch.all_at, key, value


def _messages(data: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at + 8)
        end = at + 12 + size
        if (
            size < 14 or end > len(data) or data[at + 17] & 7
        ):  # one inside another is not compressed again
            raise struct.error
        yield data[at:end]
        at = end


def _record(fetch: Fetch, data: memoryview) -> Record:
    """Take one message apart; struct.error where it ends too early or too late."""
    offset, _, crc, magic, _ = _HEADER.unpack_from(data)
    if zlib.crc32(data[_CRC_FROM:]) != crc:
        raise CorruptLog(
            f"{fetch}: the CRC of the message at offset {offset} does not match its bytes; the log "
            "is damaged there, or the way to it is. Try again; if it stays, read around it with "
            "since and until as offsets"
        )
    at, time = _HEADER.size, -1
    if magic:
        (time,) = struct.unpack_from(">q", data, at)
        at += 8
    parts: list[memoryview | None] = []
    for _ in range(2):
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        parts.append(None if length < 0 else data[at : at + length])
        at += max(length, 0)
    if at != len(data):
        raise struct.error
    return offset, time, parts[0], parts[1]


def _mended(frame: memoryview) -> memoryview:
    """An LZ4 frame of format v0, whose header's checksum, one byte, Kafka worked out over the wrong
    bytes.
    """
    import cramjam

    data, little = bytearray(frame), bytearray(1)  # the header alone is of interest
    at = 14 if len(data) > 4 and data[4] & 8 else 6
    for guess in range(256):
        data[at : at + 1] = bytes([guess])
        try:
            cramjam.lz4.decompress_into(bytes(data), little)
            break
        except cramjam.DecompressionError as error:
            if "header" not in str(error):
                break
    return memoryview(bytes(data))
