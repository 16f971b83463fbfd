"""Decompression within bounds: what a few bytes stand for is never taken before it was asked for."""

from __future__ import annotations

import dataclasses
import inspect
import re
import struct
import subprocess
import sys
import uuid

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer
from kafka.record.util import encode_varint

import recovery_kit as rk
from recovery_kit.errors import CorruptLog, LogTooLarge, ParameterError
from recovery_kit.kafka.batches import MOST
from recovery_kit.kafka.codecs import Packed, decompress
from recovery_kit.run.settings import Settings
from recovery_kit.sandbox import Kafka
from recovery_kit.sources.span import Tally
from tests.kafka.build import (
    GZIP,
    LZ4,
    SNAPPY,
    ZSTD,
    Record,
    batch,
    fetch,
    legacy,
    read,
    resealed,
    sealed,
)

MIB = 1 << 20
CODECS = pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
XERIAL = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
PACK = {
    0: lambda data: data,
    GZIP: cramjam.gzip.compress,
    SNAPPY: cramjam.snappy.compress_raw,
    LZ4: cramjam.lz4.compress,
    ZSTD: cramjam.zstd.compress,
}


def packed(data: bytes, codec: int) -> bytes:
    return bytes(PACK[codec](data))


def bomb(codec: int, mib: int) -> bytes:
    """So many MiB of zeros: frames of 16 one behind the other, so that it is soon made."""
    part = packed(bytes(16 * MIB), codec)
    if codec == SNAPPY:
        return XERIAL + (struct.pack(">I", len(part)) + part) * (mib // 16)
    return part * (mib // 16)


def holding(body: bytes, codec: int, offset: int = 7) -> bytearray:
    """A batch of one record, whose CRC is right, with any bytes for its records."""
    data = batch([Record(offset)])[:61] + body
    struct.pack_into(">i", data, 8, len(data) - 12)
    struct.pack_into(">h", data, 21, codec)
    return sealed(data)


def wrapped(body: bytes, codec: int, magic: int, offset: int = 7) -> bytearray:
    """A message of the old formats that holds others, compressed."""
    data = legacy([Record(offset, body, None)], magic)
    data[17] |= codec
    return resealed(data)


def made(form: str, codec: int, body: bytes) -> bytearray:
    return holding(body, codec) if form == "v2" else wrapped(body, codec, ("v0", "v1").index(form))


BOMB = """
import dataclasses, resource, sys
import psutil
from recovery_kit.errors import LogTooLarge
from recovery_kit.kernels import load
from recovery_kit.sources.span import Tally
from tests.kafka import test_codecs as t

form, codec, most, spare = sys.argv[1], *map(int, sys.argv[2:])
load()
for size, bounds in ((16, t.MOST), (768, most * t.MIB)):  # the first loads what is needed at any size
    data = t.made(form, codec, t.bomb(codec, size))
    made = dataclasses.replace(t.fetch(data, 7), most=bounds)
    if size > 16:
        limit = psutil.Process().memory_info().vms + (spare << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        t.read(made, Tally(7), 8)
    except t.CorruptLog:
        assert size == 16
    except LogTooLarge as error:
        assert size > 16
        print(error)
"""

FORMS = [
    *[("v2", codec) for codec in (GZIP, SNAPPY, LZ4, ZSTD)],
    *[(form, codec) for form in ("v0", "v1") for codec in (GZIP, SNAPPY, LZ4)],
]


@pytest.mark.parametrize(("form", "codec"), FORMS)
def test_a_bomb_ends_in_an_error_and_not_in_the_end_of_the_process(form: str, codec: int) -> None:
    """768 MiB where the process may take 300: beyond what is allowed, and beyond what there is."""
    what = r"t-0: the (record batch|message) at offset 7"
    for most, said in (
        (64, what + r" decompresses to more than 67,108,864 bytes.*max_decompressed_mib.* \(64\)"),
        (
            1024,
            what
            + r": to decompress it further takes 0\.\d\d GB more, and there are 0\.\d\d GB: what is",
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-c", BOMB, form, str(codec), str(most), "300"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert not done.returncode, done.stderr
        assert re.match(said, done.stdout), done.stdout


@CODECS
def test_as_much_as_is_allowed_is_read_and_a_byte_more_is_not(codec: int) -> None:
    data = [Packed(memoryview(packed(bytes(100_000), codec)), codec, "t-0: the batch")]
    found, ends = decompress(data, 100_000)
    assert (found.tobytes(), ends) == (bytes(100_000), [100_000])
    with pytest.raises(
        LogTooLarge, match=r"^t-0: the batch decompresses to more than 99,999 bytes"
    ):
        decompress(data, 99_999)
    with pytest.raises(LogTooLarge, match=r"those before it in the same fetch, .* 100,000 bytes"):
        decompress(data, 100_000, taken=1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, *PACK]),
            st.binary(max_size=40),
            st.sampled_from([1, 1, 3, 5_000, 20_000]),
        ),
        max_size=6,
    )
)
def test_any_batches_come_out_as_they_went_in(parts: list[tuple[int, bytes, int]]) -> None:
    whole = [piece * times for _, piece, times in parts]
    data = [
        Packed(memoryview(packed(plain, codec)), codec, "t-0")
        for (codec, *_), plain in zip(parts, whole, strict=True)
    ]
    found, ends = decompress(data, sum(map(len, whole)))
    assert found.tobytes() == b"".join(whole)
    assert ends == [sum(map(len, whole[: i + 1])) for i in range(len(whole))]


