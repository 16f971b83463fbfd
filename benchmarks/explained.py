"""A replay of 1 M events and the explanation of the keys that differ, side by side: make
bench-explain.

Each incident is drawn anew. Its log is written to the sandbox's Apache Kafka and replayed from
there, all steps in a process of its own, so that each step also bears the libraries that it is the
first to want. Three processes, one after the other; prints the medians of the seconds that each
step took.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SCHEMA = {
    "id": "id",
    "key": "account",
    "time": "ts",
    "effects": {"add": 1, "subtract": -1, "refund": 1, "fee": -1},
}
STEPS = ("replay", "dedup", "totals", "reconcile", "explain", "with processed")
CHUNK = 100_000
PROCESSES = 3


def main() -> None:
    """Draw incidents until enough have many divergent keys, and time the steps on each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="incidents (%(default)s)")
    parser.add_argument("--events", type=int, default=1_000_000, help="(%(default)s)")
    parser.add_argument(
        "--bytes",
        type=int,
        default=0,
        help="a message, at least; an amount and its names take some 80",
    )
    parser.add_argument(
        "--steps",
        nargs=3,
        metavar=("SERVERS", "TOPIC", "FOLDER"),
        help="of one that is there already",
    )
    chosen = parser.parse_args()
    if chosen.steps:
        print(json.dumps(steps(*chosen.steps)))
        return

    from recovery_kit.sandbox.kafka import Kafka

    told = []
    print(f"{'seed':>10} {'keys':>6} " + " ".join(f"{step:>15}" for step in STEPS))
    with Kafka(heap_mb=1024) as broker, tempfile.TemporaryDirectory() as folder:
        while len(told) < chosen.rounds:
            one = _timed(broker, folder, secrets.randbits(32), chosen.events, chosen.bytes)
            if one["keys"] < 200:  # none that many keys share was drawn
                continue
            told.append(one)
            print(
                f"{one['seed']:>10} {one['keys']:>6.0f} "
                + " ".join(f"{one[s]:>15.2f}" for s in STEPS),
                flush=True,
            )
    print(
        f"{'medians, seconds':>17} "
        + " ".join(f"{statistics.median(o[s] for o in told):>15.2f}" for s in STEPS)
    )


def steps(servers: str, topic: str, folder: str) -> dict[str, float]:
    """Seconds of each step, and how many keys differ."""
    took: dict[str, float] = {}
    import recovery_kit as rk

    def timed(step: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        made = work()
        took[step] = time.perf_counter() - begun
        return made

    schema = rk.EventSchema(**SCHEMA)
    expected, processed = (Path(folder) / f"{name}.parquet" for name in ("expected", "processed"))
    replay = timed("replay", lambda: rk.replay(topic, bootstrap_servers=servers, schema=schema))
    if len(replay.rejects):
        raise RuntimeError(
            f"{len(replay.rejects):,} of the incident's messages could not be read: "
            f"{replay.rejects['reason'][0]}"
        )
    d = timed("dedup", lambda: rk.dedup(replay.arrow))
    t = timed("totals", lambda: rk.totals(d))
    r = timed("reconcile", lambda: rk.reconcile(t, expected))
    timed("explain", lambda: rk.explain(r, d))
    timed("with processed", lambda: rk.explain(r, d, processed=processed))
    return {**took, "keys": len(r.divergences)}


def _timed(broker: Any, folder: str, seed: int, events: int, size: int) -> dict[str, float]:
    import pyarrow.parquet as pq
    from incidents import make
    from seed import write

    case, topic = make(seed, events=events, keys=300, causes=4), str(seed)
    pq.write_table(case.expected, Path(folder) / "expected.parquet")
    pq.write_table(case.processed, Path(folder) / "processed.parquet")
    partitions = int(case.events["partition"].max()) + 1
    broker.create_topic(topic, partitions=partitions)
    write(broker.bootstrap_servers, topic, _messages(case.events, size), partitions)
    command = [sys.executable, __file__, "--steps", broker.bootstrap_servers, topic, folder]
    done = [
        subprocess.run(command, capture_output=True, text=True, check=True)
        for _ in range(PROCESSES)
    ]
    took = [json.loads(one.stdout) for one in done]
    return {
        "seed": seed,
        **{step: statistics.median(one[step] for one in took) for step in took[0]},
    }


def _messages(events: Any, size: int) -> Iterator[list[tuple[int, str, bytes]]]:
    """The incident's log as messages of at least so many bytes, in its order, some at a time."""
    names = ["partition", "key", "event_id", "type", "value", "time"]
    for first in range(0, len(events), CHUNK):
        part = events[names].iloc[first : first + CHUNK]
        rows = zip(
            *(part[name].tolist() for name in names[:-1]),
            part["time"].astype("int64").tolist(),
            strict=True,
        )
        yield [
            (
                p,
                key,
                _padded(
                    f'{{"id":"{id_}","type":"{type_}","value":{value},"account":"{key}","ts":{ms}}}',
                    size,
                ),
            )
            for p, key, id_, type_, value, ms in rows
        ]


def _padded(message: str, size: int) -> bytes:
    """With a field more, of what it lacks."""
    note = ',"note":""'
    lacking = size - len(message) - len(note)
    return (message if lacking < 0 else f'{message[:-1]},"note":"{"x" * lacking}"}}').encode()


if __name__ == "__main__":
    main()
