from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka.protocol.metadata import MetadataResponse

from recovery_kit.errors import KafkaError
from recovery_kit.kafka.client.connection import (
    client_options,
    explain_failure,
    probe,
    require_connection,
)


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """Something that takes connections and answers every request so; with None it never answers."""

    def serve() -> None:
        held = []
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                break
            held.append(client)
            if answer is not None:
                client.recv(1 << 16)
                client.sendall(answer)
                client.close()
        for client in held:
            client.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def last(servers: str | list[str], timeout: float = 10.0) -> tuple[str, bool, str]:
    return probe(client_options(servers), timeout)[-1]


def test_a_name_that_does_not_exist() -> None:
    begin = time.monotonic()
    layer, works, detail = last("no-such-host.invalid:9092", 3.0)
    assert (layer, works) == ("name lookup", False)
    assert detail.startswith("no-such-host.invalid cannot be found")
    assert last(f"{'a' * 64}.example.com:1")[0] == "name lookup"
    assert time.monotonic() - begin < 10.0


def test_a_port_where_nobody_listens() -> None:
    begin = time.monotonic()
    layer, works, detail = last("127.0.0.1:1")
    assert (layer, works) == ("TCP", False)
    assert "Connection refused" in detail
    assert time.monotonic() - begin < 2.0


def test_somebody_who_never_answers_is_left_in_time() -> None:
    begin = time.monotonic()
    with listener(None) as server:
        layer, works, detail = last(server, 0.5)
    assert (layer, works) == ("Kafka", False)
    assert "did not answer in time" in detail
    assert time.monotonic() - begin < 3.0


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\x01x",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x08\0\0\0\x07abcd",
    ],
)
def test_somebody_who_is_no_kafka(answer: bytes) -> None:
    with listener(answer) as server:
        layer, works, detail = last(server, 2.0)
    assert (layer, works) == ("Kafka", False)
    assert detail


def test_of_several_servers_the_one_that_got_furthest_is_told() -> None:
    with listener(b"") as server:
        servers = ["127.0.0.1:1", server, "127.0.0.1:2"]
        assert last(servers)[0] == "Kafka"
        with pytest.raises(KafkaError, match=f"Kafka fails: {server}"):
            require_connection(client_options(servers))


def test_brokers_that_give_an_address_which_cannot_be_reached() -> None:
    brokers = [
        MetadataResponse.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=1, rack=None)
    ]
    answer = MetadataResponse(
        version=5, brokers=brokers, cluster_id="c", controller_id=1, topics=[]
    )
    answer.with_header(correlation_id=1)
    with listener(bytes(answer.encode(framed=True, header=True))) as server:
        options = client_options(server)
        rows = probe(options)
        require_connection(options)
        assert "brokers fails: a broker gives its address as 127.0.0.1:1" in str(
            explain_failure(TimeoutError(), options)
        )
    assert [layer for layer, _, _ in rows] == ["name lookup", "TCP", "Kafka", "brokers"]
    assert not rows[-1][1]
    assert "advertised.listeners" in rows[-1][2]


def test_ipv6() -> None:
    assert last("[::1]:1")[0] == "TCP"
