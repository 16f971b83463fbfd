"""Message formats v0 and v1: read, counted and refused like the newer one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords

from recovery_kit.errors import CorruptLog
from recovery_kit.sources.span import Tally
from tests.kafka.build import GZIP, LZ4, SNAPPY, Record, fetch, legacy, read, resealed
from tests.kafka.test_batches import counts, rows
from tests.messages import NOON

RECORDS = [
    Record(o, b"value %d" % o * 20, None if o % 2 else b"k", NOON + o) for o in range(10, 15)
]
CODECS = pytest.mark.parametrize("codec", [0, GZIP, SNAPPY, LZ4])
MAGIC = pytest.mark.parametrize("magic", [0, 1])


def made(
    magic: int, codec: int, records: list[Record] = RECORDS, append_time: int | None = None
) -> bytearray:
    """As a broker of that time kept it.

    The LZ4 of v0 has a header whose checksum is wrong, as was usual then.
    """
    if magic or codec != LZ4:
        return legacy(records, magic, codec, append_time=append_time)
    data = legacy(records, 0, GZIP)
    import lz4.frame

    inner = b"".join(bytes(legacy([r], 0)) for r in records)
    frame = bytearray(lz4.frame.compress(inner, block_linked=False, store_size=False))
    frame[6] ^= 0x55
    data = data[:18] + struct.pack(">ii", -1, len(frame)) + frame
    data[17] = LZ4
    struct.pack_into(">i", data, 8, len(data) - 12)
    return resealed(data)


def expected(records: list[Record], magic: int, at: int | None = None) -> list[tuple[object, ...]]:
    return [(r.offset, (at or r.time) if magic else -1, r.key, r.value, []) for r in records]


@MAGIC
@CODECS
def test_fault_24_formats_v0_and_v1(magic: int, codec: int) -> None:
    data = made(magic, codec)
    for start in range(
        10, 15
    ):  # a message that holds others comes whole, from wherever it is asked for
        for end in range(start + 1, 16):
            tally = Tally(start)
            got = rows(read(fetch(data, start), tally, end))
            assert got == expected([r for r in RECORDS if start <= r.offset < end], magic)
            assert counts(tally) == (len(got), 0, 0, end - start - len(got))
            assert tally.position == min(end, 15)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4])
def test_fault_24_times_that_the_broker_set(codec: int) -> None:
    data = made(1, codec, append_time=NOON + 99)
    assert rows(read(fetch(data, 10), Tally(10), 15)) == expected(RECORDS, 1, NOON + 99)


@MAGIC
@CODECS
def test_fault_24_records_that_the_cleaner_took(magic: int, codec: int) -> None:
    kept = [r for r in RECORDS if r.offset != 12]
    tally = Tally(8)
    assert rows(read(fetch(made(magic, codec, kept), 8), tally, 15)) == expected(kept, magic)
    assert counts(tally) == (4, 0, 0, 3)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([0, 1]),
    st.lists(
        st.tuples(st.sampled_from([0, GZIP, SNAPPY]), st.integers(1, 4), st.integers(0, 2)),
        max_size=5,
    ),
    st.integers(0, 20),
    st.integers(1, 20),
)
def test_any_messages_are_read_as_kafka_python_reads_them(
    magic: int, sets: list[tuple[int, int, int]], start: int, length: int
) -> None:
    data, offset = bytearray(), 0
    for codec, count, gap in sets:
        offset += gap
        data += made(
            magic, codec, [Record(offset + i, b"x" * 40, None, NOON + i) for i in range(count)]
        )
        offset += count
    tally, end = Tally(start), start + length
    got = rows(read(fetch(data, start), tally, end))
    parts = Fetcher.PartitionRecords(start, TopicPartition("t", 0), MemoryRecords(bytes(data)))
    theirs = [
        (r.offset, -1 if magic == 0 else r.timestamp, r.key, r.value, [])
        for r in parts.take()
        if r.offset < end
    ]
    assert got == theirs
    assert tally.delivered + tally.removed == tally.position - start


@MAGIC
@CODECS
def test_fault_17_each_damaged_byte_of_the_old_formats_is_told(magic: int, codec: int) -> None:
    data = made(magic, codec)
    first = 12 + struct.unpack_from(">i", data, 8)[0]
    for at in range(8, first):  # no CRC covers the offset
        damaged = bytearray(data)
        damaged[at] ^= 1
        tally = Tally(10)
        try:
            got = rows(read(fetch(damaged, 10), tally, 15))
        except CorruptLog as error:
            assert str(error).startswith("t-0: ")  # noqa: PT017
            continue
        assert at < 12  # said to be longer than what came: not there yet
        assert (got, tally.position) == ([], 10)


def test_damage_under_a_right_crc_is_told() -> None:
    plain = legacy([Record(3, b"value", b"k")], 1)
    for at, what in ((26, ">i"), (31, ">i")):  # the lengths of key and value
        for length in (4, 100, 2**31 - 1):
            data = bytearray(plain)
            struct.pack_into(what, data, at, length)
            with pytest.raises(
                CorruptLog, match="t-0: the message at offset 3 cannot be taken apart"
            ):
                read(fetch(resealed(data), 3), Tally(3), 4)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4])
def test_messages_compressed_twice_empty_or_without_value_are_told(codec: int) -> None:
    without = legacy([Record(14, None, None)], 1)
    without[17] |= codec
    for wrapped in (
        _compressed(bytes(legacy(RECORDS, 1, codec)), codec),
        _compressed(b"", codec),
        without,
    ):
        with pytest.raises(CorruptLog, match="t-0: the message at offset 14 cannot be taken apart"):
            read(fetch(resealed(wrapped), 10), Tally(10), 15)


def _compressed(data: bytes, codec: int) -> bytearray:
    import cramjam

    packed = {
        GZIP: cramjam.gzip.compress,
        SNAPPY: cramjam.snappy.compress_raw,
        LZ4: cramjam.lz4.compress,
    }[codec](data)
    wrapped = legacy([Record(14, bytes(packed), None)], 1)
    wrapped[17] |= codec
    return wrapped


def test_a_codec_that_the_old_formats_do_not_have_is_named() -> None:
    data = legacy([Record(3, b"value")], 1)
    data[17] |= 5
    with pytest.raises(CorruptLog, match="offset 3 is compressed with codec number 5"):
        read(fetch(resealed(data), 3), Tally(3), 4)
