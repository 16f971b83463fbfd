"""Record batches: whatever is in them and wherever they are cut, every offset is accounted for and
the records are right.
"""

from __future__ import annotations

import random
import struct
import sys
from dataclasses import dataclass, field

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords

from recovery_kit.errors import CorruptLog, KafkaError
from recovery_kit.kafka.batches import Fetch
from recovery_kit.payload.messages import Headers, Messages
from recovery_kit.sources.span import Tally
from tests.kafka.build import (
    ABORT,
    APPEND_TIME,
    COMMIT,
    GZIP,
    LZ4,
    SNAPPY,
    TRANSACTIONAL,
    ZSTD,
    Record,
    batch,
    fetch,
    marker,
    read,
    sealed,
)
from tests.messages import NOON

Row = tuple[int, int, bytes | None, bytes | None, Headers]


def rows(messages: Messages | None) -> list[Row]:
    """Each message as (offset, time, key, value, headers)."""
    if messages is None:
        return []
    m = messages
    return [
        (int(m.offset[i]), int(m.time[i]), m.key(i), m.value(i), m.headers(i))
        for i in range(len(m))
    ]


def counts(tally: Tally) -> tuple[int, int, int, int]:
    return tally.delivered, tally.control, tally.aborted, tally.removed


# --- any log, cut into any fetches


