"""Why a cluster cannot be reached: one connection of our own, layer by layer, and the first layer
that fails.

kafka-python 3.0.12 tries again until its time-out, whatever the reason, and then says "Unable to
bootstrap". A probe tries once, so that a wrong password is not sent again and again until the
account is locked.
"""

from __future__ import annotations

import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from recovery_kit._show import told
from recovery_kit.errors import KafkaError
from recovery_kit.kafka.client.secret import hide_secrets

Row = tuple[str, bool, str]


REFUSED = re.compile(
    r"refuses the credentials|refuses this client's certificate|"
    r"the certificate of \S+ is not accepted"
)
"""How a detail tells that trying this server again is of no use."""


class _Failed(Exception):  # noqa: N818  (never leaves this module)
    """A layer that failed, and what was found there."""

    def __init__(self, layer: str, detail: str, *, everywhere: bool = False) -> None:
        super().__init__(layer, detail)
        self.layer, self.detail, self.everywhere = layer, detail, everywhere


def probe(options: Mapping[str, Any], timeout: float = 10.0) -> list[Row]:
    """Connect once and say, layer by layer, what worked.

    Parameters
    ----------
    options : mapping
        As `recovery_kit.kafka.client.connection.client_options` gives them.
    timeout : float
        Seconds for everything together.

    Returns
    -------
    list of (str, bool, str)
        (layer, whether it works, detail) in order, up to the first that fails. The layers are
        ``name lookup``, ``TCP``, ``TLS``, ``SASL`` (the last two where the protocol has them),
        ``Kafka`` (the broker answers a request) and ``brokers`` (the addresses that the brokers
        give for themselves can be reached). Of several bootstrap servers the first that works, or
        else the one that got furthest.
    """
    deadline = time.monotonic() + timeout
    servers: list[str] = list(options["bootstrap_servers"])
    best: list[Row] = []
    for done, server in enumerate(servers):
        share = (deadline - time.monotonic()) / (len(servers) - done)
        rows, final = _probe_server(server, options, time.monotonic() + share)
        if final or len(rows) > len(best):
            best = rows
        if final:
            break
    return [
        (layer, works, told(hide_secrets(detail, options), 400)) for layer, works, detail in best
    ]


def require_connection(options: Mapping[str, Any], timeout: float = 10.0) -> None:
    """Raise a `KafkaError` that names the layer and the reason when no bootstrap server can be
    used.
    """
    layer, works, detail = probe(options, timeout)[-1]
    if not works and layer != "brokers":
        raise KafkaError(f"cannot connect to Kafka, {layer} fails: {detail}", layer=layer)


def require_broker(server: str, options: Mapping[str, Any], timeout: float) -> str:
    """Why one broker cannot be used now; empty where it can.

    A `KafkaError` where it will never be.
    """
    layer, works, detail = probe({**options, "bootstrap_servers": [server]}, timeout)[-1]
    if works or layer == "brokers":
        return ""
    if layer in ("TLS", "SASL") and REFUSED.search(detail):
        raise KafkaError(f"cannot connect to Kafka any more, {layer} fails: {detail}", layer=layer)
    return f"{layer} fails: {detail}"


def explain_failure(
    error: BaseException, options: Mapping[str, Any], timeout: float = 10.0
) -> KafkaError:
    """The error to raise in place of one from kafka-python: with the layer that fails, and why.

    Parameters
    ----------
    error : BaseException
        What kafka-python raised. Raise the result ``from None``.
    options : mapping
        The options that the client was made with.
    timeout : float
        Seconds that finding out may take.

    Returns
    -------
    KafkaError
        Without any secret. The error itself when it is a KafkaError of the kit already.
    """
    if isinstance(error, KafkaError):
        return error
    layer, works, detail = probe(options, timeout)[-1]
    if not works:
        return KafkaError(f"cannot connect to Kafka, {layer} fails: {detail}", layer=layer)
    said = told(hide_secrets(str(error), options).removeprefix(f"{type(error).__name__}: "), 400)
    return KafkaError(
        f"Kafka: {type(error).__name__}: {said}. A connection of its own works now: {detail}"
    )


