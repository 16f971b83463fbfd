"""The records of some batches, decompressed and taken apart into messages in columns."""

from __future__ import annotations

import numpy as np

from recovery_kit._room import require
from recovery_kit.errors import CorruptLog
from recovery_kit.kafka.batches import CRC_FROM, HEADER, Batch, Fetch
from recovery_kit.kafka.codecs import Packed, decompress
from recovery_kit.kernels import address, load
from recovery_kit.payload.messages import HEADER as A_HEADER
from recovery_kit.payload.messages import Headers, Messages

_LEAST = 7
"""Bytes of a record that holds nothing: its length and the six parts of one byte each."""


def decode(fetch: Fetch, batches: list[Batch]) -> Messages:
    """The messages of some batches; a CorruptLog where one does not hold what its header says."""
    for batch in batches:
        check_crc(fetch, batch)
    buffer, spans = _bodies(fetch, batches)
    facts = (
        (b.base_offset, b.last_offset, b.first_timestamp, b.all_at, b.records) for b in batches
    )
    table = np.array([(*span, *fact) for span, fact in zip(spans, facts, strict=True)], np.int64)
    counts, sizes = table[:, 6], table[:, 1] - table[:, 0]
    wrong = (counts < 0) | (counts > sizes // _LEAST)
    if wrong.any():
        i = int(wrong.argmax())
        b = batches[i]
        raise CorruptLog(
            f"{fetch}: the record batch at offsets {b.base_offset} to {b.last_offset} says that it "
            f"holds {b.records:,} records, which its {sizes[i]:,} bytes cannot"
        )
    n = int(counts.sum())
    require(
        8 * 8 * n,
        f"{fetch}: the messages from offset {batches[0].base_offset} on, {n:,} of one fetch,",
        instead="Read fewer partitions at a time (partitions)",
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


def check_crc(fetch: Fetch, batch: Batch) -> None:
    """Raise CorruptLog where the bytes of a batch are not those that its CRC was made of."""
    from crc32c import crc32c

    if crc32c(fetch.records[batch.start + CRC_FROM : batch.end]) != batch.crc:
        raise CorruptLog(
            f"{fetch}: the CRC of the record batch at offsets {batch.base_offset} to "
            f"{batch.last_offset} does not match its bytes; the log is damaged there, or the way "
            "to it is. Try again; if it stays, restore the segment from a replica, or read around "
            "it with since and until as offsets"
        )


def _headers(buffer: np.ndarray, at: int, end: int, where: str) -> Headers:
    rows = np.empty((16, 4), np.int64)
    while (count := load().headers(address(buffer), at, end, address(rows), len(rows))) > len(rows):
        require(
            A_HEADER * count,
            f"{where}: one record with {count:,} headers",
            instead="Read around it with since and until as offsets",
        )
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
    places = [(b.start + HEADER.size, b.end) for b in batches]
    if not any(b.codec for b in batches):
        return np.frombuffer(fetch.records, np.uint8), places
    packed = [
        Packed(
            fetch.records[at:end], b.codec, f"{fetch}: the record batch at offset {b.base_offset}"
        )
        for b, (at, end) in zip(batches, places, strict=True)
    ]
    buffer, ends = decompress(packed, fetch.most)
    return buffer, list(zip([0, *ends], ends, strict=False))