@dataclass
class Log:
    """What a broker would hold of one partition, and what a reader should make of each offset."""

    batches: list[tuple[int, bytes]] = field(default_factory=list)
    """(last offset, bytes)"""
    kind: dict[int, str] = field(default_factory=dict)
    """Offset to delivered, aborted or control; an offset that is not here was removed."""
    records: dict[int, Record] = field(default_factory=dict)
    aborted: list[tuple[int, int, int]] = field(default_factory=list)
    """(first offset, offset of the marker, producer)"""
    end: int = 0

    def fetched(self, position: int, most: int, cut: int) -> tuple[bytes, list[tuple[int, int]]]:
        """As a broker answers: whole batches from the one that holds the position on, ``most`` of
        them and a piece.
        """
        held = [(last, data) for last, data in self.batches if last >= position]
        whole, more = held[:most], held[most : most + 1]
        upper = whole[-1][0] if whole else position
        aborted = [
            (first, producer)
            for first, end, producer in self.aborted
            if end >= position and first <= upper
        ]
        piece = more[0][1][: min(cut, len(more[0][1]) - 1)] if more else b""
        return b"".join(data for _, data in whole) + piece, aborted


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Batches of producers with and without transactions, some of which end and some of which are
    aborted, cleaned or not.
    """
    log = Log()
    began: dict[int, int] = {}
    written: dict[int, list[int]] = {}
    dice = random.Random(draw(st.integers(0, 2**32)))  # for what need not shrink
    log.end = draw(st.sampled_from([0, 0, 3, 10**12]))
    kinds = ["plain", "write", "write", "commit", "abort", "abort", "gap"]
    for step in [
        *draw(st.lists(st.sampled_from(kinds), max_size=14, min_size=draw(st.integers(0, 9)))),
        *["commit"] * 3,
    ]:
        producer = dice.choice([1, 2, 3])
        if step == "gap":
            log.end += dice.randint(1, 5)
        elif step in ("plain", "write"):
            if step == "write":
                began.setdefault(producer, log.end)
            _write(log, dice, producer if step == "write" else -1, written)
        elif began:
            producer = producer if producer in began else min(began)
            kind = "delivered" if step == "commit" else "aborted"
            log.kind |= dict.fromkeys(written.pop(producer, []), kind)
            if step == "abort":
                log.aborted.append((began[producer], log.end, producer))
            del began[producer]
            log.batches.append(
                (log.end, bytes(marker(log.end, producer, COMMIT if step == "commit" else ABORT)))
            )
            log.kind[log.end] = "control"
            log.end += 1
    # What is still open at the end lies behind the last stable offset, which is as far as anybody
    # reads.
    stable = min(began.values(), default=log.end)
    log.batches = [(last, data) for last, data in log.batches if last < stable]
    log.end = stable
    return log


def _write(log: Log, dice: random.Random, producer: int, written: dict[int, list[int]]) -> None:
    span = dice.choice([1, 2, 3, 6])
    cleaned = dice.random() < 0.3
    offsets = [log.end + i for i in range(span) if not (cleaned and dice.random() < 0.5)]
    codec = dice.choice([0, 0, GZIP, SNAPPY, LZ4, ZSTD])
    attributes = (TRANSACTIONAL if producer >= 0 else 0) | (
        APPEND_TIME if dice.random() < 0.2 else 0
    )
    made = [
        Record(
            offset,
            dice.choice([None, b"", b"{}", b"x" * 300]),
            dice.choice([None, b"", b"key"]),
            NOON + dice.randint(-(10**6), 10**6),
            dice.choice([[], [("a", None), ("a", b"2"), ("é", b"")]]),
        )
        for offset in offsets
    ]
    base, last = log.end, log.end + span - 1
    log.end += span
    if not made:
        if (
            dice.random() < 0.5
        ):  # the cleaner keeps an empty batch of a producer's last sequence number
            log.batches.append((last, _empty(base, last, attributes, producer)))
        return
    at = NOON + 5 if attributes & APPEND_TIME else None
    try:
        data = batch(
            made,
            base=base,
            last=last,
            codec=codec,
            attributes=attributes,
            producer=producer,
            max_time=at,
        )
    except AssertionError:  # too small to be compressed
        data = batch(
            made, base=base, last=last, attributes=attributes, producer=producer, max_time=at
        )
    log.batches.append((last, bytes(data)))
    for r in made:
        log.records[r.offset] = Record(
            r.offset, r.value, r.key, r.time if at is None else at, r.headers
        )
        log.kind[r.offset] = "delivered"
    if producer >= 0:
        written.setdefault(producer, []).extend(offsets)


def _empty(base: int, last: int, attributes: int, producer: int) -> bytes:
    data = batch([Record(base)], last=last, attributes=attributes, producer=producer)[:61]
    struct.pack_into(">i", data, 8, 49)
    struct.pack_into(">i", data, 57, 0)
    return bytes(sealed(data))


@settings(max_examples=300, deadline=None)
@given(logs(), st.data())
def test_any_log_in_any_fetches_is_accounted_for(log: Log, data: st.DataObject) -> None:
    first = min((last for last, _ in log.batches), default=0)
    least = max(0, first - 9)
    start = data.draw(st.just(least) | st.integers(least, log.end), label="start")
    end = data.draw(st.just(log.end) | st.integers(start, log.end), label="end")
    committed = data.draw(st.booleans(), label="committed")
    tally = Tally(start)
    got: list[Row] = []
    theirs: list[Row] = []
    while tally.position < end:
        most, cut = (
            data.draw(st.integers(1, 4), label="batches"),
            data.draw(st.integers(0, 80), label="cut"),
        )
        answer, aborted = log.fetched(tally.position, most, cut)
        if not answer:  # a hole with nothing behind it; a broker would not answer
            break
        asked = tally.position
        got += rows(read(fetch(answer, asked, aborted), tally, end, committed=committed))
        theirs += second_opinion(answer, asked, aborted, end, committed=committed)
        assert tally.position > asked
    reached = tally.position
    kinds = {o: k for o, k in log.kind.items() if start <= o < reached}
    wanted = [
        o
        for o in sorted(kinds)
        if kinds[o] == "delivered" or (kinds[o] == "aborted" and not committed)
    ]
    records = [log.records[o] for o in wanted]
    assert got == [(r.offset, r.time, r.key, r.value, r.headers) for r in records]
    assert got == theirs
    control = sum(k == "control" for k in kinds.values())
    aborted_ones = sum(k == "aborted" for k in kinds.values()) if committed else 0
    assert counts(tally) == (len(wanted), control, aborted_ones, reached - start - len(kinds))
    event(
        f"aborted: {aborted_ones > 0}, removed: {tally.removed > 0}"
    )  # see --hypothesis-show-statistics


def second_opinion(
    data: bytes, position: int, aborted: list[tuple[int, int]], end: int, *, committed: bool
) -> list[Row]:
    """What kafka-python itself makes of the same bytes."""
    transaction = type("Aborted", (), {})
    found = []
    for first, producer in aborted:
        one = transaction()
        one.first_offset, one.producer_id = first, producer
        found.append(one)
    parts = Fetcher.PartitionRecords(
        position,
        TopicPartition("t", 0),
        MemoryRecords(data),
        isolation_level=IsolationLevel.READ_COMMITTED
        if committed
        else IsolationLevel.READ_UNCOMMITTED,
        aborted_transactions=found,
    )
    return [
        (r.offset, r.timestamp, r.key, r.value, list(r.headers))
        for r in parts.take()
        if r.offset < end
    ]


# --- one at a time


def test_the_end_cuts_exactly() -> None:
    data = batch([Record(o) for o in range(10, 20)])
    for end in range(12, 21):
        tally = Tally(12)
        assert [r[0] for r in rows(read(fetch(data), tally, end))] == list(range(12, end))
        assert (tally.position, counts(tally)) == (end, (end - 12, 0, 0, 0))


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_fault_19_every_codec(codec: int) -> None:
    records = [
        Record(o, b"value %d " % o * 9, headers=[("h", b"1")]) for o in range(2000)
    ]  # over one block of snappy
    data = batch(records, codec=codec)
    got = rows(read(fetch(data), Tally(0), 2000))
    assert got == [(r.offset, r.time, r.key, r.value, r.headers) for r in records]


def test_fault_19_snappy_without_javas_framing() -> None:
    import cramjam

    plain = batch([Record(o, b"value" * 50) for o in range(3)])
    data = plain[:61] + bytearray(bytes(cramjam.snappy.compress_raw(bytes(plain[61:]))))
    data[22] |= SNAPPY
    struct.pack_into(">i", data, 8, len(data) - 12)
    assert [r[3] for r in rows(read(fetch(sealed(data)), Tally(0), 3))] == [b"value" * 50] * 3


@pytest.mark.parametrize("number", [5, 6, 7])
def test_fault_19_an_unknown_codec_is_named(number: int) -> None:
    data = batch([Record(41)])
    data[22] |= number
    with pytest.raises(
        CorruptLog,
        match=f"t-0: .*offset 41 .*codec number {number}.*it reads none, gzip, snappy, lz4, zstd",
    ):
        read(fetch(sealed(data), 41), Tally(41), 42)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_fault_19_a_codec_that_is_not_installed_names_the_package(
    monkeypatch: pytest.MonkeyPatch, codec: int
) -> None:
    data = batch([Record(o, b"value" * 90) for o in range(41, 43)], codec=codec)
    monkeypatch.setitem(sys.modules, "cramjam", None)
    with pytest.raises(
        KafkaError, match=r"t-0: .*offset 41 .*needs the Python package cramjam; install it"
    ):
        read(fetch(data, 41), Tally(41), 43)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_what_does_not_decompress_is_named(codec: int) -> None:
    data = batch([Record(o, b"value" * 90) for o in range(5, 9)], codec=codec)
    for cut in (data[:70], data[:61] + b"\0" * 40, data[:-1]):
        struct.pack_into(">i", cut, 8, len(cut) - 12)
        with pytest.raises(CorruptLog, match=r"t-0: .*offsets? 5 "):
            read(fetch(sealed(cut), 5), Tally(5), 9)


def test_fault_17_each_damaged_byte_is_told() -> None:
    """But in the leader's epoch: no CRC covers it, and nothing is made of it."""
    before, data = (
        batch([Record(o) for o in range(5)]),
        batch([Record(o, b"value") for o in range(5, 9)]),
    )
    for at in set(range(len(data))) - {12, 13, 14, 15}:
        for flip in (1, 0x80):
            damaged = before + data
            damaged[len(before) + at] ^= flip
            tally = Tally(0)
            try:
                got = rows(read(fetch(damaged), tally, 9))
            except CorruptLog as error:
                assert str(error).startswith("t-0: ")  # noqa: PT017
                continue
            # A batch that says that it lies further on leaves a hole, and one that says it is
            # longer is not there yet.
            assert at < 12
            assert tally.removed or tally.position == 5
            assert [r[0] for r in got][:5] == [0, 1, 2, 3, 4]


