"""One broker of the sandbox: its ports, its server.properties, whether it answers, and why it did
not start.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recovery_kit._show import told
from recovery_kit.errors import SandboxError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Node:
    """One broker of the sandbox, which is a controller too: its number and the port of each
    listener.
    """

    number: int
    ports: Mapping[str, int]


class PortTaken(SandboxError):  # noqa: N818
    """Somebody bound a port between our choosing it and the broker's binding it."""


def properties(node: Node, nodes: Sequence[Node], data: Path, config: Mapping[str, object]) -> str:
    """The text of a node's server.properties: the sandbox's own settings, with ``config`` over
    them.
    """
    settings = {**_settings(node, nodes, data), **config}
    return "".join(f"{name}={_escape(setting(value))}\n" for name, value in settings.items())


def setting(value: object) -> str:
    """A setting's value as Kafka writes it: Python's True is true."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _escape(value: str) -> str:
    r"""A value as a Java properties file holds it: ASCII, with \\, \n and \uXXXX."""
    plain = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    units = plain.encode("utf-16-be")
    codes = (int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2))
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)


def choose_ports(brokers: int, listeners: Sequence[str]) -> tuple[Node, ...]:
    """Free ports for every listener of every node.

    They lie below the range that the system gives to outgoing connections: a client that keeps
    trying to reach a broker while it is down could otherwise be given the broker's own port, and
    connect to itself.
    """
    ports: set[int] = set()
    while len(ports) < brokers * len(listeners):
        port = random.SystemRandom().randrange(20_000, 32_000)
        if _can_bind(port):
            ports.add(port)
    free = iter(ports)
    return tuple(
        Node(number, {name: next(free) for name in listeners}) for number in range(1, brokers + 1)
    )


def _settings(node: Node, nodes: Sequence[Node], data: Path) -> dict[str, object]:
    """The sandbox's own broker settings."""
    protocols = [name for name in node.ports if name != "CONTROLLER"]
    copies = min(len(nodes), 3)
    return {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": ",".join(
            f"{n.number}@{HOST}:{n.ports['CONTROLLER']}" for n in nodes
        ),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": ",".join(f"{name}://{HOST}:{port}" for name, port in node.ports.items()),
        "advertised.listeners": ",".join(
            f"{name}://{HOST}:{node.ports[name]}" for name in protocols
        ),
        "listener.security.protocol.map": ",".join(
            ["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in protocols)]
        ),
        "log.dirs": data,
        # Records of a past day must stay; a retention by time would remove them at its next round.
        "log.retention.ms": -1,
        "auto.create.topics.enable": False,
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed may come back only when its session has run out; its default is 9
        # s.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # The cleaner takes this from the heap at once; its default is 128 MiB.
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep kafka-python from logging its warnings, which tell of a slow machine and of attempts
    that are repeated.
    """
    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def answers(node: Node) -> bool:
    """Whether the node answers, and the cluster counts it among its working brokers."""
    with quiet():
        return _listening(node) and _registered(node)


def _listening(node: Node) -> bool:
    try:
        socket.create_connection((HOST, node.ports["PLAINTEXT"]), timeout=5).close()
    except OSError:
        return False
    return True


def _registered(node: Node) -> bool:
    from recovery_kit.kafka.admin import working_brokers

    return node.number in working_brokers(f"{HOST}:{node.ports['PLAINTEXT']}", timeout=5.0)


_REASONS = (
    (r"Address already in use", "another program took the port", PortTaken),
    (
        r"Could not reserve enough space|insufficient memory|Cannot allocate memory|"
        r"OutOfMemoryError|Too small maximum heap",
        "the machine has too little memory for it; free some, or give another heap_mb",
        SandboxError,
    ),
    (
        r"No space left on device",
        "the disk is full; free some, or set TMPDIR to a folder on another",
        SandboxError,
    ),
    (r"ConfigException", "a setting given as config is not accepted", SandboxError),
)


def failure(what: str, code: int | None, log: str) -> SandboxError:
    """The error of a JVM that ended, or (code None) does not answer, with what its log says."""
    for pattern, why, kind in _REASONS:
        if re.search(pattern, log):
            return kind(f"{what}: {why}. {_telling(log)}")
    if code == -signal.SIGKILL:
        why = (
            "it was killed, as the system does when memory runs out; free some, or give a smaller "
            "heap_mb"
        )
    else:
        why = f"exit code {code}" if code is not None else "raise timeout on a slow machine"
    return SandboxError(f"{what}: {why}. {_telling(log)}")


def _telling(log: str, most: int = 15) -> str:
    """The lines of a log that tell what went wrong, else its last ones: a broker logs much while it
    shuts down.
    """
    lines = [told(line, 500) for line in log.splitlines() if not line.startswith("\t")]
    bad = [line for line in lines if re.search(r"\] (ERROR|FATAL) |^[^\[]*(Exception|Error)", line)]
    shown = bad[:most] or lines[-most:] or ["(nothing)"]
    return "\n".join([f"Of its log, the {'lines with errors' if bad else 'last lines'}:", *shown])
