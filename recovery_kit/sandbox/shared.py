"""One seeded broker for everybody: every notebook and process of this user that asks for the demo
shares it.
"""

from __future__ import annotations

import atexit
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recovery_kit.errors import SandboxError
from recovery_kit.sandbox import incident, lease
from recovery_kit.sandbox.jars import VERSION
from recovery_kit.sandbox.kafka import Kafka

if TYPE_CHECKING:
    from recovery_kit.schema import EventSchema

_held: Demo | None = None
"""This process's lease; a process that forks shares it with its child."""


@dataclass(frozen=True, eq=False)
class Demo:
    """A running broker that holds the incident's log, and what its system of record exported.

    Attributes
    ----------
    bootstrap_servers : str
        Where clients connect.
    topic : str
        The topic with the log.
    schema : EventSchema
        How to read its messages.
    expected : Path
        CSV of the system's totals: key, total.
    processed : Path
        CSV of the system's journal: event_id, key, effect, time.
    folder : Path
        Where both lie; removed when the last process lets go of the demo.
    """

    bootstrap_servers: str
    topic: str
    schema: EventSchema
    expected: Path
    processed: Path
    folder: Path
    _lease: lease.Lease

    def close(self) -> None:
        """Let go of the demo; the broker ends, and its data goes, when nobody else holds it."""
        self._lease.close()

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<demo: topic {self.topic!r} at {self.bootstrap_servers}>"


def demo(*, progress: bool = True) -> Demo:
    """Join the demo's broker, or start and seed it when nobody has.

    The first call takes some seconds, and the very first one fetches Apache Kafka. Calling it again
    in one process gives the same object. It ends when the last process that holds it does.

    Parameters
    ----------
    progress : bool
        Say on standard error what takes a while.

    Raises
    ------
    SandboxError
        When the broker cannot start; says what to do.
    """
    global _held
    here = lease.runtime_folder()
    waiting = "Waiting for another process that is starting the demo" if progress else ""
    with lease.locked(here / "demo.lock", waiting=waiting):
        if _held is None or not _running(_held._lease):
            _held = _join(here) or _start(progress=progress)
            atexit.register(_held.close)
        return _held


def _edition() -> str:
    """The file that marks a folder as this demo's: a changed kit must not find an older one's
    broker and log.
    """
    digest = hashlib.sha256(VERSION.encode())
    for name in ("incident.py", "ledger.py", "system.py", "keeper.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return f"demo-{digest.hexdigest()[:12]}"


def _running(held: lease.Lease) -> bool:
    try:
        return held.ask("status")["node-1"]["code"] is None
    except SandboxError:
        return False


def _join(here: Path) -> Demo | None:
    for mark in here.glob(f"kafka-*/{_edition()}"):
        joined = lease.join(mark.parent)
        if joined is None:  # it has ended, or just ends
            continue
        if _running(joined):
            return _demo(joined, mark.read_text(encoding="ascii"))
        joined.close()
    return None


def _start(*, progress: bool) -> Demo:
    if progress:
        print(f"Starting Apache Kafka {VERSION} with the demo's log", file=sys.stderr, flush=True)
    with Kafka(progress=progress) as broker:
        broker.create_topic(incident.TOPIC, partitions=incident.PARTITIONS)
        made = incident.simulate()
        incident.seed(broker.bootstrap_servers, made)
        made.write(broker.folder)
        draft = broker.folder / "draft"
        draft.write_text(broker.bootstrap_servers, encoding="ascii")
        draft.rename(broker.folder / _edition())  # last: who finds it finds everything
        return _demo(broker.detach(), broker.bootstrap_servers)


def _demo(held: lease.Lease, bootstrap_servers: str) -> Demo:
    expected, processed = held.folder / "expected.csv", held.folder / "processed.csv"
    return Demo(
        bootstrap_servers, incident.TOPIC, incident.schema(), expected, processed, held.folder, held
    )