def test_batches_out_of_order_are_told() -> None:
    one, two = batch([Record(5), Record(6)]), batch([Record(6), Record(7)])
    with pytest.raises(CorruptLog, match=r"offsets 6 to 7, and the one before it ends at 6"):
        read(fetch(one + two, 5), Tally(5), 8)
    tally = Tally(5)
    assert [r[0] for r in rows(read(fetch(one + two, 5), tally, 6))] == [
        5
    ]  # what lies behind the end is not looked at


@pytest.mark.parametrize(
    ("offsets", "last"),
    [((0, 0), 1), ((1, 0), 1), ((0, 2), 1), ((0, 1, 1), 2)],
    ids=["twice", "back", "beyond", "again"],
)
def test_records_at_offsets_that_their_batch_cannot_hold(
    offsets: tuple[int, ...], last: int
) -> None:
    data = batch([Record(o) for o in offsets], base=0, last=last)
    with pytest.raises(CorruptLog, match=f"offsets 0 to {last} cannot be taken apart"):
        read(fetch(data), Tally(0), last + 1)


@pytest.mark.parametrize("claimed", [-1, 1, 3, 2**31 - 1])
def test_a_wrong_number_of_records(claimed: int) -> None:
    data = batch([Record(0), Record(1)])
    struct.pack_into(">i", data, 57, claimed)
    with pytest.raises(CorruptLog, match="t-0: the record batch"):
        read(fetch(sealed(data) + batch([Record(o) for o in range(2, 9)])), Tally(0), 9)


def test_a_batch_that_claims_less_than_nothing_takes_no_room_from_others() -> None:
    data = bytearray(_empty(0, 4, 0, -1))
    struct.pack_into(">i", data, 57, -5)
    with pytest.raises(
        CorruptLog,
        match="t-0: the record batch at offsets 0 to 4 says that it holds -5 records, which its 0 ",
    ):
        read(fetch(sealed(data) + batch([Record(o) for o in range(5, 10)])), Tally(0), 10)


