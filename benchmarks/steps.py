"""Dedup, totals and reconcile of an events table: the kit and hand-written polars side by side, as
whole processes.

Both read the same Arrow file, memory-mapped, and the same expected totals; both must find the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import measure
import numpy as np
import polars as pl
import pyarrow as pa
from report import HERE, report
from seed import START

from recovery_kit.schema import EventSchema

CHUNK = 500_000
CONTENDERS = {"steps_kit": "recovery-kit", "steps_polars": "polars by hand"}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--events", type=int, default=10_000_000, help="unique events (%(default)s)"
    )
    parser.add_argument("--keys", type=int, default=300, help="accounts (%(default)s)")
    parser.add_argument(
        "--copies", type=int, default=30, help="of 1000 events that many come twice (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument(
        "--json", type=Path, default=HERE / "results" / "steps.json", help="(%(default)s)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        events, expected = Path(folder, "events.arrow"), Path(folder, "expected.parquet")
        rows = write_events(events, args.events, args.keys, args.copies)
        write_expected(events, expected)
        runs, said = [], set()
        for number in range(args.rounds):
            for name in CONTENDERS:
                done = measure.run(
                    [
                        sys.executable,
                        str(HERE / "contenders" / f"{name}.py"),
                        str(events),
                        str(expected),
                    ]
                )
                said.add(done.said)
                if len(said) > 1:
                    raise SystemExit(f"{name} finds other totals: {said}")
                runs.append({"round": number, "contender": name, **done.figures()})
    print(report(f"{rows:,} events, {args.keys:,} keys", runs, rows, CONTENDERS, args.json))
    return 0


def write_events(path: Path, events: int, keys: int, copies: int) -> int:
    """An events table as replay gives it, in chunks as large as a fetch.

    A late copy of some events; how many rows.
    """
    types = EventSchema().arrow_types
    rows = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema(types)) as out:
        for start in range(0, events, CHUNK):
            chunk = _chunk(min(CHUNK, events - start), start, keys, copies, types, rows)
            out.write_table(chunk)
            rows += len(chunk)
    return rows


def _chunk(
    n: int, start: int, keys: int, copies: int, types: dict[str, pa.DataType], offset: int
) -> pa.Table:
    rng = np.random.default_rng([2026, keys, start])
    rows = np.concatenate([np.arange(n), np.flatnonzero(rng.random(n) < copies / 1000)])
    ids = _uuids(rng, n)[rows]
    cents, adds = rng.integers(1, 100_000, n)[rows], (rng.random(n) < 0.6)[rows]
    accounts = pa.array([f"acct-{k:04}" for k in range(keys)], pa.large_string())
    amounts = np.stack([cents, np.zeros_like(cents)], axis=1)
    effects = np.where(adds, cents, -cents)
    effects = np.stack([effects, effects >> 63], axis=1)
    m = len(rows)
    columns = {
        "event_id": pa.Array.from_buffers(
            types["event_id"],
            m,
            [None, pa.py_buffer(np.arange(0, 36 * m + 1, 36)), pa.py_buffer(ids)],
        ),
        "type": pa.DictionaryArray.from_arrays(
            np.where(adds, 0, 1).astype(np.int32), ["add", "subtract"]
        ),
        "value": pa.Array.from_buffers(types["value"], m, [None, pa.py_buffer(amounts)]),
        "effect": pa.Array.from_buffers(types["effect"], m, [None, pa.py_buffer(effects)]),
        "key": accounts.take(pa.array(rng.integers(0, keys, n)[rows])),
        "time": pa.array(START + start + np.arange(m), pa.int64()).cast(types["time"]),
        "topic": pa.DictionaryArray.from_arrays(np.zeros(m, np.int32), ["events"]),
        "partition": np.zeros(m, np.int32),
        "offset": offset + np.arange(m),
    }
    return pa.table(columns, pa.schema(types))


def _uuids(rng: np.random.Generator, n: int) -> np.ndarray:
    """Random ids as a row of 36 characters each."""
    digits = np.frombuffer(rng.bytes(16 * n).hex().encode(), np.uint8).reshape(n, 32)
    ids = np.full((n, 36), ord("-"), np.uint8)
    for at, first, last in ((0, 0, 8), (9, 8, 12), (14, 12, 16), (19, 16, 20), (24, 20, 32)):
        ids[:, at : at + last - first] = digits[:, first:last]
    return ids


def write_expected(events: Path, expected: Path) -> None:
    """Totals by key as a system would hold them that applied every delivery, duplicates and all."""
    frame = pl.scan_ipc(events).group_by("key").agg(total=pl.col("effect").sum())
    frame.sort("key").collect().write_parquet(expected)


if __name__ == "__main__":
    sys.exit(main())
