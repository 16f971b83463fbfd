"""Receives a broker's responses where they are decoded.

kafka-python 3.0.12 receives 4 kB a call and copies each byte six times before the kit sees it. Here
the bulk of a response goes from the socket straight into the buffer that kafka-python made for it,
and is decoded where it lies. Requests, framing, decoding, retries and time-outs stay the library's
own. ``tests/kafka/test_receive.py`` fails when a new kafka-python changes what is used here.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from typing import Any

import kafka.errors as errors
from kafka.net.manager import KafkaConnectionManager
from kafka.protocol.frame import KafkaBytes

_LATER = BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError

AT_ONCE = 1 << 20
"""Bytes of a response for which a wait ends."""

_LARGE = 1 << 16
"""Bytes of a response from which on a copy is worth saving.

A broker's part of a raw SASL exchange must come as bytes.
"""


def in_place(manager: KafkaConnectionManager) -> None:
    """Let the connections that a manager will make receive in place."""
    build = manager._build_transport

    async def build_transport(*args: Any, **options: Any) -> Any:
        transport = await build(*args, **options)
        transport._read_from_sock = lambda: _read(transport)
        return transport

    manager._build_transport = build_transport


class _Frame(KafkaBytes):  # type: ignore[misc]
    """A large response; the rest of it is read without a copy."""

    def read(self, nbytes: int | None = None) -> Any:
        if nbytes is not None:
            return super().read(nbytes)
        start = self.tell()
        self.seek(len(self))
        return memoryview(self)[start:]


async def _read(transport: Any) -> None:
    """In the place of KafkaTCPTransport._read_from_sock, and of that over TLS."""
    at_once = 1
    while transport._read and not transport._closed:
        if (wanted := _wanted(transport)) != at_once:
            transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, at_once := wanted)
        await transport._net.wait_read(transport._sock)
        try:
            while (
                transport._read and not transport._closed
            ):  # TLS may hold bytes that no wait would tell of
                transport._protocol.data_received(
                    _receive(transport._sock, transport._protocol.parser)
                )
                transport.last_read = time.monotonic()
        except _LATER:
            pass
        except errors.KafkaProtocolError as error:
            transport.abort(error=error)
        except OSError as error:
            transport.abort(error=errors.KafkaConnectionError(error))


def _wanted(transport: Any) -> int:
    """How many bytes are worth waking up for: what a response still lacks, its last byte apart, or
    AT_ONCE of it.

    A wait costs kafka-python a tenth of a millisecond, in which nobody else has the interpreter.
    Linux wakes a reader earlier where the connection ends or its buffer is full. Over TLS what is
    lacking is not what is still to arrive.
    """
    parser = transport._protocol.parser
    if (
        not parser._receiving
        or sys.platform != "linux"
        or isinstance(transport._sock, ssl.SSLSocket)
    ):
        return 1
    lacking: int = len(parser._rbuffer) - 1 - parser._rbuffer.tell()
    return max(1, min(lacking, AT_ONCE))


def _receive(sock: Any, parser: Any) -> bytes:
    """Some bytes for the parser, at most to the end of a response.

    All but a response's last byte go into its buffer at once, and there are none to hand on.
    """
    if not parser._receiving:
        return bytes(_some(sock.recv(4 - parser._header.tell())))
    frame = parser._rbuffer
    if len(frame) >= _LARGE:
        frame.__class__ = _Frame
    at = frame.tell()
    if at >= len(frame) - 1:
        return bytes(_some(sock.recv(1)))
    with memoryview(frame) as whole:
        got = _some(sock.recv_into(whole[at:-1]))
    frame.seek(at + got)
    return b""


def _some(received: Any) -> Any:
    if not received:
        raise ConnectionResetError("socket disconnected")
    return received