def test_batches_before_the_position_are_passed_over() -> None:
    tally = Tally(5)
    data = (
        batch([Record(0), Record(3)])
        + marker(4, 1, COMMIT)
        + marker(5, 1, COMMIT)
        + batch([Record(6)])
    )
    assert [r[0] for r in rows(read(fetch(data, 5), tally, 7))] == [6]
    assert (tally.position, counts(tally)) == (7, (1, 1, 0, 0))


def test_an_unknown_format_is_named() -> None:
    data = batch([Record(0)])
    data[16] = 3
    with pytest.raises(
        CorruptLog, match=r"t-0: .*offset 0 .*format v3 .*reads the formats v0 to v2"
    ):
        fetch(data)


def test_a_fetch_cut_short_anywhere_is_read_as_far_as_it_goes() -> None:
    whole, more = batch([Record(0), Record(1)]), batch([Record(2), Record(3)])
    for size in range(len(more)):
        tally = Tally(0)
        assert [r[0] for r in rows(read(fetch(whole + more[:size]), tally, 4))] == [0, 1]
        assert tally.position == 2


def test_a_control_batch_without_a_marker_is_told() -> None:
    for key in (None, b"", b"\0\0\0"):
        with pytest.raises(CorruptLog, match="t-0: the control batch at offset 3 holds no marker"):
            read(fetch(marker(3, 1, key)), Tally(3), 4)


def test_markers_of_other_kinds_abort_nothing() -> None:
    data = (
        batch([Record(0)], attributes=TRANSACTIONAL, producer=1)
        + marker(1, 1, b"\0\0\0\2")
        + marker(2, 1, COMMIT)
    )
    tally = Tally(0)
    assert [r[0] for r in rows(read(fetch(data), tally, 3))] == [0]
    assert counts(tally) == (1, 2, 0, 0)


def test_fault_21_a_second_transaction_of_the_same_producer_is_not_taken_for_the_aborted_one() -> (
    None
):
    data = (
        batch([Record(0)], attributes=TRANSACTIONAL, producer=1)
        + batch([Record(1)], producer=1)  # the same producer, outside of any transaction
        + marker(2, 1, ABORT)
        + batch([Record(3)], attributes=TRANSACTIONAL, producer=1)
        + marker(4, 1, COMMIT)
        + batch([Record(5)], attributes=TRANSACTIONAL, producer=1)
        + marker(6, 1, ABORT)
    )
    tally = Tally(0)
    assert [r[0] for r in rows(read(fetch(data, 0, [(5, 1), (0, 1)]), tally, 7))] == [1, 3]
    assert counts(tally) == (2, 3, 2, 0)


def test_fault_26_headers_null_or_repeated() -> None:
    headers: Headers = [("trace", None), ("trace", b""), ("", b"x"), ("é", b"\xff")]
    messages = read(fetch(batch([Record(0), Record(1, headers=headers)])), Tally(0), 2)
    assert messages is not None
    assert [messages.headers(i) for i in (0, 1)] == [[], headers]
    assert messages.cut(1, 2).headers(0) == headers


def test_headers_that_cannot_be_taken_apart_name_their_record() -> None:
    data = batch([Record(30), Record(31, headers=[("h", b"12")])])
    data[-3] = 40  # the length of the value
    messages = read(fetch(sealed(data), 30), Tally(30), 32)
    assert messages is not None
    with pytest.raises(CorruptLog, match="t-0 at offset 31: the record's headers cannot"):
        messages.headers(1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_under_a_right_crc_is_told_or_read_as_kafka_python_reads_it(
    data: st.DataObject,
) -> None:
    """A producer that writes nonsense: the decoder must neither read beyond the bytes nor make
    something up.
    """
    made = batch([Record(o, b"value", headers=[("h", b"1"), ("n", None)]) for o in range(3)])
    size = (len(made) - 61) // 3
    # kafka-python reads a record's attributes as a varint, though they are one byte; nothing is
    # made of them.
    places = [at for at in range(61, len(made)) if (at - 61) % size != 1]
    for at in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
        made[at] = data.draw(st.integers(0, 255))
    answer = bytes(sealed(made))
    try:
        got = rows(read(fetch(answer), Tally(0), 3))
    except CorruptLog:
        return
    try:
        theirs = second_opinion(answer, 0, [], 3, committed=True)
    except CorruptRecordError:
        theirs = []
    assert got[: len(theirs)] == theirs
    # Where it stops early, it is at a header's name that is not UTF-8; we show such bytes as
    # escapes.
    assert len(got) == len(theirs) or any("\\x" in name for name, _ in got[len(theirs)][4])


def test_a_fetch_says_where_it_is_from() -> None:
    assert str(Fetch("a-b", 3, 0, memoryview(b""), [])) == "a-b-3"
