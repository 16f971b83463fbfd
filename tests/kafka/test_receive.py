"""Responses are received where they are decoded; what is used of kafka-python for that is still there."""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer, TopicPartition
from kafka.net.connection import KafkaConnection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.protocol.frame import KafkaBytes
from kafka.protocol.parser import KafkaProtocol

from recovery_kit.kafka import receive, wire
from recovery_kit.sandbox import Kafka

# --- what a new kafka-python must still have


def test_a_transport_reads_by_the_method_that_is_replaced() -> None:
    assert "self._net.call_soon(self._read_from_sock)" in inspect.getsource(KafkaTCPTransport.resume_reading)
    assert "_read_from_sock" not in vars(KafkaSSLTransport)  # over TLS it is the same method
    assert "await self._build_transport(" in inspect.getsource(KafkaConnectionManager._connect)
    source = inspect.getsource(KafkaTCPTransport._read_from_sock)
    steps = [
        "while self._read and not self._closed",
        "await self._net.wait_read(self._sock)",
        "self.abort(error=err)",
        "self.last_read = time.monotonic()",
        "self._protocol.data_received(recvd_data)",
        "except Errors.KafkaProtocolError as e",
    ]
    places = [source.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)


def test_the_parser_keeps_a_response_as_it_did() -> None:
    source = inspect.getsource(KafkaProtocol.receive_bytes)
    for step in ("self._rbuffer = KafkaBytes(nbytes)", "self._receiving = True", "4 - self._header.tell()"):
        assert step in source
    assert "data = memoryview(data.read())" in inspect.getsource(
        inspect.getmodule(KafkaProtocol).FindCoordinatorResponse.decode  # type: ignore[union-attr]
    )
    assert "self.parser.receive_bytes(data)" in inspect.getsource(KafkaConnection.data_received)


# --- how it receives


class Frames(KafkaProtocol):  # type: ignore[misc]
    """kafka-python's parser, which hands on the responses as they are."""

    def __init__(self) -> None:
        super().__init__(client_id="test")
        self.frames: list[bytes] = []

    def _process_response(self, read_buffer: KafkaBytes) -> tuple[int, bytes]:
        assert read_buffer.tell() == 0
        start = bytes(read_buffer.read(min(2, len(read_buffer))))
        self.frames.append(start + bytes(read_buffer.read()))
        return 0, b""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def received(frames: list[bytes], cuts: list[int]) -> list[bytes]:
    """What the parser gets of frames that are sent in pieces."""
    data = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        parser = Frames()
        for start, end in pairwise(ends):
            theirs.sendall(data[start:end])
            while True:
                try:
                    parser.receive_bytes(receive._receive(ours, parser))
                except BlockingIOError:
                    break
        assert not parser._receiving
    return parser.frames


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=12))
def test_frames_arrive_whole_however_they_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    assert received(frames, cuts) == frames


def test_a_large_frame_goes_into_its_buffer_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    frame = bytes(range(256)) * 4096
    sender = threading.Thread(target=theirs.sendall, args=(len(frame).to_bytes(4, "big") + frame,))
    sender.start()
    parser, handed = Frames(), 0
    while not parser.frames:
        data = receive._receive(ours, parser)
        handed += len(data)
        parser.receive_bytes(data)
    sender.join()
    assert parser.frames == [frame]
    assert handed == 4 + 1  # the length and the last byte


@pytest.mark.parametrize(("size", "kind"), [(1, bytes), (900, bytes), (1 << 16, memoryview)])
def test_a_small_response_is_read_as_bytes(pair: tuple[socket.socket, socket.socket], size: int, kind: type) -> None:
    """As what a broker answers in a raw SASL exchange (SaslHandshake v0), which kafka-python decodes as text."""
    ours, theirs = pair
    theirs.sendall(size.to_bytes(4, "big") + b"r=" * (size // 2) + b"r" * (size % 2))
    kinds = []

    class Kinds(Frames):
        def _process_response(self, read_buffer: KafkaBytes) -> tuple[int, bytes]:
            kinds.append(type(read_buffer.read()))
            return 0, b""

    parser = Kinds()
    while not kinds:
        parser.receive_bytes(receive._receive(ours, parser))
    assert kinds == [kind]


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\x05", b"\0\0\0\x05abc"])
def test_a_connection_that_ends_early_is_an_error(pair: tuple[socket.socket, socket.socket], sent: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(sent)
    theirs.close()
    parser = Frames()

    def rest() -> None:
        while True:
            parser.receive_bytes(receive._receive(ours, parser))

    with pytest.raises(ConnectionResetError, match="socket disconnected"):
        rest()
    assert parser.frames == []


def test_a_consumer_of_the_kit_receives_in_place(broker: Kafka) -> None:
    topic = "receive-in-place"
    broker.create_topic(topic)
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        for i in range(300):
            producer.send(topic, value=b"%05d" % i * 2000)
    with wire.connected(broker.bootstrap_servers, None, timeout=30.0) as consumer:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek(place, 0)
        fetched = 0
        while fetched < 300:
            for fetch in wire.poll(consumer, 1.0):
                fetched = fetch.batches[-1].last_offset + 1
        transports = [conn.transport for conn in consumer._manager._conns.values()]
        assert transports
        assert {t._read_from_sock.__module__ for t in transports} == {"recovery_kit.kafka.receive"}