@CODECS
def test_batches_that_are_too_much_only_together_name_the_one_that_is(codec: int) -> None:
    data = b"".join(
        batch([Record(o, bytes(100_000)), Record(o + 1)], codec=codec) for o in (0, 2, 4)
    )
    whole = dataclasses.replace(fetch(data), most=301_000)
    assert len(read(whole, Tally(0), 6) or ()) == 6
    with pytest.raises(LogTooLarge, match="batch at offset 4, with those before it in the same"):
        read(dataclasses.replace(whole, most=300_000), Tally(0), 6)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4])
def test_old_messages_that_are_too_much_only_together_name_the_one_that_is(codec: int) -> None:
    data = b"".join(legacy([Record(o, bytes(100_000))], 1, codec) for o in (3, 4, 5))
    whole = dataclasses.replace(fetch(data), most=301_000)
    assert len(read(whole, Tally(0), 6) or ()) == 3
    with pytest.raises(LogTooLarge, match="message at offset 5, with those before it in the same"):
        read(dataclasses.replace(whole, most=300_000), Tally(0), 6)


@pytest.mark.parametrize("head", [b"", XERIAL + struct.pack(">I", 12)])
def test_snappy_that_claims_more_than_it_can_hold_takes_no_room(head: bytes) -> None:
    lie = head + b"\xff\xff\xff\xff\x0f" + b"\0abcdef"
    with pytest.raises(
        CorruptLog, match="12 bytes cannot stand for the 4,294,967,295 that they claim"
    ):
        decompress([Packed(memoryview(lie), SNAPPY, "t-0")], MOST)


def test_what_may_be_decompressed_is_a_parameter_and_the_same_everywhere(broker: Kafka) -> None:
    topic = f"{uuid.uuid4().hex[:8]}-large"
    broker.create_topic(topic)
    value = b'{"id": "e", "type": "add", "value": 1, "filling": "%s"}' % (b"x" * 3 * MIB)
    with KafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        compression_type="gzip",
        max_request_size=8 * MIB,
    ) as producer:
        producer.send(topic, value)
    settings = Settings(bootstrap_servers=broker.bootstrap_servers, topic=topic)
    assert len(rk.replay(**settings.source).events) == 1
    with pytest.raises(
        LogTooLarge, match=rf"^{topic}-0: .* offset 0 .* 2,097,152 bytes.*max_decompressed_mib"
    ):
        rk.replay(**settings.source | {"max_decompressed_mib": 2})
    for none in (0, -1):
        with pytest.raises(ParameterError, match=r"max_decompressed_mib is .*; expected 1 or more"):
            rk.replay(**settings.source | {"max_decompressed_mib": none})
    usual = inspect.signature(rk.replay).parameters["max_decompressed_mib"].default
    assert usual == settings.max_decompressed_mib == MOST // MIB


HEADERS = """
import resource, sys
import psutil
from recovery_kit.errors import LogTooLarge
from recovery_kit.kernels import load
from recovery_kit.payload.reader import Reader
from recovery_kit.schema import EventSchema
from recovery_kit.sources.span import Tally
from tests.kafka import test_codecs as t

load()
records, headers = map(int, sys.argv[1:])
reader = Reader(EventSchema())
reader.read(t.read(t.fetch(t.sealed(t.of_headers(1, 1))), Tally(0), 1))
fetch = t.fetch(t.of_headers(records, headers))
limit = psutil.Process().memory_info().vms + (600 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    reader.read(t.read(fetch, Tally(0), records))
except LogTooLarge as error:
    print(error)
"""


def of_headers(records: int, headers: int) -> bytearray:
    """A batch of tombstones with empty headers, of two bytes each."""

    def varint(value: int) -> bytes:
        data = bytearray()
        encode_varint(value, data.append)
        return bytes(data)

    body = b""
    for offset in range(records):
        head = b"\0\0" + varint(offset) + b"\1\1" + varint(headers)
        body += varint(len(head) + 2 * headers) + head + b"\0\1" * headers
    data = holding(packed(body, ZSTD), ZSTD, offset=0)
    struct.pack_into(">i", data, 23, records - 1)
    struct.pack_into(">i", data, 57, records)
    return sealed(data)


@pytest.mark.parametrize(
    ("records", "headers", "said"),
    [
        (1, 20_000_000, "t-0 at offset 0: one record with 20,000,000 headers takes 8.00 GB more"),
        (
            400,
            20_000,
            r"t-0: to go on from offset \d+, where rejects and tombstones are many, take",
        ),
    ],
)
def test_headers_that_are_a_bomb_as_objects(records: int, headers: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEADERS, str(records), str(headers)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    assert re.match(said, done.stdout), done.stdout


def test_a_batch_cannot_claim_more_records_than_its_bytes_hold() -> None:
    """Each would take 64 bytes of columns."""
    least = bytes([12, 0, 0, 0, 1, 1, 0])
    data = holding(packed(least + bytes(7 * 1000), ZSTD), ZSTD)
    struct.pack_into(">i", data, 23, 2**31 - 1)
    for claimed in (1002, 2**31 - 1):
        struct.pack_into(">i", data, 57, claimed)
        with pytest.raises(
            CorruptLog,
            match=f"says that it holds {claimed:,} records, which its 7,007 bytes cannot",
        ):
            read(fetch(sealed(data)), Tally(7), 9)
    only = holding(packed(least, ZSTD), ZSTD)
    assert len(read(fetch(only), Tally(7), 8) or ()) == 1
