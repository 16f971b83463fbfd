"""Record batches, as a broker sends them, to messages in columns.

Every offset of a range accounted for.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from recovery_kit.errors import CorruptLog
from recovery_kit.kafka.codecs import decompress
from recovery_kit.kernels import address, load
from recovery_kit.payload import Headers, Messages

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LEAST = struct.Struct(">qiib")  # as far as the magic byte, which all formats share
_LEGACY = struct.Struct(">qiIbbq")  # of formats v0 and v1; v0 has no time at the end
_CRC_FROM = 21


class Batch(NamedTuple):
    """The header of a record batch (format v2), and where the batch stands in the fetched bytes.

    A message of the formats v0 and v1, with what is compressed in it, is a batch too: its base
    offset is that of its last record, and it does not say how many it holds.
    """

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
    def all_at(self) -> int:
        """The time of all its records, where the broker set it (LogAppendTime); else -1."""
        return self.max_timestamp if self.attributes & 8 else -1

    @property
    def transactional(self) -> bool:
        """Whether a transaction wrote it."""
        return bool(self.attributes & 16)

    @property
    def control(self) -> bool:
        """Whether it holds a transaction's marker instead of messages."""
        return bool(self.attributes & 32)


def split(records: memoryview, where: str) -> list[Batch]:
    """Find the whole batches in fetched bytes.

    The last one may have been cut short by the fetch size.

    Raises CorruptLog for a length or format that cannot be; no CRC covers these.
    """
    found = []
    at, size = 0, len(records)
    while size - at >= _LEAST.size:
        base, length, epoch, magic = _LEAST.unpack_from(records, at)
        end = at + 12 + length
        if not 0 <= magic <= 2 or end - at < (_HEADER.size if magic == 2 else _LEGACY.size):
            raise CorruptLog(
                f"{where}: a record batch at offset {base} says that it has format v{magic} and "
                f"{length} bytes; the log is damaged there, or newer than this version, which "
                "reads the formats v0 to v2"
            )
        if end > size:
            break
        if magic == 2:
            _, _, _, _, crc, attributes, delta, first, last, producer, _, _, count = (
                _HEADER.unpack_from(records, at)
            )
            found.append(
                Batch(
                    at,
                    end,
                    base,
                    epoch,
                    magic,
                    crc,
                    attributes,
                    base + delta,
                    first,
                    last,
                    producer,
                    count,
                )
            )
        else:
            _, _, crc, _, attributes, time = _LEGACY.unpack_from(records, at)
            time = time if magic else -1
            found.append(Batch(at, end, base, -1, magic, crc, attributes, base, time, time, -1, -1))
        at = end
    return found


@dataclass
class Tally:
    """What became of the offsets of one partition, from its start to its position.

    The four add up to these offsets once every `Delivery` is booked.
    """

    position: int
    delivered: int = 0
    control: int = 0
    aborted: int = 0
    removed: int = 0

    @property
    def accounted(self) -> int:
        """Offsets of which it is known what became of them."""
        return self.delivered + self.control + self.aborted + self.removed

    def book(self, delivery: Delivery, messages: int) -> None:
        """Count the messages that a delivery was found to hold.

        Its other offsets hold none any more.
        """
        self.delivered += messages
        self.removed += delivery.offsets - messages


@dataclass(frozen=True)
class Fetch:
    """Fetched bytes of one partition.

    Attributes
    ----------
    topic, partition : where from
    asked : the offset that was asked for
    records : whole record batches, the last perhaps cut short
    batches : their headers; all of format v2, or none
    aborted : (first offset, producer id) of the aborted transactions among them
    """

    topic: str
    partition: int
    asked: int
    records: memoryview
    batches: list[Batch]
    aborted: list[tuple[int, int]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True)
class Delivery:
    """What a fetch delivers, not decoded yet.

    Attributes
    ----------
    fetch : where the bytes are
    batches : those that hold messages to deliver
    start, end : the messages with offsets from ``start`` to before ``end`` are delivered
    offsets : how many offsets the tally has moved over for these batches
    """

    fetch: Fetch
    batches: list[Batch]
    start: int
    end: int
    offsets: int


def take(fetch: Fetch, tally: Tally, end: int, *, committed: bool = True) -> Delivery | None:
    """Sort out what a fetch brought between the tally's position and ``end``, and bring the tally
    forward over it.

    Parameters
    ----------
    fetch : Fetch
    tally : Tally
        Its position is where the fetch was asked to start; moved to behind the last batch, at most
        to ``end``.
    end : int
        The captured end; later records are left out exactly there.
    committed : bool
        Leave out the records of aborted transactions.

    Returns
    -------
    Delivery or None
        For `decode`; how many messages it holds is then to be booked. None when there is nothing to
        deliver.

    Raises
    ------
    CorruptLog
        The batches' offsets do not ascend, or one that holds nothing to deliver is damaged.
    """
    start = tally.position
    if fetch.batches and fetch.batches[0].magic < 2:
        wanted = [b for b in fetch.batches if b.last_offset >= start]
        tally.position = max(min(fetch.batches[-1].last_offset + 1, end), start)
        offsets = tally.position - start
    else:
        wanted = _sort_out(fetch, tally, end, committed=committed)
        offsets = sum(min(b.last_offset + 1, end) - max(b.base_offset, start) for b in wanted)
    return Delivery(fetch, wanted, start, end, offsets) if wanted else None


def decode(delivery: Delivery) -> Messages:
    """The messages of a delivery, in offset order; in any thread, for it changes nothing.

    Raises
    ------
    CorruptLog
        A CRC does not match, or a batch does not hold what its header says.
    """
    d = delivery
    if d.batches[0].magic < 2:
        from recovery_kit.kafka.legacy import read_legacy

        messages = read_legacy(d.fetch, d.batches)
    else:
        messages = _decode(d.fetch, d.batches)
    return messages.cut(d.start, d.end)


