"""From a user's client.properties file to the keyword arguments of kafka-python's clients.

What comes out is checked as a whole: half of a security configuration is refused before a byte is
sent.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from recovery_kit._show import shorten
from recovery_kit.errors import ParameterError, did_you_mean
from recovery_kit.kafka.client.probe import explain_failure, probe, require_connection
from recovery_kit.kafka.client.properties import first, read_properties
from recovery_kit.kafka.client.sasl import sasl_options
from recovery_kit.kafka.client.secret import Secret, keep_secrets_out_of_logs
from recovery_kit.kafka.client.tls import STORES, tls_context

__all__ = ["PROTOCOLS", "client_options", "explain_failure", "probe", "require_connection"]

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

_SERVER = re.compile(
    r"(?:(?P<protocol>[A-Za-z_]+)://)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[\w.\-]+)(?::(?P<port>\d{1,5}))?"
)
_LOOKUPS = ("use_all_dns_ips", "resolve_canonical_bootstrap_servers_only")


def client_options(
    bootstrap_servers: str | list[str] | None, client_config: str | Path | None = None
) -> dict[str, object]:
    """Keyword arguments that ``KafkaConsumer`` and ``KafkaAdminClient`` take alike.

    Passwords among them print as ``***``; as a further effect, what kafka-python writes to its
    loggers at DEBUG no longer holds the bytes it sends, for a password is among them.

    Parameters
    ----------
    bootstrap_servers : str or list of str, optional
        ``host:port``, several with commas or as a list. Not given: ``bootstrap.servers`` of the
        file.
    client_config : str or pathlib.Path, optional
        A client.properties file, in the spelling of Java's client or of librdkafka. Empty: none.

    Returns
    -------
    dict of str to object
        ``bootstrap_servers``, ``security_protocol`` and whatever else the file asks for.

    Raises
    ------
    ParameterError
        When the file cannot be read or understood, or its settings do not go together. No message
        holds a value that may be secret.

    Warns
    -----
    UserWarning
        For settings that no client knows, and for those that leave the connection less safe than it
        looks.

    Examples
    --------
    >>> client_options("localhost:9092")
    {'bootstrap_servers': ['localhost:9092'], 'security_protocol': 'PLAINTEXT'}
    """
    path = Path(client_config).expanduser() if client_config else Path("client_config")
    settings = read_properties(path) if client_config else {}
    protocol = _protocol(settings, path=path)
    servers = _servers(bootstrap_servers, settings, protocol=protocol)
    options: dict[str, object] = {"bootstrap_servers": servers, "security_protocol": protocol}
    options |= _general(settings, path=path)
    if protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(settings, path=path)
    options |= sasl_options(settings, protocol=protocol, servers=servers, path=path)
    keep_secrets_out_of_logs()
    return options


def _protocol(settings: Mapping[str, Secret], *, path: Path) -> str:
    named = first(settings, "security.protocol")
    protocol = named.reveal.upper() if named else "PLAINTEXT"
    if protocol not in PROTOCOLS:
        raise ParameterError(
            f"{path}: security.protocol is {shorten(protocol)!r}; expected one of "
            f"{', '.join(PROTOCOLS)}." + did_you_mean(protocol, list(PROTOCOLS))
        )
    stores = [key for key in STORES if settings.get(key)]
    if stores and not protocol.endswith("SSL"):
        said = f"is {protocol}" if named else "is not given, which means PLAINTEXT"
        raise ParameterError(
            f"{path}: {stores[0]} is set, but security.protocol {said}: the connection would not "
            "be encrypted. Set security.protocol to SSL or SASL_SSL, or take the ssl settings out"
        )
    return protocol


def _servers(
    given: str | list[str] | None, settings: Mapping[str, Secret], *, protocol: str
) -> list[str]:
    listed = _listed(given) or _listed(first(settings, "bootstrap.servers", "metadata.broker.list"))
    if not listed:
        raise ParameterError(
            "no bootstrap_servers: give host:port of a broker, such as localhost:9092, as an "
            "argument or as bootstrap.servers in the client_config file"
        )
    return [_server(server, protocol=protocol) for server in listed]


def _listed(servers: str | list[str] | None) -> list[str]:
    if isinstance(servers, Secret):
        servers = servers.reveal
    pieces = servers.split(",") if isinstance(servers, str) else servers or []
    return [piece.strip() for piece in pieces if piece.strip()]


def _server(server: str, *, protocol: str) -> str:
    found = _SERVER.fullmatch(server)
    port = int(found["port"] or 9092) if found else 0
    if not found or not 0 < port < 65536:
        # Not shown when it may hold a user and password.
        shown = "a server with an @ in it" if "@" in server else repr(shorten(server))
        raise ParameterError(
            f"bootstrap_servers holds {shown}; expected host:port, such as "
            "broker-1.example.com:9092"
        )
    if found["protocol"] and found["protocol"].upper() != protocol:
        raise ParameterError(
            f"bootstrap_servers holds {server!r}, but security.protocol is {protocol}; make the "
            "two agree"
        )
    return f"{found['host']}:{port}"


def _general(settings: Mapping[str, Secret], *, path: Path) -> dict[str, object]:
    options: dict[str, object] = {}
    name, lookup = first(settings, "client.id"), first(settings, "client.dns.lookup")
    patience, isolation = first(settings, "request.timeout.ms"), first(settings, "isolation.level")
    if name:
        options["client_id"] = name.reveal
    if lookup and lookup in _LOOKUPS:
        options["client_dns_lookup"] = lookup.reveal
    if patience:
        if not patience.isdecimal() or not 1_000 <= int(patience) <= 500_000:
            raise ParameterError(
                f"{path}: request.timeout.ms is no whole number of milliseconds from 1000 to 500000"
            )
        options["request_timeout_ms"] = int(patience)
    if isolation and isolation.lower() != "read_committed":
        message = (
            f"{path}: isolation.level is not used: events of aborted transactions are never read"
        )
        warnings.warn(message, UserWarning, stacklevel=3)
    return options
