"""Responses are received where they are decoded.

What is used of kafka-python for that is still there.
"""

from __future__ import annotations

import inspect
import select
import socket
import sys
import threading
import types
from collections.abc import Coroutine, Generator, Iterator
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace

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
    assert "self._net.call_soon(self._read_from_sock)" in inspect.getsource(
        KafkaTCPTransport.resume_reading
    )
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
    for step in (
        "self._rbuffer = KafkaBytes(nbytes)",
        "self._receiving = True",
        "4 - self._header.tell()",
    ):
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


def test_a_large_frame_goes_into_its_buffer_at_once(
    pair: tuple[socket.socket, socket.socket],
) -> None:
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
def test_a_small_response_is_read_as_bytes(
    pair: tuple[socket.socket, socket.socket], size: int, kind: type
) -> None:
    """As what a broker answers in a raw SASL exchange (SaslHandshake v0), which kafka-python
    decodes as text.
    """
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
def test_a_connection_that_ends_early_is_an_error(
    pair: tuple[socket.socket, socket.socket], sent: bytes
) -> None:
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


def transport(ours: socket.socket, parser: Frames) -> SimpleNamespace:
    return SimpleNamespace(_sock=ours, _protocol=SimpleNamespace(parser=parser))


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=4),
    st.lists(st.integers(0, 9000), max_size=8),
    st.integers(1, 3000),
)
def test_no_more_is_waited_for_than_is_sure_to_come(
    sizes: list[int], cuts: list[int], at_once: int
) -> None:
    """Else a wait would last until the request times out."""
    data = b"".join(size.to_bytes(4, "big") + bytes(size) for size in sizes)
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.MonkeyPatch.context() as patch:
        patch.setattr(receive, "AT_ONCE", at_once)
        ours.setblocking(False)
        parser = Frames()
        for start, end in pairwise(ends):
            wanted = receive._wanted(transport(ours, parser))
            assert 1 <= wanted <= min(at_once, len(data) - start)
            theirs.sendall(data[start:end])
            with suppress(BlockingIOError):
                while True:
                    parser.receive_bytes(receive._receive(ours, parser))
        assert [len(frame) for frame in parser.frames] == sizes


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every byte ends a wait")
def test_a_wait_ends_when_the_rest_of_a_response_is_there_or_the_connection_is_over() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as ours,
    ):
        theirs, _ = server.accept()
        with theirs:
            ours.setblocking(False)
            parser, net = Frames(), SelectorNet(ours)
            whole = SimpleNamespace(
                _net=net,
                _read=True,
                _closed=False,
                abort=net.aborted,
                **vars(transport(ours, parser)),
            )
            whole._protocol.data_received = parser.receive_bytes
            reading = receive._read(whole)
            large = bytes(range(256)) * 16_000
            theirs.setblocking(False)
            waiting = memoryview(len(large).to_bytes(4, "big") + large + b"\0\0\0\3abc")
            while len(parser.frames) < 2:
                with suppress(BlockingIOError):
                    waiting = waiting[theirs.send(waiting[:100_000]) :]
                net.step(reading)
            assert parser.frames == [large, b"abc"]
            assert net.waits < 40  # 41 pieces were sent, and most of them ended no wait
            theirs.sendall(len(large).to_bytes(4, "big") + b"a beginning")
            theirs.close()
            while not net.failed:
                net.step(reading)


class SelectorNet:
    """Waits for a socket as kafka-python's event loop does: a coroutine goes on when it can be
    read.
    """

    def __init__(self, ours: socket.socket) -> None:
        self.ours, self.waits, self.failed, self.begun = ours, 0, [], False

    @types.coroutine
    def wait_read(self, _: socket.socket) -> Generator[None, None, None]:
        yield

    def step(self, reading: Coroutine[None, None, None]) -> None:
        if not self.begun or select.select([self.ours], [], [], 0.01)[0]:
            self.begun, self.waits = True, self.waits + 1
            reading.send(None)

    def aborted(self, error: Exception) -> None:
        self.failed.append(error)


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
