"""A token endpoint over HTTPS on loopback, for tests."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.kafka.client.pki import Pair


@dataclass
class Endpoint:
    """What the endpoint answers next, and what it was asked."""

    url: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay: float = 0.0
    pause: float = 0.0
    """Seconds before each further byte of the body."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def unsecured_jwt(subject: str, seconds: float = 3600.0, *, scope: str | None = None) -> str:
    """A token that nobody signed, which Kafka's own validator for tests takes."""
    now = time.time()
    claims = {"sub": subject, "iat": now, "exp": now + seconds} | (
        {"scope": scope} if scope else {}
    )
    parts = (
        base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode()
        for p in ({"alg": "none"}, claims)
    )
    return ".".join(parts) + "."


@contextmanager
def token_endpoint(folder: Path, own: Pair) -> Iterator[Endpoint]:
    """Answer POST /token with ``Endpoint.body`` until the end of the with block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = dict(
                urllib.parse.parse_qsl(
                    self.rfile.read(int(self.headers["Content-Length"])).decode()
                )
            )
            endpoint.asked.append((self.headers["Authorization"], form))
            time.sleep(endpoint.delay)
            body = (
                endpoint.body
                if isinstance(endpoint.body, bytes)
                else json.dumps(endpoint.body).encode()
            )
            self.send_response(endpoint.status)
            for name, value in ({"Content-Length": str(len(body))} | endpoint.headers).items():
                self.send_header(name, value)
            self.end_headers()
            for byte in body if endpoint.pause else ():
                time.sleep(endpoint.pause)
                self.wfile.write(bytes([byte]))
            if not endpoint.pause:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # a client that hangs up is part of the tests
            pass

    chain = folder / "endpoint.pem"
    chain.write_text(own.key_pem() + own.cert_pem)
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(chain)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = secured.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    endpoint = Endpoint(f"https://localhost:{server.server_address[1]}/token")
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