def _sort_out(fetch: Fetch, tally: Tally, end: int, *, committed: bool) -> list[Batch]:
    """Bring the tally forward over the batches, and return those that hold messages to deliver, not
    yet counted.
    """
    wanted = []
    aborted = sorted(fetch.aborted, reverse=True)
    aborting: set[int] = set()
    reached = -1
    for batch in fetch.batches:
        if batch.base_offset >= end:
            tally.removed += end - tally.position
            tally.position = end
            break
        if not reached < batch.base_offset <= batch.last_offset:  # no CRC covers the base offset
            raise CorruptLog(
                f"{fetch}: a record batch says that it holds the offsets {batch.base_offset} to "
                f"{batch.last_offset}, and the one before it ends at {reached}; the log is damaged "
                "there"
            )
        reached = batch.last_offset
        if reached < tally.position:
            continue
        while aborted and aborted[-1][0] <= batch.last_offset:
            aborting.add(aborted.pop()[1])
        first, last = max(batch.base_offset, tally.position), min(batch.last_offset + 1, end)
        tally.removed += first - tally.position
        tally.position = last
        counted = 0
        if batch.control:
            aborts = _is_abort(fetch, batch)
            counted = batch.records
            tally.control += counted
            if aborts:
                aborting.discard(batch.producer_id)
        elif not batch.records:
            # The cleaner keeps an empty batch where it holds a producer's last sequence number.
            _check_crc(fetch, batch)
        elif committed and batch.transactional and batch.producer_id in aborting:
            counted = len(_decode(fetch, [batch]).cut(first, last))
            tally.aborted += counted
        else:
            wanted.append(batch)
            continue
        tally.removed += last - first - counted
    return wanted


def _check_crc(fetch: Fetch, batch: Batch) -> None:
    from crc32c import crc32c

    if crc32c(fetch.records[batch.start + _CRC_FROM : batch.end]) != batch.crc:
        raise CorruptLog(
            f"{fetch}: the CRC of the record batch at offsets {batch.base_offset} to "
            f"{batch.last_offset} does not match its bytes; the log is damaged there, or the way "
            "to it is. Try again; if it stays, restore the segment from a replica, or read around "
            "it with since and until as offsets"
        )


def _decode(fetch: Fetch, batches: list[Batch]) -> Messages:
    for batch in batches:
        _check_crc(fetch, batch)
    buffer, spans = _bodies(fetch, batches)
    facts = (
        (b.base_offset, b.last_offset, b.first_timestamp, b.all_at, b.records) for b in batches
    )
    table = np.array([(*span, *fact) for span, fact in zip(spans, facts, strict=True)], np.int64)
    counts = table[:, 6]
    n = int(counts.sum())
    if counts.min() < 0 or n > len(buffer):
        raise CorruptLog(
            f"{fetch}: the record batches from offset {batches[0].base_offset} on claim {n} records"
        )
    columns = np.empty((8, n), np.int64)
    bad = load().decode(address(buffer), address(table), len(table), address(columns), n)
    if bad >= 0:
        b = batches[bad]
        raise CorruptLog(
            f"{fetch}: the record batch at offsets {b.base_offset} to {b.last_offset} cannot be "
            "taken apart"
        )
    offset, time, key_at, key_len, value_at, value_len, headers_at, headers_end = columns
    return Messages(
        fetch.topic,
        fetch.partition,
        buffer,
        offset,
        time,
        key_at,
        key_len,
        value_at,
        value_len,
        headers=lambda i: _headers(
            buffer, int(headers_at[i]), int(headers_end[i]), f"{fetch} at offset {offset[i]}"
        ),
    )


def _headers(buffer: np.ndarray, at: int, end: int, where: str) -> Headers:
    rows = np.empty((16, 4), np.int64)
    while (count := load().headers(address(buffer), at, end, address(rows), len(rows))) > len(rows):
        rows = np.empty((count, 4), np.int64)
    if count < 0:
        raise CorruptLog(f"{where}: the record's headers cannot be taken apart")

    def part(at: int, length: int) -> bytes | None:
        return None if length < 0 else buffer[at : at + length].tobytes()

    return [
        ((part(k, kl) or b"").decode("utf-8", "backslashreplace"), part(v, vl))
        for k, kl, v, vl in rows[:count].tolist()
    ]


def _bodies(fetch: Fetch, batches: list[Batch]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """The records of batches, decompressed: a buffer, and from where to where in it each batch's
    stand.
    """
    places = [(b.start + _HEADER.size, b.end) for b in batches]
    if not any(b.codec for b in batches):
        return np.frombuffer(fetch.records, np.uint8), places
    parts = [
        decompress(
            fetch.records[at:end], b.codec, f"{fetch}: the record batch at offset {b.base_offset}"
        )
        for b, (at, end) in zip(batches, places, strict=True)
    ]
    ends = list(itertools.accumulate(map(len, parts)))
    return np.frombuffer(b"".join(parts), np.uint8), list(zip([0, *ends], ends, strict=False))


def _is_abort(fetch: Fetch, batch: Batch) -> bool:
    if not batch.records:
        _check_crc(fetch, batch)
        return False
    key = _decode(fetch, [batch]).key(0)
    if key is None or len(key) < 4:
        raise CorruptLog(
            f"{fetch}: the control batch at offset {batch.base_offset} holds no marker"
        )
    return key[2:4] == b"\0\0"  # a version, then the type: 0 aborts, 1 commits
