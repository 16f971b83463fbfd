"""``python -m tests.soak SECONDS``: see the package."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from recovery_kit.kafka import wire
from tests.proxied import Proxied
from tests.soak.faults import FaultMaker
from tests.soak.ledger import NO_EVENT, Ledger
from tests.soak.readers import HANGS, Reader
from tests.soak.writers import transact, write

BROKERS = {
    "min.insync.replicas": 2,
    "log.initial.task.delay.ms": 500,
    "log.retention.check.interval.ms": 2000,
    "log.cleaner.backoff.ms": 500,
    "transaction.state.log.min.isr": 2,
    "auto.leader.rebalance.enable": False,
}
SMALL = {"segment.ms": 3000, "segment.bytes": 1 << 20}
TOPICS: dict[str, dict[str, object]] = {
    "plain": {},
    "transacted": {},
    "deleted": {},
    "expiring": {**SMALL, "retention.bytes": 50_000},
    "compacted": {
        **SMALL,
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": 0.01,
        "max.compaction.lag.ms": 2000,
    },
}
GOING = {"truncated", "raced"}
LOSING = {"deleted": GOING, "expiring": GOING, "compacted": {"compacted"}}
"""What may be said of which topic; of the others, nothing but complete."""


Tasks = dict[str, tuple[Any, ...]]


def main(seconds: float) -> int:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    warnings.simplefilter(
        "ignore"
    )  # kafka-python leaves sockets of refused connections to the garbage collector
    wire.PARTITION_BYTES, wire.FETCH_BYTES = (
        16 << 10,
        64 << 10,
    )  # many fetches a replay, so that faults fall into them
    ledger, stop = Ledger(), threading.Event()
    with Proxied(BROKERS, brokers=3) as cluster:
        for topic, config in TOPICS.items():
            cluster.create_topic(topic, partitions=3, config=config)
        names, servers = list(TOPICS), cluster.bootstrap_servers
        faults = FaultMaker(cluster, names, "deleted")
        reader = Reader(cluster.bootstrap_proxied, names, LOSING, ledger)
        pace = max(
            0.1, seconds / 6000
        )  # a longer soak writes more slowly, so that a replay stays short
        tasks: Tasks = {
            "writer 1": (write, servers, "1", names, ledger, stop, pace),
            "writer 2": (write, servers, "2", names, ledger, stop, pace),
            "writer 3": (transact, servers, "a", ["transacted", "deleted"], ledger, stop, pace),
            "writer 4": (
                transact,
                servers,
                "b",
                ["transacted", "plain", "expiring"],
                ledger,
                stop,
                pace,
            ),
            "faults 1": (faults.run, faults.of_brokers, stop, 1.0),
            "faults 2": (faults.run, faults.of_the_rest, stop, 2.0),
            "replays 1": (reader.run, stop),
            "replays 2": (reader.run, stop),
        }
        begun = time.monotonic()
        threads = _begin(tasks, ledger)
        while (left := seconds - (time.monotonic() - begun)) > 0:
            time.sleep(min(30, left))
            _tell(begun, ledger, faults, reader)
        stop.set()
        _end(threads, begun, ledger, reader)
        faults.heal()
        _read_plainly(cluster, ledger)
    ledger.once()
    return _report(begun, ledger, faults, reader)


def _begin(tasks: Tasks, ledger: Ledger) -> list[threading.Thread]:
    threading.excepthook = lambda died: _tell_of_death(died, tasks, ledger)
    threads = [
        threading.Thread(target=do, args=args, name=name, daemon=True)
        for name, (do, *args) in tasks.items()
    ]
    for thread in threads:
        thread.start()
    return threads


def _end(threads: list[threading.Thread], begun: float, ledger: Ledger, reader: Reader) -> None:
    """Wait for what is under way.

    A replay that does not come to its end, or a writer that came to nothing, hangs.
    """
    ended = time.monotonic()
    silent = {name: ended - ledger.last.get(name, begun) for name in ("1", "2", "a", "b")}
    for thread in threads:
        thread.join(max(0.0, ended + HANGS - time.monotonic()))
    late = [thread for thread in threads if thread.is_alive()]
    for thread in late:
        print(
            f"{thread.name} does not end:",
            *traceback.format_stack(sys._current_frames()[thread.ident]),
            sep="\n",
        )
    reader.hangs += [
        f"{thread.name} does not end" for thread in late if thread.name.startswith("replays")
    ]
    reader.hangs += [
        f"writer {name} wrote nothing for {s:.0f} s" for name, s in silent.items() if s > HANGS
    ]
    print(
        "seconds from what each writer was last told to the end:",
        *(f"{n}: {s:.0f}" for n, s in silent.items()),
    )


def _tell_of_death(died: threading.ExceptHookArgs, tasks: Iterable[str], ledger: Ledger) -> None:
    """A task that ended of an error would else be missed by nobody."""
    if died.thread and died.thread.name in tasks and died.exc_value:
        ledger.accuse(
            f"{died.thread.name} ended: "
            f"{''.join(traceback.format_exception(died.exc_value))[-500:]}"
        )


def _read_plainly(cluster: Proxied, ledger: Ledger) -> None:
    """Hold kafka-python's own reading of every topic, when all is quiet, against what writers and
    replays said.
    """
    for topic in TOPICS:
        consumer = KafkaConsumer(
            bootstrap_servers=cluster.bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            group_id=None,
        )
        places = [
            TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        consumer.assign(places)
        begun = time.monotonic()
        starts, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
        found: dict[TopicPartition, list[tuple[int, int]]] = {tp: [] for tp in places}
        deadline = time.monotonic() + 120
        while (
            any(consumer.position(tp) < ends[tp] for tp in places) and time.monotonic() < deadline
        ):
            for tp, records in consumer.poll(timeout_ms=500).items():
                found[tp] += [(r.offset, int(r.value[7 : r.value.index(b'"', 7)])) for r in records]
        for tp, read in found.items():
            if consumer.position(tp) < ends[tp]:
                ledger.accuse(
                    f"{tp}: the plain reader came to {consumer.position(tp)} of {ends[tp]}"
                )
            here = [(offset, number) for offset, number in read if offset < ends[tp]]
            offsets, numbers = np.array(here, np.int64).reshape(-1, 2).T
            ledger.hold(tuple(tp), offsets, numbers, "the plain reader", begun)
            if topic not in ("expiring", "compacted"):
                none = np.setdiff1d(np.arange(starts[tp], ends[tp]), offsets)
                ledger.hold(tuple(tp), none, np.full(len(none), NO_EVENT), "the plain reader")
        consumer.close()


def _tell(begun: float, ledger: Ledger, faults: FaultMaker, reader: Reader) -> None:
    print(
        f"{time.monotonic() - begun:5.0f} s: {faults.made.total()} faults, {reader.ended.total()} "
        f"replays, {reader.checked:,} records checked, transactions: "
        f"{_listed(ledger.transactions)}; {len(ledger.wrong)} wrong, {len(reader.false_alarms)} "
        "false alarms",
        flush=True,
    )


def _report(begun: float, ledger: Ledger, faults: FaultMaker, reader: Reader) -> int:
    for what in [*ledger.wrong, *reader.false_alarms, *reader.hangs][:30]:
        print("!", what[:600])
    print(
        f"soaked for {time.monotonic() - begun:.0f} s",
        f"events written and acknowledged: {ledger.written:,}",
        f"transactions ended: {ledger.transactions.total()} ({_listed(ledger.transactions)})",
        f"faults made: {faults.made.total()} ({_listed(faults.made)})",
        f"seen at work: {_listed(reader.seen)} (times that a log's start had moved on, or more was "
        "cleaned away)",
        f"replays: {reader.ended.total()} ({_listed(reader.ended)})",
        f"records checked: {reader.checked:,}",
        f"wrong answers: {len(ledger.wrong)}",
        f"false alarms: {len(reader.false_alarms)}",
        f"hangs past the deadline: {len(reader.hangs)}",
        sep="\n",
    )
    return int(bool(ledger.wrong or reader.false_alarms or reader.hangs))


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600))
