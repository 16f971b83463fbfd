"""Record batches, as a broker sends them, to messages in columns; every offset of a range accounted for."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from recovery_kit.errors import CorruptLog
from recovery_kit.payload import Headers, Messages

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LEAST = struct.Struct(">qiib")  # as far as the magic byte, which all formats share
_CRC_FROM = 21
_CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


class Batch(NamedTuple):
    """The header of a record batch (format v2), and where the batch stands in the fetched bytes."""

    start: int
    end: int
    base_offset: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    records: int

    @property
    def codec(self) -> int:
        """Number of the codec of its records."""
        return self.attributes & 7

    @property
    def append_time(self) -> bool:
        """Whether the broker set the time (LogAppendTime)."""
        return bool(self.attributes & 8)

    @property
    def transactional(self) -> bool:
        """Whether a transaction wrote it."""
        return bool(self.attributes & 16)

    @property
    def control(self) -> bool:
        """Whether it holds a transaction's marker instead of messages."""
        return bool(self.attributes & 32)


def split(records: memoryview) -> list[Batch]:
    """Find the whole batches in fetched bytes; the last one may have been cut short by the fetch size.

    Batches of the formats v0 and v1 come back with ``magic`` below 2 and their last offset; no other field is set.
    """
    found = []
    at, size = 0, len(records)
    while size - at >= _LEAST.size:
        base, length, epoch, magic = _LEAST.unpack_from(records, at)
        end = at + 12 + length
        if length < 14:
            raise CorruptLog(
                f"a record batch at offset {base} says it is {length} bytes long; the log is damaged there"
            )
        if end > size:
            break
        if magic < 2:
            found.append(Batch(at, end, base, -1, magic, 0, 0, base, 0, 0, -1, 0))
        elif length + 12 < _HEADER.size:
            raise CorruptLog(f"a record batch at offset {base} is shorter than its header; the log is damaged there")
        else:
            _, _, _, _, crc, attributes, delta, first, last, producer, _, _, count = _HEADER.unpack_from(records, at)
            found.append(
                Batch(at, end, base, epoch, magic, crc, attributes, base + delta, first, last, producer, count)
            )
        at = end
    return found


@dataclass
class Tally:
    """What became of the offsets of one partition from its start to its position; the four add up to the span."""

    position: int
    delivered: int = 0
    control: int = 0
    aborted: int = 0
    removed: int = 0


@dataclass(frozen=True)
class Fetch:
    """Fetched bytes of one partition.

    Attributes
    ----------
    topic, partition : where from
    records : whole record batches, the last perhaps cut short
    batches : their headers
    aborted : (first offset, producer id) of the aborted transactions among them
    """

    topic: str
    partition: int
    records: memoryview
    batches: list[Batch]
    aborted: list[tuple[int, int]] = field(default_factory=list)


def read(fetch: Fetch, tally: Tally, end: int, *, committed: bool = True) -> Messages | None:
    """Decode what a fetch brought between the tally's position and ``end``, and bring the tally forward.

    Parameters
    ----------
    fetch : Fetch
    tally : Tally
        Its position is where the fetch was asked to start; moved to behind the last batch, at most to ``end``.
    end : int
        The captured end; later records are left out exactly there.
    committed : bool
        Leave out the records of aborted transactions.

    Returns
    -------
    Messages or None
        The delivered messages in offset order; None when there are none.

    Raises
    ------
    CorruptLog
        A CRC does not match, or a batch does not hold what its header says.
    """
    where = f"{fetch.topic}-{fetch.partition}"
    wanted: list[Batch] = []
    aborted = sorted(fetch.aborted, reverse=True)
    aborting: set[int] = set()
    legacy = False
    at = tally.position
    for batch in fetch.batches:
        if batch.last_offset < at:
            continue
        if batch.magic < 2:
            legacy = True
            wanted.append(batch)
            continue
        if batch.base_offset >= end:
            tally.removed += end - at
            at = end
            break
        _check_crc(fetch.records, batch, where)
        while aborted and aborted[-1][0] <= batch.last_offset:
            aborting.add(aborted.pop()[1])
        first, last = max(batch.base_offset, at), min(batch.last_offset + 1, end)
        tally.removed += first - at
        at = last
        dropped = committed and batch.transactional and batch.producer_id in aborting
        if batch.control:
            if _is_abort(fetch.records, batch, where):
                aborting.discard(batch.producer_id)
            tally.control += batch.records
            tally.removed += last - first - batch.records
        elif dropped:
            inside = batch.records
            if first > batch.base_offset or last <= batch.last_offset:
                inside = len(_decode(fetch, [batch], where).cut(first, last))
            tally.aborted += inside
            tally.removed += last - first - inside
        elif batch.records:
            wanted.append(batch)
        else:
            tally.removed += last - first
    start, tally.position = tally.position, at
    if not wanted:
        return None
    if legacy:
        from recovery_kit.kafka.legacy import read_legacy

        messages = read_legacy(fetch, wanted, where).cut(start, end)
        tally.position = min(wanted[-1].last_offset + 1, end)
        span = tally.position - start
    else:
        messages = _decode(fetch, wanted, where).cut(start, end)
        span = sum(min(b.last_offset + 1, end) - max(b.base_offset, start) for b in wanted)
    tally.delivered += len(messages)
    tally.removed += span - len(messages)
    return messages if len(messages) else None


