"""Record batches, as a broker sends them: their headers, and where in the fetch each stands."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from recovery_kit.errors import CorruptLog

HEADER = struct.Struct(">qiibIhiqqqhii")
_LEAST = struct.Struct(">qiib")  # as far as the magic byte, which all formats share
_LEGACY = struct.Struct(">qiIbbq")  # of formats v0 and v1; v0 has no time at the end
CRC_FROM = 21
"""Where in a batch its CRC begins to cover it."""
MOST = 1 << 30
"""Bytes that the batches of one fetch may decompress to: a thousand times the largest batch that a
broker takes by default, and hundreds of times a fetch.
"""


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
        if not 0 <= magic <= 2 or end - at < (HEADER.size if magic == 2 else _LEGACY.size):
            raise CorruptLog(
                f"{where}: a record batch at offset {base} says that it has format v{magic} and "
                f"{length} bytes; the log is damaged there, or newer than this version, which "
                "reads the formats v0 to v2"
            )
        if end > size:
            break
        if magic == 2:
            _, _, _, _, crc, attributes, delta, first, last, producer, _, _, count = (
                HEADER.unpack_from(records, at)
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
    most : bytes that its batches may decompress to, together
    """

    topic: str
    partition: int
    asked: int
    records: memoryview
    batches: list[Batch]
    aborted: list[tuple[int, int]] = field(default_factory=list)
    most: int = MOST

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"
