"""The compiled decoder: whatever bytes it is given, it stays inside them and inside its columns."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kafka.record.util import encode_varint

from recovery_kit.kafka import _decode
from tests.kafka.build import Record, batch

GUARD = 5
"""Cells behind each column that must stay as they are."""


def decode(body: bytes, records: int, last: int = 9, *, at: int = 3) -> tuple[int, np.ndarray]:
    """Decode one batch at offsets 0 to ``last`` in a buffer with other bytes around it: (answer, columns)."""
    buffer = np.frombuffer(b"\xff" * at + body + b"\xff" * 20, np.uint8)
    columns = np.full((8, records + GUARD), -77, np.int64)
    table = np.array([(at, at + len(body), 0, last, 1000, -1, records)], np.int64)
    bad = _decode.decode(buffer, table, tuple(columns))
    assert (columns[:, records:] == -77).all()
    return bad, columns[:, :records]


def inside(places: np.ndarray, lengths: np.ndarray, start: int, end: int) -> bool:
    return bool(((lengths == -1) | ((places >= start) & (lengths >= 0) & (places + lengths <= end))).all())


BODIES = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from([0, 1, 2, 3, 6, 12, 0x7E, 0x80, 0xFF]), max_size=60).map(bytes),
    st.builds(
        lambda at, byte: bytes(batch([Record(o, headers=[("h", b"1")]) for o in range(4)])[61:]).replace(
            bytes([at]), bytes([byte])
        ),
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
@given(st.one_of(st.binary(max_size=40), st.lists(st.sampled_from([0, 1, 2, 4, 6, 65, 0x80]), max_size=30).map(bytes)))
def test_any_headers_are_refused_or_stay_inside(data: bytes) -> None:
    buffer = np.frombuffer(b"\xff\xff" + data + b"\xff" * 20, np.uint8)
    rows = _decode.headers(buffer, 2, 2 + len(data))
    if len(rows) and rows[0, 0] < 0:
        assert rows.tolist() == [[-1] * 4]
        return
    assert (rows[:, 1] >= 0).all()
    assert inside(rows[:, 0], rows[:, 1], 2, 2 + len(data))
    assert inside(rows[:, 2], rows[:, 3], 2, 2 + len(data))


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3))
@example(-(2**63), 0)
@example(2**63 - 1, 0)
def test_varints_of_every_size(value: int, before: int) -> None:
    data = bytearray(before)
    encode_varint(value, data.append)
    buffer = np.frombuffer(bytes(data) + b"\x80\x80", np.uint8)
    assert _decode._varint(buffer, before, len(data)) == (value, len(data))
    assert _decode._varint(buffer, before, len(data) - 1)[1] == -1


def test_a_varint_that_does_not_end_is_refused() -> None:
    buffer = np.full(40, 0x80, np.uint8)
    assert _decode._varint(buffer, 0, 40)[1] == -1


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
    columns = tuple(np.empty(3, np.int64) for _ in range(8))
    assert _decode.decode(buffer, table, columns) == -1
    table[1, 1] -= 1
    assert _decode.decode(buffer, table, columns) == 1


def test_the_time_of_a_record() -> None:
    """Its own, ahead of the batch's first; or, where the broker set it, the batch's."""
    body = bytes(batch([Record(0, time=5_000), Record(1, time=4_000)])[61:])
    buffer = np.frombuffer(body, np.uint8)
    columns = tuple(np.empty(2, np.int64) for _ in range(8))
    assert _decode.decode(buffer, np.array([(0, len(body), 0, 1, 5_000, -1, 2)]), columns) == -1
    assert columns[1].tolist() == [5_000, 4_000]
    assert _decode.decode(buffer, np.array([(0, len(body), 0, 1, 5_000, 9_000, 2)]), columns) == -1
    assert columns[1].tolist() == [9_000, 9_000]