def _probe_server(
    server: str, options: Mapping[str, Any], deadline: float
) -> tuple[list[Row], bool]:
    """The rows of one server, and whether trying another is of no use."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    protocol = str(options["security_protocol"])
    rows: list[Row] = []
    with ExitStack() as stack:
        try:
            addresses = _look_up(host, int(port), deadline)
            rows.append(
                (
                    "name lookup",
                    True,
                    f"{host} is {', '.join(sorted({str(a[4][0]) for a in addresses}))}",
                )
            )
            sock = stack.enter_context(_connect(addresses, server, deadline))
            rows.append(("TCP", True, f"connected to {server}"))
            if protocol.endswith("SSL"):
                sock = stack.enter_context(_secure(sock, host, server, options))
                rows.append(("TLS", True, _about(sock)))
            rows.extend(_talk(sock, host, server, options, deadline))
        except _Failed as failure:
            worked = [row for row in rows if row[0] != failure.layer]
            return [*worked, (failure.layer, False, failure.detail)], failure.everywhere
    return rows, True


def _look_up(host: str, port: int, deadline: float) -> list[Any]:
    # The system's lookup knows no time-out, so that it runs in a thread that may be left behind.
    answer: queue.Queue[list[Any] | str] = queue.Queue()

    def ask() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.put(getattr(error, "strerror", None) or "not a name that can be looked up")

    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answer.get(timeout=_left(deadline))
    except queue.Empty:
        found = "no answer in time"
    if isinstance(found, str):
        raise _Failed(
            "name lookup",
            f"{host} cannot be found: {found}. Check the name, the network and any VPN",
        )
    return found


def _connect(addresses: list[Any], server: str, deadline: float) -> socket.socket:
    why = "no address"
    for tried, (family, kind, proto, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, proto)
        sock.settimeout(_left(deadline) / (len(addresses) - tried))
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            why = (
                "no answer in time"
                if isinstance(error, TimeoutError)
                else error.strerror or type(error).__name__
            )
        else:
            sock.settimeout(_left(deadline))
            return sock
    raise _Failed(
        "TCP",
        f"{server} does not take the connection: {why}. Is the broker up, and the port let "
        "through?",
    )


def _secure(
    sock: socket.socket, host: str, server: str, options: Mapping[str, Any]
) -> ssl.SSLSocket:
    context: ssl.SSLContext = options["ssl_context"]
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        detail = f"the certificate of {server} is not accepted: {error.verify_message}. "
        if "ostname" in error.verify_message or "IP address" in error.verify_message:
            detail += "Connect by a name that the certificate holds"
        else:
            detail += (
                "Name its certificate authority in ssl.truststore.location (or ssl.ca.location)"
            )
    except TimeoutError:
        detail = f"{server} did not finish the TLS handshake in time"
    except ssl.SSLError as error:
        detail = _alert(error, server)
    except OSError:
        detail = (
            f"{server} closed the connection during the TLS handshake; its listener may be without "
            "TLS"
        )
    raise _Failed("TLS", detail)


def _alert(error: ssl.SSLError, server: str) -> str:
    reason = str(error.reason or error).replace("_", " ").lower()
    if "eof" in reason or "wrong version" in reason or "record layer" in reason:
        return (
            f"{server} does not speak TLS; is security.protocol meant to be PLAINTEXT or "
            "SASL_PLAINTEXT there?"
        )
    if "certificate" in reason or "unknown ca" in reason:
        return (
            f"{server} refuses this client's certificate, or lack of one ({reason}); give one that "
            "its certificate authorities have signed, in ssl.keystore.location (or "
            "ssl.certificate.location and ssl.key.location)"
        )
    return f"{server} ended the TLS handshake: {reason}"


def _about(sock: socket.socket) -> str:
    assert isinstance(sock, ssl.SSLSocket)
    held: Mapping[str, Any] = sock.getpeercert() or {}
    names = dict(pair[0] for pair in held.get("subject", ()) if pair)
    owner = f", certificate of {names['commonName']}" if "commonName" in names else ""
    return f"{sock.version()}{owner}" + (
        f", valid until {held['notAfter']}" if "notAfter" in held else ""
    )


def _talk(
    sock: socket.socket, host: str, server: str, options: Mapping[str, Any], deadline: float
) -> list[Row]:
    from kafka.protocol.metadata import MetadataRequest
    from kafka.protocol.parser import KafkaProtocol

    parser = KafkaProtocol(client_id=options.get("client_id", "recovery-kit"))
    rows: list[Row] = []
    layer = "Kafka"
    try:
        if str(options["security_protocol"]).startswith("SASL"):
            layer = "SASL"
            rows.append(
                ("SASL", True, _authenticate(sock, parser, host, server, options, deadline))
            )
            layer = "Kafka"
        request = MetadataRequest(version=5, topics=[], allow_auto_topic_creation=False)
        brokers = [f"{b.host}:{b.port}" for b in _ask(sock, parser, request, deadline).brokers]
    except _Failed:
        raise
    except (
        ssl.SSLError
    ) as error:  # TLS 1.3: a broker refuses the client's certificate after the handshake
        raise _Failed("TLS", _alert(error, server)) from None
    except TimeoutError:
        raise _Failed(layer, f"{server} took the connection but did not answer in time") from None
    except Exception as error:  # whatever the broker, the SASL mechanism or its library makes of it
        raise _Failed(layer, _closed(error, server, options)) from None
    return [
        *rows,
        ("Kafka", True, f"{server} answers; brokers: {', '.join(brokers)}"),
        _reach(brokers, deadline),
    ]


def _ask(sock: socket.socket, parser: Any, request: Any, deadline: float) -> Any:
    parser.send_request(request)
    sock.sendall(parser.send_bytes())
    while True:
        sock.settimeout(_left(deadline))
        data = sock.recv(1 << 16)
        if not data:
            raise ConnectionResetError("closed the connection")
        if answers := parser.receive_bytes(data):
            return answers[0][1]


def _authenticate(
    sock: socket.socket,
    parser: Any,
    host: str,
    server: str,
    options: Mapping[str, Any],
    deadline: float,
) -> str:
    import kafka.errors as errors
    from kafka.net.sasl import get_sasl_mechanism
    from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

    name = options["sasl_mechanism"]
    answer = _ask(sock, parser, SaslHandshakeRequest(version=1, mechanism=name), deadline)
    refusal = errors.for_code(answer.error_code)
    if refusal is errors.IllegalSaslStateError:
        raise _Failed(
            "SASL",
            f"{server} is a listener without SASL; is security.protocol meant to be PLAINTEXT or "
            "SSL?",
        )
    if refusal is not errors.NoError or name not in answer.mechanisms:
        raise _Failed(
            "SASL",
            f"{server} does not offer {name}; it offers "
            f"{', '.join(answer.mechanisms) or 'nothing'}",
        )
    mechanism = get_sasl_mechanism(name)(host=host, **options)
    while not mechanism.is_done():
        request = SaslAuthenticateRequest(version=0, auth_bytes=mechanism.auth_bytes())
        answer = _ask(sock, parser, request, deadline)
        if errors.for_code(answer.error_code) is not errors.NoError:
            said = answer.error_message or errors.for_code(answer.error_code).__name__
            # A refused password is refused everywhere, and every try may count towards a lock.
            raise _Failed(
                "SASL", f"{server} refuses the credentials ({name}): {said}", everywhere=True
            )
        mechanism.receive(answer.auth_bytes)
    return f"{server} accepts the credentials ({name})"


def _closed(error: Exception, server: str, options: Mapping[str, Any]) -> str:
    protocol = options["security_protocol"]
    if not protocol.endswith("SSL") and _speaks_tls(server):
        return (
            f"{server} speaks TLS, and security.protocol is {protocol}; set it to SSL or SASL_SSL"
        )
    if isinstance(error, OSError) and not protocol.startswith("SASL"):
        return (
            f"{server} closed the connection; is it a broker, and does its listener ask for SASL?"
        )
    if options.get("sasl_mechanism") == "AWS_MSK_IAM" and not isinstance(error, OSError):
        return (
            "botocore finds no AWS credentials or no region; set AWS_PROFILE or the access keys, "
            "and AWS_DEFAULT_REGION"
        )
    return (
        f"{server}: {error}"
        if isinstance(error, OSError | KafkaError)
        else f"{type(error).__name__}: {error}"
    )


def _speaks_tls(server: str) -> bool:
    """Whether the same address answers a TLS greeting; nothing else is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1.0) as plain:
            context.wrap_socket(plain, server_hostname=host.strip("[]")).close()
            return True
    except OSError:
        return False


def _reach(brokers: list[str], deadline: float) -> Row:
    for done, broker in enumerate(brokers):
        host, _, port = broker.rpartition(":")
        until = time.monotonic() + _left(deadline) / (len(brokers) - done)
        try:
            _connect(_look_up(host, int(port), until), broker, until).close()
        except _Failed as failure:
            why = (
                f"a broker gives its address as {broker}, which cannot be reached from here: "
                f"{failure.detail}"
            )
            return "brokers", False, f"{why}. See advertised.listeners in the broker's settings"
    return "brokers", True, f"{len(brokers)} can be reached: {', '.join(brokers)}"


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.05)