def _check_crc(records: memoryview, batch: Batch, where: str) -> None:
    from crc32c import crc32c

    if crc32c(records[batch.start + _CRC_FROM : batch.end]) != batch.crc:
        raise CorruptLog(
            f"{where}: the CRC of the record batch at offsets {batch.base_offset} to {batch.last_offset} does not match "
            "its bytes; the log is damaged there, or the way to it is. Try again; if it stays, restore the segment from "
            "a replica, or read around it with since and until as offsets"
        )


def _decode(fetch: Fetch, batches: list[Batch], where: str) -> Messages:
    from recovery_kit.kafka._decode import decode

    buffer, spans = _bodies(fetch.records, batches, where)
    table = np.array(
        [
            (start, end, b.base_offset, b.first_timestamp, b.max_timestamp if b.append_time else -1, b.records)
            for b, (start, end) in zip(batches, spans, strict=True)
        ],
        np.int64,
    ).reshape(-1, 6)
    n = int(table[:, 5].sum())
    if n < 0 or n > len(buffer):
        raise CorruptLog(f"{where}: the record batches from offset {batches[0].base_offset} on claim {n} records")
    columns = tuple(np.empty(n, np.int64) for _ in range(8))
    bad = decode(buffer, table, columns)
    if bad >= 0:
        b = batches[bad]
        raise CorruptLog(
            f"{where}: the record batch at offsets {b.base_offset} to {b.last_offset} cannot be taken apart"
        )
    offset, time, key_at, key_len, value_at, value_len, headers_at, headers_end = columns
    return Messages(
        fetch.topic, fetch.partition, buffer, offset, time, key_at, key_len, value_at, value_len,
        headers=lambda i: _headers(buffer, int(headers_at[i]), int(headers_end[i])),
    )  # fmt: skip


def _headers(buffer: np.ndarray, at: int, end: int) -> Headers:
    from recovery_kit.kafka._decode import headers

    rows = headers(buffer, at, end)
    if len(rows) and rows[0, 0] < 0:
        raise CorruptLog(f"the headers of the record at byte {at} of a fetch cannot be taken apart")

    def part(at: int, length: int) -> bytes | None:
        return None if length < 0 else buffer[at : at + length].tobytes()

    return [((part(k, kl) or b"").decode("utf-8", "backslashreplace"), part(v, vl)) for k, kl, v, vl in rows]


def _bodies(records: memoryview, batches: list[Batch], where: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The records of batches, decompressed: a buffer, and from where to where in it each batch's stand."""
    if not any(b.codec for b in batches):
        return np.frombuffer(records, np.uint8), [(b.start + _HEADER.size, b.end) for b in batches]
    parts, spans, at = [], [], 0
    for b in batches:
        body = _decompress(records[b.start + _HEADER.size : b.end], b, where)
        parts.append(body)
        spans.append((at, at + len(body)))
        at += len(body)
    return np.frombuffer(b"".join(parts), np.uint8), spans


def _decompress(data: memoryview, batch: Batch, where: str) -> bytes | memoryview:
    name = _CODECS.get(batch.codec)
    if name == "none":
        return data
    if name is None:
        raise CorruptLog(
            f"{where}: the record batch at offset {batch.base_offset} is compressed with codec number {batch.codec}, which "
            f"this version does not know; it reads {', '.join(_CODECS.values())}"
        )
    import cramjam

    try:
        if name == "snappy":
            return _snappy(bytes(data))
        codec = {"gzip": cramjam.gzip, "lz4": cramjam.lz4, "zstd": cramjam.zstd}[name]
        return memoryview(codec.decompress(data))
    except (cramjam.DecompressionError, struct.error) as error:
        raise CorruptLog(
            f"{where}: the record batch at offset {batch.base_offset} does not decompress as {name}: {error}"
        ) from error


def _snappy(data: bytes) -> bytes | memoryview:
    """Snappy as Java's producers frame it (xerial blocks), or bare."""
    import cramjam

    if not data.startswith(b"\x82SNAPPY\x00"):
        return memoryview(cramjam.snappy.decompress_raw(data))
    parts, at = [], 16
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        parts.append(bytes(cramjam.snappy.decompress_raw(data[at + 4 : at + 4 + size])))
        at += 4 + size
    return b"".join(parts)


def _is_abort(records: memoryview, batch: Batch, where: str) -> bool:
    if not batch.records:
        return False
    fetch = Fetch(where, 0, records, [batch])
    key = _decode(fetch, [batch], where).key(0)
    if key is None or len(key) < 4:
        raise CorruptLog(f"{where}: the control batch at offset {batch.base_offset} holds no marker")
    return bool(struct.unpack_from(">hh", key)[1] == 0)
