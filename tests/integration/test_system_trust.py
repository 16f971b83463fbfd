"""Whatever speaks HTTPS or TLS trusts the authorities in the system's store: a proxy that re-signs
TLS, or a company's own authority, is there and nowhere else.

Each case runs in a process of its own: OpenSSL is told by SSL_CERT_FILE where the system's store
is, and what is looked up once a process must not have been before.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.kafka.client.pki import authority, issued

CA = authority("an authority that only the system's store holds")
JAR = b"not a jar, but the bytes of one"
HELD = {
    "/maven/g/a/1/a-1.jar": JAR,
    "/bucket/expected.csv": b"key,total\nk,1.50\n",
    "/token": b'{"access_token": "the.token", "expires_in": 60}',
}

ASK = {
    "jars": """
from recovery_kit.sandbox.jars import _fetched, _fetch_with_jgo
before = ssl.SSLContext
print(_fetched("g:a:1", folder, _fetch_with_jgo).read_bytes())
assert ssl.SSLContext is before  # what was changed for the fetch is as it was
""",
    "jars, by one who asks the system's store in all of the process": """
import truststore
truststore.inject_into_ssl()
from recovery_kit.sandbox.jars import _fetched, _fetch_with_jgo
print(_fetched("g:a:1", folder, _fetch_with_jgo).read_bytes())
assert ssl.SSLContext is truststore.SSLContext
""",
    "token endpoint": """
from recovery_kit.kafka.client.connection import client_options
lines = ["security.protocol=SASL_SSL", "sasl.mechanism=OAUTHBEARER",
         f"sasl.oauthbearer.token.endpoint.url=https://localhost:{port}/token",
         "sasl.oauthbearer.client.id=me", "sasl.oauthbearer.client.secret=planted"]
(folder / "client.properties").write_text("\\n".join(lines))
(folder / "client.properties").chmod(0o600)
options = client_options("broker:9093", folder / "client.properties")
print(options["sasl_oauth_token_provider"].token())
""",
    "brokers": """
from recovery_kit.kafka.client.connection import client_options
(folder / "client.properties").write_text("security.protocol=SSL")
context = client_options("broker:9093", folder / "client.properties")["ssl_context"]
with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
    with context.wrap_socket(plain, server_hostname="localhost") as secured:
        print(secured.version(), context.verify_mode.name, context.check_hostname)
""",
    "S3": """
import recovery_kit as rk
url = f"s3://id:planted@bucket/expected.csv?endpoint_override=localhost:{port}&scheme=https&region=x"
print(rk.read_totals(url))
""",
}  # fmt: skip
SAYS = {
    "token endpoint": "the.token",
    "brokers": "TLSv1.3 CERT_REQUIRED True",
    "S3": "1.50",
}


class _Held(BaseHTTPRequestHandler):
    """Whole files or ranges of them, as Maven repositories and S3 give them."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        held = HELD.get(self.path.split("?")[0])
        body, part = held or b"", self.headers.get("Range", "")
        if part:
            first, last = part.removeprefix("bytes=").split("-")
            body = body[int(first) : int(last) + 1]
        self.send_response(404 if held is None else 206 if part else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:  # a client that refuses the certificate hangs up
        pass


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    chain = tmp_path / "server.pem"
    own = issued(CA, "localhost", "localhost", "127.0.0.1")
    chain.write_text(own.key_pem() + own.cert_pem)
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(chain)
    server = _Server(("127.0.0.1", 0), _Held)
    server.socket = secured.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(5)


def asked(what: str, port: int, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """What a process of its own gets, whose system's store is what ``env`` says."""
    (folder / ".config").mkdir()
    (folder / ".config" / "jgo.conf").write_text(
        f"[repositories]\nhere = https://localhost:{port}/maven\n"
    )
    kept = {
        n: v
        for n, v in os.environ.items()
        if not n.lower().endswith("_proxy") and n not in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    }
    paths = {"HOME": str(folder), "M2_REPO": str(folder / "m2"), "SSL_CERT_DIR": str(folder / "no")}
    code = "import socket, ssl\nfrom pathlib import Path\n"
    code += f"folder, port = Path({str(folder)!r}), {port}\n{ASK[what]}"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=kept | paths | env,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("what", ASK)
def test_an_authority_in_the_systems_store_is_trusted(what: str, port: int, tmp_path: Path) -> None:
    store = tmp_path / "system.pem"
    store.write_text(authority("another").cert_pem + CA.cert_pem)
    done = asked(what, port, tmp_path, SSL_CERT_FILE=str(store))
    assert not done.returncode, done.stderr
    assert SAYS.get(what, str(JAR)) in done.stdout


@pytest.mark.parametrize("what", ASK)
def test_an_authority_that_nobody_named_is_not(what: str, port: int, tmp_path: Path) -> None:
    store = tmp_path / "system.pem"
    store.write_text(authority("another").cert_pem)
    done = asked(what, port, tmp_path, SSL_CERT_FILE=str(store))
    assert done.returncode
    assert "certificate" in done.stderr.lower()
    assert "planted" not in done.stderr


def test_an_authority_can_be_named_for_the_jars_alone(port: int, tmp_path: Path) -> None:
    store = tmp_path / "proxy.pem"
    store.write_text(CA.cert_pem)
    nobody = {"SSL_CERT_FILE": str(tmp_path / "none")}
    done = asked("jars", port, tmp_path, REQUESTS_CA_BUNDLE=str(store), **nobody)
    assert not done.returncode, done.stderr


def test_the_error_of_a_fetch_says_all_and_what_to_do(port: int, tmp_path: Path) -> None:
    done = asked("jars", port, tmp_path, SSL_CERT_FILE=str(tmp_path / "none"))
    (said,) = [line for line in done.stderr.splitlines() if "SandboxError: " in line]
    assert "could not fetch a-1.jar: SSLError: " in said
    assert "certificate verify failed" in said
    assert "put its certificate authority into the system's store" in said
    assert "REQUESTS_CA_BUNDLE" in said
