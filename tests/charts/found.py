"""A small log, a system that got some of it wrong, and what the verbs found: what charts draw in
these tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import pandas as pd
import pyarrow as pa

from recovery_kit.dedup import Dedup, dedup
from recovery_kit.reconcile import Reconciliation, reconcile
from recovery_kit.replay import Replay
from recovery_kit.schema import TIME_TYPE, EventSchema
from recovery_kit.sources.window import Window
from recovery_kit.tables.arrow import to_pandas
from recovery_kit.totals import totals
from tests.events import FORMS, NOON, Event, events

MINUTE = 60_000

HOSTILE = [
    "<script>alert(1)</script>",
    "x" * 300,
    "שלום-0001",
    "مرحبا",
    "🎉-0001",
    "$x^2$",
    "_a",
    "账户",
    "\x1b[31mred",
    "a\nb",
    "",
    "\u202eevil",
    "{}%s\\alpha",
    "=cmd()",
    "a\u0300\u0301\u0302",
    "\ud7ff",
]

# Each key has one event a minute for an hour, on the partition that its place gives.
KEYS = ["a", "b", "c", "d"]
LOG: list[Event] = [
    (
        f"{key}{minute}",
        "add",
        f"{minute + 1}.25",
        key,
        minute * MINUTE,
        "t",
        at % 2,
        at // 2 * 60 + minute,
    )
    for at, key in enumerate(KEYS)
    for minute in range(60)
]


@dataclass(frozen=True)
class Found:
    """One log through every step."""

    replay: Replay
    d: Dedup
    r: Reconciliation
    processed: pd.DataFrame

    @property
    def unique(self) -> Any:
        return self.d.unique


def replay_of(table: pa.Table, *, rejects: list[int] = (), verdict: str = "complete") -> Replay:  # type: ignore[assignment]
    """A replay of these events, with rejects at these minutes after noon.

    One control record a partition.
    """
    bad = pa.table({"time": pa.array([NOON + minute * MINUTE for minute in rejects], TIME_TYPE)})
    counts = table.group_by("partition").aggregate([("offset", "count")]).to_pylist()
    coverage = [
        {
            "topic": "t",
            "partition": row["partition"],
            "start": 0,
            "end": row["offset_count"] + 1,
            "delivered": row["offset_count"],
            "control": 1,
            "aborted": 0,
            "removed": 0,
            "lost": 0,
            "unread": 0,
            "verdict": verdict,
        }
        for row in sorted(counts, key=lambda row: row["partition"])
    ]
    shape = pa.schema(
        [(n, pa.string() if n in ("topic", "verdict") else pa.int64()) for n in COVERAGE]
    )
    return Replay(
        events=to_pandas(table),
        rejects=to_pandas(bad),
        tombstones=pd.DataFrame(),
        coverage=to_pandas(pa.Table.from_pylist(coverage, shape)),
        verdict=verdict,
        schema=EventSchema(),
        source="t",
        window=Window(),
    )


COVERAGE = (
    "topic",
    "partition",
    "start",
    "end",
    "delivered",
    "control",
    "aborted",
    "removed",
    "lost",
    "unread",
    "verdict",
)


def processed_of(rows: list[tuple[str, str, int]]) -> pd.DataFrame:
    """Ids with the effect applied and the minutes after noon of it."""
    ids, effects, minutes = zip(*rows, strict=True) if rows else ((), (), ())
    return to_pandas(
        pa.table(
            {
                "event_id": pa.array(ids, pa.large_string()),
                "effect": pa.array([Decimal(e) for e in effects], pa.decimal128(28, 2)),
                "time": pa.array([NOON + m * MINUTE for m in minutes], TIME_TYPE),
            }
        )
    )


def found(
    *, rename: dict[str, str] | None = None, form: str = "pandas", verdict: str = "complete"
) -> Found:
    """The log above, and a system that missed a10, applied b20 twice, c30 with the wrong sign, and
    changed c by hand.
    """
    return _found(tuple((rename or {}).items()), form, verdict)


@cache
def _found(rename: tuple[tuple[str, str], ...], form: str, verdict: str) -> Found:
    names = dict(rename)
    log = [
        (names.get(row[3], row[3]) + row[0][1:], *row[1:3], names.get(row[3], row[3]), *row[4:])
        for row in LOG
    ]
    again = [(*row[:5], *row[5:7], 200 + at) for at, row in enumerate(log[:6])]
    conflict = (*log[7][:2], "99.99", *log[7][3:7], 300)
    table = events([*log, *again, conflict])  # type: ignore[list-item]
    d = dedup(FORMS[form](table))
    right = [(row[0], row[2], row[4] // MINUTE) for row in LOG if row[0] not in ("a10", "c30")]
    wrong = [*right, ("b20", "21.25", 20), ("c30", "-31.25", 31)]
    sums = {key: sum((Decimal(e) for i, e, _ in wrong if i[0] == key), Decimal(0)) for key in KEYS}
    sums["c"] += 5
    applied = [(names.get(i[0], i[0]) + i[1:], e, minute) for i, e, minute in wrong]
    applied.append(("by hand", "5.00", 40))
    expected = pd.DataFrame(
        {"key": [names.get(k, k) for k in KEYS], "total": [sums[k] for k in KEYS]}
    )
    replay = replay_of(table, rejects=[3, 3, 55], verdict=verdict)
    r = reconcile(totals(d.unique), expected, replay=replay)
    return Found(replay, d, r, processed_of(applied))
