"""A real Apache Kafka on loopback, in KRaft mode, that ends with the process that started it."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recovery_kit.errors import SandboxError
from recovery_kit.sandbox import lease
from recovery_kit.sandbox.jars import VERSION, jars
from recovery_kit.sandbox.java import find_java
from recovery_kit.sandbox.node import (
    HOST,
    Node,
    PortTaken,
    answers,
    choose_ports,
    failure,
    properties,
    quiet,
    setting,
)

_CLUSTER_ID = "cmVjb3Zlcnkta2l0LXNieA"  # 16 bytes in base64, as Kafka wants it
_JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Duser.timezone=UTC",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS'Z'",
)


class Kafka:
    """A real Apache Kafka, started by ``with`` (or ``open``) and gone after it (or ``close``).

    It also goes, data and all, when this process ends in any other way, ``kill -9`` included.

    Parameters
    ----------
    config : mapping of str to object, optional
        Broker settings, as in server.properties, over the sandbox's own: no retention, no topic
        made by asking for it, internal topics of one partition.
    version : str
        The Apache Kafka to run; ``jars.txt`` lists those there are.
    brokers : int
        How many brokers; each is a controller too.
    listeners : sequence of str
        Security protocols to listen with besides PLAINTEXT, which is always there: SSL,
        SASL_PLAINTEXT, SASL_SSL.
    format_args : sequence of str
        More arguments for the storage tool, such as ``--add-scram``.
    heap_mb : int
        Largest heap of each broker, MiB; the process takes some 200 MiB more.
    timeout : float
        Seconds that a start, or a stop, may take.
    progress : bool
        Say on standard error what takes a while.

    Examples
    --------
    >>> with Kafka() as broker:  # doctest: +SKIP
    ...     broker.create_topic("ledger-events", partitions=4)
    ...     print(broker.bootstrap_servers)
    127.0.0.1:23514
    """

    def __init__(
        self,
        config: Mapping[str, object] | None = None,
        *,
        version: str = VERSION,
        brokers: int = 1,
        listeners: Sequence[str] = (),
        format_args: Sequence[str] = (),
        heap_mb: int = 512,
        timeout: float = 60.0,
        progress: bool = True,
    ) -> None:
        self.config = dict(config or {})
        self.version = version
        self.nodes: tuple[Node, ...] = ()
        self._brokers = brokers
        self._listeners = ("PLAINTEXT", *listeners)
        self._format_args = tuple(format_args)
        self._heap_mb = heap_mb
        self._timeout = timeout
        self._progress = progress
        self._lease: lease.Lease | None = None
        self._java: list[str] = []

    def __enter__(self) -> Kafka:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self.bootstrap_servers if self._lease else "not running"
        return f"<Apache Kafka {self.version} sandbox: {state}>"

    def open(self) -> Kafka:
        """Start every broker and return when they answer.

        Raises
        ------
        SandboxError
            When it cannot start; says why and what to do, with what the broker's log tells.
        """
        lease.runtime_folder()  # where that cannot be used, say so before fetching anything
        java = find_java()
        classpath = ":".join(map(str, jars(self.version, progress=self._progress)))
        self._java = [java, f"-Xmx{self._heap_mb}m", *_JVM, "-cp", classpath]
        for attempt in range(3):
            self._lease = lease.new()
            self.nodes = choose_ports(self._brokers, (*self._listeners, "CONTROLLER"))
            try:
                self._format()
                self.start()
                return self
            except PortTaken:
                self.close()
                if attempt == 2:
                    raise
            except BaseException:
                self.close()
                raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the brokers at once and remove their data."""
        if self._lease is None:
            return
        folder = self.folder
        self._lease.close()
        self._lease = None
        deadline = time.monotonic() + 15
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def detach(self) -> lease.Lease:
        """Give the lease away: the brokers then last as long as the lease does, and this object
        lets them be.
        """
        held, self._lease = self._held(), None
        return held

    @property
    def folder(self) -> Path:
        """The folder that holds the data and the logs while the sandbox lives."""
        return self._held().folder

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect in plain text."""
        return self.bootstrap("PLAINTEXT")

    def bootstrap(self, listener: str) -> str:
        """Where clients connect with one of the security protocols given as ``listeners``."""
        return ",".join(f"{HOST}:{node.ports[listener]}" for node in self.nodes)

    def start(self, node: int | None = None) -> None:
        """Start one broker, or all, on the ports and data it had before, and wait until it
        answers.
        """
        for one in self._chosen(node):
            self._run(f"node-{one.number}", "kafka.Kafka", self._properties(one))
        self._wait_until_ready(self._chosen(node))

    def stop(self, node: int | None = None) -> None:
        """Stop one broker, or all, in an orderly way.

        Killed when that takes longer than ``timeout``.
        """
        self._end(self._chosen(node), signal.SIGTERM)

    def kill(self, node: int | None = None) -> None:
        """Kill one broker, or all, with SIGKILL, as a crash would."""
        self._end(self._chosen(node), signal.SIGKILL)

    def restart(self, node: int | None = None, *, hard: bool = False) -> None:
        """Stop, or with ``hard`` kill, one broker or all, and start it again."""
        self.kill(node) if hard else self.stop(node)
        self.start(node)

    def pid(self, node: int = 1) -> int:
        """Process id of a broker's JVM."""
        return int(self._status(f"node-{node}")["pid"])

    def log_dir(self, topic: str, partition: int, *, node: int = 1) -> Path:
        """The folder where a broker keeps the segments of one partition."""
        return self.folder / f"data-{node}" / f"{topic}-{partition}"

    def log_text(self, node: int = 1) -> str:
        """What a broker has logged so far."""
        return self._log(f"node-{node}")

    def create_topic(
        self, name: str, *, partitions: int = 1, config: Mapping[str, object] | None = None
    ) -> None:
        """Make a topic, on as many brokers as there are up to three, and wait until every partition
        has a leader.
        """
        from recovery_kit.kafka.admin import create_topic

        with quiet():
            create_topic(
                self.bootstrap_servers,
                name,
                partitions=partitions,
                replicas=min(self._brokers, 3),
                config={key: setting(value) for key, value in (config or {}).items()},
            )
        # A broker tells of a partition a moment before it has made its log; till then it refuses to
        # lead it.
        deadline = time.monotonic() + self._timeout
        wanted = [
            [self.log_dir(name, p, node=n.number) for n in self.nodes] for p in range(partitions)
        ]
        while (
            not all(any(map(Path.exists, copies)) for copies in wanted)
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)

    def _held(self) -> lease.Lease:
        if self._lease is None:
            raise SandboxError(
                "this sandbox is not running; use it inside 'with Kafka() as broker:'"
            )
        return self._lease

    def _chosen(self, node: int | None) -> list[Node]:
        chosen = [one for one in self.nodes if node in (None, one.number)]
        if not chosen:
            raise SandboxError(
                f"there is no broker {node}; there are {[one.number for one in self.nodes]}"
            )
        return chosen

    def _run(self, name: str, *arguments: str) -> None:
        scratch = (
            self.folder / "tmp"
        )  # Kafka's clients unpack native libraries; they shall go with the rest
        scratch.mkdir(exist_ok=True)
        argv = [*self._java, f"-Djava.io.tmpdir={scratch}", *arguments]
        self._held().ask("start", name=name, argv=argv, log=f"{name}.log")

    def _status(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = self._held().ask("status")[name]
        return status

    def _log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _properties(self, node: Node) -> str:
        """Write the server.properties of one node and return its path."""
        path = self.folder / f"node-{node.number}.properties"
        text = properties(node, self.nodes, self.folder / f"data-{node.number}", self.config)
        path.write_text(text, encoding="ascii")
        return str(path)

    def _format(self) -> None:
        for node in self.nodes:
            arguments = ("-t", _CLUSTER_ID, "-c", self._properties(node), *self._format_args)
            self._run(f"format-{node.number}", "kafka.tools.StorageTool", "format", *arguments)
        deadline = time.monotonic() + self._timeout
        for node in self.nodes:
            name = f"format-{node.number}"
            while (code := self._status(name)["code"]) is None and time.monotonic() < deadline:
                time.sleep(0.02)
            if code != 0:
                raise failure(
                    f"Apache Kafka's storage tool did not format broker {node.number}",
                    code,
                    self._log(name),
                )

    def _wait_until_ready(self, nodes: Sequence[Node]) -> None:
        deadline = time.monotonic() + self._timeout
        for node in nodes:
            while not answers(node):
                code = self._status(f"node-{node.number}")["code"]
                if code is not None or time.monotonic() > deadline:
                    why = f"broker {node.number} " + (
                        "ended" if code is not None else "did not answer in time"
                    )
                    raise failure(f"Apache Kafka's {why}", code, self.log_text(node.number))
                time.sleep(0.02)

    def _end(self, nodes: Sequence[Node], how: signal.Signals) -> None:
        names = [f"node-{node.number}" for node in nodes]
        for name in names:
            self._held().ask("signal", name=name, signal=int(how))
        deadline = time.monotonic() + self._timeout
        for name in names:
            while self._status(name)["code"] is None:
                if time.monotonic() > deadline:
                    self._held().ask("signal", name=name, signal=int(signal.SIGKILL))
                time.sleep(0.02)
