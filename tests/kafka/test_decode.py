"""The compiled decoder: whatever bytes it is given, it stays inside them and inside its columns."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kafka.record.util import encode_varint

from recovery_kit.kernels import address, load
from tests.guarded import Guarded
from tests.kafka.build import Record, batch

EDGE = Guarded(1 << 16)

GUARD = 5
"""Cells behind the columns that must stay as they are."""


def run(buffer: np.ndarray, table: np.ndarray, records: int) -> tuple[int, np.ndarray]:
    """Decode some batches: (answer, columns)."""
    columns = np.full(8 * records + GUARD, -77, np.int64)
    bad = load().decode(address(buffer), address(table), len(table), address(columns), records)
    assert (columns[8 * records :] == -77).all()
    return bad, columns[: 8 * records].reshape(8, records)


def decode(body: bytes, records: int, last: int = 9, *, at: int = 3) -> tuple[int, np.ndarray]:
    """Decode one batch at offsets 0 to ``last``, with other bytes before it and none behind:
    (answer, columns).
    """
    buffer = EDGE.holding(b"\xff" * at + body)
    return run(
        buffer, np.array([(at, at + len(body), 0, last, 1000, -1, records)], np.int64), records
    )


def inside(places: np.ndarray, lengths: np.ndarray, start: int, end: int) -> bool:
    return bool(
        ((lengths == -1) | ((places >= start) & (lengths >= 0) & (places + lengths <= end))).all()
    )


BODIES = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from([0, 1, 2, 3, 6, 12, 0x7E, 0x80, 0xFF]), max_size=60).map(bytes),
    st.builds(
        lambda at, byte: bytes(
            batch([Record(o, headers=[("h", b"1")]) for o in range(4)])[61:]
        ).replace(bytes([at]), bytes([byte])),
        st.integers(0, 255),
        st.integers(0, 255),
    ),
)


@settings(max_examples=1500, deadline=None)
@given(BODIES, st.integers(0, 12))
@example(b"\x02\x00", 1)
@example(b"\x0c\x00\x00\x00\x01\x01\x00", 1)
@example(b"\xff" * 9 + b"\x01", 1)  # a length of the least int64
def test_any_bytes_are_refused_or_stay_inside(body: bytes, records: int) -> None:
    bad, columns = decode(body, records)
    if bad >= 0:
        return
    offset, _, key_at, key_len, value_at, value_len, headers_at, headers_end = columns
    assert offset.tolist() == sorted(set(offset.tolist()))
    assert set(offset.tolist()) <= set(range(10))
    assert inside(key_at, key_len, 3, 3 + len(body))
    assert inside(value_at, value_len, 3, 3 + len(body))
    assert inside(headers_at, headers_end - headers_at, 3, 3 + len(body))


@settings(max_examples=1000, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.lists(st.sampled_from([0, 1, 2, 4, 6, 65, 0x80]), max_size=30).map(bytes),
    )
)
def test_any_headers_are_refused_or_stay_inside(data: bytes) -> None:
    buffer = EDGE.holding(b"\xff\xff" + data)
    rows = np.full((len(data) + GUARD, 4), -77, np.int64)
    found = load().headers(address(buffer), 2, 2 + len(data), address(rows), len(data))
    assert -1 <= found <= len(data)
    assert (rows[max(found, 0) :][-GUARD:] == -77).all()
    if found >= 0:
        rows = rows[:found]
        assert (rows[:, 1] >= 0).all()
        assert inside(rows[:, 0], rows[:, 1], 2, 2 + len(data))
        assert inside(rows[:, 2], rows[:, 3], 2, 2 + len(data))


def test_headers_for_which_there_is_no_room_are_only_counted() -> None:
    body = bytes(batch([Record(0, headers=[(f"h{i}", b"1") for i in range(5)])])[61:])
    _, columns = decode(body, 1)
    rows = np.full((5, 4), -77, np.int64)
    places = int(columns[6, 0]), int(columns[7, 0])
    buffer = EDGE.holding(b"\xff" * 3 + body)
    assert load().headers(address(buffer), *places, address(rows), 4) == 5
    assert (rows == -77).all()
    assert load().headers(address(buffer), *places, address(rows), 5) == 5
    assert rows[:, 1].tolist() == [2] * 5


def varint(value: int) -> bytes:
    data = bytearray()
    encode_varint(value, data.append)
    return bytes(data)


@given(st.integers(-(2**63), 2**63 - 1))
@example(-(2**63))
@example(2**63 - 1)
def test_varints_of_every_size(value: int) -> None:
    """As the time of a record; a record that is cut off in the middle of it is refused."""
    record = b"\0" + varint(value) + b"\0\x01\x01\0"
    whole = varint(len(record)) + record
    table = np.array([(0, len(whole), 0, 0, 0, -1, 1)], np.int64)
    bad, columns = run(EDGE.holding(whole), table, 1)
    assert (bad, columns[1].tolist()) == (-1, [value])
    for length in range(1, 1 + len(varint(value))):
        cut = varint(length) + record[:length]
        assert (
            run(EDGE.holding(cut), np.array([(0, len(cut), 0, 0, 0, -1, 1)], np.int64), 1)[0] == 0
        )


def test_a_varint_that_does_not_end_is_refused() -> None:
    assert decode(b"\x80" * 40, 1)[0] == 0
    assert decode(varint(39) + b"\0" + b"\x80" * 38, 1)[0] == 0


def test_bytes_behind_the_last_record_are_refused() -> None:
    body = bytes(batch([Record(0), Record(1)])[61:])
    assert decode(body, 2, 1)[0] == -1
    assert decode(body, 1, 1)[0] == 0
    assert decode(body + b"\0", 2, 1)[0] == 0


def test_the_first_bad_batch_is_named() -> None:
    one, two = (bytes(batch([Record(o)])[61:]) for o in (0, 1))
    buffer = np.frombuffer(one + two + one, np.uint8)
    size = len(one)
    table = np.array([(i * size, (i + 1) * size, i, i, 0, -1, 1) for i in range(3)], np.int64)
    assert run(buffer, table, 3)[0] == -1
    table[1, 1] -= 1
    assert run(buffer, table, 3)[0] == 1


def test_the_time_of_a_record() -> None:
    """Its own, ahead of the batch's first; or, where the broker set it, the batch's."""
    body = bytes(batch([Record(0, time=5_000), Record(1, time=4_000)])[61:])
    for all_at, times in ((-1, [5_000, 4_000]), (9_000, [9_000, 9_000])):
        bad, columns = run(
            EDGE.holding(body), np.array([(0, len(body), 0, 1, 5_000, all_at, 2)], np.int64), 2
        )
        assert (bad, columns[1].tolist()) == (-1, times)
