"""An example of a history: the simulated incident looked at every hour, as run directories, without
a broker.

The log is a source like any other (`AsOf`), read and counted by the kit's own code. After the
fourth run somebody puts the ten largest differences right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from recovery_kit._keep import read_json, write_json
from recovery_kit.dedup import dedup
from recovery_kit.payload.messages import Messages
from recovery_kit.reconcile import reconcile
from recovery_kit.replay import Replay, replayed
from recovery_kit.run import manifest
from recovery_kit.run.judge import FailOn, judge
from recovery_kit.run.purge import kept, mark
from recovery_kit.run.settings import Settings
from recovery_kit.run.steps import keep_results
from recovery_kit.sandbox import incident
from recovery_kit.sandbox.ledger import START, Record
from recovery_kit.sources.source import Chunk
from recovery_kit.sources.span import Span
from recovery_kit.sources.window import Window
from recovery_kit.totals import Totals, totals

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
    made = incident.simulate()
    put_right: dict[str, Decimal] = {}
    for hour in range(1, _RUNS + 1):
        until = START + hour * _HOUR
        cut = Window(until_ms=until)
        replay = replayed(AsOf(made.records, until), incident.schema(), cut)
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
    """Leave one run as `recovery_kit.run.notebooks` does.

    What would put its ten largest differences right comes back.
    """
    at = _mark(folder / _name(until))
    found = reconcile(recovered, held, replay=replay)
    keep_results(at, replay, told, recovered, found)
    settings = Settings(
        topic=incident.TOPIC, key_field="account", until=_iso(until), run_dir=str(at)
    )
    about: dict[str, Any] = {
        "exit_code": judge(read_json(at / "summary.json"), FailOn())[0],
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


class AsOf:
    """The incident's log as it stood at a moment, as a `Source`: what came later is not in it."""

    def __init__(self, records: Iterable[Record], until: int) -> None:
        self._logs: dict[int, list[Record]] = {}
        for record in records:
            if record.timestamp < until:
                self._logs.setdefault(record.partition, []).append(record)
        self.name, self.notes = incident.TOPIC, list[str]()
        self.spans = [Span.whole(self.name, p, len(self._logs[p])) for p in sorted(self._logs)]

    def read(
        self, spans: Sequence[Span], *, go_on: bool = True, timeout: float | None = None
    ) -> Iterator[Chunk]:
        """As a `Source` does, a chunk a partition; nothing is waited for, and nothing lost."""
        del go_on, timeout
        for span in spans:
            first, span.tally.position = span.tally.position, span.end
            decode = partial(self._messages, span.partition, first, span.end)
            yield Chunk(span, span.end - first, decode)

    def look_back(self) -> dict[str, int]:
        """As a `Source` does."""
        return {str(span): span.log_start for span in self.spans}

    def _messages(self, partition: int, first: int, end: int) -> Messages:
        records = self._logs[partition][first:end]
        return Messages.packed(
            self.name,
            partition,
            offsets=range(first, end),
            times=[record.timestamp for record in records],
            keys=[record.key for record in records],
            values=[record.value for record in records],
        )


def _held(made: incident.Incident, until: int, put_right: dict[str, Decimal]) -> pa.Table:
    """What the system of record holds at a moment, with what somebody put right."""
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
    folder.mkdir(parents=True, exist_ok=True)
    mark(folder)
    return folder


def _name(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y%m%dT%H%M%SZ}"


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
