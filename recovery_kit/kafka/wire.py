"""What the kit knows of kafka-python's insides, all in this one place.

A consumer's poll makes a Python object a record. The kit wants the fetched bytes as they came: it puts `_Undecoded`
in the place of the one inner class that takes them apart (``Fetcher.PartitionRecords``), and leaves fetch sessions,
leaders, retries and epochs to the library. ``tests/kafka/test_wire.py`` fails when a new kafka-python changes what
is used here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError as LibraryError
from kafka.errors import TopicAuthorizationFailedError
from kafka.protocol.consumer import IsolationLevel

from recovery_kit.kafka.batches import Fetch, split
from recovery_kit.kafka.connection import client_options, explain_failure

FETCH_BYTES = 64 << 20
PARTITION_BYTES = 8 << 20


class _Undecoded:
    """Stands in for PartitionRecords: hands the bytes of one partition of one fetch on as a single "record"."""

    def __init__(self, fetch_offset: int, tp: TopicPartition, records: Any, **options: Any) -> None:
        self.fetch_offset = self.next_fetch_offset = fetch_offset
        self.topic_partition = tp
        self.leader_epoch = -1
        self.bytes_read = records.size_in_bytes()
        self._records = memoryview(records._buffer)
        self._aborted = [(t.first_offset, t.producer_id) for t in options.get("aborted_transactions") or []]
        self._on_drain = options["on_drain"]
        self._whole = False

    def __bool__(self) -> bool:
        return not self._whole

    def take(self, n: int | None = None) -> list[Fetch]:  # noqa: ARG002
        batches = split(self._records)
        if batches:
            self.next_fetch_offset = batches[-1].last_offset + 1
            self.leader_epoch = batches[-1].leader_epoch
        self.drain()
        tp = self.topic_partition
        return [Fetch(tp.topic, tp.partition, self._records, batches, self._aborted)] if batches else []

    def drain(self) -> None:
        if not self._whole:
            self._whole = True
            self._on_drain(self)


def open_consumer(options: dict[str, object], *, committed: bool = True, timeout: float = 30.0) -> KafkaConsumer:
    """A consumer that belongs to no group, commits nothing, creates nothing, and hands on undecoded fetches.

    Raises whatever kafka-python raises when it cannot bootstrap within ``timeout`` seconds.
    """
    consumer = KafkaConsumer(
        **{
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "allow_auto_create_topics": False,
            "isolation_level": "read_committed" if committed else "read_uncommitted",
            "fetch_max_bytes": FETCH_BYTES,
            "max_partition_fetch_bytes": PARTITION_BYTES,
            "metrics_enabled": False,
            "bootstrap_timeout_ms": int(timeout * 1000),
            **options,
        }
    )
    consumer._fetcher.PartitionRecords = _Undecoded
    # kafka-python 3.0.12 does not hand allow_auto_create_topics on to its metadata requests.
    consumer._cluster.config["allow_auto_create_topics"] = False
    return consumer


@contextmanager
def connected(
    bootstrap_servers: str | list[str] | None, client_config: str | Path | None, *, timeout: float
) -> Iterator[KafkaConsumer]:
    """A consumer for the length of a with block; a cluster that cannot be reached is a KafkaError that says why."""
    options = client_options(bootstrap_servers, client_config)
    try:
        consumer = open_consumer(options, timeout=min(timeout, 10.0))
    except LibraryError as error:
        raise explain_failure(error, options) from None
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=2000)


def poll(consumer: KafkaConsumer, timeout: float) -> list[Fetch]:
    """Fetches that have arrived, at the latest after ``timeout`` seconds; the next ones are then already asked for."""
    arrived = consumer.poll(timeout_ms=int(timeout * 1000))
    return [fetch for fetches in arrived.values() for fetch in fetches]


def end_offsets(
    consumer: KafkaConsumer, partitions: list[TopicPartition], *, committed: bool, timeout: float
) -> dict[TopicPartition, int]:
    """Last stable offsets (``committed``) or high watermarks, whichever way the consumer itself reads."""
    fetcher = consumer._fetcher
    kept = fetcher._isolation_level
    fetcher._isolation_level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    try:
        found: dict[TopicPartition, int] = consumer.end_offsets(partitions, timeout_ms=int(timeout * 1000))
    finally:
        fetcher._isolation_level = kept
    return found


class Topic(NamedTuple):
    """What the cluster says of a topic: its id (None where brokers are too old for ids) and its partitions."""

    id: object
    partitions: frozenset[int]


def describe(consumer: KafkaConsumer, topic: str, timeout: float) -> Topic | None:
    """The topic as the cluster has it now, asked afresh; None where there is no such topic.

    Raises kafka.errors.TopicAuthorizationFailedError, or ValueError for a name that no topic can have.
    """
    cluster = consumer._cluster
    cluster.add_topic(topic)
    for pause in (0.0, 0.1, 0.3):  # a look already under way may not have asked for this topic
        time.sleep(pause)
        consumer._net.run(consumer._manager.wait_for, cluster.request_update(), int(timeout * 1000))
        if topic in cluster.unauthorized_topics:
            raise TopicAuthorizationFailedError({topic})
        if found := cluster.partitions_for_topic(topic):
            return Topic(cluster.topic_id(topic), frozenset(found))
    return None
