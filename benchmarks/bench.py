"""From a topic to totals: the kit and others, side by side, each as a whole process.

Starts the sandbox's Apache Kafka, seeds one topic, runs every contender in turn, round after round,
holds their totals against what was seeded, and prints the medians.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import measure
from report import HERE, report
from seed import Log, answer, seed

from recovery_kit.sandbox.kafka import Kafka

CONTENDERS = {
    "kit": "recovery-kit, Arrow columns",
    "kit_pandas": "recovery-kit, pandas frames",
    "kafka_python_loop": "kafka-python, json, dict",
    "confluent_pandas": "confluent-kafka, orjson, pandas",
    "confluent_polars": "confluent-kafka, polars",
    "kcat_duckdb": "kcat to a file, DuckDB",
    "floor": "the floor: fetched, not read",
}


def main() -> int:
    """Run the benchmark; 1 when contenders do not agree."""
    args = _arguments()
    log = Log(args.events, args.partitions, args.payload, args.keys, args.copies, args.compression)
    warm = Log(
        min(20_000, args.events),
        args.partitions,
        args.payload,
        args.keys,
        args.copies,
        args.compression,
    )
    truth = answer(log)
    with Kafka(heap_mb=1024) as broker:
        servers = broker.bootstrap_servers
        for topic, what in (("warm", warm), ("events", log)):
            broker.create_topic(topic, partitions=log.partitions)
            begun = time.perf_counter()
            held = seed(servers, topic, what)
            _tell(f"{topic}: {held:,} messages seeded in {time.perf_counter() - begun:.0f} s")
        # Once over a small topic, not counted: byte code is written, numba compiles what its cache
        # does not have.
        for name in args.only:
            _check(name, measure.run(_command(name, servers, "warm")), answer(warm))
        runs = []
        for number in range(args.rounds):
            for name in args.only:
                runs.append({"round": number, "contender": name, **_run(broker, name, truth)})
                _tell(
                    "round {round} {contender:<18} {wall:7.2f} s  cpu {cpu:7.2f} s  {memory_mb:6,.0f} MB  "
                    "others on the machine {others:.2f} s".format(**runs[-1])
                )
    title = (
        f"{held:,} messages, {log.partitions} partitions, {log.payload} payload, compression "
        f"{log.compression}, {log.keys:,} keys"
    )
    print(report(title, runs, held, CONTENDERS, args.json))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="unique events (%(default)s)")
    parser.add_argument("--partitions", type=int, default=4, help="of the topic (%(default)s)")
    parser.add_argument(
        "--compression", choices=("none", "zstd", "lz4", "gzip", "snappy"), default="none"
    )
    parser.add_argument(
        "--payload",
        choices=("plain", "wide"),
        default="plain",
        help="wide: 1 kB, 20 fields, 5 wanted",
    )
    parser.add_argument("--keys", type=int, default=300, help="accounts (%(default)s)")
    parser.add_argument(
        "--copies", type=int, default=30, help="of 1000 events that many come twice (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument(
        "--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="CONTENDER"
    )
    parser.add_argument(
        "--json", type=Path, default=HERE / "results" / "bench.json", help="(%(default)s)"
    )
    return parser.parse_args()


def _command(name: str, servers: str, topic: str) -> list[str]:
    return [sys.executable, str(HERE / "contenders" / f"{name}.py"), servers, topic]


def _run(broker: Kafka, name: str, truth: dict[str, object]) -> dict[str, float]:
    before = measure.busy(broker.pid())
    done = measure.run(_command(name, broker.bootstrap_servers, "events"))
    brokers = measure.busy(broker.pid()) - before
    _check(name, done, truth)
    found = done.figures()
    return {**found, "broker_cpu": brokers, "others": found["others"] - brokers}


def _check(name: str, done: measure.Measured, truth: dict[str, object]) -> None:
    if name != "floor" and json.loads(done.said) != truth:
        raise SystemExit(f"{name} says {done.said}, but the log holds {json.dumps(truth)}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
