"""An example of a history: the simulated incident looked at every hour, as run directories, without
a broker.

The log's messages are read by the kit's own reader and go through its own steps; only the fetching
is left out. After the fourth run somebody puts the ten largest differences right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recovery_kit.sandbox import incident
from recovery_kit.sandbox.ledger import START, Record

if TYPE_CHECKING:
    import pyarrow as pa

    from recovery_kit.payload import Messages
    from recovery_kit.replay import Replay
    from recovery_kit.totals import Totals

_HOUR = 3_600_000
_RUNS = 6
_PUT_RIGHT_AFTER = 4
_KILLED_AFTER = 4
"""Of this run only the beginning is left, as of one that was killed."""


def write(folder: Path) -> Path:
    """Write run directories into a folder: one an hour, and what a run that was killed leaves.

    Parameters
    ----------
    folder : Path
        Made where it is not there.

    Returns
    -------
    Path
        The folder.
    """
    from recovery_kit.dedup import dedup
    from recovery_kit.totals import totals

    made = incident.simulate()
    put_right: dict[str, Decimal] = {}
    for hour in range(1, _RUNS + 1):
        until = START + hour * _HOUR
        replay = _replay(made.records, until)
        told = dedup(replay.events)
        worst = _run(folder, until, replay, told, totals(told), _held(made, until, put_right))
        if hour == _PUT_RIGHT_AFTER:
            put_right = worst
        if hour == _KILLED_AFTER:
            _mark(folder / _name(until + _HOUR // 2))
    return folder


def _run(
    folder: Path, until: int, replay: Replay, told: Any, recovered: Totals, held: pa.Table
) -> dict[str, Decimal]:
    """Leave one run as `recovery_kit.run` does.

    What would put its ten largest differences right comes back.
    """
    from recovery_kit import manifest
    from recovery_kit._keep import read_json, write_json
    from recovery_kit.judge import FailOn, judge
    from recovery_kit.purge import kept
    from recovery_kit.reconcile import reconcile
    from recovery_kit.settings import Settings
    from recovery_kit.steps import keep_results

    at = _mark(folder / _name(until))
    found = reconcile(recovered, held, replay=replay)
    keep_results(at, replay, told, recovered, found)
    settings = Settings(
        topic=incident.TOPIC, key_field="account", until=_iso(until), run_dir=str(at)
    )
    about: dict[str, Any] = {
        "exit_code": judge(read_json(at / "summary.json"), FailOn()),
        "error": "",
        "started": _iso(until),
        "ended": _iso(until + 30_000),
        "seconds": 30.0,
        "parameters": settings.to_dict(),
        "replay": {"source": incident.TOPIC, "verdict": replay.verdict},
        "coverage": replay.coverage.to_dict("records"),
        "outputs": manifest.outputs(at, kept(at)),
    }
    write_json(at / manifest.NAME, about)
    worst = found.divergences.head(10)
    return dict(zip(worst["key"], worst["difference"], strict=True))


def _replay(records: Iterable[Record], until: int) -> Replay:
    import pandas as pd
    import pyarrow as pa

    from recovery_kit.payload import REJECT_SCHEMA, TOMBSTONE_SCHEMA, Reader
    from recovery_kit.replay import Replay
    from recovery_kit.window import Window

    reader, schema = Reader(incident.schema(), None, until), incident.schema()
    logs: dict[int, list[Record]] = {}
    for record in records:
        if record.timestamp < until:
            logs.setdefault(record.partition, []).append(record)
    reads = {
        partition: reader.read(_messages(partition, logs[partition])) for partition in sorted(logs)
    }
    rows = []
    for partition, read in reads.items():
        end = len(logs[partition])
        rows.append(
            {
                "topic": incident.TOPIC,
                "partition": partition,
                "verdict": "complete",
                "log_start": 0,
                "start": 0,
            }
            | dict.fromkeys(("end", "position", "high_watermark", "delivered"), end)
            | dict.fromkeys(("control", "aborted", "removed", "lost", "unread"), 0)
            | {"events": read.events.num_rows, "outside": read.outside}
            | {"rejects": len(read.rejects), "tombstones": len(read.tombstones)}
        )
    events = pa.Table.from_batches(
        [read.events for read in reads.values()], pa.schema(schema.arrow_types)
    )
    rejects = [row for read in reads.values() for row in read.rejects]
    tombstones = [row for read in reads.values() for row in read.tombstones]
    return Replay(
        events=events,
        rejects=pa.Table.from_pylist(rejects, REJECT_SCHEMA),
        tombstones=pa.Table.from_pylist(tombstones, TOMBSTONE_SCHEMA),
        coverage=pd.DataFrame(rows),
        verdict="complete",
        schema=schema,
        source=incident.TOPIC,
        window=Window(until_ms=until),
    )


def _messages(partition: int, records: list[Record]) -> Messages:
    import numpy as np

    from recovery_kit.payload import Messages

    data = bytearray(b"#")  # so that nothing stands at position 0

    def place(parts: list[bytes | None]) -> tuple[Any, Any]:
        at, length = [], []
        for part in parts:
            at.append(len(data))
            length.append(-1 if part is None else len(part))
            data.extend(part or b"")
        return np.array(at, np.int64), np.array(length, np.int64)

    values, keys = place([r.value for r in records]), place([r.key for r in records])
    times = np.array([r.timestamp for r in records], np.int64)
    offsets = np.arange(len(records), dtype=np.int64)
    buffer = np.frombuffer(bytes(data), np.uint8)
    return Messages(
        incident.TOPIC, partition, buffer, offsets, times, *keys, *values, headers=lambda _: []
    )


def _held(made: incident.Incident, until: int, put_right: dict[str, Decimal]) -> pa.Table:
    """What the system of record holds at a moment, with what somebody put right."""
    import pyarrow as pa

    cents: Counter[str] = Counter()
    for line in made.applied:
        if line.time < until:
            cents[line.key] += line.effect
    totals = {
        key: Decimal(amount).scaleb(-2) - put_right.get(key, 0)
        for key, amount in sorted(cents.items())
    }
    return pa.table({"key": list(totals), "total": pa.array(totals.values(), pa.decimal128(28, 2))})


def _mark(folder: Path) -> Path:
    from recovery_kit.purge import mark

    folder.mkdir(parents=True, exist_ok=True)
    mark(folder)
    return folder


def _name(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y%m%dT%H%M%SZ}"


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
