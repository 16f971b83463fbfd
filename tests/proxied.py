"""Brokers behind proxies of ours, so that connections can be cut, held up or refused while they are
in use.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from recovery_kit.sandbox import Kafka
from recovery_kit.sandbox.node import HOST, Node

PLAIN_MAP = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT"


class Proxy:
    """Hands bytes to and fro between whoever connects to ``port`` and the port at ``to``."""

    def __init__(self, to: int) -> None:
        self.to = to
        self._server = socket.create_server((HOST, 0))
        self.port: int = self._server.getsockname()[1]
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Cut every connection in the middle of whatever it carries; gives how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _end(pair)
        return len(pairs)

    def hold(self) -> None:
        """Let nothing through, and cut nothing."""
        self._open.clear()

    def release(self) -> None:
        """Let everything through again."""
        self._open.set()

    def close(self) -> None:
        self._open.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self.to), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(source, sink, pair), daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._open.wait()
                sink.sendall(data)
        with self._lock:
            self._pairs.discard(pair)
        _end(pair)


def _end(pair: tuple[socket.socket, socket.socket]) -> None:
    for one in pair:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it
        one.close()


class Proxied(Kafka):
    """Brokers that also listen, by way of a proxy each, at ``bootstrap_proxied``."""

    def __init__(self, config: dict[str, object] | None = None, **options: Any) -> None:
        super().__init__(
            {**(config or {}), "listener.security.protocol.map": PLAIN_MAP},
            listeners=("PROXIED",),
            **options,
        )
        self.proxies: dict[int, Proxy] = {}

    @property
    def bootstrap_proxied(self) -> str:
        return ",".join(f"{HOST}:{proxy.port}" for proxy in self.proxies.values())

    def cut(self) -> int:
        return sum(proxy.cut() for proxy in self.proxies.values())

    def close(self) -> None:
        super().close()
        while self.proxies:
            self.proxies.popitem()[1].close()

    def _properties(self, node: Node) -> str:
        path = super()._properties(node)
        if node.number not in self.proxies:
            self.proxies[node.number] = Proxy(node.ports["PROXIED"])
        proxy = self.proxies[node.number]
        proxy.to = node.ports["PROXIED"]
        with open(path, "a", encoding="ascii") as file:  # noqa: PTH123  (it is a str; of two settings the later holds)
            file.write(
                f"advertised.listeners=PLAINTEXT://{HOST}:{node.ports['PLAINTEXT']},PROXIED://{HOST}:{proxy.port}\n"
            )
        return path
