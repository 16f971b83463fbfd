"""A simulated incident: a log that is right, and a system of record whose totals are not.

``simulate`` is pure: no Kafka, no clock, and one seed gives the same bytes everywhere. ``seed``
writes the log of an incident into a topic.
"""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recovery_kit.errors import ParameterError, SandboxError
from recovery_kit.sandbox.ledger import EFFECTS, Record, iso, make_log, money
from recovery_kit.sandbox.node import quiet
from recovery_kit.sandbox.system import Applied, Cause, consume

if TYPE_CHECKING:
    import pandas as pd

    from recovery_kit.schema import EventSchema

TOPIC = "ledger-events"
PARTITIONS = 4


@dataclass(frozen=True, eq=False)
class Incident:
    """A day of a ledger, and what a system made of it.

    Attributes
    ----------
    records : tuple of Record
        Every message in the order it is produced: partition, key, value, CreateTime in epoch ms.
    applied : tuple of Applied
        The system's journal: event id, key, effect in cents, the system's time in epoch ms.
    totals : dict of str to int
        The system's total of each key, cents, sorted by key.
    mistakes : tuple of Cause
        The truth: for each key, what the system has less what the log says is the sum of these.
    """

    records: tuple[Record, ...]
    applied: tuple[Applied, ...]
    totals: dict[str, int]
    mistakes: tuple[Cause, ...]

    @property
    def schema(self) -> EventSchema:
        """How to read the messages."""
        return schema()

    @property
    def expected(self) -> pd.DataFrame:
        """The system's totals: key, total (decimal)."""
        return _frame(("key", "total"), [(key, money(cents)) for key, cents in self.totals.items()])

    @property
    def processed(self) -> pd.DataFrame:
        """The system's journal in its order: event_id, key, effect (decimal), time (UTC)."""
        return _frame(Applied._fields, [_written(line) for line in self.applied])

    @property
    def causes(self) -> pd.DataFrame:
        """The truth to hold an explanation against: key, cause, amount (decimal), event_id."""
        rows = [(c.key, c.cause, money(c.cents), c.event_id) for c in self.mistakes]
        return _frame(("key", "cause", "amount", "event_id"), rows)

    def write(self, folder: Path | str) -> tuple[Path, Path]:
        """Write what the system of record would export: expected.csv and processed.csv.

        Returns their paths.
        """
        expected, processed = Path(folder) / "expected.csv", Path(folder) / "processed.csv"
        _write_csv(
            expected, ("key", "total"), ((key, money(cents)) for key, cents in self.totals.items())
        )
        _write_csv(processed, Applied._fields, map(_written, self.applied))
        return expected, processed


def schema() -> EventSchema:
    """The schema of every incident's messages."""
    from recovery_kit.schema import EventSchema

    return EventSchema(
        id="id", type="type", value="value", key="account", time="ts", decimals=2, effects=EFFECTS
    )


def simulate(
    seed: int = 7, *, events: int = 60_000, accounts: int = 300, partitions: int = PARTITIONS
) -> Incident:
    """Make up a day of a ledger, from 09:00 to 15:00 UTC of 2026-03-02, and a system that got some
    of it wrong.

    Parameters
    ----------
    seed : int
        The same seed gives the same bytes.
    events : int
        How many events happened, at least 1,000; the log holds some 3 % more messages.
    accounts : int
        How many accounts, at least 10; the last one opens in the last half minute.
    partitions : int
        How many partitions the log has, at least 2.

    Raises
    ------
    ParameterError
        When it would be too small to hold the incident.
    """
    if events < 1_000 or accounts < 10 or partitions < 2:
        raise ParameterError(
            f"simulate({events=}, {accounts=}, {partitions=}): expected at least 1,000 events, 10 "
            "accounts, 2 partitions"
        )
    rng = random.Random(seed)
    log = make_log(rng, events=events, accounts=accounts, partitions=partitions)
    journal, mistakes = consume(rng, log, accounts=accounts)
    totals: Counter[str] = Counter()
    for line in journal:
        totals[line.key] += line.effect
    return Incident(
        tuple(d.record for d in log), tuple(journal), dict(sorted(totals.items())), tuple(mistakes)
    )


def seed(bootstrap_servers: str, incident: Incident, topic: str = TOPIC) -> None:
    """Write an incident's log into a topic that is there and empty: in order, each message once.

    Raises
    ------
    SandboxError
        When the topic afterwards holds anything but those messages.
    """
    from recovery_kit.kafka.admin import write

    wanted = Counter(record.partition for record in incident.records)
    with quiet():
        found = write(bootstrap_servers, topic, incident.records)
    if found != wanted:
        raise SandboxError(
            f"the topic {topic!r} ends at {found} (partition to offset), expected {dict(wanted)} "
            "after seeding; it was not empty, or another program writes to it. Seed a new topic"
        )


def _written(line: Applied) -> tuple[str, str, str, str]:
    return line.event_id, line.key, money(line.effect), iso(line.time)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _frame(names: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Text rows as a pandas frame whose columns are Arrow's: exact decimals, times in UTC, the rest
    text.
    """
    import pyarrow as pa

    from recovery_kit.tables.arrow import to_pandas

    types = {name: pa.large_string() for name in names}
    types |= {name: pa.decimal128(28, 2) for name in ("total", "effect", "amount") if name in names}
    types |= {"time": pa.timestamp("ms", tz="UTC")} if "time" in names else {}
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    arrays = {
        name: pa.array(column, pa.string()).cast(types[name])
        for name, column in zip(names, columns, strict=True)
    }
    return to_pandas(pa.table(arrays))
